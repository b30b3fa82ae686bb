//! Trust in files: who owns them, and who else can write them or put others in their place.

use eg_model::text::shell_quoted;
use rustix::process::{getegid, geteuid};
use std::{
    fs::{self, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};
use thiserror::Error;

/// The most links on the way to a file, as in Linux.
const MAX_LINKS: usize = 40;

pub const OTHERS_WRITE: u32 = 0o002;
pub const GROUP_WRITES: u32 = 0o020;
/// In a sticky directory only a file's owner can rename or delete the file.
const STICKY: u32 = 0o1000;
/// The bits of a mode that hold the file type (POSIX, `S_IFMT`).
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// The user who has to own a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The user or root; no other user may write the file.
    User,
    /// This user id alone (root's, for the policy); no other user may write the file, nor a sticky directory.
    Only(u32),
}

/// Another user can write a file, a directory or a link.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} {why}", path.display())]
pub struct Untrusted {
    pub path: PathBuf,
    pub why: String,
    /// The command that repairs it.
    pub mend: String,
}

/// A path without links, and the links on the way. From the first part that does not exist, the path stays as it is.
///
/// # Errors
/// A part cannot be looked at, or there are too many links.
pub fn resolve(path: &Path) -> io::Result<(PathBuf, Vec<(PathBuf, Facts)>)> {
    let mut rest: Vec<PathBuf> = parts(&std::path::absolute(path)?);
    let mut at = PathBuf::from("/");
    let mut links = Vec::new();
    while let Some(part) = rest.pop() {
        match part.components().next() {
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::Normal(name)) => {
                let next = at.join(name);
                let found = match fs::symlink_metadata(&next) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        return Ok((rest.into_iter().rev().fold(next, |path, part| path.join(part)), links));
                    }
                    other => other?,
                };
                if !found.is_symlink() {
                    at = next;
                    continue;
                }
                let leads_to = fs::read_link(&next)?;
                links.push((next, Facts::of(&found)));
                if links.len() > MAX_LINKS {
                    return Err(io::Error::other("there are too many links on the way to it"));
                }
                if leads_to.is_absolute() {
                    at = PathBuf::from("/");
                }
                rest.extend(parts(&leads_to));
            }
            _ => {}
        }
    }
    Ok((at, links))
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// The facts on which trust in a file rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl Facts {
    pub fn of(found: &Metadata) -> Self {
        Self { uid: found.uid(), gid: found.gid(), mode: found.mode() }
    }

    fn is_sticky_directory(self) -> bool {
        self.mode & KIND == DIRECTORY && self.mode & STICKY != 0
    }
}

/// Checks who owns a file or a directory, and who else can write it. A sticky directory may be everybody's: only a
/// file's owner can take the file away from it.
///
/// # Errors
/// Another user can write it.
pub fn check(path: &Path, facts: &Facts, owner: Owner) -> Result<(), Untrusted> {
    check_owner(path, facts, owner)?;
    let mode = facts.mode & 0o7777;
    let refused = |who: &str, what: &str| {
        let why = format!("can be written by {who} (mode {mode:04o})");
        Err(Untrusted { path: path.to_owned(), why, mend: mend(&format!("chmod {what}"), path) })
    };
    match owner {
        Owner::Only(_) if mode & (OTHERS_WRITE | GROUP_WRITES) != 0 => refused("others than root", "go-w"),
        Owner::User if facts.is_sticky_directory() => Ok(()),
        Owner::User if mode & OTHERS_WRITE != 0 => refused("everybody", "go-w"),
        Owner::User if mode & GROUP_WRITES != 0 && !is_private(facts.gid) => refused("its group", "g-w"),
        _ => Ok(()),
    }
}

/// Checks who owns a file, a directory or a link.
///
/// # Errors
/// Another user owns it.
pub fn check_owner(path: &Path, facts: &Facts, owner: Owner) -> Result<(), Untrusted> {
    let user = geteuid().as_raw();
    let (trusted, whose, to) = match owner {
        Owner::User => (facts.uid == user || facts.uid == 0, "you or root", user),
        Owner::Only(id) => (facts.uid == id, "root", id),
    };
    if trusted {
        return Ok(());
    }
    let why = format!("belongs to user {}, not to {whose}", facts.uid);
    Err(Untrusted { path: path.to_owned(), why, mend: mend(&format!("chown {to}"), path) })
}

