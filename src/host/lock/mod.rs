//! One pass at a time per state file: an advisory lock on `<state>.lock`, held during a pass only. The lock itself is
//! the operating system's, so a crash frees it. The file says who holds it, and its time of modification is when the
//! holder last made progress.
//!
//! | the holder | a pass that only closes | a pass that opens |
//! |---|---|---|
//! | makes progress | waits | waits |
//! | has made none for `STALL_LIMIT` and runs | its own watchdog ends it | waits |
//! | has made none for `STALL_LIMIT` and is stopped, or hangs in the kernel | goes past it | waits |
//!
//! Who goes past a holder takes `<state>.lock.2`, so that again one at a time does; past a holder of that one,
//! `<state>.lock.3`. Two passes at once are safe, because versions guard every write of the record (the exhaustive search
//! in `model/` runs two processes without a lock); that one of them opens nothing keeps them from getting in each
//! other's way.

pub mod holder;
pub mod progress;
pub mod watchdog;

pub(crate) use crate::host::lock::holder::{LockHolder, stalled_holder};
pub use crate::host::lock::progress::Progress;

use crate::host::lock::watchdog::Watchdog;
use crate::{
    error::{CommandError, Kind},
    host::{env::Env, signals::Interrupt},
};
use rustix::fs::OFlags;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// A holder of the lock that has made no progress for so long makes none any more. Every call and every wait of a pass
/// has a deadline far below.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(180);

/// How often a busy lock is tried again.
const POLL: Duration = Duration::from_millis(50);
/// How long to wait before saying who holds it, and before a holder that is stopped counts as stalled.
const SAY_AFTER: Duration = Duration::from_secs(1);
/// How long to look at any other holder before it counts as stalled. After a suspend every process looks so, until the call
/// that it waits for is answered or given up, ten seconds later at the latest.
const WAKING: Duration = Duration::from_secs(15);
/// How many holders one after the other may be stalled.
const GENERATIONS: u32 = 9;

/// A pass that asks for the lock.
pub(crate) struct LockRequest<'a> {
    pub(crate) env: &'a Env,
    pub(crate) state: &'a Path,
    /// What the holder is called while it holds the lock.
    pub(crate) command: &'a str,
    /// How long to wait for a holder that makes progress.
    pub(crate) wait: Duration,
    /// The pass has something to close, and goes past a holder that stalls.
    pub(crate) closes: bool,
    /// Its last words are JSON.
    pub(crate) json: bool,
}

/// Something to know about how the lock was had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockWarning {
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
}

pub struct PassLock {
    progress: Progress,
    warnings: Vec<LockWarning>,
    closes_only: bool,
    _watchdog: Option<Watchdog>,
}

impl PassLock {
    /// Another process may be at work: nothing may be opened.
    #[must_use]
    pub fn closes_only(&self) -> bool {
        self.closes_only
    }

    /// What the user should know about how it was had.
    #[must_use]
    pub fn warnings(&self) -> &[LockWarning] {
        &self.warnings
    }
}

impl Drop for PassLock {
    fn drop(&mut self) {
        // Nobody holds it any more, so nobody is named.
        if let Some(file) = self.progress.detach()
            && let Err(error) = file.set_len(0)
        {
            tracing::debug!("the lock still names this process: {error}");
        }
    }
}

fn lock_path(state: &Path, generation: u32) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".lock");
    if generation > 1 {
        name.push(format!(".{generation}"));
    }
    PathBuf::from(name)
}

fn failed(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::new(Kind::State, format!("the lock {} cannot be used: {error}", path.display()))
        .hint("check the permissions of the file and its directory")
}

/// Waits for the lock, at most `asked.wait`; `say` hears once who holds it.
///
/// # Errors
/// The lock was not had in time ([`Kind::Locked`]), a signal ended the wait, or its file cannot be used.
pub(crate) async fn acquire(
    asked: &LockRequest<'_>,
    interrupt: &Interrupt,
    say: impl Fn(&str),
) -> Result<PassLock, CommandError> {
    let started = Instant::now();
    let mut said = false;
    let mut watched = StalledHolders::new(started);
    loop {
        let busy = match try_generations(asked, &mut watched)? {
            Tried::Had(lock) => return Ok(lock),
            Tried::Busy(busy) => busy,
        };
        let waited = started.elapsed();
        // A holder that may be stalled is looked at for a moment, however short the wait.
        let wait = if asked.closes { asked.wait.max(watched.undecided_for(&busy)) } else { asked.wait };
        if waited >= wait {
            return Err(not_in_time(asked.env, &busy));
        }
        if waited >= SAY_AFTER && !said {
            said = true;
            say(&busy.text());
        }
        tokio::select! {
            () = sleep(POLL.min(wait - waited)) => {}
            () = interrupt.wait() => {
                let number = interrupt.asked().unwrap_or_default();
                let message = "stopped by a signal while waiting for another eg; what was asked stays on record";
                return Err(CommandError::new(Kind::Signal(number), message));
            }
        }
    }
}

