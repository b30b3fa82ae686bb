//! `eg session ensure`.

use super::sessions;
use crate::{
    cli::session::{Tale, get, start},
    harness::{Fault, IPV4, World},
};
use chrono::{DateTime, FixedOffset};
use serde_json::Value;

/// `ensure` in JSON; the session.
#[track_caller]
fn ensure(world: &World, more: &[&str]) -> Value {
    world.eg(&[&["--output", "json", "session", "ensure"], more].concat()).expect_code(0).json_as("session")
}

fn time(value: &Value) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap()
}

#[test]
fn the_second_time_nothing_is_done() {
    let world = World::new();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "ensure", "--only", "prod", "--duration", "2h"]).expect_code(0);
    let rules = world.cloud.snapshot();
    world.forget_calls();
    tale.eg(&["session", "ensure", "--only", "prod", "--duration", "2h"]).expect_code(0);
    assert_eq!(world.call_counts(), "1×DescribeSecurityGroupRules", "one look");
    let quiet = world.eg(&["-q", "session", "ensure", "--only", "prod", "--duration", "2h"]).expect_code(0);
    assert_eq!(quiet.stdout, "");
    assert_eq!(quiet.stderr.lines().filter(|line| !line.starts_with("Using endpoint ")).count(), 0, "{quiet}");
    // Less than asked is left; more than asked is.
    world.advance(1800);
    tale.eg(&["session", "ensure", "--only", "prod", "--duration", "2h"]).expect_code(0);
    tale.eg(&["session", "ensure", "--only", "prod", "--duration", "1h"]).expect_code(0);
    tale.end("ensure");
    let list = sessions(&world);
    assert_eq!(list.len(), 1);
    let length = (time(&list[0]["expiresAt"]) - time(&list[0]["startedAt"])).num_seconds();
    assert!((9000..9060).contains(&length), "{length}");
    let until = list[0]["expiresAt"].as_str().unwrap();
    for rule in world.cloud.rules(world.group("prod-db-sg")) {
        assert!(rule.tags.iter().any(|(key, value)| key.starts_with("eg:lease:") && value == until), "{rule:?}");
    }
    assert_eq!(world.cloud.snapshot().lines().count(), rules.lines().count(), "no second rule");
}

#[test]
fn in_json_it_is_the_session() {
    let world = World::new();
    let first = ensure(&world, &["--only", "dev"]);
    assert_eq!((&first["status"], &first["ipv4Address"]), (&"ACTIVE".into(), &IPV4.into()));
    assert!(first["callerArns"][0].as_str().unwrap().contains(world.account()));
    assert_eq!(ensure(&world, &["--only", "dev"]), first);
    assert_eq!(get(&world.here, first["id"].as_str().unwrap()), first);
}

#[test]
fn a_session_of_start_will_do() {
    let world = World::new();
    let started = start(&world.here, &["--only", "dev", "--no-wait"]);
    assert_eq!(started["status"], "PENDING");
    let ensured = ensure(&world, &["--only", "dev"]);
    assert_eq!((&ensured["id"], &ensured["status"]), (&started["id"], &"ACTIVE".into()));
}

#[test]
fn another_session_will_not_do() {
    let world = World::new();
    let first = ensure(&world, &["--only", "prod"])["id"].clone();
    for other in [
        &["--only", "prod-api-sg"][..],
        &["--only", "prod", "--only", "dev"],
        &["--only", "prod", "--ipv4", "198.51.100.7"],
    ] {
        assert_ne!(ensure(&world, other)["id"], first, "{other:?}");
    }
    world.echo4.iter().for_each(|echo| echo.say("198.51.100.9"));
    let args = ["session", "ensure", "--only", "prod"];
    let moved = world.eg(&args).expect_code(0);
    assert!(moved.stderr.contains(&format!("is still open for {IPV4}; your address has changed since")), "{moved}");
    assert_eq!(sessions(&world).len(), 5);
    // The ports are those of today: the session that has others goes on beside.
    world.write_config(&world.default_config().replace("\"tcp/5432\"", "\"tcp/5433\""));
    world.eg(&args).expect_code(0);
    assert_eq!(sessions(&world).len(), 6);
}

#[test]
fn what_has_ended_is_started_anew() {
    let world = World::new();
    let first = ensure(&world, &["--only", "dev", "--duration", "1h"])["id"].clone();
    world.advance(3600);
    let second = ensure(&world, &["--only", "dev", "--duration", "1h"])["id"].clone();
    assert_ne!(second, first);
    world.eg(&["session", "stop", second.as_str().unwrap()]).expect_code(0);
    assert_ne!(ensure(&world, &["--only", "dev", "--duration", "1h"])["id"], second);
}

