//! `eg sweep`: whole accounts, with credentials alone. Against moto where accounts and regions matter, against the
//! sandbox where things go wrong.

mod accounts;
mod going_wrong;
mod incident;
mod tags;
mod units;

use crate::harness::{
    IPV4, Installation, Outcome, REGION, Sandboxed,
    sandboxed::{SETTLED, rule_of},
    says,
};
use chrono::{DateTime, SecondsFormat, Utc};
use eg_model::{ids::InstallationId, tags::lease_key};
use eg_sandbox::{Fault, HandRule, Rule, Script};
use serde_json::Value;
use std::{collections::BTreeMap, thread};
use uuid::Uuid;

const HOUR: i64 = 3600;
const MINUTE: i64 = 60;
const REVOKE: &str = "RevokeSecurityGroupIngress";
const READ: &str = "DescribeSecurityGroupRules";

fn installation(number: u128) -> InstallationId {
    InstallationId::from_uuid(Uuid::from_u128(number << 96))
}

/// The tags of a rule for [`IPV4`] that this installation opened, until then.
fn tags_of(group: &str, port: u16, number: u128, until: DateTime<Utc>) -> BTreeMap<String, String> {
    rule_of(&installation(number), group, port, until).tags
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A rule of an installation that is gone for good. Its id.
fn left_behind(world: &Sandboxed, group: &str, port: u16, number: u128, seconds: i64) -> String {
    let tags = tags_of(world.group(group), port, number, world.in_seconds(seconds));
    by_hand(world, group, port, tags)
}

fn by_hand(world: &Sandboxed, group: &str, port: u16, tags: BTreeMap<String, String>) -> String {
    let rule = HandRule { tags, ..world.rule_of_another(world.group(group), port, world.in_seconds(0)) };
    world.region.authorize_by_hand(world.group(group), &rule).unwrap()
}

/// A machine that has never run `eg`, and has no configuration.
fn stranger(world: &Sandboxed) -> Installation {
    let here = world.installation("stranger");
    std::fs::remove_file(here.config_path()).unwrap();
    here
}

/// Sweeps the world's region.
#[track_caller]
fn sweep(at: &Installation, more: &[&str], code: i32) -> Outcome {
    at.eg(&[&["sweep", "--region", REGION], more].concat()).expect_code(code)
}

/// The same; its document.
#[track_caller]
fn swept(at: &Installation, more: &[&str], code: i32) -> Value {
    let outcome = sweep(at, &[&["--output", "json"], more].concat(), code);
    outcome.json_lines();
    outcome.json_as("sweep")
}

/// State, action and outcome of a rule.
#[track_caller]
fn came(document: &Value, rule: &str) -> [String; 3] {
    let rules = document["rules"].as_array().unwrap();
    let row = rules.iter().find(|row| row["ruleId"] == rule).unwrap_or_else(|| panic!("no {rule} in {document:#}"));
    ["state", "action", "outcome"].map(|key| row[key].as_str().unwrap_or("-").to_owned())
}

fn ids(world: &Sandboxed, group: &str) -> Vec<String> {
    world.ours(group).into_iter().map(|rule| rule.id).collect()
}

fn on(action: &str, fault: Fault) -> Rule {
    Rule::new(fault).on(action).dry_run(false)
}
