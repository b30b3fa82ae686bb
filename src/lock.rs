//! One pass at a time per state file: an advisory lock on `<state>.lock`, held during a pass only. The file says who
//! holds it; the lock itself is the operating system's, so a crash frees it.

use crate::{
    env::Env,
    error::{CommandError, Kind},
    output::text::escape_controls,
    signals::Interrupt,
};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How often a busy lock is tried again.
const POLL: Duration = Duration::from_millis(50);
/// How long to wait before saying who holds it.
const SAY_AFTER: Duration = Duration::from_secs(1);

/// The longest that the holder's own words can be, and then some.
const LONGEST: u64 = 200;

/// The lock, until dropped.
#[derive(Debug)]
pub struct PassLock {
    _file: File,
}

fn lock_path(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn failed(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::new(Kind::State, format!("the lock {} cannot be used: {error}", path.display()))
        .hint("check the permissions of the file and its directory")
}

/// Waits for the lock, at most `wait`; `say` hears once who holds it.
///
/// # Errors
/// The lock was not had in time ([`Kind::Locked`]), a signal ended the wait, or its file cannot be used.
pub async fn acquire(
    env: &Env,
    state: &Path,
    command: &str,
    wait: Duration,
    interrupt: &Interrupt,
    say: impl Fn(&str),
) -> Result<PassLock, CommandError> {
    let path = lock_path(state);
    let mut file = open(&path).map_err(|error| failed(&path, &error))?;
    let started = Instant::now();
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(failed(&path, &error)),
        }
        let waited = started.elapsed();
        if waited >= wait {
            let message = format!("another eg is at work ({}) and did not finish in time", holder(&path));
            return Err(CommandError::new(Kind::Locked, message));
        }
        if waited >= SAY_AFTER && !said {
            said = true;
            say(&holder(&path));
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
    // The lock is the operating system's; who holds it is only for people, and a full disk must not keep a rule open.
    if let Err(error) = sign(&mut file, env, command) {
        tracing::warn!("{} cannot say who holds it: {error}", path.display());
    }
    Ok(PassLock { _file: file })
}

/// The lock's file; where the disk is too full to make it, its directory, which can be locked as well.
fn open(path: &Path) -> std::io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    match opened {
        Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            File::open(path.parent().unwrap_or(path))
        }
        other => other,
    }
}

fn sign(file: &mut File, env: &Env, command: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    write!(file, "pid {}, {command}, since {}", std::process::id(), env.now().format("%Y-%m-%d %H:%M:%S UTC"))
}

/// Who holds it, as far as the file tells.
fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    match read {
        Ok(length) if length > 0 => escape_controls(&text),
        _ => "it does not say which".to_owned(),
    }
}
