//! How long the local commands take, and a pass that finds everything as it should be, on records with a short and with a
//! long history; beside them the `sqlite3` shell, which reads the same rows of the same tables for `list` and `get`.
//!
//! `cargo bench --bench local_commands -- 100 10000 1000000`; needs the `sqlite3` shell. Medians of runs in turn, so that all
//! see the same machine. A record of 1,000,000 sessions takes some minutes to make and 3 GB; it is kept in `target/` for the
//! day. `EG_BENCH_BINARY` names another `eg` to measure. The last lines are of a session that has followed its user from one
//! address to the next, once and 500 times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark fails by panicking and prints its figures"
)]

#[path = "../state/tests/fixtures/history.rs"]
#[allow(dead_code, reason = "tests use all of it")]
mod history;

use eg_sandbox::{Config, Handle, Sandbox};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

const RUNS: usize = 9;
/// The moves of a session that follows its user.
const MOVES: [u32; 2] = [1, 500];
const TIME: &str = "/usr/bin/time";
/// The rows that a listing reads.
const LIST: &str = "SELECT * FROM (SELECT * FROM sessions ORDER BY started_at DESC, number DESC LIMIT 20) s JOINED";
const GET: &str = "SELECT * FROM (SELECT * FROM sessions WHERE id = 'ID') s JOINED";
const JOINED: &str = "JOIN grants g ON g.session = s.id JOIN targets t ON t.id = g.target \
                      JOIN grant_permissions p ON p.grant_id = g.id LEFT JOIN callers c ON c.session = s.id \
                      ORDER BY s.started_at DESC, s.number DESC";

fn main() {
    let sizes: Vec<u32> = env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100, 10_000] } else { sizes };
    let worlds: Vec<World> = sizes.iter().map(|sessions| World::new(*sessions)).collect();
    let moved = MOVES.map(World::moved);
    let rows = worlds.iter().flat_map(World::rows).chain(moved.iter().flat_map(World::moved_rows));
    let rows: Vec<Row> = rows.collect();
    let mut times = vec![Vec::new(); rows.len()];
    // The first round warms the caches.
    for round in 0..=RUNS {
        for (row, times) in rows.iter().zip(&mut times) {
            let time = row.run();
            if round > 0 {
                times.push(time);
            }
        }
    }
    println!("{:>9} {:<24} {:>10} {:>10} {:>7}", "sessions", "command", "median", "memory", "lines");
    for (row, times) in rows.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let (memory, lines) = (row.memory(), row.lines());
        println!("{:>9} {:<24} {:>7.1} ms {memory:>10} {lines:>7}", row.sessions, row.name, times[RUNS / 2] * 1e3);
    }
}

/// An endpoint with one group, and a record with a history.
struct World {
    sessions: u32,
    sandbox: Handle,
    dir: TempDir,
}

impl World {
    fn new(sessions: u32) -> Self {
        let world = Self::empty(sessions);
        world.make_record();
        let begun = Instant::now();
        world.row("", &["reconcile"]).run();
        println!("{sessions} sessions: the first pass of the day, with its check, {:.1?}", begun.elapsed());
        world
    }

    /// With one live session that has moved so often.
    fn moved(moves: u32) -> Self {
        let world = Self::empty(1);
        world.row("", &["session", "start", "--ipv4", "203.0.113.42", "--duration", "12h"]).run();
        let id = world.first_of("SELECT id FROM sessions");
        history::move_often(&world.state(), &id, moves);
        world
    }

    fn empty(sessions: u32) -> Self {
        let sandbox = Sandbox::start(Config::new(1, Arc::new(|| SystemTime::now().into()))).unwrap();
        let id = sandbox.create_group_in("123456789012", "eu-west-1", "group").unwrap();
        let dir = tempfile::tempdir_in(target()).unwrap();
        let config = format!(
            "[detect]\nipv4 = []\nipv6 = []\n\n[[resource]]\nname = \"group\"\nid = \"{id}\"\nregion = \"eu-west-1\"\n\
             ports = [\"tcp/22\"]\n"
        );
        fs::write(dir.path().join("config.toml"), config).unwrap();
        Self { sessions, sandbox, dir }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state.db")
    }

