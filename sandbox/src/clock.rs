//! The sandbox's clock comes in from outside, so that a test can move it.

use chrono::{DateTime, TimeDelta, Utc};
use std::sync::{Arc, Mutex, PoisonError};

/// Tells the sandbox what time it is.
pub type SandboxClock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// A clock that stands still until it is moved.
#[derive(Clone, Debug)]
pub struct HandClock(Arc<Mutex<DateTime<Utc>>>);

impl HandClock {
    pub fn at(start: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(start)))
    }

    /// Moves it; back as well.
    pub fn advance(&self, by: TimeDelta) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add_signed(by).unwrap_or(*now);
    }

    pub fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn clock(&self) -> SandboxClock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}
