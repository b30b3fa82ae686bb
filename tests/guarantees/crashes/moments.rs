//! `kill -9` and SIGTERM at moments that chance picks, by a seed; and a clock that steps back between commands. Where
//! exactly a signal strikes differs from run to run; what is true afterwards does not.

use super::*;
use std::{
    thread,
    time::{Duration, Instant},
};

/// Sends a signal this long after the start; the way the command ends.
fn struck(world: &Sandboxed, command: &[String], signal: &str, after: Duration) -> Outcome {
    let args: Vec<_> = command.iter().map(String::as_str).collect();
    let running = world.here.command(&args).spawn();
    thread::sleep(after);
    running.signal(signal);
    running.wait()
}

fn moment(
    scenario: &Scenario,
    signal: &str,
    after: Duration,
    end: &(Vec<Value>, Vec<String>, BTreeMap<String, usize>),
) {
    let world = one_group();
    (scenario.prepare)(&world);
    let command = (scenario.command)(&world);
    let before = Before::of(&world);
    world.forget_calls();
    let outcome = struck(&world, &command, signal, after);
    let known = [None, Some(0), Some(3), Some(143)];
    assert!(known.contains(&outcome.code()), "{}: SIG{signal} after {after:?}: {outcome}", scenario.name);
    if outcome.code() != Some(0) {
        before.go_on(&world, scenario, &command);
    }
    world.advance(SETTLED);
    settles(&world);
    let came_to = (record(&world), open(&world), changes(&world));
    assert_eq!(came_to, *end, "{}: SIG{signal} after {after:?}", scenario.name);
    world.ends();
}

#[track_caller]
fn at_moments(signal: &str, seed: u64, rounds: usize) {
    let mut dice = fastrand::Rng::with_seed(seed);
    for scenario in &SCENARIOS {
        let begun = Instant::now();
        let end = undisturbed(scenario);
        // A command is a small part of that; signals that come when it is over are part of the test.
        let span = begun.elapsed() / 4;
        let moments: Vec<_> = (0..rounds).map(|_| span.mul_f64(dice.f64())).collect();
        until_past_the_end(|number| {
            let Some(after) = moments.get(number) else { return false };
            moment(scenario, signal, *after, &end);
            true
        });
    }
}

#[test]
fn killed() {
    at_moments("KILL", 1, 6);
}

#[test]
fn asked_to_end() {
    at_moments("TERM", 2, 6);
}

#[test]
#[ignore = "some minutes; cargo test --locked --workspace --test e2e guarantees::crashes::moments -- --ignored"]
fn killed_and_asked_to_end_many_times() {
    at_moments("KILL", 3, 100);
    at_moments("TERM", 4, 100);
}

/// The clock steps back and forth between any two commands, by less than what `start` refuses. Ended stays ended.
#[test]
fn a_clock_that_steps_back_between_commands() {
    for scenario in &SCENARIOS {
        let end = undisturbed(scenario);
        let world = one_group();
        world.step_clock(90);
        (scenario.prepare)(&world);
        world.step_clock(if scenario.name == "expire" { 90 } else { -90 });
        let command = (scenario.command)(&world);
        world.forget_calls();
        run(&world, &command).expect_code(0);
        let came_to = (record(&world), open(&world), changes(&world));
        assert_eq!(came_to, end, "{}", scenario.name);
        world.step_clock(-100);
        settles(&world);
        let later = (record(&world), open(&world), changes(&world));
        assert_eq!(later, end, "{}: a step back undid something", scenario.name);
        world.step_clock(0);
        world.ends();
    }
}
