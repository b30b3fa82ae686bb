//! Durations, as users write and read them.
//!
//! Written: `[0-9]+` (hours) or `([0-9]+d)?([0-9]+h)?([0-9]+m)?`, not empty; no spaces, signs or fractions; from
//! one minute to [`MAX`]. A longer one is refused with the limit, never clamped. Short waits (a timeout, the lock) are
//! written `[0-9]+s`: [`parse_seconds`].

use crate::Timestamp;
use chrono::TimeDelta;
use std::{fmt, ops::RangeInclusive, str::FromStr};
use thiserror::Error;

/// The longest session that any configuration can allow: 31 days. A lease tag further ahead does not hold its rule, so
/// a longer session would lose its rules.
pub const MAX: TimeDelta = TimeDelta::days(31);

/// The shortest duration: one minute.
pub const MIN: TimeDelta = TimeDelta::minutes(1);

/// The forms that [`parse_duration`] reads, for help and error messages.
pub const ACCEPTED: &str = "whole hours (8), or days, hours and minutes in this order (8h, 90m, 1h30m, 2d)";

const DAY: u64 = 24 * 60;
const HOUR: u64 = 60;

/// A duration with the text that the user wrote for it: messages repeat the text that is in the file or on the command
/// line (`48h`, not `2d`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub length: TimeDelta,
    text: String,
}

impl Written {
    /// With text that a parser of this module has read as `length`.
    pub fn new(length: TimeDelta, text: &str) -> Self {
        // A bare number is hours.
        let unit = if is_number(text) { "h" } else { "" };
        Self { length, text: format!("{text}{unit}") }
    }

    /// Checks it against the limit of a setting. A refusal shows both as they were written, and names the setting.
    ///
    /// # Errors
    /// It is longer than `max`.
    pub fn within(self, max: &Self, setting: &'static str) -> Result<Self, DurationError> {
        if self.length <= max.length {
            return Ok(self);
        }
        Err(DurationError::TooLongFor { text: self.text, setting, limit: max.to_string() })
    }
}

impl FromStr for Written {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        Ok(Self::new(parse_duration(text)?, text))
    }
}

