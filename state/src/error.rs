//! The errors of the record. A message says what failed and why; the advice, apart from it, says what to do.

use eg_model::{
    Timestamp,
    ids::{InstallationId, LeaseId, SessionId},
    session::record::{SessionStatus, TransitionError},
};
use rusqlite::ErrorCode;
use std::{
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Why the record could not be read or written. A message ends in the words of the system; [`StateError::advice`] says
/// what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// A file operation failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The operation, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The directory or a file belongs to another user.
    #[error("{} belongs to user {owner}, not to the user running eg ({user})", path.display())]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// The uid it belongs to.
        owner: u32,
        /// The effective uid of this process.
        user: u32,
    },
    /// The directory can be written by others, and holds more than the record.
    #[error("others can write to the directory {}", path.display())]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The path names something that is not a regular file.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// SQLite's locks and write-ahead log do not work there.
    #[error("{} is on a network file system ({kind}), where SQLite cannot protect the record", path.display())]
    NetworkFileSystem {
        /// The path.
        path: PathBuf,
        /// The file system's type (`nfs4`).
        kind: String,
    },
    /// The file is damaged, or not a database at all. It was left as it is.
    #[error("{} is damaged or not a database, and was left as it is: {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// A database of another program. It was left as it is.
    #[error("{} is a database of another program (application id {found:#010x}), and was left as it is", path.display())]
    OtherApplication {
        /// The file.
        path: PathBuf,
        /// Its application id.
        found: u32,
    },
    /// The schema is newer than this program. The file was left as it is.
    #[error("{} was written by a newer eg (schema {found}, this one knows {known}), and was left as it is", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// The schema is older, and reading never migrates.
    #[error("{} was written by an older eg (schema {found}, this one reads {known})", path.display())]
    OlderSchema {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The one that this program reads.
        known: i64,
    },
    /// The database was made on another machine.
    #[error("{} belongs to another machine ({recorded}; this one is {here})", path.display())]
    OtherMachine {
        /// The file.
        path: PathBuf,
        /// The fingerprint in the database.
        recorded: String,
        /// The fingerprint of this machine.
        here: String,
    },
    /// The guard beside the database is of another installation.
    #[error("{} is of installation {found}, but its guard file names {expected}: another database was put in its place", path.display())]
    OtherInstallation {
        /// The database.
        path: PathBuf,
        /// The installation in the database.
        found: InstallationId,
        /// The installation in the guard file.
        expected: InstallationId,
    },
    /// There is no database to adopt.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The guard file could not be written. The run it speaks of *is* recorded in the database.
    #[error("cannot write {}, without which a restored backup would go unnoticed: {source}", path.display())]
    Guard {
        /// The guard file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The disk, or a quota, is full. Nothing was recorded.
    #[error("cannot write {}, and nothing was recorded: the disk is full ({detail})", path.display())]
    Full {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// This process may not write files as large as the record (`RLIMIT_FSIZE`). Nothing was recorded.
    #[error("cannot write {}, and nothing was recorded: this process may not write files that large ({detail})", path.display())]
    FileSize {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// Another process holds the database for longer than the busy timeout.
    #[error("{} is in use by another process: {detail}", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// The database cannot be written at all.
    #[error("{} cannot be opened or written: {detail}", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// The schema is not the one that this program makes. The file was left as it is.
    #[error("{} does not have the schema of eg ({what}), and was left as it is", path.display())]
    OtherSchema {
        /// The database.
        path: PathBuf,
        /// The first difference.
        what: String,
    },
    /// Any other answer of SQLite.
    #[error("{}: SQLite says: {source}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Its words.
        source: rusqlite::Error,
    },
    /// A migration failed.
    #[error("{}: the schema could not be brought up to date, and the file is as it was before that step: {detail}", path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// The cause.
        detail: String,
    },
    /// A row that does not parse. It could be an open rule, so every reader that skips it reports it.
    #[error("{}: table {table}, row {row}: {what}", path.display())]
    Row {
        /// The database.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// Which column, and why it does not parse.
        what: String,
    },
    /// A session that cannot be recorded.
    #[error("session {id} cannot be recorded: {why}")]
    Unfit {
        /// The session.
        id: SessionId,
        /// The reason, and the way out.
        why: &'static str,
    },
    /// No such session.
    #[error("there is no session {0}")]
    NoSuchSession(SessionId),
    /// The session has ended already.
    #[error("session {} is {status} since {}; there is nothing left to stop", id.short(), utc(ended_at.as_ref()))]
    AlreadyEnded {
        /// The session.
        id: SessionId,
        /// CANCELLED or EXPIRED.
        status: SessionStatus,
        /// The time of the stop, or of the pass that noticed the expiry.
        ended_at: Option<Timestamp>,
    },
    /// Only live sessions can be extended.
    #[error("session {} is {status} since {} and cannot be extended", id.short(), utc(ended_at.as_ref()))]
    NotLive {
        /// The session.
        id: SessionId,
        /// EXPIRING, CANCELLED or EXPIRED.
        status: SessionStatus,
        /// The time of the stop, or of the pass that noticed the expiry.
        ended_at: Option<Timestamp>,
    },
    /// The session's time is over, even if nothing noticed yet.
    #[error("session {} expired at {} and cannot be extended", id.short(), utc(Some(expired_at)))]
    PastExpiry {
        /// The session.
        id: SessionId,
        /// Its expiry.
        expired_at: Timestamp,
    },
    /// An extension that would not lengthen the session.
    #[error("session {} runs until {} already; an extension must end later", id.short(), utc(Some(expires_at)))]
    NotLater {
        /// The session.
        id: SessionId,
        /// Its expiry.
        expires_at: Timestamp,
    },
    /// A step that the state machines do not allow.
    #[error("{0}")]
    Transition(#[from] TransitionError),
    /// A lease that is not on record, or a write that does not raise its version.
    #[error("lease {} {why}", id.0)]
    Lease {
        /// The lease.
        id: LeaseId,
        /// The reason.
        why: &'static str,
    },
}

fn utc(at: Option<&Timestamp>) -> String {
    at.map_or_else(|| "an unknown time".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

impl StateError {
    /// The way out; `None` if the message leaves nothing open.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Io { .. } => "check the path and its permissions, or choose another with --state",
            Self::Owner { .. } => "run eg as its owner, or choose another file with --state",
            Self::OpenDirectory { .. } => "take that away (chmod go-w), or choose a directory of your own with --state",
            Self::NotAFile { .. } | Self::OtherApplication { .. } => "choose another file with --state",
            Self::NetworkFileSystem { .. } => "choose a local path with --state",
            Self::Corrupt { .. } => {
                "move it away or restore a backup (rules that are open close by their own tags), or choose another file \
                 with --state"
            }
            Self::NewerSchema { .. } => "update eg",
            Self::OlderSchema { .. } => "run `eg reconcile` once to bring it up to date",
            // The record knows that machine only by a fingerprint, not by its name.
            Self::OtherMachine { .. } => {
                "if that machine is gone, or is this one and its id has changed: eg state adopt; if it still runs: use a \
                 fresh file with --state; if this is that machine and EG_MACHINE named it when the file was made: set \
                 EG_MACHINE to that name again"
            }
            Self::OtherInstallation { .. } => {
                "put the right one back, or take this one over with `eg state adopt`, or use a fresh file with --state"
            }
            Self::Missing { .. } => "name the file to take over with --state",
            Self::Guard { .. } => "make room, or check the directory's permissions",
            Self::Full { .. } => "make room and try again",
            Self::FileSize { .. } => "raise the limit (ulimit -f, or LimitFSIZE= of a systemd unit) and try again",
            Self::Busy { path, .. } => {
                let find = format!("find the process with: fuser -v {}", path.display());
                return Some(format!("try again in a moment; if it stays so, {find}"));
            }
            Self::OtherSchema { .. } => {
                "something else changed it: restore a backup (rules that are open close by their own tags), or choose \
                 another file with --state"
            }
            Self::ReadOnly { .. } => {
                "check the permissions of the file and its directory, and how its file system is mounted"
            }
            Self::Sqlite { .. } => "try again, and report it if it stays",
            Self::Migration { .. } => "go on with the eg that wrote it, and report this",
            Self::Row { .. } => "the record was changed by something else: restore a backup of it",
            Self::NoSuchSession(_) => "see them with: eg session list --limit 0",
            Self::NotLive { .. } | Self::PastExpiry { .. } => "start a new one with: eg session start",
            Self::Transition(_) | Self::Lease { .. } => "this is a fault in eg: please report it",
            Self::Unfit { .. } | Self::AlreadyEnded { .. } | Self::NotLater { .. } => return None,
        };
        Some(advice.to_owned())
    }

    /// Message and advice in one line.
    #[must_use]
    pub fn with_advice(&self) -> String {
        self.advice().map_or_else(|| self.to_string(), |advice| format!("{self}; {advice}"))
    }

    /// True if the record can be read but not written for now: a full disk or quota, a limit on file sizes, a read-only
    /// file system, or another process that keeps it locked. A revoke by a known id may go out all the same; an authorize
    /// never.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        self.has_no_room() || self.is_busy() || self.is_read_only()
    }

    /// True if a full disk, a quota or a limit on file sizes is the cause.
    #[must_use]
    pub fn has_no_room(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            Self::Full { .. } | Self::FileSize { .. } => true,
            Self::Io { source, .. } | Self::Guard { source, .. } => {
                matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
            }
            _ => false,
        }
    }

    /// True if one row, and not the database, is the cause.
    #[must_use]
    pub fn is_of_a_row(&self) -> bool {
        matches!(self, Self::Row { .. })
    }

    /// True if another process held the database for longer than the busy timeout.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// True if nothing can be written there at all (permissions, a read-only mount).
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::ReadOnly { .. } => true,
            Self::Io { source, .. } | Self::Guard { source, .. } => {
                matches!(source.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
            }
            _ => false,
        }
    }

    pub(crate) fn row(table: &'static str, row: impl ToString, what: impl Into<String>) -> Self {
        Self::Row { path: PathBuf::new(), table, row: row.to_string(), what: what.into() }
    }

    /// Fills in the database, which code deep inside a transaction does not know.
    pub(crate) fn at(mut self, database: &Path) -> Self {
        match &mut self {
            Self::Full { path, .. }
            | Self::FileSize { path, .. }
            | Self::OtherSchema { path, .. }
            | Self::Busy { path, .. }
            | Self::ReadOnly { path, .. }
            | Self::Corrupt { path, .. }
            | Self::Sqlite { path, .. }
            | Self::Migration { path, .. }
            | Self::Row { path, .. }
                if path.as_os_str().is_empty() =>
            {
                *path = database.to_owned();
            }
            _ => {}
        }
        self
    }
}

