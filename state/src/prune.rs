//! Forgetting what is long over.

use crate::{
    error::StateError,
    meta::{moment, note_key, write_meta},
    routes,
    tx::Store,
};
use chrono::TimeDelta;
use eg_model::Timestamp;
use rusqlite::{Connection, params};

/// Ended sessions, closed leases and events are kept for so long.
pub const KEPT: TimeDelta = TimeDelta::days(400);
/// An expiry schedule that must have fired is kept for so long: its target may not have been read since.
const SPENT_KEPT: TimeDelta = TimeDelta::days(1);
/// A rule that was opened and not revoked is remembered for so long. A pass asks for half of it; a clock may step back.
const OPENED_KEPT: TimeDelta = TimeDelta::days(62);
/// Runs are kept for so long: `--watch` makes one a minute, and only the last ones are ever read.
const RUNS_KEPT: TimeDelta = TimeDelta::days(30);

/// The time between two prunings that leave nothing to do.
const EVERY: TimeDelta = TimeDelta::days(1);
/// At most so many rows of a table go in one pass, so that none is slow.
const AT_ONCE: i64 = 300;
/// What goes by its age, some rows at a time.
const STEPS: [(&str, TimeDelta); 4] = [
    (
        "DELETE FROM sessions WHERE number IN (SELECT number FROM sessions \
         WHERE status IN ('CANCELLED', 'EXPIRED') AND ended_at < ?1 LIMIT ?2)",
        KEPT,
    ),
    (
        "DELETE FROM leases WHERE id IN (SELECT id FROM leases WHERE phase = 'closed' AND created_at < ?1 \
         AND COALESCE(last_sent_at, created_at) < ?1 LIMIT ?2)",
        KEPT,
    ),
    ("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < ?1 ORDER BY at LIMIT ?2)", KEPT),
    // The last run of each kind stays: finished or not, by the scheduled job or by hand.
    (
        "DELETE FROM runs WHERE number IN (SELECT r.number FROM runs r WHERE r.started_at < ?1 \
         AND EXISTS (SELECT 1 FROM runs l WHERE l.kind = r.kind AND l.timer = r.timer \
                     AND (l.finished_at IS NULL) = (r.finished_at IS NULL) AND l.number > r.number) LIMIT ?2)",
        RUNS_KEPT,
    ),
];
/// The note of the time when nothing was left to prune.
const PRUNED: &str = "pruned";

impl Store {
    /// Deletes sessions that ended, leases that closed and events that happened more than 400 days before `now`, runs of
    /// more than 30 days ago except the last of each kind, expiry schedules that must have fired a day ago, and unused
    /// routes. Nothing that is live, ending or open goes. Once a day; what is too much for one call is left to the next.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn prune(&mut self, now: Timestamp) -> Result<(), StateError> {
        let last = self.read(|connection| moment(connection, PRUNED))?;
        // A time that is still to come was noted by a clock that was ahead.
        if last.is_some_and(|last| last <= now && now - last < EVERY) {
            return Ok(());
        }
        self.write(|change| {
            keep_events_from(change.tx, (now - KEPT).timestamp())?;
            let mut done = true;
            for (sql, age) in STEPS {
                let deleted = change.tx.execute(sql, params![(now - age).timestamp(), AT_ONCE])?;
                done &= i64::try_from(deleted).is_ok_and(|deleted| deleted < AT_ONCE);
            }
            let older = |age: TimeDelta| [(now - age).timestamp()];
            change.tx.execute("DELETE FROM opened_rules WHERE at < ?1", older(OPENED_KEPT))?;
            change.tx.execute("DELETE FROM auto_closes WHERE fires_at < ?1", older(SPENT_KEPT))?;
            routes::prune(change.tx)?;
            if done {
                write_meta(change.tx, &note_key(PRUNED), &now.to_rfc3339())?;
            }
            Ok(())
        })
    }
}

/// The trigger `events_kept` lets only events go that are older than this.
fn keep_events_from(connection: &Connection, before: i64) -> Result<(), StateError> {
    let older = connection.prepare("SELECT 1 FROM events WHERE at < ?1 LIMIT 1")?.exists([before])?;
    if older { write_meta(connection, "events_kept_from", &before.to_string()) } else { Ok(()) }
}
