//! A command ends at any place: at every single boundary between two effects, at moments that chance picks, on a disk
//! that is full from some write on, beside others that do the same. What a clean run afterwards comes to is compared
//! with what it comes to when nothing went wrong.

mod company;
mod crash;
mod disk;
mod follow;
mod moments;

use crate::harness::{IPV4, Outcome, Sandboxed, boundaries::until_past_the_end, sandboxed::SETTLED};
use serde_json::Value;
use std::collections::BTreeMap;

/// The one resource of these tests, with two ports. One, so that boundaries come in the same order in every run.
const API: &str = "api";
const HOUR: i64 = 3600;

/// What is asked of `eg`, and what went before.
struct Scenario {
    name: &'static str,
    prepare: fn(&Sandboxed),
    command: fn(&Sandboxed) -> Vec<String>,
    /// What the session comes to.
    status: &'static str,
}

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "start",
        prepare: |_| {},
        command: |_| words(&["session", "start", "--ipv4", IPV4, "--duration", "2h"]),
        status: "ACTIVE",
    },
    Scenario { name: "stop", prepare: begin, command: |_| words(&["session", "stop"]), status: "CANCELLED" },
    Scenario {
        name: "expire",
        prepare: |world| {
            begin(world);
            world.advance(2 * HOUR + 1);
        },
        command: |_| words(&["reconcile"]),
        status: "EXPIRED",
    },
    Scenario {
        name: "extend",
        prepare: begin,
        command: |world| words(&["session", "extend", &newest(world), "--hours", "1"]),
        status: "ACTIVE",
    },
    Scenario {
        name: "ensure",
        prepare: begin,
        command: |_| words(&["session", "ensure", "--ipv4", IPV4, "--duration", "3h"]),
        status: "ACTIVE",
    },
];

fn scenario(name: &str) -> &'static Scenario {
    SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap()
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

fn one_group() -> Sandboxed {
    Sandboxed::with(&[(API, &["tcp/22", "tcp/443"])])
}

/// The same where rules get expiry schedules in the cloud.
fn one_group_with_auto_closes() -> Sandboxed {
    one_group().with_auto_closes()
}

fn begin(world: &Sandboxed) {
    world.eg(&["session", "start", "--ipv4", IPV4, "--duration", "2h"]).expect_code(0);
}

fn newest(world: &Sandboxed) -> String {
    world.sessions_of(&world.here)[0]["id"].as_str().unwrap().to_owned()
}

fn run(world: &Sandboxed, command: &[String]) -> Outcome {
    with(world, command, &[])
}

/// Runs a command with more in its environment.
fn with(world: &Sandboxed, command: &[String], vars: &[(&str, String)]) -> Outcome {
    let args: Vec<_> = command.iter().map(String::as_str).collect();
    let command = world.here.command(&args);
    vars.iter().fold(command, |command, (key, value)| command.env(key, value)).run()
}

/// Reconciles until a pass says that all is as recorded, the settle window in between: twice at the most.
#[track_caller]
fn settles(world: &Sandboxed) {
    let mut last = Vec::new();
    for _ in 0..3 {
        let outcome = world.eg(&["reconcile"]);
        if outcome.code() == Some(0) {
            return;
        }
        last.push(outcome);
        world.advance(SETTLED);
    }
    panic!("it does not settle: {last:#?}");
}

/// What was before a command.
struct Before {
    sessions: Vec<Value>,
    open: Vec<String>,
}

impl Before {
    fn of(world: &Sandboxed) -> Self {
        Self { sessions: world.sessions_of(&world.here), open: open(world) }
    }

    /// After a command that came to a bad end. What did not come to the record was not asked, and nothing was done about
    /// it: it is asked again. Else the next pass carries it out.
    #[track_caller]
    fn go_on(&self, world: &Sandboxed, scenario: &Scenario, command: &[String]) {
        if world.sessions_of(&world.here) == self.sessions {
            assert_eq!(open(world), self.open, "{}: changed without a record", scenario.name);
            run(world, command).expect_code(0);
        } else {
            world.eg(&["reconcile"]);
        }
    }
}

