//! Reads the machine's policy. It binds users only while users cannot write it, so a file that they could write is a
//! mistake, and nothing is opened until it is mended.

use crate::{
    policy::limits::MachinePolicy,
    toml::SettingsError,
    trusted_file::{self, Owner, ReadError, TrustRule},
};
use eg_providers::trust::Untrusted;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};
use thiserror::Error;

/// The file of the machine's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    pub path: PathBuf,
    /// The user id that has to own the file and its directory: root's.
    pub owner: u32,
}

impl Default for PolicyFile {
    fn default() -> Self {
        Self { path: PathBuf::from("/etc/eg/policy.toml"), owner: 0 }
    }
}

/// Reason why a policy cannot be followed.
#[derive(Debug, Error)]
pub enum PolicyError {
    #[error("the policy {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: ReadError },
    /// A user could have written it.
    #[error("the policy {} is not to be trusted: {} {why}", file.display(), path.display())]
    Untrusted {
        file: PathBuf,
        /// The file, or its directory.
        path: PathBuf,
        why: String,
    },
    #[error("the policy is malformed: {0}")]
    Malformed(#[from] SettingsError),
}

impl PolicyError {
    /// The remedy, for the machine's administrator.
    pub fn advice(&self) -> String {
        match self {
            Self::Unreadable { path, .. } => format!("as root: let everybody read {}", path.display()),
            Self::Untrusted { path, .. } => format!("as root: chown root {0} && chmod go-w {0}", path.display()),
            Self::Malformed(error) => format!("as root: edit {}", error.file.display()),
        }
    }
}

/// Reads the policy. Without a file everything is allowed.
pub fn read(place: &PolicyFile) -> Result<MachinePolicy, PolicyError> {
    let path = &place.path;
    match trusted_file::read(path, TrustRule { owner: Owner::Only(place.owner), pipe: false }, Instant::now()) {
        Ok(found) => Ok(MachinePolicy::parse(&found.text, path)?),
        Err(ReadError::Absent) if !leads_nowhere(path) => Ok(MachinePolicy::default()),
        Err(ReadError::Untrusted(Untrusted { path: found, why, .. })) => {
            Err(PolicyError::Untrusted { file: path.clone(), path: found, why })
        }
        Err(source) => Err(PolicyError::Unreadable { path: path.clone(), source }),
    }
}

/// A link whose end is gone was put there for a policy: it does not mean that there is none.
fn leads_nowhere(path: &Path) -> bool {
    let broken =
        |part: &Path| fs::symlink_metadata(part).is_ok_and(|it| it.is_symlink()) && fs::metadata(part).is_err();
    path.ancestors().any(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn place() -> (tempfile::TempDir, PolicyFile) {
        let directory = tempfile::tempdir().unwrap();
        let owner = fs::metadata(directory.path()).unwrap().uid();
        let path = directory.path().join("policy.toml");
        (directory, PolicyFile { path, owner })
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn no_file_is_no_policy() {
        let (_directory, place) = place();
        assert!(read(&place).unwrap().file.is_none());
    }

    #[test]
    fn a_file_that_only_its_owner_can_write_counts() {
        let (directory, place) = place();
        fs::write(&place.path, "max_duration = \"1h\"").unwrap();
        mode(&place.path, 0o644);
        assert_eq!(read(&place).unwrap().limits(), ["sessions of 1h at most"]);
        for (path, bad, good) in [(place.path.as_path(), 0o664, 0o644), (directory.path(), 0o757, 0o700)] {
            mode(path, bad);
            let error = read(&place).unwrap_err().to_string();
            assert!(error.contains(&format!("can be written by others than root (mode {bad:04o})")), "{error}");
            mode(path, good);
        }
        let other = PolicyFile { owner: place.owner + 1, ..place.clone() };
        let error = read(&other).unwrap_err();
        assert!(error.to_string().contains("not to root"), "{error}");
        assert!(error.advice().starts_with("as root: chown root "), "{}", error.advice());
        fs::write(&place.path, "max_duration = 1").unwrap();
        assert!(matches!(read(&place), Err(PolicyError::Malformed(_))));
    }

    #[test]
    fn what_cannot_be_read_is_not_absent() {
        let (_directory, place) = place();
        fs::create_dir(&place.path).unwrap();
        assert!(read(&place).is_err());
        let beneath = PolicyFile { path: place.path.join("x/y"), ..place.clone() };
        fs::remove_dir(&place.path).unwrap();
        fs::write(&place.path, "").unwrap();
        assert!(matches!(read(&beneath), Err(PolicyError::Unreadable { .. })), "a file in place of a directory");
    }

    #[test]
    fn a_link_that_leads_nowhere_is_no_absence() {
        let (directory, place) = place();
        symlink("gone.toml", &place.path).unwrap();
        assert!(matches!(read(&place), Err(PolicyError::Unreadable { .. })), "its end may be in a user's hands");
        symlink("gone", directory.path().join("etc")).unwrap();
        let beneath = PolicyFile { path: directory.path().join("etc/policy.toml"), ..place };
        assert!(matches!(read(&beneath), Err(PolicyError::Unreadable { .. })));
    }
}
