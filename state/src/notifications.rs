//! Notices to the user's own command. A notice is recorded as begun before the command runs and as done after it. One
//! that a crash left begun is told again, a few times at most: a crash loses none, and may repeat one.

use crate::{columns::RowRef, damaged::one_row, error::StateError, sessions::read, tx::Store};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    session::{notices::Notification, record::Session},
};
use rusqlite::{Connection, Row, params};

/// The most times that a notice is begun.
const ATTEMPTS: i64 = 3;
/// A notice begun within this time is still another process's.
const AT_WORK: TimeDelta = TimeDelta::minutes(1);

struct Attempted {
    attempts: i64,
    begun_at: Timestamp,
    done: bool,
}

impl Attempted {
    /// True if it is over, or another process is at it. A clock that stepped back changes nothing.
    fn rests(&self, now: Timestamp) -> bool {
        self.done || self.attempts >= ATTEMPTS || (now - self.begun_at).abs() < AT_WORK
    }
}

impl Store {
    /// The closed sessions whose expiry was noticed at or after `since`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn expired_since(&self, since: Timestamp) -> Result<Vec<Session>, StateError> {
        self.read(|connection| {
            let sql = "SELECT id FROM sessions WHERE status = 'EXPIRED' AND ended_at >= ?1 ORDER BY id";
            let ids = read::ids(connection, &self.damaged, sql, params![since.timestamp()])?;
            read::load_noting(connection, &self.damaged, ids, read::Grants::All)
        })
    }

    /// Records that the caller is about to tell a notice. False, and nothing is written, if it was told before, if another
    /// process is at it, or if three attempts came to nothing.
    ///
    /// # Errors
    /// The database cannot be read or written.
    pub fn begin_notice(&mut self, notice: &Notification, now: Timestamp) -> Result<bool, StateError> {
        if self.read(|connection| told(connection, notice))?.is_some_and(|told| told.rests(now)) {
            return Ok(false);
        }
        self.write(|change| {
            if told(change.tx, notice)?.is_some_and(|told| told.rests(now)) {
                return Ok(false);
            }
            let sql = "INSERT INTO notifications (session, event, expires_at, attempts, begun_at) \
                       VALUES (?1, ?2, ?3, 1, ?4) ON CONFLICT (session, event, expires_at) \
                       DO UPDATE SET attempts = attempts + 1, begun_at = excluded.begun_at";
            let (session, event, expires_at) = key(notice);
            change.tx.execute(sql, params![session, event, expires_at, now.timestamp()])?;
            Ok(true)
        })
    }

    /// Records that a notice was told, even if the command failed.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn finish_notice(&mut self, notice: &Notification, now: Timestamp) -> Result<(), StateError> {
        self.write(|change| {
            let sql = "UPDATE notifications SET done_at = ?4 WHERE session = ?1 AND event = ?2 AND expires_at = ?3";
            let (session, event, expires_at) = key(notice);
            change.tx.execute(sql, params![session, event, expires_at, now.timestamp()])?;
            Ok(())
        })
    }
}

fn key(notice: &Notification) -> (String, &'static str, i64) {
    (notice.session.to_string(), notice.event.as_str(), notice.expires_at.timestamp())
}

fn told(connection: &Connection, notice: &Notification) -> Result<Option<Attempted>, StateError> {
    let sql = "SELECT attempts, begun_at, done_at IS NOT NULL AS done FROM notifications \
               WHERE session = ?1 AND event = ?2 AND expires_at = ?3";
    let (session, event, expires_at) = key(notice);
    let read = |row: &Row<'_>| {
        let row = RowRef::new("notifications", &session, row);
        Ok(Attempted { attempts: row.get("attempts")?, begun_at: row.time("begun_at")?, done: row.get("done")? })
    };
    one_row(connection, "notifications", sql, params![session, event, expires_at], read)
}
