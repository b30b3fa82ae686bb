//! The file of the variables that hold a password. A scheduled job reads it, and checks each time that no other user can.

use crate::schedule::job::{ENV_FILE_OPTION, Job, is_proxy};
use eg_model::text::shell_quoted;
use rustix::{
    fs::{Mode, OFlags},
    process::geteuid,
};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt},
        process::CommandExt,
    },
    path::Path,
};
use tempfile::NamedTempFile;

/// More than any proxies take.
const LARGEST: u64 = 64 * 1024;

/// The content of the file: a variable a line.
fn text(job: &Job) -> String {
    job.secrets.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// A shell command that makes the file without showing a password on the screen.
pub fn by_hand(job: &Job) -> String {
    let names: Vec<&str> = job.secrets.iter().map(|(name, _)| name.as_str()).collect();
    let file = shell_quoted(&job.variables_file().to_string_lossy());
    format!("(umask 077; env | grep -E '^({})=' > {file})", names.join("|"))
}

/// True if the file holds the job's secrets; for a job without secrets, true if there is no file.
pub fn is_current(job: &Job) -> bool {
    let path = job.variables_file();
    match job.secrets.is_empty() {
        true => path.symlink_metadata().is_err(),
        false => read(&path).is_ok_and(|found| found == job.secrets),
    }
}

/// Writes the file atomically, or removes one that is no longer needed. True if anything changed.
pub fn put(job: &Job) -> io::Result<bool> {
    if is_current(job) {
        return Ok(false);
    }
    let path = job.variables_file();
    if job.secrets.is_empty() {
        return remove(job);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // NamedTempFile creates it with mode 0600.
    let mut draft = NamedTempFile::new_in(directory)?;
    draft.write_all(text(job).as_bytes())?;
    draft.as_file().sync_all()?;
    draft.persist(&path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()?;
    Ok(true)
}

/// Removes the file. True if it was there.
pub fn remove(job: &Job) -> io::Result<bool> {
    match std::fs::remove_file(job.variables_file()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The variables of a file. Fails if other users can read or write the file, or if it sets anything but a proxy.
pub fn read(path: &Path) -> Result<Vec<(String, String)>, String> {
    let refused = |why: &str| format!("{} is not used: {why}", path.display());
    let text = read_own(path).map_err(|error| refused(&error.to_string()))?;
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').ok_or_else(|| refused("a line of it is not NAME=value"))?;
        // Any other variable would let the file's writer decide what runs and where.
        if is_proxy(name) { Ok((name.to_owned(), value.to_owned())) } else { Err(refused(&format!("it sets {name}"))) }
    };
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(pair).collect()
}

/// Checks the open file rather than the path, which could lead elsewhere a moment later.
fn read_own(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    let user = geteuid().as_raw();
    let wrong = if !found.is_file() {
        "it is not a regular file".to_owned()
    } else if found.uid() != user {
        format!("it belongs to user {}, not to {user}", found.uid())
    } else if found.mode() & 0o077 != 0 {
        "others can read or write it (chmod 600)".to_owned()
    } else if found.len() > LARGEST {
        "it is too large".to_owned()
    } else {
        let mut text = String::new();
        file.take(LARGEST).read_to_string(&mut text)?;
        return Ok(text);
    };
    Err(io::Error::other(wrong))
}

/// Replaces this process by this program with the variables of the file and without the option: the network libraries read
/// proxies from the environment of the process. Returns only the reason why it failed.
pub fn begin_again(program: &Path, args: &[OsString], file: &Path) -> String {
    let variables = match read(file) {
        Ok(variables) => variables,
        Err(why) => return why,
    };
    let error = std::process::Command::new(program).args(without_option(args)).envs(variables).exec();
    format!("{} cannot be run again: {error}", program.display())
}

/// The arguments without the option and its value, and without the program's own name.
fn without_option(args: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        if arg == ENV_FILE_OPTION {
            args.next();
        } else if !arg.to_str().is_some_and(|arg| arg.starts_with(&format!("{ENV_FILE_OPTION}="))) {
            kept.push(arg.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::job::tests::awkward;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn job(directory: &Path) -> Job {
        let state = directory.join("a b/state.db").to_string_lossy().into_owned();
        Job { secrets: vec![("HTTPS_PROXY".into(), "http://u:p=%40@p:1".into())], state, ..awkward() }
    }

    #[test]
    fn written_whole_and_private_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let job = job(directory.path());
        let path = job.variables_file();
        assert!(!is_current(&job));
        assert!(put(&job).unwrap() && !put(&job).unwrap(), "again changes nothing");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path), Ok(job.secrets.clone()));
        let none = Job { secrets: Vec::new(), ..job.clone() };
        assert!(!is_current(&none), "an old password lies there");
        assert!(put(&none).unwrap() && is_current(&none) && !remove(&job).unwrap());
    }

    #[test]
    fn what_others_can_read_or_lead_elsewhere_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.env");
        let why = || read(&path).unwrap_err();
        assert!(why().contains("No such file"), "{}", why());
        for (text, mode, words) in [
            ("HTTPS_PROXY=a\n", 0o640, "others can read or write it"),
            ("HTTPS_PROXY=a\n", 0o602, "others can read or write it"),
            ("LD_PRELOAD=a\n", 0o600, "it sets LD_PRELOAD"),
            ("NO_PROXY=a\n", 0o600, "it sets NO_PROXY"),
            ("hello\n", 0o600, "not NAME=value"),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(why().contains(words), "{}", why());
        }
        let link = directory.path().join("link.env");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link).is_err());
        assert!(read(directory.path()).unwrap_err().contains("not a regular file"));
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read(&pipe).unwrap_err().contains("not a regular file"), "and it does not wait for a writer");
    }

    #[test]
    fn the_option_goes_and_the_rest_stays() {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in ["eg --state s --env-file f reconcile --timer", "eg --state s reconcile --env-file=f --timer"] {
            assert_eq!(without_option(&args(line)), args("--state s reconcile --timer"), "{line}");
        }
    }
}
