//! The world in a JSON file, replaced as a whole.

use crate::world::World;
use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

/// Reads the file; `None` when there is none yet.
pub(crate) fn load(path: &Path) -> io::Result<Option<World>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes beside the file, then takes its place: a reader never sees half of it.
pub(crate) fn save(path: &Path, world: &World) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, serde_json::to_vec_pretty(world)?)?;
    fs::rename(&beside, path)
}
