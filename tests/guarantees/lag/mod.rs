//! What only a provider that misbehaves on demand can show: lag, late and lost calls, throttling, pages, quotas per
//! family, clocks. Every test says exactly what comes of it, and ends with [`Sandboxed::ends`].

mod collecting;
mod crashes;
mod large;
mod late;
mod limits;
mod lost;
mod one_of_many;
mod reading;
mod refused;
mod routes;
mod sharing;
mod stale;
mod storm;
mod stripped;

use crate::harness::{IPV4, Installation, Outcome, Sandboxed, sandboxed::SETTLED, says, says_not};
use chrono::TimeDelta;
use eg_sandbox::{Fault, Rule, SecurityGroupRule, Stale, StaleSight};
use serde_json::Value;
use std::{thread, time::Duration};

const AUTHORIZE: &str = "AuthorizeSecurityGroupIngress";
const REVOKE: &str = "RevokeSecurityGroupIngress";
const DESCRIBE: &str = "DescribeSecurityGroupRules";
const TAG: &str = "CreateTags";
const UNTAG: &str = "DeleteTags";
/// What a call by the id of a rule that is gone is answered.
const NOT_FOUND: &str = "InvalidSecurityGroupRuleId.NotFound";
/// How long readings lag in these tests, in seconds: less than the settle window, more than any test runs.
const LAG: i64 = 240;
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

/// A fault on an action, dry runs left out.
fn on(action: &str, fault: Fault) -> Rule {
    Rule::new(fault).on(action).dry_run(false)
}

/// From now on every reading is behind.
fn lag(world: &Sandboxed, sights: &[StaleSight]) {
    let stale = Stale::new(TimeDelta::seconds(LAG), sights.iter().copied());
    world.region.set(|settings| settings.stale = Some(stale));
}

fn begin_at(at: &Installation, more: &[&str]) -> Outcome {
    at.eg(&[&["session", "start", "--ipv4", IPV4], more].concat())
}

/// Starts a session for the address that everybody here has.
fn begin(world: &Sandboxed, more: &[&str]) -> Outcome {
    begin_at(&world.here, more)
}

/// The newest session.
#[track_caller]
fn newest(at: &Installation) -> Value {
    let list = at.eg(&["--output", "json", "session", "list", "--limit", "0"]).expect_code(0).json_as("sessions");
    list[0].clone()
}

/// Its id.
#[track_caller]
fn id(at: &Installation) -> String {
    newest(at)["id"].as_str().unwrap().to_owned()
}

/// Its status.
#[track_caller]
fn status(world: &Sandboxed) -> String {
    newest(&world.here)["status"].as_str().unwrap().to_owned()
}

/// One key of each of its grants, by resource and family.
#[track_caller]
fn each_grant(at: &Installation, key: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let session = newest(at);
    session["resourceIps"].as_array().unwrap().iter().map(|grant| text(&grant[key])).collect()
}

/// The same for their statuses.
#[track_caller]
fn grants(world: &Sandboxed) -> Vec<String> {
    each_grant(&world.here, "status")
}

fn stop(world: &Sandboxed) -> Outcome {
    world.eg(&["session", "stop"])
}

/// A reconcile with a given exit status.
#[track_caller]
fn pass(at: &Installation, code: i32) -> Outcome {
    at.eg(&["reconcile"]).expect_code(code)
}

/// The ids of our rules in a group.
fn ids(world: &Sandboxed, name: &str) -> Vec<String> {
    world.ours(name).into_iter().map(|rule| rule.id).collect()
}

/// The values of the lease tags on a rule.
fn leases(rule: &SecurityGroupRule) -> Vec<&str> {
    let leases = rule.tags.iter().filter(|(key, _)| key.starts_with("eg:lease:"));
    leases.map(|(_, value)| value.as_str()).collect()
}

/// Every case in a world and a thread of its own: most of the time they wait.
#[track_caller]
fn side_by_side<T: Sync + std::fmt::Debug>(cases: &[T], run: impl Fn(&T) + Sync) {
    thread::scope(|scope| {
        let runs: Vec<_> = cases.iter().map(|case| (case, scope.spawn(|| run(case)))).collect();
        for (case, run) in runs {
            assert!(run.join().is_ok(), "{case:?}");
        }
    });
}

/// What a stop says while something is not known to be closed.
const NOT_CONFIRMED: &str = "Stop recorded; 1 rule not confirmed closed yet, next check ";
