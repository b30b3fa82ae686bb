//! `GetCallerIdentity`, `AssumeRole`.

use crate::{Bench, support::fields};
use chrono::TimeDelta;
use eg_sandbox::CallerIdentity;

const ROLE: &str = "arn:aws:iam::222222222222:role/path/opener";

#[test]
fn the_access_key_names_the_caller() {
    let bench = Bench::with(1, |config| {
        config.callers.insert("AKIABOB".to_owned(), CallerIdentity::user("333333333333", "bob"));
    });
    let arn = |key: &str| bench.client.with_key(key).get("GetCallerIdentity", &[]).text_of("Arn");
    assert_eq!(arn("AKIAANY"), "arn:aws:iam::123456789012:user/sandbox");
    assert_eq!(arn("AKIAEG111111111111X"), "arn:aws:iam::111111111111:user/sandbox");
    assert_eq!(arn("AKIABOB"), "arn:aws:iam::333333333333:user/bob");
    assert_eq!(bench.handle.log().pop().unwrap().caller, "arn:aws:iam::333333333333:user/bob");
}

#[test]
fn a_role_session_is_its_role_until_it_expires() {
    let bench = Bench::new();
    let call = fields(&[("RoleArn", ROLE), ("RoleSessionName", "eg-alice"), ("DurationSeconds", "900")]);
    let session = bench.client.get("AssumeRole", &call);
    assert_eq!(session.text_of("Expiration"), "2026-01-01T00:15:00Z");
    let assumed = bench.client.with_key(&session.text_of("AccessKeyId"));
    let identity = assumed.get("GetCallerIdentity", &[]);
    assert_eq!(identity.text_of("Arn"), "arn:aws:sts::222222222222:assumed-role/opener/eg-alice");
    assert_eq!(identity.text_of("Account"), "222222222222");
    bench.clock.advance(TimeDelta::seconds(900));
    let answer = assumed.ask("DescribeSecurityGroups", &[]);
    assert_eq!((answer.status, answer.code()), (400, "RequestExpired".to_owned()));
    let answer = assumed.ask("GetCallerIdentity", &[]);
    assert_eq!((answer.status, answer.code()), (403, "ExpiredToken".to_owned()));
    assert_eq!(answer.xml().name, "ErrorResponse");
}

#[test]
fn what_assume_role_refuses() {
    let bench = Bench::new();
    for (role, name, seconds, code) in [
        ("opener", "eg-alice", "900", "ValidationError"),
        ("arn:aws:iam::222222222222:user/x", "eg-alice", "900", "ValidationError"),
        (ROLE, "e", "900", "ValidationError"),
        (ROLE, "eg alice", "900", "ValidationError"),
        (ROLE, "eg-alice", "899", "ValidationError"),
        (ROLE, "", "900", "MissingParameter"),
    ] {
        let call = fields(&[("RoleArn", role), ("RoleSessionName", name), ("DurationSeconds", seconds)]);
        assert_eq!(bench.client.code("AssumeRole", &call), code, "{role} {name} {seconds}");
    }
}
