//! Leases and targets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod fixtures;

use eg_model::{
    failure::{Failure, FailureClass, Purpose},
    ids::RuleId,
    lease::{Attempt, Phase},
};
use eg_state::{Event, EventKind, RowOutcome, StateError, Store, TargetRecord};
use fixtures::*;
use std::collections::BTreeMap;

fn fresh() -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root.path().join("state.db"));
    (root, store)
}

fn event() -> Event {
    Event::new(at(0), EventKind::Intent, "authorize")
}

#[test]
fn one_open_lease_on_a_permission_of_a_target() {
    let (root, mut store) = fresh();
    let first = store.claim(&target("sg-1"), &permission(22), at(0)).unwrap();
    let mut other_way = target("sg-1");
    other_way.route.profile = Some("other".into());
    let mut second = open(&root.path().join("state.db"));
    assert_eq!(second.claim(&other_way, &permission(22), at(1)).unwrap(), first, "another process, another profile");
    let mut elsewhere = target("sg-1");
    elsewhere.key.endpoint = None;
    let ids: Vec<_> = [(target("sg-1"), 443), (target("sg-2"), 22), (elsewhere, 22)]
        .iter()
        .map(|(target, port)| store.claim(target, &permission(*port), at(0)).unwrap().id.0)
        .collect();
    assert_eq!(ids, vec![2, 3, 4]);
    let raw = rusqlite::Connection::open(root.path().join("state.db")).unwrap();
    let sql = "INSERT INTO leases SELECT NULL, target, route, permission, phase, shared, rule_id, tagged_until, version, last_sent_at, in_flight, \
               last_unknown_at, refusals, next_try_at, last_failure, vanished, created_at FROM leases WHERE id = 1";
    assert!(raw.execute(sql, []).unwrap_err().to_string().contains("UNIQUE"));
    write(&mut store, &first, &first.closed(), EventKind::LeaseClosed);
    let again = store.claim(&target("sg-1"), &permission(22), at(2)).unwrap();
    assert_eq!((again.id.0, again.phase), (5, Phase::Claimed), "a closed lease never opens again");
}

#[test]
fn a_lease_comes_back_as_it_went_in() {
    let (_root, mut store) = fresh();
    let lease = store.claim(&target("sg-1"), &permission(22), at(0)).unwrap();
    let failure = Failure {
        class: FailureClass::Unknown,
        code: "X".into(),
        message: "timeout".into(),
        request_id: Some("r-1".into()),
        purpose: Some(Purpose::Open),
    };
    let steps = [
        lease.intend(Attempt::Opening, at(1)),
        lease.intend(Attempt::Opening, at(1)).unanswered(failure, at(60), at(4)),
        lease
            .intend(Attempt::Opening, at(1))
            .intend(Attempt::Opening, at(9))
            .authorized(RuleId("sgr-1".into()), at(99)),
    ];
    let mut before = lease;
    for mut step in steps {
        step.version = before.version + 1;
        write(&mut store, &before, &step, EventKind::Intent);
        assert_eq!(store.open_leases().unwrap(), vec![step.clone()]);
        before = step;
    }
}

#[test]
fn versions_guard_writes_also_against_aba() {
    let (_root, mut store) = fresh();
    let read = store.claim(&target("sg-1"), &permission(22), at(0)).unwrap();
    // Another process goes away and back: the contents are the same, the version is not.
    let away = read.adopted(RuleId("sgr-1".into()), None);
    write(&mut store, &read, &away, EventKind::LeaseAdopted);
    let mut back = read.clone();
    back.version = away.version + 1;
    write(&mut store, &away, &back, EventKind::Retagged);
    let events = store.events(None).unwrap();
    let mine = read.intend(Attempt::Opening, at(5));
    assert_eq!(store.write_lease(&mine, read.version, &event()).unwrap(), RowOutcome::Raced);
    assert_eq!(store.begin_attempt(None, &[(mine, read.version)], &[event()]).unwrap(), RowOutcome::Raced);
    assert_eq!(store.open_leases().unwrap(), vec![back]);
    assert_eq!(store.events(None).unwrap(), events, "no event of a write that did not happen");
}

