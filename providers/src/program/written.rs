//! Programs that tests write.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

/// Writes a shell script. Another process makes the file: one that is open for writing cannot be run, and whatever
/// another test starts at this moment would hold it open.
pub fn write_program(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Command::new("cp").arg("-p").args([&draft, path]).status().unwrap().success());
    fs::remove_file(draft).unwrap();
}
