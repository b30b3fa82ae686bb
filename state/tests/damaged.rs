//! Rows that do not parse, and rows that say what nobody can have recorded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod fixtures;

use eg_model::{
    lease::{Attempt, Lease},
    net::permission::Permission,
    session::record::SessionStatus,
};
use eg_state::{Event, EventKind, RowOutcome, StateError};
use fixtures::*;
use rusqlite::Connection;
use std::collections::BTreeMap;

fn event(at: eg_model::Timestamp) -> Event {
    Event::new(at, EventKind::Intent, "authorize")
}

/// One of them ends nothing: the others are read, it is told, and what it may hold does not count as closed.
#[test]
fn rows_that_do_not_parse_are_skipped_and_told() {
    let root = tempfile::tempdir().unwrap();
    for (number, (sql, table)) in [
        ("UPDATE sessions SET status = 'DONE' WHERE number = 1", "sessions"),
        ("UPDATE sessions SET id = 'zz000000-0000-0000-0000-000000000000' WHERE number = 1", "sessions"),
        ("UPDATE sessions SET expires_at = 9000000000000000000 WHERE number = 1", "sessions"),
        ("UPDATE sessions SET user_name = CAST(x'ff' AS TEXT) WHERE number = 1", "sessions"),
        ("UPDATE grants SET status = 'GONE' WHERE session LIKE '%1'", "grants"),
        ("UPDATE grants SET address = 'home' WHERE session LIKE '%1'", "grants"),
        ("UPDATE grants SET id = 'zz000000-0000-0000-0000-000000000000' WHERE session LIKE '%1'", "grants"),
        ("UPDATE grant_permissions SET permission = 'ssh' WHERE grant_id IN (SELECT id FROM grants WHERE session LIKE '%1')", "grant_permissions"),
        ("UPDATE grant_permissions SET standing = 'own' WHERE grant_id IN (SELECT id FROM grants WHERE session LIKE '%1')", "grant_permissions"),
        ("DELETE FROM grant_permissions WHERE grant_id IN (SELECT id FROM grants WHERE session LIKE '%1')", "grants"),
        ("DELETE FROM grants WHERE session LIKE '%1'", "sessions"),
        ("INSERT INTO callers SELECT id, CAST(x'ff' AS TEXT) FROM sessions WHERE number = 1", "callers"),
        ("UPDATE leases SET permission = 'ssh' WHERE id = 1", "leases"),
        ("UPDATE leases SET phase = 'open' WHERE id = 1", "leases"),
        ("UPDATE leases SET in_flight = 9000000000000000000 WHERE id = 1", "leases"),
        ("UPDATE leases SET route = 99 WHERE id = 1", "leases"),
        ("UPDATE leases SET target = 99 WHERE id = 1", "leases"),
        ("UPDATE grants SET route = 99 WHERE session LIKE '%1'", "grants"),
        ("UPDATE targets SET missing_since = 9000000000000000000 WHERE name = 'sg-1'", "targets"),
        ("INSERT INTO auto_closes SELECT 'sgr-1', 1, 1, 'ssh', 'r', 'g', 0, 1, 0, 0, NULL, NULL", "auto_closes"),
        ("INSERT INTO events (at, kind, outcome) VALUES (0, 'odd', '')", "events"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = root.path().join(number.to_string()).join("state.db");
        let mut store = open(&path);
        store.start(&session(1, 0)).unwrap();
        store.start(&session(2, 0)).unwrap();
        store.claim(&target("sg-1"), &permission(22), at(0)).unwrap();
        store.claim(&target("sg-2"), &permission(22), at(0)).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
        other.execute_batch(sql).unwrap();
        drop(store);
        // One such row is no reason to refuse the file.
        let mut store = open(&path);
        let sessions = store.sessions(&Default::default()).unwrap().sessions;
        let live = store.live_sessions().unwrap();
        let leases = store.open_leases().unwrap();
        store.targets().unwrap();
        store.auto_closes().unwrap();
        store.events(None).unwrap();
        assert!(sessions.iter().chain(&live).any(|session| session.id == sid(2)), "{sql}");
        assert!(leases.iter().any(|lease| lease.target.key.id == "sg-2"), "{sql}");
        let told = store.damaged_rows();
        let named = |error: &StateError| {
            matches!(error, StateError::Row { table: found, .. } if *found == table)
                && error.to_string().contains("state.db")
                && error.advice().is_some()
        };
        assert!(told.iter().any(named), "{sql}: {told:?}");
        if matches!(table, "sessions" | "grants" | "grant_permissions") {
            assert!(!live.iter().any(|session| session.id == sid(1)), "{sql}");
            // Whoever asks for it hears why.
            assert!(store.session(sid(1)).is_err() || sql.contains("id = 'zz"), "{sql}");
        }
        store.expire(at(10)).unwrap();
        store.stop(sid(2), at(10)).unwrap();
        store.forget_damaged_rows();
        assert!(store.damaged_rows().is_empty());
    }
}

/// What only says when to try again is not worth losing a claim for.
#[test]
fn a_lease_is_read_without_what_it_can_do_without() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let mut store = open(&path);
    store.claim(&target("sg-1"), &permission(22), at(0)).unwrap();
    let other = Connection::open(&path).unwrap();
    let sql = "UPDATE leases SET last_failure = '{}', next_try_at = 9000000000000000000, refusals = 5000000000";
    other.execute_batch(sql).unwrap();
    let lease = store.open_leases().unwrap().remove(0);
    assert_eq!((&lease.last_failure, lease.next_try_at, lease.refusals), (&None, None, 0));
    assert_eq!(store.damaged_rows().len(), 1, "one row");
    assert_eq!(store.write_lease(&lease.intend(Attempt::Opening, at(1)), 0, &event(at(1))).unwrap(), RowOutcome::Done);
    store.forget_damaged_rows();
    store.open_leases().unwrap();
    assert!(store.damaged_rows().is_empty(), "the next write has mended it");
}

