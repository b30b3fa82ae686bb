//! What was told, and what a crash makes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod fixtures;

use eg_model::session::notices::{Notification, NotifyEvent};
use fixtures::{HOUR, at, open, session};

fn notice(event: NotifyEvent, expires: i64) -> Notification {
    Notification { session: fixtures::sid(1), event, expires_at: at(expires), why: None }
}

#[test]
fn each_notice_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("eg/state.db");
    let mut store = open(&path);
    store.start(&session(1, 0)).unwrap();
    let expiring = notice(NotifyEvent::Expiring, HOUR);
    assert!(store.begin_notice(&expiring, at(10)).unwrap());
    // Another process looks while the first one tells.
    assert!(!open(&path).begin_notice(&expiring, at(30)).unwrap());
    store.finish_notice(&expiring, at(11)).unwrap();
    let other = open(&path);
    let before = other.data_version().unwrap();
    assert!(!store.begin_notice(&expiring, at(2000)).unwrap());
    assert_eq!(other.data_version().unwrap(), before, "looking writes nothing");
    // Another event, and another expiry, are other notices.
    assert!(store.begin_notice(&notice(NotifyEvent::Expired, HOUR), at(2000)).unwrap());
    assert!(store.begin_notice(&notice(NotifyEvent::Expiring, 2 * HOUR), at(2000)).unwrap());
}

#[test]
fn a_crash_loses_none_and_repeats_none_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("eg/state.db"));
    store.start(&session(1, 0)).unwrap();
    let expired = notice(NotifyEvent::Expired, HOUR);
    let told: Vec<bool> = (0..6).map(|minute| store.begin_notice(&expired, at(minute * 60)).unwrap()).collect();
    assert_eq!(told, [true, true, true, false, false, false]);
}

#[test]
fn lately_expired_sessions_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("eg/state.db"));
    store.start(&session(1, 0)).unwrap();
    store.expire(at(HOUR + 5)).unwrap();
    assert_eq!(store.expired_since(at(HOUR + 5)).unwrap().len(), 1);
    assert_eq!(store.expired_since(at(HOUR + 6)).unwrap().len(), 0);
}
