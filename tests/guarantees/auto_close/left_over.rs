//! Expiry schedules of rules that are gone: none is left behind, whatever became of the call that set it, and whoever set it.

use crate::harness::{IPV4, Sandboxed, sandboxed::SETTLED};
use chrono::TimeDelta;
use eg_sandbox::{Fault, Rule, Script};

const MINUTE: i64 = 60;

fn world() -> Sandboxed {
    Sandboxed::with(&[("api", &["tcp/22"])]).with_auto_closes()
}

fn start(world: &Sandboxed, hours: &str, code: i32) {
    world.eg(&["session", "start", "--ipv4", IPV4, "--duration", hours]).expect_code(code);
}

fn left(world: &Sandboxed) -> usize {
    world.region.schedules().len()
}

/// The call that sets it is on its way for more than three minutes; by then the rule is closed, and its expiry schedule has been taken away.
#[test]
fn one_that_is_set_late_is_taken_away_once_more() {
    let world = world();
    let late = Fault::LandLate(TimeDelta::seconds(200));
    world.faults([Rule::new(late).on("CreateSchedule"), Rule::new(Fault::ResetBefore).on("GetSchedule")]);
    start(&world, "2h", 3);
    world.faults(Script::default());
    world.eg(&["session", "stop"]).expect_code(0);
    world.advance(100);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!((world.ours("api"), left(&world)), (vec![], 0));
    world.advance(110);
    assert_eq!(left(&world), 1, "it has landed");
    world.advance(SETTLED);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(left(&world), 0);
    world.forget_calls();
    world.advance(SETTLED);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.calls().len(), 0, "nothing to look at any more");
    world.ends();
}

/// When it fires is not known: it was to be moved to an earlier time, and nobody answered until that had passed.
#[test]
fn one_whose_time_is_not_known_is_looked_for_until_it_is_gone() {
    let world = world();
    start(&world, "3h", 0);
    let long = world.sessions_of(&world.here)[0]["id"].as_str().unwrap().to_owned();
    start(&world, "1h", 0);
    let lost = ["GetSchedule", "UpdateSchedule", "CreateSchedule", "DeleteSchedule"];
    world.faults(lost.map(|action| Rule::new(Fault::ResetBefore).on(action)));
    world.eg(&["session", "stop", &long]);
    world.advance(3600 + MINUTE);
    world.eg(&["reconcile"]);
    assert_eq!((world.ours("api"), left(&world)), (vec![], 1), "closed, and the switch still says three hours");
    world.faults(Script::default());
    world.advance(SETTLED);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(left(&world), 0);
    world.ends();
}

/// Whoever set it has left the rule to another installation, which has never looked at its expiry schedule.
#[test]
fn one_that_another_installation_has_set_goes_with_the_rule() {
    let world = world();
    let config = std::fs::read_to_string(world.here.config_path()).unwrap();
    let other = world.installation("other-machine");
    let without = config.split("[aws.cloud_expiry]").next().unwrap();
    start(&world, "2h", 0);
    other.write_config(without);
    other.eg(&["session", "start", "--ipv4", IPV4, "--duration", "3h"]).expect_code(0);
    world.eg(&["session", "stop"]).expect_code(0);
    world.advance(SETTLED);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!((world.ours("api").len(), left(&world)), (1, 1));
    other.write_config(&config);
    other.eg(&["session", "stop"]).expect_code(0);
    assert_eq!((world.ours("api"), left(&world)), (vec![], 0));
    world.ends();
}