/// A claim that cannot be read may hold an open rule: a session that had something there has not let go.
#[test]
fn what_a_damaged_lease_holds_is_not_closed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let mut store = open(&path);
    let live = session(1, 0);
    store.start(&live).unwrap();
    let grant = live.grants[0].clone();
    let lease = store.claim(&grant.target, &grant.permissions[0].permission, at(0)).unwrap();
    assert_eq!(store.write_lease(&lease.intend(Attempt::Opening, at(0)), 0, &event(at(0))).unwrap(), RowOutcome::Done);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA ignore_check_constraints = ON; UPDATE leases SET phase = 'open'").unwrap();
    assert_eq!(store.stop(live.id, at(1)).unwrap().status, SessionStatus::Expiring);
    store.record_standings(&BTreeMap::new(), at(2), Some(at(2))).unwrap();
    assert_eq!(store.session(live.id).unwrap().unwrap().status, SessionStatus::Expiring, "nobody knows");
    other.execute_batch("DROP TRIGGER leases_latch; UPDATE leases SET phase = 'closed'").unwrap();
    store.record_standings(&BTreeMap::new(), at(3), Some(at(3))).unwrap();
    assert_eq!(store.session(live.id).unwrap().unwrap().status, SessionStatus::Cancelled);
}

/// The record is read once more in the transaction before a call: nothing is opened that it does not say, or that only a
/// damaged one says.
#[test]
fn an_attempt_is_begun_for_what_the_record_says_soundly() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let mut store = open(&path);
    let live = session(1, 0);
    store.start(&live).unwrap();
    let grant = live.grants[0].clone();
    let permission = grant.permissions[0].permission;
    let lease = store.claim(&grant.target, &permission, at(0)).unwrap();
    let mut begin = |lease: &Lease| {
        let batch = [(lease.intend(Attempt::Opening, at(1)), lease.version)];
        store.begin_attempt(Some((live.id, at(1))), &batch, &[]).unwrap()
    };
    let wide: Permission = "tcp|22|22|0.0.0.0/0".parse().unwrap();
    assert_eq!(
        begin(&Lease { permission: wide, ..lease.clone() }),
        RowOutcome::NoLongerWanted,
        "the session has it not"
    );
    let other = Connection::open(&path).unwrap();
    other.execute_batch("UPDATE sessions SET expires_at = started_at + 2678401").unwrap();
    assert_eq!(begin(&lease), RowOutcome::NoLongerWanted, "longer than 31 days");
    other
        .execute_batch("UPDATE sessions SET started_at = started_at + 86400, expires_at = started_at + 2678400 + 86400")
        .unwrap();
    assert_eq!(begin(&lease), RowOutcome::NoLongerWanted, "it ends too far ahead");
    other.execute("UPDATE sessions SET started_at = ?1, expires_at = ?1 + 3600", [at(0).timestamp()]).unwrap();
    other.execute_batch("UPDATE grants SET address = '198.51.100.1'").unwrap();
    assert_eq!(begin(&lease), RowOutcome::NoLongerWanted, "the network is not the address's");
    other.execute("UPDATE grants SET address = ?1", [grant.address.to_string()]).unwrap();
    assert_eq!(begin(&lease), RowOutcome::Done);
}
