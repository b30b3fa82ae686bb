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

use eg_providers::trust::{self, Facts, Untrusted, is_private};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc},
    thread::{Builder, JoinHandle, sleep},
    time::{Duration, Instant},
};
use thiserror::Error;

pub use eg_providers::trust::Owner;

/// The largest file that is read.
pub const MAX_BYTES: u64 = 1 << 20;
/// The time limit for all files of one configuration.
pub const MAX_TIME: Duration = Duration::from_secs(5);
/// The pause before an empty pipe is read again.
const PIPE_PAUSE: Duration = Duration::from_millis(10);

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
    /// Another user may have written it, its directory, or a link.
    #[error("{0}")]
    Untrusted(Untrusted),
}

impl ReadError {
    /// The command that repairs it, if there is one.
    pub fn mend(&self) -> Option<&str> {
        match self {
            Self::Untrusted(untrusted) => Some(&untrusted.mend),
            _ => None,
        }
    }
}

impl From<Untrusted> for ReadError {
    fn from(untrusted: Untrusted) -> Self {
        Self::Untrusted(untrusted)
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
    let (real, links) = trust::resolve(path)?;
    check_directories(path, &real, &links, Owner::User)
}

/// The mode of a configuration file that is written anew: its old mode without write permission for others.
pub fn safe_mode(old: &Metadata) -> u32 {
    let group = if is_private(old.gid()) { 0 } else { trust::GROUP_WRITES };
    old.mode() & 0o7777 & !(trust::OTHERS_WRITE | group)
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
    let (real, links) = trust::resolve(path)?;
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
    Ok(trust::check(path, &Facts::of(&found), wanted.owner)?)
}

fn check_directories(path: &Path, real: &Path, links: &[(PathBuf, Facts)], owner: Owner) -> Result<(), ReadError> {
    for (link, facts) in links.iter().filter(|(_, facts)| facts.uid != 0) {
        trust::check_owner(link, facts, owner)?;
    }
    let named = std::path::absolute(path)?;
    [named.parent(), real.parent()].into_iter().flatten().try_for_each(|directory| match fs::metadata(directory) {
        Ok(found) => Ok(trust::check(directory, &Facts::of(&found), owner)?),
        // `eg` will make it, writable by its user alone.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    })
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
