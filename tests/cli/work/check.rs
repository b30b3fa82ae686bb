//! `--check`: whether what is behind the firewall answers.

use super::sessions;
use crate::{
    cli::session::{Tale, error_of},
    harness::World,
};
use std::net::TcpListener;

/// A port on which something listens, and one on which nothing does.
fn ports() -> (TcpListener, String, String) {
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = open.local_addr().unwrap().to_string();
    // One that nobody is given for the asking.
    (open, name, "127.0.0.1:1".to_owned())
}

#[test]
fn what_answers_and_what_does_not() {
    let world = World::new();
    let (_listener, open, closed) = ports();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start", "--only", "dev", "--check", &open]).expect_code(0);
    tale.eg(&["session", "start", "--only", "dev", "--check", &open, "--check", &closed]).expect_code(3);
    tale.eg(&["session", "start", "--only", "dev", "--check", "[::1]:22"]).expect_code(3);
    tale.name(&open, "127.0.0.1:OPEN");
    tale.name(&closed, "127.0.0.1:CLOSED");
    tale.end("check");
    assert_eq!(sessions(&world).iter().filter(|session| session["status"] == "ACTIVE").count(), 3, "rules stay");
}

#[test]
fn in_json_it_is_a_warning() {
    let world = World::new();
    let args = ["--output", "json", "session", "start", "--only", "dev", "--check", "[::1]:22"];
    let outcome = world.eg(&args).expect_code(3);
    assert_eq!(outcome.json_as("session")["status"], "ACTIVE");
    let lines = outcome.json_lines();
    let warning = &lines.last().unwrap()["warning"];
    assert!(warning["message"].as_str().unwrap().starts_with("[::1]:22 was not reached"), "{outcome}");
    assert!(!warning["hints"].as_array().unwrap().is_empty());
}

#[test]
fn with_the_other_commands() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let (_listener, open, _) = ports();
    let closed = "[::1]:22";
    world.eg(&["session", "run", "--check", &open, "--", "true"]).expect_code(0);
    let not_run = world.eg(&["session", "run", "--check", closed, "--", "echo", "out"]).expect_code(1);
    assert_eq!(not_run.stdout, "");
    assert_eq!(error_of(&not_run), "what --check names was not reached; the session was closed again");
    world.eg(&["session", "start", "--atomic", "--check", closed]).expect_code(1);
    assert_eq!(world.cloud.snapshot(), before, "closed again");
    world.eg(&["session", "ensure", "--check", &open]).expect_code(0);
    world.eg(&["session", "ensure", "--check", closed]).expect_code(3);
    assert_ne!(world.cloud.snapshot(), before);
    for bad in ["host", "host:0", "http://host:1", ""] {
        world.eg(&["session", "start", "--check", bad]).expect_code(2);
    }
    world.eg(&["session", "start", "--no-wait", "--check", &open]).expect_code(2);
}
