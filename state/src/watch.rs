//! An observer of every write: tests end the process there, or fake a full disk. A release has none.

use crate::error::StateError;
use std::{fmt, sync::Arc};

/// Called before and after every write transaction.
pub trait WriteObserver: Send + Sync {
    /// Before the transaction begins.
    ///
    /// # Errors
    /// The error that the transaction is to fail with; then nothing is written.
    fn before_write(&self) -> Result<(), StateError>;

    /// After the transaction, committed or not.
    fn after_write(&self);
}

/// An observer, or none.
#[derive(Clone, Default)]
pub struct Watch(Option<Arc<dyn WriteObserver>>);

impl Watch {
    /// Observed by this observer.
    #[must_use]
    pub fn by(observer: Arc<dyn WriteObserver>) -> Self {
        Self(Some(observer))
    }

    /// Makes a write under observation.
    pub(crate) fn around<T>(&self, write: impl FnOnce() -> Result<T, StateError>) -> Result<T, StateError> {
        let Some(observer) = &self.0 else { return write() };
        observer.before_write()?;
        let result = write();
        observer.after_write();
        result
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watch(observed)" } else { "Watch(none)" })
    }
}
