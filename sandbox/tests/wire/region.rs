//! The region at large: stale reads, `Date`, latency, rate limits; and what is done by hand.

use crate::{
    Bench,
    support::{fields, in_group, permissions, tagged, tags},
};
use chrono::TimeDelta;
use eg_sandbox::{HandRule, Latency, RateLimit, Stale, StaleSight};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const AUTHORIZE: &str = "AuthorizeSecurityGroupIngress";
const SSH: (&str, &str, &str, &str) = ("tcp", "22", "22", "203.0.113.42/32");

fn stale(bench: &Bench, sights: &[StaleSight]) {
    bench.handle.set(|settings| settings.stale = Some(Stale::new(TimeDelta::seconds(10), sights.iter().copied())));
}

#[test]
fn a_new_rule_is_missing_for_a_while_but_writes_know_it() {
    let bench = Bench::new();
    let group = bench.group();
    stale(&bench, &[StaleSight::NewMissing]);
    let call = permissions(&group, &[SSH]);
    bench.client.get(AUTHORIZE, &call);
    assert!(bench.client.rules(&group).is_empty());
    assert_eq!(bench.client.code(AUTHORIZE, &call), "InvalidPermission.Duplicate");
    bench.clock.advance(TimeDelta::seconds(10));
    assert_eq!(bench.client.rules(&group).len(), 1);
}

#[test]
fn a_revoked_rule_is_still_there_for_a_while() {
    let bench = Bench::new();
    let group = bench.group();
    stale(&bench, &[StaleSight::RevokedPresent]);
    let id = bench.client.get(AUTHORIZE, &permissions(&group, &[SSH])).text_of("securityGroupRuleId");
    bench.handle.revoke_by_hand(&group, &id).unwrap();
    assert_eq!(bench.client.rules(&group)[0].text_of("securityGroupRuleId"), id);
    assert!(bench.handle.rules(&group).is_empty());
    bench.clock.advance(TimeDelta::seconds(10));
    assert!(bench.client.rules(&group).is_empty());
}

#[test]
fn tags_lag_behind() {
    let bench = Bench::new();
    let group = bench.group();
    stale(&bench, &[StaleSight::TagsMissing]);
    let call = tagged(permissions(&group, &[SSH]), &[("a", "1")]);
    let id = bench.client.get(AUTHORIZE, &call).text_of("securityGroupRuleId");
    let shown = || bench.client.rules(&group)[0].tags().get("a").cloned();
    assert_eq!(shown(), None);
    bench.clock.advance(TimeDelta::seconds(10));
    assert_eq!(shown().as_deref(), Some("1"));
    bench.client.get("CreateTags", &tags(&[&id], &[("a", Some("2"))]));
    assert_eq!(shown().as_deref(), Some("1"));
    bench.clock.advance(TimeDelta::seconds(5));
    bench.client.get("CreateTags", &tags(&[&id], &[("a", Some("3"))]));
    assert_eq!(shown().as_deref(), Some("1"));
    bench.clock.advance(TimeDelta::seconds(5));
    assert_eq!(shown().as_deref(), Some("2"));
    bench.clock.advance(TimeDelta::seconds(5));
    assert_eq!(shown().as_deref(), Some("3"));
}

#[test]
fn some_reads_are_stale_and_some_are_not() {
    let bench = Bench::new();
    let group = bench.group();
    bench.handle.set(|settings| {
        settings.stale = Some(Stale { chance: 0.5, ..Stale::new(TimeDelta::seconds(10), [StaleSight::NewMissing]) });
    });
    bench.client.get(AUTHORIZE, &permissions(&group, &[SSH]));
    let seen: Vec<_> = (0..40).map(|_| bench.client.rules(&group).len()).collect();
    assert!(seen.contains(&0) && seen.contains(&1), "{seen:?}");
}

#[test]
fn the_date_disagrees() {
    let bench = Bench::new();
    let date = || bench.client.ask("DescribeSecurityGroups", &[]).headers["date"].clone();
    assert_eq!(date(), "Thu, 01 Jan 2026 00:00:00 GMT");
    bench.handle.set(|settings| settings.date_offset = TimeDelta::hours(-1));
    assert_eq!(date(), "Wed, 31 Dec 2025 23:00:00 GMT");
    assert_eq!(bench.handle.log().pop().unwrap().at, crate::start());
}

