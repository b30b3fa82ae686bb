//! Opening the record, for writing or for reading.

use super::{
    backup,
    connect::{BUSY_TIMEOUT, check_header, check_small, check_version, connect_for_writing, user_version},
    files,
    full_disk::{Access, connect_anyhow},
    guard::{self, Guard},
    machine,
    network_fs::refuse_network,
    notice::OpenNotice,
};
use crate::{
    error::StateError,
    events::{self, Event, EventKind},
    meta::{INSTALLATION, MACHINE, read_installation, write_meta},
    schema,
    tx::Store,
    watch::Watch,
};
use eg_model::{Timestamp, ids::InstallationId};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Everything that opening the record for writing needs.
#[derive(Clone, Debug)]
pub struct OpenOptions<'a> {
    /// The database file.
    pub path: &'a Path,
    /// The fingerprint of this machine; `None` if it has no stable one.
    pub machine: Option<&'a str>,
    /// The id that the installation gets, if this call creates the database.
    pub new_installation: InstallationId,
    /// The command's clock reading, whole seconds.
    pub now: Timestamp,
    /// The observer of the writes, those that make the database included.
    pub watch: Watch,
}

impl Store {
    /// Opens the record for writing. Makes directory (0700) and files (0600) if they are missing, brings the schema up
    /// to date, and checks owner, file system, machine and guard.
    ///
    /// # Errors
    /// A database that is not certainly this installation's own, current and healthy is refused, and left byte for
    /// byte alone: see [`StateError`].
    pub fn open(opening: &OpenOptions<'_>) -> Result<(Self, Vec<OpenNotice>), StateError> {
        let path = opening.path;
        files::prepare_directory(path)?;
        refuse_network(files::directory_of(path))?;
        files::check_files(path)?;
        check_header(path)?;
        // SQLite gives its own files the database's mode, so first.
        files::tighten_files(path)?;
        open_checked(opening).map_err(|error| error.at(path))
    }

    /// Opens the record for reading; `None` if there is none. Creates no record, takes no lock of `eg`, never migrates,
    /// and accepts any machine's. (SQLite itself may make its `-shm` and `-wal` files.)
    ///
    /// # Errors
    /// Another user's file, a damaged file, another program's, or one of another schema version.
    pub fn open_read_only(path: &Path) -> Result<Option<Self>, StateError> {
        files::check_files(path)?;
        if !check_header(path)? {
            return Ok(None);
        }
        let read = || {
            let (connection, alone) = connect_anyhow(path, Access::Reading, BUSY_TIMEOUT)?;
            let found = current_installation(path, &connection)?;
            Ok(found.map(|id| Self::new(path, id, alone.is_none().then_some(connection), Access::Reading)))
        };
        read().map_err(|error: StateError| error.at(path))
    }

    /// An empty record in memory, for commands that only read, where there is no record yet.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn empty(path: &Path, installation: InstallationId) -> Result<Self, StateError> {
        let mut connection = Connection::open_in_memory()?;
        schema::migrate(&mut connection)?;
        Ok(Self::new(path, installation, Some(connection), Access::Reading))
    }
}

fn open_checked(opening: &OpenOptions<'_>) -> Result<(Store, Vec<OpenNotice>), StateError> {
    let mut notices = Vec::new();
    let mut store = match connect_for_writing(opening.path, &opening.watch) {
        Ok(mut connection) => {
            let installation = match read_installation(&connection)? {
                Some(id) => id,
                None => opening.watch.around(|| found(&mut connection, opening, &mut notices))?,
            };
            Store::new(opening.path, installation, Some(connection), Access::Writing)
        }
        Err(error) if error.is_unwritable() => {
            let Some(store) = open_alone(opening.path)? else { return Err(error) };
            notices.push(OpenNotice::unwritable(&error.at(opening.path)));
            store
        }
        Err(error) => return Err(error),
    };
    store.watch = opening.watch.clone();
    let machine = machine::check(&mut store, opening.machine)?;
    let backup = backup::check(&mut store, opening.now, &mut notices)?;
    if let Some(unwritten) = machine.or(backup)
        && !notices.iter().any(|notice| matches!(notice, OpenNotice::Unwritable { .. }))
    {
        notices.push(OpenNotice::unwritable(&unwritten));
    }
    Ok((store, notices))
}

/// Gives a new database its installation. The guard file is written before the commit: a process that sees the
/// installation then never sees the guard of an earlier, lost database.
fn found(
    connection: &mut Connection,
    opening: &OpenOptions<'_>,
    notices: &mut Vec<OpenNotice>,
) -> Result<InstallationId, StateError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(id) = read_installation(&tx)? {
        // Another process was faster.
        return Ok(id);
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
        // Once committed, the database would be refused because of the guard that stands there.
        return Err(error);
    }
    tx.commit()?;
    Ok(id)
}

/// Opens a healthy, current database that cannot be written; `None` if it is not yet complete or not current.
fn open_alone(path: &Path) -> Result<Option<Store>, StateError> {
    if !check_header(path)? {
        return Ok(None);
    }
    let (connection, alone) = connect_anyhow(path, Access::Writing, BUSY_TIMEOUT)?;
    check_small(&connection)?;
    if user_version(&connection)? != schema::VERSION {
        return Ok(None);
    }
    schema::check(&connection)?;
    let found = read_installation(&connection)?;
    Ok(found.map(|id| Store::new(path, id, alone.is_none().then_some(connection), Access::Writing)))
}

/// The installation of a database that is current; `None` while the database is being made.
fn current_installation(path: &Path, connection: &Connection) -> Result<Option<InstallationId>, StateError> {
    let version = check_version(path, connection)?;
    if version == 0 {
        return Ok(None);
    }
    if version < schema::VERSION {
        return Err(StateError::OlderSchema { path: path.to_owned(), found: version, known: schema::VERSION });
    }
    schema::check(connection)?;
    read_installation(connection)
}
