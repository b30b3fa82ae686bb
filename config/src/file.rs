//! Reads the files of the configuration whole, and replaces them whole. A new text takes the place of the old one only
//! after it was read as a configuration; a failure before that leaves the old one.

use crate::{
    include::{SourceFile, UnreadFile},
    settings::Settings,
    toml::SettingsError,
    trusted_file::{self, Owner, ReadError, TrustRule},
};
use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    time::Instant,
};
use tempfile::NamedTempFile;
use thiserror::Error;

/// Reason why a configuration was not read, or not changed.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("the configuration {} {}", path.display(), not_read(error))]
    Unreadable { path: PathBuf, error: ReadError },
    #[error("{0}")]
    Malformed(SettingsError),
    /// The text that should replace a file does not fit.
    #[error("the configuration would not be valid: {}", .0.message)]
    Unfit(SettingsError),
    #[error("{} is there already; it was not changed", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be written: {error}", path.display())]
    Unwritable { path: PathBuf, error: io::Error },
}

impl ConfigError {
    pub fn unreadable(path: &Path, error: ReadError) -> Self {
        Self::Unreadable { path: path.to_owned(), error }
    }
}

fn not_read(error: &ReadError) -> String {
    match error {
        ReadError::Untrusted(_) => {
            format!("is not to be trusted: {error}; nothing is opened, closing goes on")
        }
        _ => format!("cannot be read: {error}"),
    }
}

/// The files of one configuration, which are read within [`trusted_file::MAX_TIME`] in all.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFiles {
    begun: Instant,
}

impl ConfigFiles {
    pub fn begin() -> Self {
        Self { begun: Instant::now() }
    }

    /// Reads the file that was named, which may be a pipe.
    pub fn read(self, path: &Path) -> Result<SourceFile, ReadError> {
        self.read_as(path, true)
    }

    fn read_as(self, path: &Path, pipe: bool) -> Result<SourceFile, ReadError> {
        let found = trusted_file::read(path, TrustRule { owner: Owner::User, pipe }, self.begun)?;
        Ok(SourceFile { text: found.text, real: found.real })
    }

    fn include(self, path: &Path) -> Result<SourceFile, UnreadFile> {
        self.read_as(path, false)
            .map_err(|error| UnreadFile { mend: error.mend().map(str::to_owned), why: error.to_string() })
    }

    /// Reads the settings of a file and of the files that it includes.
    pub fn load(self, source: &SourceFile, file: &Path) -> Result<Settings, ConfigError> {
        Settings::load(source, file, &|path| self.include(path)).map_err(ConfigError::Malformed)
    }
}

/// The old text that a new one may take the place of.
#[derive(Clone, Copy, Debug)]
pub enum Over<'a> {
    /// There is no file yet.
    Nothing,
    /// The text that the change began with: a change that another process made meanwhile is not lost.
    Text(&'a str),
    Anything,
}

/// A text that is to take the place of a file of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct FileChange<'a> {
    pub main: &'a Path,
    /// The file: the configuration itself, or one that it includes.
    pub file: &'a Path,
    pub text: &'a str,
    pub over: Over<'a>,
}

