//! `eg` in this process: a machine of its own, with a clock that stands, seeded ids, waits that pass at once, and
//! somebody at its boundaries who may end the command there.

use chrono::{DateTime, TimeDelta, Utc};
use eg::{Env, inside::Failpoints};
use eg_sandbox::HandClock;
use eg_state::StateError;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// What unwinds when a command ends at a boundary. No destructor in `eg` does anything that a dead process would not.
struct Dead;

/// What is to happen to the next command.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    pub dies_at: Option<u64>,
    pub full_from: Option<u64>,
}

/// A command's own boundary.
struct Doom {
    fate: Fate,
    passed: AtomicU64,
    written: AtomicU64,
}

impl Failpoints for Doom {
    fn pass(&self) {
        if Some(self.passed.fetch_add(1, Ordering::SeqCst)) == self.fate.dies_at {
            resume_unwind(Box::new(Dead));
        }
    }

    fn refusal(&self) -> Option<StateError> {
        let number = self.written.fetch_add(1, Ordering::SeqCst);
        let full = self.fate.full_from.is_some_and(|from| number >= from);
        full.then(|| StateError::Full { path: PathBuf::new(), detail: "a test says so".to_owned() })
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` where it died at a boundary.
    pub code: Option<u8>,
    pub out: String,
    pub err: String,
}

/// One installation.
pub struct Machine {
    home: PathBuf,
    env: Env,
    pub fate: Fate,
}

impl Machine {
    pub fn new(dir: &Path, name: &str, seed: u64, clock: &HandClock, endpoint: &str, config: &str) -> Self {
        let home = dir.join(name);
        fs::create_dir_all(&home).unwrap();
        let file = |name: &str, text: &str| {
            fs::write(home.join(name), text).unwrap();
            home.join(name).to_string_lossy().into_owned()
        };
        let keys = "[sandbox]\naws_access_key_id = AKIAEG200000000001\naws_secret_access_key = none\n";
        let vars = [
            ("HOME", home.to_string_lossy().into_owned()),
            ("EG_STATE", home.join("state/state.db").to_string_lossy().into_owned()),
            ("EG_CONFIG", file("config.toml", config)),
            ("AWS_SHARED_CREDENTIALS_FILE", file("credentials", keys)),
            ("AWS_CONFIG_FILE", file("config", "")),
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
            ("TZ", "UTC".to_owned()),
        ];
        let vars: BTreeMap<_, _> = vars.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let (reads, waits) = (clock.clone(), clock.clone());
        let dice = Mutex::new(fastrand::Rng::with_seed(seed));
        let mut env = Env::apart(vars, Arc::new(move || whole(reads.now())));
        env.machine = Some(name.to_owned());
        env.user = name.to_owned();
        env.ids =
            Arc::new(move || uuid::Builder::from_random_bytes(dice.lock().unwrap().u128(..).to_be_bytes()).into_uuid());
        env.pause = Arc::new(move |wait| {
            waits.advance(TimeDelta::from_std(wait).unwrap());
            Box::pin(std::future::ready(()))
        });
        Self { home, env, fate: Fate::default() }
    }

    /// The database.
    pub fn state(&self) -> PathBuf {
        self.home.join("state/state.db")
    }

    /// Runs a command; what was to happen to it has happened then. A panic is the caller's.
    pub fn eg(&mut self, args: &[&str]) -> Ended {
        let fate = std::mem::take(&mut self.fate);
        let mut env = self.env.clone();
        env.args = std::iter::once("eg").chain(args.iter().copied()).map(Into::into).collect();
        env.failpoints = Some(Arc::new(Doom { fate, passed: AtomicU64::new(0), written: AtomicU64::new(0) }));
        let (out, err) = (Text::default(), Text::default());
        let run = || eg::run(&env, Box::new(out.clone()), Box::new(err.clone()));
        let code = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(exit) => Some(exit.code()),
            Err(payload) if payload.is::<Dead>() => None,
            Err(payload) => resume_unwind(payload),
        };
        Ended { code, out: out.take(), err: err.take() }
    }

    /// The sessions on record, newest first.
    pub fn sessions(&mut self) -> Vec<Value> {
        let fate = std::mem::take(&mut self.fate);
        let ended = self.eg(&["--output", "json", "session", "list", "--limit", "0"]);
        self.fate = fate;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str(&ended.out).unwrap()
    }

    /// The ids of those that live.
    pub fn live(&mut self) -> Vec<String> {
        let live = ["PENDING", "ACTIVE", "PARTIAL", "FAILED"];
        let sessions = self.sessions().into_iter();
        let sessions = sessions.filter(|session| live.iter().any(|status| session["status"] == *status));
        sessions.map(|session| session["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The number of open leases on record.
    pub fn open_leases(&self) -> u32 {
        let Ok(record) = rusqlite::Connection::open(self.state()) else { return 0 };
        record
            .query_row("SELECT count(*) FROM leases WHERE phase <> 'closed'", [], |row| row.get(0))
            .unwrap_or_default()
    }

    /// The ids of rules that an open lease knows.
    pub fn known_rules(&self) -> Vec<String> {
        let Ok(record) = rusqlite::Connection::open(self.state()) else { return Vec::new() };
        let sql = "SELECT rule_id FROM leases WHERE rule_id IS NOT NULL AND phase <> 'closed'";
        let Ok(mut query) = record.prepare(sql) else { return Vec::new() };
        let rules = query.query_map([], |row| row.get(0)).unwrap();
        rules.map(|rule| rule.unwrap()).collect()
    }
}

fn whole(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap()
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
