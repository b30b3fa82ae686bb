//! Reading the files that decide what `eg` opens and runs: the configuration, the files that it includes, and the
//! machine's policy.
//!
//! Closing waits for these files too, so reading them ends: they are regular files of at most [`MAX_BYTES`], and all
//! that one configuration reads takes at most [`MAX_TIME`], whatever a pipe or a hung mount does. And another user must
//! not decide what is opened, so each file is judged where it is read:
//!
//! | what | judged by | why |
//! |---|---|---|
//! | the file | its open handle: kind, owner, mode, size | the text that is judged is the text that is used |
//! | its directory, by its name and without links | owner, mode | its writers can take the file away, or put another of the user's in its place |
//! | links on the way | owner | whoever made a link decides where it leads |
//!
//! The directory and the links are looked up by name after the file was opened. That is no race: nobody whom this
//! judgement has to fear can change a name in a directory that passes it, and a file that such a person wrote fails by
//! its owner wherever it lies.

use crate::text::shell_quoted;
use rustix::{
    fs::{Mode, OFlags},
    process::{getegid, geteuid},
};
use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Component, Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc},
    thread::{Builder, JoinHandle, sleep},
    time::{Duration, Instant},
};
use thiserror::Error;

/// The longest file that is read.
pub const MAX_BYTES: u64 = 1 << 20;
/// The longest that all files of one configuration may take.
pub const MAX_TIME: Duration = Duration::from_secs(5);
/// How often a pipe that says nothing is looked at.
const PIPE_PAUSE: Duration = Duration::from_millis(10);
/// The most links on the way to a file, as in Linux.
const MAX_LINKS: usize = 40;

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
/// In a sticky directory only the owner of a file can rename or delete it.
const STICKY: u32 = 0o1000;
/// The bits of a mode that say what it is the mode of (POSIX, `S_IFMT`).
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// Whose file it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The user's or root's, and writable by nobody else.
    User,
    /// This one's alone, and writable by nobody else, sticky directories included: root's, for the policy.
    Only(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustRule {
    /// Whose file it has to be.
    pub owner: Owner,
    /// Whether it may be a pipe: a configuration that a command makes, `--config <(…)`.
    pub pipe: bool,
}

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("there is no such file")]
    Absent,
    #[error("{0}")]
    Failed(String),
    /// A directory, a device, a socket, or a pipe where none may be.
    #[error("it is {0}, not a regular file")]
    NotAFile(&'static str),
    #[error("it is larger than 1 MiB")]
    TooLarge,
    #[error("it could not be read within 5 seconds")]
    TooSlow,
    /// Another user can have written it.
    #[error("{} {why}", path.display())]
    Untrusted {
        /// The file, its directory, or a link.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The command that mends it.
        mend: String,
    },
}

impl ReadError {
    /// The command that mends it, where there is one.
    #[must_use]
    pub fn mend(&self) -> Option<&str> {
        match self {
            Self::Untrusted { mend, .. } => Some(mend),
            _ => None,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Absent,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// A file's text, and where it really is: the same for every way to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    /// Its path without links. What has no path (a pipe) keeps the name that it was given.
    pub real: PathBuf,
}

/// Reads one file, within what is left of [`MAX_TIME`] since `begun`.
///
/// # Errors
/// It is not there, cannot be read in time, is no regular file, is too large, or another user can have written it.
pub fn read(path: &Path, wanted: TrustRule, begun: Instant) -> Result<Text, ReadError> {
    let (given, until) = (path.to_owned(), begun + MAX_TIME);
    let left = until.saturating_duration_since(Instant::now());
    within(left, move || read_here(&given, wanted, until)).unwrap_or(Err(ReadError::TooSlow))
}

/// Judges the place of a file that is about to be written, so that it can be read afterwards.
///
/// # Errors
/// Another user could put something else there.
pub fn check_place(path: &Path) -> Result<(), ReadError> {
    let (real, links) = resolve(path)?;
    judge_way(path, &real, &links, Owner::User)
}

/// The mode that a file of the configuration may keep when it is written anew: whoever else could write it cannot any
/// more.
#[must_use]
pub fn safe_mode(old: &Metadata) -> u32 {
    let group = if is_private(old.gid()) { 0 } else { GROUP_WRITES };
    old.mode() & 0o7777 & !(OTHERS_WRITE | group)
}

/// Runs something that may never end; `None` when it did not end in time. It is left behind then, and while it is, nothing
/// else is begun: `--watch` would leave one more behind with every pass.
fn within<T: Send + 'static>(time: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    static LEFT_BEHIND: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);
    let mut left = LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner);
    if left.as_ref().is_some_and(|thread| !thread.is_finished()) {
        return None;
    }
    let (send, receive) = mpsc::sync_channel(1);
    let thread = Builder::new().spawn(move || {
        // Fails only where nobody waits any longer.
        send.send(work()).ok();
    });
    let done = receive.recv_timeout(time).ok();
    *left = thread.ok().filter(|_| done.is_none());
    done
}

