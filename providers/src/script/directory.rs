//! The programs of a directory.
//!
//! ```text
//! /etc/eg/office/          nobody but its owner (you or root) can write it, nor any directory above it
//!   apply/10-ufw           run in the order of their names, with the CIDR and a description
//!   apply/20-nginx
//!   revoke/10-ufw          the same, with the CIDR
//!   revoke/20-nginx
//!   observe                optional; prints the CIDRs that are open
//! ```
//!
//! They run with the rights of `eg`, so whoever can write one of them, or put another one in its place, has these
//! rights. That is checked before every run: an attacker cannot change a name in a directory that passes the check.

use crate::trust::{self, Facts, GROUP_WRITES, OTHERS_WRITE, Owner, Untrusted, is_private};
use rustix::fs::{Access, access};
use std::{
    fs, io,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The most programs of one direction: with 10 seconds for each, they end before a pass without progress is given up.
const PROGRAMS_MAX: usize = 16;
const OBSERVE: &str = "observe";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Apply,
    Revoke,
}

impl Direction {
    /// The name of its directory, and the value of `EG_ACTION`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Revoke => "revoke",
        }
    }
}

/// The reason why nothing of a directory is run.
pub type ScriptRefusal = String;

/// The programs of a direction, in the order in which they run.
///
/// # Errors
/// Somebody else could have written one of them, or they are not what can be run.
pub fn programs(directory: &Path, direction: Direction) -> Result<Vec<PathBuf>, ScriptRefusal> {
    check_directory(directory)?;
    let folder = directory.join(direction.word());
    check_folder(&folder)?;
    let entries = fs::read_dir(&folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let entries = entries.map_err(|error| unreadable(&folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).filter(|path| !is_hidden(path)).collect();
    paths.sort();
    match paths.len() {
        0 => return Err(format!("{} has no scripts", folder.display())),
        1..=PROGRAMS_MAX => {}
        many => return Err(format!("{} has {many} scripts, and {PROGRAMS_MAX} are the most", folder.display())),
    }
    for path in &paths {
        check_name(path)?;
        check_program(path)?;
    }
    Ok(paths)
}

/// The program that observes, if there is one.
///
/// # Errors
/// As for [`programs`].
pub fn observer(directory: &Path) -> Result<Option<PathBuf>, ScriptRefusal> {
    check_directory(directory)?;
    let path = directory.join(OBSERVE);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        _ => check_program(&path).map(|()| Some(path)),
    }
}

/// What editors leave behind while they write.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Two digits, a hyphen, and letters, digits, `-` and `_`. Anything else in the folder may be a copy that an editor or
/// a package has left (`10-ufw~`, `10-ufw.bak`), and to leave it out silently may be to leave out a script.
fn check_name(path: &Path) -> Result<(), ScriptRefusal> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let fits = |(number, rest): (&str, &str)| {
        let digits = number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit());
        digits && !rest.is_empty() && rest.bytes().all(plain)
    };
    if name.split_once('-').is_some_and(fits) {
        return Ok(());
    }
    Err(format!("{} is not named like a script (10-name: letters, digits, - and _)", path.display()))
}

fn unreadable(path: &Path, error: &io::Error) -> ScriptRefusal {
    match error.kind() {
        ErrorKind::NotFound => format!("there is no {}", path.display()),
        _ => format!("{} cannot be looked at: {error}", path.display()),
    }
}

fn not_trusted(untrusted: Untrusted) -> ScriptRefusal {
    format!("{untrusted}; this repairs it: {}", untrusted.mend)
}

/// Checks a directory of scripts and everything above it.
fn check_directory(directory: &Path) -> Result<(), ScriptRefusal> {
    let (real, links) = trust::resolve(directory).map_err(|error| unreadable(directory, &error))?;
    for (link, facts) in &links {
        trust::check_owner(link, facts, Owner::User).map_err(not_trusted)?;
    }
    // Also above each link: who can put another one in its place would do so after this check.
    let named = links.iter().map(|(link, _)| link).chain([&real]);
    for above in named.flat_map(|path| path.ancestors().skip(1)) {
        let found = fs::metadata(above).map_err(|error| unreadable(above, &error))?;
        trust::check(above, &Facts::of(&found), Owner::User).map_err(not_trusted)?;
    }
    check_folder(&real)
}

/// Checks a directory that holds programs. Others could put one into a sticky directory, too.
fn check_folder(folder: &Path) -> Result<(), ScriptRefusal> {
    let found = fs::symlink_metadata(folder).map_err(|error| unreadable(folder, &error))?;
    if !found.is_dir() {
        return Err(format!("{} is not a directory", folder.display()));
    }
    let facts = Facts::of(&found);
    trust::check(folder, &facts, Owner::User).map_err(not_trusted)?;
    if facts.mode & OTHERS_WRITE != 0 || (facts.mode & GROUP_WRITES != 0 && !is_private(facts.gid)) {
        return Err(format!("{} can be written by others (mode {:04o})", folder.display(), facts.mode & 0o7777));
    }
    Ok(())
}

fn check_program(path: &Path) -> Result<(), ScriptRefusal> {
    let found = fs::symlink_metadata(path).map_err(|error| unreadable(path, &error))?;
    if found.is_symlink() {
        return Err(format!("{} is a link: put the script itself there", path.display()));
    }
    if !found.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    trust::check(path, &Facts::of(&found), Owner::User).map_err(not_trusted)?;
    access(path, Access::EXEC_OK).map_err(|_| format!("{} may not be run (chmod +x)", path.display()))
}
