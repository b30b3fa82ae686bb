//! `eg session stop` and `extend`.

use super::{Tale, error_of, get, start, start_id};
use crate::harness::{Fault, World};

#[test]
fn extend_within_the_limit() {
    let world = World::new();
    let id = start_id(&world.here, &["--duration", "20h", "--only", "dev"]);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(0);
    tale.eg(&["session", "extend", &id, "--hours", "4"]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--hours", "2"]).expect_code(0);
    tale.eg(&["session", "extend", &id, "--hours", "2"]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(0);
    tale.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--hours", "0"]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--hours", "1h"]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--hours=-1"]).expect_code(2);
    tale.eg(&["session", "extend", &id, "--hours", "4294967295"]).expect_code(2);
    tale.eg(&["session", "extend", &id]).expect_code(2);
    tale.end("extend");
    let session = get(&world.here, &id);
    let at = |key: &str| chrono::DateTime::parse_from_rfc3339(session[key].as_str().unwrap()).unwrap();
    assert_eq!((at("expiresAt") - at("startedAt")).num_hours(), 24);
}

#[test]
fn extend_counts_from_the_current_expiry() {
    let world = World::new();
    let session = start(&world.here, &["--duration", "3h", "--only", "dev"]);
    let id = session["id"].as_str().unwrap();
    world.advance(3600);
    world.eg(&["session", "extend", id, "--hours", "2"]).expect_code(0);
    let extended = get(&world.here, id);
    let at = |text: &serde_json::Value| chrono::DateTime::parse_from_rfc3339(text.as_str().unwrap()).unwrap();
    assert_eq!((at(&extended["expiresAt"]) - at(&session["expiresAt"])).num_minutes(), 120);
}

#[test]
fn ended_sessions_are_not_extended() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let id = start_id(&world.here, &["--only", "dev"]);
    world.eg(&["session", "stop"]).expect_code(0);
    world.advance(60);
    let overdue = start_id(&world.here, &["--only", "prod", "--duration", "1h"]);
    world.advance(2 * 3600);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "list"]).expect_code(0);
    tale.eg(&["session", "get", &overdue]).expect_code(0);
    tale.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(1);
    tale.eg(&["session", "extend", &overdue, "--hours", "1"]).expect_code(1);
    tale.eg(&["session", "list"]).expect_code(0);
    assert_ne!(world.cloud.snapshot(), before, "extend closes nothing");
    tale.eg(&["session", "stop", &overdue]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    tale.eg(&["session", "extend", &overdue, "--hours", "1"]).expect_code(1);
    tale.eg(&["session", "get", &overdue]).expect_code(0);
    tale.end("overdue");
    let session = get(&world.here, &overdue);
    assert_eq!((&session["status"], &session["endedReason"]), (&"EXPIRED".into(), &"EXPIRED".into()));
}

#[test]
fn an_overdue_session_says_why() {
    let world = World::new();
    start(&world.here, &["--only", "dev", "--duration", "30m"]);
    world.advance(20 * 60);
    world.eg(&["reconcile"]).expect_code(0);
    world.advance(10 * 60 + 2);
    let shown = world.eg(&["session", "list"]).expect_code(0).normalised();
    assert!(shown.contains("  overdue <1m  dev-web-sg\n"), "{shown}");
    // With the day, if that was yesterday.
    assert!(shown.contains(" is overdue: no reconcile since "), "a reason is in no cell: {shown}");
    world.advance(14 * 60);
    world.faults(&[crate::harness::Fault::refuse(
        "RevokeSecurityGroupIngress",
        400,
        "RequestExpired",
        "Request has expired.",
    )]);
    world.eg(&["reconcile"]).expect_code(3);
    let shown = world.eg(&["session", "list"]).expect_code(0).normalised();
    assert!(shown.contains("  overdue 14m  dev-web-sg\n"), "{shown}");
    assert!(shown.contains(" is overdue: last reconcile HH:MM: "), "{shown}");
    let json = world.eg(&["session", "list", "--output", "json"]).expect_code(0).json_as("sessions");
    assert!((840..900).contains(&json[0]["overdueSeconds"].as_i64().unwrap()), "{json:#}");
    assert_eq!(json[0]["status"], "EXPIRING");
    world.faults(&[]);
    world.advance(5 * 60);
    world.eg(&["reconcile"]).expect_code(0);
    let shown = world.eg(&["session", "list"]).expect_code(0).normalised();
    assert!(shown.contains("EXPIRED") && shown.contains("  expired    dev-web-sg\n"), "{shown}");
}