fn read_here(path: &Path, wanted: TrustRule, until: Instant) -> Result<Text, ReadError> {
    let mut file = open(path)?;
    judge_handle(path, &file, wanted)?;
    if file.metadata()?.len() > MAX_BYTES {
        return Err(ReadError::TooLarge);
    }
    // What was opened may have no name: `/dev/fd/63` leads to a pipe.
    let (real, links) = resolve(path)?;
    judge_way(path, &real, &links, wanted.owner)?;
    let is_pipe = file.metadata()?.file_type().is_fifo();
    let bytes = if is_pipe { read_pipe(&mut file, until)? } else { read_file(file)? };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge);
    }
    let text = String::from_utf8(bytes).map_err(|_| ReadError::Failed("it is not UTF-8 text".to_owned()))?;
    Ok(Text { text, real })
}

/// A file can grow while it is read.
fn read_file(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Until whoever writes has closed it again. Before somebody has opened it for writing a pipe reads as empty, so one that
/// has said nothing is waited for.
fn read_pipe(pipe: &mut File, until: Instant) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    while bytes.len() as u64 <= MAX_BYTES {
        // What was read before it would have to wait is kept.
        match pipe.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
            Ok(_) if !bytes.is_empty() => return Ok(bytes),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
            _ if Instant::now() >= until => return Err(ReadError::TooSlow),
            _ => sleep(PIPE_PAUSE),
        }
    }
    Ok(bytes)
}

/// Never waits for a pipe's other end, and takes no terminal.
fn open(path: &Path) -> Result<File, ReadError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    Ok(File::from(opened))
}

fn judge_handle(path: &Path, file: &File, wanted: TrustRule) -> Result<(), ReadError> {
    let found = file.metadata()?;
    let kind = found.file_type();
    let fits = kind.is_file() || (kind.is_fifo() && wanted.pipe);
    if !fits {
        let fifo = if kind.is_fifo() { "a named pipe" } else { "a device" };
        return Err(ReadError::NotAFile(if kind.is_dir() { "a directory" } else { fifo }));
    }
    judge(path, &Facts::of(&found), wanted.owner)
}

