//! Delays between attempts. The only user of the crate `backoff`, behind a pure function of attempt and random number.

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Opening, between passes: 1 minute, growing to 15.
    Opening,
    /// Closing, between passes: 15 seconds, growing to 2 minutes and never longer.
    Closing,
    /// A throttled call, within a pass: half a second, growing to 8.
    Throttled,
    /// Reading again after an outcome that is not known, within a pass: 1, 2, 4 seconds.
    Reobserve,
}

impl Retry {
    fn bounds(self) -> (Duration, Duration) {
        match self {
            Self::Opening => (Duration::from_secs(60), Duration::from_secs(15 * 60)),
            Self::Closing => (Duration::from_secs(15), Duration::from_secs(120)),
            Self::Throttled => (Duration::from_millis(500), Duration::from_secs(8)),
            Self::Reobserve => (Duration::from_secs(1), Duration::from_secs(4)),
        }
    }

    /// True if delays are spread out, so that many installations do not retry at once.
    fn jitter(self) -> bool {
        !matches!(self, Self::Reobserve)
    }
}

/// The delay before the attempt that follows `failures` failed ones (at least 1), with `random` in 0..1: doubling
/// from the lower bound to the upper; with jitter between half of that and all of it.
pub fn delay(retry: Retry, failures: u32, random: f64) -> Duration {
    let (first, longest) = retry.bounds();
    let mut policy: ExponentialBackoff = ExponentialBackoffBuilder::new()
        .with_initial_interval(first)
        .with_max_interval(longest)
        .with_multiplier(2.0)
        .with_randomization_factor(0.0)
        .with_max_elapsed_time(None)
        .build();
    // More doublings than this change nothing: the upper bound is reached.
    let steps = failures.clamp(1, 16);
    let full = (0..steps).filter_map(|_| policy.next_backoff()).last().unwrap_or(longest);
    if retry.jitter() { full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0) } else { full }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(retry: Retry, random: f64) -> Vec<f64> {
        (1..=6).map(|failures| delay(retry, failures, random).as_secs_f64()).collect()
    }

    #[test]
    fn delays_double_up_to_their_bound() {
        assert_eq!(seconds(Retry::Opening, 1.0), [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]);
        assert_eq!(seconds(Retry::Closing, 1.0), [15.0, 30.0, 60.0, 120.0, 120.0, 120.0]);
        assert_eq!(seconds(Retry::Reobserve, 0.3), [1.0, 2.0, 4.0, 4.0, 4.0, 4.0]);
    }

    #[test]
    fn jitter_takes_up_to_half_away() {
        assert_eq!(seconds(Retry::Closing, 0.0), [7.5, 15.0, 30.0, 60.0, 60.0, 60.0]);
    }

    #[test]
    fn closing_never_waits_longer_than_two_minutes() {
        assert!(delay(Retry::Closing, u32::MAX, 1.0) <= Duration::from_secs(120));
    }
}
