//! One pass at a time for each state file: an advisory lock on `<state>.lock`, held during a pass only. The operating
//! system keeps the lock, so a crash frees it. The file names the holder, and its modification time is the time of the
//! holder's last progress.
//!
//! | the holder | a pass that only closes | a pass that opens |
//! |---|---|---|
//! | makes progress | waits | waits |
//! | has made none for `STALL_LIMIT` and runs | waits until the holder's own watchdog ends it | waits |
//! | has made none for `STALL_LIMIT` and is stopped, or hangs in the kernel | goes past it | waits |
//!
//! A pass that goes past a holder takes `<state>.lock.2`, so that only one pass at a time does so; past a holder of that
//! lock it takes `<state>.lock.3`. Two passes at once are safe, because versions guard every write of the record (the
//! exhaustive search in `model/` runs two processes without a lock). The pass that went past the lock opens nothing, so
//! the two do not undo each other's work.

use super::{
    file::{lock_path, open, sign},
    holder::LockHolder,
    watchdog::Watchdog,
};
use crate::host::{env::Env, progress::Progress, signals::Interrupt};
use std::{
    fs::{File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use tokio::time::{Instant, sleep};

/// The pause before a busy lock is tried again.
const POLL: Duration = Duration::from_millis(50);
/// The wait before the user is told who holds the lock, and before a stopped holder counts as stalled.
const SAY_AFTER: Duration = Duration::from_secs(1);
/// The time for which any other holder is watched before it counts as stalled. After a suspend every process looks stalled
/// until the call that it waits for is answered or given up, ten seconds later at the latest.
const WAKING: Duration = Duration::from_secs(15);
/// The most stalled holders that a pass goes past.
const GENERATIONS: u32 = 9;

/// A pass that asks for the lock.
pub(crate) struct LockRequest<'a> {
    pub(crate) env: &'a Env,
    pub(crate) state: &'a Path,
    /// The command that takes the lock, for the line that names the holder.
    pub(crate) command: &'a str,
    /// The longest wait for a holder that makes progress.
    pub(crate) wait: Duration,
    /// The pass has something to close, and goes past a stalled holder.
    pub(crate) closes: bool,
    /// Renders the error with which the watchdog ends the process, and gives the exit status.
    pub(crate) last_words: &'a dyn Fn(LockError) -> (String, u8),
}

/// Reason why a pass did not get the lock, or lost it.
#[derive(Debug, Error)]
pub(crate) enum LockError {
    #[error("the lock {} cannot be used: {error}", path.display())]
    Unusable { path: PathBuf, error: io::Error },
    #[error("another eg is at work ({0}) and did not finish in time")]
    Busy(String),
    #[error("another eg ({}) {}; what opens waits for it", .0.text(), .0.how())]
    Stalled(LockHolder),
    #[error("stopped by a signal while waiting for another eg; what was asked stays on record")]
    Signal(u8),
    /// The watchdog ends this process.
    #[error(
        "`{command}` has made no progress for {} seconds while it held the lock, and was ended: something that it reads or \
         writes does not answer",
        limit.as_secs()
    )]
    NoProgress { command: String, limit: Duration },
}

impl LockError {
    /// Advice for the user.
    pub(crate) fn remedy(&self) -> Vec<String> {
        match self {
            Self::Unusable { .. } => vec!["check the permissions of the file and its directory".to_owned()],
            Self::Stalled(holder) => holder.remedy(),
            Self::NoProgress { .. } => vec![
                "a file on a mount that hangs (AWS_CONFIG_FILE, a token), or a terminal that is paused; what was asked is \
                 on record, and the next `eg reconcile` goes on"
                    .to_owned(),
            ],
            Self::Busy(_) | Self::Signal(_) => Vec::new(),
        }
    }
}

/// A warning about how the lock was obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockWarning {
    pub message: String,
    pub hints: Vec<String>,
}

pub struct PassLock {
    progress: Progress,
    warnings: Vec<LockWarning>,
    closes_only: bool,
    _watchdog: Option<Watchdog>,
}

impl PassLock {
    /// True if another process may be at work: then the pass may open nothing.
    pub fn closes_only(&self) -> bool {
        self.closes_only
    }

    pub fn warnings(&self) -> &[LockWarning] {
        &self.warnings
    }
}

impl Drop for PassLock {
    fn drop(&mut self) {
        // The lock has no holder any more, so its file must not name one.
        if let Some(file) = self.progress.detach()
            && let Err(error) = file.set_len(0)
        {
            tracing::debug!("the lock still names this process: {error}");
        }
    }
}

/// Waits for the lock, at most `asked.wait`. `say` is told once who holds it.
pub(crate) async fn acquire(
    asked: &LockRequest<'_>,
    interrupt: &Interrupt,
    say: impl Fn(&str),
) -> Result<PassLock, LockError> {
    let started = Instant::now();
    let mut said = false;
    let mut watched = StalledHolders::new(started);
    loop {
        let busy = match try_generations(asked, &mut watched)? {
            Tried::Had(lock) => return Ok(lock),
            Tried::Busy(busy) => busy,
        };
        let waited = started.elapsed();
        // However short the wait, a holder that may be stalled is watched long enough to tell.
        let wait = if asked.closes { asked.wait.max(watched.undecided_for(&busy)) } else { asked.wait };
        if waited >= wait {
            return Err(match busy.is_stalled(asked.env) {
                true => LockError::Stalled(busy),
                false => LockError::Busy(busy.text()),
            });
        }
        if waited >= SAY_AFTER && !said {
            said = true;
            say(&busy.text());
        }
        tokio::select! {
            () = sleep(POLL.min(wait - waited)) => {}
            () = interrupt.wait() => return Err(LockError::Signal(interrupt.asked().unwrap_or_default())),
        }
    }
}

