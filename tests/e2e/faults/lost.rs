//! B2, B3, B11, B15, B20: calls and answers that get lost, servers that fail, and effects that come late.

use super::{
    AUTHORIZE, DESCRIBE, REVOKE, SETTLED, TAG, UNTAG, assert_consistent, marked, newest, one_group, says, sessions,
    settle, status, stop_and_settle,
};
use crate::harness::{Fault, World, moto::Call};

/// Start, extend, stop, with one fault on each side of every call; then everything is as if nothing had happened.
fn lifecycle(fault: impl Fn() -> Fault) {
    let world = one_group(&["tcp/22", "tcp/443"]);
    let before = world.cloud.snapshot();
    world.faults(&[fault()]);
    let started = world.eg(&["session", "start"]);
    assert!(matches!(started.code(), Some(0 | 3)), "{started}");
    world.faults(&[fault()]);
    settle(&world);
    assert_consistent(&world, "prod-api-sg", 2, &before);
    world.faults(&[fault()]);
    let extended = world.eg(&["session", "extend", &newest(&world), "--hours", "1"]);
    assert!(matches!(extended.code(), Some(0 | 3)), "{extended}");
    settle(&world);
    assert_consistent(&world, "prod-api-sg", 2, &before);
    world.faults(&[fault()]);
    stop_and_settle(&world, &before);
    assert_eq!(status(&world), "CANCELLED");
}

#[test]
fn one_lost_request_of_each_kind() {
    for action in [AUTHORIZE, REVOKE, TAG, DESCRIBE] {
        lifecycle(|| Fault::lose_request(action).times(1));
    }
}

#[test]
fn one_lost_answer_of_each_kind() {
    for action in [AUTHORIZE, REVOKE, TAG, DESCRIBE] {
        lifecycle(|| Fault::lose_answer(action).times(1));
    }
}

#[test]
fn one_server_error_of_each_kind() {
    for action in [AUTHORIZE, REVOKE, TAG, DESCRIBE] {
        lifecycle(|| Fault::refuse(action, 500, "InternalError", "An internal error has occurred").times(1));
        lifecycle(|| Fault::refuse(action, 503, "Unavailable", "The server is overloaded").times(1));
    }
}

#[test]
fn throttling_is_waited_for_within_the_pass() {
    let throttled = |action| Fault::refuse(action, 503, "RequestLimitExceeded", "Request limit exceeded.").times(2);
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.faults(&[throttled(AUTHORIZE).dry_run(false)]);
    world.eg(&["session", "start"]).expect_code(0);
    let authorized = |world: &World| world.calls().iter().filter(|c| c.action == AUTHORIZE && !c.dry_run).count();
    assert_eq!(authorized(&world), 3, "two refusals, one success, and no second layer of retries");
    world.faults(&[throttled(TAG)]);
    world.eg(&["session", "extend", &newest(&world), "--hours", "1"]).expect_code(0);
    assert_consistent(&world, "prod-api-sg", 1, &before);
    world.faults(&[throttled(REVOKE)]);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    assert_eq!(status(&world), "CANCELLED");
}

#[test]
fn throttled_readings_are_retried_within_the_pass() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let throttled = || Fault::refuse(DESCRIBE, 503, "RequestLimitExceeded", "Request limit exceeded.").times(1);
    world.faults(&[throttled()]);
    world.eg(&["session", "start"]).expect_code(0);
    world.faults(&[throttled()]);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn throttling_that_does_not_end_is_given_up_and_counted() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.faults(&[Fault::refuse(AUTHORIZE, 503, "RequestLimitExceeded", "Request limit exceeded.").dry_run(false)]);
    let started = world.eg(&["session", "start"]).expect_code(3);
    says(&started, "PENDING");
    let calls = world.calls().iter().filter(|c| c.action == AUTHORIZE && !c.dry_run).count();
    assert!((2..=8).contains(&calls), "{calls} calls");
    world.faults(&[]);
    world.advance(1000);
    settle(&world);
    assert_eq!(status(&world), "ACTIVE");
    stop_and_settle(&world, &before);
}

