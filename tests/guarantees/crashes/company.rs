//! Two people at one machine, each opening and closing, cron beside them, and another machine behind the same address:
//! all at once, for a number of rounds. Which of them opens and closes is theirs; nothing is left over.

use super::*;
use crate::harness::Installation;
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// What is in place, or is being put in place.
#[track_caller]
fn fine(outcome: &Outcome) {
    assert!(matches!(outcome.code(), Some(0 | 3)), "{outcome}");
}

/// One session, from its beginning to its end.
fn session(at: &Installation, extends: bool) {
    let started = at.eg(&["--output", "json", "session", "start", "--ipv4", IPV4, "--duration", "1h"]);
    fine(&started);
    let id = started.json()["id"].as_str().unwrap().to_owned();
    if extends {
        fine(&at.eg(&["session", "extend", &id, "--hours", "1"]));
    }
    fine(&at.eg(&["session", "stop", &id]));
    let session = at.eg(&["--output", "json", "session", "get", &id]).expect_code(0).json();
    assert!(["EXPIRING", "CANCELLED"].iter().any(|status| session["status"] == *status), "{session:#}");
}

/// How many sessions there were.
fn together(go_on: impl Fn(usize) -> bool + Sync) -> usize {
    let world = one_group();
    let other = world.installation("other-machine");
    let here = &world.here;
    let (over, lived) = (AtomicBool::new(false), AtomicUsize::new(0));
    let person = &|at: &Installation, extends: bool| {
        let mut round = 0;
        while go_on(round) {
            session(at, extends);
            lived.fetch_add(1, Ordering::SeqCst);
            round += 1;
        }
    };
    let cron = || {
        while !over.load(Ordering::SeqCst) {
            fine(&here.eg(&["reconcile", "--timer"]));
        }
    };
    thread::scope(|scope| {
        let cron = scope.spawn(cron);
        let people = [(here, false), (here, true), (&other, false)];
        let people: Vec<_> = people.map(|(at, extends)| scope.spawn(move || person(at, extends))).into();
        let well = people.into_iter().map(|person| person.join().is_ok()).fold(true, |all, one| all & one);
        over.store(true, Ordering::SeqCst);
        assert!(cron.join().is_ok() && well, "somebody failed");
    });
    world.ends();
    lived.into_inner()
}

#[test]
fn a_few_rounds() {
    assert_eq!(together(|round| round < 3), 9);
}

#[test]
#[ignore = "a minute; cargo test --locked --workspace --test e2e guarantees::crashes::company -- --ignored --nocapture"]
fn for_a_minute() {
    let begun = Instant::now();
    let lived = together(|_| begun.elapsed() < Duration::from_secs(60));
    eprintln!("{lived} sessions, nothing left over");
}
