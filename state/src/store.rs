//! OpenOptions the record, and the transactions that everything else runs in.

use crate::{
    StateError,
    damaged::Damaged,
    events::{self, Event, EventKind},
    open::{
        files,
        guard::{self, Guard},
        network_fs::refuse_network,
    },
    schema,
    sessions::lifecycle,
    watch::Watch,
};
use eg_model::{
    Timestamp,
    ids::{InstallationId, SessionId},
    session::record::EndedReason,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, config::DbConfig, params};
use std::{
    cell::Cell,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a statement waits for another process. Transactions here take milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for a process that has waited so long in vain just before.
const CROWDED_TIMEOUT: Duration = Duration::from_millis(100);

/// Keys in the table `meta`.
pub(crate) const INSTALLATION: &str = "installation";
pub(crate) const MACHINE: &str = "machine";
pub(crate) const NOTE: &str = "note:";

/// What opening the record for writing needs from the outside.
#[derive(Clone, Debug)]
pub struct OpenOptions<'a> {
    /// The database file.
    pub path: &'a Path,
    /// The fingerprint of this machine; `None` when it has no stable one.
    pub machine: Option<&'a str>,
    /// The id that the installation gets, if this call creates the database.
    pub new_installation: InstallationId,
    /// The command's clock reading, whole seconds.
    pub now: Timestamp,
    /// Who observes the writes, those that make the database included.
    pub watch: Watch,
}

/// What the caller should tell the user about after opening.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenNotice {
    /// The database is older than its guard file: a restored backup. Its live sessions were ended.
    RestoredBackup {
        /// The sessions that were live in the backup.
        ended: Vec<SessionId>,
    },
    /// The guard file was missing or unreadable beside an existing database, and was written anew; until now a
    /// restored backup would have gone unnoticed.
    GuardWritten {
        /// The guard file.
        path: PathBuf,
    },
    /// The guard file could not be written at opening. Not an error: closing must go on.
    GuardNotWritten {
        /// Why.
        error: String,
    },
    /// A new database was made where a guard file of an earlier one still stood. The earlier one's rules close by
    /// their own tags.
    LostDatabase {
        /// The installation whose database is gone.
        previous: InstallationId,
    },
    /// The record can be read, and what is due be closed, but nothing can be recorded for now
    /// ([`StateError::is_unwritable`]).
    Unwritable {
        /// What could not be done, and why.
        error: String,
        /// What to do about it.
        advice: Option<String>,
    },
}

/// What a store was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Reading,
    Writing,
}

impl OpenNotice {
    fn unwritable(error: &StateError) -> Self {
        Self::Unwritable { error: error.to_string(), advice: error.advice() }
    }
}

/// Why a connection is not shared with other processes: what sharing needs cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alone {
    /// There is no room for it.
    Room,
    /// The file system is read-only, or not ours to write.
    ReadOnly,
}

/// The record, opened.
#[derive(Debug)]
pub struct Store {
    /// Shared with other processes. `None` where what sharing needs cannot be made; then each transaction makes a
    /// connection of its own, so that other processes are locked out for milliseconds only.
    connection: Option<Connection>,
    access: Access,
    busy_timeout: Cell<Duration>,
    /// The last write found the record locked by another process for the whole timeout: it may be stopped. Until a write
    /// succeeds, further ones wait for a moment only, since closing waits behind them.
    crowded: bool,
    /// Added to what the connection counts itself: see [`Store::change_count`].
    changes_before: Cell<u64>,
    /// The last run in the guard file, when the database is a restored backup that could not be written yet. Its
    /// live sessions end with the first write.
    behind: Option<(i64, Timestamp)>,
    pub(crate) path: PathBuf,
    /// Which file the path named when it was opened.
    file: Option<(u64, u64)>,
    pub(crate) installation: InstallationId,
    /// The run that events belong to, between `begin_run` and `finish_run`.
    pub(crate) run: Option<i64>,
    /// What was read and does not parse.
    pub(crate) damaged: Damaged,
    watch: Watch,
}

