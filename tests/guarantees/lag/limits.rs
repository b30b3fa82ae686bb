//! B15, B20, B31: limits on calls and on rules.

use super::*;
use eg_sandbox::{HandRule, RateLimit};

/// Two refusals, one success, and no second layer of retries beneath.
#[test]
fn a_throttled_call_is_sent_again_in_the_same_pass() {
    let world = Sandboxed::new();
    let throttled = "RequestLimitExceeded";
    world.faults([on(AUTHORIZE, Fault::Throttle).times(2), on(DESCRIBE, Fault::Throttle).times(1)]);
    begin(&world, &["--only", "db"]).expect_code(0);
    assert_eq!(world.outcomes(AUTHORIZE), [throttled, throttled, "OK"]);
    world.faults([on(TAG, Fault::Throttle).times(2)]);
    world.eg(&["session", "extend", &id(&world.here), "--hours", "1"]).expect_code(0);
    assert_eq!(world.outcomes(TAG), [throttled, throttled, "OK"]);
    world.faults([on(REVOKE, Fault::Throttle).times(2), on(DESCRIBE, Fault::Throttle).times(1)]);
    stop(&world).expect_code(0);
    assert_eq!(world.outcomes(REVOKE), [throttled, throttled, "OK"]);
    assert_eq!(status(&world), "CANCELLED");
    world.ends();
}

/// B20: a limit that does not end is met seven times: once, and six times more after a delay each.
#[test]
fn a_throttled_call_is_given_up_after_a_while() {
    let world = Sandboxed::new();
    world.faults([on(AUTHORIZE, Fault::Throttle)]);
    says(&begin(&world, &["--only", "db"]).expect_code(3), "PENDING");
    assert_eq!((status(&world).as_str(), world.sent(AUTHORIZE).len()), ("PENDING", 7));
    world.faults([] as [Rule; 0]);
    pass(&world.here, 0);
    assert_eq!(status(&world), "ACTIVE");
    world.ends();
}

/// A bucket for the whole account: three groups at once are too many, and all of them get there.
#[test]
fn groups_that_share_a_rate_limit_all_open() {
    let world = Sandboxed::with(&[("api", &["tcp/22"]), ("db", &["tcp/5432"]), ("web", &["tcp/443"])]);
    let limit = RateLimit { capacity: 1.0, per_second: 0.25 };
    world.region.set(|settings| settings.rate_limits = [(AUTHORIZE.to_owned(), limit)].into());
    begin(&world, &[]).expect_code(0);
    let refused = world.calls().iter().filter(|call| call.outcome == "RequestLimitExceeded").count();
    assert!(refused > 0, "the bucket holds one");
    assert_eq!(grants(&world), ["APPLIED"; 3]);
    world.ends();
}

/// B20: how often an endpoint that never works is asked.
#[test]
fn every_call_that_fails_for_good_is_sent_once() {
    let failing = |(fault, code, expected): &(Fault, i32, &str)| {
        let world = Sandboxed::new();
        world.faults([on(AUTHORIZE, fault.clone())]);
        begin(&world, &["--only", "db"]).expect_code(*code);
        assert_eq!((status(&world).as_str(), world.sent(AUTHORIZE).len()), (*expected, 1));
        world.ends();
    };
    side_by_side(
        &[
            (Fault::Status(500), 3, "PENDING"),
            (Fault::ResetBefore, 3, "PENDING"),
            (Fault::ExpiredToken, 1, "FAILED"),
            (Fault::Deny, 1, "FAILED"),
        ],
        failing,
    );
}

/// B20, readings: once where nobody waits, and after 1, 2 and 4 seconds more where a person does.
#[test]
fn a_reading_that_always_fails_is_made_four_times_at_most() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    for (fault, stopping) in [(Fault::Deny, 1), (Fault::ExpiredToken, 1), (Fault::Status(500), 4)] {
        world.faults([on(DESCRIBE, fault.clone())]);
        world.forget_calls();
        pass(&world.here, 3);
        assert_eq!(world.sent(DESCRIBE).len(), 1, "{fault:?}");
        world.forget_calls();
        world.eg(&["session", "stop", &id(&world.here)]).expect_code(3);
        assert_eq!((world.sent(DESCRIBE).len(), world.changes()), (stopping, vec![]), "{fault:?}");
    }
    world.ends();
}

/// B31: IPv4 and IPv6 are counted apart, and one call asks for both.
#[test]
fn a_full_quota_of_one_family_lets_the_other_open() {
    let world = Sandboxed::new();
    let group = world.group("db").to_owned();
    let open = |n: u16| world.foreign_rule(&group, &HandRule::new(&format!("tcp/{n}"), "2001:db8::7/128"));
    let theirs: Vec<String> = (1..=5).map(open).collect();
    world.region.set(|settings| settings.rules_per_group = 5);
    let started = begin(&world, &["--only", "db", "--ipv6", "2001:db8:42::1"]).expect_code(3);
    says(&started, "PARTIAL");
    says(&started, "ask the provider for a higher quota");
    assert_eq!(grants(&world), ["APPLIED", "FAILED"]);
    assert_eq!(each_grant(&world.here, "ipVersion"), ["4", "6"]);
    let full = "RulesPerSecurityGroupLimitExceeded";
    assert_eq!(world.outcomes(AUTHORIZE), [full, "OK", full], "together, then one by one");
    // Room is made by hand.
    world.foreign_rule_goes(&group, &theirs[0]);
    world.advance(15 * MINUTE + 1);
    pass(&world.here, 0);
    assert_eq!(status(&world), "ACTIVE");
    world.ends();
}

/// B14: what is due to be closed makes room for what is to be opened, and nothing else does.
#[test]
fn a_full_quota_is_freed_by_what_is_due() {
    let world = Sandboxed::new();
    world.region.set(|settings| settings.rules_per_group = 5);
    world.eg(&["session", "start", "--ipv4", "203.0.113.1", "--only", "db", "--duration", "1h"]).expect_code(0);
    world.advance(HOUR + 1);
    world.forget_calls();
    begin(&world, &["--only", "db"]).expect_code(0);
    assert_eq!(world.changes(), [AUTHORIZE, REVOKE, AUTHORIZE]);
    assert_eq!(world.outcomes(AUTHORIZE), ["RulesPerSecurityGroupLimitExceeded", "OK"]);
    // Now nothing is due.
    let full = world.eg(&["session", "start", "--ipv4", "203.0.113.1", "--only", "db"]).expect_code(1);
    says(&full, "FAILED");
    says(&full, "ask the provider for a higher quota");
    world.ends();
}