impl FileChange<'_> {
    /// Checks the new text as a configuration, then puts it in place. After an error nothing was changed.
    pub fn make(&self) -> Result<(), ConfigError> {
        self.check()?;
        let path = || self.file.to_owned();
        self.write().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => ConfigError::Exists(path()),
            _ => ConfigError::Unwritable { path: path(), error },
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        // A file that others could replace would be refused when it is read.
        trusted_file::check_place(self.file).map_err(|error| ConfigError::unreadable(self.file, error))?;
        let files = ConfigFiles::begin();
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let changed = real(self.file);
        let new = |path: &Path| {
            (real(path) == changed).then(|| SourceFile { text: self.text.to_owned(), real: changed.clone() })
        };
        let main = match new(self.main) {
            Some(source) => source,
            None => files.read(self.main).map_err(|error| ConfigError::unreadable(self.main, error))?,
        };
        let read = |path: &Path| new(path).map_or_else(|| files.include(path), Ok);
        Settings::load(&main, self.main, &read).map(drop).map_err(ConfigError::Unfit)
    }

    /// Writes beside the file, then over it: a reader sees the old text or the new one. A link stays, its target is
    /// replaced.
    fn write(&self) -> io::Result<()> {
        let linked = fs::symlink_metadata(self.file).is_ok();
        let path: PathBuf = if linked { fs::canonicalize(self.file)? } else { self.file.to_owned() };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut draft = NamedTempFile::new_in(dir)?;
        draft.write_all(self.text.as_bytes())?;
        if let Ok(old) = fs::metadata(&path) {
            let made = draft.as_file().metadata()?;
            if (old.uid(), old.gid()) != (made.uid(), made.gid()) {
                fchown(draft.as_file(), Some(old.uid()), Some(old.gid()))?;
            }
            draft.as_file().set_permissions(Permissions::from_mode(trusted_file::safe_mode(&old)))?;
        }
        draft.as_file().sync_all()?;
        let directory = File::open(dir)?;
        // Of two edits at once the second has to see the text of the first. On a file system without locks the edit goes
        // on without one.
        if let Err(error) = directory.lock() {
            tracing::info!("{} cannot be locked: {error}", dir.display());
        }
        let placed = match self.over {
            Over::Nothing => draft.persist_noclobber(&path),
            Over::Text(old) if fs::read_to_string(&path)? != old => {
                return Err(io::Error::other("another process has changed it meanwhile; try again"));
            }
            Over::Text(_) | Over::Anything => draft.persist(&path),
        };
        placed.map_err(|error| error.error)?;
        directory.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "[[resource]]\nname = \"a\"\nid = \"sg-0abc123def4567890\"\nregion = \"eu-west-1\"\nports = [\"tcp/22\"]\n";

    fn change<'a>(file: &'a Path, text: &'a str) -> FileChange<'a> {
        FileChange { main: file, file, text, over: Over::Anything }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/config.toml");
        change(&path, GOOD).make().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), GOOD);
        assert_eq!((mode(&path), mode(path.parent().unwrap()), mode(&dir.path().join("deep"))), (0o600, 0o700, 0o700));
    }

    #[test]
    fn an_old_file_keeps_its_mode_and_its_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.toml"), dir.path().join("config.toml"));
        fs::write(&real, "# old\n").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real.toml", &link).unwrap();
        change(&link, GOOD).make().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((fs::read_to_string(&real).unwrap().as_str(), mode(&real)), (GOOD, 0o640));
        assert_eq!(names(dir.path()), ["config.toml", "real.toml"], "no draft stays behind");
    }

    /// `eg` refuses a configuration that others can write: it must not write one.
    #[test]
    fn a_file_that_others_could_write_is_replaced_by_one_that_they_cannot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "# old\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o646)).unwrap();
        change(&path, GOOD).make().unwrap();
        assert_eq!(mode(&path), 0o644);
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let error = change(&path, "# new\n").make().unwrap_err();
        assert!(error.to_string().contains(" can be written by everybody (mode 0777)"), "{error}");
        let ConfigError::Unreadable { error, .. } = error else { panic!("{error}") };
        assert_eq!(error.mend(), Some(format!("chmod go-w {}", dir.path().display()).as_str()));
        assert_eq!(fs::read_to_string(&path).unwrap(), GOOD);
    }

    #[test]
    fn a_bad_text_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "# old\n").unwrap();
        let error = change(&path, "[user]\nshoe = 1\n").make().unwrap_err();
        assert_eq!(error.to_string(), "the configuration would not be valid: [user] has no key \"shoe\"");
        assert_eq!(fs::read_to_string(&path).unwrap(), "# old\n");
        assert_eq!(names(dir.path()), ["config.toml"]);
    }

    #[test]
    fn what_is_there_is_not_overwritten_unless_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "# old\n").unwrap();
        let error = FileChange { over: Over::Nothing, ..change(&path, GOOD) }.make().unwrap_err();
        assert!(error.to_string().ends_with("config.toml is there already; it was not changed"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "# old\n");
    }

    #[test]
    fn a_change_of_another_process_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "# theirs\n").unwrap();
        let error = FileChange { over: Over::Text("# old\n"), ..change(&path, GOOD) }.make().unwrap_err();
        assert!(error.to_string().ends_with("another process has changed it meanwhile; try again"), "{error}");
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(dir.path()).len()), ("# theirs\n", 1));
        FileChange { over: Over::Text("# theirs\n"), ..change(&path, GOOD) }.make().unwrap();
    }

    /// True if another process waits for the lock (proc_locks(5)); always true on systems without that file.
    fn another_waits_for(path: &Path) -> bool {
        let inode = format!(":{} ", fs::metadata(path).unwrap().ino());
        let waits = |locks: String| locks.lines().any(|line| line.contains(" -> ") && line.contains(&inode));
        fs::read_to_string("/proc/locks").map_or(true, waits)
    }

    /// An edit reads the old text under the lock, so no other edit comes between reading and writing.
    #[test]
    fn an_edit_waits_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "# old\n").unwrap();
        let other = File::open(dir.path()).unwrap();
        other.lock().unwrap();
        let error = std::thread::scope(|scope| {
            let edit = scope.spawn(|| FileChange { over: Over::Text("# old\n"), ..change(&path, GOOD) }.make());
            let seen = || edit.is_finished() || another_waits_for(dir.path());
            // Not for ever: some file systems have other inodes there.
            (0..10_000).take_while(|_| !seen()).for_each(|_| std::thread::yield_now());
            fs::write(&path, "# theirs\n").unwrap();
            other.unlock().unwrap();
            edit.join().unwrap().unwrap_err()
        });
        assert!(error.to_string().ends_with("another process has changed it meanwhile; try again"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "# theirs\n");
    }

    #[test]
    fn an_included_file_is_checked_where_it_is_included() {
        let dir = tempfile::tempdir().unwrap();
        let (main, team) = (dir.path().join("config.toml"), dir.path().join("team.toml"));
        let text = format!("include = [\"team.toml\"]\n{GOOD}");
        fs::write(&main, &text).unwrap();
        fs::write(&team, "").unwrap();
        let other = GOOD.replace("\"a\"", "\"b\"");
        let change = FileChange { main: &main, file: &team, text: &other, over: Over::Text("") };
        change.make().unwrap();
        assert_eq!(fs::read_to_string(&team).unwrap(), other);
        let error = FileChange { text: GOOD, over: Over::Anything, ..change }.make().unwrap_err();
        assert!(error.to_string().contains("\"a\" is the name of two resources"), "{error}");
        assert_eq!((fs::read_to_string(&team).unwrap(), fs::read_to_string(&main).unwrap()), (other, text));
    }
}
