//! What is said about what is open: by whose rules, and what is closed, not confirmed, or was never opened.

use super::{Tale, error_of, start, start_id};
use crate::harness::{Fault, IPV4, World};
use serde_json::Value;

const AUTHORIZE: &str = "AuthorizeSecurityGroupIngress";
const REVOKE: &str = "RevokeSecurityGroupIngress";
const TAG: &str = "CreateTags";

fn newest(world: &World) -> Value {
    world.eg(&["--output", "json", "session", "list"]).expect_code(0).json_as("sessions")[0].clone()
}

/// What AWS refused to open is not open: the stop is over at once, and a later pass has nothing to say.
#[test]
fn a_rule_that_was_refused_is_stopped_at_once() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.faults(&[Fault::deny(AUTHORIZE).dry_run(false)]);
    let mut tale = Tale::new(&world.here);
    let started = tale.eg(&["session", "start", "--only", "prod-api-sg"]).expect_code(1);
    assert!(started.stdout.contains("✗ Nothing could be opened."), "{started}");
    world.faults(&[]);
    tale.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(newest(&world)["status"], "CANCELLED");
    tale.eg(&["reconcile"]).expect_code(0);
    tale.end("stop_refused");
    world.advance(301);
    world.eg(&["reconcile"]).expect_code(0);
    world.forget_calls();
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.call_counts(), "", "nothing is left to look at");
    assert_eq!(world.cloud.snapshot(), before);
}

/// Refused as far as anybody knows, and there all the same: the record looks for it until a reading is settled.
#[test]
fn a_refusal_is_still_looked_after() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.faults(&[Fault::lose_answer(AUTHORIZE).dry_run(false)]);
    world.eg(&["session", "start", "--only", "prod-api-sg"]);
    world.faults(&[Fault::deny("DescribeSecurityGroupRules")]);
    let stopped = world.eg(&["session", "stop"]).expect_code(3);
    assert!(stopped.stdout.starts_with("Stop recorded; 1 rule still open until the next reconcile"), "{stopped}");
    world.faults(&[]);
    world.advance(301);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// Somebody has deleted the rule, and no reading is old enough to tell.