    /// With one live session, and as many that have ended.
    fn make_record(&self) {
        let start = || self.row("", &["session", "start", "--ipv4", "203.0.113.42", "--duration", "12h"]).run();
        start();
        self.row("", &["session", "stop"]).run();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let kept = target().join(format!("record-of-{}-{}.db", self.sessions, now / 86_400));
        if !kept.exists() {
            history::fill(&self.state(), self.sessions, i64::try_from(now).unwrap());
            fs::copy(self.state(), &kept).unwrap();
        }
        fs::copy(&kept, self.state()).unwrap();
        let guard = self.dir.path().join("state.db.guard");
        if guard.exists() {
            fs::remove_file(guard).unwrap();
        }
        start();
    }

    fn rows(&self) -> Vec<Row> {
        let id = self.first_of("SELECT id FROM sessions ORDER BY number DESC LIMIT 1 OFFSET 1");
        vec![
            self.row("eg --version", &["--version"]),
            self.row("list", &["session", "list"]),
            self.shell("list by sqlite3", &LIST.replace("JOINED", JOINED)),
            self.row("get", &["session", "get", &id]),
            self.shell("get by sqlite3", &GET.replace("ID", &id).replace("JOINED", JOINED)),
            self.row("status", &["status"]),
            self.row("log -n 20", &["log", "-n", "20"]),
            self.row("log --since 1d", &["log", "--since", "1d"]),
            self.row("reconcile", &["reconcile"]),
        ]
    }

    fn moved_rows(&self) -> Vec<Row> {
        let moves = self.first_of("SELECT count(*) - 1 FROM grants");
        let after = |name| format!("{name}, moves: {moves}");
        vec![self.row(after("list"), &["session", "list"]), self.row(after("reconcile"), &["reconcile"])]
    }

    fn row(&self, name: impl Into<String>, args: &[&str]) -> Row {
        let state = self.state();
        let eg = env::var("EG_BENCH_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_eg").to_owned());
        let words = [&eg, "--state", state.to_str().unwrap()];
        self.row_of(name, &[&words, args].concat())
    }

    /// What the `sqlite3` shell answers.
    fn first_of(&self, query: &str) -> String {
        let output = self.shell("", query).command().stdout(Stdio::piped()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn shell(&self, name: impl Into<String>, query: &str) -> Row {
        self.row_of(name, &["sqlite3", "-readonly", self.state().to_str().unwrap(), query])
    }

    fn row_of(&self, name: impl Into<String>, words: &[&str]) -> Row {
        Row {
            sessions: self.sessions,
            name: name.into(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            environment: vec![
                ("AWS_ACCESS_KEY_ID", "AKIABENCH".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "bench".to_owned()),
                ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
                ("AWS_ENDPOINT_URL", self.sandbox.endpoint()),
                ("EG_CONFIG", self.dir.path().join("config.toml").display().to_string()),
                ("HOME", self.dir.path().display().to_string()),
                ("PATH", env::var("PATH").unwrap()),
                ("TZ", "UTC".to_owned()),
            ],
        }
    }
}

/// One line of the table.
struct Row {
    sessions: u32,
    name: String,
    words: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Row {
    fn command(&self) -> Command {
        self.command_of(&self.words)
    }

    fn command_of(&self, words: &[String]) -> Command {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(self.environment.iter().cloned());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Its time in seconds.
    fn run(&self) -> f64 {
        let started = Instant::now();
        let status = self.command().status().unwrap();
        assert!(status.success(), "{:?} ends with {status}", self.words);
        started.elapsed().as_secs_f64()
    }

    fn lines(&self) -> usize {
        let output = self.command().stdout(Stdio::piped()).output().unwrap();
        output.stdout.split(|byte| *byte == b'\n').count() - 1
    }

    /// The most memory that the process had, as GNU time tells it.
    fn memory(&self) -> String {
        if !Path::new(TIME).exists() {
            return "-".to_owned();
        }
        let words = [vec![TIME.to_owned(), "-f".to_owned(), "%M".to_owned()], self.words.clone()].concat();
        let output = self.command_of(&words).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let kilobytes: u64 = said.lines().last().unwrap().trim().parse().unwrap();
        format!("{} MiB", kilobytes / 1024)
    }
}

fn target() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-records");
    fs::create_dir_all(&target).unwrap();
    target
}
