//! Lost replies, refusals, clocks that differ, odd leases, and the rules of others through all of it.

use super::*;
use chrono::TimeDelta;
use eg_sandbox::{Stale, StaleSight};

/// Everything at once, one rule of each kind.
#[test]
fn each_kind_of_rule() {
    let world = Sandboxed::new();
    let here = stranger(&world);
    let expired = left_behind(&world, "db", 5432, 2, -6 * HOUR);
    let nearly = left_behind(&world, "db", 5433, 2, -9 * MINUTE);
    let held = left_behind(&world, "db", 5434, 2, HOUR);
    let mut tags = tags_of(world.group("db"), 5435, 2, world.in_seconds(0));
    tags.remove(&lease_key(&installation(2)));
    let bare = by_hand(&world, "db", 5435, tags.clone());
    tags = tags_of(world.group("db"), 5436, 2, world.in_seconds(0));
    tags.insert(lease_key(&installation(2)), "2099-01-01T00:00:00Z".to_owned());
    let odd = by_hand(&world, "db", 5436, tags);
    let misfit = by_hand(&world, "db", 5437, tags_of(world.group("db"), 22, 2, world.in_seconds(-6 * HOUR)));

    let aged = swept(&here, &["--older-than", "1d"], 0);
    let kept = |id: &str| {
        let rules = aged["rules"].as_array().unwrap();
        rules.iter().find(|rule| rule["ruleId"] == id).unwrap()["keptBecause"].clone()
    };
    assert_eq!([kept(&expired), kept(&bare), kept(&odd)], ["recent", "unknown-age", "unknown-age"]);
    assert_eq!(world.changes(), [""; 0]);

    let document = swept(&here, &[], 0);
    assert_eq!(came(&document, &expired), ["expired", "close", "done"]);
    assert_eq!(came(&document, &nearly), ["held", "-", "-"]);
    assert_eq!(came(&document, &held), ["held", "-", "-"]);
    assert_eq!(came(&document, &bare), ["unheld", "close", "done"]);
    assert_eq!(came(&document, &odd), ["unheld", "close", "done"]);
    assert_eq!(came(&document, &misfit), ["misfit", "-", "-"]);
    assert_eq!(world.changes(), [REVOKE], "one call for the group");
    let mut rest = vec![nearly.clone(), held.clone(), misfit.clone()];
    rest.sort();
    assert_eq!(ids(&world, "db"), rest);
    world.advance(2 * MINUTE);
    assert_eq!(came(&swept(&here, &[], 0), &nearly), ["expired", "close", "done"]);
    for id in [held, misfit] {
        world.region.revoke_by_hand(world.group("db"), &id).unwrap();
    }
    world.ends();
}

/// One revoke that nobody answers, or that is not done, or is refused for now: in the end it is closed.
#[test]
fn lost_and_late_answers() {
    let not_found = Fault::Refuse {
        code: "InvalidSecurityGroupRuleId.NotFound".to_owned(),
        message: "The security group rule ID 'sgr-0' does not exist".to_owned(),
        status: 400,
    };
    let cases = [
        (Fault::ResetAfter, 1),
        (Fault::StatusAfter(500), 1),
        (Fault::TruncatedPage, 1),
        (Fault::ResetBefore, 2),
        (Fault::Status(503), 2),
        (Fault::Throttle, 2),
        // One of the two is not there, it says: each is sent by itself.
        (not_found, 3),
    ];
    side_by_side(&cases, |(fault, sent)| {
        let world = Sandboxed::new();
        let (here, held) = (stranger(&world), left_behind(&world, "db", 5434, 2, HOUR));
        let gone = [left_behind(&world, "db", 5432, 2, -HOUR), left_behind(&world, "db", 5433, 3, -HOUR)];
        world.faults([on(REVOKE, fault.clone()).times(1)]);
        let document = swept(&here, &[], 0);
        for id in &gone {
            assert_eq!(came(&document, id), ["expired", "close", "done"]);
        }
        assert_eq!(world.sent(REVOKE).len(), *sent);
        assert_eq!(ids(&world, "db"), [held.as_str()]);
        world.region.revoke_by_hand(world.group("db"), &held).unwrap();
        world.ends();
    });
}

