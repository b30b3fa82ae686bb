//! `eg session start --atomic`.

use super::sessions;
use crate::{
    cli::session::{Tale, config_with_missing_group},
    harness::{Fault, IPV4, Sandboxed, World, sandboxed::SETTLED},
};
use eg_sandbox::{Fault as Trouble, Rule};

#[test]
fn everything_or_nothing() {
    let world = World::new();
    world.write_config(&config_with_missing_group(&world));
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start", "--atomic", "--only", "prod", "--only", "bad"]).expect_code(1);
    assert_eq!(world.cloud.snapshot(), before);
    assert_eq!(sessions(&world)[0]["status"], "CANCELLED");
    tale.eg(&["session", "start", "--atomic", "--only", "prod-api-sg"]).expect_code(0);
    tale.eg(&["session", "stop"]).expect_code(0);
    world.faults(&[Fault::deny("RevokeSecurityGroupIngress").dry_run(false)]);
    tale.eg(&["session", "start", "--atomic", "--only", "prod-db-sg", "--only", "bad"]).expect_code(3);
    tale.eg(&["session", "start", "--atomic", "--no-wait"]).expect_code(2);
    tale.end("atomic");
    world.faults(&[]);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn in_json_both_are_told() {
    let world = World::new();
    world.write_config(&config_with_missing_group(&world));
    let outcome = world.eg(&["--output", "json", "session", "start", "--atomic"]).expect_code(1);
    assert_eq!(outcome.json_as("session")["status"], "CANCELLED", "as it is at the end");
    let lines = outcome.json_lines();
    let error = &lines.last().unwrap()["error"];
    assert_eq!(error["kind"], "provider");
    assert!(error["message"].as_str().unwrap().contains("typo-sg IPv4: tcp/22: not found"), "{outcome}");
    let whole = world.eg(&["--output", "json", "session", "start", "--atomic", "--only", "dev"]).expect_code(0);
    assert_eq!(whole.json_as("session")["status"], "ACTIVE");
}

/// What nobody knows is not open, and is not closed before it is known.
#[test]
fn an_open_outcome_is_taken_back_too() {
    let world = Sandboxed::new();
    world.faults([Rule::new(Trouble::ResetBefore).on("AuthorizeSecurityGroupIngress").dry_run(false)]);
    let outcome = world.eg(&["session", "start", "--ipv4", IPV4, "--only", "db", "--atomic"]).expect_code(3);
    assert!(outcome.stderr.contains("is not closed: 1 rule not confirmed closed yet, next check "), "{outcome}");
    assert!(outcome.stderr.contains("(db tcp/5432 from 203.0.113.42/32)"), "{outcome}");
    assert_eq!(world.sessions_of(&world.here)[0]["status"], "EXPIRING");
    world.faults([] as [Rule; 0]);
    world.advance(SETTLED);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.sessions_of(&world.here)[0]["status"], "CANCELLED");
    world.ends();
}

/// A lock that is not had in time leaves nothing on record that a later pass would open.
#[test]
fn a_busy_lock_takes_it_back() {
    let world = World::new();
    world.faults(&[Fault::hold("AuthorizeSecurityGroupIngress").dry_run(false).times(1)]);
    let holder = world.here.command(&["session", "start", "--only", "dev"]).spawn();
    holder.wait_for_delayed("AuthorizeSecurityGroupIngress");
    holder.hears();
    holder.signal("STOP");
    let args = ["--lock-wait", "0s", "session", "start", "--atomic", "--only", "prod-api-sg"];
    let outcome = world.eg(&args).expect_code(4);
    assert!(outcome.stderr.contains("did not finish in time; the session was taken back"), "{outcome}");
    assert!(!outcome.stderr.contains("recorded"), "{outcome}");
    assert_eq!(sessions(&world)[0]["status"], "CANCELLED");
    world.faults(&[]);
    holder.signal("CONT");
    holder.wait().expect_code(0);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.cloud.rules(world.group("prod-api-sg")), []);
}
