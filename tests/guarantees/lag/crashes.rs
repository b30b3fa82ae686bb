//! B1, B2: the process dies between the intent and the call, and between the call and its answer.

use super::*;
use std::time::Duration;

/// Longer than a test waits: the answer never comes.
const NEVER: Duration = Duration::from_secs(20);

/// Kills a command once a call with this action has arrived, with this fault on every one.
#[track_caller]
fn die(world: &Sandboxed, args: &[&str], action: &str, fault: Fault) {
    world.faults([on(action, fault)]);
    world.forget_calls();
    let running = world.here.command(args).spawn();
    world.wait_for(action);
    running.signal("KILL");
    assert_eq!(running.wait().code(), None);
    world.faults([] as [Rule; 0]);
    world.forget_calls();
}

const START: &[&str] = &["session", "start", "--ipv4", IPV4, "--only", "db"];

/// B1.
#[test]
fn a_start_that_died_before_its_call_is_opened_by_the_next_pass() {
    let world = Sandboxed::new();
    die(&world, START, AUTHORIZE, Fault::ResetBefore);
    assert_eq!(status(&world), "PENDING");
    assert_eq!(ids(&world, "db"), [""; 0]);
    world.advance(MINUTE + 1);
    pass(&world.here, 0);
    assert_eq!(status(&world), "ACTIVE");
    assert_eq!(world.outcomes(AUTHORIZE), ["OK"]);
    assert_eq!(ids(&world, "db").len(), 1);
    world.ends();
}

/// B1: it cannot be known that the call never arrived, so the lease stays open for the settle window.
#[test]
fn a_start_that_died_before_its_call_is_closed_once_it_is_settled() {
    let world = Sandboxed::new();
    die(&world, START, AUTHORIZE, Fault::ResetBefore);
    says(&stop(&world).expect_code(3), NOT_CONFIRMED);
    assert_eq!(status(&world), "EXPIRING");
    pass(&world.here, 3);
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(world.changes(), [""; 0], "there was nothing to change");
    world.ends();
}

/// B2.
#[test]
fn a_start_that_died_after_its_call_finds_its_rule_again() {
    let world = Sandboxed::new();
    die(&world, START, AUTHORIZE, Fault::Slow(NEVER));
    let opened = ids(&world, "db");
    assert_eq!(opened.len(), 1);
    assert_eq!(status(&world), "PENDING");
    pass(&world.here, 0);
    assert_eq!(status(&world), "ACTIVE");
    assert_eq!(each_grant(&world.here, "providerRuleId"), opened);
    assert_eq!(each_grant(&world.here, "coverage"), ["own"]);
    assert_eq!(world.changes(), [""; 0], "no second rule, and nothing to mend");
    world.ends();
}

/// B2: stopped before anybody has seen the rule.
#[test]
fn a_start_that_died_after_its_call_can_be_stopped_at_once() {
    let world = Sandboxed::new();
    die(&world, START, AUTHORIZE, Fault::Slow(NEVER));
    says(&stop(&world).expect_code(3), NOT_CONFIRMED);
    assert_eq!(ids(&world, "db"), [""; 0], "what is there is closed at once");
    assert_eq!(status(&world), "EXPIRING", "a second copy of the call could still land");
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(world.outcomes(REVOKE), ["OK"]);
    world.ends();
}

/// B2, closing.
#[test]
fn a_stop_that_died_after_its_revoke_is_done_once_it_is_settled() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    die(&world, &["session", "stop"], REVOKE, Fault::Slow(NEVER));
    assert_eq!(ids(&world, "db"), [""; 0]);
    assert_eq!(status(&world), "EXPIRING");
    says(&pass(&world.here, 3), "tcp/5432 from 203.0.113.42/32");
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(world.outcomes(REVOKE), [""; 0]);
    world.ends();
}

/// B1, closing.
#[test]
fn a_stop_that_died_before_its_revoke_is_carried_on() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    die(&world, &["session", "stop"], REVOKE, Fault::ResetBefore);
    assert_eq!(ids(&world, "db").len(), 1);
    assert_eq!(status(&world), "EXPIRING");
    world.advance(16);
    says(&pass(&world.here, 0), "- close sgr-");
    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(world.outcomes(REVOKE), ["OK"]);
    world.ends();
}

/// Slower than the call may take: the same as no answer, and the rule is found by its tag.
#[test]
fn an_authorize_that_answers_too_late_is_found_by_reading() {
    let world = Sandboxed::new();
    world.faults([on(AUTHORIZE, Fault::Slow(Duration::from_secs(12)))]);
    begin(&world, &["--only", "db"]).expect_code(0);
    assert_eq!(world.sent(AUTHORIZE).len(), 1);
    assert_eq!(status(&world), "ACTIVE");
    assert_eq!(each_grant(&world.here, "providerRuleId"), ids(&world, "db"));
    world.ends();
}

/// The same for a reading: it is not known what is there.
#[test]
fn a_reading_that_answers_too_late_is_no_reading() {
    let world = Sandboxed::new();
    begin(&world, &[]).expect_code(0);
    world.faults([on(DESCRIBE, Fault::Slow(Duration::from_secs(12)))]);
    world.forget_calls();
    says(&pass(&world.here, 3), "cannot be read");
    assert_eq!(world.changes(), [""; 0]);
    assert_eq!(status(&world), "ACTIVE");
    world.ends();
}
