//! B12, B22: several processes at once, busy locks, signals.

use super::{
    AUTHORIZE, DESCRIBE, REVOKE, assert_consistent, marked, newest, one_group, says, sessions, settle, status,
    stop_and_settle,
};
use crate::harness::{Fault, World};
use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

#[test]
fn many_processes_at_once_end_consistently() {
    let world = one_group(&["tcp/22", "tcp/443"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "2h"]).expect_code(0);
    let first = newest(&world);
    let commands: Vec<Vec<&str>> = (0..24)
        .map(|number| match number % 4 {
            0 | 1 => vec!["--lock-wait", "300s", "--output", "json", "session", "start", "--duration", "3h"],
            2 => vec!["--lock-wait", "300s", "--output", "json", "session", "stop", &first],
            _ => vec!["--lock-wait", "300s", "--output", "json", "reconcile"],
        })
        .collect();
    let running: Vec<_> = commands.iter().map(|args| world.here.command(args).spawn()).collect();
    let mut started = BTreeSet::new();
    for (args, running) in commands.iter().zip(running) {
        let outcome = running.wait();
        match *args.get(5).unwrap_or(&"reconcile") {
            "start" => {
                assert_eq!(outcome.code(), Some(0), "{outcome}");
                started.insert(outcome.json_as("session")["id"].as_str().unwrap().to_owned());
            }
            // The first one stops it; for the others it is closing (0, 3) or over (1), and they say so.
            "stop" => match outcome.code() {
                Some(0 | 3) => {}
                Some(1) => says(&outcome, "CANCELLED"),
                _ => panic!("{outcome}"),
            },
            // It uses its own time to carry out what others record meanwhile.
            _ => assert_eq!(outcome.code(), Some(0), "{outcome}"),
        }
    }
    assert_eq!(started.len(), 12);
    settle(&world);
    let live: BTreeSet<_> = sessions(&world)
        .iter()
        .filter(|session| session["status"] == "ACTIVE")
        .map(|session| session["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(live, started, "no session is lost");
    assert!(sessions(&world).iter().any(|session| session["id"] == *first && session["status"] == "CANCELLED"));
    assert_consistent(&world, "prod-api-sg", 2, &before);
    stop_and_settle(&world, &before);
}

#[test]
fn twelve_first_runs_at_once_make_one_state_file() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let running: Vec<_> = (0..12)
        .map(|number| {
            let args: &[&str] = if number % 3 == 2 { &["reconcile"] } else { &["session", "start"] };
            let command = [&["--lock-wait", "300s"], args].concat();
            (args.len(), world.here.command(&command).spawn())
        })
        .collect();
    for (words, running) in running {
        let outcome = running.wait();
        assert_eq!(outcome.code(), Some(0), "{words} words: {outcome}");
    }
    assert_eq!(sessions(&world).len(), 8);
    settle(&world);
    assert_consistent(&world, "prod-api-sg", 1, &before);
    stop_and_settle(&world, &before);
}

/// A start that is recorded while a pass is at work, for a group that the pass has not looked at, is opened by that pass.
#[test]
fn a_reconcile_carries_out_what_is_recorded_meanwhile() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let start = |only: &str| world.eg(&["session", "start", "--no-wait", "--only", only]).expect_code(0);
    start("prod-api-sg");
    world.faults(&[Fault::hold(AUTHORIZE).dry_run(false).times(1)]);
    let running = world.here.command(&["reconcile"]).spawn();
    running.wait_for_delayed(AUTHORIZE);
    start("prod-db-sg");
    world.faults(&[]);
    running.wait().expect_code(0);
    let list = sessions(&world);
    assert!(list.len() == 2 && list.iter().all(|session| session["status"] == "ACTIVE"), "{list:#?}");
    assert_eq!((marked(&world, "prod-api-sg").len(), marked(&world, "prod-db-sg").len()), (1, 1));
    stop_and_settle(&world, &before);
}

/// Starts something that holds the lock until the faults are over: a start whose authorize is held.
fn holder(world: &World) -> crate::harness::eg::Running {
    world.faults(&[Fault::hold(AUTHORIZE).dry_run(false).times(1)]);
    let running = world.here.command(&["session", "start"]).spawn();
    running.wait_for_delayed(AUTHORIZE);
    running
}

