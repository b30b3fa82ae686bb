//! B26, B37: two installations and one rule.

use super::*;
use StaleSight::TagsMissing;
use std::collections::BTreeMap;

/// Both hold the rule of `db`, and every reading is believed.
fn both(world: &Sandboxed) -> Installation {
    begin(world, &["--only", "db"]).expect_code(0);
    let other = world.installation("other-machine");
    begin_at(&other, &["--only", "db"]).expect_code(0);
    assert_eq!(each_grant(&other, "coverage"), ["shared"]);
    assert_eq!(leases(&world.ours("db")[0]).len(), 2);
    world.advance(SETTLED);
    world.forget_calls();
    other
}

/// B26: each still sees the other's lease, each takes its own off. Nobody holds the rule then; whoever comes first
/// after the settle window closes it.
#[test]
fn two_that_leave_at_once_leave_no_orphan() {
    let world = Sandboxed::new();
    let other = both(&world);
    lag(&world, &[TagsMissing]);
    for at in [&world.here, &other] {
        let left = at.eg(&["session", "stop"]).expect_code(0);
        says(&left, "✓ Session stopped");
        says(&left, "still open: db tcp/5432, held by another installation");
        assert_eq!(each_grant(at, "status"), ["REMOVED"], "let go at once");
    }
    assert_eq!(world.changes(), [UNTAG, UNTAG]);
    assert_eq!(leases(&world.ours("db")[0]), [""; 0], "an orphan, if nobody remembered");
    // While readings lag, nobody fights.
    for at in [&world.here, &other] {
        pass(at, 0);
    }
    assert_eq!(world.changes(), [UNTAG, UNTAG]);
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(ids(&world, "db"), [""; 0]);
    world.advance(SETTLED);
    pass(&other, 0);
    assert_eq!(world.changes(), [UNTAG, UNTAG, REVOKE]);
    world.ends();
}

/// The one that stays is not disturbed by readings that still show the other's tag, or do not.
#[test]
fn one_leaves_and_the_other_stays() {
    let world = Sandboxed::new();
    let other = both(&world);
    lag(&world, &[TagsMissing]);
    stop(&world).expect_code(0);
    pass(&other, 0);
    world.advance(SETTLED);
    pass(&world.here, 0);
    pass(&other, 0);
    assert_eq!(world.changes(), [UNTAG]);
    assert_eq!(newest(&other)["status"], "ACTIVE");
    assert_eq!(leases(&world.ours("db")[0]).len(), 1);
    other.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.changes(), [UNTAG, REVOKE]);
    world.ends();
}

/// A join counts only when it is seen, so it takes as long as readings lag.
#[test]
fn a_join_that_does_not_show_is_not_applied() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    world.advance(SETTLED);
    let other = world.installation("other-machine");
    lag(&world, &[TagsMissing]);
    world.forget_calls();
    begin_at(&other, &["--only", "db"]).expect_code(3);
    assert_eq!((newest(&other)["status"].as_str(), world.changes()), (Some("PENDING"), vec![TAG.to_owned()]));
    world.advance(LAG + 1);
    pass(&other, 0);
    assert_eq!((newest(&other)["status"].as_str(), world.changes()), (Some("ACTIVE"), vec![TAG.to_owned()]));
    world.ends();
}

/// B2: our tag on another's rule, written or not, and no answer. Seen, it is held; not seen, it is written again.
#[test]
fn a_join_without_an_answer() {
    let join = |(fault, code, then): &(Fault, i32, &str)| {
        let world = Sandboxed::new();
        begin(&world, &["--only", "db"]).expect_code(0);
        let other = world.installation("other-machine");
        world.faults([on(TAG, fault.clone()).times(1)]);
        begin_at(&other, &["--only", "db"]).expect_code(*code);
        assert_eq!((newest(&other)["status"].as_str(), world.sent(TAG).len()), (Some(*then), 1));
        world.advance(MINUTE + 1);
        pass(&other, 0);
        assert_eq!((newest(&other)["status"].as_str(), leases(&world.ours("db")[0]).len()), (Some("ACTIVE"), 2));
        assert_eq!(each_grant(&other, "coverage"), ["shared"]);
        world.ends();
    };
    side_by_side(&[(Fault::ResetAfter, 0, "ACTIVE"), (Fault::ResetBefore, 3, "PENDING")], join);
}

