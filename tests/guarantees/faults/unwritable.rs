//! B21, B35: what keeps the record from being written, though not from being read: a limit on the size of files, and
//! another process that keeps it locked. And a limit on open files, with which nothing works, but nothing panics either.

use super::{AUTHORIZE, one_group, says, says_not, settle, status, stop_and_settle};
use crate::harness::{Outcome, World};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// Runs `eg` with limits of the shell's.
fn limited(world: &World, limits: &str, args: &str) -> Outcome {
    let line = format!("{limits}; exec {} {args}", env!("CARGO_BIN_EXE_eg"));
    world.here.command(&[]).in_bash(&line).run()
}

/// By default SIGXFSZ would end the process without a word.
#[test]
fn a_limit_on_file_sizes_does_not_keep_an_overdue_rule_open() {
    for limit in ["ulimit -f 0", "ulimit -f 8"] {
        let world = one_group(&["tcp/22", "tcp/443"]);
        let before = world.cloud.snapshot();
        world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
        world.advance(3601);
        let closed = limited(&world, limit, "reconcile").expect_code(3);
        assert_eq!(world.cloud.snapshot(), before, "{limit}: {closed}");
        says(&closed, "may not write files that large");
        says(&closed, "ulimit -f");
        world.advance(1000);
        settle(&world);
        assert_eq!(status(&world), "EXPIRED");
        stop_and_settle(&world, &before);
    }
}

#[test]
fn a_limit_on_file_sizes_keeps_no_stop_from_being_carried_out_and_opens_nothing() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    let open = world.cloud.snapshot();
    let started = limited(&world, "ulimit -f 0", "session start").expect_code(1);
    says(&started, "may not write files that large");
    assert_eq!(world.cloud.snapshot(), open);
    let stopped = limited(&world, "ulimit -f 0", "session stop").expect_code(3);
    says(&stopped, "the stop could not be recorded");
    assert!(!stopped.stdout.contains("✓ Session stopped"), "{stopped}");
    assert_eq!(world.cloud.snapshot(), before, "{stopped}");
    stop_and_settle(&world, &before);
}

/// A transaction of another process, which is stopped in it for good.
fn locked(world: &World) -> Connection {
    let connection = Connection::open(world.here.state_path()).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[test]
fn a_record_that_stays_locked_does_not_keep_an_overdue_rule_open() {
    let world = one_group(&["tcp/22", "tcp/443"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    world.advance(3601);
    let other = locked(&world);
    let closed = world.eg(&["reconcile"]).expect_code(3);
    assert_eq!(world.cloud.snapshot(), before, "{closed}");
    says(&closed, "state.db is in use by another process");
    let said: Vec<&str> = closed.stderr.lines().filter(|line| line.contains("in use by")).collect();
    assert_eq!(said.len(), said.iter().collect::<BTreeSet<_>>().len(), "each thing is said once: {closed}");
    other.execute_batch("ROLLBACK").unwrap();
    world.advance(1000);
    settle(&world);
    assert_eq!(status(&world), "EXPIRED");
    stop_and_settle(&world, &before);
}

#[test]
fn a_record_that_stays_locked_keeps_no_stop_from_being_carried_out_and_opens_nothing() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    let open = world.cloud.snapshot();
    let other = locked(&world);
    world.forget_calls();
    let started = world.eg(&["session", "start"]).expect_code(1);
    says(&started, "is in use by another process");
    assert!(world.calls().iter().all(|call| call.action != AUTHORIZE));
    assert_eq!(world.cloud.snapshot(), open);
    let stopped = world.eg(&["session", "stop"]).expect_code(3);
    says(&stopped, "the stop could not be recorded");
    says(&stopped, "is in use by another process");
    says_not(&stopped, "disk is full");
    assert_eq!(world.cloud.snapshot(), before, "{stopped}");
    other.execute_batch("ROLLBACK").unwrap();
    stop_and_settle(&world, &before);
}

/// With so few files nothing can be done; it is said, and the next pass does it.
#[test]
fn a_limit_on_open_files_is_an_error_and_no_panic() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    world.advance(3601);
    for files in 6..=30 {
        for args in ["reconcile", "session list"] {
            let outcome = limited(&world, &format!("ulimit -n {files}"), args);
            says_not(&outcome, "panicked");
            assert!(matches!(outcome.code(), Some(0 | 1 | 3)), "{files} files, {args}: {outcome}");
            if outcome.code() != Some(0) {
                says(&outcome, "error: ");
            }
        }
    }
    let few = limited(&world, "ulimit -n 8", "session start").expect_code(1);
    says(&few, "ulimit -n");
    settle(&world);
    assert_eq!(status(&world), "EXPIRED");
    stop_and_settle(&world, &before);
}
