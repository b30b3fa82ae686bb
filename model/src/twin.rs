//! Twins: two machines with one installation id, such as a copied home directory, or containers from one image. Each
//! takes the lease tag of that id for its own, and writes its own time into it.
//!
//! | our tag on a rule that we hold | meaning |
//! |---|---|
//! | says the wanted time | nothing to do |
//! | says the time that we wrote last, and we want another by now | rewrite it |
//! | says another time than we wrote last, readings are settled, and no write of ours is open | overwritten: rewrite it, and record the time ([`Overwritten`]) |
//! | the same, [`LIMIT`] times, each a settle window after the one before | a twin: from now on the later of both times stands |
//!
//! A late write of ours, or a person who edits tags, overwrites a tag once, not again and again. The later time is the
//! right one to keep: our record closes the rule whatever its tag says, and with too early a time others would close a
//! rule that the twin still needs.

use crate::{SETTLE_WINDOW, Timestamp, lease::Lease, tags::lease_time};
use chrono::TimeDelta;
use std::{fmt, str::FromStr};

/// The number of times that a tag is overwritten before `eg` assumes a twin.
pub const LIMIT: u32 = 3;
/// The time for which `eg` assumes a twin after its last write.
const REMEMBERED: TimeDelta = TimeDelta::days(7);

/// The number of times that our tags were overwritten, and the last time; on record as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overwritten {
    times: u32,
    last: Timestamp,
}

impl Overwritten {
    /// Counts once more. Several tags, or several passes within a settle window, count once; `None`: nothing to count.
    pub fn again(before: Option<Self>, now: Timestamp) -> Option<Self> {
        match before.filter(|before| before.is_remembered(now)) {
            None => Some(Self { times: 1, last: now }),
            Some(Self { last, .. }) if (now - last).abs() < SETTLE_WINDOW => None,
            Some(Self { times, .. }) => Some(Self { times: times.saturating_add(1), last: now }),
        }
    }

    fn is_remembered(self, now: Timestamp) -> bool {
        (now - self.last).abs() <= REMEMBERED
    }

    /// True if `eg` assumes a twin.
    pub fn is_twin(self, now: Timestamp) -> bool {
        self.times >= LIMIT && self.is_remembered(now)
    }

    /// True if `eg` assumes the twin from this time on, and tells the user.
    pub fn is_news(self) -> bool {
        self.times == LIMIT
    }
}

impl fmt::Display for Overwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.times, self.last.to_rfc3339())
    }
}

impl FromStr for Overwritten {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (times, last) = text.split_once(' ').ok_or(())?;
        Ok(Self { times: times.parse().map_err(drop)?, last: last.parse().map_err(drop)? })
    }
}

/// True if our tag was overwritten: it is about to be rewritten with `until`, although that was written and confirmed
/// before. `lease` is the lease before the write.
pub fn was_overwritten(lease: &Lease, until: Timestamp) -> bool {
    lease.tagged_until == Some(until)
}

/// True if the time in our tag is a twin's and stands: later than ours, and not written by us.
pub(crate) fn stands(value: &str, until: Timestamp, lease: Option<&Lease>) -> bool {
    lease_time(value).is_some_and(|said| said > until && lease.is_some_and(|lease| lease.tagged_until != Some(said)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(1_772_150_400 + seconds, 0).unwrap()
    }

    #[test]
    fn a_twin_is_believed_in_after_three_settled_times() {
        let first = Overwritten::again(None, t(0)).unwrap();
        assert_eq!(Overwritten::again(Some(first), t(299)), None, "several tags, or several passes at once");
        assert_eq!(Overwritten::again(Some(first), t(-299)), None, "the clock stepped back");
        let second = Overwritten::again(Some(first), t(300)).unwrap();
        assert!(!second.is_twin(t(300)) && !second.is_news());
        let third = Overwritten::again(Some(second), t(900)).unwrap();
        assert!(third.is_twin(t(900)) && third.is_news());
        assert_eq!(third.to_string().parse(), Ok(third));
        let fourth = Overwritten::again(Some(third), t(86_400)).unwrap();
        assert!(fourth.is_twin(t(86_400)) && !fourth.is_news(), "told once");
        let week = 7 * 86_400;
        assert!(third.is_twin(t(900 + week)) && !third.is_twin(t(901 + week)));
        assert_eq!(Overwritten::again(Some(third), t(901 + week)), Overwritten::again(None, t(901 + week)));
        assert!("x".parse::<Overwritten>().is_err() && "3 soon".parse::<Overwritten>().is_err());
    }
}
