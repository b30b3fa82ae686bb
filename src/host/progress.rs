//! The progress of a pass: noted at every answer of a provider, every write of the record and every target done. No timer
//! notes it, since a timer goes on while the pass hangs.

use crate::host::clock::Clock;
use std::{
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A holder of the lock that has made no progress for so long is stalled. Every call and every wait of a pass has a
/// deadline far below.
pub const STALL_LIMIT: Duration = Duration::from_secs(180);
/// The shortest time between two writes to the lock's file.
const BETWEEN: Duration = Duration::from_secs(1);

/// The progress of this process; all clones share it.
#[derive(Clone, Default)]
pub struct Progress(Arc<ProgressState>);

#[derive(Default)]
struct ProgressState {
    steps: AtomicU64,
    file: Mutex<Option<ProgressFile>>,
}

/// Tells other processes of the progress through the lock's file: its modification time takes no room on a full disk.
struct ProgressFile {
    file: File,
    clock: Clock,
    last: Option<Instant>,
}

impl Progress {
    pub fn note(&self) {
        self.0.steps.fetch_add(1, Ordering::SeqCst);
        if let Some(file) = &mut *self.file() {
            file.touch();
        }
    }

    /// The number of steps so far.
    pub(super) fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::SeqCst)
    }

    /// Shows progress in the lock's file from now on, if there is one.
    pub(super) fn attach(&self, file: Option<File>, clock: Clock) {
        *self.file() = file.map(|file| ProgressFile { file, clock, last: None });
        self.note();
    }

    /// Stops showing progress, and returns the file. It holds the lock until it is closed.
    pub(super) fn detach(&self) -> Option<File> {
        self.file().take().map(|shown| shown.file)
    }

    fn file(&self) -> MutexGuard<'_, Option<ProgressFile>> {
        self.0.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressFile {
    fn touch(&mut self) {
        if self.last.is_some_and(|last| last.elapsed() < BETWEEN) {
            return;
        }
        self.last = Some(Instant::now());
        let since = u64::try_from((self.clock)().timestamp()).unwrap_or_default();
        let now: SystemTime = UNIX_EPOCH + Duration::from_secs(since);
        if let Err(error) = self.file.set_modified(now) {
            tracing::debug!("progress cannot be shown to other processes: {error}");
        }
    }
}
