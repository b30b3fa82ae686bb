//! Every fault: what the caller gets, and what is true afterwards.

use crate::{
    Bench,
    support::{fields, in_group, permissions},
};
use chrono::TimeDelta;
use eg_sandbox::{Call, Fault, HandRule, Rule};
use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

const AUTHORIZE: &str = "AuthorizeSecurityGroupIngress";
const SSH: (&str, &str, &str, &str) = ("tcp", "22", "22", "203.0.113.42/32");

/// Runs one authorize under a fault: status and code, the log's entry, and how many rules there are then.
fn authorize_under(fault: Fault) -> (u16, String, Call, usize) {
    let bench = Bench::new();
    let group = bench.group();
    bench.handle.script([Rule::new(fault).on(AUTHORIZE)]);
    let answer = bench.client.ask(AUTHORIZE, &permissions(&group, &[SSH]));
    let call = bench.handle.log().pop().unwrap();
    assert_eq!(call.outcome, answer.code());
    (answer.status, answer.code(), call, bench.handle.rules(&group).len())
}

#[test]
fn faults_that_answer_an_error_and_do_nothing() {
    let refuse = Fault::Refuse { code: "OptInRequired".to_owned(), message: "pay".to_owned(), status: 403 };
    for (fault, status, code) in [
        (Fault::Throttle, 503, "RequestLimitExceeded"),
        (Fault::Status(500), 500, "InternalError"),
        (Fault::Status(503), 503, "Unavailable"),
        (Fault::Deny, 403, "UnauthorizedOperation"),
        (Fault::ExpiredToken, 400, "RequestExpired"),
        (Fault::GroupGone, 400, "InvalidGroup.NotFound"),
        (refuse, 403, "OptInRequired"),
    ] {
        let (got_status, got_code, call, rules) = authorize_under(fault.clone());
        assert_eq!((got_status, got_code.as_str(), rules, call.effect), (status, code, 0, false), "{fault:?}");
        assert!(call.fault.is_some());
    }
}

#[test]
fn a_server_error_after_the_effect() {
    let (status, code, call, rules) = authorize_under(Fault::StatusAfter(500));
    assert_eq!((status, code.as_str(), rules, call.effect), (500, "InternalError", 1, true));
}

#[test]
fn faults_of_sts_are_in_its_own_form() {
    let bench = Bench::new();
    for (fault, status, code) in [
        (Fault::Throttle, 400, "Throttling"),
        (Fault::Deny, 403, "AccessDenied"),
        (Fault::ExpiredToken, 403, "ExpiredToken"),
        (Fault::Status(503), 503, "Unavailable"),
    ] {
        bench.handle.script([fault]);
        let answer = bench.client.ask("GetCallerIdentity", &[]);
        assert_eq!(
            (answer.status, answer.code(), answer.xml().name),
            (status, code.to_owned(), "ErrorResponse".to_owned())
        );
    }
}

#[test]
fn a_denied_call_names_the_action() {
    let bench = Bench::new();
    let group = bench.group();
    bench.handle.script([Fault::Deny]);
    let mut call = permissions(&group, &[SSH]);
    call.push(("DryRun".to_owned(), "true".to_owned()));
    let message = bench.client.ask(AUTHORIZE, &call).xml().text_of("Message");
    assert!(
        message.contains("is not authorized to perform: ec2:AuthorizeSecurityGroupIngress on resource: sg-"),
        "{message}"
    );
}

