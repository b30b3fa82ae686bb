//! Token buckets.

use crate::settings::RateLimit;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// The tokens left in each bucket, and the time when they were counted.
#[derive(Debug, Default)]
pub(crate) struct Buckets(BTreeMap<String, (f64, DateTime<Utc>)>);

impl Buckets {
    /// Takes one token; `false` when there is none.
    pub(crate) fn take(&mut self, name: String, limit: RateLimit, now: DateTime<Utc>) -> bool {
        let (left, seen) = self.0.entry(name).or_insert((limit.capacity, now));
        let passed = now.signed_duration_since(*seen).to_std().unwrap_or_default().as_secs_f64();
        *left = (*left + passed * limit.per_second).min(limit.capacity);
        *seen = now;
        let enough = *left >= 1.0;
        if enough {
            *left -= 1.0;
        }
        enough
    }

    pub(crate) fn refill(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_bucket_empties_and_fills() {
        let limit = RateLimit { capacity: 2.0, per_second: 0.5 };
        let mut buckets = Buckets::default();
        let mut take =
            |seconds| buckets.take("a".to_owned(), limit, DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds));
        assert_eq!([take(0), take(0), take(0), take(1), take(2), take(2)], [true, true, false, false, true, false]);
        assert_eq!([take(100), take(100), take(100)], [true, true, false]);
    }
}
