//! What the README and the pages of `docs/` show is what `eg` prints.

use super::{error_of, start, start_id};
use crate::{
    cli::schedule::Host,
    harness::{Outcome, World, echo::Reply},
};
use chrono::TimeDelta;
use eg_model::{
    ids::{InstallationId, SessionId},
    net::permission::Permission,
    tags::tags_for,
};
use regex::Regex;
use std::os::unix::fs::MetadataExt;
use uuid::Uuid;

const README: &str = include_str!("../../../README.md");
const EVERYDAY: &str = include_str!("../../../docs/everyday.md");
const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");

/// Ids, times and lengths of time differ; everything else has to be the same, spaces included.
fn without_ids_and_times(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, mask) in [
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-zA-Z]{12}\b", "REQUEST"),
        (r"\b[0-9A-Za-z]{52}\b", "REQUEST"), // as moto writes them
        (r"\bsgr-[0-9a-f]{17}\b", "RULE"),
        (r"\bsg-[0-9a-f]{17}\b", "GROUP"),
        (r"https?://[^ ]+/", "URL"),
        (r"/[^ ]+/eg/(config.toml|state.db)", "DIR/$1"),
        (r"arn:aws:[^ ,]+", "ARN"),
        (r"\b\d{12}\b", "ACCOUNT"),
        (r"\b[0-9a-f]{8}\b", "ID"),
        (r"eg \S+@\S+ session", "eg PERSON session"),
        (r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}Z?", "TIME"),
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

/// The outputs that are shown under a command, wherever.
fn shown(command: &str) -> Vec<String> {
    let all = [README, EVERYDAY, CONFIGURATION].concat();
    let fence = format!("```console\n$ {command}\n");
    let after = all.split(&fence).skip(1);
    let blocks: Vec<String> = after.map(|rest| rest.split_once("```").unwrap().0.to_owned()).collect();
    assert!(!blocks.is_empty(), "no {command}");
    blocks
}

#[track_caller]
fn same(command: &str, outcome: Outcome) {
    let outcome = outcome.expect_code(0);
    for shown in shown(command) {
        assert_eq!(masked(&(outcome.stdout.clone() + &outcome.stderr)), masked(&shown), "{command}\n{outcome}");
    }
}

/// What is shown is part of what was printed, whatever the widths of columns.
#[track_caller]
fn part_of(command: &str, outcome: &Outcome) {
    let squeezed = |text: &str| -> Vec<String> {
        masked(text).iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let printed = squeezed(&(outcome.stdout.clone() + &outcome.stderr));
    for line in shown(command).iter().flat_map(|shown| squeezed(shown)) {
        assert!(printed.contains(&line), "{command}: {line}\n{outcome}");
    }
}

#[test]
fn sessions_are_shown_as_they_are_printed() {
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
fn the_status_is_shown() {
    let world = World::new();
    start(&world.here, &["--duration", "8h"]);
    world.advance(90 * 60);
    world.eg(&["reconcile", "--timer"]).expect_code(0);
    same("eg status", world.eg(&["status"]));
}

#[test]
fn a_session_that_is_kept_is_shown() {
    let world = World::new();
    start(&world.here, &["--only", "prod", "--duration", "2h"]);
    let command = "eg session ensure --only prod --duration 2h";
    same(command, world.eg(&["session", "ensure", "--only", "prod", "--duration", "2h"]));
}

#[test]
fn who_holds_what_is_shown() {
    let world = World::new();
    start(&world.here, &["--only", "prod-api-sg", "--duration", "8h"]);
    start(&world.installation("other-machine"), &["--only", "prod-api-sg", "--duration", "2h"]);
    same("eg who", world.eg(&["who"]));
}

#[test]
fn addresses_are_shown() {
    let world = World::new();
    world.echo4[2].set(Reply::Status(503));
    part_of("eg ip", &world.eg(&["ip", "-4"]));
}

#[test]
fn the_trail_is_shown() {
    let world = World::new();
    let id = start_id(&world.here, &["--only", "prod-api-sg"]);
    part_of("eg log --session a1b2", &world.eg(&["log", "--session", &id]));
}

/// What two machines that are gone have left: one still holds its rule, the other has let its own expire.
#[test]
fn the_sweep_is_shown() {
    let world = World::new();
    let group = world.group("prod-api-sg");
    let leave = |number: u128, port: &str, address: &str, until: i64, description: &str| {
        let port_number = port.trim_start_matches("tcp/");
        let permission: Permission = format!("tcp|{port_number}|{port_number}|{address}").parse().unwrap();
        let owner = InstallationId::from_uuid(Uuid::from_u128(number << 96));
        let until = world.now() + TimeDelta::seconds(until);
        let session = u128::from_str_radix(description.rsplit(' ').next().unwrap(), 16).unwrap() << 96;
        let tags = tags_for(group, &[permission], SessionId(Uuid::from_u128(session)), &owner, until);
        let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        world.cloud.authorize(group, port, address, description, &tags);
    };
    leave(0x0c9d_8e7f, "tcp/22", "203.0.113.42/32", 8 * 3600, "eg alice@laptop session a1b2c3d4");
    leave(0x1b2c_3d4e, "tcp/443", "198.51.100.7/32", -80 * 60 - 20, "eg bob@desk session b2c3d4e5");
    same("eg sweep --region eu-west-1", world.eg(&["sweep", "--region", "eu-west-1"]));
}

#[test]
fn the_doctor_and_the_schedule_are_shown() {
    let world = World::new();
    world.here.write_profiles(&[("work", "WORK")]);
    let group = world.group("prod-api-sg");
    world.cloud.authorize(group, "tcp/443", "198.51.100.0/24", "the office", &[]);
    let more = "profile = \"work\"\nfamilies = [\"ipv4\"]\n";
    let config = world.config_head() + &World::resource("prod-api-sg", group, "eu-west-1", &["tcp/22"], more);
    world.write_config(&config);
    world.eg(&["reconcile"]).expect_code(0);
    let host = Host::with_cron(&world);
    part_of("eg doctor", &host.command(&["doctor"]).run().expect_code(1));
    same("eg schedule install", host.command(&["schedule", "install"]).run());
}

#[test]
fn the_configurations_that_are_shown_are_valid() {
    let all = [README, CONFIGURATION].concat();
    let blocks: Vec<_> = all.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    let (policies, blocks): (Vec<_>, Vec<_>) = blocks.into_iter().partition(|block| block.contains("reason_pattern"));
    assert_eq!(policies.len(), 1);
    assert!(blocks.len() >= 5, "{blocks:?}");
    let world = World::bare();
    world.here.write_profiles(&[("prod", "PROD"), ("staging", "STAGING")]);
    let start = ["session", "start", "--no-wait", "--ipv4", "198.51.100.7", "--duration", "1h"];
    for block in &blocks {
        // One that shows a single section stands in a configuration that has resources.
        let rest = if block.contains("[[resource]]") { "" } else { blocks[0] };
        world.write_config(&format!("{block}\n{rest}"));
        world.eg(&["resource", "list"]).expect_code(0);
        if block.contains("group_name") || block.contains("host = ") {
            continue; // There would have to be such groups and hosts.
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

#[test]
fn every_schema_is_named() {
    for (name, _) in eg::inside::SCHEMAS {
        assert!(CONFIGURATION.contains(&format!("`{name}`")), "{name}");
    }
}
