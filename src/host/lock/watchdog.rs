//! Ends a process that holds the lock and gets nowhere: a file on a mount that hangs, a terminal that takes no more, a
//! fault of ours. A thread of its own, since whatever blocks the runtime blocks everything that runs on it.

use crate::host::lock::Progress;
use crate::{
    error::{CommandError, Kind},
    ui::printer::error_line,
};
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
/// How long the last words may take: stderr may be what blocks.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Watchdog {
    over: Arc<AtomicBool>,
    thread: Thread,
}

impl Watchdog {
    /// Ends the process once nothing has been done for `limit` while it ran.
    pub(super) fn start(progress: Progress, limit: Duration, command: &str, json: bool) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let (heard, words) = (Arc::clone(&over), last_words(command, limit, json));
        let watch = move || {
            if stalls(&progress, limit, &heard) {
                leave(words);
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

/// Waits until nothing has been done for too long, or it is over.
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

/// For how long nothing has been done.
struct Idle {
    /// What had been done when something was done last.
    steps: u64,
    time: Duration,
}

impl Idle {
    /// The same after some more time. The time in which the process was stopped, or the machine slept, is not its own: of a
    /// tick that took much longer, only so much counts.
    fn after(&mut self, elapsed: Duration, steps: u64) -> Duration {
        let nothing = std::mem::replace(&mut self.steps, steps) == steps;
        self.time = if nothing { self.time + elapsed.min(TICK * 2) } else { Duration::ZERO };
        self.time
    }
}

fn last_words(command: &str, limit: Duration, json: bool) -> String {
    let message = format!(
        "`{command}` has made no progress for {} seconds while it held the lock, and was ended: something that it reads \
         or writes does not answer",
        limit.as_secs()
    );
    let hint = "a file on a mount that hangs (AWS_CONFIG_FILE, a token), or a terminal that is paused; what was asked is \
                on record, and the next `eg reconcile` goes on";
    error_line(&CommandError::new(Kind::Stalled, message).hint(hint), json)
}

/// Past every lock of this process, which the thread that is blocked may hold.
fn leave(words: String) -> ! {
    let (said, heard) = std::sync::mpsc::channel();
    let say = move || {
        if let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
            // There is nobody left to tell that it could not be said.
            File::from(stderr).write_all(words.as_bytes()).ok();
        }
        said.send(()).ok();
    };
    if thread::Builder::new().spawn(say).is_ok() {
        heard.recv_timeout(LAST_WORDS).ok();
    }
    signal_hook::low_level::exit(i32::from(Kind::Stalled.exit().code()))
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
