//! The lock's file: its name, how it is opened, and the line in it that names the holder.

use crate::host::env::Env;
use rustix::fs::OFlags;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

pub(super) fn lock_path(state: &Path, generation: u32) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".lock");
    if generation > 1 {
        name.push(format!(".{generation}"));
    }
    PathBuf::from(name)
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    open_file(options.read(true).write(true).create(true).truncate(false).mode(0o600), path)
}

/// Opens the file to read it; never makes it.
pub(super) fn open_to_look(path: &Path) -> io::Result<File> {
    open_file(OpenOptions::new().read(true), path)
}

/// Never follows a link, which another user could have made, and accepts a regular file only: opening one never waits.
fn open_file(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = options.custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Writes the line that names the holder.
pub(super) fn sign(file: &mut File, env: &Env, command: &str) -> io::Result<()> {
    file.set_len(0)?;
    write!(file, "pid {}, {command}, since {}", std::process::id(), env.now().format("%Y-%m-%d %H:%M:%S UTC"))
}