#[test]
fn an_authorize_that_never_arrives_is_pending_and_bounded() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.faults(&[Fault::lose_request(AUTHORIZE).dry_run(false)]);
    let started = world.eg(&["session", "start"]).expect_code(3);
    says(&started, "PENDING");
    let calls = world.calls().iter().filter(|c| c.action == AUTHORIZE && !c.dry_run).count();
    assert!((1..=4).contains(&calls), "{calls} calls: the loop is the only one that retries");
    assert_eq!(world.cloud.snapshot(), before);
    world.faults(&[]);
    world.advance(1000);
    settle(&world);
    assert_eq!(status(&world), "ACTIVE");
    stop_and_settle(&world, &before);
}

/// The tags that a call puts on the rules that it makes.
fn tags_of(call: &Call) -> Vec<(String, String)> {
    let field = |name: String| call.fields.get(&name).and_then(|value| value.as_str()).map(str::to_owned);
    let tag = |n: usize| {
        Some((
            field(format!("TagSpecification.1.Tag.{n}.Key"))?,
            field(format!("TagSpecification.1.Tag.{n}.Value")).unwrap_or_default(),
        ))
    };
    (1..).map_while(tag).collect()
}

/// B3. The lost authorize lands `late` seconds after the stop.
fn a_late_authorize(late: i64) {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.faults(&[Fault::lose_request(AUTHORIZE).dry_run(false)]);
    world.eg(&["session", "start"]).expect_code(3);
    let stopped = world.eg(&["session", "stop"]).expect_code(3);
    says(&stopped, "Stop recorded; 1 rule still open until ");
    assert!(!stopped.stdout.contains("✓ Session stopped"), "{stopped}");
    assert_eq!(status(&world), "EXPIRING");
    let calls = world.calls();
    let lost = calls.iter().rfind(|call| call.action == AUTHORIZE && !call.dry_run).unwrap();
    let tags = tags_of(lost);
    assert!(tags.iter().any(|(key, _)| key.starts_with("eg:lease:")), "{tags:?}");
    let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();

    world.advance(late);
    world.cloud.authorize(world.group("prod-api-sg"), "tcp/22", "203.0.113.42/32", "eg late", &tags);
    assert_eq!(marked(&world, "prod-api-sg").len(), 1);
    world.faults(&[]);
    world.eg(&["reconcile"]).expect_code(3);
    // The failed attempts to open may keep the closing waiting, but never for more than two minutes.
    world.advance(121);
    let reconciled = world.eg(&["reconcile"]).expect_code(3);
    assert_eq!(world.cloud.snapshot(), before, "{reconciled}");
    assert_eq!(status(&world), "EXPIRING", "another copy of the call could still land");
    world.eg(&["reconcile"]).expect_code(3);
    world.advance(SETTLED);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(sessions(&world)[0]["endedReason"], "MANUAL");
    stop_and_settle(&world, &before);
}

#[test]
fn an_authorize_that_lands_after_the_stop_is_revoked() {
    a_late_authorize(1);
}

#[test]
fn an_authorize_that_lands_late_in_the_settle_window_is_revoked() {
    a_late_authorize(170);
}

#[test]
fn the_stop_of_a_lost_authorize_names_the_time_again() {
    let world = one_group(&["tcp/22"]);
    world.faults(&[Fault::lose_request(AUTHORIZE).dry_run(false)]);
    world.eg(&["session", "start"]).expect_code(3);
    world.eg(&["session", "stop"]).expect_code(3);
    world.faults(&[]);
    let id = newest(&world);
    let again = world.eg(&["session", "stop", &id]).expect_code(3);
    says(&again, "still open until ");
    world.advance(SETTLED);
    let last = world.eg(&["session", "stop", &id]).expect_code(0);
    says(&last, "✓ Session stopped");
    let ended = world.eg(&["session", "stop", &id]).expect_code(1);
    says(&ended, "CANCELLED");
}

#[test]
fn a_revoke_that_never_arrives_keeps_the_session_expiring() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    world.faults(&[Fault::lose_request(REVOKE)]);
    let stopped = world.eg(&["session", "stop"]).expect_code(3);
    says(&stopped, "Stop recorded; 1 rule still open until ");
    assert_eq!(status(&world), "EXPIRING");
    let revokes = world.calls().iter().filter(|c| c.action == REVOKE && !c.dry_run).count();
    assert!((1..=4).contains(&revokes), "{revokes} revokes");
    world.faults(&[]);
    world.advance(120);
    let closed = world.eg(&["reconcile"]).expect_code(0);
    says(&closed, "- close ");
    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// B11.