#[test]
fn a_busy_lock_says_who_holds_it() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let running = holder(&world);
    running.hears();
    running.signal("STOP");
    let waiting = world.here.command(&["session", "start"]).on_terminal(24, 100);
    waiting.shows_text("Waiting for another eg (pid ");
    waiting.shows_text("eg session start, since ");
    world.faults(&[]);
    running.signal("CONT");
    assert_eq!(waiting.wait().code, Some(0));
    running.wait().expect_code(0);
    let quick = world.eg(&["reconcile"]).expect_code(0);
    assert!(!quick.stderr.contains("Waiting"), "{quick}");
    assert_consistent(&world, "prod-api-sg", 1, &before);
    stop_and_settle(&world, &before);
}

#[test]
fn a_lock_that_is_not_had_in_time_leaves_the_intent_on_record() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let running = holder(&world);
    // However slow the others are, its call is not given up.
    running.hears();
    running.signal("STOP");
    let first = newest(&world);
    let start = world.here.command(&["--lock-wait", "1s", "session", "start", "--duration", "1h"]).spawn();
    let stop = world.here.command(&["--lock-wait", "1s", "session", "stop", &first]).spawn();
    let (start, stop) = (start.wait().expect_code(4), stop.wait().expect_code(4));
    for outcome in [&start, &stop] {
        says(outcome, "another eg is at work (pid ");
        says(outcome, "recorded");
    }
    says(&start, "stop it with: eg session stop ");
    let reconcile = world.eg(&["--lock-wait", "0s", "reconcile"]);
    assert_eq!(reconcile.code(), Some(4), "{reconcile}");
    says(&reconcile, "nothing was changed; the next `eg reconcile` does what is due");
    assert!(!reconcile.stderr.contains("recorded"), "nothing was asked for: {reconcile}");
    world.faults(&[]);
    running.signal("CONT");
    let held = running.wait();
    assert!(matches!(held.code(), Some(1 | 3)), "its session was stopped meanwhile: {held}");
    settle(&world);
    let list = sessions(&world);
    let of = |id: &str| list.iter().find(|session| session["id"] == id).unwrap()["status"].clone();
    assert_eq!(of(&first), "CANCELLED");
    assert_eq!(list.iter().filter(|session| session["status"] == "ACTIVE").count(), 1);
    assert_consistent(&world, "prod-api-sg", 1, &before);
    stop_and_settle(&world, &before);
}

#[test]
fn an_extend_without_the_lock_is_recorded() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    let id = newest(&world);
    world.faults(&[Fault::hold(DESCRIBE).times(1)]);
    let running = world.here.command(&["reconcile"]).spawn();
    running.wait_for_delayed(DESCRIBE);
    running.hears();
    running.signal("STOP");
    let extend = world.eg(&["--lock-wait", "1s", "session", "extend", &id, "--hours", "1"]).expect_code(4);
    says(&extend, "is on record");
    assert!(!extend.stdout.contains('✓'), "{extend}");
    world.faults(&[]);
    running.signal("CONT");
    running.wait();
    world.eg(&["reconcile"]).expect_code(0);
    assert_consistent(&world, "prod-api-sg", 1, &before);
    stop_and_settle(&world, &before);
}

fn signalled(name: &str, number: i32) {
    let world = one_group(&["tcp/22", "tcp/443"]);
    let before = world.cloud.snapshot();
    let running = holder(&world);
    running.signal(name);
    running.hears();
    world.faults(&[]);
    let outcome = running.wait().expect_code(128 + number);
    let id = newest(&world);
    says(&outcome, &id);
    says(&outcome, &format!("eg session stop {}", &id[..8]));
    // The call in flight was finished and recorded: no unknown outcome, no waiting for the settle window.
    assert_eq!(marked(&world, "prod-api-sg").len(), 2);
    world.eg(&["reconcile"]).expect_code(0);
    assert_consistent(&world, "prod-api-sg", 2, &before);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn sigint_ends_a_start_between_steps() {
    signalled("INT", 2);
}

#[test]
fn sigterm_ends_a_start_between_steps() {
    signalled("TERM", 15);
}

#[test]
fn sighup_ends_a_start_between_steps() {
    signalled("HUP", 1);
}

#[test]
fn a_signal_in_json_is_an_error_and_the_session_is_still_printed() {
    let world = one_group(&["tcp/22"]);
    world.faults(&[Fault::hold(AUTHORIZE).dry_run(false)]);
    let running = world.here.command(&["--output", "json", "session", "start"]).spawn();
    running.wait_for_delayed(AUTHORIZE);
    running.signal("TERM");
    running.hears();
    world.faults(&[]);
    let outcome = running.wait().expect_code(143);
    assert_eq!(outcome.json_as("session")["id"], newest(&world));
    let lines = outcome.json_lines();
    assert_eq!(lines.last().unwrap()["error"]["kind"], "signal", "{outcome}");
}

#[test]
fn a_second_signal_leaves_at_once() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let running = holder(&world);
    running.signal_until_it_ends("INT").expect_code(130);
    // The call that nobody waited for is still under way; it lands later.
    assert_eq!(marked(&world, "prod-api-sg").len(), 0);
    world.faults(&[]);
    let begin = Instant::now();
    while marked(&world, "prod-api-sg").is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the call never landed");
        thread::sleep(Duration::from_millis(50));
    }
    settle(&world);
    assert_consistent(&world, "prod-api-sg", 1, &before);
    stop_and_settle(&world, &before);
}

