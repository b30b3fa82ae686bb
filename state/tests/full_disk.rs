//! A disk that is really full: a small tmpfs, filled. Where mounting is not permitted, the tests say so and pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]
#![allow(clippy::print_stderr, reason = "a test that could not run says why")]
#![cfg(target_os = "linux")]

mod fixtures;

use eg_model::{
    ids::RunId,
    lease::{Attempt, Lease},
    session::record::SessionStatus,
};
use eg_state::{Event, EventKind, OpenNotice, RowOutcome, RunKind, StateError, Store};
use fixtures::*;
use rusqlite::Connection;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};
use uuid::Uuid;

/// One disk at a time: while another test starts a process, that process holds files that were removed, and their room.
static ALONE: Mutex<()> = Mutex::new(());

/// A file system of its own, unmounted with the value.
struct Disk {
    root: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Disk {
    fn mount(options: &str) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let root = tempfile::tempdir().unwrap();
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", options, "eg-test"]).arg(root.path()).output();
        match output {
            Ok(output) if output.status.success() => {
                fs::create_dir(root.path().join("eg")).unwrap();
                Some(Self { root, _alone: alone })
            }
            Ok(output) => {
                eprintln!("not run, mounting is not permitted: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("not run, there is no mount: {error}");
                None
            }
        }
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("eg/state.db")
    }

    fn filler(&self) -> PathBuf {
        self.root.path().join("filler")
    }

    fn fill(&self) {
        Self::fill_with(&self.filler());
    }

    fn fill_with(file: &Path) {
        let mut file = File::create(file).unwrap();
        for size in [4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.root.path()).status().unwrap().success());
    }

    /// Leaves room for `left` more files.
    fn fill_inodes(&self, left: usize) {
        let name = |number: usize| self.root.path().join(format!("file-{number}"));
        let made = (0..).take_while(|number| File::create(name(*number)).is_ok()).count();
        (made - left..made).for_each(|number| fs::remove_file(name(number)).unwrap());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.root.path()).status());
    }
}

/// Two live sessions, one with an open rule, and a run.
fn record(path: &Path) -> (Store, Lease) {
    let mut store = open(path);
    store.start(&session(1, 0)).unwrap();
    store.start(&session(2, HOUR)).unwrap();
    let held = open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    store.begin_run(RunId(Uuid::from_u128(1)), RunKind::Reconcile, false, at(1)).unwrap();
    (store, held)
}

fn is_disk_full(notices: &[OpenNotice]) -> bool {
    matches!(notices, [OpenNotice::Unwritable { error, .. }] if error.contains("state.db"))
}

fn attempt(store: &mut Store, held: &Lease) -> Result<RowOutcome, StateError> {
    let event = Event::new(at(3), EventKind::Intent, "revoke");
    store.begin_attempt(None, &[(held.intend(Attempt::Other, at(3)), held.version)], &[event])
}

/// Everything can be read, nothing be written, and nothing changes by trying.
fn reads_and_refuses(store: &mut Store, held: &Lease) {
    let same = |store: &Store| {
        assert_eq!(store.live_sessions().unwrap(), vec![session(2, HOUR), session(1, 0)]);
        assert_eq!(store.open_leases().unwrap(), vec![held.clone()]);
        store.events(None).unwrap()
    };
    let events = same(store);
    let errors = [
        store.expire(at(HOUR)).unwrap_err(),
        store.stop(sid(2), at(HOUR)).unwrap_err(),
        attempt(store, held).unwrap_err(),
        store.begin_run(RunId(Uuid::from_u128(9)), RunKind::Stop, false, at(3)).unwrap_err(),
        store.set_note("a", "b").unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, StateError::Full { .. }), "{error:?}");
        assert!(error.to_string().contains("state.db"), "{error}");
    }
    assert_eq!(same(store), events);
    assert_eq!(store.note("a").unwrap(), None);
    assert_eq!(store.data_version().unwrap(), None, "alone, nothing read before can be relied on");
}

