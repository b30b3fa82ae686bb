//! `[user]` and `[session]`.

use crate::{
    toml::{SpannedError, TomlResult, TomlSection},
    values::{duration, optional_text, prefix_length},
};
use chrono::TimeDelta;
use eg_model::{
    net::address::{IpVersion, PrefixLengths},
    time::duration::Written,
};

pub const USER_KEYS: &[&str] = &["name", "email"];
pub const KEYS: &[&str] = &["default_duration", "max_duration", "ipv4_prefix_len", "ipv6_prefix_len"];

/// The user, as the configuration says. What it leaves out, the caller takes from the OS user and host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: Option<String>,
    pub email: Option<String>,
}

impl User {
    pub fn read(root: &TomlSection<'_>) -> TomlResult<Self> {
        let section = root.child("user", "[user]", USER_KEYS)?;
        Ok(Self { name: optional_text(&section, "name")?, email: optional_text(&section, "email")? })
    }
}

/// The length of sessions, and the network around an address that they open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Without `--duration`. Not written: 8 hours, or `max_duration` if that is shorter.
    pub default_duration: TimeDelta,
    /// The longest session, extensions included; 24 hours by default, 31 days at most.
    pub max_duration: Written,
    /// One host by default.
    pub prefix_lengths: PrefixLengths,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            default_duration: TimeDelta::hours(8),
            max_duration: TimeDelta::hours(24).into(),
            prefix_lengths: PrefixLengths::default(),
        }
    }
}

impl SessionSettings {
    pub fn read(root: &TomlSection<'_>) -> TomlResult<Self> {
        let section = root.child("session", "[session]", KEYS)?;
        let standard = Self::default();
        let prefix_lengths = prefix_lengths(&section)?;
        let default = duration(&section, "default_duration")?;
        let max_duration = duration(&section, "max_duration")?.map_or(standard.max_duration, |found| found.value);
        let default_duration = match default {
            // The user did not write the default: it gives way instead of being refused.
            None => standard.default_duration.min(max_duration.length),
            Some(found) if found.value.length > max_duration.length => {
                let message = format!("default_duration {} is longer than max_duration {max_duration}", found.value);
                let accepted = format!("1m to {max_duration}, or a longer max_duration (up to 31d)");
                return Err(SpannedError::new(found.at, message, accepted));
            }
            Some(found) => found.value.length,
        };
        Ok(Self { default_duration, max_duration, prefix_lengths })
    }
}

fn prefix_lengths(section: &TomlSection<'_>) -> TomlResult<PrefixLengths> {
    let standard = PrefixLengths::default();
    let length = |key: &str, version| Ok(prefix_length(section, key, version)?.unwrap_or(standard.of(version)));
    let (v4, v6) = (length("ipv4_prefix_len", IpVersion::V4)?, length("ipv6_prefix_len", IpVersion::V6)?);
    Ok(PrefixLengths::new(v4, v6).unwrap_or(standard))
}
