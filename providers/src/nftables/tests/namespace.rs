//! A network namespace that a test makes, and that ends with it.

use crate::program::write_program;
use rustix::process::geteuid;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// A namespace lives as long as a process is in it. This one ends by itself if the test does not end it.
const SECONDS: &str = "600";

pub struct Namespace {
    holder: Child,
    dir: TempDir,
}

impl Namespace {
    /// `None`, with the reason on stderr, if this machine cannot make one.
    pub fn new() -> Option<Self> {
        let skipped = |why: &str| eprintln!("SKIPPED: network namespaces: {why}");
        let found = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"].iter().any(|path| fs::metadata(path).is_ok());
        if !found {
            skipped("nft is not installed");
            return None;
        }
        // Users who are not root may have namespaces in a user namespace of their own.
        let new = if geteuid().is_root() { "-n" } else { "-Urn" };
        let holder = Command::new("unshare")
            .args([new, "sh", "-c", "echo ready; exec sleep \"$1\"", "sh", SECONDS])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut holder = match holder {
            Ok(holder) => holder,
            Err(error) => {
                skipped(&format!("unshare cannot be run: {error}"));
                return None;
            }
        };
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            let said = holder.wait_with_output().unwrap();
            skipped(String::from_utf8_lossy(&said.stderr).trim());
            return None;
        }
        Some(Self { holder, dir: tempfile::tempdir().unwrap() })
    }

    fn enter(&self) -> String {
        let user = if geteuid().is_root() { "" } else { "-U --preserve-credentials " };
        format!("nsenter -t {} {user}-n --", self.holder.id())
    }

    fn script(&self, name: &str, command: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        if !path.exists() {
            write_program(&path, &format!("exec {command} \"$@\""));
        }
        path
    }

    /// A program that runs `nft` in the namespace.
    pub fn program(&self) -> PathBuf {
        self.script("nft", &format!("{} nft", self.enter()))
    }

    /// The same for a user without rights; `None` if the test itself has none to give up.
    pub fn program_of_nobody(&self) -> Option<PathBuf> {
        let root = geteuid().is_root();
        if !root {
            eprintln!("SKIPPED: only root can become another user");
        }
        let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all";
        root.then(|| self.script("nft-of-nobody", &format!("{} {nobody} nft", self.enter())))
    }

    /// Runs commands of nft as a person would, and returns what they print.
    pub fn nft(&self, commands: &str) -> Vec<u8> {
        let ran = Command::new(self.program()).arg(commands).output().unwrap();
        assert!(ran.status.success(), "{commands}: {}", String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