/// What cannot be closed is said, with what to do about it, and is closed by the next sweep.
#[test]
fn what_stays_open_is_said() {
    let cases = [
        (Fault::Deny, 1, "refused", "`eg iam-policy --sweep` prints"),
        (Fault::ExpiredToken, 1, "refused", "log in again"),
        (Fault::ResetBefore, 3, "unknown", "run eg sweep again"),
    ];
    side_by_side(&cases, |(fault, code, outcome, hint)| {
        let world = Sandboxed::new();
        let (here, id) = (stranger(&world), left_behind(&world, "db", 5432, 2, -HOUR));
        world.faults([on(REVOKE, fault.clone())]);
        let answer = sweep(&here, &["--output", "json"], *code);
        assert_eq!(came(&answer.json_as("sweep"), &id)[2], *outcome);
        says(&answer, hint);
        world.faults(Script::default());
        assert_eq!(came(&swept(&here, &[], 0), &id)[2], "done");
        world.ends();
    });
}

/// A reading that fails for a moment is made again; one that goes on failing is reported.
#[test]
fn readings_fail_too() {
    let world = Sandboxed::new();
    let (here, id) = (stranger(&world), left_behind(&world, "db", 5432, 2, -HOUR));
    world.faults([on(READ, Fault::Throttle).times(2), on(READ, Fault::TruncatedPage).nth(3)]);
    assert_eq!(came(&swept(&here, &["--dry-run"], 3), &id)[2], "planned");
    world.faults([on(READ, Fault::Deny)]);
    let unread = swept(&here, &[], 1);
    assert_eq!((&unread["rules"], &unread["places"]), (&serde_json::json!([]), &serde_json::json!([])));
    world.faults(Script::default());
    // Pages: nothing is lost between them.
    world.region.set(|settings| settings.page_limit = Some(2));
    assert_eq!(came(&swept(&here, &[], 0), &id)[2], "done");
    world.ends();
}

/// B30, for those without a record: by a clock that is off, nothing of others has expired.
#[test]
fn clocks_that_differ() {
    let world = Sandboxed::new();
    let (here, id) = (stranger(&world), left_behind(&world, "db", 5432, 2, -6 * HOUR));
    for seconds in [5 * MINUTE, -5 * MINUTE] {
        world.step_clock(seconds);
        let outcome = sweep(&here, &[], 3);
        says(&outcome, "warning: this machine's clock and the provider's differ");
        assert_eq!(world.changes(), [""; 0]);
    }
    world.step_clock(0);
    assert_eq!(came(&swept(&here, &[], 0), &id)[2], "done");
    world.ends();
}

/// B5: a revoked rule that still shows is not closed twice, and does no harm if it is.
#[test]
fn a_reading_that_lags() {
    let world = Sandboxed::new();
    let here = stranger(&world);
    left_behind(&world, "db", 5432, 2, -HOUR);
    world
        .region
        .set(|settings| settings.stale = Some(Stale::new(TimeDelta::seconds(60), [StaleSight::RevokedPresent])));
    sweep(&here, &[], 0);
    assert_eq!(ids(&world, "db"), [""; 0]);
    // It shows, so it is due; "not found" settles nothing until a reading agrees.
    let again = swept(&here, &[], 3);
    assert_eq!(again["rules"].as_array().unwrap().iter().filter(|rule| rule["outcome"] == "unknown").count(), 1);
    world.advance(SETTLED);
    sweep(&here, &[], 0);
    world.ends();
}

/// Every region that is enabled, one series each.
#[test]
fn every_region() {
    let world = Sandboxed::new();
    let here = stranger(&world);
    let far = world.region.create_group_in("200000000001", "ap-south-1", "far").unwrap();
    let rule = rule_of(&installation(2), &far, 22, world.in_seconds(-HOUR));
    let id = world.region.authorize_by_hand(&far, &rule).unwrap();
    world.forget_calls();
    let document = here.eg(&["sweep", "--region", "all", "--output", "json"]).expect_code(0).json_as("sweep");
    assert_eq!(came(&document, &id), ["expired", "close", "done"]);
    let regions: Vec<_> =
        document["places"].as_array().unwrap().iter().map(|p| p["region"].as_str().unwrap()).collect();
    assert_eq!(regions, ["ap-south-1", "eu-central-1", "eu-west-1", "us-east-1"]);
    assert_eq!(world.sent(READ).len(), 4);
    world.ends();
}

/// Every case in a world and a thread of its own: most of the time they wait.
#[track_caller]
fn side_by_side<T: Sync + std::fmt::Debug>(cases: &[T], run: impl Fn(&T) + Sync) {
    thread::scope(|scope| {
        let runs: Vec<_> = cases.iter().map(|case| (case, scope.spawn(|| run(case)))).collect();
        for (case, run) in runs {
            assert!(run.join().is_ok(), "{case:?}");
        }
    });
}
