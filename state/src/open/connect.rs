//! Connections to the database, each checked before it is used.

use super::files::{self, Header};
use crate::{error::StateError, schema, watch::Watch};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The time that a statement waits for another process. Transactions here take milliseconds.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements that stay prepared: more than this crate has, so that a pass prepares each of them once.
const STATEMENTS: usize = 128;

/// Checks the file's header, and makes nothing beside it. False if there is no database yet.
pub(crate) fn check_header(path: &Path) -> Result<bool, StateError> {
    match files::header(path)? {
        Header::Absent => Ok(false),
        Header::InLog => Ok(true),
        Header::Read { application_id, user_version } => {
            check_identity(path, application_id, user_version).map(|()| true)
        }
    }
}

/// Checks the same in a connection, which reads the log too. Returns the version.
pub(crate) fn check_version(path: &Path, connection: &Connection) -> Result<i64, StateError> {
    let version = user_version(connection)?;
    let id = connection.query_row("PRAGMA application_id", [], |row| row.get::<_, i32>(0))?;
    check_identity(path, id.cast_unsigned(), version)?;
    Ok(version)
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

/// Connects, making the database if it is missing, and brings the schema up to date.
pub(crate) fn connect_for_writing(path: &Path, watch: &Watch) -> Result<Connection, StateError> {
    let current = |connection: &Connection| Ok::<_, StateError>(user_version(connection)? == schema::VERSION);
    if check_header(path)? {
        let connection = connect(path)?;
        if current(&connection)? {
            settings(&connection)?;
            schema::check(&connection)?;
            return Ok(connection);
        }
    }
    let founding = files::founding(path, BUSY_TIMEOUT)?;
    if !check_header(path)? {
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

pub(crate) fn raw_connection(path: &Path) -> Result<Connection, StateError> {
    let connection = opened(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Neither `eg`'s SQL nor the SQL in a damaged or foreign file may write the tables of SQLite itself.
pub(crate) fn opened(name: impl AsRef<Path>, flags: OpenFlags) -> Result<Connection, StateError> {
    let connection = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    #[cfg(test)]
    crate::tests::trace::watch(&connection);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Connects to an existing database and checks it. Until it has passed, closing the connection must not copy the
/// write-ahead log into a file that is refused.
pub(crate) fn connect(path: &Path) -> Result<Connection, StateError> {
    let connection = raw_connection(path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    check_version(path, &connection).map_err(|error| for_want_of_room(path, error))?;
    check_small(&connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(connection)
}

/// Finds the full disk behind an error of connecting: if the file system has no room for another file, SQLite only says
/// that it cannot open one.
pub(crate) fn for_want_of_room(database: &Path, error: StateError) -> StateError {
    match error {
        StateError::ReadOnly { path, detail } if !files::has_room(database) => StateError::Full { path, detail },
        other => other,
    }
}

/// A file of up to so many bytes is checked at every opening, which takes milliseconds: a record of some hundred sessions.
const SMALL: i64 = 1 << 20;

/// True if every opening for writing checks the whole file.
pub(crate) fn is_small(connection: &Connection) -> Result<bool, StateError> {
    let number = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    Ok(number("PRAGMA page_count")?.saturating_mul(number("PRAGMA page_size")?) <= SMALL)
}

/// The check of a small file. A larger one is checked by `eg reconcile` once a day ([`crate::Store::check_daily`]), by `eg doctor`,
/// and page by page as SQLite reads it: a page that is not sound ends the command.
pub(crate) fn check_small(connection: &Connection) -> Result<(), StateError> {
    if is_small(connection)? { check_health(connection) } else { Ok(()) }
}

/// A quick check of every page.
pub(crate) fn check_health(connection: &Connection) -> Result<(), StateError> {
    // A row that breaks a CHECK is found where it is read, and must not keep the others from being read.
    connection.pragma_update(None, "ignore_check_constraints", true)?;
    let checked = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    connection.pragma_update(None, "ignore_check_constraints", false)?;
    let detail = checked?;
    if detail == "ok" { Ok(()) } else { Err(StateError::Corrupt { path: PathBuf::new(), detail }) }
}

/// An intent log must survive a power loss: `synchronous=FULL` syncs the write-ahead log at every commit, and
/// `fullfsync` does so for real on macOS.
pub(crate) fn settings(connection: &Connection) -> Result<(), StateError> {
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