/// New before old: where the longest session is over, another one takes over while the first still runs.
#[test]
fn at_the_longest_a_new_one_goes_on() {
    let world = World::new();
    let first = ensure(&world, &["--only", "dev", "--duration", "22h30m"]);
    world.advance(3600);
    let topped = ensure(&world, &["--only", "dev", "--duration", "22h30m"]);
    assert_eq!(topped["id"], first["id"], "within 24 hours in all");
    let rules = world.cloud.snapshot().lines().count();
    world.advance(3600);
    let second = ensure(&world, &["--only", "dev", "--duration", "22h30m"]);
    assert_ne!(second["id"], first["id"]);
    let old = get(&world.here, first["id"].as_str().unwrap());
    assert_eq!((&old["status"], &old["expiresAt"]), (&"ACTIVE".into(), &topped["expiresAt"]));
    assert_eq!(world.cloud.snapshot().lines().count(), rules, "one rule for both");
    world.advance(22 * 3600);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.cloud.snapshot().lines().count(), rules, "and it stays for the second");
}

#[test]
fn what_is_not_as_it_should_be_is_repaired() {
    let world = World::new();
    let first = ensure(&world, &["--only", "prod"]);
    let rules = world.cloud.rules(world.group("prod-api-sg"));
    world.cloud.revoke(world.group("prod-api-sg"), &rules[0].id);
    let again = ensure(&world, &["--only", "prod"]);
    assert_eq!((&again["id"], &again["status"]), (&first["id"], &"ACTIVE".into()));
    assert_eq!(world.cloud.rules(world.group("prod-api-sg")).len(), 1);
    // One that failed is tried again at once.
    world.faults(&[Fault::deny("AuthorizeSecurityGroupIngress").dry_run(false)]);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "ensure", "--only", "dev"]).expect_code(1);
    tale.eg(&["session", "ensure", "--only", "dev"]).expect_code(1);
    world.faults(&[]);
    tale.eg(&["session", "ensure", "--only", "dev"]).expect_code(0);
    tale.end("ensure_repairs");
    assert_eq!(sessions(&world).len(), 2);
}

/// "Open now" is said only of what was seen now.
#[test]
fn what_cannot_be_seen_is_not_called_open() {
    let world = World::new();
    ensure(&world, &["--only", "dev"]);
    world.faults(&[Fault::deny("DescribeSecurityGroupRules")]);
    let outcome = world.eg(&["session", "ensure", "--only", "dev"]).expect_code(3);
    assert!(outcome.stdout.contains("it was ACTIVE when last seen"), "{outcome}");
    let outcome = world.eg(&["--output", "json", "session", "ensure", "--only", "dev"]).expect_code(3);
    assert_eq!(outcome.json_as("session")["status"], "ACTIVE");
    outcome.json_lines();
}

#[test]
fn many_at_once_make_one_session() {
    let world = World::new();
    let running: Vec<_> = (0..8)
        .map(|_| world.here.command(&["--lock-wait", "300s", "session", "ensure", "--only", "prod"]).spawn())
        .collect();
    for running in running {
        running.wait().expect_code(0);
    }
    assert_eq!(sessions(&world).len(), 1);
    assert_eq!(world.cloud.rules(world.group("prod-api-sg")).len(), 1);
}

#[test]
fn until_a_time_needs_no_topping_up() {
    let world = World::new();
    let until = (chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()) + chrono::TimeDelta::hours(3))
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let first = ensure(&world, &["--only", "dev", "--until", &until]);
    assert_eq!(first["expiresAt"], until);
    world.advance(1800);
    assert_eq!(ensure(&world, &["--only", "dev", "--until", &until]), first);
}

#[test]
fn nothing_is_recorded_where_nothing_can_be_opened() {
    let world = World::new();
    world.echo4.iter().for_each(|echo| echo.set(crate::harness::echo::Reply::Status(500)));
    world.eg(&["session", "ensure"]).expect_code(1);
    world.eg(&["session", "ensure", "--only", "nothing"]).expect_code(2);
    world.eg(&["session", "ensure", "--atomic"]).expect_code(2);
    assert_eq!(sessions(&world).len(), 0);
}

/// Nothing is opened in its name, so it stands nowhere; whoever gave it should know.
#[test]
fn a_reason_that_is_not_recorded_is_said() {
    let world = World::new();
    let args = ["session", "ensure", "--only", "dev", "--reason"];
    let with = |reason: &str, note: Option<&str>| {
        let outcome = world.eg(&[&args[..], &[reason]].concat()).expect_code(0);
        assert_eq!(outcome.stderr.contains("yours is not recorded"), note.is_some(), "{outcome}");
        assert!(note.is_none_or(|note| outcome.stderr.contains(note)), "{outcome}");
    };
    with("INC-1", None);
    with("INC-1", None);
    with("INC-2", Some("Note: the existing session is kept, with reason \"INC-1\"; yours is not recorded"));
    let kept = world.eg(&args[..4]).expect_code(0);
    assert!(!kept.stderr.contains("reason"), "none was given: {kept}");
    assert_eq!(sessions(&world).len(), 1);
    assert_eq!(sessions(&world)[0]["reason"], "INC-1");
}
