//! One short text for the answers of many services that gave no address: each reason once.

use eg_model::net::agree::EchoAnswer;

/// The most reasons that are named; `eg ip` shows all of them.
const NAMED: usize = 3;
/// Begins the reason of a service that was never reached.
pub const CANNOT_CONNECT: &str = "cannot connect: ";

/// The reasons with their services: the most frequent first, then in the order of the answers.
///
/// | answers | text |
/// |---|---|
/// | none | `no service was asked` |
/// | one service | `api.ipify.org: cannot connect: Connection refused` |
/// | all alike, none reached | `none of 6 services could be reached: Connection refused` |
/// | all alike | `all 6 services: answered 503 Service Unavailable` |
/// | several reasons | `4 services: no answer within 3 s; api.ipify.org: 203.0.113.42` |
/// | many reasons | the first three of them, then `and 2 more for other reasons (see: eg ip)` |
pub fn reasons(answers: &[EchoAnswer]) -> String {
    let groups = by_reason(answers);
    match groups.as_slice() {
        [] => "no service was asked".to_owned(),
        [(why, services)] if services.len() > 1 => match why.strip_prefix(CANNOT_CONNECT) {
            Some(why) => format!("none of {} services could be reached: {why}", services.len()),
            None => format!("all {} services: {why}", services.len()),
        },
        groups => {
            let (named, others) = groups.split_at(groups.len().min(NAMED));
            let others: usize = others.iter().map(|(_, services)| services.len()).sum();
            let named = named.iter().map(|(why, services)| match services.as_slice() {
                [service] => format!("{}: {why}", host(service)),
                services => format!("{} services: {why}", services.len()),
            });
            let rest = (others > 0).then(|| format!("and {others} more for other reasons (see: eg ip)"));
            named.chain(rest).collect::<Vec<_>>().join("; ")
        }
    }
}

/// True if there is one reason for all answers.
pub fn are_alike(answers: &[EchoAnswer]) -> bool {
    answers.len() > 1 && by_reason(answers).len() == 1
}

fn by_reason(answers: &[EchoAnswer]) -> Vec<(String, Vec<&str>)> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (service, answer) in answers {
        let why = answer.as_ref().map_or_else(Clone::clone, ToString::to_string);
        match groups.iter_mut().find(|(known, _)| *known == why) {
            Some((_, services)) => services.push(service),
            None => groups.push((why, vec![service])),
        }
    }
    groups.sort_by_key(|(_, services)| std::cmp::Reverse(services.len()));
    groups
}

/// `https://api.ipify.org/` without what every service has.
fn host(service: &str) -> &str {
    let (_, rest) = service.split_once("://").unwrap_or(("", service));
    rest.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answers: &[(&str, Result<&str, &str>)]) -> String {
        let answer = |(host, answer): &(&str, Result<&str, &str>)| {
            (format!("https://{host}/"), answer.map(|address| address.parse().unwrap()).map_err(str::to_owned))
        };
        reasons(&answers.iter().map(answer).collect::<Vec<_>>())
    }

    #[test]
    fn each_reason_once() {
        let (dead, late) = (Err("cannot connect: Connection refused"), Err("no answer within 3 s"));
        assert_eq!(text(&[]), "no service was asked");
        assert_eq!(text(&[("a", dead)]), "a: cannot connect: Connection refused");
        assert_eq!(text(&[("a", dead), ("b", dead)]), "none of 2 services could be reached: Connection refused");
        assert_eq!(text(&[("a", late), ("b", late)]), "all 2 services: no answer within 3 s");
        let mixed = [("a", Ok("203.0.113.42")), ("b", late), ("c", late)];
        assert_eq!(text(&mixed), "2 services: no answer within 3 s; a: 203.0.113.42");
        let many = [("a", late), ("b", dead), ("c", Err("x")), ("d", Err("y")), ("e", Err("z"))];
        let first = "a: no answer within 3 s; b: cannot connect: Connection refused; c: x";
        assert_eq!(text(&many), format!("{first}; and 2 more for other reasons (see: eg ip)"));
    }
}
