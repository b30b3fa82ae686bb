//! Commands for work: a session around a command, one that is there when it is needed, everything or nothing, until a
//! time, and whether what is behind the firewall answers.

mod atomic;
mod check;
mod ensure;
mod recipes;
mod run;
mod until;

use crate::harness::World;
use serde_json::Value;
use std::{fs, path::Path, thread, time::Duration, time::Instant};

/// Every session on record, newest first.
#[track_caller]
fn sessions(world: &World) -> Vec<Value> {
    let list = world.eg(&["--output", "json", "session", "list", "--limit", "0"]).expect_code(0).json_as("sessions");
    list.as_array().unwrap().clone()
}

/// Waits for a file that another process writes.
fn appears(path: &Path) {
    let begin = Instant::now();
    while !path.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{} never came", path.display());
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a test's own command says and is told by.
struct Signs {
    up: std::path::PathBuf,
    go: std::path::PathBuf,
}

impl Signs {
    fn new(world: &World) -> Self {
        Self { up: world.dir().join("up"), go: world.dir().join("go") }
    }

    /// A shell script that says that it is up, and waits until it may go on.
    fn script(&self, first: &str, last: &str) -> String {
        let (up, go) = (self.up.display(), self.go.display());
        format!("{first}\n: > '{up}'\nwhile [ ! -e '{go}' ]; do sleep 0.02; done\n{last}")
    }

    fn wait(&self) {
        appears(&self.up);
    }

    fn go(&self) {
        fs::write(&self.go, "").unwrap();
    }
}
