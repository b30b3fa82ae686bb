//! Ends a process that holds the lock and makes no progress: it reads a file on a mount that hangs, its terminal is paused,
//! or `eg` has a bug. The watchdog has a thread of its own, since a call that blocks the runtime blocks all its tasks.

use crate::host::progress::Progress;
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

const TICK: Duration = Duration::from_millis(500);
/// The longest that writing the last words may take: stderr may be the stream that blocks.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Watchdog {
    over: Arc<AtomicBool>,
    thread: Thread,
}

impl Watchdog {
    /// Ends the process, with these words on stderr and this exit status, once it has run for `limit` without progress.
    pub(super) fn start(progress: Progress, limit: Duration, (words, status): (String, u8)) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let released = Arc::clone(&over);
        let watch = move || {
            if stalls(&progress, limit, &released) {
                end(words, status);
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?.thread().clone();
        Ok(Self { over, thread })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Waits until the process has made no progress for too long (true), or the lock is released (false).
fn stalls(progress: &Progress, limit: Duration, over: &AtomicBool) -> bool {
    let (mut idle, mut at) = (Idle { steps: progress.steps(), time: Duration::ZERO }, Instant::now());
    while !over.load(Ordering::SeqCst) {
        let now = Instant::now();
        if idle.after(now.duration_since(at), progress.steps()) >= limit {
            return true;
        }
        at = now;
        thread::park_timeout(TICK);
    }
    false
}

/// The time since the last progress.
struct Idle {
    /// The number of steps at the last progress.
    steps: u64,
    time: Duration,
}

impl Idle {
    /// Adds some time. While the process is stopped or the machine sleeps, the process cannot make progress: of a tick that
    /// took much longer than planned, only twice the planned time counts.
    fn after(&mut self, elapsed: Duration, steps: u64) -> Duration {
        let nothing = std::mem::replace(&mut self.steps, steps) == steps;
        self.time = if nothing { self.time + elapsed.min(TICK * 2) } else { Duration::ZERO };
        self.time
    }
}

/// Exits without taking any lock of this process: the blocked thread may hold it.
fn end(words: String, status: u8) -> ! {
    let (said, heard) = std::sync::mpsc::channel();
    let say = move || {
        if let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
            // If this fails, no stream is left on which to report it.
            File::from(stderr).write_all(words.as_bytes()).ok();
        }
        said.send(()).ok();
    };
    if thread::Builder::new().spawn(say).is_ok() {
        heard.recv_timeout(LAST_WORDS).ok();
    }
    signal_hook::low_level::exit(i32::from(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_in_which_the_process_runs_and_does_nothing_counts() {
        let mut idle = Idle { steps: 7, time: Duration::ZERO };
        assert_eq!(idle.after(TICK, 7), TICK);
        assert_eq!(idle.after(TICK, 7), TICK * 2);
        assert_eq!(idle.after(TICK, 8), Duration::ZERO, "something was done");
        assert_eq!(idle.after(TICK, 8), TICK);
        assert_eq!(idle.after(Duration::from_secs(86_400), 8), TICK * 3, "it was stopped for a day");
    }

    #[test]
    fn it_ends_with_the_lock() {
        let over = AtomicBool::new(true);
        assert!(!stalls(&Progress::default(), Duration::ZERO, &over));
        over.store(false, Ordering::SeqCst);
        assert!(stalls(&Progress::default(), Duration::ZERO, &over));
    }
}
