//! Sessions and grants through their lives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod fixtures;

use chrono::TimeDelta;
use eg_model::{
    ids::{RuleId, RunId},
    lease::{Attempt, Phase},
    session::{
        ensure::Ensuring,
        record::{EndedReason, GrantStatus, Session, SessionStatus, Standing},
    },
};
use eg_state::{EventKind, Filter, FlushAt, Listing, RunKind, RunResult, StateError, Store};
use fixtures::*;
use std::collections::BTreeMap;
use uuid::Uuid;

fn fresh() -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root.path().join("state.db"));
    (root, store)
}

fn own(rule: &str) -> Standing {
    Standing::Own(RuleId(rule.into()))
}

fn status(store: &Store, number: u128) -> SessionStatus {
    store.session(sid(number)).unwrap().unwrap().status
}

fn grant_status(store: &Store, number: u128) -> GrantStatus {
    store.session(sid(number)).unwrap().unwrap().grants[0].status
}

#[test]
fn a_session_comes_back_as_it_went_in() {
    let (_root, mut store) = fresh();
    let mut session = session(1, 0);
    session.reason = Some("on call".into());
    session.grants = vec![grant(1, "sg-1", &[22, 443]), grant(2, "sg-2", &[22])];
    session.grants[1].address = "2001:db8::1".parse().unwrap();
    session.caller_arns.insert("arn:aws:iam::1:user/a".into());
    store.start(&session).unwrap();
    assert_eq!(store.session(session.id).unwrap(), Some(session.clone()));
    store.add_caller(&[session.id], "arn:aws:iam::2:user/a").unwrap();
    store.add_caller(&[session.id], "arn:aws:iam::2:user/a").unwrap();
    assert_eq!(store.session(session.id).unwrap().unwrap().caller_arns.len(), 2);
    assert_eq!(store.session(sid(9)).unwrap(), None);
}

#[test]
fn what_cannot_be_started_is_refused() {
    let (_root, mut store) = fresh();
    let base = session(1, 0);
    let mut none = base.clone();
    none.grants.clear();
    let mut portless = base.clone();
    portless.grants[0].permissions.clear();
    let mut backwards = base.clone();
    backwards.expires_at = backwards.started_at;
    let mut active = base.clone();
    active.status = SessionStatus::Active;
    let mut tried = base.clone();
    tried.grants[0].permissions[0].standing = own("sgr-1");
    for unfit in [none, portless, backwards, active, tried] {
        assert!(matches!(store.start(&unfit), Err(StateError::Unfit { .. })));
    }
    store.start(&base).unwrap();
    assert!(store.start(&base).is_err(), "the same id twice");
    assert_eq!(store.live_sessions().unwrap(), vec![base]);
}

#[test]
fn extending() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    store.extend(sid(1), at(2 * HOUR), at(HOUR - 1)).unwrap();
    assert_eq!(store.session(sid(1)).unwrap().unwrap().expires_at, at(2 * HOUR));
    assert!(matches!(store.extend(sid(1), at(2 * HOUR), at(0)), Err(StateError::NotLater { .. })));
    assert!(matches!(store.extend(sid(1), at(9 * HOUR), at(2 * HOUR)), Err(StateError::PastExpiry { .. })));
    assert!(matches!(store.extend(sid(2), at(9 * HOUR), at(0)), Err(StateError::NoSuchSession(_))));
    open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    store.stop(sid(1), at(5)).unwrap();
    let error = store.extend(sid(1), at(9 * HOUR), at(6)).unwrap_err();
    assert!(matches!(error, StateError::NotLive { status: SessionStatus::Expiring, .. }), "{error}");
    store.start(&session(2, 0)).unwrap();
    store.record_standings(&BTreeMap::new(), at(7), Some(at(7))).unwrap();
    let error = store.extend(sid(1), at(9 * HOUR), at(8)).unwrap_err();
    assert!(matches!(error, StateError::NotLive { status: SessionStatus::Cancelled, .. }), "{error}");
}