fn mend(command: &str, path: &Path) -> String {
    format!("{command} {}", shell_quoted(&path.to_string_lossy()))
}

/// True if a group has the user as its only member, so that its write permission is harmless. Distributions with a group
/// for each user make all files group-writable.
pub fn is_private(gid: u32) -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    gid == 0 || is_own_group(gid, geteuid().as_raw(), getegid().as_raw(), &read("/etc/passwd"), &read("/etc/group"))
}

/// | the group | the user's own |
/// |---|---|
/// | root's | yes: root may write everything |
/// | not the user's primary group | no |
/// | the primary group of another user, or with another member | no |
/// | of a user and in a file that name services add to (`/etc/passwd`, `/etc/group` do not list both) | when it has the user's number, as such groups do |
fn is_own_group(gid: u32, uid: u32, primary: u32, passwd: &str, group: &str) -> bool {
    let number = |field: Option<&str>| field.and_then(|text| text.parse::<u32>().ok());
    let users = || passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let groups = || group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let field = |line: &[&str], at: usize| number(line.get(at).copied());
    let name = users().find(|line| field(line, 2) == Some(uid)).and_then(|line| line.first().copied());
    let of_another = users().any(|line| field(&line, 3) == Some(gid) && field(&line, 2) != Some(uid));
    let listed = || groups().filter(|line| field(line, 2) == Some(gid));
    let members = |line: &Vec<&str>| line.get(3).copied().unwrap_or_default().to_owned();
    let with_another = listed().any(|line| members(&line).split(',').any(|one| !one.is_empty() && Some(one) != name));
    gid == primary && !of_another && !with_another && (gid == uid || name.is_some() && listed().next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_users() {
        let facts = |uid, mode| Facts { uid, gid: 12_345, mode };
        let stranger = geteuid().as_raw() + 1;
        let judged = |facts: Facts, owner| check(Path::new("/x"), &facts, owner).map_err(|error| error.to_string());
        let belongs = |whose: &str| Err(format!("/x belongs to user {stranger}, not to {whose}"));
        assert_eq!(judged(facts(stranger, 0o100_600), Owner::User), belongs("you or root"));
        assert_eq!(judged(facts(0, 0o100_644), Owner::User), Ok(()));
        assert_eq!(judged(facts(stranger, 0o041_777), Owner::User), belongs("you or root"));
        assert_eq!(judged(facts(0, 0o041_777), Owner::User), Ok(()), "/tmp");
        assert_eq!(judged(facts(stranger, 0o100_644), Owner::Only(stranger - 1)), belongs("root"));
        let by = |who: &str, mode: &str| Err(format!("/x can be written by {who} (mode {mode})"));
        assert_eq!(judged(facts(0, 0o100_664), Owner::User), by("its group", "0664"));
        assert_eq!(judged(Facts { gid: 0, ..facts(0, 0o100_664) }, Owner::User), Ok(()), "root's group");
        assert_eq!(judged(Facts { gid: 0, ..facts(7, 0o100_664) }, Owner::Only(7)), by("others than root", "0664"));
        assert_eq!(judged(facts(7, 0o041_777), Owner::Only(7)), by("others than root", "1777"));
    }

    #[test]
    fn groups_of_one_user() {
        let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:100::/:/bin/sh\n\
                      carol:x:1002:100::/:/bin/sh\ndave:x:1003:1003::/:/bin/sh\n";
        let group = "root:x:0:\nalice:x:1000:\nusers:x:100:\ndave:x:1003:alice\nwheel:x:10:alice,dave\n";
        for (gid, uid, primary, expected) in [
            (1000, 1000, 1000, true),
            (10, 1000, 1000, false),
            (100, 1001, 100, false),
            (1003, 1003, 1003, false),
            // Neither is in the files: another service knows them.
            (5000, 5000, 5000, true),
            (5000, 5001, 5000, false),
            (100, 5001, 100, false),
        ] {
            assert_eq!(is_own_group(gid, uid, primary, passwd, group), expected, "{gid} of {uid}");
        }
        assert!(is_own_group(1000, 1000, 1000, passwd, "alice:x:1000:alice"));
        assert!(is_own_group(100, 1001, 100, "bob:x:1001:100::/:/bin/sh", "users:x:100:"), "the only one of them");
    }
}