/// With room, the same store works, and others beside it.
fn works_again(store: &mut Store, held: &Lease, path: &Path) {
    assert_eq!(store.live_sessions().unwrap().len(), 2);
    assert_eq!(store.expire(at(HOUR)).unwrap(), vec![sid(1)]);
    assert_eq!(attempt(store, held).unwrap(), RowOutcome::Done);
    let (mut other, notices) = try_open(path, Some("here"), 9).unwrap();
    assert_eq!(notices, vec![]);
    let before = store.data_version().unwrap();
    assert!(before.is_some(), "it is shared again");
    assert_eq!(store.data_version().unwrap(), before);
    other.stop(sid(2), at(HOUR)).unwrap();
    assert_ne!(store.data_version().unwrap(), before);
    assert_eq!(store.live_sessions().unwrap(), vec![]);
    let health = Connection::open(path).unwrap();
    let found: String = health.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
}

#[test]
fn a_full_disk_can_be_read_and_nothing_is_half_written() {
    let Some(disk) = Disk::mount("size=1m") else { return };
    let path = disk.state();
    let (store, held) = record(&path);
    drop(store);
    disk.fill();
    let (mut store, notices) = try_open(&path, Some("here"), 9).unwrap();
    assert!(is_disk_full(&notices), "{notices:?}");
    assert_eq!(store.installation(), &installation(7));
    reads_and_refuses(&mut store, &held);
    // Nobody is locked out meanwhile.
    let (other, notices) = try_open(&path, Some("here"), 9).unwrap();
    assert!(is_disk_full(&notices), "{notices:?}");
    assert_eq!(other.open_leases().unwrap(), vec![held.clone()]);
    let mut reader = Store::open_read_only(&path).unwrap().unwrap();
    assert_eq!(reader.open_leases().unwrap(), vec![held.clone()]);
    assert!(reader.set_note("a", "b").unwrap_err().is_read_only());
    assert!(matches!(try_open(&path, Some("there"), 9), Err(StateError::OtherMachine { .. })));
    assert!(Store::adopt(&path, "there", at(5)).unwrap_err().has_no_room());
    disk.free();
    works_again(&mut store, &held, &path);
    assert_eq!(reader.live_sessions().unwrap(), vec![]);
    assert!(reader.set_note("a", "b").unwrap_err().is_read_only());
    assert_eq!(other.live_sessions().unwrap(), vec![]);
}

#[test]
fn what_only_the_log_of_a_crashed_process_holds_is_read_too() {
    let Some(disk) = Disk::mount("size=1m") else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let source = elsewhere.path().join("state.db");
    drop(open(&source));
    let (crashed, held) = record(&source);
    let path = disk.state();
    for suffix in ["", "-wal", ".guard"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        fs::copy(with(&source), with(&path)).unwrap();
    }
    drop(crashed);
    disk.fill();
    let reader = Store::open_read_only(&path).unwrap().unwrap();
    assert_eq!(reader.live_sessions().unwrap().len(), 2);
    assert_eq!(reader.open_leases().unwrap(), vec![held.clone()]);
    let (mut store, notices) = try_open(&path, Some("here"), 9).unwrap();
    assert!(is_disk_full(&notices), "{notices:?}");
    reads_and_refuses(&mut store, &held);
    disk.free();
    works_again(&mut store, &held, &path);
}

#[test]
fn a_disk_that_fills_up_under_an_open_store() {
    let Some(disk) = Disk::mount("size=1m") else { return };
    let path = disk.state();
    let (mut store, held) = record(&path);
    disk.fill();
    assert!(store.expire(at(HOUR)).unwrap_err().has_no_room());
    assert!(attempt(&mut store, &held).unwrap_err().has_no_room());
    // Somebody is there already: the index exists, and opening needs no room.
    let (second, notices) = try_open(&path, Some("here"), 9).unwrap();
    assert_eq!(notices, vec![]);
    assert_eq!(second.open_leases().unwrap(), vec![held.clone()]);
    disk.free();
    works_again(&mut store, &held, &path);
}

