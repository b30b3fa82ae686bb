//! The process that holds the lock: its name, its state, and the advice for one that makes no progress.

use super::file::{lock_path, open_to_look};
use crate::host::{env::Env, progress::STALL_LIMIT};
use chrono::{DateTime, TimeDelta};
use eg_model::{Timestamp, text::escape_controls};
use std::{
    fs::{File, TryLockError},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// The most bytes that are read of the holder's line; it is always shorter.
const LONGEST: usize = 200;

/// A holder, as far as the lock's file and the operating system describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LockHolder {
    /// The line in the lock's file: process id, command, since when. Empty if the holder could not write it.
    line: String,
    /// The time of its last progress.
    pub(crate) progress: Option<Timestamp>,
    pub(crate) pid: Option<u32>,
    /// The operating system's letter for its state (`R`, `S`, `D`, `T`); on Linux only.
    pub(crate) state: Option<char>,
}

impl LockHolder {
    /// The holder of the lock on this file.
    pub(super) fn read(file: &File, path: &Path) -> Self {
        let mut bytes = [0; LONGEST];
        let length = file.read_at(&mut bytes, 0).unwrap_or_default();
        let line = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
        let modified = file.metadata().and_then(|found| found.modified()).ok();
        let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let progress = since.and_then(|since| DateTime::from_timestamp(i64::try_from(since.as_secs()).ok()?, 0));
        let claimed: Option<u32> = line.strip_prefix("pid ").and_then(|rest| rest.split(',').next()?.parse().ok());
        let state = claimed.and_then(state_of);
        if !cfg!(target_os = "linux") {
            return Self { line, progress, pid: claimed, state };
        }
        // If the holder could not write its line, the line may be an earlier holder's. If the holder runs in another
        // container, its process id may be that of an unrelated process here, which the user must not be told to end.
        let pid = claimed.filter(|pid| has_open(*pid, path));
        let line = if state.is_some() { line } else { String::new() };
        Self { line, progress, pid, state: state.filter(|_| pid.is_some()) }
    }

    /// True if it shows no sign of life since `other` was read.
    pub(super) fn is_still(&self, other: &Self) -> bool {
        (&self.line, self.progress) == (&other.line, other.progress)
    }

    /// True if it was stopped (it does nothing until SIGCONT), or has ended.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, Some('T' | 't' | 'Z' | 'X'))
    }

    /// True if it has made no progress for too long. A time of progress that far in the future counts too: the clock was set
    /// back, and the time says nothing.
    pub(crate) fn is_stalled(&self, env: &Env) -> bool {
        let limit = TimeDelta::from_std(STALL_LIMIT).unwrap_or(TimeDelta::MAX);
        self.progress.is_some_and(|progress| (env.now() - progress).abs() >= limit)
    }

    pub(crate) fn text(&self) -> String {
        if self.line.is_empty() { "it does not say which".to_owned() } else { escape_controls(&self.line) }
    }

    /// Describes its state, to follow "another eg (…)". The same text as long as the state stays the same.
    pub(crate) fn how(&self) -> String {
        let since =
            self.progress.map(|at| format!(" since {}", at.format("%Y-%m-%d %H:%M:%S UTC"))).unwrap_or_default();
        let state = match self.state {
            Some(state @ ('T' | 't')) => format!("is stopped (state {state}) and "),
            Some('D') => "hangs in the kernel (state D) and ".to_owned(),
            Some(state @ ('Z' | 'X')) => format!("has ended (state {state}) and "),
            Some(_) | None => String::new(),
        };
        format!("{state}has made no progress{since}")
    }

    /// Advice for the user.
    pub(crate) fn remedy(&self) -> Vec<String> {
        let Some(pid) = self.pid else {
            return vec!["find the process with `fuser -v` on the lock's file, and end it".to_owned()];
        };
        match self.state {
            Some('T' | 't') => vec![format!("let it go on with: kill -CONT {pid}; or end it with: kill -KILL {pid}")],
            Some('D') => vec![format!(
                "it waits for a disk or a mount that does not answer; end it once that does: kill -KILL {pid}"
            )],
            _ => vec![format!("end it with: kill {pid}; if it stays: kill -KILL {pid}")],
        }
    }
}

/// The state of a process (proc_pid_stat(5): after the name in brackets, which may hold brackets itself).
fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// True if a process has a file of this name open. Only the names of its files are read: opening a file on a mount that
/// hangs would hang too.
fn has_open(pid: u32, path: &Path) -> bool {
    let named = |link: PathBuf| link.file_name() == path.file_name();
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"));
    entries.is_ok_and(|mut entries| {
        entries.any(|entry| entry.and_then(|entry| std::fs::read_link(entry.path())).is_ok_and(named))
    })
}

/// The holder of the lock, if it has made no progress for too long; for commands that do not take the lock. The lock itself
/// is tried last, because the trial holds the lock for a moment.
pub(crate) fn stalled_holder(env: &Env, state: &Path) -> Option<LockHolder> {
    let path = lock_path(state, 1);
    let file = open_to_look(&path).ok()?;
    let holder = LockHolder::read(&file, &path);
    let held = || matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    (holder.pid.is_some() && holder.is_stalled(env) && held()).then_some(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(state: Option<char>) -> LockHolder {
        let line = "pid 77, eg session start, since 2026-02-27 10:00:00 UTC".to_owned();
        LockHolder { line, progress: DateTime::from_timestamp(1_772_186_520, 0), pid: Some(77), state }
    }

    #[test]
    fn each_state_has_its_words_and_its_remedy() {
        for (state, how, remedy) in [
            (Some('T'), "is stopped (state T) and has made no progress since 2026-02-27 10:02:00 UTC", "kill -CONT 77"),
            (Some('D'), "hangs in the kernel (state D) and has made no progress", "a mount that does not answer"),
            (Some('S'), "has made no progress since", "kill 77"),
            (None, "has made no progress since", "kill 77"),
        ] {
            let holder = holder(state);
            assert!(holder.how().starts_with(how), "{}", holder.how());
            assert!(holder.remedy()[0].contains(remedy), "{:?}", holder.remedy());
        }
    }

    #[test]
    fn the_state_of_this_process() {
        if cfg!(target_os = "linux") {
            assert!(matches!(state_of(std::process::id()), Some('R' | 'S')));
        }
        assert_eq!(state_of(u32::MAX), None);
    }

    /// The line may be an earlier holder's, and its process id another process's.
    #[test]
    fn words_are_believed_of_a_process_that_has_the_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db.lock");
        let read = |words: &str| {
            std::fs::write(&path, words).unwrap();
            LockHolder::read(&File::open(&path).unwrap(), &path)
        };
        let here = format!("pid {}, eg reconcile, since then", std::process::id());
        assert_eq!((read(&here).pid, read(&here).text()), (Some(std::process::id()), here));
        assert_eq!(read("").text(), "it does not say which");
        if cfg!(target_os = "linux") {
            let gone = read("pid 4294967295, eg reconcile, since then");
            assert_eq!((gone.pid, gone.state, gone.text().as_str()), (None, None, "it does not say which"));
            let another = read("pid 1, eg reconcile, since then");
            assert_eq!(
                (another.pid, another.state, another.text().as_str()),
                (None, None, "pid 1, eg reconcile, since then")
            );
            assert!(another.remedy()[0].contains("fuser -v"), "{:?}", another.remedy());
        }
    }
}
