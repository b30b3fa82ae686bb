//! A scheduler that does not answer: how often it is asked, since closing and whoever waits are behind that.

use crate::harness::{IPV4, Sandboxed, sandboxed::SETTLED};
use eg_sandbox::{Fault, Rule, Script};
use std::time::Duration;

const ACTIONS: [&str; 4] = ["GetSchedule", "CreateSchedule", "UpdateSchedule", "DeleteSchedule"];
const PORTS: [&str; 12] =
    ["tcp/1", "tcp/2", "tcp/3", "tcp/4", "tcp/5", "tcp/6", "tcp/7", "tcp/8", "tcp/9", "tcp/10", "tcp/11", "tcp/12"];

fn asked(world: &Sandboxed) -> [usize; 4] {
    ACTIONS.map(|action| world.sent(action).len())
}

/// Each question that nobody answers takes ten seconds; with a dozen rules in a group a pass would do nothing else.
#[test]
fn it_is_not_asked_for_every_rule() {
    let world = Sandboxed::with(&[("api", &PORTS)]).with_auto_closes();
    world.faults(ACTIONS.map(|action| Rule::new(Fault::ResetBefore).on(action)));
    let started = world.eg(&["session", "start", "--ipv4", IPV4]).expect_code(3);
    assert!(started.stderr.contains("12 rules of "), "{started}");
    assert!(started.stderr.contains("closes by eg reconcile only"), "{started}");
    let [read, created, updated, deleted] = asked(&world);
    assert!((1..=8).contains(&read), "side by side, and then no more: {read}");
    assert_eq!([created, updated, deleted], [1, 0, 0], "before the first reading, and not after it");
    world.forget_calls();
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.ours("api"), []);
    assert_eq!(asked(&world), [0; 4], "so soon after a refusal");
    world.advance(SETTLED);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(asked(&world), [0, 0, 0, 1]);
    world.faults(Script::default());
    world.advance(SETTLED);
    world.eg(&["reconcile"]).expect_code(0);
    world.ends();
}

/// What is not permitted is asked once as well; what is permitted all the same is done.
#[test]
fn nor_is_a_caller_refused_for_every_rule() {
    let world = Sandboxed::with(&[("api", &PORTS)]).with_auto_closes();
    world.faults([Rule::new(Fault::Deny).on("GetSchedule"), Rule::new(Fault::Deny).on("DeleteSchedule")]);
    world.eg(&["session", "start", "--ipv4", IPV4]).expect_code(0);
    let [read, created, ..] = asked(&world);
    assert!(read <= 16, "{read}");
    assert_eq!((created, world.region.schedules().len()), (12, 12));
    world.forget_calls();
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!((world.ours("api"), asked(&world)[3]), (vec![], 1));
    world.faults(Script::default());
    world.advance(SETTLED);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.region.schedules(), []);
    world.ends();
}

/// Twelve questions, eight at a time, are answered so late that the reading is too old by then: what is to be closed
/// comes first.
#[test]
fn closing_does_not_wait_for_answers() {
    let world = Sandboxed::with(&[("api", &[&PORTS[..], &["tcp/13"]].concat())]).with_auto_closes();
    let start = |ports: &[&str]| {
        let ports = ports.iter().flat_map(|port| ["--port", port]);
        let args: Vec<_> = ["session", "start", "--ipv4", IPV4].into_iter().chain(ports).collect();
        world.eg(&args).expect_code(0);
    };
    start(&["tcp/13"]);
    let id = world.sessions_of(&world.here)[0]["id"].as_str().unwrap().to_owned();
    start(&PORTS);
    world.faults([Rule::new(Fault::Slow(Duration::from_secs(6))).on("GetSchedule")]);
    world.eg(&["session", "stop", &id]).expect_code(0);
    assert_eq!(world.ours("api").len(), PORTS.len());
    world.faults(Script::default());
    world.eg(&["session", "stop"]).expect_code(0);
    world.ends();
}