/// Holders that looked stalled, each with the time when it was first seen so.
struct StalledHolders {
    begun: Instant,
    seen: Vec<(LockHolder, Instant)>,
}

impl StalledHolders {
    fn new(begun: Instant) -> Self {
        Self { begun, seen: Vec::new() }
    }

    /// True if a holder has looked stalled for long enough, without a sign of life in between.
    fn is_stalled(&mut self, holder: &LockHolder) -> bool {
        if let Some((_, since)) = self.seen.iter().find(|(known, _)| holder.is_still(known)) {
            return since.elapsed() >= watch_time(holder);
        }
        self.seen.push((holder.clone(), Instant::now()));
        false
    }

    /// The total wait after which it is certain that this holder is stalled; zero for a holder that does not look stalled.
    fn undecided_for(&self, holder: &LockHolder) -> Duration {
        let seen = self.seen.iter().find(|(known, _)| holder.is_still(known));
        let until =
            |(_, since): &(LockHolder, Instant)| since.duration_since(self.begun) + watch_time(holder) + SAY_AFTER;
        seen.map(until).unwrap_or_default()
    }
}

/// The time for which a holder has to look stalled before it counts as stalled.
fn watch_time(holder: &LockHolder) -> Duration {
    if holder.is_stopped() { SAY_AFTER } else { WAKING }
}

enum Tried {
    Had(PassLock),
    Busy(LockHolder),
}

/// Tries the lock; if a stalled holder has it, tries the next one.
fn try_generations(asked: &LockRequest<'_>, watched: &mut StalledHolders) -> Result<Tried, LockError> {
    let mut passed = Vec::new();
    for generation in 1..=GENERATIONS {
        let path = lock_path(asked.state, generation);
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if asked.closes => return Ok(Tried::Had(without_a_lock(asked, path, error, passed))),
            Err(error) => return Err(LockError::Unusable { path, error }),
        };
        match file.try_lock() {
            Ok(()) => return Ok(Tried::Had(hold(asked, file, &path, passed))),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if asked.closes => {
                return Ok(Tried::Had(without_a_lock(asked, path, error, passed)));
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Unusable { path, error }),
        }
        let holder = LockHolder::read(&file, &path);
        let stalled = holder.is_stalled(asked.env) && watched.is_stalled(&holder);
        if !(asked.closes && stalled) || generation == GENERATIONS {
            return Ok(Tried::Busy(holder));
        }
        passed.push(holder);
    }
    Ok(Tried::Busy(LockHolder::default()))
}

fn hold(asked: &LockRequest<'_>, mut file: File, path: &Path, passed: Vec<LockHolder>) -> PassLock {
    // The operating system keeps the lock; the name of its holder is only for people. A full disk must not keep a rule open.
    if let Err(error) = sign(&mut file, asked.env, asked.command) {
        tracing::warn!("the holder's name could not be written to {}: {error}", path.display());
    }
    let warnings = passed.iter().map(going_past).collect();
    locked(asked, Some(file), warnings, !passed.is_empty())
}

/// Closing does not wait for a lock that cannot be taken: neither on a full disk or a read-only file system, where nothing
/// can be recorded anyway, nor if something else lies in the place of the lock's file.
fn without_a_lock(asked: &LockRequest<'_>, path: PathBuf, error: io::Error, passed: Vec<LockHolder>) -> PassLock {
    use ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let mut warnings: Vec<LockWarning> = passed.iter().map(going_past).collect();
    // The record lies in the same directory, and its own error reports these.
    if !matches!(error.kind(), FileTooLarge | QuotaExceeded | ReadOnlyFilesystem | StorageFull) {
        let error = LockError::Unusable { path, error };
        let message = format!("{error}; closing goes on, what opens waits");
        warnings.push(LockWarning { message, hints: error.remedy() });
    }
    locked(asked, None, warnings, true)
}

fn locked(asked: &LockRequest<'_>, file: Option<File>, warnings: Vec<LockWarning>, closes_only: bool) -> PassLock {
    let progress = asked.env.progress.clone();
    progress.attach(file, asked.env.clock());
    let limit = asked.env.stall_limit;
    let last_words = (asked.last_words)(LockError::NoProgress { command: asked.command.to_owned(), limit });
    let watchdog = Watchdog::start(progress.clone(), limit, last_words);
    let watchdog = watchdog.map_err(|error| tracing::warn!("the pass runs without a watchdog: {error}")).ok();
    PassLock { progress, warnings, closes_only, _watchdog: watchdog }
}

fn going_past(holder: &LockHolder) -> LockWarning {
    let message =
        format!("another eg ({}) {}; closing goes on past it, what opens waits for it", holder.text(), holder.how());
    LockWarning { message, hints: holder.remedy() }
}
