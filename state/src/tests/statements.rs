//! No statement costs more with a longer history: each one that this crate holds is run on a short and on a long record,
//! and its plan is read.

#[path = "../../tests/fixtures/mod.rs"]
mod fixtures;

use super::trace;
use crate::{EventKind, Filter, FlushAt, RecordSummary, RunKind, RunResult, Since, Store, schema};
use eg_model::{
    auto_close::{AutoClose, AutoCloseRoute},
    failure::{Failure, FailureClass},
    ids::{GrantId, RuleId, RunId},
    lease::Attempt,
    net::address::IpVersion,
    session::{
        follow::Move,
        notices::{Notification, NotifyEvent},
        record::{Session, SessionStatus, Standing},
        sighting::Sighting,
    },
};
use fixtures::{HOUR, at, event_on, grant, history, open, permission, session, sid, slot, target};
use rusqlite::Connection;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use uuid::Uuid;

/// Every statement that a record with so many ended sessions runs, with the steps of its dearest run. A live session has
/// as many grants for earlier addresses.
fn statements(path: &Path, ended: u32) -> BTreeMap<String, i32> {
    drop(open(path));
    history::fill(path, ended, at(0).timestamp());
    trace::take();
    use_all(path, ended);
    trace::take()
}

/// Does everything that a record is for.
fn use_all(path: &Path, moves: u32) {
    let mut store = open(path);
    let since = Since { opened: at(-31 * 24 * HOUR), revoked: at(-600) };
    let following = Session { follow: true, grants: vec![grant(1, "sg-1", &[22])], ..session(1, 0) };
    store.start(&following).unwrap();
    history::move_often(path, &sid(1).to_string(), moves);
    for number in 2..5 {
        store.start(&session(number, 0)).unwrap();
    }
    open_all(&mut store);
    let seen = Sighting { address: step().to, since: at(19) };
    store.keep_sightings(sid(1), &[(IpVersion::V4, seen)].into()).unwrap();
    assert_eq!(store.sightings(sid(1)).unwrap().len(), 1);
    store.follow(&step(), at(20), || GrantId(Uuid::from_u128(77))).unwrap();
    store.extend(sid(1), at(2 * HOUR), at(21)).unwrap();
    store.ensure(&session(9, 22), chrono::TimeDelta::hours(9)).unwrap();
    store.add_caller(&[sid(1)], "arn").unwrap();
    store.stop(sid(2), at(30)).unwrap();
    read_all(&store, since);
    store.expire(at(HOUR + 1)).unwrap();
    read_all(&store, since);
    store.prune(at(HOUR)).unwrap();
    store.prune(at(30 * 24 * HOUR)).unwrap();
    drop(store);
    assert!(Store::check(path, Some("here")).unwrap());
    read_all(&Store::open_read_only(path).unwrap().unwrap(), since);
    // A restored backup: its runs are behind those of the guard file.
    let guard = crate::open::guard::read(path).unwrap().unwrap();
    crate::open::guard::write(path, &crate::open::guard::Guard { last_run: guard.last_run + 10, ..guard }).unwrap();
    drop(fixtures::try_open(path, Some("there"), 7));
    drop(open(path));
}

fn step() -> Move {
    Move { session: sid(1), from: "203.0.113.42".parse().unwrap(), to: "198.51.100.7".parse().unwrap() }
}

