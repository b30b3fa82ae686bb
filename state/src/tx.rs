//! The opened record, and the two kinds of transaction that all other files of this crate run in.

use crate::{
    damaged::Damaged,
    error::StateError,
    open::{
        connect::{BUSY_TIMEOUT, user_version},
        files,
        full_disk::{Access, Alone, connect_anyhow},
    },
    watch::Watch,
};
use eg_model::{Timestamp, ids::InstallationId};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::{
    cell::Cell,
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

/// The time that a statement waits for another process, after a wait in vain just before.
const CROWDED_TIMEOUT: Duration = Duration::from_millis(100);

/// The record, opened.
#[derive(Debug)]
pub struct Store {
    /// Shared with other processes. `None` if the files that sharing needs cannot be made; then each transaction makes a
    /// connection of its own, so that other processes are locked out for milliseconds only.
    connection: Option<Connection>,
    access: Access,
    busy_timeout: Cell<Duration>,
    /// The last write found the record locked by another process for the whole timeout: it may be stopped. Until a write
    /// succeeds, further ones wait for a moment only, since closing waits behind them.
    crowded: bool,
    /// The number of shared connections so far: each counts the commits of others anew.
    connections: u32,
    /// The durability that the connection's commits have now.
    durability: Durability,
    /// A commit waits for a flush.
    unflushed: bool,
    /// Something else than the rows of runs has been written since the last run was finished.
    pub(crate) changed: bool,
    /// The guard file waits for the number of the run.
    pub(crate) unguarded: bool,
    /// Set while a restored backup cannot be written. Its live sessions end with the first write.
    pub(crate) overdue: Option<Overdue>,
    pub(crate) path: PathBuf,
    /// The file that the path named when it was opened.
    file: Option<(u64, u64)>,
    pub(crate) installation: InstallationId,
    /// The run that events belong to, between `begin_run` and `finish_run`.
    pub(crate) run: Option<i64>,
    /// The rows that were read and do not parse.
    pub(crate) damaged: Damaged,
    pub(crate) watch: Watch,
}

/// A write that must come before all others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overdue {
    /// The last run in the guard file.
    pub(crate) last_run: i64,
    pub(crate) now: Timestamp,
    pub(crate) write: fn(&WriteTx<'_, '_>, i64, Timestamp) -> Result<(), StateError>,
}

/// The outcome of a guarded write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum RowOutcome {
    /// All of it is recorded.
    Done,
    /// Another process has written one of the rows since it was read: nothing was recorded, read again.
    Raced,
    /// The session that the attempt was for is over: nothing was recorded, open nothing.
    NoLongerWanted,
}

/// A version of the record: while it stays the same, no other process has changed the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordVersion {
    connections: u32,
    commits: i64,
}

/// When a commit has to survive a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// At once: the commit waits for the disk.
    Flushed,
    /// Together with the next one that is flushed, or with [`Store::flush`]. The log keeps the order of commits, so a power
    /// loss takes away the last ones only. Another process sees the commit at once.
    Later,
}

/// One write transaction.
pub(crate) struct WriteTx<'a, 'c> {
    pub(crate) tx: &'a Transaction<'c>,
    /// The run that events belong to.
    pub(crate) run: Option<i64>,
}

impl Durability {
    /// The setting of SQLite in write-ahead mode: FULL flushes the log at each commit, NORMAL before it copies the log.
    fn synchronous(self) -> &'static str {
        match self {
            Self::Flushed => "FULL",
            Self::Later => "NORMAL",
        }
    }
}

impl Store {
    pub(crate) fn new(
        path: &Path,
        installation: InstallationId,
        connection: Option<Connection>,
        access: Access,
    ) -> Self {
        Self {
            connection,
            access,
            busy_timeout: Cell::new(BUSY_TIMEOUT),
            crowded: false,
            connections: 0,
            durability: Durability::Flushed,
            unflushed: false,
            changed: false,
            unguarded: false,
            overdue: None,
            path: path.to_owned(),
            file: files::identity(path),
            installation,
            run: None,
            damaged: Damaged::default(),
            watch: Watch::default(),
        }
    }

