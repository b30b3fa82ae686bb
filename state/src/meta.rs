//! The table `meta`: the installation, the machine, and notes under a key.

use crate::{error::StateError, tx::Store};
use eg_model::{Timestamp, ids::InstallationId};
use rusqlite::{Connection, OptionalExtension, params};

pub(crate) const INSTALLATION: &str = "installation";
pub(crate) const MACHINE: &str = "machine";

impl Store {
    /// The text that was noted under `key`, such as when a failure was last reported.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn note(&self, key: &str) -> Result<Option<String>, StateError> {
        self.read(|connection| read_meta(connection, &note_key(key)))
    }

    /// Notes a text under `key`, in place of the former one.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_note(&mut self, key: &str, value: &str) -> Result<(), StateError> {
        self.write_unflushed(|change| write_meta(change.tx, &note_key(key), value))
    }

    /// Forgets the text under `key`.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn clear_note(&mut self, key: &str) -> Result<(), StateError> {
        self.write_unflushed(|change| {
            change.tx.execute("DELETE FROM meta WHERE key = ?1", [note_key(key)])?;
            Ok(())
        })
    }
}

pub(crate) fn note_key(key: &str) -> String {
    format!("note:{key}")
}

/// A moment that was noted; `None` also for a note that is not a moment.
pub(crate) fn moment(connection: &Connection, key: &str) -> Result<Option<Timestamp>, StateError> {
    Ok(read_meta(connection, &note_key(key))?.and_then(|text| text.parse().ok()))
}

/// The installation; `None` while the database is being made.
pub(crate) fn read_installation(connection: &Connection) -> Result<Option<InstallationId>, StateError> {
    let bad = |text: &str| StateError::row("meta", INSTALLATION, format!("\"{text}\" is not an installation id"));
    let text = read_meta(connection, INSTALLATION)?;
    text.map(|text| InstallationId::parse(&text).ok_or_else(|| bad(&text))).transpose()
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
