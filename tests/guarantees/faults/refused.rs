//! B14, B17, B23, B24: what the provider refuses, and what that says to the user.

use super::{
    AUTHORIZE, DESCRIBE, SETTLED, UNTAG, assert_consistent, lease_values, marked, newest, one_group, says, sessions,
    settle, status, stop_and_settle,
};
use crate::harness::{Fault, REGION, World};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

#[test]
fn leaving_without_the_right_to_delete_tags_writes_a_past_time() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let other = world.installation("other-machine");
    world.eg(&["session", "start"]).expect_code(0);
    other.eg(&["session", "start"]).expect_code(0);
    world.faults(&[Fault::deny(UNTAG)]);
    let left = world.eg(&["session", "stop"]).expect_code(0);
    says(&left, "another installation");
    assert_eq!(status(&world), "CANCELLED");
    let rules = marked(&world, "prod-api-sg");
    assert_eq!(rules.len(), 1);
    assert_eq!(
        lease_values(&rules[0]).iter().filter(|value| value.starts_with("1970-01-01")).count(),
        1,
        "{}",
        rules[0]
    );
    // Once settled, the past time is no claim: the lease closes, and no pass fights over the tag.
    world.advance(SETTLED);
    settle(&world);
    world.forget_calls();
    world.eg(&["reconcile"]).expect_code(0);
    assert!(world.calls().iter().all(|call| call.action == DESCRIBE), "{}", world.call_counts());
    other.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn a_typo_in_the_group_and_a_wrong_region_are_said() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let group = world.group("prod-api-sg").to_owned();
    for (id, region) in [("sg-0123456789abcdef0", REGION), (group.as_str(), "us-east-1")] {
        world.write_config(&(world.config_head() + &World::resource("prod-api-sg", id, region, &["tcp/22"], "")));
        let started = world.eg(&["session", "start"]);
        assert!(matches!(started.code(), Some(1)), "{started}");
        says(&started, id);
        says(&started, region);
        says(&started, world.account());
        says(&started, "check the resource's id, region and profile");
        assert_eq!(world.calls().iter().filter(|call| call.action == AUTHORIZE && !call.dry_run).count(), 0);
        assert_eq!(sessions(&world).len(), 0, "nothing is recorded");
    }
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn a_full_quota_fails_with_a_hint_and_the_others_open() {
    let world = World::new();
    let group = world.group("prod-db-sg").to_owned();
    for number in 0..60 {
        world.cloud.authorize(&group, "tcp/5432", &format!("198.51.100.{number}/32"), "", &[]);
    }
    let before = world.cloud.snapshot();
    let started = world.eg(&["session", "start"]).expect_code(3);
    says(&started, "PARTIAL");
    says(&started, "higher quota");
    // Room is made by hand: the next pass opens it.
    let room = world.cloud.rules(&group)[0].clone();
    world.cloud.revoke(&group, &room.id);
    world.advance(1000);
    settle(&world);
    assert_eq!(status(&world), "ACTIVE");
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.rules(&group).len(), 59);
    assert_eq!(world.cloud.snapshot().lines().count() + 1, before.lines().count());
}

/// Ends the other thread, also where this one fails.
struct StopsWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// B23: somebody deletes our rule the moment it is there, all the time.
#[test]
fn a_constant_racer_is_bounded() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let group = world.group("prod-api-sg").to_owned();
    world.eg(&["session", "start"]).expect_code(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopsWhenDropped(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                for rule in marked(&world, "prod-api-sg") {
                    world.cloud.try_revoke(&group, &rule.id).ok();
                }
                thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        for _ in 0..4 {
            world.forget_calls();
            let outcome = world.eg(&["reconcile"]);
            assert!(matches!(outcome.code(), Some(0 | 1 | 3)), "{outcome}");
            assert!(world.calls().len() <= 40, "{}", world.call_counts());
            world.advance(60);
        }
    });
    world.advance(1000);
    settle(&world);
    assert_consistent(&world, "prod-api-sg", 1, &before);
    stop_and_settle(&world, &before);
}

/// B23, the other way: the provider says "exists already" for ever, and no reading shows it.
#[test]
fn a_duplicate_that_nobody_can_see_is_bounded() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let text = "the specified rule already exists";
    world.faults(&[Fault::refuse(AUTHORIZE, 400, "InvalidPermission.Duplicate", text).dry_run(false)]);
    let started = world.eg(&["session", "start"]).expect_code(3);
    says(&started, "PENDING");
    assert!(world.calls().len() <= 24, "{}", world.call_counts());
    world.faults(&[]);
    world.advance(1000);
    settle(&world);
    assert_eq!(status(&world), "ACTIVE");
    stop_and_settle(&world, &before);
}

/// B24.
#[test]
fn a_repeated_reconcile_reads_once_and_changes_nothing() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    world.eg(&["reconcile"]).expect_code(0);
    let open = world.cloud.snapshot();
    for _ in 0..3 {
        world.forget_calls();
        let quiet = world.eg(&["reconcile"]).expect_code(0);
        assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", "Nothing to do.\n"));
        assert_eq!(world.call_counts(), "1×DescribeSecurityGroupRules");
        world.advance(60);
    }
    assert_eq!(world.cloud.snapshot(), open);
    // A fault that is over leaves no trace in the history of later passes.
    world.faults(&[Fault::lose_answer(DESCRIBE).times(1)]);
    world.eg(&["reconcile"]);
    world.advance(130);
    world.eg(&["reconcile"]).expect_code(0);
    world.forget_calls();
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.call_counts(), "1×DescribeSecurityGroupRules");
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    world.eg(&["reconcile"]).expect_code(0);
    world.forget_calls();
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.call_counts(), "", "nothing live, nothing open: no network");
}

/// B19: another address, in the middle of a session: what was opened first stays until it is stopped.
#[test]
fn another_address_opens_before_the_first_is_closed() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    let first = newest(&world);
    for echo in &world.echo4 {
        echo.say("203.0.113.99");
    }
    let second = world.eg(&["session", "start"]).expect_code(0);
    says(&second, &format!("session {} is still open for 203.0.113.42", &first[..8]));
    says(&second, &format!("eg session stop {}", &first[..8]));
    assert_eq!(marked(&world, "prod-api-sg").len(), 2);
    world.eg(&["session", "stop", &first]).expect_code(0);
    let left: Vec<_> = marked(&world, "prod-api-sg").into_iter().map(|rule| rule.cidr).collect();
    assert_eq!(left, ["203.0.113.99/32"]);
    stop_and_settle(&world, &before);
}
