//! Expiry schedules on record: what is written is read, under its version alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod fixtures;

use eg_model::{
    auto_close::{AutoClose, AutoCloseRoute},
    failure::{Failure, FailureClass},
    ids::RuleId,
    session::record::Standing,
};
use eg_state::{Event, EventKind, RowOutcome};
use fixtures::*;
use std::collections::BTreeMap;

fn auto_close(rule: &str) -> AutoClose {
    let way = AutoCloseRoute { role_arn: "arn:aws:iam::123456789012:role/eg".into(), group: "default".into() };
    AutoClose::new(RuleId(rule.into()), target("sg-1"), permission(22), way, at(60))
}

fn fresh() -> (tempfile::TempDir, eg_state::Store) {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root.path().join("state.db"));
    (root, store)
}

fn denied() -> Failure {
    Failure::new(FailureClass::Denied, "set the switch of sgr-1: no")
}

#[test]
fn an_auto_close_comes_back_as_it_went_in() {
    let (_root, mut store) = fresh();
    let new = auto_close("sgr-1");
    let sent = new.intend(&new.way, at(HOUR));
    let refused = sent.refused(denied(), at(5));
    let set = refused.set(at(HOUR));
    let mut before = None;
    for step in [sent, refused, set] {
        let event = Event { rule_id: Some(step.rule.clone()), ..Event::new(at(0), EventKind::AutoCloseSet, "x") };
        assert_eq!(store.write_auto_close(&step, before, Some(&event)).unwrap(), RowOutcome::Done);
        before = Some(step.version);
        assert_eq!(store.auto_closes().unwrap(), [step]);
    }
    assert_eq!(store.events(None).unwrap().iter().filter(|event| event.kind == EventKind::AutoCloseSet).count(), 3);
    store.forget_auto_close(&RuleId("sgr-1".into()), None).unwrap();
    assert_eq!(store.auto_closes().unwrap(), []);
}

#[test]
fn a_version_guards_it() {
    let (_root, mut store) = fresh();
    let one = auto_close("sgr-1").set(at(60));
    assert_eq!(store.write_auto_close(&one, Some(3), None).unwrap(), RowOutcome::Raced, "not on record");
    assert_eq!(store.write_auto_close(&one, None, None).unwrap(), RowOutcome::Done);
    assert_eq!(store.write_auto_close(&one.set(at(90)), None, None).unwrap(), RowOutcome::Raced, "on record by now");
    assert_eq!(store.write_auto_close(&one.set(at(90)), Some(0), None).unwrap(), RowOutcome::Raced);
    assert_eq!(store.auto_closes().unwrap(), [one]);
}

#[test]
fn a_live_grant_says_that_its_rule_would_not_close_by_itself() {
    let (_root, mut store) = fresh();
    let session = session(1, 0);
    store.start(&session).unwrap();
    let standings = BTreeMap::from([(slot("sg-1", 22), Standing::Own(RuleId("sgr-1".into())))]);
    store.record_standings(&standings, at(1), Some(at(1))).unwrap();
    let said = |store: &eg_state::Store| store.session(sid(1)).unwrap().unwrap().grants[0].error_message();
    let refused = auto_close("sgr-2").refused(denied(), at(5));
    assert_eq!(store.write_auto_close(&refused, None, None).unwrap(), RowOutcome::Done);
    assert_eq!(said(&store), None, "another rule's");
    let refused = auto_close("sgr-1").refused(denied(), at(5));
    assert_eq!(store.write_auto_close(&refused, None, None).unwrap(), RowOutcome::Done);
    let why = "closes by eg reconcile only: the expiry schedule could not be set: not permitted: \
               set the switch of sgr-1: no";
    assert_eq!(said(&store).as_deref(), Some(why));
    store.stop(sid(1), at(2)).unwrap();
    assert_eq!(said(&store), None, "it is being closed");
}

#[test]
fn what_must_have_fired_long_ago_is_forgotten() {
    let (_root, mut store) = fresh();
    for (rule, when) in [("sgr-1", 60), ("sgr-2", 30 * HOUR)] {
        assert_eq!(store.write_auto_close(&auto_close(rule).set(at(when)), None, None).unwrap(), RowOutcome::Done);
    }
    store.prune(at(25 * HOUR)).unwrap();
    let left: Vec<_> = store.auto_closes().unwrap().into_iter().map(|auto_close| auto_close.rule.0).collect();
    assert_eq!(left, ["sgr-2"]);
}

#[test]
fn an_account_learnt_later_is_filled_in() {
    let (_root, mut store) = fresh();
    assert_eq!(store.write_auto_close(&auto_close("sgr-1"), None, None).unwrap(), RowOutcome::Done);
    store.learn_account(&target("sg-1").key, Some("123456789012"), Some("aws")).unwrap();
    assert_eq!(store.auto_closes().unwrap()[0].target.route.account.as_deref(), Some("123456789012"));
}
