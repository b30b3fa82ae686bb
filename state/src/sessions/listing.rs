//! Sessions for people: lists, ids by their first digits, names. None of it costs more with a longer history.

use crate::{
    columns::{RowRef, json_list},
    error::StateError,
    sessions::read::{Grants, ids, load_noting, newest_ids, session_id},
    tx::Store,
};
use eg_model::{
    ids::SessionId,
    session::record::{Session, SessionStatus},
};
use rusqlite::{Row, params};
use std::collections::{BTreeMap, BTreeSet};

/// The choice of sessions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these statuses; `None`: all.
    pub statuses: Option<Vec<SessionStatus>>,
    /// At most so many; live and EXPIRING ones are shown even beyond it. `None`: no limit.
    pub limit: Option<usize>,
    /// With the REMOVED grants of live sessions too. A session that follows its user has one for each earlier address.
    pub whole: bool,
}

/// A session's user: name and e-mail address.
pub type SessionUser = (String, Option<String>);

/// The sessions of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Newest first: by start, then by the order in which they were recorded.
    pub sessions: Vec<Session>,
    /// The number of sessions that match the filter but were left out by its limit.
    pub left_out: usize,
}

impl Store {
    /// Sessions for a listing.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn sessions(&self, filter: &Filter) -> Result<Listing, StateError> {
        self.read(|connection| {
            let wanted = filter.statuses.as_deref().unwrap_or(SessionStatus::ALL);
            let open: Vec<_> = wanted.iter().copied().filter(|status| !status.is_ended()).collect();
            // SQLite reads a negative limit as none.
            let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(-1));
            let mut shown: BTreeSet<SessionId> =
                newest_ids(connection, &self.damaged, wanted, limit)?.into_iter().collect();
            shown.extend(newest_ids(connection, &self.damaged, &open, -1)?);
            let sql = "SELECT coalesce(sum(sessions), 0) FROM session_counts \
                       WHERE status IN (SELECT value FROM json_each(?1))";
            let total: i64 = connection.prepare_cached(sql)?.query_row([json_list(wanted)], |row| row.get(0))?;
            let asked = shown.len();
            let grants = if filter.whole { Grants::All } else { Grants::Shown };
            let sessions = load_noting(connection, &self.damaged, shown, grants)?;
            let left_out = usize::try_from(total).unwrap_or(usize::MAX).saturating_sub(asked);
            Ok(Listing { sessions, left_out })
        })
    }

    /// The name and the e-mail address of each session's user.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn users(&self, sessions: &BTreeSet<SessionId>) -> Result<BTreeMap<SessionId, SessionUser>, StateError> {
        self.read(|connection| {
            let user = |row: &Row<'_>| {
                let id = session_id("sessions", row, "id")?;
                let row = RowRef::new("sessions", id, row);
                Ok((id, (row.get("user_name")?, row.get("user_email")?)))
            };
            let sql = "SELECT id, user_name, user_email FROM sessions WHERE id IN (SELECT value FROM json_each(?1))";
            let users = self.damaged.rows(connection, "sessions", sql, params![json_list(sessions)], user)?;
            Ok(users.into_iter().collect())
        })
    }

    /// The ids that begin with these hex digits, sorted; dashes and case do not matter. An empty text, or one
    /// with other characters, gives no ids.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn find(&self, prefix: &str) -> Result<Vec<SessionId>, StateError> {
        let Some(from) = hyphenated(prefix) else { return Ok(Vec::new()) };
        self.read(|connection| {
            // Every id that begins so sorts below the prefix with a letter after "f" appended.
            let to = format!("{from}g");
            let sql = "SELECT id FROM sessions WHERE id >= ?1 AND id < ?2 ORDER BY id";
            ids(connection, &self.damaged, sql, params![from, to])
        })
    }
}

/// Lower-case hex digits with the dashes of a UUID.
fn hyphenated(prefix: &str) -> Option<String> {
    let digits: String = prefix.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let fits = (1..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let dash = |at: usize| if matches!(at, 8 | 12 | 16 | 20) { "-" } else { "" };
    fits.then(|| digits.chars().enumerate().map(|(at, digit)| format!("{}{digit}", dash(at))).collect())
}

#[cfg(test)]
mod tests {
    use super::hyphenated;

    #[test]
    fn prefixes_get_their_dashes() {
        assert_eq!(hyphenated("A1B2"), Some("a1b2".into()));
        assert_eq!(hyphenated("a1b2c3d4e"), Some("a1b2c3d4-e".into()));
        assert_eq!(hyphenated("a1b2c3d4-"), Some("a1b2c3d4".into()));
        assert_eq!(hyphenated("a1b2c3d4e5f67890abcdef1234567890"), Some("a1b2c3d4-e5f6-7890-abcd-ef1234567890".into()));
        assert_eq!(hyphenated(""), None);
        assert_eq!(hyphenated("xyz"), None);
        assert_eq!(hyphenated(&"a".repeat(33)), None);
    }
}