/// Five minutes before and after, by the time that the provider tells; each service has its own code.
#[test]
fn a_signature_of_another_time() {
    let bench = Bench::new();
    let signed = |at: &str| crate::support::Client { signed_at: Some(at.to_owned()), ..bench.client.clone() };
    for fine in ["20251231T235500Z", "20260101T000000Z", "20260101T000500Z"] {
        assert_eq!(signed(fine).code("DescribeSecurityGroups", &[]), "OK", "{fine}");
    }
    for (at, ec2, status) in [("20251231T235459Z", "RequestExpired", 400), ("20260101T000501Z", "AuthFailure", 401)] {
        let answer = signed(at).ask("DescribeSecurityGroups", &[]);
        assert_eq!((answer.code().as_str(), answer.status), (ec2, status), "{at}");
        assert_eq!(answer.headers["date"], "Thu, 01 Jan 2026 00:00:00 GMT");
        let answer = signed(at).ask("GetCallerIdentity", &[]);
        assert_eq!((answer.code().as_str(), answer.status), ("SignatureDoesNotMatch", 403), "{at}");
        let (status, answer) = signed(at).rest("GET", "/schedules/x", "");
        assert_eq!((status, &answer["__type"]), (403, &"InvalidSignatureException".into()), "{at}");
    }
    bench.handle.set(|settings| settings.date_offset = TimeDelta::hours(-1));
    assert_eq!(signed("20251231T230000Z").code("DescribeSecurityGroups", &[]), "OK");
}

#[test]
fn latency() {
    let bench = Bench::new();
    let delay = Duration::from_millis(50);
    bench.handle.set(|settings| settings.latency = Latency { min: delay, max: delay });
    let begun = Instant::now();
    bench.client.get("DescribeSecurityGroups", &[]);
    assert!(begun.elapsed() >= delay);
}

#[test]
fn rate_limits_are_per_action_and_account() {
    let bench = Bench::new();
    bench.handle.set(|settings| {
        settings.rate_limits =
            BTreeMap::from([("DescribeSecurityGroups".to_owned(), RateLimit { capacity: 2.0, per_second: 1.0 })]);
    });
    let code = || bench.client.code("DescribeSecurityGroups", &[]);
    assert_eq!([code(), code(), code()], ["OK", "OK", "RequestLimitExceeded"]);
    assert_eq!(bench.client.code("DescribeSecurityGroupRules", &[]), "OK");
    assert_eq!(bench.client.with_key("AKIAEG111111111111X").code("DescribeSecurityGroups", &[]), "OK");
    bench.clock.advance(TimeDelta::seconds(1));
    assert_eq!([code(), code()], ["OK", "RequestLimitExceeded"]);
}

#[test]
fn hands() {
    let bench = Bench::new();
    let group = bench.handle.create_group("web").unwrap();
    let tags = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let rule = HandRule { description: "by hand".to_owned(), tags, ..HandRule::new("tcp/8000-8080", "2001:db8::/64") };
    let id = bench.handle.authorize_by_hand(&group, &rule).unwrap();
    assert_eq!(bench.handle.authorize_by_hand(&group, &rule).unwrap_err().code, "InvalidPermission.Duplicate");
    bench.handle.authorize_by_hand(&group, &HandRule::new("icmp", "10.0.0.0/8")).unwrap();
    bench.handle.authorize_by_hand(&group, &HandRule::new("-1", "10.0.0.0/8")).unwrap();
    bench.handle.modify_by_hand(&group, &id, &HandRule::new("udp/53", "2001:db8::/64")).unwrap();
    bench.handle.untag_by_hand(&id, &BTreeMap::new()).unwrap();
    let changed = bench.handle.rules(&group).into_iter().find(|rule| rule.id == id).unwrap();
    assert_eq!(changed.permission.to_string(), "peer: 2001:db8::/64, UDP, from port: 53, to port: 53");
    assert!(changed.tags.is_empty());
    assert!(bench.handle.log().is_empty());
    bench.handle.delete_group(&group);
    assert_eq!(bench.handle.authorize_by_hand(&group, &rule).unwrap_err().code, "InvalidGroup.NotFound");
}

#[test]
fn the_log_tells_what_was_asked() {
    let bench = Bench::new();
    let group = bench.group();
    bench.handle.clear_log();
    let id = bench.client.get(AUTHORIZE, &permissions(&group, &[SSH])).text_of("securityGroupRuleId");
    bench.client.get("DescribeSecurityGroupRules", &in_group(&group));
    bench.client.get("CreateTags", &tags(&[&id], &[("a", Some("1"))]));
    bench.client.ask("DescribeSecurityGroups", &fields(&[("GroupId.1", &group)]));
    let log = bench.handle.log();
    let told: Vec<_> =
        log.iter().map(|c| (c.action.as_str(), c.groups.as_slice(), c.rules.as_slice(), c.effect)).collect();
    let (groups, ids) = ([group], [id]);
    assert_eq!(
        told,
        [
            (AUTHORIZE, &groups[..], &ids[..], true),
            ("DescribeSecurityGroupRules", &groups[..], &[][..], false),
            ("CreateTags", &[][..], &ids[..], true),
            ("DescribeSecurityGroups", &groups[..], &[][..], false),
        ]
    );
}
