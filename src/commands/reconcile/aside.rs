//! A memory beside the record, for trouble that the record cannot hold: it cannot be opened or written, or another `eg` has
//! the lock. `<state>.told` is a symbolic link whose text is a time, a topic and a fingerprint. A link is made as a whole or
//! not at all, and on most file systems it takes no block, so a full disk has room for it. A read-only file system has not:
//! there the trouble is told by each pass.

use crate::commands::reconcile::told::is_recent;
use eg_model::Timestamp;
use std::{
    ffi::OsString,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, ErrorKind},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// No pass could be made.
    NoPass,
    /// The trouble of a pass.
    Pass,
}

impl Topic {
    fn word(self) -> &'static str {
        match self {
            Self::NoPass => "no-pass",
            Self::Pass => "pass",
        }
    }
}

pub(super) struct Aside(PathBuf);

/// What the memory holds.
pub(super) struct Noted {
    at: Timestamp,
    topic: Topic,
    fingerprint: String,
}

impl Noted {
    pub(super) fn is_of(&self, topic: Topic) -> bool {
        self.topic == topic
    }

    /// True if the same was told lately.
    pub(super) fn is(&self, topic: Topic, fingerprint: &str, now: Timestamp) -> bool {
        self.topic == topic && self.fingerprint == fingerprint && is_recent(self.at, now)
    }
}

impl Aside {
    pub(super) fn beside(state: &Path) -> Self {
        let mut name = OsString::from(state);
        name.push(".told");
        Self(name.into())
    }

    /// `None` also for something that `eg` did not write: then nothing is known.
    pub(super) fn read(&self) -> Option<Noted> {
        let text = fs::read_link(&self.0).ok()?;
        let mut parts = text.to_str()?.splitn(3, ' ');
        let at = parts.next()?.parse().ok()?;
        let word = parts.next()?;
        let topic = [Topic::NoPass, Topic::Pass].into_iter().find(|topic| topic.word() == word)?;
        Some(Noted { at, topic, fingerprint: parts.next()?.to_owned() })
    }

    /// Remembers that this was told. Without that, it is told again by the next pass.
    pub(super) fn write(&self, topic: Topic, fingerprint: &str, now: Timestamp) {
        let text = format!("{} {} {fingerprint}", now.format("%Y-%m-%dT%H:%M:%SZ"), topic.word());
        if let Err(error) = self.remove().and_then(|()| symlink(text, &self.0)) {
            tracing::info!("that it was told cannot be noted in {}: {error}", self.0.display());
        }
    }

    pub(super) fn clear(&self) {
        if let Err(error) = self.remove() {
            tracing::info!("{} cannot be removed: {error}", self.0.display());
        }
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// A short text that differs where the values differ. Another version of `eg` may compute another one: then trouble is told
/// once more.
pub(super) fn fingerprint(value: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};

    #[test]
    fn what_was_told_is_known_for_six_hours() {
        let dir = tempfile::tempdir().unwrap();
        let aside = Aside::beside(&dir.path().join("state.db"));
        let now: Timestamp = DateTime::from_timestamp(1_772_186_400, 0).unwrap();
        assert!(aside.read().is_none());
        for text in ["busy", "busy", "full"] {
            aside.write(Topic::NoPass, &fingerprint(&text), now);
            let noted = aside.read().unwrap();
            assert!(noted.is(Topic::NoPass, &fingerprint(&text), now + TimeDelta::minutes(359)));
            assert!(!noted.is(Topic::NoPass, &fingerprint(&text), now + TimeDelta::hours(6)));
            assert!(!noted.is(Topic::Pass, &fingerprint(&text), now));
            assert!(!noted.is(Topic::NoPass, &fingerprint(&"other"), now));
        }
        aside.clear();
        aside.clear();
        assert!(aside.read().is_none());
        fs::write(dir.path().join("state.db.told"), "something else").unwrap();
        assert!(aside.read().is_none());
    }
}