/// What is on record, without ids and times: of a time only whether there is one.
fn record(world: &Sandboxed) -> Vec<Value> {
    world.sessions_of(&world.here).into_iter().map(without_times).collect()
}

fn without_times(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let there = |key: &str, value: Value| match value {
                Value::String(_) if key.ends_with("At") || key == "id" || key == "providerRuleId" => "some".into(),
                Value::Array(ids) if key == "providerRuleIds" => ids.len().into(),
                other => without_times(other),
            };
            object.into_iter().map(|(key, value)| (key.clone(), there(&key, value))).collect()
        }
        Value::Array(list) => list.into_iter().map(without_times).collect(),
        other => other,
    }
}

/// What is open by `eg`, each rule with whether its lease says what the newest session says.
fn open(world: &Sandboxed) -> Vec<String> {
    let until = world.sessions_of(&world.here).first().map(|session| session["expiresAt"].clone());
    let rule = |rule: eg_sandbox::SecurityGroupRule| {
        let mut leases = rule.tags.iter().filter(|(key, _)| key.starts_with("eg:lease:"));
        let right = leases.all(|(_, value)| Some(value.as_str()) == until.as_ref().and_then(Value::as_str));
        format!("{:?}, {} tags, lease right: {right}", rule.permission, rule.tags.len())
    };
    let mut rules: Vec<_> = world.ours(API).into_iter().map(rule).collect();
    rules.sort();
    rules
}

/// The expiry schedules in the cloud, each with whether it fires when the newest session ends, and closes a rule of `eg`'s.
fn auto_closes(world: &Sandboxed) -> Vec<String> {
    let until = world.sessions_of(&world.here).first().map(|session| session["expiresAt"].clone());
    let ours: Vec<String> = world.ours(API).into_iter().map(|rule| rule.id).collect();
    let auto_close = |(key, schedule): (eg_sandbox::ScheduleKey, eg_sandbox::Schedule)| {
        let at = schedule.at().map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        let right = at.as_deref() == until.as_ref().and_then(Value::as_str);
        let closes =
            ours.iter().any(|id| key.name == format!("eg-{id}") && schedule.text("/Target/Input").contains(id));
        format!("time right: {right}, closes ours: {closes}, {}", schedule.text("/State"))
    };
    world.region.schedules().into_iter().map(auto_close).collect()
}

/// The calls that were meant to change something: how many rules each action changed, and how many calls were refused.
fn history(world: &Sandboxed) -> BTreeMap<String, usize> {
    let mut history = BTreeMap::new();
    for call in world.calls().iter().filter(|call| !call.dry_run && !is_question(&call.action)) {
        let (name, count) = match call.effect {
            true => (call.action.clone(), call.rules.len()),
            false => (format!("{} in vain: {}", call.action, call.outcome), 1),
        };
        *history.entry(name).or_default() += count;
    }
    history
}

fn is_question(action: &str) -> bool {
    action.starts_with("Describe") || action.starts_with("Get")
}

/// Those of them that changed something.
fn changes(world: &Sandboxed) -> BTreeMap<String, usize> {
    history(world).into_iter().filter(|(name, _)| !name.contains(" in vain")).collect()
}

/// What a scenario comes to without anything going wrong: the record, what is open, what was changed.
fn undisturbed(scenario: &Scenario) -> (Vec<Value>, Vec<String>, BTreeMap<String, usize>) {
    undisturbed_in(scenario, one_group, |world| (record(world), open(world), changes(world)))
}

/// The same in a world of a certain make, and as seen there.
fn undisturbed_in<T>(scenario: &Scenario, make: fn() -> Sandboxed, see: impl Fn(&Sandboxed) -> T) -> T {
    let world = make();
    (scenario.prepare)(&world);
    let command = (scenario.command)(&world);
    world.forget_calls();
    run(&world, &command).expect_code(0);
    let seen = see(&world);
    assert_eq!(record(&world)[0]["status"], scenario.status);
    world.ends();
    seen
}

/// How often was asked: readings, dry runs, names.
fn questions(world: &Sandboxed) -> usize {
    world.calls().iter().filter(|call| call.dry_run || is_question(&call.action)).count()
}
