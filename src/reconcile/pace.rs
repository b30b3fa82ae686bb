//! The pace of writes behind one route, learnt from throttling. AWS counts calls with a bucket of tokens: a burst is
//! accepted at once, and then as many calls a second as tokens come in. While the bucket is empty, the calls that succeed
//! show that rate.
//!
//! | state | a call is throttled | a call succeeds |
//! |---|---|---|
//! | free: calls go out at once | learning | free |
//! | learning, for a second: as free, and successes are counted | learning | learning; after the second: steady at 98 % of the rate that was seen |
//! | steady: one call at a time, evenly | a quarter slower, once a second at most | a hundredth faster after ten seconds without throttling |

use std::time::Duration;
use tokio::time::Instant;

const LEARNING: Duration = Duration::from_secs(1);
const CALM: Duration = Duration::from_secs(10);
/// Bounds of the time between two calls. A wrong guess must not flood the provider. And all targets in work must get their
/// turn while their readings are good, which is for ten seconds.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Pace {
    #[default]
    Free,
    Learning {
        since: Instant,
        succeeded: u32,
    },
    Steady {
        between: Duration,
        next: Instant,
        changed: Instant,
    },
}

impl Pace {
    /// The time at which the next call may go out, and the pace after it.
    pub(super) fn start(self, now: Instant) -> (Instant, Self) {
        match self {
            Self::Free | Self::Learning { .. } => (now, self),
            Self::Steady { between, next, changed } => {
                let at = next.max(now);
                (at, Self::Steady { between, next: at + between, changed })
            }
        }
    }

    pub(super) fn throttled(self, now: Instant) -> Self {
        match self {
            Self::Free => Self::Learning { since: now, succeeded: 0 },
            Self::Learning { since, succeeded } => Self::learnt(since, succeeded, now),
            Self::Steady { between, next, changed } if now - changed >= LEARNING => {
                Self::Steady { between: (between * 5 / 4).min(LONGEST), next, changed: now }
            }
            steady => steady,
        }
    }

    pub(super) fn succeeded(self, now: Instant) -> Self {
        match self {
            Self::Free => Self::Free,
            Self::Learning { since, succeeded } => Self::learnt(since, succeeded + 1, now),
            Self::Steady { between, next, changed } if now - changed >= CALM => {
                Self::Steady { between: (between * 99 / 100).max(SHORTEST), next, changed: now }
            }
            steady => steady,
        }
    }

    fn learnt(since: Instant, succeeded: u32, now: Instant) -> Self {
        let took = now - since;
        if took < LEARNING {
            return Self::Learning { since, succeeded };
        }
        let between = took.checked_div(succeeded).map_or(LONGEST, |between| between * 50 / 49);
        Self::Steady { between: between.clamp(SHORTEST, LONGEST), next: now, changed: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bucket of tokens on a clock of its own, and calls as fast as eight connections of 5 ms make them.
    fn burst(calls: u32, capacity: f64, rate: f64) -> (Duration, Vec<Duration>) {
        let begun = Instant::now();
        let (mut pace, mut tokens, mut filled) = (Pace::Free, capacity, begun);
        let (mut now, mut done, mut throttled) = (begun, 0, Vec::new());
        while done < calls {
            let (at, after) = pace.start(now);
            pace = after;
            now = at + Duration::from_micros(625);
            tokens = (tokens + (now - filled).as_secs_f64() * rate).min(capacity);
            filled = now;
            if tokens >= 1.0 {
                tokens -= 1.0;
                done += 1;
                pace = pace.succeeded(now);
            } else {
                throttled.push(now - begun);
                pace = pace.throttled(now);
            }
        }
        (now - begun, throttled)
    }

    #[test]
    fn a_thousand_calls_reach_the_rate_of_the_bucket() {
        for (capacity, rate) in [(50.0, 20.0), (100.0, 50.0), (200.0, 100.0)] {
            let (took, throttled) = burst(1000, capacity, rate);
            let least = (1000.0 - capacity) / rate;
            assert!(took.as_secs_f64() <= least / 0.9, "{rate} a second: {took:?} instead of {least} s");
            let first = throttled.first().copied().unwrap_or_default();
            let late: Vec<_> = throttled.iter().filter(|at| **at > first + Duration::from_millis(1100)).collect();
            assert!(late.is_empty(), "{rate} a second: throttled again {late:?}");
        }
    }

    #[test]
    fn without_throttling_nothing_waits() {
        let (took, throttled) = burst(1000, 2000.0, 100.0);
        assert!(throttled.is_empty() && took < Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn a_rate_that_falls_is_followed() {
        let now = Instant::now();
        let steady = Pace::Steady { between: Duration::from_millis(10), next: now, changed: now };
        let later = now + LEARNING;
        let Pace::Steady { between, .. } = steady.throttled(later).throttled(later) else { panic!("it was steady") };
        assert_eq!(between, Duration::from_micros(12_500), "once a second");
        let calm = now + CALM;
        let Pace::Steady { between, .. } = steady.succeeded(calm) else { panic!("it was steady") };
        assert_eq!(between, Duration::from_micros(9_900));
    }

    #[test]
    fn a_provider_that_lets_nothing_through_is_asked_twice_a_second() {
        let now = Instant::now();
        let learning = Pace::Free.throttled(now);
        let Pace::Steady { between, .. } = learning.throttled(now + LEARNING) else { panic!("a second is over") };
        assert_eq!(between, LONGEST);
    }
}
