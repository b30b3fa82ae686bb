//! What the README shows is what `eg` prints.

use super::{error_of, start, start_id};
use crate::harness::{Outcome, World};
use regex::Regex;
use std::os::unix::fs::MetadataExt;

/// Ids, times and lengths of time differ; everything else has to be the same, spaces included.
fn without_ids_and_times(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, mask) in [
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
        (r"\b[0-9a-f]{8}\b", "ID"),
        (r"eg \S+@\S+ session", "eg PERSON session"),
        (r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", "TIME"),
        (r"\b(\d+h )?\d+m\b", "LENGTH"),
        (r"\b\d{2}:\d{2}\b", "HOUR"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, mask).into_owned();
    }
    text
}

fn masked(text: &str) -> Vec<String> {
    let text = without_ids_and_times(text);
    let talk = ["warning: ", "hint: ", "Using endpoint "];
    let mut lines: Vec<_> = text.lines().filter(|line| !talk.iter().any(|start| line.starts_with(start))).collect();
    lines.sort_unstable(); // the two streams meet on a terminal only
    lines.into_iter().map(str::to_owned).collect()
}

/// The output that the README shows under a command.
fn shown(command: &str) -> String {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once(&format!("```console\n$ {command}\n")).unwrap_or_else(|| panic!("no {command}"));
    rest.split_once("```").unwrap().0.to_owned()
}

#[track_caller]
fn same(command: &str, outcome: Outcome) {
    let outcome = outcome.expect_code(0);
    assert_eq!(masked(&(outcome.stdout.clone() + &outcome.stderr)), masked(&shown(command)), "{command}\n{outcome}");
}

#[test]
fn the_readme_shows_what_is_printed() {
    let world = World::new();
    let config = world.default_config();
    let one_port = config.replace("\"tcp/22\", \"tcp/443\", \"tcp/8000-8080\"", "\"tcp/443\"");
    world.write_config(&one_port);
    start(&world.here, &["--duration", "1h"]);
    world.advance(20 * 3600);
    world.eg(&["reconcile"]).expect_code(0);

    same("eg session start --duration 8h", world.eg(&["session", "start", "--duration", "8h"]));
    world.advance(90 * 60);
    same("eg session list", world.eg(&["session", "list"]));
    let list = world.eg(&["session", "list", "--output", "json"]).json_as("sessions");
    let id = list[0]["id"].as_str().unwrap();
    same("eg session get a1b2", world.eg(&["session", "get", &id[..8]]));
    same("eg session extend a1b2 --hours 2", world.eg(&["session", "extend", id, "--hours", "2"]));
    start_id(&world.here, &["--only", "prod-api-sg"]);
    same("eg session stop a1b2", world.eg(&["session", "stop", id]));
}

#[test]
fn the_readme_shows_the_status() {
    let world = World::new();
    start(&world.here, &["--duration", "8h"]);
    world.advance(90 * 60);
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    same("eg status", world.eg(&["status"]));
}

#[test]
fn the_readme_shows_a_session_that_is_kept() {
    let world = World::new();
    start(&world.here, &["--only", "prod", "--duration", "2h"]);
    let command = "eg session ensure --only prod --duration 2h";
    same(command, world.eg(&["session", "ensure", "--only", "prod", "--duration", "2h"]));
}

/// Parts are left out, and marked; what is there is as `eg demo` prints it, in its order.
#[test]
fn the_readmes_tour_is_the_demo() {
    let printed = without_ids_and_times(&World::bare().eg(&["demo"]).expect_code(0).stdout);
    let shown = without_ids_and_times(&shown("cargo run -- demo"));
    let mut rest = printed.as_str();
    for part in shown.split("[…]\n") {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("not in the demo:\n{part}\n{printed}"));
        rest = after;
    }
}

#[test]
fn the_readmes_configurations_are_valid() {
    let readme = include_str!("../../../README.md");
    let blocks: Vec<_> = readme.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    let (policies, blocks): (Vec<_>, Vec<_>) = blocks.into_iter().partition(|block| block.contains("reason_pattern"));
    assert_eq!((policies.len(), blocks.len()), (1, 4));
    let world = World::bare();
    let start = ["session", "start", "--no-wait", "--ipv4", "198.51.100.7", "--duration", "1h"];
    for block in &blocks {
        // One that shows a single section stands in a configuration that has resources.
        let rest = if block.contains("[[resource]]") { "" } else { blocks[0] };
        world.write_config(&format!("{block}\n{rest}"));
        world.eg(&["resource", "list"]).expect_code(0);
        if block.contains("group_name") {
            continue; // There would have to be such groups.
        }
        world.eg(&start).expect_code(0);
    }
    let policy = world.dir().join("policy.toml");
    std::fs::write(&policy, policies[0]).unwrap();
    let owner = std::fs::metadata(&policy).unwrap().uid().to_string();
    let bound = |args: &[&str]| {
        let command = world.here.command(args).env("EG_TEST_POLICY", &policy).env("EG_TEST_POLICY_OWNER", &owner);
        error_of(&command.run().expect_code(1))
    };
    world.write_config(blocks[0]);
    assert!(bound(&start).contains("policy.toml: ports: tcp/22, tcp/5432 alone are allowed"));
    let start = [&start[..], &["--port", "tcp/22", "--reason", "INC-7: restore"]].concat();
    assert!(bound(&start).contains("policy.toml: explicit_addresses: false"));
}
