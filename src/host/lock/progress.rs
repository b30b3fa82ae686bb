//! Whether a pass gets on: noted at every answer of a provider, every step on record and every target done. Not by a
//! timer, which would go on where nothing else does.

use crate::host::env::Clock;
use std::{
    fs::File,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How often others need to hear of it.
const BETWEEN: Duration = Duration::from_secs(1);

/// How far this process has come; one for all copies.
#[derive(Clone, Default)]
pub struct Progress(Arc<ProgressState>);

#[derive(Default)]
struct ProgressState {
    steps: AtomicU64,
    told: Mutex<Option<ProgressFile>>,
}

/// Where others hear of it: the time of modification of the lock's file takes no room on a full disk.
struct ProgressFile {
    file: File,
    clock: Clock,
    last: Option<Instant>,
}

impl Progress {
    pub fn note(&self) {
        self.0.steps.fetch_add(1, Ordering::SeqCst);
        if let Some(told) = &mut *self.0.told.lock().unwrap_or_else(PoisonError::into_inner) {
            told.tell();
        }
    }

    /// How often something was done.
    pub(super) fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::SeqCst)
    }

    /// From now on others hear of it through the lock's file, if there is one.
    pub(super) fn attach(&self, file: Option<File>, clock: Clock) {
        *self.0.told.lock().unwrap_or_else(PoisonError::into_inner) =
            file.map(|file| ProgressFile { file, clock, last: None });
        self.note();
    }

    /// They hear of it no more. The file, which holds the lock until it is closed.
    pub(super) fn detach(&self) -> Option<File> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner).take().map(|told| told.file)
    }
}

impl ProgressFile {
    fn tell(&mut self) {
        if self.last.is_some_and(|last| last.elapsed() < BETWEEN) {
            return;
        }
        self.last = Some(Instant::now());
        let since = u64::try_from((self.clock)().timestamp()).unwrap_or_default();
        let now: SystemTime = UNIX_EPOCH + Duration::from_secs(since);
        if let Err(error) = self.file.set_modified(now) {
            tracing::debug!("others cannot be told of progress: {error}");
        }
    }
}