/// The decision itself is `eg_model::session::ensure`'s; here it is carried out, with its event, on what the record holds now.
#[test]
fn ensuring() {
    let (_root, mut store) = fresh();
    let day = TimeDelta::hours(24);
    assert_eq!(store.ensure(&session(1, 0), day).unwrap(), Ensuring::Begin);
    assert_eq!(store.ensure(&session(2, 30), day).unwrap(), Ensuring::Keep(sid(1)));
    assert_eq!(store.ensure(&session(3, 60), day).unwrap(), Ensuring::Prolong(sid(1)));
    let live = store.live_sessions().unwrap();
    assert_eq!(
        live.iter().map(|session| (session.id, session.expires_at)).collect::<Vec<_>>(),
        [(sid(1), at(HOUR + 60))]
    );
    // One that is over at this moment is ended in the same transaction, and is no session to keep.
    assert_eq!(store.ensure(&session(4, HOUR + 60), day).unwrap(), Ensuring::Begin);
    assert_eq!((status(&store, 1), status(&store, 4)), (SessionStatus::Expired, SessionStatus::Pending));
    let mut none = session(5, 0);
    none.grants.clear();
    assert!(matches!(store.ensure(&none, day), Err(StateError::Unfit { .. })));
    let kinds: Vec<_> = store.events(None).unwrap().into_iter().map(|event| event.kind).collect();
    let count = |kind: EventKind| kinds.iter().filter(|known| **known == kind).count();
    assert_eq!((count(EventKind::SessionStarted), count(EventKind::SessionExtended)), (2, 1));
}

/// Each with a store of its own, as processes have.
#[test]
fn of_many_that_ensure_at_once_one_begins() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    drop(open(&path));
    let ensure = |number| open(&path).ensure(&session(number, 0), TimeDelta::hours(24)).unwrap();
    let decided: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=8).map(|number| scope.spawn(move || ensure(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(decided.iter().filter(|decided| **decided == Ensuring::Begin).count(), 1, "{decided:?}");
    assert_eq!(open(&path).live_sessions().unwrap().len(), 1);
}

#[test]
fn stopping_what_was_never_attempted_is_over_at_once() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    store.claim(&target("sg-1"), &permission(22), at(1)).unwrap();
    let stopped = store.stop(sid(1), at(5)).unwrap();
    assert_eq!((stopped.status, stopped.ended_at), (SessionStatus::Cancelled, Some(at(5))));
    assert_eq!((stopped.grants[0].status, stopped.grants[0].removed_at), (GrantStatus::Removed, Some(at(5))));
    assert_eq!(stopped.expires_at, at(HOUR), "unchanged by a stop");
    assert_eq!(store.open_leases().unwrap(), vec![]);
    let error = store.stop(sid(1), at(6)).unwrap_err();
    assert!(matches!(error, StateError::AlreadyEnded { status: SessionStatus::Cancelled, .. }));
    assert!(error.to_string().contains("CANCELLED since 2023-11-14 22:13:25Z"), "{error}");
    assert!(matches!(store.stop(sid(9), at(6)), Err(StateError::NoSuchSession(_))));
}

#[test]
fn stopping_what_may_be_open_waits_for_its_lease() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    let lease = store.claim(&target("sg-1"), &permission(22), at(1)).unwrap();
    let sent = lease.intend(Attempt::Opening, at(1));
    write(&mut store, &lease, &sent, EventKind::Intent);
    let stopped = store.stop(sid(1), at(5)).unwrap();
    assert_eq!((stopped.status, stopped.grants[0].status), (SessionStatus::Expiring, GrantStatus::Removing));
    assert_eq!(store.stop(sid(1), at(6)).unwrap(), stopped, "no error, nothing changes");
    assert_eq!(store.unfinished_sessions().unwrap(), vec![stopped]);
    assert_eq!(store.record_standings(&BTreeMap::new(), at(7), Some(at(7))).unwrap(), vec![]);
    write(&mut store, &sent, &sent.closed(), EventKind::LeaseClosed);
    let changes = store.record_standings(&BTreeMap::new(), at(400), Some(at(400))).unwrap();
    assert_eq!((changes.len(), changes[0].before), (1, GrantStatus::Removing));
    assert_eq!(changes[0].grant.removed_at, Some(at(400)));
    let ended = store.session(sid(1)).unwrap().unwrap();
    assert_eq!((ended.status, ended.ended_at), (SessionStatus::Cancelled, Some(at(5))));
}