#[test]
fn no_room_for_another_file() {
    for with_log in [false, true] {
        let Some(disk) = Disk::mount("size=1m,nr_inodes=30") else { return };
        let path = disk.state();
        let (store, held) = record(&path);
        drop(store);
        if with_log {
            File::create(format!("{}-wal", path.display())).unwrap();
        }
        disk.fill_inodes(0);
        Disk::fill_with(&disk.root.path().join("file-0"));
        let reader = Store::open_read_only(&path).unwrap().unwrap();
        assert_eq!(reader.open_leases().unwrap(), vec![held.clone()]);
        let (mut store, notices) = try_open(&path, Some("here"), 9).unwrap();
        assert!(is_disk_full(&notices), "{notices:?}");
        assert!(
            matches!(&notices[0], OpenNotice::Unwritable { error, .. } if error.contains("the disk is full")),
            "{notices:?}"
        );
        reads_and_refuses(&mut store, &held);
        for number in 0..3 {
            fs::remove_file(disk.root.path().join(format!("file-{number}"))).unwrap();
        }
        works_again(&mut store, &held, &path);
    }
}

#[test]
fn a_guard_that_cannot_be_written_keeps_nothing_from_opening() {
    let Some(disk) = Disk::mount("size=1m,nr_inodes=30") else { return };
    let path = disk.state();
    // The database, its log and its index; not the guard.
    disk.fill_inodes(3);
    let (mut store, notices) = try_open(&path, Some("here"), 7).unwrap();
    assert!(matches!(&notices[..], [OpenNotice::GuardNotWritten { .. }]), "{notices:?}");
    store.start(&session(1, 0)).unwrap();
    drop(store);
    let (store, notices) = try_open(&path, Some("here"), 9).unwrap();
    assert!(matches!(&notices[..], [OpenNotice::GuardNotWritten { .. }]), "{notices:?}");
    assert_eq!(store.live_sessions().unwrap(), vec![session(1, 0)]);
    drop(store);
    disk.fill_inodes(0);
    let (store, notices) = try_open(&path, Some("here"), 9).unwrap();
    assert!(matches!(&notices[..], [OpenNotice::Unwritable { .. }, OpenNotice::GuardNotWritten { .. }]), "{notices:?}");
    assert_eq!(store.live_sessions().unwrap(), vec![session(1, 0)]);
}

#[test]
fn a_restored_backup_on_a_full_disk_is_settled_by_the_first_write() {
    let Some(disk) = Disk::mount("size=1m") else { return };
    let path = disk.state();
    let (store, held) = record(&path);
    drop(store);
    let backup = fs::read(&path).unwrap();
    let mut store = open(&path);
    store.begin_run(RunId(Uuid::from_u128(2)), RunKind::Stop, false, at(2)).unwrap();
    store.flush().unwrap();
    drop(store);
    fs::write(&path, backup).unwrap();
    disk.fill();
    let (mut store, notices) = try_open(&path, Some("here"), 9).unwrap();
    assert!(
        matches!(&notices[..], [OpenNotice::Unwritable { .. }, OpenNotice::RestoredBackup { ended }] if ended.is_empty()),
        "{notices:?}"
    );
    reads_and_refuses(&mut store, &held);
    disk.free();
    assert_eq!(store.begin_run(RunId(Uuid::from_u128(3)), RunKind::Stop, false, at(3)).unwrap(), 3);
    assert_eq!(store.live_sessions().unwrap(), vec![]);
    assert_eq!(store.session(sid(1)).unwrap().unwrap().status, SessionStatus::Expiring);
    assert_eq!(try_open(&path, Some("here"), 9).unwrap().1, vec![]);
}

/// Without a log: the database alone is the record. With the log of a process that was killed, which holds what the
/// database lacks: it is read too.
#[test]
fn a_read_only_file_system_can_be_read_and_nothing_is_written() {
    for crashed in [false, true] {
        let Some(disk) = Disk::mount("size=4m") else { return };
        let path = disk.state();
        let (store, held) = record(&path);
        if crashed {
            std::mem::forget(store);
            let log = PathBuf::from(format!("{}-wal", path.display()));
            assert!(fs::metadata(log).unwrap().len() > 0);
            // What is open for writing keeps a file system from being made read-only.
            let copy = tempfile::tempdir().unwrap();
            for name in ["state.db", "state.db-wal", "state.db-shm", "state.db.guard"] {
                fs::copy(path.with_file_name(name), copy.path().join(name)).unwrap();
            }
            drop(disk);
            let Some(disk) = Disk::mount("size=4m") else { return };
            for name in ["state.db", "state.db-wal", "state.db-shm", "state.db.guard"] {
                fs::copy(copy.path().join(name), disk.state().with_file_name(name)).unwrap();
            }
            read_only(&disk, &held);
        } else {
            drop(store);
            read_only(&disk, &held);
        }
    }
}