fn not_in_time(env: &Env, busy: &LockHolder) -> CommandError {
    if !busy.is_stalled(env) {
        let message = format!("another eg is at work ({}) and did not finish in time", busy.text());
        return CommandError::new(Kind::Locked, message);
    }
    let message = format!("another eg ({}) {}; what opens waits for it", busy.text(), busy.how());
    busy.remedy().into_iter().fold(CommandError::new(Kind::Locked, message), CommandError::hint)
}

/// Holders that looked stalled, each with when it was first seen so.
struct StalledHolders {
    begun: Instant,
    seen: Vec<(LockHolder, Instant)>,
}

impl StalledHolders {
    fn new(begun: Instant) -> Self {
        Self { begun, seen: Vec::new() }
    }

    /// Whether a holder has looked stalled for long enough, without any sign of life since it was first seen so.
    fn is_stalled(&mut self, holder: &LockHolder) -> bool {
        if let Some((_, since)) = self.seen.iter().find(|(known, _)| holder.is_still(known)) {
            return since.elapsed() >= looked_at_for(holder);
        }
        self.seen.push((holder.clone(), Instant::now()));
        false
    }

    /// How long to wait in all, so that a holder that looks stalled is looked at for long enough; nothing for any other.
    fn undecided_for(&self, holder: &LockHolder) -> Duration {
        let seen = self.seen.iter().find(|(known, _)| holder.is_still(known));
        let until =
            |(_, since): &(LockHolder, Instant)| since.duration_since(self.begun) + looked_at_for(holder) + SAY_AFTER;
        seen.map(until).unwrap_or_default()
    }
}

/// How long a holder has to look stalled before it counts as that.
fn looked_at_for(holder: &LockHolder) -> Duration {
    if holder.is_stopped() { SAY_AFTER } else { WAKING }
}

enum Tried {
    Had(PassLock),
    Busy(LockHolder),
}

/// Tries the lock, and past a stalled holder the next one.
fn try_generations(asked: &LockRequest<'_>, watched: &mut StalledHolders) -> Result<Tried, CommandError> {
    let mut passed = Vec::new();
    for generation in 1..=GENERATIONS {
        let path = lock_path(asked.state, generation);
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if asked.closes => return Ok(Tried::Had(without_a_lock(asked, &path, &error, passed))),
            Err(error) => return Err(failed(&path, &error)),
        };
        match file.try_lock() {
            Ok(()) => return Ok(Tried::Had(hold(asked, file, &path, passed))),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if asked.closes => {
                return Ok(Tried::Had(without_a_lock(asked, &path, &error, passed)));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&path, &error)),
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
    // The lock is the operating system's; who holds it is only for people, and a full disk must not keep a rule open.
    if let Err(error) = sign(&mut file, asked.env, asked.command) {
        tracing::warn!("{} cannot say who holds it: {error}", path.display());
    }
    let warnings = passed.iter().map(going_past).collect();
    locked(asked, Some(file), warnings, !passed.is_empty())
}

/// Closing does not wait for a lock that cannot be had: not on a full disk or a read-only file system, where nothing can
/// be recorded anyway, and not where something stands in the place of its file.
fn without_a_lock(asked: &LockRequest<'_>, path: &Path, error: &std::io::Error, passed: Vec<LockHolder>) -> PassLock {
    let mut warnings: Vec<LockWarning> = passed.iter().map(going_past).collect();
    use ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    // Those are told by the record, which lies in the same directory.
    if !matches!(error.kind(), FileTooLarge | QuotaExceeded | ReadOnlyFilesystem | StorageFull) {
        let CommandError { message, hints, .. } = failed(path, error);
        warnings.push(LockWarning { message: format!("{message}; closing goes on, what opens waits"), hints });
    }
    locked(asked, None, warnings, true)
}

fn locked(asked: &LockRequest<'_>, file: Option<File>, warnings: Vec<LockWarning>, closes_only: bool) -> PassLock {
    let progress = asked.env.progress.clone();
    progress.attach(file, asked.env.clock());
    let watchdog = Watchdog::start(progress.clone(), asked.env.stall_limit, asked.command, asked.json);
    let watchdog = watchdog.map_err(|error| tracing::warn!("no watchdog looks after this pass: {error}")).ok();
    PassLock { progress, warnings, closes_only, _watchdog: watchdog }
}

fn going_past(holder: &LockHolder) -> LockWarning {
    let message =
        format!("another eg ({}) {}; closing goes on past it, what opens waits for it", holder.text(), holder.how());
    LockWarning { message, hints: holder.remedy() }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    open_file(options.read(true).write(true).create(true).truncate(false).mode(0o600), path)
}

/// For those who only look; makes nothing.
fn open_to_look(path: &Path) -> std::io::Result<File> {
    open_file(OpenOptions::new().read(true), path)
}

/// Not through a link, which others could have put there; and nothing but a regular file, on which no opening waits.
fn open_file(options: &mut OpenOptions, path: &Path) -> std::io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = options.custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("it is not a regular file")) }
}

fn sign(file: &mut File, env: &Env, command: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    write!(file, "pid {}, {command}, since {}", std::process::id(), env.now().format("%Y-%m-%d %H:%M:%S UTC"))
}
