//! The rules that are open now are what the whole history says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod fixtures;

use eg_model::ids::RuleId;
use eg_state::{Event, EventKind};
use fixtures::*;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

const OPENED: &str = "kind IN ('authorized', 'joined', 'lease-adopted') AND at >= ?1 AND rule_id IS NOT NULL \
                      AND permission IS NOT NULL AND rule_id NOT IN (SELECT rule_id FROM events \
                      WHERE kind = 'revoked' AND at >= ?1 AND rule_id IS NOT NULL)";

/// Each rule with its permission, and those on one port of one group with the last time, by the events alone.
fn by_events(raw: &Connection, since: i64) -> (BTreeMap<String, String>, BTreeMap<String, i64>) {
    let since = at(since).timestamp();
    let mut all = raw.prepare_cached(&format!("SELECT rule_id, permission FROM events WHERE {OPENED}")).unwrap();
    let all = all.query_map([since], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
    let sql = format!(
        "SELECT rule_id, max(at) FROM events WHERE {OPENED} AND json_extract(target, '$.id') = 'sg-1' \
         AND permission = ?2 GROUP BY rule_id"
    );
    let mut one = raw.prepare_cached(&sql).unwrap();
    let values = params![since, permission(22).to_string()];
    let one = one.query_map(values, |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
    (all, one)
}

/// Clocks step back, revokes come before openings, and rules are seen again after their revoke.
#[test]
fn the_open_rules_are_those_of_the_events() {
    let mut random = fastrand::Rng::with_seed(14);
    let mut seen = 0;
    for _ in 0..20 {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state.db");
        let (mut store, raw) = (open(&path), Connection::open(&path).unwrap());
        let history: Vec<Event> = (0..random.usize(1..40)).map(|_| some_event(&mut random)).collect();
        for part in history.chunks(10) {
            store.write_leases(&[], part).map(drop).unwrap();
        }
        for since in 0..32 {
            let text = |(rule, permission): (RuleId, _)| (rule.0, ToString::to_string(&permission));
            let opened: BTreeMap<_, _> = store.opened_rules(at(since)).unwrap().into_iter().map(text).collect();
            let on = store.opened_on(&target("sg-1").key, &permission(22), at(since)).unwrap();
            let on: BTreeMap<_, _> = on.into_iter().map(|(rule, at)| (rule.0, at.timestamp())).collect();
            assert_eq!((&opened, &on), (&by_events(&raw, since).0, &by_events(&raw, since).1), "{since}: {history:#?}");
            seen += opened.len() + on.len();
        }
    }
    assert!(seen > 300, "the histories leave rules open: {seen}");
}

/// A rule is on one target, for one permission, for ever.
fn some_event(random: &mut fastrand::Rng) -> Event {
    use EventKind::{Authorized, Intent, Joined, LeaseAdopted, Left, Revoked};
    let rule = random.u16(0..6);
    let kind = [Authorized, Joined, LeaseAdopted, Revoked, Revoked, Intent, Left][random.usize(0..7)];
    let whole = random.u8(0..8) > 0;
    Event {
        target: (whole || kind != Revoked).then(|| target(["sg-1", "sg-2"][usize::from(rule % 2)]).key),
        permission: whole.then(|| permission([22, 443][usize::from(rule / 4)])),
        rule_id: (whole || random.bool()).then(|| RuleId(format!("sgr-{rule}"))),
        ..Event::new(at(random.i64(0..30)), kind, "told")
    }
}