/// A duration that the user did not write.
impl From<TimeDelta> for Written {
    fn from(length: TimeDelta) -> Self {
        Self { length, text: format_duration(length) }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The reason why a duration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    #[error("\"{text}\" is not a duration: use {ACCEPTED}")]
    Malformed { text: String },
    #[error("\"{text}\" is not a number of seconds: use a whole number and s ({limits})")]
    MalformedSeconds {
        text: String,
        /// The shortest and the longest accepted, as `1s to 5s`.
        limits: String,
    },
    #[error("\"{text}\" is out of range: use {limits}")]
    SecondsOutOfRange {
        text: String,
        /// The shortest and the longest accepted, as `1s to 5s`.
        limits: String,
    },
    #[error("\"{text}\" is too short: the shortest duration is 1m")]
    TooShort { text: String },
    #[error("\"{text}\" is too long: the limit is {limit}")]
    TooLong {
        text: String,
        /// The limit, in the grammar's own form.
        limit: String,
    },
    #[error("{text} is longer than {setting} ({limit})")]
    TooLongFor {
        text: String,
        setting: &'static str,
        /// The value of the setting, as written there.
        limit: String,
    },
}

/// Reads a duration of the module's grammar. A whole number of minutes from [`MIN`] to [`MAX`].
///
/// # Errors
/// Text that is not of the grammar, is shorter than [`MIN`], or is longer than [`MAX`] (however many digits).
pub fn parse_duration(text: &str) -> Result<TimeDelta, DurationError> {
    parse_up_to(text, MAX)
}

/// Like [`parse_duration`], with another limit, for durations that are not the length of a session.
pub fn parse_up_to(text: &str, max: TimeDelta) -> Result<TimeDelta, DurationError> {
    let owned = || text.to_owned();
    let minutes = whole_minutes(text).ok_or_else(|| DurationError::Malformed { text: owned() })?;
    let too_long = || DurationError::TooLong { text: owned(), limit: format_duration(max) };
    let duration = i64::try_from(minutes).ok().and_then(TimeDelta::try_minutes).ok_or_else(too_long)?;
    match duration {
        short if short < MIN => Err(DurationError::TooShort { text: owned() }),
        long if long > max => Err(too_long()),
        fits => Ok(fits),
    }
}

/// Reads `[0-9]+s` and checks it against `accepted`, in seconds.
///
/// # Errors
/// Text that is not of that form, or a number outside `accepted`.
pub fn parse_seconds(text: &str, accepted: RangeInclusive<u64>) -> Result<std::time::Duration, DurationError> {
    let limits = || format!("{}s to {}s", accepted.start(), accepted.end());
    let digits = text.strip_suffix('s').filter(|digits| is_number(digits));
    let malformed = || DurationError::MalformedSeconds { text: text.to_owned(), limits: limits() };
    let seconds = saturating(digits.ok_or_else(malformed)?);
    let refused = || DurationError::SecondsOutOfRange { text: text.to_owned(), limits: limits() };
    accepted.contains(&seconds).then(|| std::time::Duration::from_secs(seconds)).ok_or_else(refused)
}

/// The shortest form that [`parse_duration`] reads back: `8h`, `1h30m`, `45m`; days from two days on (`24h`, but
/// `2d`, `31d`), since users write the limit of one day as `24h`. Seconds are dropped; zero and less is `0m`.
pub fn format_duration(duration: TimeDelta) -> String {
    let Split { days, hours, minutes } = split(minutes_down(duration));
    let part = |number: u64, unit: &str| if number == 0 { String::new() } else { format!("{number}{unit}") };
    let text = [part(days, "d"), part(hours, "h"), part(minutes, "m")].concat();
    if text.is_empty() { "0m".to_owned() } else { text }
}

/// The time until `expires`, rounded up to whole minutes, so that a session just started shows its full length: `8h
/// 0m`, `45m` under an hour, `2d 3h 0m` from two days on. `0m` from the expiry on.
pub fn remaining(now: Timestamp, expires: Timestamp) -> String {
    let seconds = u64::try_from(expires.signed_duration_since(now).num_milliseconds()).unwrap_or(0).div_ceil(1000);
    spaced(split(seconds.div_ceil(60)))
}

/// The time since `expired`, rounded down to whole minutes: `<1m`, `14m`, `2h 5m`, `2d 3h 0m` from two days on.
pub fn overdue(now: Timestamp, expired: Timestamp) -> String {
    match minutes_down(now.signed_duration_since(expired)) {
        0 => "<1m".to_owned(),
        minutes => spaced(split(minutes)),
    }
}

struct Split {
    days: u64,
    hours: u64,
    minutes: u64,
}

fn minutes_down(duration: TimeDelta) -> u64 {
    u64::try_from(duration.num_minutes()).unwrap_or(0)
}

fn split(total: u64) -> Split {
    let days = if total < 2 * DAY { 0 } else { total / DAY };
    let rest = total - days * DAY;
    Split { days, hours: rest / HOUR, minutes: rest % HOUR }
}

fn spaced(Split { days, hours, minutes }: Split) -> String {
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h {minutes}m"),
    }
}

