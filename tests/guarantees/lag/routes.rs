//! One sick route, and what is due elsewhere: each region (and each set of credentials) has slots, retries and a time limit
//! of its own.

use super::*;
use crate::harness::sandboxed::FAR;

const SCHEDULER: [&str; 4] = ["GetSchedule", "CreateSchedule", "UpdateSchedule", "DeleteSchedule"];

fn in_far(world: &Sandboxed, actions: &[&str]) -> usize {
    world.calls().iter().filter(|call| call.region == FAR && actions.contains(&call.action.as_str())).count()
}

/// B11, 40 groups in a region that answers "too fast" to everything; an overdue rule in another region.
#[test]
fn a_throttled_region_takes_no_other_regions_turn() {
    let world = Sandboxed::with(&[("api", &["tcp/22"])]);
    let far = world.far_groups(40);
    begin(&world, &["--only", "far"]).expect_code(0);
    begin(&world, &["--only", "api", "--duration", "1m"]).expect_code(0);
    world.advance(MINUTE + 1);
    world.forget_calls();
    world.faults([Rule::new(Fault::Throttle).in_region(FAR)]);
    says(&pass(&world.here, 3), "cannot be read: throttled");
    assert_eq!(ids(&world, "api"), [""; 0], "closed in the first pass");
    // Read in batches: not 40 groups, six times each.
    let reads = in_far(&world, &[DESCRIBE]);
    assert!((7..=120).contains(&reads), "{reads}");
    assert!(far.iter().all(|group| world.region.rules(group).len() == 1), "what is not known is not touched");
    world.ends();
    assert!(far.iter().all(|group| world.region.rules(group).is_empty()));
}

/// The same with a region that never answers: it is asked once, for all of its groups.
#[test]
fn a_silent_region_takes_no_other_regions_turn() {
    let world = Sandboxed::with(&[("api", &["tcp/22"])]);
    let far = world.far_groups(40);
    begin(&world, &["--only", "far"]).expect_code(0);
    begin(&world, &["--only", "api", "--duration", "1m"]).expect_code(0);
    world.advance(MINUTE + 1);
    world.forget_calls();
    world.faults([Rule::new(Fault::Slow(Duration::from_secs(30))).in_region(FAR)]);
    says(&pass(&world.here, 3), "cannot be read: no usable answer");
    assert_eq!((ids(&world, "api").len(), in_far(&world, &[DESCRIBE])), (0, 1));
    world.faults([] as [Rule; 0]);
    world.ends();
    assert!(far.iter().all(|group| world.region.rules(group).is_empty()));
}

/// B11, 64 groups whose expiry schedules are asked for at a scheduler that never answers; an overdue rule in another region, and one
/// in the last group of the same.
#[test]
fn a_silent_scheduler_keeps_nothing_open() {
    let world = Sandboxed::with(&[("api", &["tcp/22"])]);
    let far = world.far_groups(64);
    let (last, _) = far.iter().enumerate().max_by_key(|(_, id)| *id).unwrap();
    let others: Vec<String> = (0..far.len()).filter(|n| *n != last).map(|number| format!("far-{number}")).collect();
    // What is overdue has no expiry schedule that would close it first.
    begin(&world, &["--only", "api", "--only", &format!("far-{last}"), "--duration", "1m"]).expect_code(0);
    let world = world.with_auto_closes();
    let open = || far.iter().filter(|group| !world.region.rules(group).is_empty()).count();
    begin(&world, &others.iter().flat_map(|name| ["--only", name.as_str()]).collect::<Vec<_>>()).expect_code(0);
    assert_eq!((open(), world.region.schedules().len()), (64, 63));
    world.advance(MINUTE + 1);
    world.forget_calls();
    // Longer than a call may take.
    let silent = |action: &&str| Rule::new(Fault::Slow(Duration::from_secs(30))).on(action).in_region(FAR);
    world.faults(SCHEDULER.iter().map(silent).collect::<eg_sandbox::Script>());
    pass(&world.here, 0);
    assert_eq!((ids(&world, "api").len(), open()), (0, 63), "closed in the first pass");
    // Eight at a time, and then no more: not one after the other for every group.
    let asked = in_far(&world, &SCHEDULER);
    assert!((1..=16).contains(&asked), "{asked}");
    world.faults(eg_sandbox::Script::default());
    world.ends();
    assert_eq!((open(), world.region.schedules()), (0, vec![]));
}
