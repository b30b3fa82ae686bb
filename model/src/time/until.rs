//! The end of a session, as users write it: a local time of day, a local date and time, or RFC 3339.
//!
//! | written | means |
//! |---|---|
//! | `18:00`, `9:30`, `18:00:30` | the next time that the local clock shows it |
//! | `2026-02-27 18:00`, `2026-02-27T18:00:00` | that moment on the local clock |
//! | `2026-02-27T18:00:00Z`, `…+01:00` | exactly that moment |
//!
//! A local time that the clock skips (it goes forward) is refused: its meaning is unknown. A local time that the clock
//! shows twice (it goes back) means the earlier moment that is still ahead, since that closes sooner.

use crate::{
    Timestamp,
    time::duration::{MIN, Written, remaining},
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use thiserror::Error;

/// The forms that [`parse_until`] reads, for help and error messages.
pub const ACCEPTED: &str = "a local time (18:00), a local date and time (2026-02-27 18:00), or RFC 3339";

/// Offsets of a zone from UTC are less than this, and it changes them less often.
const DAY: TimeDelta = TimeDelta::days(1);

/// The reason why a moment is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UntilError {
    #[error("\"{text}\" is not a time: use {ACCEPTED}")]
    Malformed { text: String },
    /// The local clock goes past it.
    #[error("\"{text}\" does not exist on {date}: the clock goes forward past it; use a time before or after that")]
    Skipped { text: String, date: NaiveDate },
    #[error("\"{text}\" has passed")]
    Passed { text: String },
    #[error("\"{text}\" is less than 1m ahead, and that is the shortest duration")]
    TooSoon { text: String },
    #[error("\"{text}\" is {ahead} ahead, longer than max_duration ({limit})")]
    TooFar {
        text: String,
        /// The distance, in minutes rounded up.
        ahead: String,
        limit: String,
    },
}

/// Reads a moment after `now`. `offset` is the lead of the local clock on UTC at a moment.
///
/// # Errors
/// Text that is not of the module's grammar, a local time that is skipped, or a moment that is not after `now`.
pub fn parse_until(
    text: &str,
    now: Timestamp,
    offset: &dyn Fn(Timestamp) -> TimeDelta,
) -> Result<Timestamp, UntilError> {
    let given = || text.to_owned();
    if let Some(time) = time_of_day(text) {
        return next(text, time, now, offset);
    }
    let candidates = match date_and_time(text) {
        Some(local) => moments(local, offset).ok_or_else(|| UntilError::Skipped { text: given(), date: local.date() }),
        None => rfc3339(text).map(|at| vec![at]).ok_or_else(|| UntilError::Malformed { text: given() }),
    };
    candidates?.into_iter().find(|at| *at > now).ok_or_else(|| UntilError::Passed { text: given() })
}

/// Refuses a moment that is not from [`MIN`] to `max` ahead of `now`. `text` is the text from the user.
///
/// # Errors
/// It is too soon, or too far.
pub fn check_ahead(text: &str, at: Timestamp, now: Timestamp, max: &Written) -> Result<(), UntilError> {
    let text = text.to_owned();
    match at - now {
        short if short < MIN => Err(UntilError::TooSoon { text }),
        long if long > max.length => {
            Err(UntilError::TooFar { text, ahead: remaining(now, at), limit: max.to_string() })
        }
        _ => Ok(()),
    }
}

/// The next moment after `now` at which the local clock shows `time`.
fn next(
    text: &str,
    time: NaiveTime,
    now: Timestamp,
    offset: &dyn Fn(Timestamp) -> TimeDelta,
) -> Result<Timestamp, UntilError> {
    let today = local(now, offset);
    // A zone that skips a whole day has the time on the third.
    for days in 0..3 {
        let Some(day) = today.and_then(|today| today.date().checked_add_signed(TimeDelta::days(days))) else { break };
        let wanted = day.and_time(time);
        match moments(wanted, offset) {
            None if today.is_some_and(|today| wanted <= today) => {}
            None => return Err(UntilError::Skipped { text: text.to_owned(), date: day }),
            Some(moments) => {
                if let Some(at) = moments.into_iter().find(|at| *at > now) {
                    return Ok(at);
                }
            }
        }
    }
    Err(UntilError::Passed { text: text.to_owned() })
}

fn local(at: Timestamp, offset: &dyn Fn(Timestamp) -> TimeDelta) -> Option<NaiveDateTime> {
    at.naive_utc().checked_add_signed(offset(at))
}

/// The moments at which the local clock shows `wanted`, in order; `None` if it never does.
fn moments(wanted: NaiveDateTime, offset: &dyn Fn(Timestamp) -> TimeDelta) -> Option<Vec<Timestamp>> {
    let near = wanted.and_utc();
    let around = [near.checked_sub_signed(DAY), Some(near), near.checked_add_signed(DAY)];
    let tried = around.into_iter().flatten().filter_map(|at| near.checked_sub_signed(offset(at)));
    let mut found: Vec<Timestamp> = tried.filter(|at| local(*at, offset) == Some(wanted)).collect();
    found.sort_unstable();
    found.dedup();
    (!found.is_empty()).then_some(found)
}

