//! Fail points: before and after each write of the record, and before and after each call to a provider. Whatever
//! happens between two of them happens whole, or the next run finds it out; tests prove that at every single one.
//!
//! Debug builds abort, panic, find the disk full or find the record in use at the n-th of them (`EG_TEST_ABORT_AT`,
//! `EG_TEST_PANIC_AT`, `EG_TEST_FULL_AT`, `EG_TEST_BUSY_AT`). Release builds never do.

use crate::host::lock::Progress;
use eg_providers::CallObserver;
use eg_state::{StateError, WriteObserver};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Hears of every fail point, in order.
pub trait Failpoints: Send + Sync {
    /// A fail point is passed. May never return.
    fn pass(&self);

    /// The error of the next write, if it is to fail.
    fn refusal(&self) -> Option<StateError> {
        None
    }
}

/// Settings from the environment: the fail point to end at, the first write that finds the disk full, and the write that
/// finds the record in use; each is counted from 0.
pub(crate) struct FailpointSettings {
    abort_at: Option<u64>,
    panic_at: Option<u64>,
    full_at: Option<u64>,
    busy_at: Option<u64>,
    passed: AtomicU64,
    written: AtomicU64,
}

impl FailpointSettings {
    /// `None` if no variable is set.
    pub(crate) fn by(vars: &BTreeMap<String, String>) -> Option<Arc<dyn Failpoints>> {
        let number = |name: &str| vars.get(name).and_then(|text| text.parse().ok());
        let settings = Self {
            abort_at: number("EG_TEST_ABORT_AT"),
            panic_at: number("EG_TEST_PANIC_AT"),
            full_at: number("EG_TEST_FULL_AT"),
            busy_at: number("EG_TEST_BUSY_AT"),
            passed: AtomicU64::new(0),
            written: AtomicU64::new(0),
        };
        let anything = settings.abort_at.or(settings.panic_at).or(settings.full_at).or(settings.busy_at).is_some();
        anything.then(|| Arc::new(settings) as Arc<dyn Failpoints>)
    }
}

impl Failpoints for FailpointSettings {
    fn pass(&self) {
        let passed = Some(self.passed.fetch_add(1, Ordering::SeqCst));
        if passed == self.abort_at {
            std::process::abort();
        }
        #[expect(clippy::panic, reason = "a test says so")]
        if passed == self.panic_at {
            panic!("a test says so");
        }
    }

    fn refusal(&self) -> Option<StateError> {
        let number = self.written.fetch_add(1, Ordering::SeqCst);
        let (path, detail) = (PathBuf::new(), "a test says so".to_owned());
        match (self.full_at, self.busy_at) {
            (Some(from), _) if number >= from => Some(StateError::Full { path, detail }),
            (_, Some(at)) if number == at => Some(StateError::Busy { path, detail }),
            _ => None,
        }
    }
}

/// Fail points around every write of the record.
pub(crate) struct AtWrites(pub(crate) Arc<dyn Failpoints>);

impl WriteObserver for AtWrites {
    fn before_write(&self) -> Result<(), StateError> {
        self.0.pass();
        self.0.refusal().map_or(Ok(()), Err)
    }

    fn after_write(&self) {
        self.0.pass();
    }
}

/// Fail points around every call to a provider. Every answer, and every call that ended without one, is progress.
pub(crate) struct AtCalls {
    pub(crate) sentry: Option<Arc<dyn Failpoints>>,
    pub(crate) progress: Progress,
}

impl CallObserver for AtCalls {
    fn before_call(&self) {
        self.sentry.iter().for_each(|sentry| sentry.pass());
    }

    fn answered(&self) {
        self.progress.note();
    }

    fn after_call(&self) {
        self.progress.note();
        self.sentry.iter().for_each(|sentry| sentry.pass());
    }
}