#[test]
fn stop_without_an_id_takes_the_newest() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let old = start_id(&world.here, &["--only", "prod-api-sg"]);
    world.advance(60);
    let new = start_id(&world.here, &["--only", "prod-db-sg"]);
    world.advance(60);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(
        (&get(&world.here, &old)["status"], &get(&world.here, &new)["status"]),
        (&"ACTIVE".into(), &"CANCELLED".into())
    );
    tale.eg(&["session", "stop", &new]).expect_code(1);
    tale.eg(&["session", "stop"]).expect_code(0);
    tale.eg(&["session", "stop"]).expect_code(1);
    tale.eg(&["session", "stop", "--all"]).expect_code(0);
    let json = world.eg(&["session", "stop", "--all", "--output", "json"]).expect_code(0).json_as("sessions");
    assert_eq!(json, serde_json::json!([]));
    start(&world.here, &["--only", "prod-api-sg"]);
    world.advance(60);
    start(&world.here, &["--only", "prod-db-sg"]);
    tale.eg(&["session", "stop", "--all"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    tale.end("stop");
}

#[test]
fn nothing_to_stop_without_a_state_file() {
    let world = World::new();
    let outcome = world.eg(&["session", "stop"]).expect_code(1);
    assert_eq!(error_of(&outcome), "no live sessions");
    let outcome = world.eg(&["session", "stop", "--output", "json"]).expect_code(1);
    assert_eq!((outcome.stdout.as_str(), outcome.json_lines()[0]["error"]["kind"].as_str()), ("", Some("not-found")));
    assert_eq!(world.call_counts(), "");
}

#[test]
fn what_stays_open_is_said() {
    let world = World::new();
    let group = world.group("prod-db-sg");
    world.cloud.authorize(group, "tcp/5432", &format!("{}/32", crate::harness::IPV4), "by hand", &[]);
    let before = world.cloud.snapshot();
    let other = world.installation("other-machine");
    let mut tale = Tale::new(&world.here);
    start(&world.here, &["--only", "prod-api-sg", "--duration", "4h"]);
    world.advance(60);
    let second = start(&world.here, &["--duration", "2h"]);
    let id = second["id"].as_str().unwrap();
    let db = second["resourceIps"].as_array().unwrap().iter().find(|g| g["resourceName"] == "prod-db-sg").unwrap();
    assert_eq!((&db["coverage"], &db["status"]), (&"foreign".into(), &"APPLIED".into()));
    assert!(db["providerRuleId"].is_null() && db["providerRuleIds"].as_array().unwrap().len() == 1, "{db}");
    tale.eg(&["session", "get", id]).expect_code(0);
    start(&other, &["--only", "dev"]);
    world.advance(60);
    let stopped = tale.eg(&["session", "stop", id]);
    let lines: Vec<_> = stopped.stdout.lines().filter(|line| line.contains("still open")).collect();
    assert_eq!(lines.len(), 5, "{stopped}");
    stopped.expect_code(0);
    tale.eg(&["session", "stop"]).expect_code(0);
    other.eg(&["session", "stop"]).expect_code(0);
    tale.end("still_open");
    assert_eq!(world.cloud.snapshot(), before, "the rule made by hand is as it was");
}

#[test]
fn a_stop_whose_revoke_fails_says_so() {
    let world = World::new();
    let before = world.cloud.snapshot();
    start(&world.here, &["--only", "prod-api-sg"]);
    world.faults(&[crate::harness::Fault::deny("RevokeSecurityGroupIngress")]);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "stop"]).expect_code(3);
    // However slow this is, the next try is still to come.
    world.advance(-40);
    tale.eg(&["session", "list"]).expect_code(0);
    let list = world.eg(&["session", "list", "--output", "json"]).json_as("sessions");
    tale.eg(&["session", "get", list[0]["id"].as_str().unwrap()]).expect_code(0);
    world.faults(&[]);
    tale.eg(&["session", "stop", list[0]["id"].as_str().unwrap()]).expect_code(0);
    tale.end("stop_denied");
    start(&world.here, &["--only", "prod"]);
    world.faults(&[crate::harness::Fault::deny("RevokeSecurityGroupIngress")]);
    let outcome = world.eg(&["session", "stop", "--output", "json"]).expect_code(3);
    assert_eq!(outcome.json_as("session")["status"], "EXPIRING");
    let said =
        |line: &serde_json::Value| line["warning"]["message"].as_str().is_some_and(|m| m.contains("not permitted"));
    assert!(outcome.json_lines().iter().any(said), "{outcome}");
    world.faults(&[]);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// What another session wants is not what it has.
#[test]
fn what_was_never_opened_is_not_called_open() {
    let world = World::new();
    world.faults(&[Fault::deny("AuthorizeSecurityGroupIngress").dry_run(false)]);
    let args = ["session", "start", "--only", "prod-api-sg"];
    world.eg(&args).expect_code(1);
    world.advance(60);
    world.eg(&args).expect_code(1);
    let stopped = world.eg(&["session", "stop"]).expect_code(0);
    assert!(!stopped.stdout.contains("still open"), "{stopped}");
    // Once it is open, it is said.
    world.faults(&[]);
    world.eg(&args).expect_code(0);
    let stopped = world.eg(&["session", "stop"]).expect_code(0);
    assert!(stopped.stdout.contains("still open: prod-api-sg tcp/22, held by session "), "{stopped}");
}