#[test]
fn a_shared_permission_stays_for_the_other_session() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    store.start(&session(2, 0)).unwrap();
    let held = open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    let map = BTreeMap::from([(slot("sg-1", 22), own("sgr-1"))]);
    assert_eq!(store.record_standings(&map, at(2), Some(at(2))).unwrap().len(), 2);
    assert_eq!(store.stop(sid(1), at(3)).unwrap().status, SessionStatus::Cancelled, "the other holds the rule");
    assert_eq!(status(&store, 2), SessionStatus::Active);
    assert_eq!(store.stop(sid(2), at(4)).unwrap().status, SessionStatus::Expiring, "nobody else holds it");
    let gone = held.revoked(false, None, at(5));
    assert_eq!(gone.phase, Phase::Closed);
    write(&mut store, &held, &gone, EventKind::Revoked);
    store.record_standings(&BTreeMap::new(), at(5), Some(at(5))).unwrap();
    let ended = store.session(sid(2)).unwrap().unwrap();
    assert_eq!(ended.status, SessionStatus::Cancelled);
    assert_eq!(ended.grants[0].permissions[0].standing, own("sgr-1"), "the rule id stays after removal");
    assert_eq!(ended.grants[0].applied_at, Some(at(2)));
}

#[test]
fn two_that_expire_together_hold_nothing_for_each_other() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    store.start(&session(2, 0)).unwrap();
    open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    assert_eq!(store.expire(at(HOUR)).unwrap(), vec![sid(1), sid(2)]);
    assert_eq!((status(&store, 1), status(&store, 2)), (SessionStatus::Expiring, SessionStatus::Expiring));
}

#[test]
fn leaving_a_rule_lets_go_at_once() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    let held = open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    store.stop(sid(1), at(5)).unwrap();
    let left = held.left(RuleId("sgr-1".into()));
    write(&mut store, &held, &left, EventKind::Left);
    store.record_standings(&BTreeMap::new(), at(6), Some(at(6))).unwrap();
    assert_eq!(status(&store, 1), SessionStatus::Cancelled);
    assert_eq!(store.open_leases().unwrap(), vec![left], "our lease stays open until it is settled");
}

#[test]
fn expiry_is_a_latch() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    let held = open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    assert_eq!(store.expire(at(HOUR - 1)).unwrap(), vec![]);
    assert_eq!(store.expire(at(HOUR)).unwrap(), vec![sid(1)]);
    assert_eq!(store.expire(at(HOUR)).unwrap(), vec![], "once");
    // The clock steps back.
    assert_eq!(store.expire(at(10)).unwrap(), vec![]);
    let map = BTreeMap::from([(slot("sg-1", 22), own("sgr-1"))]);
    assert_eq!(store.record_standings(&map, at(11), Some(at(11))).unwrap(), vec![]);
    let ending = store.session(sid(1)).unwrap().unwrap();
    assert_eq!((ending.status, ending.ended_at), (SessionStatus::Expiring, Some(at(HOUR))));
    assert_eq!(ending.ended_reason, Some(EndedReason::Expired));
    assert_eq!(ending.grants[0].permissions[0].standing, Standing::Untried, "not live, not updated");
    assert!(matches!(store.extend(sid(1), at(9 * HOUR), at(10)), Err(StateError::NotLive { .. })));
    write(&mut store, &held, &held.revoked(false, None, at(12)), EventKind::Revoked);
    store.record_standings(&BTreeMap::new(), at(12), Some(at(12))).unwrap();
    assert_eq!(status(&store, 1), SessionStatus::Expired);
    assert!(matches!(store.stop(sid(1), at(13)), Err(StateError::AlreadyEnded { status: SessionStatus::Expired, .. })));
}