    /// This installation's id.
    #[must_use]
    pub fn installation(&self) -> &InstallationId {
        &self.installation
    }

    /// True if another file was put in the place of the one that is open here. No other process sees later writes to the
    /// open one. False if there is no file: there may be one in a moment.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        files::identity(&self.path).is_some_and(|now| Some(now) != self.file)
    }

    /// The record's version, as far as *other* connections change it (`PRAGMA data_version`). `None` while a full disk keeps
    /// the store from sharing the file, because then nothing can tell.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn data_version(&self) -> Result<Option<RecordVersion>, StateError> {
        let Some(connection) = &self.connection else { return Ok(None) };
        let read = || connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0));
        let commits = read().map_err(|error| StateError::from(error).at(&self.path))?;
        Ok(Some(RecordVersion { connections: self.connections, commits }))
    }

    /// Makes all commits so far survive a power loss: one flush serves many. Must come between the intents of calls and
    /// the calls. The first flush of a run also writes the run's number into the guard file: only now, because a guard
    /// ahead of the database is the sign of a restored backup.
    ///
    /// # Errors
    /// The log cannot be flushed, or the guard file cannot be written.
    pub fn flush(&mut self) -> Result<(), StateError> {
        self.flush_log()?;
        if self.unguarded {
            self.write_guard()?;
            self.unguarded = false;
        }
        Ok(())
    }

    fn flush_log(&mut self) -> Result<(), StateError> {
        if self.connection.is_none() || !self.unflushed {
            return Ok(());
        }
        let flushed = self.watch.around(|| flush_log_of(&self.path));
        self.unflushed &= flushed.is_err();
        flushed
    }

    /// True if another process writes to the record just now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let Some(connection) = &self.connection else { return true };
        self.unwaited(|| connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")).is_err()
    }

    /// Makes the log before there is something to write to it, so that the first commit waits for the disk less long. For
    /// times at which the network is waited for anyway. Changes nothing, and waits for no other process.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn make_log(&mut self) -> Result<(), StateError> {
        if files::has_log(&self.path) || self.is_locked() {
            return Ok(());
        }
        let changed = self.changed || self.overdue.is_some();
        self.write_unflushed(|change| {
            // SQLite writes no page for a row that stays the same, and one for this.
            let version = user_version(change.tx)?;
            Ok(change.tx.pragma_update(None, "user_version", version)?)
        })?;
        self.changed = changed;
        Ok(())
    }

    /// Runs statements that do not wait for other processes.
    fn unwaited<T>(&self, run: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let wait = |timeout| self.connection.as_ref().map_or(Ok(()), |connection| connection.busy_timeout(timeout));
        wait(Duration::ZERO)?;
        let done = run();
        wait(self.timeout())?;
        done
    }

    /// Replaces the busy timeout of 5 seconds.
    ///
    /// # Errors
    /// SQLite refuses the value.
    pub fn set_busy_timeout(&self, timeout: Duration) -> Result<(), StateError> {
        self.busy_timeout.set(timeout);
        let Some(connection) = &self.connection else { return Ok(()) };
        connection.busy_timeout(timeout).map_err(|error| StateError::from(error).at(&self.path))
    }

    /// The rows that were read since [`Store::forget_damaged_rows`] and do not parse: each with the reason and the way
    /// out.
    #[must_use]
    pub fn damaged_rows(&self) -> Vec<StateError> {
        self.damaged.errors().into_iter().map(|error| error.at(&self.path)).collect()
    }

    /// Begins to count damaged rows anew: some may have been mended.
    pub fn forget_damaged_rows(&self) {
        self.damaged.forget();
    }

    fn timeout(&self) -> Duration {
        let timeout = self.busy_timeout.get();
        if self.crowded { timeout.min(CROWDED_TIMEOUT) } else { timeout }
    }

    /// Notes if other processes let a write through.
    fn heed_others<T>(&mut self, written: &Result<T, StateError>) {
        let crowded = match written {
            Ok(_) => false,
            Err(error) => self.crowded || error.is_busy(),
        };
        if std::mem::replace(&mut self.crowded, crowded) != crowded
            && let Some(connection) = &self.connection
        {
            // SQLite takes any timeout.
            connection.busy_timeout(self.timeout()).ok();
        }
    }

    /// Runs `work` on one consistent snapshot.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StateError>) -> Result<T, StateError> {
        let snapshot = || {
            let alone;
            let connection = match &self.connection {
                Some(connection) => connection,
                None => {
                    alone = connect_anyhow(&self.path, self.access, self.timeout())?.0;
                    &alone
                }
            };
            let tx = connection.unchecked_transaction()?;
            let found = work(&tx)?;
            tx.finish()?;
            Ok(found)
        };
        snapshot().map_err(|error: StateError| error.at(&self.path))
    }

    /// Runs `work` in one `IMMEDIATE` transaction: all of it is committed, or nothing. The commit survives a power loss.
    pub(crate) fn write<T>(
        &mut self,
        work: impl FnOnce(&WriteTx<'_, '_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.write_somehow(Durability::Flushed, work).map_err(|error| error.at(&self.path))
    }

    /// Runs `work` in one `IMMEDIATE` transaction. A power loss may take the commit away, until the next flush: enough for
    /// intents, which one flush follows before their calls, and for outcomes, which a later pass observes again.
    pub(crate) fn write_unflushed<T>(
        &mut self,
        work: impl FnOnce(&WriteTx<'_, '_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.write_somehow(Durability::Later, work).map_err(|error| error.at(&self.path))
    }

    fn write_somehow<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&WriteTx<'_, '_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut alone = None;
        let mut why = None;
        if self.connection.is_none() {
            let (connection, because) = connect_anyhow(&self.path, self.access, self.timeout())?;
            why = because.filter(|_| self.access == Access::Writing);
            if because.is_none() {
                // It can be shared again.
                self.connection = Some(connection);
                self.connections += 1;
                self.durability = Durability::Flushed;
            } else {
                alone = Some(connection);
            }
        }
        let shared = alone.is_none();
        let Some(connection) = alone.as_mut().or(self.connection.as_mut()) else {
            return Err(StateError::ReadOnly { path: PathBuf::new(), detail: "it is not open".to_owned() });
        };
        if shared && self.durability != durability {
            connection.pragma_update(None, "synchronous", durability.synchronous())?;
            self.durability = durability;
        }
        let changes = connection.total_changes();
        let result = self.watch.around(|| transact(connection, self.run, self.overdue, work));
        let written = connection.total_changes() != changes;
        self.changed |= written;
        // SQLite flushes nothing for a commit without changes.
        if shared && written {
            self.unflushed = durability == Durability::Later || (self.unflushed && result.is_err());
        }
        self.heed_others(&result);
        match result {
            Ok(done) => {
                self.overdue = None;
                Ok(done)
            }
            Err(StateError::ReadOnly { path, detail }) if why == Some(Alone::Room) => {
                Err(StateError::Full { path, detail })
            }
            // A connection that was made while nothing could be written stays so: the next one is made anew.
            Err(error) if error.is_read_only() && self.access == Access::Writing => {
                self.connection = None;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Store {
    /// The last connection to close copies the log into the database, flushes both, and deletes the log. If another process
    /// has the record open, the log stays, and is flushed here.
    fn drop(&mut self) {
        if self.connection.take().is_some() && self.unflushed {
            // What is lost with the power now, the next pass finds again.
            flush_log_of(&self.path).map_err(|error| tracing::warn!("{error}")).ok();
        }
    }
}

/// Flushes the log of a database, if there is one.
fn flush_log_of(path: &Path) -> Result<(), StateError> {
    let log = files::log_of(path);
    match File::open(&log).and_then(|file| file.sync_data()) {
        // The last connection to close has copied the log into the database, flushed both, and deleted the log.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        flushed => flushed.map_err(|source| StateError::Io { doing: "flush", path: log, source }),
    }
}

fn transact<T>(
    connection: &mut Connection,
    run: Option<i64>,
    overdue: Option<Overdue>,
    work: impl FnOnce(&WriteTx<'_, '_>) -> Result<T, StateError>,
) -> Result<T, StateError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let change = WriteTx { tx: &tx, run };
    if let Some(Overdue { last_run, now, write }) = overdue {
        write(&change, last_run, now)?;
    }
    let result = work(&change)?;
    tx.commit()?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventKind, OpenOptions, open::guard, schema};
    use chrono::DateTime;
    use eg_model::{
        ids::{GrantId, RuleId, RunId, SessionId},
        lease::Attempt,
        net::permission::{Permission, PortSpec},
        session::record::{Grant, GrantPermission, GrantStatus, Session, SessionStatus, Standing},
        target::{Target, TargetKey},
    };
    use std::collections::{BTreeMap, BTreeSet};
    use uuid::Uuid;

    fn opened(directory: &Path) -> Store {
        let id = InstallationId::from_uuid(Uuid::from_u128(7));
        let path = directory.join("state.db");
        let opening = OpenOptions {
            path: &path,
            machine: Some("here"),
            new_installation: id,
            now: at(0),
            watch: Watch::default(),
        };
        Store::open(&opening).unwrap().0
    }

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn session(number: u128, reason: &str) -> Session {
        let target = TargetKey::new("aws", "security-group", "eu-west-1", "sg-1");
        let target = Target::new(target);
        let address = "203.0.113.42".parse().unwrap();
        let permission = Permission::for_host(PortSpec::Tcp(22, 22), address);
        Session {
            id: SessionId(Uuid::from_u128(number)),
            user_name: "Alice".into(),
            user_email: None,
            reason: Some(reason.into()),
            follow: false,
            followed_name: None,
            status: SessionStatus::Pending,
            started_at: at(0),
            expires_at: at(3600),
            ended_at: None,
            ended_reason: None,
            caller_arns: BTreeSet::new(),
            grants: vec![Grant {
                id: GrantId(Uuid::from_u128(number)),
                resource_name: "a".into(),
                target,
                address,
                status: GrantStatus::Pending,
                permissions: vec![GrantPermission { permission, standing: Standing::Untried }],
                applied_at: None,
                removed_at: None,
                without_auto_close: None,
            }],
        }
    }

    fn connection(store: &Store) -> &Connection {
        store.connection.as_ref().unwrap()
    }

    fn pragma(store: &Store, name: &str) -> String {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        connection(store).query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_intent_survives_a_power_loss() {
        let directory = tempfile::tempdir().unwrap();
        let store = opened(directory.path());
        for (name, value) in [
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("fullfsync", "1"),
            ("checkpoint_fullfsync", "1"),
            ("foreign_keys", "1"),
            ("busy_timeout", "5000"),
        ] {
            let column = if name == "busy_timeout" { "timeout" } else { name };
            let sql = format!("SELECT CAST({column} AS TEXT) FROM pragma_{name}");
            let found: String = connection(&store).query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(found, value, "{name}");
        }
        assert_eq!(pragma(&store, "user_version"), schema::VERSION.to_string());
        assert_eq!(pragma(&store, "application_id"), schema::APPLICATION_ID.to_string());
    }

    /// Leaves no page to write to.
    fn fill(store: &Store) {
        let pages: i64 = connection(store).query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let sql = format!("PRAGMA max_page_count = {pages}");
        connection(store).query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap();
    }

    fn empty(store: &Store) {
        let sql = "PRAGMA max_page_count = 1000000";
        connection(store).query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    }

    #[test]
    fn on_a_full_disk_a_session_is_recorded_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = opened(directory.path());
        fill(&store);
        let big = session(1, &"x".repeat(100_000));
        let error = store.start(&big).unwrap_err();
        assert!(error.has_no_room(), "{error}");
        assert!(error.to_string().contains("state.db"), "{error}");
        assert_eq!(store.session(big.id).unwrap(), None);
        assert_eq!(store.events(None).unwrap().len(), 1);
        empty(&store);
        store.start(&big).unwrap();
        assert_eq!(store.session(big.id).unwrap(), Some(big));
    }

    #[test]
    fn on_a_full_disk_no_intent_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = opened(directory.path());
        let session = session(1, "work");
        store.start(&session).unwrap();
        let grant = &session.grants[0];
        let lease = store.claim(&grant.target, &grant.permissions[0].permission, at(1)).unwrap();
        fill(&store);
        let mut event = Event::new(at(2), EventKind::Intent, "authorize");
        event.detail = Some("x".repeat(100_000));
        let intent = lease.intend(Attempt::Opening, at(2));
        let error = store.begin_attempt(Some((session.id, at(2))), &[(intent, 0)], &[event]).unwrap_err();
        assert!(error.has_no_room(), "{error}");
        assert_eq!(store.open_leases().unwrap(), vec![lease], "the lease is as it was");
    }

    #[test]
    fn a_full_disk_loses_no_standing() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = opened(directory.path());
        let session = session(1, "work");
        store.start(&session).unwrap();
        fill(&store);
        let slot = (session.grants[0].target.key.clone(), session.grants[0].permissions[0].permission);
        let failed = BTreeMap::from([(slot.clone(), Standing::Failed("x".repeat(100_000)))]);
        assert!(store.record_standings(&failed, at(1), Some(at(1))).unwrap_err().has_no_room());
        assert_eq!(store.session(session.id).unwrap().unwrap(), session);
        empty(&store);
        let own = BTreeMap::from([(slot, Standing::Own(RuleId("sgr-1".into())))]);
        assert_eq!(store.record_standings(&own, at(1), Some(at(1))).unwrap().len(), 1);
    }

    #[test]
    fn events_are_append_only() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = opened(directory.path());
        store.start(&session(1, "work")).unwrap();
        for sql in ["UPDATE events SET outcome = 'x'", "DELETE FROM events", "DELETE FROM events WHERE id = 1"] {
            let error = connection(&store).execute(sql, []).unwrap_err();
            assert!(error.to_string().contains("append-only"), "{error}");
        }
        store.prune(at(401 * 86_400)).unwrap();
        assert_eq!(store.events(None).unwrap(), vec![]);
        assert_eq!(store.live_sessions().unwrap().len(), 1, "a live session is never pruned");
    }

    #[test]
    fn latches_hold_below_this_crate_too() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = opened(directory.path());
        let session = session(1, "work");
        store.start(&session).unwrap();
        let grant = &session.grants[0];
        let lease = store.claim(&grant.target, &grant.permissions[0].permission, at(1)).unwrap();
        store.stop(session.id, at(2)).unwrap();
        assert_eq!(store.open_leases().unwrap(), vec![], "the untouched claim was closed with the stop");
        for sql in [
            "UPDATE sessions SET status = 'PENDING', ended_at = NULL, ended_reason = NULL",
            "UPDATE grants SET status = 'PENDING', removed_at = NULL",
            "UPDATE leases SET phase = 'claimed'",
            "UPDATE leases SET version = version",
            "UPDATE sessions SET expires_at = started_at",
            "UPDATE sessions SET status = 'DONE'",
            "UPDATE leases SET version = -1",
            "DELETE FROM targets",
        ] {
            assert!(connection(&store).execute(sql, []).is_err(), "{sql}");
        }
        let (sql, id) = ("SELECT version FROM leases WHERE id = ?1", lease.id.0);
        assert_eq!(connection(&store).query_row(sql, [id], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }

    #[test]
    fn a_run_that_changes_nothing_does_not_wait_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let result = |converged| crate::RunResult {
            finished_at: at(9),
            converged,
            summary: None,
            digest: None,
            next_wake_at: None,
        };
        let guard = |store: &Store| guard::read(&store.path).unwrap().unwrap().last_run;
        let run = |number| (RunId(Uuid::from_u128(number)), crate::RunKind::Reconcile);
        drop(opened(directory.path()));
        let mut store = opened(directory.path());

        let (id, kind) = run(1);
        let first = store.begin_run(id, kind, true, at(1)).unwrap();
        store.finish_run(first, &result(true), crate::FlushAt::Now).unwrap();
        assert!(store.unflushed && guard(&store) == 0, "neither the log nor the guard file waits");
        let last = store.last_runs().unwrap().reconcile.unwrap();
        assert_eq!((last.finished_at, last.converged), (at(9), true), "it is on record all the same");

        let (id, kind) = run(2);
        let second = store.begin_run(id, kind, true, at(2)).unwrap();
        store.start(&session(1, "work")).unwrap();
        store.finish_run(second, &result(false), crate::FlushAt::Now).unwrap();
        assert!(!store.unflushed);
        assert_eq!(guard(&store), second, "a change brings the guard file up to date");

        // A change outside of a run, as a stop is, counts for the next run.
        let (id, kind) = run(3);
        store.stop(SessionId(Uuid::from_u128(1)), at(3)).unwrap();
        let third = store.begin_run(id, kind, true, at(3)).unwrap();
        store.finish_run(third, &result(true), crate::FlushAt::Close).unwrap();
        assert!(!store.unflushed);
        assert_eq!(guard(&store), third);

        // Outcomes after the flush of the intents wait until the record is closed, unless that is far away.
        for (number, at_end, waits) in [(5, crate::FlushAt::Close, true), (6, crate::FlushAt::Now, false)] {
            let (id, kind) = run(number);
            let begun = store.begin_run(id, kind, true, at(4)).unwrap();
            store.set_note("intent", &number.to_string()).unwrap();
            store.flush().unwrap();
            store.set_note("outcome", &number.to_string()).unwrap();
            store.finish_run(begun, &result(true), at_end).unwrap();
            assert_eq!(store.unflushed, waits, "{at_end:?}");
            assert_eq!(guard(&store), begun);
        }

        let before = guard(&store);
        let (id, kind) = run(4);
        let fourth = store.begin_run(id, kind, true, at(4)).unwrap();
        store.finish_run(fourth, &result(true), crate::FlushAt::Now).unwrap();
        assert!(store.unflushed && guard(&store) == before);
        drop(store);
        let log = files::log_of(&directory.path().join("state.db"));
        assert!(!log.exists(), "the last to close the record flushes it");
    }

    #[test]
    fn the_log_is_made_in_advance_and_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(opened(directory.path()));
        let content = |store: &Store| -> Vec<(String, String)> {
            let mut statement = connection(store).prepare("SELECT key, value FROM meta ORDER BY key").unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        let mut store = opened(directory.path());
        let (before, log) = (content(&store), files::log_of(&store.path));
        assert!(!files::has_log(&store.path));
        store.make_log().unwrap();
        let size = std::fs::metadata(&log).unwrap().len();
        assert!(size > 0 && !store.changed);
        store.make_log().unwrap();
        assert_eq!((content(&store), std::fs::metadata(&log).unwrap().len()), (before, size));
    }

    #[test]
    fn a_run_number_is_never_given_twice() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = opened(directory.path());
        let run = |number| RunId(Uuid::from_u128(number));
        assert_eq!(store.begin_run(run(1), crate::RunKind::Reconcile, true, at(0)).unwrap(), 1);
        connection(&store).execute("DELETE FROM runs", []).unwrap();
        assert_eq!(store.begin_run(run(2), crate::RunKind::Reconcile, true, at(1)).unwrap(), 2);
        store.flush().unwrap();
        assert_eq!(guard::read(&store.path).unwrap().unwrap().last_run, 2);
    }
}
