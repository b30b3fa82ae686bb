//! The machine of a database. Two machines with copies of one record would close each other's rules.

use super::{
    backup::last_run,
    connect::{check_header, connect_for_writing},
    files,
    guard::{self, Guard},
    network_fs::refuse_network,
};
use crate::{
    error::StateError,
    events::{self, Event, EventKind},
    meta::{INSTALLATION, MACHINE, read_installation, read_meta, write_meta},
    tx::Store,
    watch::Watch,
};
use eg_model::{Timestamp, ids::InstallationId};
use rusqlite::TransactionBehavior;
use std::path::Path;

impl Store {
    /// Makes the database this machine's: after a move to new hardware, or if its guard names another installation.
    /// The installation id and all leases stay. Returns the id.
    ///
    /// # Errors
    /// [`StateError::Missing`] if there is no database; else as [`Store::open`].
    pub fn adopt(path: &Path, machine: &str, now: Timestamp) -> Result<InstallationId, StateError> {
        files::check_files(path)?;
        if !check_header(path)? {
            return Err(StateError::Missing { path: path.to_owned() });
        }
        files::prepare_directory(path)?;
        refuse_network(files::directory_of(path))?;
        files::tighten_files(path)?;
        adopt_checked(path, machine, now).map_err(|error| error.at(path))
    }
}

fn adopt_checked(path: &Path, machine: &str, now: Timestamp) -> Result<InstallationId, StateError> {
    let mut connection = connect_for_writing(path, &Watch::default())?;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let installation = read_installation(&tx)?.ok_or_else(|| StateError::row("meta", INSTALLATION, "it is missing"))?;
    write_meta(&tx, MACHINE, machine)?;
    events::insert(&tx, &Event::new(now, EventKind::Adopted, machine), None)?;
    // A guard of the same installation stays: if it is ahead, the next opening must notice the old backup.
    if guard::read(path)?.is_none_or(|guard| guard.installation != installation) {
        guard::write(path, &Guard { installation: installation.clone(), last_run: last_run(&tx)? })?;
    }
    tx.commit()?;
    Ok(installation)
}

/// Refuses another machine's database, and notes this machine if none is on record. Returns the reason why it was not
/// noted, if the record cannot be written for now.
pub(crate) fn check(store: &mut Store, machine: Option<&str>) -> Result<Option<StateError>, StateError> {
    let Some(here) = machine else { return Ok(None) };
    match store.read(|connection| read_meta(connection, MACHINE))? {
        Some(recorded) if recorded != here => {
            Err(StateError::OtherMachine { path: store.path.clone(), recorded, here: here.to_owned() })
        }
        Some(_) => Ok(None),
        None => match store.write(|change| write_meta(change.tx, MACHINE, here)) {
            Err(error) if error.is_unwritable() => Ok(Some(error)),
            other => other.map(|()| None),
        },
    }
}