impl Store {
    /// Opens the record for writing. Makes directory (0700) and files (0600) where they are missing, brings the
    /// schema up to date, and checks owner, file system, machine and guard.
    ///
    /// # Errors
    /// Whatever is not certainly this installation's own, current, healthy database is refused, and left byte for
    /// byte alone: see [`StateError`].
    pub fn open(opening: &OpenOptions<'_>) -> Result<(Self, Vec<OpenNotice>), StateError> {
        let path = opening.path;
        files::prepare_directory(path)?;
        refuse_network(files::directory_of(path))?;
        files::check_files(path)?;
        check_header(path)?;
        // SQLite gives its own files the database's mode, so first.
        files::tighten_files(path)?;
        Self::open_checked(opening).map_err(|error| error.at(path))
    }

    fn open_checked(opening: &OpenOptions<'_>) -> Result<(Self, Vec<OpenNotice>), StateError> {
        let mut notices = Vec::new();
        let mut store = match connect_for_writing(opening.path, &opening.watch) {
            Ok(mut connection) => {
                let installation = match read_meta(&connection, INSTALLATION)? {
                    Some(text) => parse_installation(&text)?,
                    None => opening.watch.around(|| found(&mut connection, opening, &mut notices))?,
                };
                Self::new(opening.path, installation, Some(connection), Access::Writing)
            }
            Err(error) if error.is_unwritable() => {
                let Some(store) = open_alone(opening.path)? else { return Err(error) };
                notices.push(OpenNotice::unwritable(&error.at(opening.path)));
                store
            }
            Err(error) => return Err(error),
        };
        store.watch = opening.watch.clone();
        for unwritten in [store.check_machine(opening.machine)?, store.check_guard(opening.now, &mut notices)?] {
            if !notices.iter().any(|notice| matches!(notice, OpenNotice::Unwritable { .. })) {
                notices.extend(unwritten.as_ref().map(OpenNotice::unwritable));
            }
        }
        Ok((store, notices))
    }

    fn new(path: &Path, installation: InstallationId, connection: Option<Connection>, access: Access) -> Self {
        Self {
            connection,
            access,
            busy_timeout: Cell::new(BUSY_TIMEOUT),
            crowded: false,
            changes_before: Cell::new(0),
            behind: None,
            path: path.to_owned(),
            file: files::identity(path),
            installation,
            run: None,
            damaged: Damaged::default(),
            watch: Watch::default(),
        }
    }

    /// Opens the record for reading. `None` when there is none; creates no record, takes no lock of ours, never
    /// migrates, and does not care which machine it is. (SQLite itself may make its `-shm` and `-wal` files.)
    ///
    /// # Errors
    /// A file of somebody else, a damaged file, another program's, or one of another schema version.
    pub fn open_read_only(path: &Path) -> Result<Option<Self>, StateError> {
        files::check_files(path)?;
        if check_header(path)?.is_none() {
            return Ok(None);
        }
        open_reader(path).map_err(|error| error.at(path))
    }

