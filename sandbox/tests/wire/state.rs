//! The state file, and stopping.

use crate::{
    Bench,
    support::{Client, fields, permissions, tagged},
};
use chrono::TimeDelta;
use eg_sandbox::{Config, Fault, HandClock, Rule, Sandbox, StartError};
use std::{net::TcpStream, time::Duration};

const SSH: (&str, &str, &str, &str) = ("tcp", "22", "22", "203.0.113.42/32");

#[test]
fn a_round_trip() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sandbox.json");
    let clock = HandClock::at(crate::start());
    let begin = || {
        let config = Config { state_file: Some(path.clone()), ..Config::new(1, clock.clock()) };
        let handle = Sandbox::start(config).unwrap();
        let client = Client::new(handle.address());
        (handle, client)
    };

    let (handle, client) = begin();
    let group = client.create_group("web");
    client.get("AuthorizeSecurityGroupIngress", &tagged(permissions(&group, &[SSH]), &[("a", "1")]));
    let role = fields(&[("RoleArn", "arn:aws:iam::222222222222:role/r"), ("RoleSessionName", "eg-a")]);
    let key = client.get("AssumeRole", &role).text_of("AccessKeyId");
    handle.script([Rule::new(Fault::LandLate(TimeDelta::seconds(9)))]);
    client.try_ask("AuthorizeSecurityGroupIngress", &permissions(&group, &[("tcp", "1", "1", "::/0")])).unwrap_err();
    let before = (handle.groups(), handle.rules(&group));
    handle.stop().unwrap();

    let (handle, client) = begin();
    assert_eq!((handle.groups(), handle.rules(&group)), before);
    assert_eq!(client.with_key(&key).get("GetCallerIdentity", &[]).text_of("Account"), "222222222222");
    assert_ne!(client.create_group("other"), group);
    clock.advance(TimeDelta::seconds(9));
    assert_eq!(handle.rules(&group).len(), 2);
}

#[test]
fn what_was_answered_is_in_the_file_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sandbox.json");
    let bench = Bench::with(1, |config| config.state_file = Some(path.clone()));
    let group = bench.group();
    assert!(std::fs::read_to_string(&path).unwrap().contains(&group));
}

#[test]
fn what_cannot_be_kept_is_not_done() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not there yet").join("sandbox.json");
    let bench = Bench::with(1, |config| config.state_file = Some(path.clone()));
    let create =
        || bench.client.ask("CreateSecurityGroup", &fields(&[("GroupName", "web"), ("GroupDescription", "x")]));
    let refused = create();
    assert_eq!((refused.status, refused.code()), (500, "InternalError".to_owned()));
    assert!(bench.handle.groups().is_empty());
    assert!(!bench.handle.log()[0].effect);
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    assert_eq!(create().code(), "OK");
}

#[test]
fn a_file_that_is_none_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sandbox.json");
    std::fs::write(&path, "not ours").unwrap();
    let clock = HandClock::at(crate::start());
    let config = Config { state_file: Some(path.clone()), ..Config::new(1, clock.clock()) };
    assert!(matches!(Sandbox::start(config), Err(StartError::StateFile { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not ours");
}

#[test]
fn stopping_lets_requests_under_way_end() {
    let bench = Bench::new();
    let address = bench.handle.address();
    assert!(address.ip().is_loopback());
    bench.handle.script([Fault::Slow(Duration::from_millis(200))]);
    let client = bench.client.clone();
    let asking = std::thread::spawn(move || client.code("DescribeSecurityGroups", &[]));
    while bench.handle.log().is_empty() {
        std::thread::yield_now();
    }
    bench.handle.stop().unwrap();
    assert_eq!(asking.join().unwrap(), "OK");
    assert!(TcpStream::connect(address).is_err());
}
