//! B14, B15, B17, B23, B24, B31, B32: what the provider refuses, and what that says to the user.

use super::{
    AUTHORIZE, DESCRIBE, REVOKE, SETTLED, TAG, UNTAG, assert_consistent, grant_error, lease_values, marked, newest,
    one_group, says, sessions, settle, status, stop_and_settle,
};
use crate::harness::{Fault, IPV6, REGION, World};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

fn expired() -> (u16, &'static str, &'static str) {
    (400, "ExpiredToken", "The security token included in the request is expired")
}

#[test]
fn credentials_that_expire_in_the_middle_of_a_start_leave_it_partial() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let (code, name, text) = expired();
    world.faults(&[Fault::refuse(AUTHORIZE, code, name, text).dry_run(false).containing(world.group("prod-db-sg"))]);
    let started = world.eg(&["session", "start"]).expect_code(3);
    says(&started, "PARTIAL");
    assert_eq!(status(&world), "PARTIAL");
    let session = &sessions(&world)[0];
    let failed: Vec<_> =
        session["resourceIps"].as_array().unwrap().iter().filter(|grant| grant["status"] == "FAILED").collect();
    assert_eq!(failed.len(), 1, "{session:#}");
    assert_eq!(failed[0]["resourceName"], "prod-db-sg");
    let why = failed[0]["errorMessage"].as_str().unwrap();
    assert!(why.contains("credentials") && why.contains("expired") && why.contains("aws sso login"), "{why}");
    assert_eq!(marked(&world, "prod-api-sg").len(), 1);
    assert!(marked(&world, "prod-db-sg").is_empty());
    world.faults(&[]);
    world.advance(1000);
    settle(&world);
    assert_eq!(status(&world), "ACTIVE");
    stop_and_settle(&world, &before);
}

#[test]
fn credentials_that_expired_before_a_start_fail_it() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let (code, name, text) = expired();
    let all = [DESCRIBE, AUTHORIZE, "GetCallerIdentity"].map(|action| Fault::refuse(action, code, name, text));
    world.faults(&all);
    let started = world.eg(&["session", "start"]);
    assert!(matches!(started.code(), Some(1 | 3)), "{started}");
    says(&started, "credentials");
    says(&started, "aws sso login");
    assert_eq!(world.cloud.snapshot(), before);
    world.faults(&[]);
    world.advance(1000);
    settle(&world);
    assert_eq!(status(&world), "ACTIVE");
    world.faults(&all);
    world.advance(8 * 3600);
    let overdue = world.eg(&["reconcile"]).expect_code(3);
    says(&overdue, "credentials");
    let list = world.eg(&["session", "list"]).expect_code(0);
    says(&list, "overdue");
    says(&list, "credentials");
    world.faults(&[]);
    world.advance(130);
    settle(&world);
    assert_eq!(status(&world), "EXPIRED");
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn credentials_that_expire_before_a_revoke_keep_it_due() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    let (code, name, text) = expired();
    world.faults(&[Fault::refuse(REVOKE, code, name, text)]);
    world.forget_calls();
    let stopped = world.eg(&["session", "stop"]).expect_code(3);
    says(&stopped, "Stop recorded; 1 rule still open");
    says(&stopped, "aws sso login");
    let revokes = world.calls().iter().filter(|call| call.action == REVOKE).count();
    assert_eq!(revokes, 1, "expired credentials are not tried again in the same pass");
    world.faults(&[]);
    world.advance(130);
    stop_and_settle(&world, &before);
}