#[test]
fn standings_roll_up() {
    let (_root, mut store) = fresh();
    let mut session = session(1, 0);
    session.grants = vec![grant(1, "sg-1", &[22, 443]), grant(2, "sg-2", &[22])];
    store.start(&session).unwrap();
    let record = |store: &mut Store, group: &str, port, standing, now| {
        store.record_standings(&BTreeMap::from([(slot(group, port), standing)]), at(now), None).unwrap().len()
    };
    assert_eq!(record(&mut store, "sg-1", 22, own("sgr-1"), 1), 0);
    assert_eq!(status(&store, 1), SessionStatus::Pending);
    assert_eq!(record(&mut store, "sg-1", 443, own("sgr-2"), 2), 1);
    assert_eq!((status(&store, 1), grant_status(&store, 1)), (SessionStatus::Partial, GrantStatus::Applied));
    assert_eq!(record(&mut store, "sg-2", 22, Standing::Failed("quota".into()), 3), 1);
    assert_eq!(status(&store, 1), SessionStatus::Partial);
    assert_eq!(record(&mut store, "sg-2", 22, Standing::Foreign(RuleId("sgr-9".into())), 4), 1);
    assert_eq!(status(&store, 1), SessionStatus::Active);
    let version = Store::open_read_only(&_root.path().join("state.db")).unwrap().unwrap();
    let before = version.data_version().unwrap();
    assert_eq!(record(&mut store, "sg-1", 22, own("sgr-1"), 5), 0);
    assert_eq!(version.data_version().unwrap(), before, "what does not change is not written");
    assert_eq!(record(&mut store, "sg-1", 22, own("sgr-7"), 6), 0, "a new id is no change of status");
    assert_eq!(store.session(sid(1)).unwrap().unwrap().grants[0].applied_at, Some(at(2)));
    assert_eq!(record(&mut store, "sg-1", 22, Standing::Pending("gone".into()), 7), 1);
    assert_eq!(record(&mut store, "sg-1", 22, own("sgr-8"), 8), 1);
    assert_eq!(store.session(sid(1)).unwrap().unwrap().grants[0].applied_at, Some(at(8)), "the last time");
}

#[test]
fn every_status_change_leaves_an_event_in_its_run() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    let run = store.begin_run(RunId(Uuid::from_u128(1)), RunKind::Start, false, at(1)).unwrap();
    store.record_standings(&BTreeMap::from([(slot("sg-1", 22), own("sgr-1"))]), at(2), None).unwrap();
    store.stop(sid(1), at(3)).unwrap();
    let told: Vec<_> =
        store.events(Some(sid(1))).unwrap().into_iter().map(|event| (event.kind, event.outcome, event.run)).collect();
    let number = Some(run);
    let event = |kind, outcome: &str, run| (kind, outcome.to_owned(), run);
    assert_eq!(
        told,
        vec![
            event(EventKind::SessionStarted, "until 2023-11-14T23:13:20Z", None),
            event(EventKind::GrantStatus, "APPLIED", number),
            event(EventKind::SessionStatus, "ACTIVE", number),
            event(EventKind::SessionEnded, "MANUAL", number),
            event(EventKind::SessionStatus, "EXPIRING", number),
            event(EventKind::GrantStatus, "REMOVING", number),
            event(EventKind::GrantStatus, "REMOVED", number),
            event(EventKind::SessionStatus, "CANCELLED", number),
        ]
    );
}

#[test]
fn finding_by_prefix() {
    let (_root, mut store) = fresh();
    let ids = [0xa1b2_c3d4_e5f6_4890_abcd_ef12_3456_7890_u128, 0xa1b2_c3d4_e600_4890_abcd_ef12_3456_7890, 0xb << 124];
    for id in ids {
        store.start(&session(id, 0)).unwrap();
    }
    let found = |prefix: &str| store.find(prefix).unwrap();
    assert_eq!(found("a1b2"), vec![sid(ids[0]), sid(ids[1])]);
    assert_eq!(found("A1B2C3D4-E5"), vec![sid(ids[0])]);
    assert_eq!(found("a1b2c3d4e5f64890abcdef1234567890"), vec![sid(ids[0])]);
    assert_eq!(found(&sid(ids[1]).to_string()), vec![sid(ids[1])]);
    assert_eq!(found("b000"), vec![sid(ids[2])]);
    for none in ["", "a1b3", "zz", "a1b2%", "' OR 1"] {
        assert_eq!(found(none), vec![], "{none}");
    }
}

