//! Runs: each pass of the reconciler, numbered; the number in the guard file tells a restored backup.

use crate::{
    columns::{RowRef, seconds, words},
    error::StateError,
    meta::moment,
    tx::Store,
};
use eg_model::{Timestamp, ids::RunId};
use rusqlite::{Row, params};
use std::collections::{BTreeMap, BTreeSet};

words! {
    /// Which command made a run.
    RunKind {
        /// `eg session start`.
        Start = "start",
        /// `eg session stop`.
        Stop = "stop",
        /// `eg session extend`.
        Extend = "extend",
        /// `eg reconcile`.
        Reconcile = "reconcile",
        /// One pass of `eg reconcile --watch`.
        Watch = "watch",
    }
}

/// When the outcomes of a run are flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushAt {
    /// At the end of the run: the process goes on, and keeps the record open.
    Now,
    /// When the process closes the record, which is soon.
    Close,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// Its end.
    pub finished_at: Timestamp,
    /// True if nothing is left to do.
    pub converged: bool,
    /// The obstacle, in a few words (`credentials expired`).
    pub summary: Option<String>,
    /// The digest of its plan.
    pub digest: Option<String>,
    /// The time of the next thing to do.
    pub next_wake_at: Option<Timestamp>,
}

/// The last `reconcile` or `--watch` pass that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastReconcile {
    /// Its end.
    pub finished_at: Timestamp,
    /// True if nothing was left to do.
    pub converged: bool,
    /// The obstacle, if there was one.
    pub summary: Option<String>,
    /// The time of the next thing to do.
    pub next_wake_at: Option<Timestamp>,
}

/// When the reconciler was last at work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastRuns {
    /// The last finished pass of `reconcile` or `--watch`.
    pub reconcile: Option<LastReconcile>,
    /// When the last run with `--timer`, or pass of `--watch`, began.
    pub scheduled_at: Option<Timestamp>,
    /// When the last run with `--timer` began, if it is among the last ones and after [`Store::note_schedule_removed`].
    pub timer_at: Option<Timestamp>,
}

/// The note of the time when the scheduled job was removed.
const REMOVED: &str = "schedule-removed";
/// The note of the time since when there is a job.
const SINCE: &str = "schedule-since";
/// A run with `--timer` is looked for among so many last runs.
const LATELY: i64 = 5_000;

impl Store {
    /// Records a run, and returns its number. Events belong to the run until [`Store::finish_run`]. The next flush writes the
    /// number into the guard file too.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn begin_run(&mut self, id: RunId, kind: RunKind, timer: bool, now: Timestamp) -> Result<i64, StateError> {
        let changed = self.changed || self.overdue.is_some();
        let number = self.write_unflushed(|change| {
            let sql = "INSERT INTO runs (id, kind, timer, started_at) VALUES (?1, ?2, ?3, ?4)";
            change.tx.execute(sql, params![id.to_string(), kind.as_str(), timer, now.timestamp()])?;
            Ok(change.tx.last_insert_rowid())
        })?;
        self.changed = changed;
        self.run = Some(number);
        self.unguarded = true;
        Ok(number)
    }

    /// Records the result of a run.
    ///
    /// | the run | the guard file | what it wrote survives a power loss |
    /// |---|---|---|
    /// | has written nothing but its own row | stays: a backup from before says the same about sessions and rules | with the next flush, or when the record is closed |
    /// | has flushed its intents | has the run's number since then | likewise; with [`FlushAt::Now`] at once. An outcome that is lost is observed again |
    /// | has written something else | gets the run's number | at once |
    ///
    /// # Errors
    /// The database or its guard file cannot be written.
    pub fn finish_run(&mut self, number: i64, result: &RunResult, at: FlushAt) -> Result<(), StateError> {
        let changed = self.changed || self.overdue.is_some();
        self.write_unflushed(|change| {
            let sql = "UPDATE runs SET finished_at = ?2, converged = ?3, summary = ?4, digest = ?5, next_wake_at = ?6 \
                       WHERE number = ?1";
            change.tx.execute(
                sql,
                params![
                    number,
                    result.finished_at.timestamp(),
                    result.converged,
                    result.summary,
                    result.digest,
                    seconds(result.next_wake_at)
                ],
            )?;
            Ok(())
        })?;
        self.run = None;
        self.changed = false;
        if changed && (self.unguarded || at == FlushAt::Now) { self.flush() } else { Ok(()) }
    }

    /// The command of each of these runs that is kept, by its number.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn run_kinds(&self, runs: &BTreeSet<i64>) -> Result<BTreeMap<i64, RunKind>, StateError> {
        self.read(|connection| {
            let kind = |row: &Row<'_>| {
                let number: i64 = row.get("number")?;
                Ok((number, RowRef::new("runs", number, row).word("kind", RunKind::from_word)?))
            };
            let sql = "SELECT number, kind FROM runs WHERE number IN (SELECT value FROM json_each(?1))";
            let runs = serde_json::json!(runs).to_string();
            Ok(self.damaged.rows(connection, "runs", sql, params![runs], kind)?.into_iter().collect())
        })
    }

    /// When the reconciler was last at work.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn last_runs(&self) -> Result<LastRuns, StateError> {
        self.read(|connection| {
            let sql = "SELECT number, finished_at, converged, summary, next_wake_at FROM runs INDEXED BY runs_reconciled \
                       WHERE kind IN ('reconcile', 'watch') AND finished_at IS NOT NULL ORDER BY number DESC LIMIT 1";
            let last = |row: &Row<'_>| {
                let row = RowRef::new("runs", row.get::<_, i64>("number")?, row);
                Ok(LastReconcile {
                    finished_at: row.time("finished_at")?,
                    converged: row.get("converged")?,
                    summary: row.get("summary")?,
                    next_wake_at: row.maybe_time("next_wake_at")?,
                })
            };
            let reconcile = self.damaged.rows(connection, "runs", sql, params![], last)?.pop();
            let started = |row: &Row<'_>| RowRef::new("runs", row.get::<_, i64>("number")?, row).time("started_at");
            let sql = "SELECT number, started_at FROM runs INDEXED BY runs_scheduled WHERE timer = 1 OR kind = 'watch' \
                       ORDER BY number DESC LIMIT 1";
            let scheduled_at = self.damaged.rows(connection, "runs", sql, params![], started)?.pop();
            let sql = "SELECT number, started_at FROM runs WHERE timer = 1 \
                       AND number > (SELECT max(number) FROM runs) - ?1 ORDER BY number DESC LIMIT 1";
            let timer_at = self.damaged.rows(connection, "runs", sql, params![LATELY], started)?.pop();
            let removed = moment(connection, REMOVED)?;
            let timer_at = timer_at.filter(|at| removed.is_none_or(|removed| *at > removed));
            Ok(LastRuns { reconcile, scheduled_at, timer_at })
        })
    }

    /// Since when there is a scheduled job, as far as the record knows.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn scheduled_since(&self) -> Result<Option<Timestamp>, StateError> {
        self.read(|connection| moment(connection, SINCE))
    }

    /// Notes that there is a scheduled job from now on.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn note_schedule(&mut self, now: Timestamp) -> Result<(), StateError> {
        self.set_note(SINCE, &now.to_rfc3339())
    }

    /// Notes that the scheduled job was removed: earlier runs with `--timer` promise no further ones.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn note_schedule_removed(&mut self, now: Timestamp) -> Result<(), StateError> {
        self.clear_note(SINCE)?;
        self.set_note(REMOVED, &now.to_rfc3339())
    }
}
