//! The sandbox against moto, the independent judge: one script of calls for both, the answers compared. Where they
//! differ is listed in `conformance/known.rs`; a difference that is not listed fails, and so does one that is gone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "conformance/emulator.rs"]
mod emulator;
#[path = "conformance/known.rs"]
mod known;
#[path = "conformance/known_lists.rs"]
mod known_lists;
#[path = "conformance/known_ministack.rs"]
mod known_ministack;
#[path = "conformance/network.rs"]
mod network;
#[path = "conformance/normal.rs"]
mod normal;
#[path = "conformance/script.rs"]
mod script;
#[allow(dead_code, reason = "shared with the other test binary")]
mod support;

use chrono::DateTime;
use eg_sandbox::{Config, HandClock, Sandbox};
use emulator::Emulator;
use known::{Difference, Follows, KNOWN};
use known_lists::KNOWN_OF_LISTS;
use known_ministack::KNOWN_OF_MINISTACK;
use network::{BothNetworks, KNOWN_OF_NETWORKS};
use normal::Names;
use script::{Call, Scene, Step};
use std::collections::{BTreeMap, BTreeSet};
use support::{Answer, Client, fields};

/// One endpoint in the course of a scene.
struct Side {
    client: Client,
    /// Ids by the script's names for them.
    ids: BTreeMap<String, String>,
}

impl Side {
    fn begin(client: &Client, scene: &Scene) -> Self {
        let call = fields(&[("GroupName", scene.name), ("GroupDescription", "a group")]);
        let group = client.get("CreateSecurityGroup", &call).text_of("groupId");
        Self { client: client.clone(), ids: BTreeMap::from([("$g".to_owned(), group)]) }
    }

    fn ask(&mut self, step: &Step) -> Vec<String> {
        let (action, fields) = match &step.call {
            Call::Query { action, fields } => (*action, fields),
            Call::Rest { method, path, body } => {
                return normal::rest_lines(&self.client.ask_scheduler(method, path, body), step.compare);
            }
            Call::Waf { action, body } => return self.ask_waf(step, action, body),
        };
        let meant = |value: &String| self.ids.get(value).unwrap_or(value).clone();
        let call: Vec<_> = fields.iter().map(|(name, value)| (name.clone(), meant(value))).collect();
        let answer = self.client.ask(action, &call);
        self.keep(step, &answer);
        let names: Names = self.ids.iter().map(|(name, id)| (id.clone(), name.clone())).collect();
        normal::lines(&answer, step.compare, &names)
    }

    fn ask_waf(&mut self, step: &Step, action: &str, body: &str) -> Vec<String> {
        let body = self.ids.iter().fold(body.to_owned(), |body, (name, id)| body.replace(name, id));
        let answer = self.client.ask_waf(action, &body);
        for (name, id) in normal::set_ids(&answer) {
            self.ids.insert(name.to_owned(), id);
        }
        let lines = normal::rest_lines(&answer, step.compare);
        let named = |line: String| self.ids.iter().fold(line, |line, (name, id)| line.replace(id, name));
        lines.into_iter().map(named).collect()
    }

    /// Ids that the answer lists get their names, from the last: an endpoint may list the last ones only.
    fn keep(&mut self, step: &Step, answer: &Answer) {
        let ids = normal::kept_ids(answer);
        for (name, id) in step.keeps.iter().rev().zip(ids.into_iter().rev()) {
            self.ids.insert(format!("${name}"), id);
        }
    }
}

/// What only the one and what only the other says.
fn differ(sandbox: &[String], other: &[String]) -> Option<(Vec<String>, Vec<String>)> {
    let (left, right): (BTreeSet<_>, BTreeSet<_>) = (sandbox.iter().collect(), other.iter().collect());
    let only = |a: &BTreeSet<&String>, b: &BTreeSet<&String>| a.difference(b).map(|line| (*line).clone()).collect();
    (sandbox != other).then(|| (only(&left, &right), only(&right, &left)))
}

