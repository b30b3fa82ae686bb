//! Whose a rule is: what `eg` closes, what it leaves alone, and how it finds its own again. Every test looks at the
//! provider afterwards, at the rules of others included.

use crate::harness::{Cloud, Fault, IPV4, Installation, Moto, Outcome, REGION, World, cloud::Rule, says, says_not};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

mod clocks;
mod config;
mod damaged;
mod edits;
mod foreign;
mod forged;
mod groups;
mod passes;
mod record;
mod sharing;
mod trust;
mod twins;

/// The group that most tests open.
const API: &str = "prod-api-sg";
/// Seconds after which a reading is believed about a write.
const SETTLED: i64 = 5 * 60 + 5;
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

/// Rules of others in every group, close to what `eg` opens: the same port for another address, the same address on
/// another port, a wider range, another tool's. Returns the snapshot that has to come back.
fn bystanders(world: &World) -> String {
    for name in ["prod-api-sg", "prod-db-sg", "dev-web-sg"] {
        let group = world.group(name);
        world.cloud.authorize(group, "tcp/22", "198.51.100.7/32", "office", &[("owner", "bob")]);
        world.cloud.authorize(group, "tcp/3389", &cidr(), "", &[]);
        world.cloud.authorize(group, "tcp/22", "203.0.113.0/24", "wider", &[("eg:managed-by", "terraform")]);
    }
    world.cloud.snapshot()
}

fn cidr() -> String {
    format!("{IPV4}/32")
}

/// The rules that carry the mark, in one group.
fn ours(cloud: &Cloud, group: &str) -> Vec<Rule> {
    let marked = |rule: &Rule| rule.tags.get("eg:managed-by").is_some_and(|value| value == "eg");
    cloud.rules(group).into_iter().filter(marked).collect()
}

/// The one rule that carries the mark.
#[track_caller]
fn our_rule(world: &World, name: &str) -> Rule {
    let mut rules = ours(&world.cloud, world.group(name));
    assert_eq!(rules.len(), 1, "{rules:#?}");
    rules.remove(0)
}

/// The snapshot without the rules that carry the mark.
fn others(cloud: &Cloud) -> String {
    let mut text = String::new();
    for line in cloud.snapshot().lines().filter(|line| !line.contains("eg:managed-by=eg")) {
        text += line;
        text.push('\n');
    }
    text
}

/// The lease tags of a rule: keys and values.
fn leases(rule: &Rule) -> Vec<(String, String)> {
    let lease = |(key, _): &(&String, &String)| key.starts_with("eg:lease:");
    rule.tags.iter().filter(lease).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn tags(rule: &Rule) -> Vec<(&str, &str)> {
    rule.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Starts a session and waits until it is ACTIVE; its id.
#[track_caller]
fn start(at: &Installation, more: &[&str]) -> String {
    let session = begin(at, more).expect_code(0).json_as("session");
    assert_eq!(session["status"], "ACTIVE", "{session:#}");
    session["id"].as_str().unwrap().to_owned()
}

/// Starts a session without judging what became of it.
fn begin(at: &Installation, more: &[&str]) -> Outcome {
    at.eg(&[&["--output", "json", "session", "start"], more].concat())
}

#[track_caller]
fn id_of(outcome: &Outcome) -> String {
    outcome.json_as("session")["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn get(at: &Installation, id: &str) -> Value {
    at.eg(&["--output", "json", "session", "get", id]).expect_code(0).json_as("session")
}

#[track_caller]
fn status(at: &Installation, id: &str) -> String {
    get(at, id)["status"].as_str().unwrap().to_owned()
}

fn stop(at: &Installation, id: &str) -> Outcome {
    at.eg(&["session", "stop", id])
}

fn reconcile(at: &Installation) -> Outcome {
    at.eg(&["reconcile"])
}

/// A reconcile with a given exit status.
#[track_caller]
fn pass(at: &Installation, code: i32) -> Outcome {
    reconcile(at).expect_code(code)
}

/// Calls that change something at the provider.
fn changes(world: &World) -> Vec<String> {
    let reads = |action: &str| action.starts_with("Describe") || action == "GetCallerIdentity";
    world.calls().iter().filter(|call| !reads(&call.action) && !call.dry_run).map(ToString::to_string).collect()
}

/// Every file of a state: the database, what SQLite keeps beside it, and the guard.
fn state_files(at: &Installation) -> Vec<PathBuf> {
    let directory = at.state_path().parent().unwrap().to_owned();
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Copies files into a directory.
fn copy(files: &[PathBuf], to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in files {
        fs::copy(file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// Looks every 100 ms until it is so; a minute is far more than any machine needs.
#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never came to this: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A collection pass every minute instead of every hour.
fn collecting(world: &World) -> String {
    world.default_config() + "[reconcile]\ncollect_interval = \"1m\"\n"
}