#[test]
fn listing_shows_the_newest_and_whatever_is_open() {
    let (_root, mut store) = fresh();
    for number in 1..=10 {
        store.start(&session(number, i64::try_from(number).unwrap())).unwrap();
    }
    for number in (2..=10).filter(|number| *number != 3) {
        store.stop(sid(number), at(100)).unwrap();
    }
    open_rule(&mut store, "sg-1", 22, "sgr-1", 101);
    store.stop(sid(3), at(102)).unwrap();
    store.start(&session(11, 10)).unwrap();
    let list = |statuses: Option<Vec<SessionStatus>>, limit| {
        let listing = store.sessions(&Filter { statuses, limit, whole: true }).unwrap();
        (listing.sessions.iter().map(|session| session.id.0.as_u128()).collect::<Vec<_>>(), listing.left_out)
    };
    assert_eq!(list(None, None), (vec![11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 0));
    assert_eq!(list(None, Some(2)), (vec![11, 10, 1], 8), "1 is live");
    assert_eq!(list(Some(vec![SessionStatus::Cancelled]), Some(2)), (vec![10, 9], 7));
    assert_eq!(list(Some(vec![SessionStatus::Failed]), None), (vec![], 0));
    assert_eq!(list(Some(vec![]), None), (vec![], 0));
}

#[test]
fn an_expiring_session_is_listed_beyond_the_limit() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    store.stop(sid(1), at(2)).unwrap();
    for number in 2..6 {
        let mut other = session(number, 10);
        other.grants = vec![grant(number, "sg-2", &[22])];
        store.start(&other).unwrap();
        store.stop(sid(number), at(11)).unwrap();
    }
    let listing = store.sessions(&Filter { limit: Some(1), ..Filter::default() }).unwrap();
    let shown: Vec<_> = listing.sessions.iter().map(|session| session.id).collect();
    assert_eq!((shown, listing.left_out), (vec![sid(5), sid(1)], 3));
}

/// Ids are random, so they tell nothing.
#[test]
fn of_two_that_start_in_one_second_the_later_is_the_newer() {
    let (_root, mut store) = fresh();
    for n in [2, 3, 1] {
        store.start(&session(n, 0)).unwrap();
    }
    let newest_first = [sid(1), sid(3), sid(2)];
    let ids = |sessions: Vec<Session>| sessions.iter().map(|session| session.id).collect::<Vec<_>>();
    assert_eq!(ids(store.live_sessions().unwrap()), newest_first);
    assert_eq!(ids(store.sessions(&Filter::default()).unwrap().sessions), newest_first);
    assert_eq!(ids(store.sessions(&Filter { limit: Some(1), ..Filter::default() }).unwrap().sessions), newest_first);
}

/// How long it takes is for `benches/` to say.
#[test]
fn ten_thousand_sessions_are_listed() {
    let (root, mut store) = fresh();
    let path = root.path().join("state.db");
    store.start(&session(1, 0)).unwrap();
    store.stop(sid(1), at(1)).unwrap();
    drop(store);
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch(
        "BEGIN;
         CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
           SELECT i, printf('%08x-0000-4000-8000-000000000000', i) AS id FROM n;
         INSERT INTO sessions (id, user_name, user_email, reason, status, started_at, expires_at, ended_at, ended_reason)
           SELECT n.id, user_name, user_email, reason, status, started_at + i, expires_at + i, ended_at, ended_reason
           FROM sessions, n;
         INSERT INTO grants SELECT n.id, n.id, 0, resource_name, address, status, applied_at, removed_at, target, route
           FROM grants, n;
         INSERT INTO grant_permissions SELECT n.id, permission, standing, detail FROM grant_permissions, n;
         COMMIT;",
    )
    .unwrap();
    drop(raw);
    drop(open(&path));
    let store = Store::open_read_only(&path).unwrap().unwrap();
    let listing = store.sessions(&Filter { limit: Some(20), ..Filter::default() }).unwrap();
    assert_eq!((listing.sessions.len(), listing.left_out), (20, 9981));
    assert_eq!(store.find("00002710").unwrap().len(), 1);
    assert_eq!(store.sessions(&Filter::default()).unwrap().sessions.len(), 10_001);
}