#[test]
fn resets_before_and_after_the_effect() {
    for (fault, rules) in [(Fault::ResetBefore, 0), (Fault::ResetAfter, 1)] {
        let bench = Bench::new();
        let group = bench.group();
        bench.handle.script([Rule::new(fault).on(AUTHORIZE)]);
        let error = bench.client.try_ask(AUTHORIZE, &permissions(&group, &[SSH])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(bench.handle.rules(&group).len(), rules);
        let call = bench.handle.log().pop().unwrap();
        assert_eq!((call.outcome.as_str(), call.status, call.effect), ("Lost", None, rules == 1));
        assert_eq!(bench.client.code("DescribeSecurityGroups", &[]), "OK");
    }
}

#[test]
fn an_authorize_that_lands_late() {
    let bench = Bench::new();
    let group = bench.group();
    bench.handle.script([Rule::new(Fault::LandLate(TimeDelta::seconds(30))).on(AUTHORIZE).nth(1)]);
    let call = permissions(&group, &[SSH]);
    assert_eq!(bench.client.try_ask(AUTHORIZE, &call).unwrap_err().kind(), ErrorKind::ConnectionReset);
    bench.clock.advance(TimeDelta::seconds(29));
    assert!(bench.client.rules(&group).is_empty());
    assert_eq!(bench.handle.late(), 1);
    bench.clock.advance(TimeDelta::seconds(1));
    assert_eq!(bench.client.rules(&group).len(), 1);
    assert_eq!((bench.handle.late(), bench.handle.rules(&group).len()), (0, 1));
    let log = bench.handle.log();
    let late: Vec<_> = log.iter().filter(|call| call.action == AUTHORIZE).map(|c| (c.landed_late, c.effect)).collect();
    assert_eq!(late, [(false, false), (true, true)]);
    assert_eq!(log.iter().filter(|call| call.action == AUTHORIZE).map(|call| call.number).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn what_lands_late_may_be_refused_then() {
    let bench = Bench::new();
    let group = bench.group();
    bench.handle.script([Rule::new(Fault::LandLate(TimeDelta::seconds(30))).on(AUTHORIZE).nth(1)]);
    let call = permissions(&group, &[SSH]);
    bench.client.try_ask(AUTHORIZE, &call).unwrap_err();
    assert_eq!(bench.client.code(AUTHORIZE, &call), "OK");
    bench.clock.advance(TimeDelta::seconds(30));
    assert_eq!(bench.handle.rules(&group).len(), 1);
    let landed = bench.handle.log().into_iter().find(|call| call.landed_late).unwrap();
    assert_eq!((landed.outcome.as_str(), landed.effect), ("InvalidPermission.Duplicate", false));
}

#[test]
fn a_slow_answer_has_had_its_effect() {
    let bench = Bench::new();
    let group = bench.group();
    bench.handle.script([Rule::new(Fault::Slow(Duration::from_millis(200))).on(AUTHORIZE)]);
    let begun = Instant::now();
    let client = bench.client.clone();
    let call = permissions(&group, &[SSH]);
    let asking = std::thread::spawn(move || client.code(AUTHORIZE, &call));
    while bench.handle.rules(&group).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    assert_eq!(asking.join().unwrap(), "OK");
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_group_that_is_gone() {
    let bench = Bench::new();
    let group = bench.group();
    bench.handle.authorize_by_hand(&group, &HandRule::new("tcp/22", "10.0.0.0/8")).unwrap();
    bench.handle.script([Rule::new(Fault::GroupGone).on("DescribeSecurityGroupRules").nth(1)]);
    assert!(bench.client.rules(&group).is_empty());
    assert!(bench.handle.groups().is_empty());
    assert_eq!(bench.client.code("DescribeSecurityGroups", &fields(&[("GroupId.1", &group)])), "InvalidGroup.NotFound");
}

#[test]
fn a_truncated_page_is_no_xml() {
    let bench = Bench::new();
    let group = bench.group();
    bench.handle.script([Rule::new(Fault::TruncatedPage).on("DescribeSecurityGroupRules")]);
    let answer = bench.client.ask("DescribeSecurityGroupRules", &in_group(&group));
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("<requestId>"));
    assert!(!answer.body.contains("</DescribeSecurityGroupRulesResponse>"));
}

#[test]
fn faults_by_order_action_and_text() {
    let bench = Bench::new();
    let (group, other) = (bench.group(), bench.client.create_group("other"));
    let codes = |group: &str, count: usize| -> Vec<String> {
        (0..count).map(|_| bench.client.code("DescribeSecurityGroupRules", &in_group(group))).collect()
    };
    bench.handle.script([Rule::new(Fault::Throttle).nth(2)]);
    assert_eq!(codes(&group, 3), ["OK", "RequestLimitExceeded", "OK"]);
    bench.handle.script([Rule::new(Fault::Throttle).containing(&other).times(1)]);
    assert_eq!(codes(&group, 1), ["OK"]);
    assert_eq!(codes(&other, 2), ["RequestLimitExceeded", "OK"]);
    bench.handle.script([Rule::new(Fault::Throttle).every(2)]);
    assert_eq!(codes(&group, 4), ["OK", "RequestLimitExceeded", "OK", "RequestLimitExceeded"]);
    bench.handle.script([Rule::new(Fault::Throttle).on("CreateTags")]);
    assert_eq!(codes(&group, 1), ["OK"]);
}

#[test]
fn chance_and_ids_follow_from_the_seed() {
    let run = |seed| {
        let bench = Bench::with(seed, |config| config.script = [Rule::new(Fault::Throttle).chance(0.3)].into());
        let answers = (0..40).map(|number| {
            let call = fields(&[("GroupName", &format!("group {number}")), ("GroupDescription", "x")]);
            let answer = bench.client.ask("CreateSecurityGroup", &call);
            (answer.status, answer.body)
        });
        let answers = answers.collect::<Vec<_>>();
        (answers, bench.handle.log())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
