//! The wall clock, and the waits of a pass. Tests replace both.

use chrono::{DateTime, TimeDelta};
pub use eg_providers::aws::Clock;
use futures_util::future::BoxFuture;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Waits for a time before a call or a reading is repeated.
pub type Pause = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

pub(super) fn wall_clock(offset: TimeDelta) -> Clock {
    Arc::new(move || {
        #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        DateTime::from_timestamp(seconds, 0).unwrap_or_default() + offset
    })
}
