//! `eg status`.

use crate::{
    cli::session::{Tale, error_of, get, start, start_id},
    harness::{Fault, IPV4, World, echo::Reply},
};

#[test]
fn everything_at_a_glance() {
    let world = World::new();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["status"]).expect_code(0);
    assert!(!world.here.state_path().exists(), "looking makes nothing");
    start(&world.here, &["--only", "prod"]);
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    tale.eg(&["status"]).expect_code(0);
    // What is closed stays closed; what cannot be is said, with the next try.
    world.faults(&[Fault::deny("RevokeSecurityGroupIngress").dry_run(false)]);
    world.eg(&["session", "stop"]).expect_code(3);
    world.echo4.iter().for_each(|echo| echo.say("192.0.2.9"));
    start(&world.here, &["--only", "dev", "--ipv4", IPV4]);
    world.advance(20 * 60);
    world.forget_calls();
    tale.eg(&["status"]).expect_code(0);
    assert_eq!(world.call_counts(), "", "no cloud is asked");
    tale.end("status");
}

#[test]
fn offline_is_a_line() {
    let world = World::new();
    let id = start_id(&world.here, &["--only", "dev"]);
    world.echo4.iter().for_each(|echo| echo.set(Reply::Status(500)));
    let status = world.eg(&["status"]).expect_code(0);
    assert!(status.stdout.starts_with("  Address:   not known; offline? See: eg ip\n"), "{status}");
    assert!(!status.to_string().contains("http"), "{status}");
    assert!(status.stdout.contains(&id[..8]), "{status}");
    let json = world.eg(&["status", "--output", "json"]).expect_code(0).json_as("status");
    assert!(json["addresses"][0]["address"].is_null() && json["addresses"][0]["error"].is_string(), "{json:#}");
    assert_eq!(json["sessions"][0]["id"], id.as_str());
    assert_eq!((&json["scheduled"], &json["notConverged"]), (&false.into(), &serde_json::json!([])));
}

#[test]
fn a_schedule_a_wake_and_a_trouble_in_json() {
    let world = World::new();
    world.faults(&[Fault::deny("AuthorizeSecurityGroupIngress").dry_run(false)]);
    world.eg(&["session", "start", "--only", "prod-api-sg"]).expect_code(1);
    world.eg(&["reconcile", "--timer"]);
    let json = world.eg(&["status", "--output", "json"]).expect_code(0).json_as("status");
    assert_eq!((&json["scheduled"], &json["addresses"][0]["address"]), (&true.into(), &IPV4.into()));
    assert_eq!(json["lastReconcile"]["converged"], false);
    let trouble = &json["notConverged"][0];
    assert_eq!((&trouble["status"], &trouble["resourceName"]), (&"FAILED".into(), &"prod-api-sg".into()));
    assert!(trouble["reason"].as_str().unwrap().contains("not permitted"), "{json:#}");
    assert_eq!(trouble["nextTryAt"], json["nextWakeAt"], "{json:#}");
    world.advance(16 * 60);
    let json = world.eg(&["status", "--output", "json"]).expect_code(0).json_as("status");
    assert_eq!(json["scheduled"], false, "nothing was seen for 16 minutes");
}

/// A laptop that slept past an expiry: what is due is due now, whatever a pass said before.
#[test]
fn after_a_sleep_closing_is_due() {
    let world = World::new();
    let session = start(&world.here, &["--only", "dev", "--duration", "1m"]);
    let id = session["id"].as_str().unwrap();
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    world.advance(61);
    let due = || world.eg(&["status", "--output", "json"]).expect_code(0).json_as("status")["nextWakeAt"].clone();
    assert_eq!(due(), session["expiresAt"]);
    let refused = world.eg(&["session", "extend", id, "--hours", "1"]).expect_code(1);
    assert!(refused.stderr.contains(&format!("close it now with: eg session stop {}", &id[..8])), "{refused}");
    assert_eq!(due(), get(&world.here, id)["endedAt"], "closing was not tried yet");
    // The next day a time of day alone would mislead.
    world.advance(24 * 3600);
    let list = world.eg(&["session", "list"]).expect_code(0);
    let since = regex::Regex::new(r" is overdue: no reconcile since \d{4}-\d\d-\d\d \d\d:\d\d\n").unwrap();
    assert!(since.is_match(&list.stderr), "{list}");
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    assert_eq!(due(), serde_json::Value::Null);
}

#[test]
fn a_broken_configuration_hides_nothing() {
    let world = World::new();
    let id = start_id(&world.here, &["--only", "dev"]);
    world.write_config("[[[");
    let status = world.eg(&["status"]).expect_code(1);
    assert!(status.stdout.contains(&id[..8]), "{status}");
    assert!(error_of(&status).contains("config.toml:1:"), "{status}");
}
