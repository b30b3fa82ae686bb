//! Shorter scripts that still fail: parts are left out, large ones first, until no single action can be.

/// The shortest script that is found.
pub fn shortest<T: Clone>(mut script: Vec<T>, fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut part = script.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut shorter = false;
        while at < script.len() {
            let mut without = script.clone();
            without.drain(at..(at + part).min(script.len()));
            if fails(&without) {
                script = without;
                shorter = true;
            } else {
                at += part;
            }
        }
        match (shorter, part) {
            (false, 1) => return script,
            (true, 1) => {}
            _ => part = part.div_ceil(2),
        }
    }
}

#[test]
fn what_does_not_matter_is_left_out() {
    let short = shortest((0..40).collect(), |list: &[i32]| list.contains(&7) && list.contains(&31));
    assert_eq!(short, [7, 31]);
    assert_eq!(shortest(vec![1, 2, 3], |_| true), Vec::<i32>::new());
}