/// Nothing is opened that could not be opened with its tags or closed again: asked before the first rule.
#[test]
fn what_the_caller_may_not_do_is_found_before_anything_is_opened() {
    let message = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/a is not authorized to \
                   perform: ec2:CreateTags on resource: arn:aws:ec2:eu-west-1:1:security-group-rule/*";
    for (fault, action) in [
        (Fault::deny(AUTHORIZE), "ec2:AuthorizeSecurityGroupIngress"),
        (Fault::deny(REVOKE), "ec2:RevokeSecurityGroupIngress"),
        (Fault::refuse(AUTHORIZE, 403, "UnauthorizedOperation", message), "ec2:CreateTags"),
    ] {
        let world = one_group(&["tcp/22"]);
        let before = world.cloud.snapshot();
        world.faults(&[fault]);
        let started = world.eg(&["session", "start"]).expect_code(1);
        says(&started, "FAILED");
        says(&started, action);
        says(&started, "README");
        says(&started, "give up with: eg session stop ");
        assert_eq!(status(&world), "FAILED");
        assert!(grant_error(&world).contains(action), "{}", grant_error(&world));
        assert_eq!(world.cloud.snapshot(), before);
        let sent = world.calls().iter().filter(|call| call.action == AUTHORIZE && !call.dry_run).count();
        assert_eq!(sent, 0, "{}", world.call_counts());
        // Nothing was sent, so a stop has nothing to wait for.
        world.eg(&["session", "stop"]).expect_code(0);
        assert_eq!(status(&world), "CANCELLED");
        // Once the policy is mended it works.
        world.faults(&[]);
        world.eg(&["session", "start"]).expect_code(0);
        stop_and_settle(&world, &before);
    }
}

#[test]
fn a_permission_that_is_taken_away_later_fails_with_its_reason() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    world.eg(&["session", "stop"]).expect_code(0);
    world.faults(&[Fault::deny(AUTHORIZE)]);
    let started = world.eg(&["session", "start"]).expect_code(1);
    says(&started, "not permitted");
    says(&started, "README");
    assert_eq!(world.cloud.snapshot(), before);
    // Refused calls changed nothing, but a refusal can follow a copy that was carried out: the window is kept.
    let stopped = world.eg(&["session", "stop"]);
    assert!(matches!(stopped.code(), Some(0 | 3)), "{stopped}");
    world.faults(&[]);
    stop_and_settle(&world, &before);
}

#[test]
fn a_revoke_that_is_not_permitted_is_said_and_tried_again() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    world.faults(&[Fault::deny(REVOKE)]);
    let stopped = world.eg(&["session", "stop"]).expect_code(3);
    says(&stopped, "not permitted");
    world.advance(130);
    let reconciled = world.eg(&["reconcile"]).expect_code(3);
    says(&reconciled, "not permitted");
    world.faults(&[]);
    world.advance(130);
    stop_and_settle(&world, &before);
}

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
fn an_extend_that_may_not_rewrite_the_tag_is_not_done() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    let was = lease_values(&marked(&world, "prod-api-sg")[0])[0].to_owned();
    world.faults(&[Fault::deny(TAG)]);
    let extended = world.eg(&["session", "extend", &newest(&world), "--hours", "1"]).expect_code(3);
    says(&extended, "not permitted");
    assert_eq!(lease_values(&marked(&world, "prod-api-sg")[0]), [was.as_str()]);
    assert_ne!(sessions(&world)[0]["expiresAt"], *was, "the record holds the new expiry");
    // Until it is tried again, no pass calls this done, and it says why.
    let waiting = world.eg(&["reconcile"]).expect_code(3);
    says(&waiting, "still says another time: not permitted");
    world.faults(&[]);
    world.advance(1000);
    settle(&world);
    assert_consistent(&world, "prod-api-sg", 1, &before);
    stop_and_settle(&world, &before);
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
        assert_eq!(world.calls().iter().filter(|call| call.action == AUTHORIZE).count(), 0);
        // Nothing was ever sent to it: the stop is over at once.
        let stopped = world.eg(&["session", "stop"]).expect_code(0);
        says(&stopped, "✓ Session stopped");
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

/// B14: what is due to be closed makes room for what is to be opened.
#[test]
fn on_a_full_quota_what_is_due_is_closed_first() {
    let world = one_group(&["tcp/22"]);
    let group = world.group("prod-api-sg").to_owned();
    world.eg(&["session", "start", "--duration", "1h", "--ipv4", "203.0.113.1"]).expect_code(0);
    for number in 0..58 {
        world.cloud.authorize(&group, "tcp/80", &format!("198.51.100.{number}/32"), "", &[]);
    }
    assert_eq!(world.cloud.rules(&group).len(), 60);
    world.advance(3601);
    world.eg(&["session", "start", "--ipv4", "203.0.113.2"]).expect_code(0);
    let ours: Vec<_> = marked(&world, "prod-api-sg").into_iter().map(|rule| rule.cidr).collect();
    assert_eq!(ours, ["203.0.113.2/32"]);
    settle(&world);
    assert_eq!(sessions(&world)[1]["status"], "EXPIRED");
}

/// B31.
#[test]
fn a_quota_that_is_full_for_ipv6_lets_ipv4_open() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    let limit = || {
        let text = "The maximum number of rules per security group has been reached.";
        Fault::refuse(AUTHORIZE, 400, "RulesPerSecurityGroupLimitExceeded", text).containing(IPV6)
    };
    world.faults(&[limit()]);
    let started = world.eg(&["session", "start", "--ipv4", "203.0.113.42", "--ipv6", IPV6]).expect_code(3);
    says(&started, "PARTIAL");
    says(&started, "higher quota");
    let session = &sessions(&world)[0];
    let by_family: Vec<_> = session["resourceIps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|grant| (grant["ipVersion"].as_i64().unwrap(), grant["status"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(by_family, [(4, "APPLIED".to_owned()), (6, "FAILED".to_owned())]);
    assert_eq!(marked(&world, "prod-api-sg").len(), 1);
    world.faults(&[]);
    world.advance(1000);
    settle(&world);
    assert_eq!(marked(&world, "prod-api-sg").len(), 2);
    stop_and_settle(&world, &before);
}

/// B32: two rules of ours go away by hand between the reading and the revoke.
#[test]
fn one_unknown_id_does_not_keep_the_others_open() {
    let world = one_group(&["tcp/22", "tcp/443", "tcp/8443"]);
    let before = world.cloud.snapshot();
    let group = world.group("prod-api-sg").to_owned();
    world.eg(&["session", "start"]).expect_code(0);
    let victim = marked(&world, "prod-api-sg")[1].id.clone();
    world.faults(&[Fault::delay(REVOKE, 1.5).times(1)]);
    world.forget_calls();
    let running = world.here.command(&["session", "stop"]).spawn();
    running.wait_for_call(|call| call.action == DESCRIBE);
    world.cloud.revoke(&group, &victim);
    let stopped = running.wait();
    assert_eq!(world.cloud.snapshot(), before, "{stopped}");
    assert!(matches!(stopped.code(), Some(0 | 3)), "{stopped}");
    world.faults(&[]);
    stop_and_settle(&world, &before);
}

/// B32, for tags: one id is refused, the others are rewritten.
#[test]
fn one_refused_tag_write_does_not_keep_the_others_back() {
    let world = one_group(&["tcp/22", "tcp/443", "tcp/8443"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    let victim = marked(&world, "prod-api-sg")[1].id.clone();
    let text = format!("The security group rule ID '{victim}' does not exist");
    world.faults(&[Fault::refuse(TAG, 400, "InvalidSecurityGroupRuleId.NotFound", &text).containing(&victim)]);
    let extended = world.eg(&["session", "extend", &newest(&world), "--hours", "1"]).expect_code(3);
    let until = sessions(&world)[0]["expiresAt"].as_str().unwrap().to_owned();
    let rules = marked(&world, "prod-api-sg");
    let rewritten = rules.iter().filter(|rule| lease_values(rule) == [until.as_str()]).count();
    assert_eq!(rewritten, 2, "{extended}\n{}", world.cloud.snapshot());
    world.faults(&[]);
    world.advance(1000);
    settle(&world);
    assert_consistent(&world, "prod-api-sg", 3, &before);
    stop_and_settle(&world, &before);
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
        stop.store(true, Ordering::SeqCst);
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
        assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
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

/// B20: every failing call goes out as often as our own loop sends it, and no more.
#[test]
fn there_is_one_layer_of_retries() {
    for (code, name) in [(500, "InternalError"), (400, "ExpiredToken"), (403, "UnauthorizedOperation")] {
        let world = one_group(&["tcp/22"]);
        world.eg(&["session", "start"]).expect_code(0);
        world.forget_calls();
        world.faults(&[Fault::refuse(DESCRIBE, code, name, "no")]);
        world.eg(&["reconcile"]).expect_code(3);
        let calls = world.calls().len();
        assert!((1..=4).contains(&calls), "{name}: {}", world.call_counts());
    }
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