/// A run that opens the rules of session 1 and closes one.
fn open_all(store: &mut Store) {
    let run = store.begin_run(RunId(Uuid::from_u128(5)), RunKind::Reconcile, true, at(1)).unwrap();
    store.learn_account(&target("sg-1").key, Some("123"), Some("aws")).unwrap();
    store.change_target(&target("sg-1").key, |record| record.closed_once = true).unwrap();
    let lease = store.claim(&target("sg-1"), &permission(22), at(2)).unwrap();
    let sent = lease.intend(Attempt::Opening, at(3));
    let intent = event_on(&sent, EventKind::Intent, 3, None);
    store.begin_attempt(Some((sid(1), at(3))), &[(sent.clone(), lease.version)], &[intent]).map(drop).unwrap();
    let held = sent.authorized(RuleId("sgr-a".into()), at(HOUR));
    let opened = event_on(&held, EventKind::Authorized, 4, Some("sgr-a"));
    store.write_lease(&held, sent.version, &opened).map(drop).unwrap();
    let revoked = event_on(&held, EventKind::Revoked, 4, Some("sgr-b"));
    store.write_leases(&[], &[revoked]).map(drop).unwrap();
    let standings = [(slot("sg-1", 22), Standing::Own(RuleId("sgr-a".into())))].into();
    store.record_standings(&standings, at(5), Some(at(5))).unwrap();
    let refused = [(permission(22), Standing::Failed("no".into()))].into();
    assert!(!store.record_target(&target("sg-1").key, &refused, at(5), None).unwrap().is_empty());
    let way = AutoCloseRoute { role_arn: "arn".into(), group: "default".into() };
    let close = AutoClose::new(RuleId("sgr-a".into()), target("sg-1"), permission(22), way.clone(), at(60));
    let sent = close.intend(&way, at(HOUR));
    store.write_auto_close(&sent, None, None).map(drop).unwrap();
    let refused = sent.refused(Failure::new(FailureClass::Denied, "no"), at(5));
    store.write_auto_close(&refused, Some(sent.version), None).map(drop).unwrap();
    store.write_auto_close(&refused, None, None).map(drop).unwrap();
    store.forget_auto_close(&RuleId("sgr-z".into()), None).unwrap();
    let notice = Notification { session: sid(1), event: NotifyEvent::Expiring, expires_at: at(HOUR), why: None };
    assert!(store.begin_notice(&notice, at(6)).unwrap());
    store.finish_notice(&notice, at(6)).unwrap();
    store.note_schedule(at(7)).unwrap();
    store.note_schedule_removed(at(8)).unwrap();
    let result = RunResult { finished_at: at(9), converged: true, summary: None, digest: None, next_wake_at: None };
    store.finish_run(run, &result, FlushAt::Now).unwrap();
}

fn read_all(store: &Store, since: Since) {
    let key = target("sg-1").key;
    let listed = |statuses: Option<&[SessionStatus]>, whole| {
        let filter = Filter { statuses: statuses.map(<[_]>::to_vec), limit: Some(20), whole };
        store.sessions(&filter).unwrap().sessions
    };
    let ids: BTreeSet<_> = listed(None, false).iter().map(|session| session.id).collect();
    listed(Some(&[SessionStatus::Expired, SessionStatus::Active]), false);
    listed(Some(&[SessionStatus::Expired]), true);
    store.users(&ids).unwrap();
    store.find("00000000000000000000").unwrap();
    store.session(sid(4)).unwrap();
    store.live_sessions().unwrap();
    store.live_expiries().unwrap();
    store.unfinished_sessions().unwrap();
    store.expired_since(at(-HOUR)).unwrap();
    store.rows_by_target(since).unwrap();
    store.rows_of(&key, since).unwrap();
    store.open_leases().unwrap();
    store.open_leases_on(&key).unwrap();
    store.unreadable_leases().unwrap();
    store.revoked_rules(since.revoked).unwrap();
    store.opened_rules(since.opened).unwrap();
    store.opened_on(&key, &permission(22), since.opened).unwrap();
    store.auto_closes().unwrap();
    store.targets().unwrap();
    store.target(&key).unwrap();
    store.used_targets().unwrap();
    store.names_of([&key]).unwrap();
    store.events(Some(sid(1))).unwrap();
    let (_, last) = store.newest_events(20, |_| true).unwrap();
    store.events_after(last - 20).unwrap();
    store.events_since(at(-HOUR)).unwrap();
    store.events_about(sid(1), (at(0), at(HOUR))).unwrap();
    store.last_events(20).unwrap();
    store.run_kinds(&[1, 2].into()).unwrap();
    store.last_runs().unwrap();
    store.scheduled_since().unwrap();
    store.data_version().unwrap();
    RecordSummary::read(store).unwrap();
}

/// Scans that read no history: of tables, and of indexes of the part of a table that is not over. An alias goes with its
/// table.
const SHORT: [(&str, &str); 13] = [
    ("CONSTANT ROW", ""),
    ("4", "VALUES"),
    ("json_each", ""),
    ("known", "VALUES"),
    ("sqlite_schema", ""),
    ("sqlite_sequence", ""),
    ("routes", ""),
    ("targets", ""),
    ("t", "targets t"),
    ("auto_closes", ""),
    ("r", "FROM auto_closes r"),
    ("o", "FROM opened_rules o"),
    ("events", "FROM events ORDER BY id DESC LIMIT"),
];
const SHORT_INDEXES: [&str; 6] =
    ["grants_removing", "grants_kept", "leases_open", "runs_scheduled", "runs_reconciled", "sessions_newest"];

