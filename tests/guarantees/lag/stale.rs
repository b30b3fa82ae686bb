//! B4, B5: readings that lag behind what was done.

use super::*;
use StaleSight::{NewMissing, RevokedPresent};

const DUPLICATE: &str = "InvalidPermission.Duplicate";

/// B4: the rule that we opened does not show. The answer listed it, so it is there.
#[test]
fn a_new_rule_that_does_not_show_is_held_all_the_same() {
    let world = Sandboxed::new();
    lag(&world, &[NewMissing]);
    begin(&world, &["--only", "db"]).expect_code(0);
    let opened = ids(&world, "db");
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(world.outcomes(AUTHORIZE), [DUPLICATE], "asked once, and proven");
    assert_eq!(status(&world), "ACTIVE");
    assert_eq!((ids(&world, "db"), each_grant(&world.here, "providerRuleId")), (opened.clone(), opened));
    world.advance(LAG + 1);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(world.changes(), [""; 0]);
    world.ends();
}

/// B4, with the answer lost as well: nobody knows the id, and "exists already" does not say whose it is.
#[test]
fn a_lost_rule_that_does_not_show_is_found_when_it_does() {
    let world = Sandboxed::new();
    lag(&world, &[NewMissing]);
    world.faults([on(AUTHORIZE, Fault::ResetAfter).times(1)]);
    begin(&world, &["--only", "db"]).expect_code(3);
    assert_eq!((status(&world).as_str(), world.sent(AUTHORIZE).len()), ("PENDING", 1));
    world.advance(MINUTE + 1);
    world.forget_calls();
    pass(&world.here, 3);
    // Asked, then asked again after each of the three readings that follow.
    assert_eq!((status(&world).as_str(), world.outcomes(AUTHORIZE)), ("PENDING", vec![DUPLICATE.to_owned(); 4]));
    world.advance(LAG);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!((status(&world).as_str(), world.changes()), ("ACTIVE", vec![]));
    assert_eq!(each_grant(&world.here, "providerRuleId"), ids(&world, "db"));
    world.ends();
}

/// B4: a stop that cannot see the rule does not say that it is closed.
#[test]
fn a_rule_that_does_not_show_is_not_closed() {
    let world = Sandboxed::new();
    lag(&world, &[NewMissing]);
    begin(&world, &["--only", "db"]).expect_code(0);
    says(&stop(&world).expect_code(3), NOT_CONFIRMED);
    pass(&world.here, 3);
    assert_eq!((status(&world).as_str(), world.ours("db").len()), ("EXPIRING", 1));
    world.advance(LAG + 1);
    says(&pass(&world.here, 0), "- close sgr-");
    assert_eq!((status(&world).as_str(), world.ours("db").len()), ("CANCELLED", 0));
    assert_eq!(world.outcomes(REVOKE), ["OK"]);
    world.ends();
}

/// B5: a revoke that was confirmed is not repeated because the rule still shows.
#[test]
fn a_closed_rule_that_still_shows_is_looked_through() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "api"]).expect_code(0);
    let first = id(&world.here);
    begin(&world, &["--only", "db"]).expect_code(0);
    lag(&world, &[RevokedPresent]);
    world.eg(&["session", "stop", &first]).expect_code(0);
    // The collection pass reads the group although nobody needs it any more.
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(world.changes(), [""; 0]);
    // A new session is not taken in by what still shows.
    begin(&world, &["--only", "api"]).expect_code(0);
    assert_eq!(world.outcomes(AUTHORIZE), ["OK"]);
    let mut recorded = newest(&world.here)["resourceIps"][0]["providerRuleIds"].as_array().unwrap().clone();
    recorded.sort_by_key(ToString::to_string);
    assert_eq!(recorded, ids(&world, "api"));
    world.ends();
}

/// B5: the answer to the revoke is lost, and the rule still shows: it is revoked again, and "not found" is not an
/// error.
#[test]
fn a_rule_that_still_shows_is_revoked_twice() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    lag(&world, &[RevokedPresent]);
    world.faults([on(REVOKE, Fault::ResetAfter).times(1)]);
    world.forget_calls();
    says(&stop(&world).expect_code(3), NOT_CONFIRMED);
    assert_eq!(world.outcomes(REVOKE)[0], "Lost");
    world.advance(31);
    world.forget_calls();
    pass(&world.here, 3);
    let outcomes = world.outcomes(REVOKE);
    assert_eq!(outcomes.first().map(String::as_str), Some(NOT_FOUND));
    assert!(outcomes.iter().all(|outcome| outcome == NOT_FOUND), "{outcomes:?}");
    assert_eq!(status(&world), "EXPIRING");
    world.advance(SETTLED);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!((status(&world).as_str(), world.changes()), ("CANCELLED", vec![]));
    world.ends();
}

/// B5: a reading that never catches up. By id, "not found" is final once the rule is old enough.
#[test]
fn not_found_is_final_when_the_rule_is_old() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    world.advance(SETTLED);
    let old = Stale::new(TimeDelta::days(1), [RevokedPresent]);
    world.region.set(|settings| settings.stale = Some(old));
    world.region.revoke_by_hand(world.group("db"), &ids(&world, "db")[0]).unwrap();
    world.forget_calls();
    says(&stop(&world).expect_code(0), "✓ Session stopped");
    assert_eq!(world.outcomes(REVOKE), [NOT_FOUND]);
    world.ends();
}

/// B5, from another machine: it joins what it sees, which is not there, and opens its own when that shows.
#[test]
fn another_installation_is_not_held_by_a_rule_that_is_gone() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    lag(&world, &[RevokedPresent]);
    stop(&world).expect_code(0);
    let other = world.installation("other-machine");
    world.forget_calls();
    begin_at(&other, &["--only", "db"]).expect_code(3);
    assert_eq!(newest(&other)["status"], "PENDING");
    assert_eq!(world.outcomes(AUTHORIZE), [""; 0]);
    world.advance(LAG + 1);
    pass(&other, 0);
    assert_eq!((world.outcomes(AUTHORIZE), world.ours("db").len()), (vec!["OK".to_owned()], 1));
    assert_eq!(each_grant(&other, "coverage"), ["own"]);
    world.ends();
}
