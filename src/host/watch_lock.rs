//! The sign that an `eg reconcile --watch` runs for a state file: as long as it runs, a watch holds an exclusive lock on
//! `<state>.watch`. The operating system releases the lock however the watch ends. Commands that look for a watch take a
//! shared lock for a moment, so they never take each other for a watch.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

/// A command that looks for a watch holds the lock for microseconds. A watch that begins tries this often, a millisecond
/// apart.
const TRIES: u32 = 100;

fn path(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".watch");
    PathBuf::from(name)
}

/// The sign of one watch. Of several watches for one state file one shows the sign, and the others wait to take over.
#[derive(Debug)]
pub struct Sign {
    file: File,
    shown: bool,
}

impl Sign {
    /// Makes the sign, and shows it unless another watch does. Dropping it ends the sign.
    pub fn new(state: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path(state))?;
        let mut sign = Self { file, shown: false };
        for _ in 0..TRIES {
            sign.show()?;
            if sign.shown {
                break;
            }
            sleep(Duration::from_millis(1));
        }
        Ok(sign)
    }

    /// Shows the sign from now on if no other watch shows it. Call it again and again: the other watch may have ended.
    pub fn show(&mut self) -> io::Result<()> {
        if self.shown {
            return Ok(());
        }
        match self.file.try_lock() {
            Ok(()) => self.shown = true,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(())
    }
}

/// True if a watch runs.
pub fn is_held(state: &Path) -> bool {
    let Ok(file) = File::open(path(state)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// True as soon as nothing holds the sign. A child that another test starts keeps the file open until its program runs.
    fn is_free(state: &Path) -> bool {
        (0..100_000).any(|_| {
            thread::yield_now();
            !is_held(state)
        })
    }

    #[test]
    fn held_while_a_watch_runs() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.db");
        assert!(!is_held(&state), "there is no file");
        let (one, mut other) = (Sign::new(&state).unwrap(), Sign::new(&state).unwrap());
        assert!(is_held(&state));
        drop(one);
        other.show().unwrap();
        assert!(is_held(&state), "the other watch shows the sign in its turn");
        drop(other);
        assert!(is_free(&state));
    }

    /// Each opens the file for itself, so to the lock they are as many processes.
    #[test]
    fn many_who_ask_at_once_are_no_watch() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.db");
        drop(Sign::new(&state).unwrap());
        assert!(is_free(&state));
        let ask = |expected: bool| {
            thread::scope(|scope| {
                for _ in 0..24 {
                    scope.spawn(|| {
                        for _ in 0..500 {
                            assert_eq!(is_held(&state), expected);
                        }
                    });
                }
            });
        };
        ask(false);
        let watch = Sign::new(&state).unwrap();
        ask(true);
        drop(watch);
        assert!(is_free(&state));
        ask(false);
    }

    /// A watch that begins among many who ask shows its sign all the same.
    #[test]
    fn a_watch_begins_while_many_ask() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.db");
        let begun = std::sync::Barrier::new(9);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    begun.wait();
                    for _ in 0..500 {
                        std::hint::black_box(is_held(&state));
                    }
                });
            }
            begun.wait();
            let mut sign = Sign::new(&state).unwrap();
            while !sign.shown {
                sign.show().unwrap();
            }
            assert!(is_held(&state));
        });
    }
}