    /// A record of nothing, in memory: for those who look where there is no record yet, and make none.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn empty(path: &Path, installation: InstallationId) -> Result<Self, StateError> {
        let mut connection = Connection::open_in_memory()?;
        schema::migrate(&mut connection)?;
        Ok(Self::new(path, installation, Some(connection), Access::Reading))
    }

    /// Makes the database this machine's: after a move to new hardware, or when its guard names another
    /// installation. The installation id and all leases stay. Returns the id.
    ///
    /// # Errors
    /// [`StateError::Missing`] where there is no database; else as [`Store::open`].
    pub fn adopt(path: &Path, machine: &str, now: Timestamp) -> Result<InstallationId, StateError> {
        files::check_files(path)?;
        if check_header(path)?.is_none() {
            return Err(StateError::Missing { path: path.to_owned() });
        }
        files::prepare_directory(path)?;
        refuse_network(files::directory_of(path))?;
        files::tighten_files(path)?;
        adopt_checked(path, machine, now).map_err(|error| error.at(path))
    }

    /// This installation's id.
    #[must_use]
    pub fn installation(&self) -> &InstallationId {
        &self.installation
    }

    /// Whether the path names another file by now: somebody has put one in the place of the one that is open here. What
    /// is written to this one from then on, nobody else sees. Where there is no file there may be one in a moment.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        files::identity(&self.path).is_some_and(|now| Some(now) != self.file)
    }

    /// A number that changes whenever *another* connection has committed (`PRAGMA data_version`).
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn data_version(&self) -> Result<i64, StateError> {
        self.read(|connection| Ok(connection.query_row("PRAGMA data_version", [], |row| row.get(0))?))
    }

    /// How many rows this store has changed (`sqlite3_total_changes`). Together with [`Store::data_version`], which
    /// tells of commits by *other* connections only, it says whether something read before is still the record: while
    /// both answer the same, nothing has changed. A change that was rolled back counts too. While a full disk keeps
    /// the store from sharing the file, every call answers another number, because then nothing could tell.
    #[must_use]
    pub fn change_count(&self) -> u64 {
        let before = self.changes_before.get();
        match &self.connection {
            Some(connection) => before + connection.total_changes(),
            None => {
                self.changes_before.set(before + 1);
                before
            }
        }
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

    /// The rows that were read and do not parse, since [`Store::forget_damaged_rows`]: which, why, and what to do.
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

    /// Notes whether others let a write through.
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

    /// A text that was noted under `key`, such as when a failure was last reported.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn note(&self, key: &str) -> Result<Option<String>, StateError> {
        self.read(|connection| read_meta(connection, &format!("{NOTE}{key}")))
    }

    /// Notes a text under `key`, in place of what was there.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_note(&mut self, key: &str, value: &str) -> Result<(), StateError> {
        self.write(|change| write_meta(change.tx, &format!("{NOTE}{key}"), value))
    }

    /// Forgets what was noted under `key`.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn clear_note(&mut self, key: &str) -> Result<(), StateError> {
        self.write(|change| {
            change.tx.execute("DELETE FROM meta WHERE key = ?1", [format!("{NOTE}{key}")])?;
            Ok(())
        })
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

    /// Runs `work` in one `IMMEDIATE` transaction: all of it is committed, or nothing.
    pub(crate) fn write<T>(
        &mut self,
        work: impl FnOnce(&WriteTx<'_, '_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let path = self.path.clone();
        self.write_somehow(work).map_err(|error| error.at(&path))
    }

    fn write_somehow<T>(
        &mut self,
        work: impl FnOnce(&WriteTx<'_, '_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut alone = None;
        let mut why = None;
        if self.connection.is_none() {
            let (connection, because) = connect_anyhow(&self.path, self.access, self.timeout())?;
            why = because.filter(|_| self.access == Access::Writing);
            if because.is_none() {
                // It can be shared again. No earlier count may come back.
                self.changes_before.set(self.changes_before.get() + 1);
                self.connection = Some(connection);
            } else {
                alone = Some(connection);
            }
        }
        let Some(connection) = alone.as_mut().or(self.connection.as_mut()) else {
            return Err(StateError::ReadOnly { path: PathBuf::new(), detail: "it is not open".to_owned() });
        };
        let result = self.watch.around(|| transact(connection, self.run, self.behind, work));
        self.heed_others(&result);
        match result {
            Ok(done) => {
                self.behind = None;
                Ok(done)
            }
            Err(StateError::ReadOnly { path, detail }) if why == Some(Alone::Room) => {
                Err(StateError::Full { path, detail })
            }
            // A connection that was made while nothing could be written stays so: the next one is made anew.
            Err(error) if error.is_read_only() && self.access == Access::Writing => {
                let made = self.connection.take().map_or(0, |connection| connection.total_changes());
                self.changes_before.set(self.changes_before.get() + made + 1);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Refuses another machine's database, and notes this machine where none is on record. Returns what kept it from
    /// being noted, if the record cannot be written for now.
    fn check_machine(&mut self, machine: Option<&str>) -> Result<Option<StateError>, StateError> {
        let Some(here) = machine else { return Ok(None) };
        match self.read(|connection| read_meta(connection, MACHINE))? {
            Some(recorded) if recorded != here => {
                Err(StateError::OtherMachine { path: self.path.clone(), recorded, here: here.to_owned() })
            }
            Some(_) => Ok(None),
            None => match self.write(|change| write_meta(change.tx, MACHINE, here)) {
                Err(error) if error.is_unwritable() => Ok(Some(error)),
                other => other.map(|()| None),
            },
        }
    }

    /// Compares with the guard file. The guard is read first: it is written after the commit of its run, so at any
    /// moment a healthy database, read later, is at least as far. Returns what kept a restored backup from being
    /// brought up to date, if the record cannot be written for now.
    fn check_guard(&mut self, now: Timestamp, notices: &mut Vec<OpenNotice>) -> Result<Option<StateError>, StateError> {
        let Some(guard) = guard::read(&self.path)? else {
            let path = guard::path(&self.path);
            let notice = match self.write_guard() {
                Ok(()) => OpenNotice::GuardWritten { path },
                Err(error) => OpenNotice::GuardNotWritten { error: error.to_string() },
            };
            notices.push(notice);
            return Ok(None);
        };
        if guard.installation != self.installation {
            let found = self.installation.clone();
            return Err(StateError::OtherInstallation { path: self.path.clone(), found, expected: guard.installation });
        }
        if guard.last_run <= self.last_run_number()? {
            return Ok(None);
        }
        match self.write(|change| end_restored(change, guard.last_run, now)) {
            Ok(ended) => {
                notices.push(OpenNotice::RestoredBackup { ended });
                Ok(None)
            }
            Err(error) if error.is_unwritable() => {
                self.behind = Some((guard.last_run, now));
                notices.push(OpenNotice::RestoredBackup { ended: Vec::new() });
                Ok(Some(error))
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn last_run_number(&self) -> Result<i64, StateError> {
        self.read(last_run)
    }

    /// Writes the guard file from what is committed.
    pub(crate) fn write_guard(&self) -> Result<(), StateError> {
        let last_run = self.last_run_number()?;
        guard::write(&self.path, &Guard { installation: self.installation.clone(), last_run })
    }
}

/// Ends what a backup takes for live: since it was made, those sessions may have been stopped, and their rules
/// closed. Catches the run counter up in the same transaction, so that this happens once.
fn end_restored(change: &WriteTx<'_, '_>, last_run: i64, now: Timestamp) -> Result<Vec<SessionId>, StateError> {
    let cause = "the database is a restored backup";
    let live = lifecycle::live_ids(change.tx)?;
    lifecycle::end(change, &live, EndedReason::Expired, now, cause)?;
    set_last_run(change.tx, last_run)?;
    change.event(&Event::new(now, EventKind::BackupRestored, "live sessions ended"))?;
    Ok(live)
}

fn transact<T>(
    connection: &mut Connection,
    run: Option<i64>,
    behind: Option<(i64, Timestamp)>,
    work: impl FnOnce(&WriteTx<'_, '_>) -> Result<T, StateError>,
) -> Result<T, StateError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let change = WriteTx { tx: &tx, run };
    if let Some((last_run, now)) = behind {
        end_restored(&change, last_run, now)?;
    }
    let result = work(&change)?;
    tx.commit()?;
    Ok(result)
}

/// One write transaction.
pub(crate) struct WriteTx<'a, 'c> {
    pub(crate) tx: &'a Transaction<'c>,
    run: Option<i64>,
}

impl WriteTx<'_, '_> {
    /// Appends an event; it belongs to the current run unless it names another.
    pub(crate) fn event(&self, event: &Event) -> Result<(), StateError> {
        events::insert(self.tx, event, event.run.or(self.run))
    }
}

/// Checks what the file's header says; nothing is made beside it.
pub(crate) fn check_header(path: &Path) -> Result<Option<files::Header>, StateError> {
    let header = files::header(path)?;
    if let Some(header) = &header {
        check_identity(path, header.application_id, header.user_version)?;
    }
    Ok(header)
}

fn check_identity(path: &Path, application_id: u32, version: i64) -> Result<(), StateError> {
    if application_id != schema::APPLICATION_ID {
        return Err(StateError::OtherApplication { path: path.to_owned(), found: application_id });
    }
    if version > schema::VERSION {
        let known = schema::VERSION;
        return Err(StateError::NewerSchema { path: path.to_owned(), found: version, known });
    }
    Ok(())
}

pub(crate) fn user_version(connection: &Connection) -> Result<i64, StateError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Connects, making the database where it is missing, and brings the schema up to date.
fn connect_for_writing(path: &Path, watch: &Watch) -> Result<Connection, StateError> {
    let current = |connection: &Connection| Ok::<_, StateError>(user_version(connection)? == schema::VERSION);
    if files::header(path)?.is_some() {
        let connection = connect(path)?;
        if current(&connection)? {
            settings(&connection)?;
            schema::check(&connection)?;
            return Ok(connection);
        }
    }
    let founding = files::founding(path, BUSY_TIMEOUT)?;
    if files::header(path)?.is_none() {
        files::create(path)?;
        let connection = raw_connection(path)?;
        // Before anything else and in rollback mode, so that it stands in the file's first page at once.
        connection.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    }
    let mut connection = connect(path)?;
    settings(&connection)?;
    if !current(&connection)? {
        watch.around(|| schema::migrate(&mut connection))?;
    }
    schema::check(&connection)?;
    drop(founding);
    Ok(connection)
}

fn raw_connection(path: &Path) -> Result<Connection, StateError> {
    let connection = opened(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// No SQL of ours, and none that a damaged or foreign file holds, may write what only SQLite itself should.
fn opened(name: impl AsRef<Path>, flags: OpenFlags) -> Result<Connection, StateError> {
    let connection = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(connection)
}

/// Connects to an existing database and checks it. Until it has passed, closing the connection must not copy the
/// write-ahead log into a file that is refused.
pub(crate) fn connect(path: &Path) -> Result<Connection, StateError> {
    let connection = raw_connection(path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let version = user_version(&connection).map_err(|error| for_want_of_room(path, error))?;
    check_identity(path, schema::APPLICATION_ID, version)?;
    check_health(&connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(connection)
}

/// Finds the full disk behind an error of connecting: where it is the count of files that is used up, SQLite only says
/// that it cannot open one.
fn for_want_of_room(database: &Path, error: StateError) -> StateError {
    match error {
        StateError::ReadOnly { path, detail } if !files::has_room(database) => StateError::Full { path, detail },
        other => other,
    }
}

/// Connects to an existing database, also where it cannot be written; and says why the connection cannot be kept, if it
/// locks all others out.
fn connect_anyhow(path: &Path, access: Access, timeout: Duration) -> Result<(Connection, Option<Alone>), StateError> {
    let begun = Instant::now();
    let (connection, alone) = loop {
        let why = match connect_shared(path, access) {
            Err(error) if error.has_no_room() => Alone::Room,
            // Not even an empty log can be made, and none holds anything: the database alone is the whole record.
            Err(error) if error.is_read_only() && !files::has_log(path) => {
                break (immutable(path)?, Some(Alone::ReadOnly));
            }
            other => break (other?, None),
        };
        match connect_alone(path, access) {
            // Both of two that wait with a lock in hand would wait in vain: let go and come again.
            Err(error) if error.is_busy() && begun.elapsed() < timeout => std::thread::sleep(Duration::from_millis(5)),
            other => break (other?, Some(why)),
        }
    };
    if access == Access::Reading {
        connection.pragma_update(None, "query_only", true)?;
    }
    connection.busy_timeout(timeout)?;
    Ok((connection, alone))
}

fn connect_shared(path: &Path, access: Access) -> Result<Connection, StateError> {
    if access == Access::Writing {
        let connection = connect(path)?;
        settings(&connection)?;
        return Ok(connection);
    }
    let connection = opened(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    user_version(&connection).map_err(|error| for_want_of_room(path, error))?;
    Ok(connection)
}

/// Connects to a database that the disk has no room to share: the index of the write-ahead log is a file of its own,
/// except for a process that locks the database for itself before it looks at the log (sqlite.org/wal.html, "Use of WAL
/// Without Shared-Memory"). Does not wait for others. Closing the connection copies nothing.
fn connect_alone(path: &Path, access: Access) -> Result<Connection, StateError> {
    let checked = |connection: &Connection| {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        check_identity(path, schema::APPLICATION_ID, user_version(connection)?)?;
        if access == Access::Writing { settings(connection) } else { Ok(()) }
    };
    let connection = raw_connection(path)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    match checked(&connection) {
        Ok(()) => Ok(connection),
        // Not even an empty log can be made, and none holds anything: the database alone is the whole record.
        Err(StateError::ReadOnly { .. }) if !files::has_log(path) => immutable(path),
        Err(error) => Err(error),
    }
}

/// Reads the database without its log, locks, or any file beside it.
fn immutable(path: &Path) -> Result<Connection, StateError> {
    opened(files::immutable_uri(path), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

/// A quick check of every page: a record of years is some megabytes, which take milliseconds.
fn check_health(connection: &Connection) -> Result<(), StateError> {
    // What stands in a row is judged where it is read: one that breaks a CHECK is no reason to read none.
    connection.pragma_update(None, "ignore_check_constraints", true)?;
    let checked = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    connection.pragma_update(None, "ignore_check_constraints", false)?;
    let detail = checked?;
    if detail == "ok" { Ok(()) } else { Err(StateError::Corrupt { path: PathBuf::new(), detail }) }
}

/// An intent log must survive a power loss: `synchronous=FULL` syncs the write-ahead log at every commit, and
/// `fullfsync` does so for real on macOS.
fn settings(connection: &Connection) -> Result<(), StateError> {
    // Switching a new database to WAL answers BUSY without waiting when another process is just opening it.
    let begun = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL").map_err(StateError::from) {
            Err(error) if error.is_busy() && begun.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => break other?,
        }
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

/// Gives a new database its installation. The guard file is written before the commit: a process that sees the
/// installation then never sees the guard of an earlier, lost database.
fn found(
    connection: &mut Connection,
    opening: &OpenOptions<'_>,
    notices: &mut Vec<OpenNotice>,
) -> Result<InstallationId, StateError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(text) = read_meta(&tx, INSTALLATION)? {
        // Another process was faster.
        return parse_installation(&text);
    }
    let id = opening.new_installation.clone();
    write_meta(&tx, INSTALLATION, id.as_str())?;
    if let Some(machine) = opening.machine {
        write_meta(&tx, MACHINE, machine)?;
    }
    if let Some(lost) = guard::read(opening.path)?.filter(|guard| guard.installation != id) {
        notices.push(OpenNotice::LostDatabase { previous: lost.installation });
    }
    events::insert(&tx, &Event::new(opening.now, EventKind::Created, id.as_str()), None)?;
    if let Err(error) = guard::write(opening.path, &Guard { installation: id.clone(), last_run: 0 })
        && guard::remove(opening.path).is_err()
    {
        // Committed, the database would be refused for the guard that stands there.
        return Err(error);
    }
    tx.commit()?;
    Ok(id)
}

/// Opens a healthy, current database that cannot be written; `None` where it is not yet complete or not current.
fn open_alone(path: &Path) -> Result<Option<Store>, StateError> {
    if files::header(path)?.is_none() {
        return Ok(None);
    }
    let (connection, alone) = connect_anyhow(path, Access::Writing, BUSY_TIMEOUT)?;
    check_health(&connection)?;
    if user_version(&connection)? != schema::VERSION {
        return Ok(None);
    }
    schema::check(&connection)?;
    let found = read_meta(&connection, INSTALLATION)?.as_deref().map(parse_installation).transpose()?;
    Ok(found.map(|id| Store::new(path, id, alone.is_none().then_some(connection), Access::Writing)))
}

fn open_reader(path: &Path) -> Result<Option<Store>, StateError> {
    let (connection, alone) = connect_anyhow(path, Access::Reading, BUSY_TIMEOUT)?;
    let found = read_installation(path, &connection)?;
    Ok(found.map(|id| Store::new(path, id, alone.is_none().then_some(connection), Access::Reading)))
}

/// `None` where the database is just being made.
fn read_installation(path: &Path, connection: &Connection) -> Result<Option<InstallationId>, StateError> {
    let version = user_version(connection)?;
    check_identity(path, schema::APPLICATION_ID, version)?;
    if version == 0 {
        return Ok(None);
    }
    if version < schema::VERSION {
        return Err(StateError::OlderSchema { path: path.to_owned(), found: version, known: schema::VERSION });
    }
    schema::check(connection)?;
    read_meta(connection, INSTALLATION)?.as_deref().map(parse_installation).transpose()
}

fn adopt_checked(path: &Path, machine: &str, now: Timestamp) -> Result<InstallationId, StateError> {
    let mut connection = connect_for_writing(path, &Watch::default())?;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let text = read_meta(&tx, INSTALLATION)?.ok_or_else(|| StateError::row("meta", INSTALLATION, "it is missing"))?;
    let installation = parse_installation(&text)?;
    write_meta(&tx, MACHINE, machine)?;
    events::insert(&tx, &Event::new(now, EventKind::Adopted, machine), None)?;
    // A guard of the same installation stays: if it is ahead, the next opening must notice the old backup.
    if guard::read(path)?.is_none_or(|guard| guard.installation != installation) {
        guard::write(path, &Guard { installation: installation.clone(), last_run: last_run(&tx)? })?;
    }
    tx.commit()?;
    Ok(installation)
}

pub(crate) fn parse_installation(text: &str) -> Result<InstallationId, StateError> {
    InstallationId::parse(text)
        .ok_or_else(|| StateError::row("meta", INSTALLATION, format!("\"{text}\" is not an installation id")))
}

pub(crate) fn read_meta(connection: &Connection, key: &str) -> Result<Option<String>, StateError> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?)
}

pub(crate) fn write_meta(connection: &Connection, key: &str, value: &str) -> Result<(), StateError> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.execute(sql, params![key, value])?;
    Ok(())
}

/// The last run number ever given, also when the run itself was pruned.
fn last_run(connection: &Connection) -> Result<i64, StateError> {
    let sql = "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'runs'), 0)";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

fn set_last_run(connection: &Connection, number: i64) -> Result<(), StateError> {
    if connection.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'runs'", [number])? == 0 {
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('runs', ?1)", [number])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use eg_model::{
        ids::{GrantId, RuleId, RunId},
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
    fn a_run_number_is_never_given_twice() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = opened(directory.path());
        let run = |number| RunId(Uuid::from_u128(number));
        assert_eq!(store.begin_run(run(1), crate::RunKind::Reconcile, true, at(0)).unwrap().number, 1);
        connection(&store).execute("DELETE FROM runs", []).unwrap();
        assert_eq!(store.begin_run(run(2), crate::RunKind::Reconcile, true, at(1)).unwrap().number, 2);
        assert_eq!(guard::read(&store.path).unwrap().unwrap().last_run, 2);
    }
}
