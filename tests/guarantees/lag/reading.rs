//! B11: what could not be read, or not to its end, is not known. It is never taken for empty.

use super::*;

/// Runs a reconcile and a stop while readings fail like this; then they are well again.
fn while_unreadable(world: &Sandboxed, rule: &Rule, calls: usize) {
    begin(world, &[]).expect_code(0);
    let open = (ids(world, "api"), ids(world, "db"));
    world.faults([rule.clone()]);
    world.forget_calls();
    says(&pass(&world.here, 3), "cannot be read");
    assert_eq!((world.sent(DESCRIBE).len(), world.changes()), (calls, vec![]));
    assert_eq!(status(world), "ACTIVE", "what was held is still believed to be held");
    let dry = world.eg(&["reconcile", "--dry-run"]).expect_code(3);
    assert_eq!(dry.stdout, "", "nothing can be planned");

    world.faults([rule.clone()]);
    says_not(&stop(world).expect_code(3), "✓ Session stopped");
    world.advance(SETTLED);
    world.faults([rule.clone()]);
    pass(&world.here, 3);
    assert_eq!(status(world), "EXPIRING");
    assert_eq!((ids(world, "api"), ids(world, "db")), open);
    assert_eq!(world.changes(), [""; 0]);

    world.faults([] as [Rule; 0]);
    pass(&world.here, 0);
    assert_eq!(status(world), "CANCELLED");
    world.ends();
}

#[test]
fn a_reading_that_fails() {
    let faults = [
        Fault::TruncatedPage,
        Fault::Status(500),
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::Deny,
        Fault::ExpiredToken,
    ];
    side_by_side(&faults, |fault| while_unreadable(&Sandboxed::new(), &on(DESCRIBE, fault.clone()), 1));
}

/// Two entries a page: the first page comes, the second does not.
#[test]
fn a_second_page_that_fails() {
    side_by_side(&[Fault::Status(500), Fault::TruncatedPage], |fault| {
        let world = Sandboxed::new();
        world.region.set(|settings| settings.page_limit = Some(2));
        while_unreadable(&world, &on(DESCRIBE, fault.clone()).every(2), 2);
    });
}

/// All pages together are one reading: nothing is opened twice, nothing is left over.
#[test]
fn many_pages_are_one_reading() {
    let world = Sandboxed::new();
    world.region.set(|settings| settings.page_limit = Some(1));
    begin(&world, &[]).expect_code(0);
    world.forget_calls();
    pass(&world.here, 0);
    // Each group: four of others, one outbound; three of ours.
    assert_eq!((world.sent(DESCRIBE).len(), world.changes()), (13, vec![]));
    stop(&world).expect_code(0);
    assert_eq!(status(&world), "CANCELLED");
    world.ends();
}
