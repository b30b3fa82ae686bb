//! Keeps the configuration that `--force` replaces.

use crate::error::{CommandError, Kind};
use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Copies the file to a new name in the same folder. `None` if there is no file.
pub(super) fn backup(path: &Path) -> Result<Option<PathBuf>, CommandError> {
    let failed = |error: io::Error| {
        let message = format!("{} could not be kept as a backup, and was not changed: {error}", path.display());
        CommandError::new(Kind::Config, message).hint("move it away yourself, then run eg init again")
    };
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed)?,
    };
    let mut number = 1_u32;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { ".bak".to_owned() } else { format!(".bak.{number}") });
        let kept = PathBuf::from(name);
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&kept) {
            Ok(mut file) => {
                file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
                return Ok(Some(kept));
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(failed(error)),
        }
    }
}
