//! Forgetting what is long over.

use crate::{error::StateError, meta::write_meta, routes, tx::Store};
use chrono::TimeDelta;
use eg_model::Timestamp;
use rusqlite::params;

/// Ended sessions, closed leases and events are kept for so long.
pub const KEPT: TimeDelta = TimeDelta::days(400);
/// An expiry schedule that must have fired is kept for so long: its target may not have been read since.
const SPENT_KEPT: TimeDelta = TimeDelta::days(1);
/// A rule that was opened and not revoked is remembered for so long. A pass asks for half of it; a clock may step back.
const OPENED_KEPT: TimeDelta = TimeDelta::days(62);
/// Runs are kept for so long: `--watch` makes one a minute, and only the last ones are ever read.
const RUNS_KEPT: TimeDelta = TimeDelta::days(30);

impl Store {
    /// Deletes sessions that ended, leases that closed and events that happened more than 400 days before `now`, runs of
    /// more than 30 days ago except the last of each kind, expiry schedules that must have fired a day ago, and unused
    /// routes. Nothing that is live, ending or open goes.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn prune(&mut self, now: Timestamp) -> Result<(), StateError> {
        let before = (now - KEPT).timestamp();
        let runs_before = (now - RUNS_KEPT).timestamp();
        self.write(|change| {
            let tx = change.tx;
            tx.execute("DELETE FROM sessions WHERE status IN ('CANCELLED', 'EXPIRED') AND ended_at < ?1", [before])?;
            tx.execute(
                "DELETE FROM leases WHERE phase = 'closed' AND COALESCE(last_sent_at, created_at) < ?1 \
                 AND created_at < ?1",
                [before],
            )?;
            let old: bool =
                tx.query_row("SELECT EXISTS (SELECT 1 FROM events WHERE at < ?1)", [before], |r| r.get(0))?;
            if old {
                // The trigger `events_kept` lets only older ones go.
                write_meta(tx, "events_kept_from", &before.to_string())?;
                tx.execute("DELETE FROM events WHERE at < ?1", [before])?;
            }
            tx.execute("DELETE FROM opened_rules WHERE at < ?1", [(now - OPENED_KEPT).timestamp()])?;
            tx.execute("DELETE FROM auto_closes WHERE fires_at < ?1", [(now - SPENT_KEPT).timestamp()])?;
            let sql = "DELETE FROM runs WHERE started_at < ?1 AND number NOT IN (\
                       SELECT max(number) FROM runs GROUP BY kind, timer, finished_at IS NULL)";
            tx.execute(sql, params![runs_before])?;
            routes::prune(tx)
        })
    }
}