fn read_only(disk: &Disk, held: &Lease) {
    let path = disk.state();
    disk.remount("ro");
    let reader = Store::open_read_only(&path).unwrap().unwrap();
    assert_eq!(reader.open_leases().unwrap(), vec![held.clone()]);
    let (mut store, _) = try_open(&path, Some("here"), 9).unwrap();
    for error in [
        store.expire(at(HOUR)).unwrap_err(),
        store.stop(sid(2), at(HOUR)).unwrap_err(),
        attempt(&mut store, held).unwrap_err(),
        store.begin_run(RunId(Uuid::from_u128(9)), RunKind::Stop, false, at(3)).unwrap_err(),
    ] {
        assert!(error.is_unwritable() && !error.has_no_room(), "{error:?}");
        assert!(error.to_string().contains("state.db"), "{error}");
    }
    assert_eq!(store.open_leases().unwrap(), vec![held.clone()]);
    // All connections of a process share one index, which stays as the first of them could open it.
    drop(reader);
    disk.remount("rw");
    assert_eq!(store.expire(at(HOUR)).unwrap(), vec![sid(1)]);
    assert_eq!(attempt(&mut store, held).unwrap(), RowOutcome::Done);
}

/// The copy of the log into the file ends where the disk is full: then the file makes sense only with its log.
#[test]
fn a_file_whose_log_found_no_room_is_not_damaged() {
    let Some(disk) = Disk::mount("size=2m") else { return };
    let path = disk.state();
    let (mut store, held) = record(&path);
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
    let mut big = session(3, 2 * HOUR);
    big.reason = Some("x".repeat(200_000));
    store.start(&big).unwrap();
    disk.fill();
    drop((reader, store));
    assert!(fs::metadata(disk.root.path().join("eg/state.db-wal")).unwrap().len() > 200_000);
    let reader = Store::open_read_only(&path).unwrap().unwrap();
    assert_eq!(reader.open_leases().unwrap(), vec![held]);
    let (mut store, notices) = try_open(&path, Some("here"), 9).unwrap();
    assert!(is_disk_full(&notices) || notices.is_empty(), "{notices:?}");
    assert_eq!(store.live_sessions().unwrap().len(), 3);
    disk.free();
    assert_eq!(store.expire(at(HOUR)).unwrap(), vec![sid(1)]);
}

/// Who is held up with a lock in its hand may hold up others for longer than they wait.
fn patiently<T>(open: impl Fn() -> Result<T, StateError>) -> T {
    (0..12).map(|_| open()).find(|opened| !opened.as_ref().is_err_and(StateError::is_busy)).unwrap().unwrap()
}

#[test]
fn many_at_once_wait_for_each_other() {
    let Some(disk) = Disk::mount("size=1m") else { return };
    let path = disk.state();
    let (store, held) = record(&path);
    drop(store);
    disk.fill();
    let (path, held) = (&path, &held);
    std::thread::scope(|scope| {
        for number in 0..6 {
            scope.spawn(move || {
                for _ in 0..10 {
                    if number % 2 == 0 {
                        let (mut store, _) = patiently(|| try_open(path, Some("here"), 9));
                        assert_eq!(store.open_leases().unwrap(), vec![held.clone()]);
                        assert!(store.expire(at(HOUR)).unwrap_err().has_no_room());
                    } else {
                        let store = patiently(|| Store::open_read_only(path)).unwrap();
                        assert_eq!(store.open_leases().unwrap(), vec![held.clone()]);
                    }
                }
            });
        }
    });
}
