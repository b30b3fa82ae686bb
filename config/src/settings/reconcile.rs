//! `[reconcile]` and `[notify]`.

use crate::{
    toml::{SpannedError, TomlResult, TomlSection},
    values::duration,
};
use chrono::TimeDelta;

pub const KEYS: &[&str] = &["collect_expired", "collect_interval"];
pub const NOTIFY_KEYS: &[&str] = &["command", "before"];
const COMMAND: &str = "a program and its arguments, as in [\"notify-send\", \"eg\"]; no shell is between";

/// The work of a pass beyond its own rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconcile {
    /// True if expired rules of every installation are revoked; true by default.
    pub collect_expired: bool,
    /// At most one collection pass over all configured targets in this time; 1 hour by default.
    pub collect_interval: TimeDelta,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self { collect_expired: true, collect_interval: TimeDelta::hours(1) }
    }
}

impl Reconcile {
    pub fn read(root: &TomlSection<'_>) -> TomlResult<Self> {
        let section = root.child("reconcile", "[reconcile]", KEYS)?;
        let standard = Self::default();
        let interval = duration(&section, "collect_interval")?;
        Ok(Self {
            collect_expired: section.boolean("collect_expired")?.unwrap_or(standard.collect_expired),
            collect_interval: interval.map_or(standard.collect_interval, |found| found.value.length),
        })
    }
}

/// The user's command that passes of `reconcile` tell about sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The program and its arguments; no shell is between. Never empty.
    pub command: Vec<String>,
    /// The time before its end at which a session is said to end soon; 10 minutes by default.
    pub before: TimeDelta,
}

impl Notify {
    pub fn read(root: &TomlSection<'_>) -> TomlResult<Option<Self>> {
        let section = root.child("notify", "[notify]", NOTIFY_KEYS)?;
        let before = duration(&section, "before")?;
        let Some(words) = section.words("command", COMMAND)? else {
            let stray = |found| SpannedError::new(found, "before stands without a command", "before beside command");
            return before.map_or(Ok(None), |found| Err(stray(found.at)));
        };
        let command: Vec<String> = words.value.into_iter().map(|word| word.value).collect();
        let before = before.map_or(TimeDelta::minutes(10), |found| found.value.length);
        let program = command.first().is_some_and(|program| !program.is_empty());
        if !program || command.iter().any(|word| word.contains('\0')) {
            return Err(SpannedError::new(
                words.at,
                "command names no program, or one of its words holds a NUL character",
                COMMAND,
            ));
        }
        Ok(Some(Self { command, before }))
    }
}
