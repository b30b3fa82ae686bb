//! Connections to a database that cannot be written: a full disk, a read-only file system. What is due must be closed
//! all the same.

use super::{
    connect::{BUSY_TIMEOUT, check_version, connect, for_want_of_room, opened, raw_connection, settings, user_version},
    files,
};
use crate::error::StateError;
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// The purpose of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Reading,
    Writing,
}

/// The reason why a connection is not shared with other processes: the files that sharing needs cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alone {
    /// There is no room for it.
    Room,
    /// The file system is read-only, or this user may not write there.
    ReadOnly,
}

/// Connects to an existing database, even if it cannot be written. Returns also the reason why the connection must not be
/// kept, if it locks all other processes out.
pub(crate) fn connect_anyhow(
    path: &Path,
    access: Access,
    timeout: Duration,
) -> Result<(Connection, Option<Alone>), StateError> {
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
            // Two processes that each hold a lock and wait for the other would wait in vain: let go and try again.
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
        check_version(path, connection)?;
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
