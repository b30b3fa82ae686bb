//! The documentation that is made from the program, and that its links lead somewhere.
//!
//! `EG_WRITE_DOCS=1 cargo test --test e2e docs::` writes what is made: `docs/reference.md` and `docs/demo.svg`.

mod keys;
mod links;
mod picture;
mod reference;

use std::{fs, path::PathBuf};

/// A file of the tree.
fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Holds a file against what it is made from; or writes it, where that is wanted.
#[track_caller]
fn is_as_made(name: &str, made: &str) {
    if std::env::var_os("EG_WRITE_DOCS").is_some() {
        fs::write(path(name), made).unwrap();
    }
    let there = fs::read_to_string(path(name)).unwrap_or_default();
    let differs = there.lines().zip(made.lines()).find(|(a, b)| a != b);
    assert!(there == made, "{name} is not up to date (EG_WRITE_DOCS=1 cargo test --test e2e docs::): {differs:#?}");
}
