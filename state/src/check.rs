//! A trial opening that changes nothing, for `eg doctor`; and the daily check of every page, for `eg reconcile`.

use crate::{
    error::StateError,
    meta::{MACHINE, moment, read_installation, read_meta},
    open::{
        connect::{check_header, check_health, connect, is_small, user_version},
        files, guard,
        network_fs::refuse_network,
    },
    schema,
    tx::Store,
};
use chrono::TimeDelta;
use eg_model::Timestamp;
use rusqlite::TransactionBehavior;
use rustix::fs::Access;
use std::path::Path;

impl Store {
    /// Makes the checks of [`Store::open`]: owner, modes, file system, schema, health, machine, guard, and that the file
    /// can be written. Makes, changes and migrates nothing. False if there is no record yet.
    ///
    /// # Errors
    /// The one that opening for writing would answer.
    pub fn check(path: &Path, machine: Option<&str>) -> Result<bool, StateError> {
        files::check_files(path)?;
        let exists = check_header(path)?;
        check_directory(files::directory_of(path))?;
        if exists {
            check_record(path, machine).map_err(|error| error.at(path))?;
        }
        Ok(exists)
    }

    /// Checks every page of the record, once a day and before a pass writes to it. The opening does that for a small one.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], and the file is left as it is; or it cannot be read.
    pub fn check_daily(&mut self, now: Timestamp) -> Result<(), StateError> {
        let due = self.read(|connection| {
            let last = moment(connection, CHECKED)?.filter(|last| *last <= now && now - *last < TimeDelta::days(1));
            Ok(last.is_none() && !is_small(connection)?)
        })?;
        if !due {
            return Ok(());
        }
        self.read(check_health)?;
        match self.set_note(CHECKED, &now.to_rfc3339()) {
            // The next pass checks again.
            Err(error) if error.is_unwritable() => Ok(()),
            noted => noted,
        }
    }
}

/// The note of the time of the last check of every page.
const CHECKED: &str = "checked";

/// Checks that the directory, or its nearest ancestor that exists, can be written.
fn check_directory(directory: &Path) -> Result<(), StateError> {
    let there = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(directory);
    refuse_network(there)?;
    let doing = if there == directory { "write to" } else { "make the directory of the state file in" };
    if !there.is_dir() {
        return Err(files::failed(doing, there)(std::io::ErrorKind::NotADirectory.into()));
    }
    let writable = rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK);
    writable.map_err(|error| files::failed(doing, there)(error.into()))
}

fn check_record(path: &Path, machine: Option<&str>) -> Result<(), StateError> {
    let mut connection = connect(path)?;
    check_health(&connection)?;
    if user_version(&connection)? == schema::VERSION {
        schema::check(&connection)?;
    }
    // Taken and given back: nothing is written.
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let (Some(here), Some(recorded)) = (machine, read_meta(&tx, MACHINE)?)
        && here != recorded
    {
        return Err(StateError::OtherMachine { path: path.to_owned(), recorded, here: here.to_owned() });
    }
    let found = read_installation(&tx)?;
    if let (Some(found), Some(guard)) = (found, guard::read(path)?)
        && guard.installation != found
    {
        return Err(StateError::OtherInstallation { path: path.to_owned(), found, expected: guard.installation });
    }
    Ok(tx.rollback()?)
}
