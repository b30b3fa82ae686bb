//! Findings at opening.

use crate::error::StateError;
use eg_model::ids::{InstallationId, SessionId};
use std::path::PathBuf;

/// A finding at opening that the user should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenNotice {
    /// The database is older than its guard file: a restored backup. Its live sessions were ended.
    RestoredBackup {
        /// The sessions that were live in the backup.
        ended: Vec<SessionId>,
    },
    /// The guard file was missing or unreadable beside an existing database, and was written anew. Until now, a
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
    /// A new database was made beside the guard file of an earlier one. The earlier one's rules close by their own
    /// tags.
    LostDatabase {
        /// The installation whose database is gone.
        previous: InstallationId,
    },
    /// The record can be read, and due rules can be closed, but nothing can be recorded for now
    /// ([`StateError::is_unwritable`]).
    Unwritable {
        /// The failed operation, and why.
        error: String,
        /// The way out.
        advice: Option<String>,
    },
}

impl OpenNotice {
    /// True if every opening finds it until the cause is removed.
    #[must_use]
    pub fn lasts(&self) -> bool {
        matches!(self, Self::Unwritable { .. } | Self::GuardNotWritten { .. })
    }

    pub(crate) fn unwritable(error: &StateError) -> Self {
        Self::Unwritable { error: error.to_string(), advice: error.advice() }
    }
}
