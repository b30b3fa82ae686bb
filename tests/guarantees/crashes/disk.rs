//! Writes that fail: at every write of every command, a disk that is full from there on (`EG_TEST_FULL_AT`), and a
//! record that another process holds (`EG_TEST_BUSY_AT`). Neither ever keeps a rule open. How SQLite itself fails on a full disk is tested in `state/`,
//! and with a real one in `faults/surroundings`.

use super::*;
use std::{thread, time::Duration};

/// What makes the world of a test.
type World = fn() -> Sandboxed;

/// The record, what is open, and the expiry schedules in the cloud.
type End = (Vec<Value>, Vec<String>, Vec<String>);

/// Whether the session that was asked to end is still one that opens rules.
fn lives(record: &[Value]) -> bool {
    record
        .first()
        .is_some_and(|session| ["PENDING", "ACTIVE", "PARTIAL", "FAILED"].iter().any(|s| session["status"] == *s))
}

/// Runs the command with one variable in its environment; and whether there was such a write: it fails, or the log at
/// least says so, where the command could do without it.
fn failing(world: &Sandboxed, command: &[String], number: usize, var: &str) -> (Outcome, bool) {
    let command = [words(&["-v"]), command.to_vec()].concat();
    let outcome = with(world, &command, &[(var, number.to_string())]);
    let failed = outcome.code() != Some(0) || outcome.stderr.contains("a test says so");
    (outcome, failed)
}

/// Carries the scenario out with one variable in its environment, then without; and compares. Whether there was such a
/// write.
fn fails_at(scenario: &Scenario, make: World, number: usize, var: &str, end: &End) -> bool {
    let world = make();
    (scenario.prepare)(&world);
    let command = (scenario.command)(&world);
    let before = Before::of(&world);
    world.forget_calls();
    let (outcome, failed) = failing(&world, &command, number, var);
    let closes = end.1.is_empty();
    let open_now = open(&world);
    if closes {
        assert_eq!(open_now, Vec::<String>::new(), "{} with {var}={number}: it is open\n{outcome}", scenario.name);
    }
    if !closes && world.sessions_of(&world.here) == before.sessions {
        assert_eq!(open_now, before.open, "{} at {number}: opened without a record\n{outcome}", scenario.name);
    }
    if failed {
        let again = world.sessions_of(&world.here) == before.sessions || (closes && lives(&record(&world)));
        world.eg(&if again { command.iter().map(String::as_str).collect() } else { vec!["reconcile"] });
    }
    world.advance(SETTLED);
    settles(&world);
    assert_eq!(
        (record(&world), open(&world), auto_closes(&world)),
        *end,
        "{} with {var}={number}\n{outcome}",
        scenario.name
    );
    let authorized = history(&world).get("AuthorizeSecurityGroupIngress").copied().unwrap_or_default();
    assert_eq!(authorized, if scenario.name == "start" { 2 } else { 0 }, "{} with {var}={number}", scenario.name);
    world.ends();
    failed
}

const FULL: &str = "EG_TEST_FULL_AT";
const BUSY: &str = "EG_TEST_BUSY_AT";

#[track_caller]
fn at_every_write(name: &str, var: &str, make: World) {
    let scenario = scenario(name);
    let end = undisturbed_in(scenario, make, |world| (record(world), open(world), auto_closes(world)));
    let count = until_past_the_end(|number| fails_at(scenario, make, number, var, &end));
    eprintln!("{name}: {var} at each of {count} writes");
    assert!(count >= 4, "only {count} writes: a door has lost its observer");
}

#[test]
fn a_start_on_a_disk_that_fills() {
    at_every_write("start", FULL, one_group);
}

#[test]
fn a_stop_on_a_disk_that_fills() {
    at_every_write("stop", FULL, one_group);
}

#[test]
fn an_expiry_on_a_disk_that_fills() {
    at_every_write("expire", FULL, one_group);
}

#[test]
fn a_start_with_a_record_in_use() {
    at_every_write("start", BUSY, one_group);
}

#[test]
fn a_stop_with_a_record_in_use() {
    at_every_write("stop", BUSY, one_group);
}

#[test]
fn an_expiry_with_a_record_in_use() {
    at_every_write("expire", BUSY, one_group);
}

#[test]
fn a_start_with_auto_closes_on_a_disk_that_fills() {
    at_every_write("start", FULL, one_group_with_auto_closes);
}

#[test]
fn a_stop_with_auto_closes_on_a_disk_that_fills() {
    at_every_write("stop", FULL, one_group_with_auto_closes);
}

#[test]
fn a_start_with_auto_closes_and_a_record_in_use() {
    at_every_write("start", BUSY, one_group_with_auto_closes);
}

#[test]
fn a_stop_with_auto_closes_and_a_record_in_use() {
    at_every_write("stop", BUSY, one_group_with_auto_closes);
}

/// A session around a command: whatever cannot be written, the rules that it opened are closed when it ends, and where
/// that is not on record it says so.
#[track_caller]
fn around_a_command(var: &str) {
    let command = words(&["session", "run", "--ipv4", IPV4, "--duration", "2h", "--", "true"]);
    let count = until_past_the_end(|number| {
        let world = one_group();
        let (outcome, failed) = failing(&world, &command, number, var);
        assert!(matches!(outcome.code(), Some(0 | 1 | 3)), "{number}: {outcome}");
        assert_eq!(open(&world), Vec::<String>::new(), "at {number}: it is open\n{outcome}");
        if outcome.code() != Some(3) {
            assert!(!lives(&record(&world)), "at {number}: it lives on record, and nobody says so\n{outcome}");
        }
        if lives(&record(&world)) {
            world.eg(&["session", "stop", "--all"]);
        }
        world.advance(SETTLED);
        settles(&world);
        assert_eq!(open(&world), Vec::<String>::new());
        world.ends();
        failed
    });
    eprintln!("run: {var} at each of {count} writes");
    assert!(count >= 8, "only {count} writes: a door has lost its observer");
}

#[test]
fn a_session_around_a_command_on_a_disk_that_fills() {
    around_a_command(FULL);
}

#[test]
fn a_session_around_a_command_with_a_record_in_use() {
    around_a_command(BUSY);
}

/// A real lock, held from before the command until well within SQLite's patience: the command waits and is whole.
#[test]
fn a_writer_that_takes_its_time_is_waited_for() {
    let world = one_group();
    begin(&world);
    let connection = rusqlite::Connection::open(world.here.state_path()).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let here = &world.here;
        let stop = scope.spawn(move || here.eg(&["session", "stop"]));
        thread::sleep(Duration::from_millis(700));
        assert!(!stop.is_finished(), "it did not wait");
        connection.execute_batch("ROLLBACK").unwrap();
        stop.join().unwrap().expect_code(0);
    });
    assert_eq!(open(&world), Vec::<String>::new());
    world.ends();
}
