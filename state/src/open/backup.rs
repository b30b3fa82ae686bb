//! A restored backup takes sessions for live that were stopped since it was made. The guard file tells it by the number of
//! the last run.

use super::{
    guard::{self, Guard},
    notice::OpenNotice,
};
use crate::{
    error::StateError,
    events::{Event, EventKind},
    sessions::ending,
    tx::{Overdue, Store, WriteTx},
};
use eg_model::{Timestamp, ids::SessionId, session::record::EndedReason};
use rusqlite::Connection;

impl Store {
    /// Writes the guard file from the committed record.
    pub(crate) fn write_guard(&self) -> Result<(), StateError> {
        let last_run = self.read(last_run)?;
        guard::write(&self.path, &Guard { installation: self.installation.clone(), last_run })
    }
}

/// Compares with the guard file. The guard is read first: it is written after the commit of its run, so at any moment a
/// healthy database, read later, is at least as far. Returns the reason why a restored backup was not brought up to date,
/// if the record cannot be written for now.
pub(crate) fn check(
    store: &mut Store,
    now: Timestamp,
    notices: &mut Vec<OpenNotice>,
) -> Result<Option<StateError>, StateError> {
    let Some(guard) = guard::read(&store.path)? else {
        notices.push(match store.write_guard() {
            Ok(()) => OpenNotice::GuardWritten { path: guard::path(&store.path) },
            Err(error) => OpenNotice::GuardNotWritten { error: error.to_string() },
        });
        return Ok(None);
    };
    if guard.installation != store.installation {
        let found = store.installation.clone();
        return Err(StateError::OtherInstallation { path: store.path.clone(), found, expected: guard.installation });
    }
    if guard.last_run <= store.read(last_run)? {
        return Ok(None);
    }
    match store.write(|change| end_restored(change, guard.last_run, now)) {
        Ok(ended) => {
            notices.push(OpenNotice::RestoredBackup { ended });
            Ok(None)
        }
        Err(error) if error.is_unwritable() => {
            let end = |change: &WriteTx<'_, '_>, last_run, now| end_restored(change, last_run, now).map(drop);
            store.overdue = Some(Overdue { last_run: guard.last_run, now, write: end });
            notices.push(OpenNotice::RestoredBackup { ended: Vec::new() });
            Ok(Some(error))
        }
        Err(error) => Err(error),
    }
}

/// Ends the sessions that a backup takes for live: since it was made, they may have been stopped, and their rules closed.
/// Catches the run counter up in the same transaction, so that this happens once.
fn end_restored(change: &WriteTx<'_, '_>, last_run: i64, now: Timestamp) -> Result<Vec<SessionId>, StateError> {
    let cause = "the database is a restored backup";
    let live = ending::live_ids(change.tx)?;
    ending::end(change, &live, EndedReason::Expired, now, cause)?;
    set_last_run(change.tx, last_run)?;
    change.event(&Event::new(now, EventKind::BackupRestored, "live sessions ended"))?;
    Ok(live)
}

/// The last run number ever given, also if the run itself was pruned.
pub(crate) fn last_run(connection: &Connection) -> Result<i64, StateError> {
    let sql = "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'runs'), 0)";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

fn set_last_run(connection: &Connection, number: i64) -> Result<(), StateError> {
    if connection.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'runs'", [number])? == 0 {
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('runs', ?1)", [number])?;
    }
    Ok(())
}