#[test]
fn a_rule_that_is_gone_is_not_called_open() {
    let world = World::new();
    let before = world.cloud.snapshot();
    start_id(&world.here, &["--only", "prod-api-sg"]);
    let group = world.group("prod-api-sg").to_owned();
    world.cloud.revoke(&group, &world.cloud.rules(&group)[0].id.clone());
    let mut tale = Tale::new(&world.here);
    let stopped = tale.eg(&["session", "stop"]).expect_code(3);
    assert!(!stopped.to_string().contains("still open"), "{stopped}");
    tale.eg(&["session", "list"]).expect_code(0);
    tale.eg(&["reconcile"]).expect_code(3);
    world.advance(301);
    tale.eg(&["reconcile"]).expect_code(0);
    tale.eg(&["session", "list"]).expect_code(0);
    tale.end("stop_gone");
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn rules_of_others_are_said_at_once() {
    let world = World::new();
    let group = world.group("prod-api-sg").to_owned();
    world.cloud.authorize(&group, "tcp/22", &format!("{IPV4}/32"), "by hand", &[]);
    world.cloud.authorize(world.group("dev-web-sg"), "tcp/0-1024", "0.0.0.0/0", "the world", &[]);
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    let started = tale.eg(&["session", "start"]).expect_code(0);
    assert!(
        started.stderr.contains(&format!("already open: tcp/22 from {IPV4}/32 on prod-api-sg by sgr-")),
        "{started}"
    );
    assert_eq!(started.stderr.matches("is open to the whole world anyway").count(), 2, "tcp/22 and tcp/443: {started}");
    tale.eg(&["session", "list"]).expect_code(0);
    tale.eg(&["status"]).expect_code(0);
    tale.eg(&["session", "stop"]).expect_code(0);
    tale.end("open_anyway");
    assert_eq!(world.cloud.snapshot(), before);
    let json = world.eg(&["--output", "json", "session", "start", "--only", "prod-api-sg"]).expect_code(0);
    let said = json.json_lines().iter().filter(|line| line.to_string().contains("already open: ")).count();
    assert_eq!(said, 1);
    assert_eq!(json.json_as("session")["resourceIps"][0]["coverage"], "foreign");
}

/// Another session's end, carried out by the pass of a start, is not shown as if it were the new one's.
#[test]
fn a_start_shows_its_own_lines() {
    let world = World::new();
    let old = start_id(&world.here, &["--only", "prod-api-sg", "--duration", "1h", "--ipv4", "198.51.100.9"]);
    world.advance(3600);
    let started = world.eg(&["session", "start", "--only", "prod-api-sg"]).expect_code(0);
    assert!(!started.stderr.contains("REMOVED"), "{started}");
    assert!(started.stderr.contains("  prod-api-sg IPv4 tcp/22: APPLIED\n"), "{started}");
    // Where such lines are shown, they name their session.
    world.eg(&["session", "stop"]).expect_code(0);
    let other = start_id(&world.here, &["--only", "prod-api-sg", "--duration", "1h", "--ipv4", "198.51.100.9"]);
    start_id(&world.here, &["--only", "prod-api-sg"]);
    world.advance(3600);
    let stopped = world.eg(&["session", "stop"]).expect_code(0);
    let line = |id: &str| format!("  session {}: prod-api-sg IPv4 tcp/22: REMOVED\n", &id[..8]);
    assert!(stopped.stderr.contains(&line(&other)) && !stopped.stderr.contains(&line(&old)), "{stopped}");
    assert!(stopped.stderr.contains("\n  prod-api-sg IPv4 tcp/22: REMOVED\n"), "{stopped}");
}

#[test]
fn extend_names_the_time_of_the_expiry() {
    let world = World::new();
    let session = start(&world.here, &["--only", "dev", "--duration", "1h"]);
    world.advance(3 * 3600);
    let refused = world.eg(&["session", "extend", session["id"].as_str().unwrap(), "--hours", "1"]).expect_code(1);
    let at = session["expiresAt"].as_str().unwrap().replace('T', " ").replace('Z', "");
    let id = &session["id"].as_str().unwrap()[..8];
    assert!(error_of(&refused).starts_with(&format!("session {id} expired at {at}")), "{refused}");
}

/// Whoever runs `reconcile` by hand hears what came of it.
#[test]
fn reconcile_by_hand_always_says_something() {
    let world = World::new();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["reconcile"]).expect_code(0);
    start_id(&world.here, &["--only", "prod-api-sg"]);
    tale.eg(&["reconcile"]).expect_code(0);
    world.faults(&[Fault::deny(REVOKE).dry_run(false)]);
    world.eg(&["session", "stop"]).expect_code(3);
    for _ in 0..2 {
        world.advance(130);
        tale.eg(&["reconcile"]).expect_code(3);
    }
    // The delay is not over.
    tale.eg(&["reconcile"]).expect_code(3);
    world.faults(&[]);
    world.advance(130);
    tale.eg(&["reconcile"]).expect_code(0);
    tale.eg(&["reconcile"]).expect_code(0);
    tale.end("reconcile_by_hand");
    // A scheduler is told nothing as long as all is well.
    let quiet = world.eg(&["reconcile", "--timer"]).expect_code(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

/// The reason why a tag is not written is a refusal to write it, not one of another call.
#[test]
fn an_unwritten_tag_has_its_own_reason() {
    let world = World::new();
    start_id(&world.here, &["--only", "prod-api-sg", "--duration", "1h"]);
    world.faults(&[Fault::deny(REVOKE).dry_run(false)]);
    world.eg(&["session", "stop"]).expect_code(3);
    let behind = |reason: Option<&str>| {
        let json = world.eg(&["reconcile", "--output", "json"]).expect_code(3).json_as("reconcile");
        let notes = json["notes"].as_array().unwrap().iter().map(|note| note["message"].as_str().unwrap().to_owned());
        let behind: Vec<_> = notes.filter(|note| note.contains("still says another time")).collect();
        assert_eq!(behind.len(), 1, "{json:#}");
        match reason {
            None => assert!(behind[0].ends_with("still says another time"), "{behind:?}"),
            Some(reason) => assert!(behind[0].contains(reason), "{behind:?}"),
        }
    };
    // Wanted again, before the close that was refused may be tried again.
    let id = start_id(&world.here, &["--only", "prod-api-sg", "--duration", "3h", "--no-wait"]);
    behind(None);
    world.faults(&[Fault::deny(TAG)]);
    world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(3);
    behind(Some("not permitted: tag sgr-"));
}