#[test]
fn a_reading_that_fails_is_never_an_empty_one() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    let open = world.cloud.snapshot();
    for fault in [
        Fault::lose_request(DESCRIBE),
        Fault::lose_answer(DESCRIBE),
        Fault::refuse(DESCRIBE, 500, "InternalError", "An internal error has occurred"),
        Fault::refuse(DESCRIBE, 403, "UnauthorizedOperation", "You are not authorized to perform this operation."),
        Fault::refuse(DESCRIBE, 400, "ExpiredToken", "The security token included in the request is expired"),
    ] {
        world.forget_calls();
        world.faults(&[fault]);
        world.eg(&["reconcile"]).expect_code(3);
        assert!(
            world.calls().iter().all(|call| call.action != AUTHORIZE && call.action != REVOKE),
            "{}",
            world.call_counts()
        );
        assert_eq!(world.cloud.snapshot(), open);
        assert_eq!(status(&world), "ACTIVE", "what was held is still believed to be held");
        let dry = world.eg(&["reconcile", "--dry-run"]).expect_code(3);
        assert!(!dry.stdout.contains('+'), "{dry}");
    }
    // A stop meets the same: nothing is closed on a reading that was not had.
    let stopped = world.eg(&["session", "stop"]).expect_code(3);
    assert!(!stopped.stdout.contains("✓ Session stopped"), "{stopped}");
    world.advance(SETTLED);
    world.eg(&["reconcile"]).expect_code(3);
    assert_eq!((status(&world).as_str(), world.cloud.snapshot()), ("EXPIRING", open));
    world.faults(&[]);
    stop_and_settle(&world, &before);
}

/// B2: an authorize whose answers get lost has opened its rules all the same; they are ours by their tags.
#[test]
fn a_rule_whose_answer_was_lost_is_recognised() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.faults(&[Fault::lose_answer(AUTHORIZE).dry_run(false)]);
    world.eg(&["session", "start"]).expect_code(0);
    assert_eq!(status(&world), "ACTIVE");
    assert_eq!(marked(&world, "prod-api-sg").len(), 1);
    let calls = world.calls().iter().filter(|c| c.action == AUTHORIZE && !c.dry_run).count();
    assert_eq!(calls, 1);
    world.faults(&[]);
    // The lost answer's call might still have a twin on the way: the stop says so and waits for it.
    let stopped = world.eg(&["session", "stop"]);
    assert!(matches!(stopped.code(), Some(0 | 3)), "{stopped}");
    assert_eq!(world.cloud.snapshot(), before);
    stop_and_settle(&world, &before);
}

/// Two installations behind one address; every call of joining and leaving gets lost once.
#[test]
fn joins_and_leaves_survive_lost_calls() {
    for fault in [Fault::lose_request, Fault::lose_answer] {
        let world = one_group(&["tcp/22"]);
        let before = world.cloud.snapshot();
        let other = world.installation("other-machine");
        world.eg(&["session", "start"]).expect_code(0);
        let first = marked(&world, "prod-api-sg")[0].id.clone();
        world.faults(&[fault(TAG).times(1)]);
        let joined = other.eg(&["session", "start"]);
        assert!(matches!(joined.code(), Some(0 | 3)), "{joined}");
        world.advance(130);
        other.eg(&["reconcile"]).expect_code(0);
        assert_eq!(super::lease_values(&marked(&world, "prod-api-sg")[0]).len(), 2);
        // The opener leaves; the other still holds the rule.
        world.faults(&[fault(UNTAG).times(1)]);
        let left = world.eg(&["session", "stop"]);
        assert!(matches!(left.code(), Some(0 | 3)), "{left}");
        world.advance(SETTLED);
        settle(&world);
        assert_eq!(status(&world), "CANCELLED");
        let rules = marked(&world, "prod-api-sg");
        assert_eq!((rules.len(), rules[0].id.as_str(), super::lease_values(&rules[0]).len()), (1, first.as_str(), 1));
        let stopped = other.eg(&["session", "stop"]);
        assert!(matches!(stopped.code(), Some(0 | 3)), "{stopped}");
        assert_eq!(world.cloud.snapshot(), before);
        world.advance(SETTLED);
        other.eg(&["reconcile"]).expect_code(0);
        world.eg(&["reconcile"]).expect_code(0);
        assert_eq!(world.cloud.snapshot(), before);
    }
}
