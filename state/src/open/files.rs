//! The directory and its files: made private under every umask, and refused if they are another user's.

use crate::error::StateError;
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::NamedTempFile;

/// Suffix of the guard file.
pub(crate) const GUARD: &str = ".guard";
const PRIVATE_DIRECTORY: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
/// Set on a directory in which every user may make files, and only their owners may remove them: `/tmp`.
const STICKY: u32 = 0o1000;
/// Write permission of group and others.
const OTHERS_WRITE: u32 = 0o022;

/// Gives an I/O error the operation and the file.
pub(crate) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { doing, path, source }
}

/// Device and number of the file that a path names; `None` if there is none, or it cannot be told.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// The directory of the record; the current one for a bare file name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `<state>` with something appended to its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// True if a write-ahead log with content stands beside a database.
pub(crate) fn has_log(path: &Path) -> bool {
    fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0)
}

/// The write-ahead log of a database (sqlite.org/walformat.html).
pub(crate) fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// Refuses another user's file, also for root: a write-ahead log of root's in a user's directory would lock the user out
/// of their own record.
fn refuse_foreign(path: &Path, metadata: &fs::Metadata) -> Result<(), StateError> {
    let user = rustix::process::geteuid().as_raw();
    let owner = metadata.uid();
    if owner == user { Ok(()) } else { Err(StateError::Owner { path: path.to_owned(), owner, user }) }
}

/// On a read-only file system modes stay as they are: closing from the record there must not wait for that.
fn set_mode(path: &Path, mode: u32) -> Result<(), StateError> {
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        other => other.map_err(failed("restrict the permissions of", path)),
    }
}

/// True if a directory is there for the record alone: by its name, or by its content. Only such a directory is ever
/// tightened (`--state /tmp/x.db` as root must not close `/tmp`).
fn is_ours_alone(directory: &Path, state: &Path) -> bool {
    if directory.file_name() == Some(OsStr::new("eg")) {
        return true;
    }
    let Some(own) = state.file_name().map(|name| name.as_encoded_bytes().to_owned()) else { return false };
    fs::read_dir(directory).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| entry.file_name().as_encoded_bytes().starts_with(&own)))
    })
}

/// Makes the directory if it is missing, with mode 0700 like every missing directory above it. Refuses one that belongs to
/// another user or that others can write to.
pub(crate) fn prepare_directory(state: &Path) -> Result<(), StateError> {
    let directory = directory_of(state);
    if !directory.exists() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(PRIVATE_DIRECTORY).create(directory).map_err(failed("create", directory))?;
        // The umask may have taken bits that we need.
        set_mode(directory, PRIVATE_DIRECTORY)?;
    }
    let metadata = fs::metadata(directory).map_err(failed("look at", directory))?;
    refuse_foreign(directory, &metadata)?;
    let open_to_others = metadata.mode() & OTHERS_WRITE != 0;
    let named_for_us = directory.file_name() == Some(OsStr::new("eg"));
    let private = metadata.mode() & 0o777 == PRIVATE_DIRECTORY;
    // Meant for all users, also while it is empty.
    let shared = metadata.mode() & STICKY != 0;
    if !private && !shared && (open_to_others || named_for_us) && is_ours_alone(directory, state) {
        set_mode(directory, PRIVATE_DIRECTORY)
    } else if open_to_others {
        Err(StateError::OpenDirectory { path: directory.to_owned() })
    } else {
        Ok(())
    }
}

/// Makes the database file, empty and with mode 0600, if it is missing. SQLite gives its own files the same mode.
pub(crate) fn create(path: &Path) -> Result<(), StateError> {
    match OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(path) {
        Ok(_) => set_mode(path, PRIVATE_FILE),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed("create", path)(error)),
    }
}

/// The database and the files that belong to it.
fn family(path: &Path) -> [PathBuf; 4] {
    [path.to_owned(), beside(path, "-wal"), beside(path, "-shm"), beside(path, GUARD)]
}

/// True unless a full disk or quota keeps a small file from being made beside a database. Any other error counts as room.
pub(crate) fn has_room(path: &Path) -> bool {
    let full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    !temporary(path).is_err_and(|error| full(&error))
}

/// A file of mode 0600 beside another, with a name of its own, also among containers that share the directory. Gone with
/// the value.
fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let prefix = path.file_name().unwrap_or_default();
    tempfile::Builder::new().prefix(prefix).tempfile_in(directory_of(path))
}