#[test]
fn a_batch_is_written_whole_or_not_at_all() {
    let (_root, mut store) = fresh();
    let first = store.claim(&target("sg-1"), &permission(22), at(0)).unwrap();
    let second = store.claim(&target("sg-1"), &permission(443), at(0)).unwrap();
    let sent = second.intend(Attempt::Opening, at(1));
    write(&mut store, &second, &sent, EventKind::Intent);
    let batch = [
        (first.intend(Attempt::Opening, at(2)), first.version),
        (second.intend(Attempt::Opening, at(2)), second.version),
    ];
    assert_eq!(store.write_leases(&batch, &[event()]).unwrap(), RowOutcome::Raced);
    assert_eq!(store.open_leases().unwrap(), vec![first.clone(), sent.clone()]);
    let batch =
        [(first.intend(Attempt::Opening, at(2)), first.version), (sent.intend(Attempt::Opening, at(2)), sent.version)];
    assert_eq!(store.write_leases(&batch, &[event()]).unwrap(), RowOutcome::Done);
    assert_eq!(store.open_leases().unwrap(), vec![batch[0].0.clone(), batch[1].0.clone()]);
}

#[test]
fn misuse_of_the_ledger_is_an_error() {
    let (_root, mut store) = fresh();
    let lease = store.claim(&target("sg-1"), &permission(22), at(0)).unwrap();
    assert!(matches!(store.write_lease(&lease, 0, &event()), Err(StateError::Lease { .. })), "no higher version");
    let mut unknown = lease.closed();
    unknown.id.0 = 99;
    assert!(matches!(store.write_lease(&unknown, 0, &event()), Err(StateError::Lease { .. })));
    write(&mut store, &lease, &lease.closed(), EventKind::LeaseClosed);
    let mut reopened = lease.closed();
    reopened.version += 1;
    reopened.phase = Phase::Claimed;
    assert!(store.write_lease(&reopened, 1, &event()).is_err());
    assert_eq!(store.open_leases().unwrap(), vec![]);
}

#[test]
fn nothing_is_opened_for_a_session_that_is_over() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    store.start(&session(2, 0)).unwrap();
    let lease = store.claim(&target("sg-1"), &permission(22), at(0)).unwrap();
    let batch = [(lease.intend(Attempt::Opening, at(1)), 0)];
    let mut attempt = |id, now| store.begin_attempt(Some((sid(id), at(now))), &batch, &[event()]).unwrap();
    assert_eq!(attempt(1, HOUR), RowOutcome::NoLongerWanted, "expired, though nothing noticed");
    assert_eq!(attempt(9, 1), RowOutcome::NoLongerWanted, "unknown");
    store.stop(sid(1), at(2)).unwrap();
    assert_eq!(store.begin_attempt(Some((sid(1), at(3))), &batch, &[event()]).unwrap(), RowOutcome::NoLongerWanted);
    assert_eq!(store.open_leases().unwrap(), vec![lease]);
    assert_eq!(store.begin_attempt(Some((sid(2), at(3))), &batch, &[event()]).unwrap(), RowOutcome::Done);
}

#[test]
fn what_was_opened_is_known_until_its_revoke_is_confirmed() {
    let (_root, mut store) = fresh();
    let lease = open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    let event = |kind, seconds, id: &str| Event {
        rule_id: Some(RuleId(id.into())),
        permission: Some(lease.permission),
        ..Event::new(at(seconds), kind, "told")
    };
    let (authorized, joined) = (event(EventKind::Authorized, 10, "sgr-7"), event(EventKind::Joined, 15, "sgr-9"));
    let opened = [authorized, joined, event(EventKind::LeaseAdopted, 20, "sgr-8")];
    assert_eq!(store.write_leases(&[], &opened).unwrap(), RowOutcome::Done);
    let revoked = event(EventKind::Revoked, 30, "sgr-7");
    assert_eq!(store.write_leases(&[], &[revoked]).unwrap(), RowOutcome::Done);
    let known = ["sgr-8", "sgr-9"].map(|id| (RuleId(id.into()), lease.permission)).into();
    assert_eq!(store.opened_rules(at(10)).unwrap(), known);
    assert_eq!(store.opened_rules(at(21)).unwrap(), BTreeMap::new());
}

