//! A session's move to another address: one transaction, from which every pass goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod fixtures;

use eg_model::{
    ids::{GrantId, RuleId, SessionId},
    net::{address::IpVersion, permission::Permission},
    session::{
        follow::Move,
        record::{GrantStatus, Session, SessionStatus, Standing},
        sighting::Sighting,
    },
    target::TargetKey,
};
use eg_state::{EventKind, Store};
use fixtures::{HOUR, at, grant, installation, open, open_rule, session, slot, target, write};
use std::{collections::BTreeMap, net::IpAddr};
use uuid::Uuid;

const OLD: &str = "203.0.113.42";
const NEW: &str = "198.51.100.7";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn step(session: SessionId, from: &str, to: &str) -> Move {
    Move { session, from: ip(from), to: ip(to) }
}

fn follow(store: &mut Store, step: &Move, now: i64) -> bool {
    let mut next = 100 * u128::try_from(now).unwrap();
    store
        .follow(step, at(now), || {
            next += 1;
            GrantId(Uuid::from_u128(next))
        })
        .unwrap()
}

/// A session of an hour on two groups, tcp/22 open on the first.
fn begun(store: &mut Store) -> Session {
    let mut session = Session { follow: true, ..session(1, 0) };
    session.grants.push(grant(2, "sg-2", &[22]));
    store.start(&session).unwrap();
    open_rule(store, "sg-1", 22, "sgr-1", 1);
    stand(store, &[(slot("sg-1", 22), "sgr-1")], 2);
    store.session(session.id).unwrap().unwrap()
}

fn stand(store: &mut Store, held: &[((TargetKey, Permission), &str)], now: i64) {
    let standings: BTreeMap<_, _> =
        held.iter().map(|(slot, rule)| (slot.clone(), Standing::Own(RuleId((*rule).into())))).collect();
    store.record_standings(&standings, at(now), Some(at(now))).unwrap();
}

fn statuses(session: &Session) -> Vec<(&str, String, GrantStatus)> {
    session.grants.iter().map(|g| (g.resource_name.as_str(), g.address.to_string(), g.status)).collect()
}

fn new_slot(group: &str) -> (TargetKey, Permission) {
    (target(group).key, slot(group, 22).1.moved(ip(NEW)))
}

#[test]
fn a_move_keeps_what_is_open_and_lets_the_rest_go() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("state.db"));
    let session = begun(&mut store);
    assert_eq!(session.status, SessionStatus::Partial);
    assert!(follow(&mut store, &step(session.id, OLD, NEW), 10));
    let moved = store.session(session.id).unwrap().unwrap();
    let (old, new) = (OLD.to_owned(), NEW.to_owned());
    use GrantStatus::{Applied, Pending, Removed, Removing};
    let expected = [
        ("sg-1", old.clone(), Removing),
        ("sg-1", new.clone(), Pending),
        ("sg-2", old.clone(), Removed),
        ("sg-2", new.clone(), Pending),
    ];
    assert_eq!(statuses(&moved), expected, "of each resource the older first");
    assert_eq!((moved.status, moved.address(IpVersion::V4)), (SessionStatus::Pending, Some(ip(NEW))));
    let told = store.events(Some(session.id)).unwrap();
    let told: Vec<_> = told.iter().filter(|event| event.kind == EventKind::AddressChanged).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].outcome, format!("from {OLD} to {NEW}"));

    // The new rule is there: the old one is wanted no more, and goes when its lease is closed.
    stand(&mut store, &[(new_slot("sg-1"), "sgr-2"), (new_slot("sg-2"), "sgr-3")], 20);
    let moved = store.session(session.id).unwrap().unwrap();
    assert_eq!(moved.status, SessionStatus::Active);
    assert_eq!(statuses(&moved)[..2], [("sg-1", old.clone(), Removing), ("sg-1", new, Applied)]);
    let lease = store.open_leases().unwrap().remove(0);
    write(&mut store, &lease, &lease.closed(), EventKind::Revoked);
    stand(&mut store, &[], 30);
    let moved = store.session(session.id).unwrap().unwrap();
    assert_eq!(statuses(&moved)[0], ("sg-1", old, Removed));
    assert_eq!(moved.status, SessionStatus::Active);
    store.stop(session.id, at(40)).unwrap();
    assert_eq!(store.session(session.id).unwrap().unwrap().status, SessionStatus::Cancelled);
}

