//! Times for users: local, to the second or to the minute. Every date carries its zone.

use chrono::{NaiveDateTime, TimeDelta};
use eg_model::Timestamp;
use tz::{LocalTimeType, TimeZone};

/// A time zone, loaded once.
#[derive(Clone, Debug)]
pub struct Zone {
    zone: Option<TimeZone>,
}

#[derive(Clone, Debug)]
pub struct LoadedZone {
    /// UTC if the wanted zone is not known.
    pub zone: Zone,
    /// The value of `TZ` (or `/etc/localtime`) that is not known, for the warning that times are shown in UTC.
    pub unknown: Option<String>,
}

const LOCAL: &str = "localtime";

/// The UTC time that a text begins with, and what comes after it.
fn utc_time(text: &str) -> Option<(Timestamp, &str)> {
    for (pattern, length) in [("%Y-%m-%dT%H:%M:%SZ", 20), ("%Y-%m-%d %H:%M:%S UTC", 23)] {
        let Some((stamp, after)) = text.split_at_checked(length) else { continue };
        if let Ok(at) = NaiveDateTime::parse_from_str(stamp, pattern) {
            return Some((at.and_utc(), after));
        }
    }
    None
}

impl Zone {
    pub fn utc() -> Self {
        Self { zone: None }
    }

    /// From the value of `TZ`: a name (`Europe/Berlin`), a POSIX rule (`CET-1CEST,M3.5.0,M10.5.0/3`) or a file
    /// (`:/path`). `None` is the machine's own zone, `/etc/localtime`; empty text, and a machine without that file, are
    /// UTC, as for every program that uses the C library. Reads zone files of the machine, nothing else.
    pub fn load(tz: Option<&str>) -> LoadedZone {
        match tz {
            Some("" | ":") => LoadedZone { zone: Self::utc(), unknown: None },
            Some(value) => Self::posix(value, value),
            None if !std::path::Path::new("/etc/localtime").exists() => LoadedZone { zone: Self::utc(), unknown: None },
            None => Self::posix(LOCAL, "/etc/localtime"),
        }
    }

    fn posix(value: &str, name: &str) -> LoadedZone {
        match TimeZone::from_posix_tz(value) {
            Ok(zone) => LoadedZone { zone: Self { zone: Some(zone) }, unknown: None },
            Err(_) => LoadedZone { zone: Self::utc(), unknown: Some(name.to_owned()) },
        }
    }

    /// `YYYY-MM-DD HH:MM:SS CET` in this zone.
    pub fn format(&self, time: Timestamp) -> String {
        format!("{} {}", self.bare(time), self.label(time))
    }

    /// The same without the zone, for the dashboard, which names it once.
    pub fn bare(&self, time: Timestamp) -> String {
        self.write(time, "%Y-%m-%d %H:%M:%S")
    }

