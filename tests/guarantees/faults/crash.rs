//! B1, B2: `kill -9` at every call of every command, before and after the call takes effect.

use super::{assert_consistent, one_group, sessions, settle, stop_and_settle};
use crate::harness::{Fault, World, moto::Call};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Where the process dies, relative to one call.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The call never arrives.
    Before,
    /// The call takes effect after the process is dead.
    Meanwhile,
    /// The call took effect, its answer never arrives.
    After,
}

/// How many of these calls have the action and kind of `at`.
fn alike(calls: &[Call], at: &Call) -> u64 {
    calls.iter().filter(|call| call.action == at.action && call.dry_run == at.dry_run).count() as u64
}

fn die(world: &World, args: &[&str], calls: &[Call], index: usize, moment: Moment) {
    let at = &calls[index];
    let earlier = alike(&calls[..index], at);
    let fault = match moment {
        Moment::Before => Fault::lose_request(&at.action).held(),
        Moment::Meanwhile => Fault::hold(&at.action),
        Moment::After => Fault::lose_answer(&at.action).held(),
    };
    world.forget_calls();
    world.faults(&[fault.dry_run(at.dry_run).skip(earlier).times(1)]);
    let running = world.here.command(args).spawn();
    running.wait_for_delayed(&at.action);
    running.signal("KILL");
    assert_eq!(running.wait().code(), None);
    world.faults(&[]);
    let begin = Instant::now();
    // Calls that go out together come in any order, and die together.
    while alike(&world.calls(), at) <= earlier {
        assert!(begin.elapsed() < Duration::from_secs(60), "the call was never carried out");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Kills the command at every call that its undisturbed run makes, in every way, each in a world of its own; then
/// reconciles. `ended`: a status that the session must come to, or none: the record and the provider must agree.
fn at_every_call(prepare: fn(&World) -> Vec<String>, ended: Option<&str>) {
    let ports = ["tcp/22", "tcp/443"];
    at_every_call_in(|| one_group(&ports), prepare, ended);
}

fn at_every_call_in(make: impl Fn() -> World + Sync, prepare: fn(&World) -> Vec<String>, ended: Option<&str>) {
    let world = make();
    let args = prepare(&world);
    world.forget_calls();
    world.here.command(&args.iter().map(String::as_str).collect::<Vec<_>>()).run().expect_code(0);
    let calls = world.calls();
    assert!(!calls.is_empty());
    let mut cases = Vec::new();
    for index in 0..calls.len() {
        cases.extend([Moment::Before, Moment::Meanwhile, Moment::After].map(|moment| (index, moment)));
    }
    let case = |(index, moment): (usize, Moment)| {
        eprintln!("call {index}: {} {moment:?}", calls[index]);
        let world = make();
        let before = world.cloud.snapshot();
        let args = prepare(&world);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        die(&world, &args, &calls, index, moment);
        settle(&world);
        match ended {
            Some(status) => {
                assert_eq!(sessions(&world)[0]["status"], status);
                assert_eq!(world.cloud.snapshot(), before);
            }
            None => assert_consistent(&world, "prod-api-sg", 2, &before),
        }
        stop_and_settle(&world, &before);
    };
    for some in cases.chunks(6) {
        thread::scope(|scope| {
            let handles: Vec<_> = some.iter().map(|one| (*one, scope.spawn(|| case(*one)))).collect();
            for ((index, moment), handle) in handles {
                assert!(handle.join().is_ok(), "killed {moment:?} call {index}: {}", calls[index]);
            }
        });
    }
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

#[test]
fn start_dies_at_every_call() {
    at_every_call(|_| words(&["session", "start"]), None);
}

#[test]
fn stop_dies_at_every_call() {
    at_every_call(
        |world| {
            world.eg(&["session", "start"]).expect_code(0);
            words(&["session", "stop"])
        },
        // Killed before it was recorded, there was no stop.
        None,
    );
}

#[test]
fn extend_dies_at_every_call() {
    at_every_call(
        |world| {
            world.eg(&["session", "start"]).expect_code(0);
            words(&["session", "extend", &super::newest(world), "--hours", "2"])
        },
        None,
    );
}

#[test]
fn an_expiring_reconcile_dies_at_every_call() {
    at_every_call(
        |world| {
            world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
            world.advance(3601);
            words(&["reconcile"])
        },
        Some("EXPIRED"),
    );
}

#[test]
fn a_repairing_reconcile_dies_at_every_call() {
    at_every_call(
        |world| {
            world.eg(&["session", "start", "--no-wait"]).expect_code(0);
            words(&["reconcile"])
        },
        None,
    );
}

/// A world whose ports another installation has opened already: `eg` joins its rules, and leaves them.
fn shared() -> World {
    let world = one_group(&["tcp/22", "tcp/443"]);
    world.installation("other-machine").eg(&["session", "start", "--duration", "20h"]).expect_code(0);
    world
}

#[test]
fn a_joining_start_dies_at_every_call() {
    at_every_call_in(shared, |_| words(&["session", "start"]), None);
}

#[test]
fn a_leaving_stop_dies_at_every_call() {
    at_every_call_in(
        shared,
        |world| {
            world.eg(&["session", "start"]).expect_code(0);
            words(&["session", "stop"])
        },
        None,
    );
}

/// The one that repairs dies as well, wherever it is, again and again.
#[test]
fn a_reconcile_that_dies_ten_times_gets_there_in_the_end() {
    let world = one_group(&["tcp/22", "tcp/443"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--no-wait", "--duration", "2h"]).expect_code(0);
    let die_often = |moments: u64| {
        for number in 0..moments {
            world.faults(&[Fault::delay("DescribeSecurityGroupRules", 0.1)]);
            let running = world.here.command(&["reconcile"]).spawn();
            thread::sleep(Duration::from_millis(40 + 90 * number));
            running.signal("KILL");
            running.wait();
        }
        world.faults(&[]);
    };
    die_often(10);
    settle(&world);
    assert_consistent(&world, "prod-api-sg", 2, &before);
    world.advance(2 * 3600);
    die_often(10);
    settle(&world);
    assert_eq!(sessions(&world)[0]["status"], "EXPIRED");
    stop_and_settle(&world, &before);
}
