//! What goes wrong on the way: crashes, refusals, busy locks, signals, full disks. What a provider that lags, throttles
//! or loses calls does to `eg` is shown against the sandbox.
//! Every test ends at the provider: nothing that was there before is touched, nothing that `eg` opened is left over.

mod crash;
mod mail;
mod network;
mod plain_words;
mod processes;
mod refused;
mod stalled;
mod surroundings;
mod unwritable;

use crate::harness::{REGION, World, cloud::Rule, says, says_not};
use serde_json::Value;

const AUTHORIZE: &str = "AuthorizeSecurityGroupIngress";
const REVOKE: &str = "RevokeSecurityGroupIngress";
const DESCRIBE: &str = "DescribeSecurityGroupRules";
const TAG: &str = "CreateTags";
const UNTAG: &str = "DeleteTags";
/// More than the settle window.
const SETTLED: i64 = 301;

/// A world whose only resource is `prod-api-sg` with these ports, beside a rule that somebody made by hand.
fn one_group(ports: &[&str]) -> World {
    let world = World::new();
    let group = world.group("prod-api-sg").to_owned();
    world.cloud.authorize(&group, "tcp/22", "198.51.100.7/32", "office", &[("owner", "bob")]);
    world.write_config(&(world.config_head() + &World::resource("prod-api-sg", &group, REGION, ports, "")));
    world
}

/// Every session as JSON, newest first.
fn sessions(world: &World) -> Vec<Value> {
    let list = world.eg(&["--output", "json", "session", "list", "--limit", "0"]).expect_code(0).json_as("sessions");
    list.as_array().unwrap().clone()
}

/// The status of the newest session.
fn status(world: &World) -> String {
    sessions(world).first().unwrap()["status"].as_str().unwrap().to_owned()
}

/// The id of the newest session.
fn newest(world: &World) -> String {
    sessions(world).first().unwrap()["id"].as_str().unwrap().to_owned()
}

/// What `eg` may not have touched is left out: the rules that carry its mark.
fn marked(world: &World, group: &str) -> Vec<Rule> {
    let rules = world.cloud.rules(world.group(group));
    rules.into_iter().filter(|rule| rule.tags.contains_key("eg:managed-by")).collect()
}

/// The values of the lease tags on a rule.
fn lease_values(rule: &Rule) -> Vec<&str> {
    let leases = rule.tags.iter().filter(|(key, _)| key.starts_with("eg:lease:"));
    leases.map(|(_, value)| value.as_str()).collect()
}

/// Reconciles until a pass says that everything is as recorded, with time passing in between. How many passes it took.
#[track_caller]
fn settle(world: &World) -> usize {
    let mut last = None;
    for pass in 1..=8 {
        let outcome = world.eg(&["reconcile"]);
        match outcome.code() {
            Some(0) => return pass,
            Some(1 | 3) => {}
            _ => panic!("{outcome}"),
        }
        last = Some(outcome);
        world.advance(130);
    }
    panic!("it does not settle:\n{}\n{}", last.unwrap(), world.cloud.snapshot());
}

/// The record and the provider agree: every live session is ACTIVE, with exactly these ports open until it expires.
#[track_caller]
fn assert_consistent(world: &World, group: &str, ports: usize, before: &str) {
    let live: Vec<_> =
        sessions(world).into_iter().filter(|s| s["status"] != "CANCELLED" && s["status"] != "EXPIRED").collect();
    if live.is_empty() {
        assert_eq!(world.cloud.snapshot(), before);
        return;
    }
    let until = live.iter().map(|session| session["expiresAt"].as_str().unwrap()).max().unwrap();
    assert!(live.iter().all(|session| session["status"] == "ACTIVE"), "{live:#?}");
    let rules = marked(world, group);
    assert_eq!(rules.len(), ports, "{}", world.cloud.snapshot());
    for rule in &rules {
        // Other installations may hold it too, each with a tag of its own.
        assert_eq!(lease_values(rule).iter().filter(|value| **value == until).count(), 1, "{rule}");
    }
}

/// Stops everything and waits until it has settled: the provider is as it was.
#[track_caller]
fn stop_and_settle(world: &World, before: &str) {
    let open = |s: &Value| s["status"] != "CANCELLED" && s["status"] != "EXPIRED";
    if sessions(world).iter().any(open) {
        let stopped = world.eg(&["session", "stop", "--all"]);
        assert!(matches!(stopped.code(), Some(0 | 3)), "{stopped}");
    }
    settle(world);
    assert!(!sessions(world).iter().any(open), "{:#?}", sessions(world));
    assert_eq!(world.cloud.snapshot(), before);
    // And there it stays: nothing is open any more, so nothing is asked either.
    world.forget_calls();
    world.eg(&["reconcile"]).expect_code(0);
    let changes = world.calls().iter().filter(|call| call.action != DESCRIBE).count();
    assert_eq!(changes, 0, "{}", world.call_counts());
}