fn judge_way(path: &Path, real: &Path, links: &[(PathBuf, Facts)], owner: Owner) -> Result<(), ReadError> {
    for (link, facts) in links.iter().filter(|(_, facts)| facts.uid != 0) {
        judge_owner(link, facts, owner)?;
    }
    let named = std::path::absolute(path)?;
    [named.parent(), real.parent()].into_iter().flatten().try_for_each(|directory| match fs::metadata(directory) {
        Ok(found) => judge(directory, &Facts::of(&found), owner),
        // It is made for the file, and for its user alone.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    })
}

/// A path without links, and the links on the way. From the first part that is not there, all stays as it is.
fn resolve(path: &Path) -> Result<(PathBuf, Vec<(PathBuf, Facts)>), ReadError> {
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
                    return Err(ReadError::Failed("there are too many links on the way to it".to_owned()));
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

/// What a judgement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Facts {
    fn of(found: &Metadata) -> Self {
        Self { uid: found.uid(), gid: found.gid(), mode: found.mode() }
    }

    fn is_sticky_directory(self) -> bool {
        self.mode & KIND == DIRECTORY && self.mode & STICKY != 0
    }
}

fn judge(path: &Path, facts: &Facts, owner: Owner) -> Result<(), ReadError> {
    judge_owner(path, facts, owner)?;
    let mode = facts.mode & 0o7777;
    let refused = |who: &str, what: &str| {
        let why = format!("can be written by {who} (mode {mode:04o})");
        Err(ReadError::Untrusted { path: path.to_owned(), why, mend: mend(&format!("chmod {what}"), path) })
    };
    match owner {
        Owner::Only(_) if mode & (OTHERS_WRITE | GROUP_WRITES) != 0 => refused("others than root", "go-w"),
        Owner::User if facts.is_sticky_directory() => Ok(()),
        Owner::User if mode & OTHERS_WRITE != 0 => refused("everybody", "go-w"),
        Owner::User if mode & GROUP_WRITES != 0 && !is_private(facts.gid) => refused("its group", "g-w"),
        _ => Ok(()),
    }
}

fn judge_owner(path: &Path, facts: &Facts, owner: Owner) -> Result<(), ReadError> {
    let user = geteuid().as_raw();
    let (trusted, whose, to) = match owner {
        Owner::User => (facts.uid == user || facts.uid == 0, "you or root", user),
        Owner::Only(id) => (facts.uid == id, "root", id),
    };
    if trusted {
        return Ok(());
    }
    let why = format!("belongs to user {}, not to {whose}", facts.uid);
    Err(ReadError::Untrusted { path: path.to_owned(), why, mend: mend(&format!("chown {to}"), path) })
}

fn mend(command: &str, path: &Path) -> String {
    format!("{command} {}", shell_quoted(&path.to_string_lossy()))
}

/// Whether a group is the user's alone, so that its write permission gives nothing away. Distributions with a group for
/// each user make all files group-writable.
fn is_private(gid: u32) -> bool {
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
    use std::os::unix::fs::{PermissionsExt, symlink};

    const MINE: TrustRule = TrustRule { owner: Owner::User, pipe: false };

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn read_now(path: &Path) -> Result<String, String> {
        read(path, MINE, Instant::now()).map(|found| found.text).map_err(|error| error.to_string())
    }

    #[test]
    fn files_of_the_user_are_read_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (file, within) = (dir.path().join("a b.toml"), dir.path().join("in"));
        assert_eq!(read_now(&file), Err("there is no such file".to_owned()));
        fs::write(&file, "x").unwrap();
        mode(&file, 0o600);
        assert_eq!(read_now(&file), Ok("x".to_owned()));
        for (bad, who) in [(0o602, "everybody"), (0o666, "everybody")] {
            mode(&file, bad);
            let error = read(&file, MINE, Instant::now()).unwrap_err();
            assert!(error.to_string().ends_with(&format!("can be written by {who} (mode {bad:04o})")), "{error}");
            assert_eq!(error.mend(), Some(format!("chmod go-w '{}'", file.display()).as_str()));
        }
        mode(&file, 0o600);
        mode(dir.path(), 0o777);
        assert!(read_now(&file).unwrap_err().ends_with("can be written by everybody (mode 0777)"));
        mode(dir.path(), 0o1777);
        assert_eq!(read_now(&file), Ok("x".to_owned()), "nobody else can take it away from a sticky directory");
        mode(dir.path(), 0o700);
        assert_eq!(read_now(dir.path()), Err("it is a directory, not a regular file".to_owned()));
        assert_eq!(read_now(Path::new("/dev/zero")), Err("it is a device, not a regular file".to_owned()));
        fs::create_dir(&within).unwrap();
        mode(&within, 0o700);
        symlink("../in/../a b.toml", within.join("link")).unwrap();
        let found = read(&within.join("link"), MINE, Instant::now()).unwrap();
        assert_eq!(found.real, fs::canonicalize(&file).unwrap());
        mode(&within, 0o777);
        assert!(read_now(&within.join("link")).unwrap_err().ends_with("/in can be written by everybody (mode 0777)"));
        fs::write(&file, [b'x', 0xff]).unwrap();
        assert_eq!(read_now(&file), Err("it is not UTF-8 text".to_owned()));
        File::create(&file).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(read_now(&file), Err("it is larger than 1 MiB".to_owned()));
        symlink("loop", dir.path().join("loop")).unwrap();
        assert!(read_now(&dir.path().join("loop")).is_err());
    }

    #[test]
    fn somebody_elses() {
        let facts = |uid, mode| Facts { uid, gid: 12_345, mode };
        let stranger = geteuid().as_raw() + 1;
        let judged = |facts: Facts, owner| judge(Path::new("/x"), &facts, owner).map_err(|error| error.to_string());
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

    /// Whoever writes may be slower than whoever reads.
    #[test]
    fn a_pipe_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::write(pipe, "x")
        });
        assert_eq!(read(&pipe, TrustRule { pipe: true, ..MINE }, Instant::now()).unwrap().text, "x");
        writer.join().unwrap().unwrap();
        assert_eq!(read_now(&pipe), Err("it is a named pipe, not a regular file".to_owned()));
    }
}
