//! Network file systems are refused: SQLite's locks and shared memory do not work across machines.

use crate::error::StateError;
use std::path::Path;

/// Types in `/proc/self/mountinfo` whose files can be written by another machine at the same time.
const NETWORK: [&str; 16] = [
    "nfs",
    "nfs3",
    "nfs4",
    "cifs",
    "smbfs",
    "smb3",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "ncpfs",
    "ocfs2",
    "gfs2",
    "beegfs",
    "davfs",
];

/// Further FUSE file systems that are remote, by a part of their type's name.
const REMOTE_FUSE: [&str; 9] = ["sshfs", "glusterfs", "ceph", "s3fs", "rclone", "gcsfuse", "davfs", "gvfs", "smb"];

fn is_network(kind: &str) -> bool {
    let fuse = kind.strip_prefix("fuse.").is_some_and(|name| REMOTE_FUSE.iter().any(|part| name.contains(part)));
    NETWORK.contains(&kind) || fuse
}

/// Undoes the octal escapes of mountinfo: blank, tab, newline and backslash (proc_pid_mountinfo(5)).
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

/// The type of the file system that holds an absolute path: the longest mount point above it, the last mounted
/// where two are equal.
fn kind_of(mountinfo: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(point) = before.split(' ').nth(4).map(unescape) else { continue };
        let Some(kind) = after.split(' ').next() else { continue };
        let length = Path::new(&point).components().count();
        if path.starts_with(&point) && best.as_ref().is_none_or(|(longest, _)| length >= *longest) {
            best = Some((length, kind.to_owned()));
        }
    }
    best.map(|(_, kind)| kind)
}

/// Refuses a directory on a network file system. Only Linux has a file that tells; without `/proc` nothing is refused.
pub(crate) fn refuse_network(directory: &Path) -> Result<(), StateError> {
    let Ok(mountinfo) = std::fs::read_to_string("/proc/self/mountinfo") else { return Ok(()) };
    let Ok(real) = directory.canonicalize() else { return Ok(()) };
    match kind_of(&mountinfo, &real) {
        Some(kind) if is_network(&kind) => Err(StateError::NetworkFileSystem { path: directory.to_owned(), kind }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw - nfs4 server:/home rw,vers=4.2
31 30 0:41 / /home/me/local\\040disk rw - xfs /dev/sdb1 rw
32 22 0:42 / /mnt/ssh rw master:3 propagate_from:2 - fuse.sshfs host:/ rw
33 22 0:43 / /mnt/ntfs rw - fuseblk /dev/sdc1 rw
34 22 0:44 / /srv rw - ext4 /dev/sdd1 rw
35 22 0:45 / /srv rw - cifs //server/share rw
";

    #[test]
    fn the_longest_and_last_mount_decides() {
        for (path, kind, refused) in [
            ("/var/lib", "ext4", false),
            ("/home/me/.local/state/eg", "nfs4", true),
            ("/home/me/local disk/eg", "xfs", false),
            ("/homestead", "ext4", false),
            ("/mnt/ssh/x", "fuse.sshfs", true),
            ("/mnt/ntfs/x", "fuseblk", false),
            ("/srv/eg", "cifs", true),
        ] {
            let found = kind_of(MOUNTS, Path::new(path)).unwrap();
            assert_eq!((found.as_str(), is_network(&found)), (kind, refused), "{path}");
        }
    }

    #[test]
    fn remote_fuse_by_name() {
        assert!(is_network("fuse.rclone"));
        assert!(is_network("fuse.gvfsd-fuse"));
        assert!(!is_network("fuse.lxcfs"));
        assert!(!is_network("fuseblk"));
    }
}