fn as_listed(found: &(Vec<String>, Vec<String>), listed: &Difference) -> bool {
    found.0 == listed.sandbox && found.1 == listed.other
}

fn known_of_moto() -> Vec<&'static Difference> {
    KNOWN.iter().chain(KNOWN_OF_LISTS).chain(KNOWN_OF_NETWORKS).collect()
}

/// Of network interfaces moto knows enough to judge, and no other emulator.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Networks {
    Compared,
    LeftOut,
}

/// Plays the scenes at both. Every difference has to be listed, and every listed one has to be there.
fn compare(emulator: &Emulator, scenes: Vec<Scene>, networks: Networks, known: &[&Difference]) {
    let clock = HandClock::at(DateTime::UNIX_EPOCH);
    let sandbox = Sandbox::start(Config::new(1, clock.clock())).expect("a sandbox");
    let ours = Client::new(sandbox.address());
    // The clock stands still, and the emulators know no limits.
    sandbox.set(|settings| settings.rate_limits.clear());

    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    let mut judge = |at: (&'static str, &'static str), left: &[String], right: &[String]| {
        assert!(seen.insert(at), "{at:?} is there twice");
        let found = differ(left, right);
        let listed = known.iter().find(|difference| difference.at == at);
        match (&found, listed) {
            (None, None) => {}
            (Some(found), Some(listed)) if as_listed(found, listed) => {}
            _ => wrong.push(format!("{at:?}: {found:#?}")),
        }
    };
    for scene in scenes {
        let (mut left, mut right) = (Side::begin(&ours, &scene), Side::begin(&emulator.client(), &scene));
        for step in &scene.steps {
            judge((scene.name, step.name), &left.ask(step), &right.ask(step));
        }
    }
    if networks == Networks::Compared {
        let network = BothNetworks::on_both(&emulator.client(), &ours, &sandbox);
        for (name, action, fields) in network.questions() {
            let lines = |client: &Client| network.lines(&client.ask(action, &fields));
            judge(("network", name), &lines(&ours), &lines(&emulator.client()));
        }
    }
    let unknown = known.iter().filter(|difference| !seen.contains(&difference.at)).map(|difference| difference.at);
    assert_eq!(unknown.collect::<Vec<_>>(), []);
    assert!(wrong.is_empty(), "not as listed:\n{}", wrong.join("\n"));
}

#[test]
fn the_sandbox_answers_as_moto_does() {
    let Some(python) = emulator::python() else {
        assert!(!emulator::required(), "no moto, and CI is set: make target/tmp/moto-venv or set EG_MOTO_PYTHON");
        println!("skipped: no moto; the end-to-end tests make target/tmp/moto-venv, or set EG_MOTO_PYTHON");
        return;
    };
    compare(&Emulator::moto(&python), script::scenes(), Networks::Compared, &known_of_moto());
}

/// A second judge, of prefix lists and IP sets, where moto is wrong most.
#[test]
fn lists_and_sets_answer_as_those_of_ministack_do() {
    let Some(python) = emulator::ministack() else {
        println!("skipped: set EG_MINISTACK_PYTHON to the python of an environment with ministack");
        return;
    };
    let scenes = script::lists_and_sets();
    compare(&Emulator::ministack(&python), scenes, Networks::LeftOut, &KNOWN_OF_MINISTACK.iter().collect::<Vec<_>>());
}

/// Nothing is listed without a reason, and where AWS documents what the other does, the sandbox has to follow.
#[test]
fn every_difference_has_a_reason() {
    for Difference { at, why, follows, .. } in known_of_moto().into_iter().chain(KNOWN_OF_MINISTACK) {
        assert!(why.len() > 20, "{at:?}");
        assert_ne!(*follows, Follows::Moto, "{at:?}: the sandbox is wrong");
    }
}
