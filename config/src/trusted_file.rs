//! Reads the files that decide what `eg` opens and runs: the configuration, the files that it includes, and the machine's
//! policy.
//!
//! Closing waits for these files too, so reading them must end: they are regular files of at most [`MAX_BYTES`], and
//! reading one configuration takes at most [`MAX_TIME`], even from a pipe or a hung mount. Another user must not decide
//! what is opened, so each file is checked where it is read:
//!
//! | what | checked by | why |
//! |---|---|---|
//! | the file | its open handle: kind, owner, mode, size | the checked text is the text in use |
//! | its directory, by its name and without links | owner, mode | its writers can remove the file, or put another file of the user in its place |
//! | links on the way | owner | the owner of a link decides where it leads |
//!
//! The directory and the links are looked up by name after the file was opened. That is no race: an attacker cannot change
//! a name in a directory that passes the check, and a file that the attacker wrote fails by its owner in any directory.

use eg_model::text::shell_quoted;
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

/// The largest file that is read.
pub const MAX_BYTES: u64 = 1 << 20;
/// The time limit for all files of one configuration.
pub const MAX_TIME: Duration = Duration::from_secs(5);
/// The pause before an empty pipe is read again.
const PIPE_PAUSE: Duration = Duration::from_millis(10);
/// The most links on the way to a file, as in Linux.
const MAX_LINKS: usize = 40;

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustRule {
    pub owner: Owner,
    /// True if the file may be a pipe: a configuration that a command writes, `--config <(…)`.
    pub pipe: bool,
}

/// The reason why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
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
    /// Another user may have written it.
    #[error("{} {why}", path.display())]
    Untrusted {
        /// The file, its directory, or a link.
        path: PathBuf,
        why: String,
        /// The command that repairs it.
        mend: String,
    },
}

impl ReadError {
    /// The command that repairs it, if there is one.
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

/// A file's text and its real path, which is the same for every path that leads to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    /// The path without links. A pipe has none, and keeps the given name.
    pub real: PathBuf,
}

/// Reads one file, within the rest of [`MAX_TIME`] since `begun`.
pub fn read(path: &Path, wanted: TrustRule, begun: Instant) -> Result<Text, ReadError> {
    let (given, until) = (path.to_owned(), begun + MAX_TIME);
    let left = until.saturating_duration_since(Instant::now());
    within(left, move || read_here(&given, wanted, until)).unwrap_or(Err(ReadError::TooSlow))
}

/// Checks the place of a file that is about to be written, so that it can be read afterwards.
pub fn check_place(path: &Path) -> Result<(), ReadError> {
    let (real, links) = resolve(path)?;
    check_directories(path, &real, &links, Owner::User)
}

/// The mode of a configuration file that is written anew: its old mode without write permission for others.
pub fn safe_mode(old: &Metadata) -> u32 {
    let group = if is_private(old.gid()) { 0 } else { GROUP_WRITES };
    old.mode() & 0o7777 & !(OTHERS_WRITE | group)
}

/// Runs work that may never end; `None` if it did not end in time. Its thread is left behind then, and until it ends no
/// other is started: `--watch` would leave one more thread behind with every pass.
fn within<T: Send + 'static>(time: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    static LEFT_BEHIND: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);
    let mut left = LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner);
    if left.as_ref().is_some_and(|thread| !thread.is_finished()) {
        return None;
    }
    let (send, receive) = mpsc::sync_channel(1);
    let thread = Builder::new().spawn(move || {
        // Fails only if the receiver has stopped waiting.
        send.send(work()).ok();
    });
    let done = receive.recv_timeout(time).ok();
    *left = thread.ok().filter(|_| done.is_none());
    done
}

fn read_here(path: &Path, wanted: TrustRule, until: Instant) -> Result<Text, ReadError> {
    let mut file = open(path)?;
    check_handle(path, &file, wanted)?;
    if file.metadata()?.len() > MAX_BYTES {
        return Err(ReadError::TooLarge);
    }
    // The open file may have no name: `/dev/fd/63` leads to a pipe.
    let (real, links) = resolve(path)?;
    check_directories(path, &real, &links, wanted.owner)?;
    let is_pipe = file.metadata()?.file_type().is_fifo();
    let bytes = if is_pipe { read_pipe(&mut file, until)? } else { read_file(file)? };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge);
    }
    let text = String::from_utf8(bytes).map_err(|_| ReadError::Failed("it is not UTF-8 text".to_owned()))?;
    Ok(Text { text, real })
}

/// Reads at most one byte too many: a file can grow while it is read.
fn read_file(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a pipe until its writer closes it. Before the writer opens it a pipe reads as empty, so an empty pipe is read again.
fn read_pipe(pipe: &mut File, until: Instant) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    while bytes.len() as u64 <= MAX_BYTES {
        // `read_to_end` keeps the bytes that it read before the pipe ran empty.
        match pipe.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
            Ok(_) if !bytes.is_empty() => return Ok(bytes),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
            _ if Instant::now() >= until => return Err(ReadError::TooSlow),
            _ => sleep(PIPE_PAUSE),
        }
    }
    Ok(bytes)
}

/// Opens the file without waiting for the other end of a pipe, and never makes a terminal the controlling one.
fn open(path: &Path) -> Result<File, ReadError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    Ok(File::from(opened))
}

fn check_handle(path: &Path, file: &File, wanted: TrustRule) -> Result<(), ReadError> {
    let found = file.metadata()?;
    let kind = found.file_type();
    let fits = kind.is_file() || (kind.is_fifo() && wanted.pipe);
    if !fits {
        let fifo = if kind.is_fifo() { "a named pipe" } else { "a device" };
        return Err(ReadError::NotAFile(if kind.is_dir() { "a directory" } else { fifo }));
    }
    check_trust(path, &Facts::of(&found), wanted.owner)
}

fn check_directories(path: &Path, real: &Path, links: &[(PathBuf, Facts)], owner: Owner) -> Result<(), ReadError> {
    for (link, facts) in links.iter().filter(|(_, facts)| facts.uid != 0) {
        check_owner(link, facts, owner)?;
    }
    let named = std::path::absolute(path)?;
    [named.parent(), real.parent()].into_iter().flatten().try_for_each(|directory| match fs::metadata(directory) {
        Ok(found) => check_trust(directory, &Facts::of(&found), owner),
        // `eg` will make it, writable by its user alone.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    })
}

/// A path without links, and the links on the way. From the first part that does not exist, the path stays as it is.
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

/// The facts on which trust in a file rests.
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

fn check_trust(path: &Path, facts: &Facts, owner: Owner) -> Result<(), ReadError> {
    check_owner(path, facts, owner)?;
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

fn check_owner(path: &Path, facts: &Facts, owner: Owner) -> Result<(), ReadError> {
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

/// True if a group has the user as its only member, so that its write permission is harmless. Distributions with a group
/// for each user make all files group-writable.
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
    fn files_of_other_users() {
        let facts = |uid, mode| Facts { uid, gid: 12_345, mode };
        let stranger = geteuid().as_raw() + 1;
        let judged =
            |facts: Facts, owner| check_trust(Path::new("/x"), &facts, owner).map_err(|error| error.to_string());
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

    /// The writer may be slower than the reader.
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
