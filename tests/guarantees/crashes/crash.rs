//! The process ends at every boundary: before and after each write of the record, before and after each call to the
//! provider (`EG_TEST_ABORT_AT`).
//!
//! The rule for the call history: *what changes something is sent exactly as often as without a crash*: each rule is
//! authorized once, revoked once, tagged as often as otherwise, and nothing is refused for being there already or gone.
//! *Questions* (readings, dry runs, "who am I") are asked once more by the run that died, and one more reading is made
//! where a call went out whose outcome was not recorded: after the settle window. No more than that.

use super::*;

/// What a scenario comes to.
#[derive(Debug, PartialEq)]
struct End {
    record: Vec<Value>,
    open: Vec<String>,
    auto_closes: Vec<String>,
    history: BTreeMap<String, usize>,
}

impl End {
    fn of(world: &Sandboxed) -> Self {
        let mut history = history(world);
        // That an expiry schedule is gone already is found out by taking it away: one question less each time.
        history.retain(|call, _| !call.starts_with("DeleteSchedule in vain"));
        Self { record: record(world), open: open(world), auto_closes: auto_closes(world), history }
    }
}

/// Without a crash: the end, how many questions the command asked, and how many all of it.
fn undisturbed(scenario: &Scenario, make: fn() -> Sandboxed) -> (End, usize, usize) {
    let world = make();
    (scenario.prepare)(&world);
    let command = (scenario.command)(&world);
    world.forget_calls();
    run(&world, &command).expect_code(0);
    let asked = questions(&world);
    world.advance(SETTLED);
    settles(&world);
    let end = End::of(&world);
    assert_eq!(end.record[0]["status"], scenario.status);
    let all = questions(&world);
    world.ends();
    (end, asked, all)
}

/// Ends the scenario's command at the n-th boundary, and compares. Whether there is such a boundary.
fn ends_at(scenario: &Scenario, make: fn() -> Sandboxed, number: usize, undisturbed: &(End, usize, usize)) -> bool {
    let world = make();
    (scenario.prepare)(&world);
    let command = (scenario.command)(&world);
    let before = Before::of(&world);
    world.forget_calls();
    let outcome = with(&world, &command, &[("EG_TEST_ABORT_AT", number.to_string())]);
    let crashed = outcome.code().is_none();
    if crashed {
        before.go_on(&world, scenario, &command);
    } else {
        outcome.expect_code(0);
    }
    world.advance(SETTLED);
    settles(&world);
    let (end, asked, all) = undisturbed;
    assert_eq!(End::of(&world), *end, "{} ended at boundary {number}", scenario.name);
    // One reading of the rules, and one of each expiry schedule that is there.
    let (now, more) = (questions(&world), 1 + end.auto_closes.len());
    assert!(now <= all + asked + more, "{} at {number}: {now} questions, not {all} + {asked} + {more}", scenario.name);
    world.ends();
    crashed
}

#[track_caller]
fn at_every_boundary(name: &str, make: fn() -> Sandboxed) {
    let scenario = scenario(name);
    let undisturbed = undisturbed(scenario, make);
    let count = until_past_the_end(|number| ends_at(scenario, make, number, &undisturbed));
    eprintln!("{name}: ended at each of {count} boundaries");
    assert!(count > 0, "no boundary was passed");
    // A record opened or a pass begun and finished, a reading made, and what the scenario is about: never fewer.
    assert!(count >= 12, "only {count} boundaries: a door has lost its observer");
}

#[test]
fn start() {
    at_every_boundary("start", one_group);
}

#[test]
fn stop() {
    at_every_boundary("stop", one_group);
}

#[test]
fn expire() {
    at_every_boundary("expire", one_group);
}

#[test]
fn extend() {
    at_every_boundary("extend", one_group);
}

#[test]
fn start_with_auto_closes() {
    at_every_boundary("start", one_group_with_auto_closes);
}

#[test]
fn stop_with_auto_closes() {
    at_every_boundary("stop", one_group_with_auto_closes);
}

#[test]
fn expire_with_auto_closes() {
    at_every_boundary("expire", one_group_with_auto_closes);
}

#[test]
fn extend_with_auto_closes() {
    at_every_boundary("extend", one_group_with_auto_closes);
}

#[test]
fn ensure() {
    at_every_boundary("ensure", one_group);
}