/// Refuses another user's files and anything that is not a file; changes nothing.
pub(crate) fn check_files(path: &Path) -> Result<(), StateError> {
    for file in family(path) {
        match fs::metadata(&file) {
            Ok(metadata) if !metadata.is_file() => return Err(StateError::NotAFile { path: file }),
            Ok(metadata) => refuse_foreign(&file, &metadata)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", &file)(error)),
        }
    }
    Ok(())
}

/// Gives the database and its files mode 0600: a restored or copied file may be readable by others.
pub(crate) fn tighten_files(path: &Path) -> Result<(), StateError> {
    for file in family(path) {
        match fs::metadata(&file) {
            Ok(metadata) if metadata.mode() & 0o777 != PRIVATE_FILE => set_mode(&file, PRIVATE_FILE)?,
            _ => {}
        }
    }
    Ok(())
}

/// The first page of a database.
pub(crate) enum Header {
    /// There is no file, or an empty one, which SQLite takes for a new database.
    Absent,
    /// The file makes sense only together with its write-ahead log: it is just being written, or a full disk cut the copy
    /// of the log short. Only a connection that reads the log can tell whose it is.
    InLog,
    Read {
        application_id: u32,
        user_version: i64,
    },
}

/// A header that makes no sense is read again for so long before it is believed.
const HEADER_PATIENCE: Duration = Duration::from_secs(1);

/// Reads the header.
///
/// Opened as immutable, so that SQLite makes no file beside one that may be refused, and through SQLite, because
/// closing a plain file handle would drop the locks that another connection of this process has on the file
/// (fcntl(2): POSIX locks belong to the process). Immutable also means without locks: another process that copies its
/// write-ahead log into the file makes it look damaged for a moment (sqlite.org/uri.html, "immutable").
pub(crate) fn header(path: &Path) -> Result<Header, StateError> {
    let begun = Instant::now();
    loop {
        match header_now(path) {
            Err(StateError::Corrupt { .. }) if has_log(path) => return Ok(Header::InLog),
            Err(StateError::Corrupt { .. }) if begun.elapsed() < HEADER_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}

fn header_now(path: &Path) -> Result<Header, StateError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() == 0 => return Ok(Header::Absent),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Header::Absent),
        Err(error) => return Err(failed("look at", path)(error)),
    }
    let read = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(immutable_uri(path), flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        let number = |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
        let application_id = number("application_id")?.cast_unsigned();
        Ok(Header::Read { application_id, user_version: number("user_version")?.into() })
    };
    read().map_err(|error: rusqlite::Error| StateError::from(error).at(path))
}

/// The path as a URI (sqlite.org/uri.html). A second slash at the start would make the first part a host.
pub(crate) fn immutable_uri(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_');
    let bytes = path.as_os_str().as_encoded_bytes().iter().enumerate();
    let escaped: String = bytes
        .map(|(at, &byte)| if plain(byte) && at != 1 { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("file:{escaped}?immutable=1")
}

/// Holds the right to create or migrate, as an advisory lock on the directory: two first runs at once must not both
/// make a schema. Gone with the value.
pub(crate) struct Founding(#[allow(dead_code, reason = "the lock lives as long as the handle")] File);

/// Waits until no other process creates or migrates in this directory; that takes milliseconds. Every user who may read
/// the directory can lock it, so the wait has an end.
pub(crate) fn founding(path: &Path, patience: Duration) -> Result<Founding, StateError> {
    let directory = directory_of(path);
    let handle = File::open(directory).map_err(failed("open", directory))?;
    let begun = Instant::now();
    loop {
        match handle.try_lock() {
            Ok(()) => return Ok(Founding(handle)),
            Err(TryLockError::Error(error)) => return Err(failed("lock", directory)(error)),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= patience => {
                let detail = format!("{} is locked", directory.display());
                return Err(StateError::Busy { path: path.to_owned(), detail });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Writes a small file so that a crash leaves the old content or the new, never a part (temporary file, rename). It does
/// not wait for the disk, so a power loss may leave the old content, or a file that makes no sense.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = temporary(path)?;
    // The umask may have taken bits that we need.
    file.as_file().set_permissions(Permissions::from_mode(PRIVATE_FILE))?;
    io::Write::write_all(&mut file, content)?;
    file.persist(path)?;
    Ok(())
}