#[test]
fn a_signal_before_anything_is_recorded_records_nothing() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.faults(&[Fault::hold(DESCRIBE)]);
    let running = world.here.command(&["session", "start"]).spawn();
    running.wait_for_delayed(DESCRIBE);
    running.signal("INT");
    running.hears();
    world.faults(&[]);
    let outcome = running.wait().expect_code(130);
    says(&outcome, "nothing was recorded");
    assert!(sessions(&world).is_empty());
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn a_signal_during_stop_and_reconcile() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    let id = newest(&world);
    world.forget_calls();
    // The signal comes while the stop looks: nothing is revoked yet, and the output says how to go on.
    world.faults(&[Fault::hold(DESCRIBE)]);
    let running = world.here.command(&["session", "stop"]).spawn();
    running.wait_for_delayed(DESCRIBE);
    running.signal("TERM");
    running.hears();
    world.faults(&[]);
    let stopped = running.wait().expect_code(143);
    says(&stopped, "Stop recorded; 1 rule still open until the next reconcile");
    says(&stopped, &format!("go on with: eg session stop {}", &id[..8]));
    assert!(world.calls().iter().all(|call| call.action != REVOKE), "{:#?}", world.calls());
    world.forget_calls();
    world.faults(&[Fault::hold(DESCRIBE)]);
    let running = world.here.command(&["reconcile"]).spawn();
    running.wait_for_delayed(DESCRIBE);
    running.signal("TERM");
    running.hears();
    world.faults(&[]);
    running.wait().expect_code(143);
    stop_and_settle(&world, &before);
    assert_eq!(status(&world), "CANCELLED");
}

/// One bad pass never ends `--watch`.
#[test]
fn watch_outlives_bad_passes() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.faults(&[Fault::deny(DESCRIBE)]);
    let running = world.here.command(&["reconcile", "--watch", "--interval", "10s"]).spawn();
    world.eg(&["session", "start", "--no-wait", "--duration", "1h"]).expect_code(0);
    running.wait_for_call(|call| call.action == DESCRIBE);
    assert_eq!(world.cloud.snapshot(), before);
    world.faults(&[]);
    running.wait_for_call(|call| call.action == AUTHORIZE && !call.dry_run);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    running.signal("TERM");
    running.wait().expect_code(0);
    stop_and_settle(&world, &before);
}

/// A process that sleeps through its pass with the lock in its hand: others say so, nothing is lost.
#[test]
fn a_suspended_process_changes_nothing_that_was_decided_since() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let running = holder(&world);
    running.hears();
    running.signal("STOP");
    let id = newest(&world);
    let stopped = world.eg(&["--lock-wait", "1s", "session", "stop", &id]).expect_code(4);
    says(&stopped, "another eg is at work (pid ");
    assert_eq!(status(&world), "EXPIRING");
    world.advance(60);
    world.faults(&[]);
    running.signal("CONT");
    let woken = running.wait();
    assert!(matches!(woken.code(), Some(1 | 3)), "{woken}");
    settle(&world);
    assert_eq!(status(&world), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// The settle window counts from the call, and not from the questions that came before it.
#[test]
fn an_attempt_is_no_older_than_its_call() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.faults(&[Fault::delay(AUTHORIZE, 3.0).dry_run(true)]);
    world.eg(&["session", "start"]).expect_code(0);
    let store = eg_state::Store::open_read_only(&world.here.state_path()).unwrap().unwrap();
    let sent = store.open_leases().unwrap()[0].last_sent_at.unwrap();
    let intent = store.events(None).unwrap().into_iter().find(|event| event.kind == eg_state::EventKind::Intent);
    let older = intent.unwrap().at - sent;
    assert!(older.num_seconds() < 3, "as old as the question before it: {older}");
    stop_and_settle(&world, &before);
}