/// The grammar, saturating: a number that does not fit is longer than any limit, and is refused for that.
fn whole_minutes(text: &str) -> Option<u64> {
    if is_number(text) {
        return Some(saturating(text).saturating_mul(HOUR));
    }
    let mut rest = text;
    let mut total = 0_u64;
    for (unit, minutes) in [('d', DAY), ('h', HOUR), ('m', 1)] {
        let Some((digits, after)) = rest.split_once(unit) else { continue };
        if !is_number(digits) {
            return None;
        }
        total = total.saturating_add(saturating(digits).saturating_mul(minutes));
        rest = after;
    }
    (!text.is_empty() && rest.is_empty()).then_some(total)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn saturating(digits: &str) -> u64 {
    digits.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn minutes(text: &str) -> i64 {
        parse_duration(text).unwrap().num_minutes()
    }

    fn refusal(text: &str) -> String {
        parse_duration(text).unwrap_err().to_string()
    }

    #[test]
    fn the_grammar() {
        for (text, expected) in [
            ("8", 480),
            ("08", 480),
            ("8h", 480),
            ("90m", 90),
            ("1m", 1),
            ("1h30m", 90),
            ("2d", 2880),
            ("1d2h3m", 1563),
            ("1d3m", 1443),
            ("0d1h", 60),
            ("31d", 44640),
            ("744", 44640),
        ] {
            assert_eq!(minutes(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_of_the_grammar() {
        let bad = [
            "", " ", "h", "8 h", " 8h", "8h ", "+8h", "-8h", "1.5h", "8H", "30m1h", "1h1h", "1h1d", "1d5", "5m3", "8s",
            "8hh", "٣h", "1_0h", "1h 30m", "eight", "8h30", "dhm",
        ];
        for text in bad {
            let malformed = DurationError::Malformed { text: text.to_owned() };
            assert_eq!(parse_duration(text), Err(malformed), "{text:?}");
        }
        assert_eq!(
            refusal("1.5h"),
            "\"1.5h\" is not a duration: use whole hours (8), or days, hours and minutes in this order (8h, 90m, 1h30m, 2d)"
        );
    }

    #[test]
    fn the_range() {
        assert_eq!(refusal("0"), "\"0\" is too short: the shortest duration is 1m");
        assert_eq!(refusal("0d0h0m"), "\"0d0h0m\" is too short: the shortest duration is 1m");
        assert_eq!(refusal("31d1m"), "\"31d1m\" is too long: the limit is 31d");
        assert_eq!(refusal("745"), "\"745\" is too long: the limit is 31d");
        for long in
            ["99999999999999999999999999", "18446744073709551615d9h", "153722867280912931m", "9223372036854775807m"]
        {
            assert!(matches!(parse_duration(long), Err(DurationError::TooLong { .. })), "{long}");
        }
    }

    #[test]
    fn a_limit_is_named() {
        let day = Written::new(TimeDelta::hours(24), "1d");
        let within = |text: &str| text.parse::<Written>().and_then(|written| written.within(&day, "max_duration"));
        assert_eq!(within("1d").unwrap(), day);
        assert_eq!(within("12").unwrap().to_string(), "12h", "a bare number is hours");
        assert_eq!(Written::from(TimeDelta::hours(48)).to_string(), "2d", "nobody wrote it");
        assert_eq!(
            within("48h").unwrap_err().to_string(),
            "48h is longer than max_duration (1d)",
            "both as they were typed"
        );
        assert_eq!(within("0m").unwrap_err().to_string(), "\"0m\" is too short: the shortest duration is 1m");
    }

    #[test]
    fn another_limit() {
        let limit = TimeDelta::days(400);
        assert_eq!(parse_up_to("400d", limit), Ok(limit));
        assert_eq!(parse_up_to("401d", limit).unwrap_err().to_string(), "\"401d\" is too long: the limit is 400d");
        assert!(matches!(parse_up_to("99999999999999999999d", limit), Err(DurationError::TooLong { .. })));
        assert_eq!(parse_duration("32d").unwrap_err().to_string(), "\"32d\" is too long: the limit is 31d");
    }

    #[test]
    fn seconds() {
        assert_eq!(parse_seconds("3s", 1..=5).unwrap().as_secs(), 3);
        for bad in ["", "3", "s", "3 s", "+3s", "3m", "3ss", "1.5s"] {
            assert!(matches!(parse_seconds(bad, 1..=5), Err(DurationError::MalformedSeconds { .. })), "{bad:?}");
        }
        assert_eq!(
            parse_seconds("3", 1..=5).unwrap_err().to_string(),
            "\"3\" is not a number of seconds: use a whole number and s (1s to 5s)"
        );
        for out in ["0s", "6s", "99999999999999999999999s"] {
            assert_eq!(
                parse_seconds(out, 1..=5).unwrap_err().to_string(),
                format!("\"{out}\" is out of range: use 1s to 5s")
            );
        }
    }

    #[test]
    fn every_minute_up_to_the_cap_survives_the_round_trip() {
        for total in 1..=MAX.num_minutes() {
            let duration = TimeDelta::minutes(total);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn how_durations_are_written() {
        for (text, expected) in
            [("8", "8h"), ("90m", "1h30m"), ("1d", "24h"), ("47h59m", "47h59m"), ("48h", "2d"), ("2d1m", "2d1m")]
        {
            assert_eq!(format_duration(parse_duration(text).unwrap()), expected);
        }
        assert_eq!(format_duration(TimeDelta::seconds(-5)), "0m");
    }

    fn at(seconds: i64) -> Timestamp {
        chrono::Utc.timestamp_opt(1_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn remaining_is_rounded_up() {
        for (seconds, expected) in [
            (8 * 3600, "8h 0m"),
            (8 * 3600 - 1, "8h 0m"),
            (8 * 3600 - 60, "7h 59m"),
            (3600, "1h 0m"),
            (3540, "59m"),
            (45 * 60, "45m"),
            (1, "1m"),
            (0, "0m"),
            (-100, "0m"),
            (47 * 3600, "47h 0m"),
            (51 * 3600, "2d 3h 0m"),
        ] {
            assert_eq!(remaining(at(0), at(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn overdue_is_rounded_down() {
        for (seconds, expected) in [
            (-5, "<1m"),
            (0, "<1m"),
            (59, "<1m"),
            (60, "1m"),
            (14 * 60 + 59, "14m"),
            (2 * 3600 + 5 * 60, "2h 5m"),
            (48 * 3600, "2d 0h 0m"),
        ] {
            assert_eq!(overdue(at(seconds), at(0)), expected, "{seconds}");
        }
    }
}
