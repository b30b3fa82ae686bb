//! B3: a call that got no answer is carried out later.

use super::*;

/// A session whose authorize is on the way for this long.
fn begun(seconds: i64) -> Sandboxed {
    let world = Sandboxed::new();
    world.faults([on(AUTHORIZE, Fault::LandLate(TimeDelta::seconds(seconds)))]);
    says(&begin(&world, &["--only", "db"]).expect_code(3), "! Session is PENDING");
    assert_eq!((world.sent(AUTHORIZE).len(), world.region.late()), (1, 1));
    world.faults([] as [Rule; 0]);
    world
}

/// Nothing shows, and yet nothing is closed: the rule comes, and goes.
#[test]
fn an_authorize_that_lands_after_the_stop_is_revoked() {
    let world = begun(200);
    says(&stop(&world).expect_code(3), NOT_CONFIRMED);
    world.advance(100);
    pass(&world.here, 3);
    assert_eq!((world.region.late(), status(&world).as_str()), (1, "EXPIRING"));
    world.advance(110);
    assert_eq!((world.ours("db").len(), world.region.late()), (1, 0), "here it is");
    says(&pass(&world.here, 3), "- close sgr-");
    assert_eq!(ids(&world, "db"), [""; 0]);
    assert_eq!(status(&world), "EXPIRING", "another copy could still land");
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(world.outcomes(REVOKE), ["OK"]);
    world.ends();
}

/// It lands before anybody asks again.
#[test]
fn an_authorize_that_lands_late_is_recognised() {
    let world = begun(200);
    world.advance(210);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!((status(&world).as_str(), world.changes()), ("ACTIVE", vec![]));
    assert_eq!(each_grant(&world.here, "providerRuleId"), ids(&world, "db"));
    world.ends();
}

/// A second authorize opens the rule, a stop closes it, and then the first one lands: a later success never clears
/// an earlier attempt of unknown outcome.
#[test]
fn an_authorize_that_was_overtaken_is_still_waited_for() {
    let world = begun(200);
    world.advance(MINUTE + 1);
    pass(&world.here, 0);
    assert_eq!(status(&world), "ACTIVE");
    says(&stop(&world).expect_code(3), NOT_CONFIRMED);
    assert_eq!((ids(&world, "db"), status(&world).as_str()), (vec![], "EXPIRING"));
    world.advance(150);
    assert_eq!(world.ours("db").len(), 1, "here it is");
    says(&pass(&world.here, 3), "- close sgr-");
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(world.outcomes(REVOKE), ["OK", "OK"]);
    world.ends();
}

/// A second one opens the rule first: the late one is refused, and nothing comes of it.
#[test]
fn an_authorize_that_comes_second_changes_nothing() {
    let world = begun(200);
    world.advance(MINUTE + 1);
    pass(&world.here, 0);
    let opened = ids(&world, "db");
    world.forget_calls();
    world.advance(150);
    pass(&world.here, 0);
    assert_eq!((world.outcomes(AUTHORIZE), ids(&world, "db")), (vec!["InvalidPermission.Duplicate".into()], opened));
    assert!(world.sent(AUTHORIZE)[0].landed_late);
    world.ends();
}

/// A late tag on another installation's rule is taken off again; the rule stays theirs.
#[test]
fn a_join_that_lands_after_the_stop_is_taken_back() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    let before = world.ours("db")[0].tags.clone();
    let other = world.installation("other-machine");
    world.faults([on(TAG, Fault::LandLate(TimeDelta::seconds(200)))]);
    begin_at(&other, &["--only", "db"]).expect_code(3);
    world.faults([] as [Rule; 0]);
    says(&other.eg(&["session", "stop"]).expect_code(3), NOT_CONFIRMED);
    world.advance(210);
    assert_eq!(leases(&world.ours("db")[0]).len(), 2, "here it is");
    pass(&other, 0);
    assert_eq!(world.ours("db")[0].tags, before);
    assert_eq!(newest(&other)["status"], "CANCELLED");
    pass(&world.here, 0);
    assert_eq!((status(&world).as_str(), world.outcomes(UNTAG)), ("ACTIVE", vec!["OK".to_owned()]));
    world.ends();
}

/// A stop that is repeated says the same until there is nothing left to wait for.
#[test]
fn a_stop_is_repeated_until_nothing_can_land() {
    let world = Sandboxed::new();
    world.faults([on(AUTHORIZE, Fault::ResetBefore)]);
    begin(&world, &["--only", "db"]).expect_code(3);
    let id = id(&world.here);
    let again = || world.eg(&["session", "stop", &id]);
    for _ in 0..2 {
        says(&again().expect_code(3), NOT_CONFIRMED);
    }
    world.advance(SETTLED);
    says(&again().expect_code(0), "✓ Session stopped");
    assert_eq!((status(&world).as_str(), newest(&world.here)["endedReason"].as_str()), ("CANCELLED", Some("MANUAL")));
    says(&again().expect_code(1), "CANCELLED");
    assert_eq!(world.sent(REVOKE).len(), 0);
    world.ends();
}