/// B2: our tag is taken off, or not, and no answer: not let go until it is known.
#[test]
fn a_leave_without_an_answer() {
    side_by_side(&[Fault::ResetAfter, Fault::ResetBefore], |fault| {
        let world = Sandboxed::new();
        let other = both(&world);
        world.faults([on(UNTAG, fault.clone())]);
        says(&stop(&world).expect_code(3), NOT_CONFIRMED);
        assert_eq!(status(&world), "EXPIRING");
        world.faults([] as [Rule; 0]);
        world.advance(2 * MINUTE + 1);
        pass(&world.here, 0);
        assert_eq!((status(&world).as_str(), leases(&world.ours("db")[0]).len()), ("CANCELLED", 1));
        assert_eq!(newest(&other)["status"], "ACTIVE");
        world.ends();
    });
}

/// B37: the rule has as many tags as it may. The oldest of the leases that have expired makes room.
#[test]
fn the_fifty_first_tag_takes_the_place_of_an_expired_one() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    let rule = world.ours("db")[0].clone();
    let expired = |n: i64| (format!("eg:lease:{n:032}"), world.in_seconds_text(-HOUR * (60 - n)));
    let room = 50 - rule.tags.len() as i64;
    let leases: BTreeMap<_, _> = (0..room).map(expired).collect();
    world.region.tag_by_hand(&rule.id, &leases).unwrap();
    assert_eq!(world.ours("db")[0].tags.len(), 50);
    let other = world.installation("other-machine");
    world.forget_calls();
    begin_at(&other, &["--only", "db"]).expect_code(0);
    assert_eq!(world.changes(), [UNTAG, TAG]);
    let tags = world.ours("db")[0].tags.clone();
    assert_eq!(tags.len(), 50);
    let gone: Vec<_> = leases.keys().filter(|key| !tags.contains_key(*key)).collect();
    assert_eq!(gone, [&format!("eg:lease:{:032}", 0)], "the oldest, and no other");
    assert_eq!(each_grant(&other, "coverage"), ["shared"]);
    world.ends();
}

/// Nothing has expired: there is no room, and that is said.
#[test]
fn a_full_rule_that_everybody_holds_cannot_be_joined() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    let rule = world.ours("db")[0].clone();
    let live = |n: i64| (format!("eg:lease:{n:032}"), world.in_seconds_text(HOUR));
    let leases: BTreeMap<_, _> = (0..50 - rule.tags.len() as i64).map(live).collect();
    world.region.tag_by_hand(&rule.id, &leases).unwrap();
    let other = world.installation("other-machine");
    world.forget_calls();
    says(&begin_at(&other, &["--only", "db"]).expect_code(3), "has no room for another tag");
    assert_eq!((newest(&other)["status"].as_str(), world.changes()), (Some("PENDING"), vec![]));
    world.region.untag_by_hand(&rule.id, &leases).unwrap();
    world.ends();
}

/// That our tag was taken off cannot be recorded: it is asked for once, and the pass says what is wrong.
#[test]
fn a_leave_that_cannot_be_recorded_is_sent_once() {
    let world = Sandboxed::new();
    let other = both(&world);
    let locked = rusqlite::Connection::open(world.here.state_path()).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let stopped = stop(&world).expect_code(3);
    assert_eq!(world.changes(), [UNTAG]);
    says(&stopped, "is in use by another process");
    says_not(&stopped, "contended");
    locked.execute_batch("ROLLBACK").unwrap();
    assert_eq!(newest(&other)["status"], "ACTIVE");
    stop(&world).expect_code(0);
    other.eg(&["session", "stop"]).expect_code(0);
    world.advance(SETTLED);
    pass(&world.here, 0);
    pass(&other, 0);
    assert_eq!(ids(&world, "db"), [""; 0]);
    world.ends();
}