#[test]
fn last_runs_and_notes() {
    let (_root, mut store) = fresh();
    assert_eq!(store.last_runs().unwrap(), eg_state::LastRuns::default());
    let mut go = |number: u128, kind, timer, result: Option<&str>| {
        let now = i64::try_from(number).unwrap() * 10;
        let run = store.begin_run(RunId(Uuid::from_u128(number)), kind, timer, at(now)).unwrap();
        if let Some(summary) = result {
            let result = RunResult {
                finished_at: at(now + 1),
                converged: summary.is_empty(),
                summary: (!summary.is_empty()).then(|| summary.to_owned()),
                digest: None,
                next_wake_at: None,
            };
            store.finish_run(run, &result, FlushAt::Now).unwrap();
        }
    };
    go(1, RunKind::Reconcile, true, Some("credentials expired"));
    go(2, RunKind::Start, false, Some(""));
    go(3, RunKind::Reconcile, false, None);
    let last = store.last_runs().unwrap();
    let reconcile = last.reconcile.unwrap();
    assert_eq!((reconcile.finished_at, reconcile.converged), (at(11), false), "the one that came to its end");
    assert_eq!(reconcile.summary.as_deref(), Some("credentials expired"));
    assert_eq!(last.scheduled_at, Some(at(10)));
    assert_eq!(store.note("reported").unwrap(), None);
    store.set_note("reported", "a").unwrap();
    store.set_note("reported", "b").unwrap();
    assert_eq!(store.note("reported").unwrap().as_deref(), Some("b"));
    store.clear_note("reported").unwrap();
    assert_eq!(store.note("reported").unwrap(), None);
}

#[test]
fn pruning_forgets_only_what_is_long_over() {
    let (_root, mut store) = fresh();
    store.start(&session(1, 0)).unwrap();
    store.stop(sid(1), at(1)).unwrap();
    let mut open_one = session(2, 0);
    open_one.grants = vec![grant(2, "sg-2", &[22])];
    store.start(&open_one).unwrap();
    open_rule(&mut store, "sg-2", 22, "sgr-1", 1);
    store.stop(sid(2), at(2)).unwrap();
    store.begin_run(RunId(Uuid::from_u128(1)), RunKind::Reconcile, true, at(0)).unwrap();
    let day = 86_400;
    store.prune(at(400 * day)).unwrap();
    assert!(store.session(sid(1)).unwrap().is_some(), "not yet");
    store.prune(at(401 * day)).unwrap();
    assert_eq!(store.session(sid(1)).unwrap(), None);
    assert_eq!(status(&store, 2), SessionStatus::Expiring, "still closing");
    assert_eq!(store.open_leases().unwrap().len(), 1);
    assert_eq!(store.last_runs().unwrap().scheduled_at, Some(at(0)), "the last run stays");
    assert_eq!(store.events(None).unwrap(), vec![]);
}

/// What has piled up goes some hundred rows at a time, so that no pass is slow; then a day passes without a write.
#[test]
fn pruning_goes_in_steps_and_rests_for_a_day() {
    let (root, store) = fresh();
    let path = root.path().join("state.db");
    drop(store);
    history::fill(&path, 700, at(0).timestamp());
    let mut store = open(&path);
    let raw = rusqlite::Connection::open(&path).unwrap();
    let count =
        |table: &str| -> i64 { raw.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap() };
    let tables = ["sessions", "grants", "grant_permissions", "callers", "leases", "events"];
    let now = |seconds: i64| at(500 * 86_400 + seconds);
    let mut calls = 0;
    while count("events") > 0 {
        let before = tables.map(count);
        store.prune(now(calls)).unwrap();
        calls += 1;
        for (table, before) in tables.iter().zip(before) {
            assert!((0..=300).contains(&(before - count(table))), "{table}");
        }
    }
    assert!(calls >= 14, "700 sessions have 4,200 events: {calls}");
    assert_eq!(tables.map(count), [0; 6]);
    assert_eq!(store.sessions(&Filter::default()).unwrap(), Listing { sessions: vec![], left_out: 0 });
    store.prune(now(calls)).unwrap();
    assert!(store.note("pruned").unwrap().is_some());
    store.start(&session(1, 0)).unwrap();
    store.stop(sid(1), at(1)).unwrap();
    store.prune(now(86_000)).unwrap();
    assert_eq!(count("sessions"), 1, "it was done today");
    store.prune(now(calls + 86_400)).unwrap();
    assert_eq!(count("sessions"), 0);
}

#[test]
fn the_last_events_come_newest_first() {
    let (_root, mut store) = fresh();
    assert_eq!(store.last_events(5).unwrap().len(), store.events(None).unwrap().len().min(5));
    for number in 1..=3 {
        store.start(&session(number, 0)).unwrap();
    }
    let mut all = store.events(None).unwrap();
    all.reverse();
    assert_eq!(store.last_events(2).unwrap(), all[..2]);
    assert_eq!(store.last_events(2).unwrap()[0].session, Some(sid(3)));
    assert_eq!(store.last_events(1000).unwrap(), all);
}
