//! `--until`, and what `extend` takes.

use crate::{
    cli::session::{Tale, get, start, start_id},
    harness::{Outcome, World},
};
use chrono::{DateTime, TimeDelta, Utc};
use std::time::SystemTime;

/// Berlin.
const TZ: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// Runs `eg` at a moment; `--no-wait`, since the provider knows better.
fn start_at(world: &World, now: &str, until: &str) -> Outcome {
    let offset = now.parse::<DateTime<Utc>>().unwrap() - DateTime::<Utc>::from(SystemTime::now());
    let args = ["--output", "json", "session", "start", "--no-wait", "--ipv4", "198.51.100.7", "--until", until];
    let command = world.here.command(&args).env("TZ", TZ);
    command.env("EG_TEST_CLOCK_OFFSET", offset.num_seconds().to_string()).run()
}

#[test]
fn the_next_time_that_the_clock_here_shows_it() {
    for (now, until, expected) in [
        ("2027-02-27T10:00:00Z", "18:00", "2027-02-27T17:00:00Z"),
        ("2027-02-27T18:00:00Z", "18:00", "2027-02-28T17:00:00Z"),
        ("2027-02-27T10:00:00Z", "2027-02-28 9:30", "2027-02-28T08:30:00Z"),
        ("2027-02-27T10:00:00Z", "2027-02-27T20:00:00+05:30", "2027-02-27T14:30:00Z"),
        // On 28 March 2027 the clock goes forward at 02:00; on 31 October back at 03:00.
        ("2027-03-27T20:00:00Z", "8:00", "2027-03-28T06:00:00Z"),
        ("2027-10-30T20:00:00Z", "2:30", "2027-10-31T00:30:00Z"),
        ("2027-10-31T00:45:00Z", "2:30", "2027-10-31T01:30:00Z"),
    ] {
        let world = World::new();
        let session = start_at(&world, now, until).expect_code(0).json_as("session");
        assert_eq!(session["expiresAt"], expected, "{until} at {now}");
    }
}

#[test]
fn times_that_are_none() {
    let world = World::new();
    for (now, until, why) in [
        ("2027-02-27T10:00:00Z", "6pm", "\"6pm\" is not a time"),
        ("2027-02-27T10:00:00Z", "2027-02-27 10:00", "\"2027-02-27 10:00\" has passed"),
        ("2027-02-27T10:00:00Z", "2027-03-01 10:00", "\"2027-03-01 10:00\" is 47h "),
        ("2027-02-27T16:59:30Z", "18:00", "\"18:00\" is less than 1m ahead"),
        ("2027-03-27T20:00:00Z", "2:30", "\"2:30\" does not exist on 2027-03-28"),
    ] {
        let outcome = start_at(&world, now, until).expect_code(2);
        assert!(outcome.stderr.contains(&why.replace('"', "\\\"")), "{why}: {outcome}");
    }
    world.eg(&["session", "start", "--until", "18:00", "--duration", "1h"]).expect_code(2);
    assert!(!world.here.state_path().exists(), "nothing was recorded");
}

fn later(minutes: i64) -> String {
    let at = DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::minutes(minutes);
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[test]
fn extend_by_a_duration_or_until_a_time() {
    let world = World::new();
    let session = start(&world.here, &["--duration", "2h", "--only", "dev"]);
    let id = session["id"].as_str().unwrap();
    let length = || {
        let session = get(&world.here, id);
        let at = |key: &str| DateTime::parse_from_rfc3339(session[key].as_str().unwrap()).unwrap();
        (at("expiresAt") - at("startedAt")).num_minutes()
    };
    for (args, expected) in [
        (&["--hours", "1"][..], 180),
        (&["--hours", "30m"], 210),
        (&["--duration", "1h30m"], 300),
        (&["--duration", "2"], 420),
    ] {
        world.eg(&[&["session", "extend", id], args].concat()).expect_code(0);
        assert_eq!(length(), expected, "{args:?}");
    }
    let until = later(600);
    world.eg(&["session", "extend", id, "--until", &until]).expect_code(0);
    assert_eq!(get(&world.here, id)["expiresAt"], until);
    for rule in world.cloud.rules(world.group("dev-web-sg")) {
        assert!(rule.tags.values().any(|value| *value == until), "the tags say so: {rule:?}");
    }
}

#[test]
fn what_extend_does_not_take() {
    let world = World::new();
    let id = start_id(&world.here, &["--duration", "22h45m", "--only", "dev"]);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "extend", &id, "--duration", "2h"]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--duration", "1h20m"]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--duration", "1h 5m"]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--until", "soon"]).expect_code(2);
    let (early, late) = (later(60), later(1500));
    tale.eg(&["session", "extend", &id, "--until", &early]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--until", &late]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--hours", "1", "--until", "18:00"]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--duration", "1h15m"]).expect_code(0);
    tale.eg(&["session", "extend", &id, "--duration", "1m"]).expect_code(2);
    tale.name(&early, "[EARLY]");
    tale.name(&late, "[LATE]");
    tale.end("extend_refused");
}