    /// Replaces every UTC time of a text (`YYYY-MM-DDTHH:MM:SSZ`, or `YYYY-MM-DD HH:MM:SS UTC`) by the time in this zone.
    pub fn in_text(&self, text: &str) -> String {
        let mut told = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begins) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, from) = rest.split_at(begins);
            told.push_str(before);
            if let Some((at, after)) = utc_time(from) {
                told.push_str(&self.format(at));
                rest = after;
            } else {
                let after = from.trim_start_matches(|c: char| c.is_ascii_digit());
                told.push_str(from.strip_suffix(after).unwrap_or_default());
                rest = after;
            }
        }
        told + rest
    }

    /// The name of this zone at a moment: `CET` or `CEST`, or its offset from UTC.
    fn label(&self, time: Timestamp) -> String {
        match self.kind(time).map(LocalTimeType::time_zone_designation) {
            None => "UTC".to_owned(),
            Some("") => {
                let minutes = self.offset(time).num_minutes();
                let sign = if minutes < 0 { '-' } else { '+' };
                format!("UTC{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
            Some(name) => name.to_owned(),
        }
    }

    pub fn clock(&self, time: Timestamp) -> String {
        self.write(time, "%H:%M")
    }

    /// `HH:MM` on the same day as `now`; else with its date.
    pub fn clock_near(&self, time: Timestamp, now: Timestamp) -> String {
        let day = |time| self.write(time, "%Y-%m-%d");
        if day(time) == day(now) { self.clock(time) } else { self.write(time, "%Y-%m-%d %H:%M") }
    }

    fn write(&self, time: Timestamp, pattern: &str) -> String {
        let local = time.naive_utc().checked_add_signed(self.offset(time)).unwrap_or(time.naive_utc());
        local.format(pattern).to_string()
    }

    /// The offset from UTC at a moment; zero if the zone's rules do not cover it.
    pub fn offset(&self, time: Timestamp) -> TimeDelta {
        self.kind(time).map_or(TimeDelta::zero(), |kind| TimeDelta::seconds(kind.ut_offset().into()))
    }

    fn kind(&self, time: Timestamp) -> Option<&LocalTimeType> {
        self.zone.as_ref()?.find_local_time_type(time.timestamp()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_posix_rule_with_summer_time() {
        let loaded = Zone::load(Some("CET-1CEST,M3.5.0,M10.5.0/3"));
        assert_eq!(loaded.unknown, None);
        assert_eq!(loaded.zone.format(at("2026-02-27T17:00:00Z")), "2026-02-27 18:00:00 CET");
        assert_eq!(loaded.zone.format(at("2026-07-01T22:30:59Z")), "2026-07-02 00:30:59 CEST");
        assert_eq!(loaded.zone.clock(at("2026-07-01T22:30:59Z")), "00:30");
        let near = |now: &str| loaded.zone.clock_near(at("2026-07-01T22:30:59Z"), at(now));
        assert_eq!(near("2026-07-02T21:59:59Z"), "00:30");
        assert_eq!(near("2026-07-01T21:59:59Z"), "2026-07-02 00:30");
        // The last Sunday of March 2026 is the 29th; the clock goes from 02:00 to 03:00.
        assert_eq!(loaded.zone.clock(at("2026-03-29T00:59:59Z")), "01:59");
        assert_eq!(loaded.zone.clock(at("2026-03-29T01:00:00Z")), "03:00");
    }

    #[test]
    fn utc() {
        for tz in ["", ":", "UTC0", "UTC"] {
            let loaded = Zone::load(Some(tz));
            if tz == "UTC" && loaded.unknown.is_some() {
                continue; // A machine without zone files knows rules only.
            }
            assert_eq!(loaded.unknown, None, "{tz}");
            assert_eq!(loaded.zone.format(at("2026-02-27T18:00:00Z")), "2026-02-27 18:00:00 UTC");
        }
    }

    #[test]
    fn a_zone_file() {
        if !std::path::Path::new("/usr/share/zoneinfo/Asia/Kolkata").exists() {
            return;
        }
        assert_eq!(Zone::load(Some("Asia/Kolkata")).zone.clock(at("2026-02-27T18:00:00Z")), "23:30");
        assert_eq!(Zone::load(Some(":Asia/Kolkata")).zone.clock(at("2026-02-27T18:00:00Z")), "23:30");
    }

    #[test]
    fn an_unknown_zone_is_utc_and_named() {
        for tz in ["Nowhere/Land", ":/does/not/exist", "rubbish", "\u{1b}"] {
            let loaded = Zone::load(Some(tz));
            assert_eq!(loaded.unknown.as_deref(), Some(tz));
            assert_eq!(loaded.zone.format(at("2026-02-27T18:00:00Z")), "2026-02-27 18:00:00 UTC");
        }
    }

    #[test]
    fn times_in_a_text() {
        let zone = Zone::load(Some("CET-1")).zone;
        for (text, told) in [
            (
                "open tcp/22 until 2026-02-27T18:00:00Z for session 1",
                "open tcp/22 until 2026-02-27 19:00:00 CET for session 1",
            ),
            ("(2026-02-27T18:00:00Z)", "(2026-02-27 19:00:00 CET)"),
            ("pid 7, since 2026-02-27 18:00:00 UTC, 5", "pid 7, since 2026-02-27 19:00:00 CET, 5"),
            ("until 2026-02-27T18:00:00+01", "until 2026-02-27T18:00:00+01"),
            ("2026-13-27T18:00:00Z  x", "2026-13-27T18:00:00Z  x"),
            ("ü2 é", "ü2 é"),
        ] {
            assert_eq!(zone.in_text(text), told);
        }
    }

    #[test]
    fn the_machines_own_zone_loads() {
        assert_eq!(Zone::load(None).unknown, None);
    }
}
