//! Sessions and stores to test with.
#![allow(dead_code, reason = "every test file uses some of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, unreachable_pub)]

use eg_model::{
    Timestamp,
    ids::{GrantId, InstallationId, RuleId, SessionId},
    lease::{Attempt, Lease},
    permission::{Permission, PortSpec},
    session::{Grant, GrantPermission, GrantStatus, Session, SessionStatus, Standing},
    target::{Reach, TargetKey},
};
use eg_state::{Event, EventKind, Notice, Opening, StateError, Store, Watch, Written};
use std::{collections::BTreeSet, path::Path};
use uuid::Uuid;

pub const HOUR: i64 = 3600;

pub fn at(seconds: i64) -> Timestamp {
    chrono::DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

pub fn installation(number: u128) -> InstallationId {
    InstallationId::from_uuid(Uuid::from_u128(number))
}

pub fn try_open(path: &Path, machine: Option<&str>, new: u128) -> Result<(Store, Vec<Notice>), StateError> {
    Store::open(&Opening { path, machine, new_installation: installation(new), now: at(0), watch: Watch::default() })
}

pub fn open(path: &Path) -> Store {
    try_open(path, Some("here"), 7).unwrap().0
}

pub fn sid(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(number))
}

pub fn reach(group: &str) -> Reach {
    Reach {
        target: TargetKey {
            provider: "aws".into(),
            kind: "security-group".into(),
            endpoint: Some("http://127.0.0.1:1".into()),
            region: "eu-west-1".into(),
            id: group.into(),
        },
        account: None,
        partition: None,
        profile: Some("prod".into()),
        role_arn: None,
        external_id: None,
        config_file: Some("/c".into()),
        credentials_file: None,
    }
}

pub fn permission(port: u16) -> Permission {
    Permission::for_host(PortSpec::Tcp(port, port), "203.0.113.42".parse().unwrap())
}

pub fn grant(number: u128, group: &str, ports: &[u16]) -> Grant {
    let untried = |port: &u16| GrantPermission { permission: permission(*port), standing: Standing::Untried };
    Grant {
        id: GrantId(Uuid::from_u128(number)),
        resource_name: group.to_owned(),
        reach: reach(group),
        address: "203.0.113.42".parse().unwrap(),
        status: GrantStatus::Pending,
        permissions: ports.iter().map(untried).collect(),
        applied_at: None,
        removed_at: None,
        unswitched: None,
    }
}

/// A session of an hour on tcp/22 of sg-1, started at `start`.
pub fn session(number: u128, start: i64) -> Session {
    Session {
        id: sid(number),
        user_name: "Alice".into(),
        user_email: Some("a@example.com".into()),
        reason: None,
        follow: false,
        status: SessionStatus::Pending,
        started_at: at(start),
        expires_at: at(start + HOUR),
        ended_at: None,
        ended_reason: None,
        caller_arns: BTreeSet::new(),
        grants: vec![grant(number, "sg-1", &[22])],
    }
}

/// Claims, records an attempt and its success: the rule is open.
pub fn open_rule(store: &mut Store, group: &str, port: u16, rule: &str, now: i64) -> Lease {
    let lease = store.claim(&reach(group), &permission(port), at(now)).unwrap();
    let sent = lease.intend(Attempt::Opening, at(now));
    write(store, &lease, &sent, EventKind::Intent);
    let held = sent.authorized(RuleId(rule.into()), at(now + HOUR));
    write(store, &sent, &held, EventKind::Authorized);
    held
}

pub fn write(store: &mut Store, before: &Lease, after: &Lease, kind: EventKind) {
    let mut event = Event::new(at(0), kind, "ok");
    event.rule_id = before.rule_id.clone();
    event.target = Some(after.target().clone());
    event.permission = Some(after.permission);
    assert_eq!(store.write_lease(after, before.version, &event).unwrap(), Written::Done);
}

pub fn slot(group: &str, port: u16) -> (TargetKey, Permission) {
    (reach(group).target, permission(port))
}
