//! How long the local commands take on a record of 10,000 sessions, against the `sqlite3` shell running the same
//! query, which reads the same rows of the same tables: the best of 15 runs each, in turn, so that both see the same machine.
//!
//! `cargo bench --bench local_commands`; needs the `sqlite3` shell.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark fails by panicking and prints its figures"
)]

use eg_model::{
    Timestamp,
    ids::{GrantId, InstallationId, SessionId},
    net::permission::Permission,
    session::record::{Grant, GrantPermission, GrantStatus, Session, SessionStatus, Standing},
    target::{Target, TargetKey},
};
use eg_state::{OpenOptions, Store, Watch};
use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use uuid::Uuid;

const SESSIONS: u128 = 10_000;
const RUNS: usize = 15;

fn session(number: u128, start: Timestamp) -> Session {
    let started_at = start + chrono::TimeDelta::minutes(i64::try_from(number).unwrap());
    let id = Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 + (number << 64) + number);
    let permission: Permission = "tcp|22|22|203.0.113.42/32".parse().unwrap();
    let grant = |resource: u128| Grant {
        id: GrantId(Uuid::from_u128(id.as_u128() + ((resource + 1) << 100))),
        resource_name: format!("resource-{resource}"),
        target: Target::new(TargetKey::new("aws", "security-group", "eu-west-1", &format!("sg-{resource:017x}"))),
        address: "203.0.113.42".parse().unwrap(),
        status: GrantStatus::Pending,
        permissions: vec![GrantPermission { permission, standing: Standing::Untried }],
        applied_at: None,
        removed_at: None,
        without_auto_close: None,
    };
    Session {
        id: SessionId(id),
        user_name: "Alice Smith".into(),
        user_email: None,
        reason: None,
        follow: false,
        status: SessionStatus::Pending,
        started_at,
        expires_at: started_at + chrono::TimeDelta::hours(8),
        ended_at: None,
        ended_reason: None,
        caller_arns: BTreeSet::new(),
        grants: (0..3).map(grant).collect(),
    }
}

fn fill(path: &Path) -> SessionId {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let opening = OpenOptions {
        path,
        machine: None,
        new_installation: InstallationId::from_uuid(Uuid::from_u128(7)),
        now: start,
        watch: Watch::default(),
    };
    let (mut store, _) = Store::open(&opening).unwrap();
    let mut last = None;
    for number in 0..SESSIONS {
        let session = session(number, start);
        store.start(&session).unwrap();
        store.stop(session.id, session.started_at).unwrap();
        last = Some(session.id);
    }
    last.unwrap()
}

fn time(command: &mut Command) -> Duration {
    let started = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?} ends with {status}");
    started.elapsed()
}

fn compare(name: &str, state: &Path, args: &[&str], query: &str) {
    let mut eg = Command::new(env!("CARGO_BIN_EXE_eg"));
    eg.arg("--state").arg(state).args(args);
    let mut shell = Command::new("sqlite3");
    shell.arg("-readonly").arg(state).arg(query);
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..RUNS {
        ours = ours.min(time(&mut eg));
        theirs = theirs.min(time(&mut shell));
    }
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{name}: eg {ours:.1?}, sqlite3 {theirs:.1?}, ratio {ratio:.2}");
}

/// The rows that a listing reads.
fn query(sessions: &str) -> String {
    format!(
        "SELECT * FROM ({sessions}) s JOIN grants g ON g.session = s.id JOIN targets t ON t.id = g.target
         JOIN grant_permissions p ON p.grant_id = g.id LEFT JOIN callers c ON c.session = s.id
         ORDER BY s.started_at DESC, s.number DESC"
    )
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.db");
    let last = fill(&state);
    let newest = "SELECT * FROM sessions ORDER BY started_at DESC, number DESC LIMIT 20";
    compare("list (20 newest)", &state, &["session", "list"], &query(newest));
    let all = ["session", "list", "--limit", "0"];
    compare("list --limit 0", &state, &all, &query("SELECT * FROM sessions"));
    let one = format!("SELECT * FROM sessions WHERE id = '{last}'");
    compare("get", &state, &["session", "get", &last.to_string()], &query(&one));
}
