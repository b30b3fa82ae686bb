//! The sign that an `eg reconcile --watch` runs for a state file: the watch holds `<state>.watch` locked for as long as it
//! lives. The operating system releases the lock however the watch ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

fn path(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".watch");
    PathBuf::from(name)
}

/// Holds the lock, which several watches share, until the file is dropped.
///
/// # Errors
/// The file cannot be made or locked.
pub fn hold(state: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path(state))?;
    file.lock_shared()?;
    Ok(file)
}

/// True if a watch runs.
#[must_use]
pub fn is_held(state: &Path) -> bool {
    let Ok(file) = File::open(path(state)) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_while_a_watch_runs() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.db");
        assert!(!is_held(&state), "there is no file");
        let (one, other) = (hold(&state).unwrap(), hold(&state).unwrap());
        assert!(is_held(&state));
        drop(one);
        assert!(is_held(&state));
        drop(other);
        assert!(!is_held(&state));
    }
}