#[test]
fn what_was_opened_for_a_permission_of_a_target_is_known_with_its_time() {
    let (_root, mut store) = fresh();
    let near = open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    let event = |kind, seconds, id: &str| Event {
        rule_id: Some(RuleId(id.into())),
        permission: Some(near.permission),
        target: Some(near.target.key.clone()),
        ..Event::new(at(seconds), kind, "told")
    };
    let elsewhere = Event { target: Some(target("sg-2").key), ..event(EventKind::Authorized, 20, "sgr-5") };
    let other = Event { permission: Some(permission(443)), ..event(EventKind::Authorized, 20, "sgr-6") };
    let events = [
        event(EventKind::Authorized, 10, "sgr-7"),
        event(EventKind::LeaseAdopted, 12, "sgr-7"),
        event(EventKind::Joined, 11, "sgr-8"),
        event(EventKind::Authorized, 13, "sgr-9"),
        event(EventKind::Revoked, 14, "sgr-9"),
        elsewhere,
        other,
    ];
    assert_eq!(store.write_leases(&[], &events).unwrap(), RowOutcome::Done);
    let known = |since| store.opened_on(&near.target.key, &near.permission, at(since)).unwrap();
    let expected =
        |rules: &[(&str, i64)]| rules.iter().map(|(id, seconds)| (RuleId((*id).into()), at(*seconds))).collect();
    assert_eq!(known(10), expected(&[("sgr-7", 12), ("sgr-8", 11)]));
    assert_eq!(known(12), expected(&[("sgr-7", 12)]));
    assert_eq!(known(13), expected(&[]));
}

#[test]
fn confirmed_revokes_are_remembered() {
    let (_root, mut store) = fresh();
    let held = open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    let mut told = Event::new(at(50), EventKind::Revoked, "confirmed");
    told.rule_id = Some(RuleId("sgr-1".into()));
    told.request_id = Some("r-1".into());
    assert_eq!(store.write_lease(&held.revoked(true, None, at(50)), held.version, &told).unwrap(), RowOutcome::Done);
    assert_eq!(store.revoked_rules(at(50)).unwrap(), BTreeMap::from([(RuleId("sgr-1".into()), at(50))]));
    assert_eq!(store.revoked_rules(at(51)).unwrap(), BTreeMap::new());
    assert_eq!(store.events(None).unwrap().last(), Some(&told));
}

#[test]
fn targets_and_accounts() {
    let (root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    let stale = store.claim(&target("sg-1"), &permission(22), at(0)).unwrap();
    let key = target("sg-1").key;
    assert_eq!(store.targets().unwrap(), BTreeMap::from([(key.clone(), TargetRecord::default())]));
    store.learn_account(&key, Some("123"), None).unwrap();
    store.learn_account(&key, Some("456"), Some("aws")).unwrap();
    let known = |store: &Store| {
        let grant = store.session(sid(1)).unwrap().unwrap().grants.remove(0);
        let lease = store.open_leases().unwrap().remove(0);
        let both = |target: eg_model::target::Target| (target.route.account.unwrap(), target.route.partition.unwrap());
        (both(grant.target), both(lease.target))
    };
    let right = || ("123".to_owned(), "aws".to_owned());
    assert_eq!(known(&store), (right(), right()), "what is known stays");
    write(&mut store, &stale, &stale.intend(Attempt::Opening, at(1)), EventKind::Intent);
    assert_eq!(known(&store), (right(), right()), "a lease read before does not unlearn it");
    let mut another_way = store.open_leases().unwrap().remove(0);
    let before = another_way.version;
    another_way.version += 1;
    let target = &mut another_way.target;
    (target.route.account, target.route.partition) = (Some("456".into()), None);
    (target.route.profile, target.route.config_file) = (None, None);
    target.route.role_arn = Some("arn:aws:iam::123:role/r".into());
    target.route.external_id = Some("x".into());
    target.route.credentials_file = Some("/k".into());
    assert_eq!(store.write_lease(&another_way, before, &event()).unwrap(), RowOutcome::Done);
    (another_way.target.route.account, another_way.target.route.partition) = (Some("123".into()), Some("aws".into()));
    assert_eq!(store.open_leases().unwrap(), vec![another_way], "the way that works is kept, the account stays");
    let record = TargetRecord {
        account: Some("123".into()),
        partition: Some("aws".into()),
        missing_since: Some(at(5)),
        closed_once: true,
    };
    store.change_target(&key, |known| known.clone_from(&record)).unwrap();
    // Of two processes each keeps what the other has found out: neither writes what it has read before.
    let mut other = open(&root.path().join("state.db"));
    other.change_target(&key, |known| known.missing_since = None).unwrap();
    store.change_target(&key, |known| known.closed_once = false).unwrap();
    let record = TargetRecord { missing_since: None, closed_once: false, ..record };
    assert_eq!(store.targets().unwrap(), BTreeMap::from([(key, record)]));
}