fn is_short(scanned: &str, sql: &str) -> bool {
    let (table, how) = scanned.split_once(' ').unwrap_or((scanned, ""));
    let known = |(short, of): &(&str, &str)| (*short == table || *short == scanned) && sql.contains(of);
    SHORT.iter().any(known) || how.split(' ').any(|index| SHORT_INDEXES.contains(&index))
}

/// Statements that cost more, each with the reason.
const WHOLE: [(&str, &str); 2] = [
    ("PRAGMA quick_check", "the check of a whole file, which is for a small one, or once a day"),
    ("DELETE FROM runs", "old runs go some hundred at a time, and in the short record there are fewer"),
];

/// The first words of statements that read or write rows.
const WORDS: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];

fn is_whole(sql: &str) -> bool {
    WHOLE.iter().any(|(start, _)| sql.starts_with(start))
}

#[test]
fn no_statement_costs_more_with_a_longer_history() {
    let root = tempfile::tempdir().unwrap();
    let short = statements(&root.path().join("short/state.db"), 50);
    let path = root.path().join("long/state.db");
    let long = statements(&path, 3000);
    let slower: Vec<_> = long
        .iter()
        .filter(|(sql, steps)| **steps > short.get(*sql).copied().unwrap_or_default() * 3 / 2 + 300 && !is_whole(sql))
        .collect();
    assert!(slower.is_empty(), "steps of each: {slower:#?}");
    let connection = Connection::open(&path).unwrap();
    let mut scans = Vec::new();
    for analyzed in [false, true] {
        if analyzed {
            connection.execute_batch("ANALYZE").unwrap();
        }
        // A pragma has no plan, and takes effect when it is explained.
        let planned = |sql: &&String| WORDS.iter().any(|word| sql.starts_with(word)) && !is_whole(sql);
        for sql in long.keys().filter(planned) {
            let steps = plan(&connection, sql).into_iter();
            let scan = steps.filter(|step| step.strip_prefix("SCAN ").is_some_and(|what| !is_short(what, sql)));
            scans.extend(scan.map(|step| (analyzed, step, sql)));
        }
    }
    assert!(scans.is_empty(), "{scans:#?}");
    // Written when a restored backup has not yet begun a run.
    let rare = |start: &String| start.starts_with("INSERT INTO sqlite_sequence");
    let unknown: Vec<_> = in_sources()
        .into_iter()
        .filter(|start| !rare(start) && !long.keys().any(|sql| sql.starts_with(start)))
        .collect();
    assert!(unknown.is_empty(), "`use_all` runs none of these: {unknown:#?}");
}

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get("detail").unwrap());
    }
    steps
}

/// The first words of every statement in the sources, as far as they stand in one literal.
fn in_sources() -> BTreeSet<String> {
    let mut starts = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !["migrations.rs", "schema.rs", "statements.rs"].iter().any(|name| path.ends_with(name)) {
                let text = std::fs::read_to_string(path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                for word in WORDS {
                    let opening = format!("\"{word} ");
                    let found = code.split(&opening).skip(1);
                    let start = |rest: &str| rest.split(['"', '{', '\\']).next().unwrap().to_owned();
                    starts.extend(found.map(|rest| format!("{word} {}", start(rest))));
                }
            }
        }
    }
    assert!(starts.len() > 40, "{starts:?}");
    starts
}

/// The plan of a statement about routes reads no whole table for each row.
#[test]
fn routes_are_found_by_indexes() {
    use crate::routes::{route_key, target_columns, target_joins};
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    for which in ["grants r", "leases r", "auto_closes r"] {
        let sql = concat!("SELECT ", target_columns!(), " FROM TABLE", target_joins!());
        let steps = plan(&connection, &sql.replace("TABLE", which));
        assert!(steps[0].starts_with("SCAN r") && steps.len() == 3, "{steps:?}");
        assert!(steps[1..].iter().all(|step| step.contains("USING INTEGER PRIMARY KEY")), "{steps:?}");
    }
    let find = concat!("SELECT id FROM routes WHERE ", route_key!(), " = json_array(1, 2, 3, 4, 5, 6, 7, 8)");
    assert_eq!(plan(&connection, find), ["SEARCH routes USING INDEX routes_key (<expr>=?)"]);
}
