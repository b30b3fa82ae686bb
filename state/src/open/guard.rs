//! The guard file beside the database: which installation, and its last run. A database behind it is a restored
//! backup, which would not know of rules opened since.

use super::files;
use crate::error::StateError;
use eg_model::ids::InstallationId;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The content of the guard file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Guard {
    pub(crate) installation: InstallationId,
    pub(crate) last_run: i64,
}

/// The path of a database's guard file.
pub(crate) fn path(state: &Path) -> PathBuf {
    files::beside(state, files::GUARD)
}

/// Reads the guard file; `None` if it is missing or makes no sense. Then it is written anew: a guard only warns, and must
/// never keep `eg` from closing a rule.
pub(crate) fn read(state: &Path) -> Result<Option<Guard>, StateError> {
    let path = path(state);
    match fs::read(&path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(files::failed("read", &path)(error)),
    }
}

pub(crate) fn write(state: &Path, guard: &Guard) -> Result<(), StateError> {
    let path = path(state);
    let text = serde_json::json!(guard).to_string() + "\n";
    files::write_atomically(&path, text.as_bytes()).map_err(|source| StateError::Guard { path, source })
}

/// Removes the guard file, if there is one.
pub(crate) fn remove(state: &Path) -> io::Result<()> {
    match fs::remove_file(path(state)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