#[test]
fn a_move_that_is_wanted_no_more_records_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("state.db"));
    let session = begun(&mut store);
    let (there, back) = (step(session.id, OLD, NEW), step(session.id, NEW, OLD));
    assert!(!follow(&mut store, &back, 10), "it is not there");
    assert!(!follow(&mut store, &step(fixtures::sid(9), OLD, NEW), 10), "no such session");
    assert!(!follow(&mut store, &step(session.id, "2001:db8::1", "2001:db8::2"), 10), "no such family");
    assert!(!follow(&mut store, &there, HOUR), "its time is over");
    assert_eq!(store.session(session.id).unwrap().unwrap(), session);
    // Two passes that found the same: the second one finds it done.
    assert!(follow(&mut store, &there, 11));
    let moved = store.session(session.id).unwrap().unwrap();
    assert!(!follow(&mut store, &there, 12));
    assert_eq!(store.session(session.id).unwrap().unwrap(), moved);
    store.stop(session.id, at(13)).unwrap();
    assert!(!follow(&mut store, &back, 14), "it has ended");

    let mut stays = fixtures::session(5, 20);
    stays.grants[0].id = GrantId(Uuid::from_u128(50));
    store.start(&stays).unwrap();
    assert!(!follow(&mut store, &step(stays.id, OLD, NEW), 30), "it does not follow");
}

#[test]
fn back_before_the_new_one_was_open() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("state.db"));
    let session = begun(&mut store);
    assert!(follow(&mut store, &step(session.id, OLD, NEW), 10));
    assert!(follow(&mut store, &step(session.id, NEW, OLD), 20));
    let moved = store.session(session.id).unwrap().unwrap();
    let first: Vec<_> = statuses(&moved).into_iter().filter(|(name, _, _)| *name == "sg-1").collect();
    use GrantStatus::{Applied, Pending, Removed, Removing};
    let (old, new) = (OLD.to_owned(), NEW.to_owned());
    assert_eq!(
        first,
        [("sg-1", old.clone(), Removing), ("sg-1", new.clone(), Removed), ("sg-1", old.clone(), Pending)]
    );
    // What the first grant held is the third one's now.
    stand(&mut store, &[(slot("sg-1", 22), "sgr-1")], 21);
    let back = store.session(session.id).unwrap().unwrap();
    let first: Vec<_> = statuses(&back).into_iter().filter(|(name, _, _)| *name == "sg-1").collect();
    assert_eq!(first, [("sg-1", old.clone(), Removed), ("sg-1", new, Removed), ("sg-1", old, Applied)]);
    assert_eq!(back.status, SessionStatus::Partial);
}

#[test]
fn a_stop_in_between_lets_everything_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut store = open(&path);
    let session = begun(&mut store);
    assert!(follow(&mut store, &step(session.id, OLD, NEW), 10));
    let stopped = store.stop(session.id, at(11)).unwrap();
    assert_eq!(stopped.status, SessionStatus::Expiring, "the old rule is still open");
    let lease = store.open_leases().unwrap().remove(0);
    write(&mut store, &lease, &lease.closed(), EventKind::Revoked);
    stand(&mut store, &[], 12);
    assert_eq!(store.session(session.id).unwrap().unwrap().status, SessionStatus::Cancelled);
    assert_eq!(*store.installation(), installation(7));
}

/// A pass reads no grant for an earlier address, and a new one gets a place of its own all the same.
#[test]
fn earlier_addresses_are_left_out_of_passes_only() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let mut store = open(&path);
    let session = begun(&mut store);
    fixtures::history::move_often(&path, &session.id.to_string(), 50);
    assert!(follow(&mut store, &step(session.id, OLD, NEW), 10));
    let grants = |sessions: Vec<Session>| sessions[0].grants.len();
    assert_eq!(grants(store.live_sessions().unwrap()), 3, "one new for each, and one that is still to be closed");
    let listed = |whole| grants(store.sessions(&eg_state::Filter { whole, ..Default::default() }).unwrap().sessions);
    assert_eq!((listed(false), listed(true)), (3, 54));
    assert_eq!(store.session(session.id).unwrap().unwrap().grants.len(), 54);
}

/// The name stays with the session, and so does what it was seen to have, for the next pass.
#[test]
fn a_followed_name_and_its_sightings_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let name = Some("home.example.org".to_owned());
    let started = Session { follow: true, followed_name: name.clone(), ..session(1, 0) };
    let seen = |text: &str, since| Sighting { address: ip(text), since: at(since) };
    let both = BTreeMap::from([(IpVersion::V4, seen(NEW, 5)), (IpVersion::V6, seen("2001:db8::7", 6))]);
    let mut store = open(&path);
    store.start(&started).unwrap();
    store.keep_sightings(started.id, &both).unwrap();
    drop(store);
    let mut store = open(&path);
    assert_eq!(store.session(started.id).unwrap().unwrap().followed_name, name);
    assert_eq!(store.sightings(started.id).unwrap(), both);
    assert_eq!(store.sightings(fixtures::sid(9)).unwrap(), BTreeMap::new(), "another session's");
    let only = BTreeMap::from([(IpVersion::V6, seen("2001:db8::8", 7))]);
    store.keep_sightings(started.id, &only).unwrap();
    assert_eq!(store.sightings(started.id).unwrap(), only);
    rusqlite::Connection::open(&path).unwrap().execute("UPDATE sightings SET address = 'nowhere'", []).unwrap();
    assert_eq!(store.sightings(started.id).unwrap(), BTreeMap::new(), "unknown, and the pass goes on");
    assert_eq!(store.damaged_rows().len(), 1);
}