/// Extended result codes that mean "no room" although their primary code is only IOERR (SQLite reports ENOSPC on
/// `write(2)` as SQLITE_FULL, but not where it grows or syncs a file): IOERR_WRITE, _FSYNC, _TRUNCATE, _SHMOPEN,
/// _SHMSIZE.
const NO_ROOM: [i32; 5] = [10 | 3 << 8, 10 | 4 << 8, 10 | 6 << 8, 10 | 18 << 8, 10 | 19 << 8];

/// True if the files that this process writes have a size limit. SQLite does not tell that from a full disk.
fn is_limited() -> bool {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_some()
}

impl From<rusqlite::Error> for StateError {
    fn from(source: rusqlite::Error) -> Self {
        let path = PathBuf::new();
        let detail = source.to_string();
        let (code, extended) = match &source {
            rusqlite::Error::SqliteFailure(failure, _) => (failure.code, failure.extended_code),
            _ => return Self::Sqlite { path, source },
        };
        match code {
            ErrorCode::DiskFull => Self::Full { path, detail },
            ErrorCode::SystemIoFailure if NO_ROOM.contains(&extended) && is_limited() => {
                Self::FileSize { path, detail }
            }
            ErrorCode::SystemIoFailure if NO_ROOM.contains(&extended) => Self::Full { path, detail },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy { path, detail },
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                Self::ReadOnly { path, detail }
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt { path, detail },
            _ => Self::Sqlite { path, source },
        }
    }
}
