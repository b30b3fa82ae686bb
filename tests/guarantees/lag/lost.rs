//! B2, B20: one call of each kind goes wrong, in each way; what the command says at once, and how often it was sent.

use super::*;

/// What came of one lost or failed call.
#[derive(Debug, PartialEq)]
struct Came {
    code: Option<i32>,
    status: String,
    /// How often the call was sent, until the command gave up and after that.
    sent: (usize, usize),
}

/// One fault on the first call of this kind that the command makes; then a minute passes, and a reconcile.
#[track_caller]
fn one(prepare: &[&[&str]], command: &[&str], action: &str, fault: Fault) -> Came {
    let world = Sandboxed::new();
    for args in prepare {
        world.eg(args).expect_code(0);
    }
    world.forget_calls();
    world.faults([on(action, fault).times(1)]);
    let session = prepare.first().map(|_| id(&world.here));
    let named: Vec<&str> = command.iter().copied().chain(session.as_deref()).collect();
    let outcome = world.eg(&named);
    let (status, first) = (status(&world), world.sent(action).len());
    world.advance(2 * MINUTE + 1);
    world.forget_calls();
    world.eg(&["reconcile"]);
    let came = Came { code: outcome.code(), status, sent: (first, world.sent(action).len()) };
    world.ends();
    came
}

const START: &[&str] = &["session", "start", "--ipv4", IPV4, "--only", "db"];
const STOP: &[&str] = &["session", "stop"];

fn came(code: i32, status: &str, first: usize, later: usize) -> Came {
    Came { code: Some(code), status: status.to_owned(), sent: (first, later) }
}

const EXTEND: &[&str] = &["session", "extend", "--hours", "1"];

/// The same, side by side, for several faults.
#[track_caller]
fn each(prepare: &[&[&str]], command: &[&str], action: &str, faults: &[Fault], expected: &Came) {
    side_by_side(faults, |fault| {
        assert_eq!(one(prepare, command, action, fault.clone()), *expected, "{fault:?}");
    });
}

const DONE: &[Fault] = &[Fault::ResetAfter, Fault::StatusAfter(500), Fault::StatusAfter(503), Fault::TruncatedPage];
const NOT_DONE: &[Fault] = &[Fault::ResetBefore, Fault::Status(500), Fault::Status(503)];

/// It is seen at once that it was done.
#[test]
fn an_authorize_that_was_done_is_recognised_by_its_tag() {
    each(&[], START, AUTHORIZE, DONE, &came(0, "ACTIVE", 1, 0));
}

/// It may still land: nothing is sent again in this pass.
#[test]
fn an_authorize_that_was_not_done_is_sent_again_by_a_later_pass() {
    each(&[], START, AUTHORIZE, NOT_DONE, &came(3, "PENDING", 1, 1));
}

/// One absent reading closes nothing, so it waits until it is settled.
#[test]
fn a_revoke_that_was_done_is_not_sent_again() {
    each(&[START], STOP, REVOKE, DONE, &came(3, "EXPIRING", 1, 0));
}

/// How often it is sent is left to the delay's jitter; that it is done once the provider is well is not.
#[test]
fn a_revoke_that_was_not_done_is_sent_again_by_a_later_pass() {
    let failing = |fault: &Fault| {
        let world = Sandboxed::new();
        world.eg(START).expect_code(0);
        world.faults([on(REVOKE, fault.clone())]);
        says(&stop(&world).expect_code(3), NOT_CONFIRMED);
        assert_eq!((status(&world).as_str(), world.ours("db").len()), ("EXPIRING", 1));
        world.faults([] as [Rule; 0]);
        world.advance(2 * MINUTE + 1);
        world.forget_calls();
        pass(&world.here, 0);
        assert_eq!((status(&world).as_str(), world.outcomes(REVOKE)), ("CANCELLED", vec!["OK".to_owned()]));
        world.ends();
    };
    side_by_side(NOT_DONE, failing);
}

#[test]
fn a_tag_write_that_was_done_is_seen() {
    each(&[START], EXTEND, TAG, DONE, &came(0, "ACTIVE", 1, 0));
}

#[test]
fn a_tag_write_that_was_not_done_is_sent_again_by_a_later_pass() {
    each(&[START], EXTEND, TAG, NOT_DONE, &came(3, "ACTIVE", 1, 1));
}

/// A reading changes nothing, so it is made again while a person waits. The one of the later pass is for collection.
#[test]
fn a_reading_that_got_lost_is_made_again() {
    let lost = [DONE, NOT_DONE].concat();
    each(&[START], STOP, DESCRIBE, &lost, &came(0, "CANCELLED", 2, 1));
    each(&[START], EXTEND, DESCRIBE, &lost, &came(0, "ACTIVE", 2, 1));
    each(&[], START, DESCRIBE, &lost, &came(0, "ACTIVE", 2, 1));
}

/// What is not known at first and seen in the end leaves nothing to say.
#[test]
fn a_pass_in_which_it_all_turns_out_well_is_a_clean_one() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db", "--no-wait"]).expect_code(0);
    world.faults([on(AUTHORIZE, Fault::ResetAfter)]);
    let passed = pass(&world.here, 0);
    says_not(&passed, "not everything is as recorded yet");
    assert_eq!((status(&world).as_str(), world.sent(AUTHORIZE).len()), ("ACTIVE", 1));
    world.ends();
}
