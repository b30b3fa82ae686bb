//! The files of the configuration: read whole, replaced whole. A new text takes the place of the old one only once it
//! has been read as a configuration; whatever fails before leaves the old one.

use crate::{
    error::{CommandError, Kind},
    settings::{Settings, Source},
};
use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Reads one file.
///
/// # Errors
/// It is not there, cannot be read, or is not UTF-8.
pub fn read(path: &Path) -> io::Result<Source> {
    let text = fs::read_to_string(path)?;
    // What has no path of its own (a pipe) is known by the name that it was given.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    Ok(Source { text, real })
}

/// Reads a file and what it includes.
///
/// # Errors
/// As for [`Settings::load`].
pub fn load(source: &Source, file: &Path) -> Result<Settings, CommandError> {
    let settings = Settings::load(source, file, &|path| read(path).map_err(|error| error.to_string()));
    settings.map_err(|error| CommandError::new(Kind::Config, error.to_string()))
}

/// Whether somebody else than the file's user, or root, can have written a file: in words, if so.
#[must_use]
pub fn of_others(path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != user && owner != 0 {
        return Some(format!("{} belongs to user {owner}", path.display()));
    }
    (found.is_file() && found.mode() & EVERYBODY_WRITES != 0).then(|| format!("everybody can write {}", path.display()))
}

/// Write permission of others. That of a group is left alone: in many places a user's group holds nobody else.
const EVERYBODY_WRITES: u32 = 0o002;

/// What a new text may take the place of.
#[derive(Clone, Copy, Debug)]
pub enum Over<'a> {
    /// There is no file yet.
    Nothing,
    /// The text that the change began with: whoever has changed the file meanwhile is not overruled.
    Text(&'a str),
    /// Whatever is there.
    Anything,
}

/// A text that is to take the place of a file of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The configuration.
    pub main: &'a Path,
    /// The file: the configuration itself, or one that it includes.
    pub file: &'a Path,
    /// The new text.
    pub text: &'a str,
    /// In the place of what.
    pub over: Over<'a>,
}

impl Change<'_> {
    /// Checks the new text as a configuration, then puts it in place.
    ///
    /// # Errors
    /// The configuration would not be valid, or cannot be written; then nothing was changed.
    pub fn make(&self) -> Result<(), CommandError> {
        self.check()?;
        self.write().map_err(|error| {
            let path = self.file.display();
            let message = match error.kind() {
                io::ErrorKind::AlreadyExists => format!("{path} is there already; it was not changed"),
                _ => format!("{path} cannot be written: {error}"),
            };
            CommandError::new(Kind::Config, message)
        })
    }

    fn check(&self) -> Result<(), CommandError> {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let changed = real(self.file);
        let read = |path: &Path| {
            if real(path) == changed {
                return Ok(Source { text: self.text.to_owned(), real: changed.clone() });
            }
            read(path).map_err(|error| error.to_string())
        };
        let main = read(self.main).map_err(|error| CommandError::new(Kind::Config, error))?;
        match Settings::load(&main, self.main, &read) {
            Ok(_) => Ok(()),
            Err(error) => {
                let accepted = if error.accepted.is_empty() { "a valid configuration" } else { &error.accepted };
                let message = format!("the configuration would not be valid: {}", error.message);
                Err(CommandError::new(Kind::Config, message).hint(format!("accepted: {accepted}; nothing was changed")))
            }
        }
    }

    /// Beside the file, then over it: a reader sees the old text or the new one. A link stays, what it leads to is
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
            draft.as_file().set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        }
        draft.as_file().sync_all()?;
        let directory = File::open(dir)?;
        // Of two edits at once the second has to see what the first has written. Not every file system has locks; there
        // it is as if nobody else edited.
        if let Err(error) = directory.lock() {
            tracing::info!("{} cannot be locked: {error}", dir.display());
        }
        let placed = match self.over {
            Over::Nothing => draft.persist_noclobber(&path),
            Over::Text(old) if fs::read_to_string(&path)? != old => {
                return Err(io::Error::other("somebody has changed it meanwhile; try again"));
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

    fn change<'a>(file: &'a Path, text: &'a str) -> Change<'a> {
        Change { main: file, file, text, over: Over::Anything }
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

    #[test]
    fn a_bad_text_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "# old\n").unwrap();
        let error = change(&path, "[user]\nshoe = 1\n").make().unwrap_err();
        assert_eq!(error.message, "the configuration would not be valid: [user] has no key \"shoe\"");
        assert_eq!(fs::read_to_string(&path).unwrap(), "# old\n");
        assert_eq!(names(dir.path()), ["config.toml"]);
    }

    #[test]
    fn what_is_there_is_not_overwritten_unless_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "# old\n").unwrap();
        let error = Change { over: Over::Nothing, ..change(&path, GOOD) }.make().unwrap_err();
        assert!(error.message.ends_with("config.toml is there already; it was not changed"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "# old\n");
    }

    #[test]
    fn a_change_of_somebody_else_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "# theirs\n").unwrap();
        let error = Change { over: Over::Text("# old\n"), ..change(&path, GOOD) }.make().unwrap_err();
        assert!(error.message.ends_with("somebody has changed it meanwhile; try again"), "{error}");
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(dir.path()).len()), ("# theirs\n", 1));
        Change { over: Over::Text("# theirs\n"), ..change(&path, GOOD) }.make().unwrap();
    }

    /// proc_locks(5). Elsewhere than on Linux nobody is seen.
    fn somebody_waits_for(path: &Path) -> bool {
        let inode = format!(":{} ", fs::metadata(path).unwrap().ino());
        let waits = |locks: String| locks.lines().any(|line| line.contains(" -> ") && line.contains(&inode));
        fs::read_to_string("/proc/locks").map_or(true, waits)
    }

    /// What stands there is looked at only when nobody else is between that and writing.
    #[test]
    fn an_edit_waits_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "# old\n").unwrap();
        let other = File::open(dir.path()).unwrap();
        other.lock().unwrap();
        let error = std::thread::scope(|scope| {
            let edit = scope.spawn(|| Change { over: Over::Text("# old\n"), ..change(&path, GOOD) }.make());
            let seen = || edit.is_finished() || somebody_waits_for(dir.path());
            // Not for ever: some file systems have other inodes there.
            (0..10_000).take_while(|_| !seen()).for_each(|_| std::thread::yield_now());
            fs::write(&path, "# theirs\n").unwrap();
            other.unlock().unwrap();
            edit.join().unwrap().unwrap_err()
        });
        assert!(error.message.ends_with("somebody has changed it meanwhile; try again"), "{error}");
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
        let change = Change { main: &main, file: &team, text: &other, over: Over::Text("") };
        change.make().unwrap();
        assert_eq!(fs::read_to_string(&team).unwrap(), other);
        let error = Change { text: GOOD, over: Over::Anything, ..change }.make().unwrap_err();
        assert!(error.message.contains("\"a\" is the name of two resources"), "{error}");
        assert_eq!((fs::read_to_string(&team).unwrap(), fs::read_to_string(&main).unwrap()), (other, text));
    }
}