/// `H:MM` or `HH:MM`, with or without seconds.
fn time_of_day(text: &str) -> Option<NaiveTime> {
    let mut parts = text.split(':');
    let hour = number(parts.next()?, 1..=2)?;
    let minute = number(parts.next()?, 2..=2)?;
    let second = parts.next().map_or(Some(0), |part| number(part, 2..=2))?;
    let time = NaiveTime::from_hms_opt(hour, minute, second)?;
    parts.next().is_none().then_some(time)
}

/// `YYYY-MM-DD`, a space or a `T`, and a time of day.
fn date_and_time(text: &str) -> Option<NaiveDateTime> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut parts = date.split('-');
    let year = i32::try_from(number(parts.next()?, 4..=4)?).ok()?;
    let month = number(parts.next()?, 2..=2)?;
    let day = number(parts.next()?, 2..=2)?;
    let date = NaiveDate::from_ymd_opt(year, month, day)?;
    parts.next().is_none().then(|| Some(date.and_time(time_of_day(time)?)))?
}

/// With an offset, and in whole seconds.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    (at.nanosecond() == 0).then(|| at.with_timezone(&Utc))
}

fn number(digits: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let fits = lengths.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ops::Range, sync::LazyLock};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Berlin in 2026: one hour ahead, two from 29 March 01:00 UTC to 25 October 01:00 UTC.
    fn berlin(time: Timestamp) -> TimeDelta {
        static SUMMER: LazyLock<Range<Timestamp>> =
            LazyLock::new(|| at("2026-03-29T01:00:00Z")..at("2026-10-25T01:00:00Z"));
        TimeDelta::hours(if SUMMER.contains(&time) { 2 } else { 1 })
    }

    fn utc(_: Timestamp) -> TimeDelta {
        TimeDelta::zero()
    }

    fn until(text: &str, now: &str) -> Result<String, UntilError> {
        parse_until(text, at(now), &berlin).map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    fn refusal(text: &str, now: &str) -> String {
        until(text, now).unwrap_err().to_string()
    }

    #[test]
    fn the_next_time_that_the_clock_shows_it() {
        for (text, now, expected) in [
            ("18:00", "2026-02-27T10:00:00Z", "2026-02-27T17:00:00Z"),
            ("18:00", "2026-02-27T16:59:59Z", "2026-02-27T17:00:00Z"),
            ("18:00", "2026-02-27T17:00:00Z", "2026-02-28T17:00:00Z"),
            ("9:30", "2026-02-27T10:00:00Z", "2026-02-28T08:30:00Z"),
            ("00:00", "2026-02-27T10:00:00Z", "2026-02-27T23:00:00Z"),
            ("0:15", "2026-02-27T23:10:00Z", "2026-02-27T23:15:00Z"),
            ("18:00:30", "2026-02-27T17:00:00Z", "2026-02-27T17:00:30Z"),
            // Over the change of the clocks, either way.
            ("18:00", "2026-03-28T17:30:00Z", "2026-03-29T16:00:00Z"),
            ("18:00", "2026-10-24T16:30:00Z", "2026-10-25T17:00:00Z"),
        ] {
            assert_eq!(until(text, now).as_deref(), Ok(expected), "{text} at {now}");
        }
    }

    #[test]
    fn a_date_with_a_time() {
        let now = "2026-02-27T10:00:00Z";
        for (text, expected) in [
            ("2026-02-27 18:00", "2026-02-27T17:00:00Z"),
            ("2026-02-27T18:00", "2026-02-27T17:00:00Z"),
            ("2026-02-28 18:00:05", "2026-02-28T17:00:05Z"),
            ("2026-07-01 18:00", "2026-07-01T16:00:00Z"),
            ("2026-02-27T18:00:00Z", "2026-02-27T18:00:00Z"),
            ("2026-02-27T18:00:00+05:30", "2026-02-27T12:30:00Z"),
            ("2026-02-27T18:00:00.000Z", "2026-02-27T18:00:00Z"),
        ] {
            assert_eq!(until(text, now).as_deref(), Ok(expected), "{text}");
        }
        for text in ["2026-02-27 11:00", "2026-02-27 10:59", "2025-02-27 18:00", "2026-02-27T10:00:00Z"] {
            assert_eq!(refusal(text, now), format!("\"{text}\" has passed"));
        }
    }

    #[test]
    fn what_is_not_of_the_grammar() {
        for text in [
            "",
            " ",
            "18",
            "18:0",
            "1800",
            "6pm",
            "24:00",
            "18:60",
            "18:00:60",
            "18:00:00:00",
            " 18:00",
            "18:00 ",
            "+8:00",
            "-8:00",
            "018:00",
            "18:٠٠",
            "tomorrow",
            "2026-02-30 18:00",
            "2026-13-01 18:00",
            "26-02-27 18:00",
            "2026-2-27 18:00",
            "2026-02-27",
            "2026-02-27  18:00",
            "2026-02-27-01 18:00",
            "2026-02-27T18:00:00.5Z",
            "2026-02-27T23:59:60Z",
            "2026-02-27T18:00Z",
            "8h",
        ] {
            let malformed = UntilError::Malformed { text: text.to_owned() };
            assert_eq!(until(text, "2026-02-27T10:00:00Z"), Err(malformed), "{text:?}");
        }
        assert_eq!(
            refusal("6pm", "2026-02-27T10:00:00Z"),
            "\"6pm\" is not a time: use a local time (18:00), a local date and time (2026-02-27 18:00), or RFC 3339"
        );
    }

    #[test]
    fn a_time_that_the_clock_skips() {
        // On 29 March 2026 the clock goes from 02:00 to 03:00.
        let skipped =
            "\"2:30\" does not exist on 2026-03-29: the clock goes forward past it; use a time before or after that";
        assert_eq!(refusal("2:30", "2026-03-28T22:00:00Z"), skipped);
        assert!(refusal("2026-03-29 02:00", "2026-03-28T22:00:00Z").contains("does not exist on 2026-03-29"));
        assert!(refusal("2026-03-29 02:59:59", "2026-03-28T22:00:00Z").contains("does not exist"));
        assert_eq!(until("3:00", "2026-03-28T22:00:00Z").as_deref(), Ok("2026-03-29T01:00:00Z"));
        assert_eq!(until("1:59", "2026-03-28T22:00:00Z").as_deref(), Ok("2026-03-29T00:59:00Z"));
        // Past times do not count.
        assert_eq!(until("2:30", "2026-03-29T01:00:00Z").as_deref(), Ok("2026-03-30T00:30:00Z"));
        assert_eq!(until("2:30", "2026-03-28T01:00:00Z").as_deref(), Ok("2026-03-28T01:30:00Z"));
    }

    #[test]
    fn a_time_that_the_clock_shows_twice() {
        // On 25 October 2026 it goes from 03:00 back to 02:00: 02:30 is at 00:30 and at 01:30 UTC.
        for (text, now, expected) in [
            ("2:30", "2026-10-24T22:00:00Z", "2026-10-25T00:30:00Z"),
            ("2:30", "2026-10-25T00:29:59Z", "2026-10-25T00:30:00Z"),
            ("2:30", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
            ("2:30", "2026-10-25T00:45:00Z", "2026-10-25T01:30:00Z"),
            ("2:30", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"),
            ("2026-10-25 02:30", "2026-10-24T22:00:00Z", "2026-10-25T00:30:00Z"),
            ("2026-10-25 02:30", "2026-10-25T00:45:00Z", "2026-10-25T01:30:00Z"),
            ("2026-10-25T02:30:00+01:00", "2026-10-24T22:00:00Z", "2026-10-25T01:30:00Z"),
        ] {
            assert_eq!(until(text, now).as_deref(), Ok(expected), "{text} at {now}");
        }
    }

    #[test]
    fn how_far_ahead() {
        let now = at("2026-02-27T10:00:00Z");
        let max = Written::new(TimeDelta::hours(8), "8h");
        let check = |text: &str| check_ahead(text, parse_until(text, now, &utc).unwrap(), now, &max);
        assert_eq!(check("18:00"), Ok(()));
        assert_eq!(check("10:01"), Ok(()));
        assert_eq!(
            check("10:00:59").unwrap_err().to_string(),
            "\"10:00:59\" is less than 1m ahead, and that is the shortest duration"
        );
        assert_eq!(
            check("18:00:01").unwrap_err().to_string(),
            "\"18:00:01\" is 8h 1m ahead, longer than max_duration (8h)"
        );
        assert_eq!(check("9:00").unwrap_err().to_string(), "\"9:00\" is 23h 0m ahead, longer than max_duration (8h)");
    }

    #[test]
    fn the_ends_of_time() {
        for now in [Timestamp::MIN_UTC, Timestamp::MAX_UTC] {
            for text in ["18:00", "0001-01-01 00:00", "9999-12-31 23:59", "0000-01-01T00:00:00Z"] {
                // Neither has to be read, but neither may end the program.
                if let Ok(at) = parse_until(text, now, &berlin) {
                    assert!(at > now, "{text}");
                }
            }
        }
    }

    /// Every local time of the year is found again.
    #[test]
    fn every_ten_minutes_of_a_year() {
        let begin = at("2026-01-01T00:00:00Z");
        for minute in (0..365 * 24 * 60).step_by(10) {
            let time = begin + TimeDelta::minutes(minute);
            let shown = local(time, &berlin).unwrap();
            let text = shown.format("%Y-%m-%d %H:%M").to_string();
            assert_eq!(parse_until(&text, time - TimeDelta::minutes(1), &berlin), Ok(time), "{text}");
            assert!(moments(shown, &berlin).unwrap().contains(&time), "{text}");
        }
    }
}
