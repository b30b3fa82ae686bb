//! Opening, refusing, adopting; files and their modes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod fixtures;

use eg_model::{
    ids::RunId,
    session::record::{EndedReason, SessionStatus},
};
use eg_state::{EventKind, Filter, FlushAt, OpenNotice, RunKind, RunResult, StateError, Store};
use fixtures::*;
use rusqlite::Connection;
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use uuid::Uuid;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn run(store: &mut Store, number: u128) {
    let run = store.begin_run(RunId(Uuid::from_u128(number)), RunKind::Reconcile, false, at(1)).unwrap();
    let result =
        RunResult { finished_at: at(2), converged: true, summary: None, digest: None, next_wake_at: Some(at(9)) };
    store.finish_run(run, &result, FlushAt::Close).unwrap();
}

#[test]
fn directory_and_files_are_private() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/eg/state.db");
    let (mut store, notices) = try_open(&path, Some("here"), 7).unwrap();
    assert_eq!(notices, vec![]);
    store.start(&session(1, 0)).unwrap();
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&root.path().join("a")), 0o700);
    for suffix in ["", "-wal", "-shm", ".guard"] {
        assert_eq!(mode(&with_suffix(&path, suffix)), 0o600, "{suffix}");
    }
}

/// A child process with another umask runs the test above.
#[test]
fn they_are_private_under_every_umask() {
    let program = std::env::current_exe().unwrap();
    for umask in ["000", "077", "027"] {
        let script = format!("umask {umask}; exec \"$0\" --exact directory_and_files_are_private");
        let status = std::process::Command::new("sh").args(["-c", &script]).arg(&program).output().unwrap();
        assert!(status.status.success(), "umask {umask}: {}", String::from_utf8_lossy(&status.stdout));
    }
}

#[test]
fn readable_files_are_tightened_and_open_directories_judged() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("d");
    fs::create_dir(&directory).unwrap();
    let path = directory.join("state.db");
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&directory, 0o755);
    drop(open(&path));
    assert_eq!(mode(&directory), 0o755, "a directory that others can only read is the user's affair");
    set(&path, 0o644);
    set(&directory, 0o777);
    drop(open(&path));
    assert_eq!((mode(&path), mode(&directory)), (0o600, 0o700), "it holds nothing else, so it is ours to close");
    fs::write(directory.join("other"), "").unwrap();
    set(&directory, 0o777);
    let error = try_open(&path, Some("here"), 7).unwrap_err();
    assert!(matches!(error, StateError::OpenDirectory { .. }), "{error}");
    assert_eq!(mode(&directory), 0o777);
}

/// `/tmp` is everybody's, also while nothing else lies in it: root could close it to all.
#[test]
fn a_sticky_directory_is_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    for name in ["tmp", "eg"] {
        let directory = root.path().join(name);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777)).unwrap();
        let error = try_open(&directory.join("state.db"), Some("here"), 7).unwrap_err();
        assert!(matches!(error, StateError::OpenDirectory { .. }), "{error}");
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}

#[test]
fn files_of_somebody_else_are_refused_also_for_root() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("d/state.db");
    drop(open(&path));
    if std::os::unix::fs::chown(&path, Some(12345), None).is_err() {
        return; // Only root can give a file away.
    }
    assert!(matches!(try_open(&path, Some("here"), 7), Err(StateError::Owner { owner: 12345, .. })));
    assert!(matches!(Store::open_read_only(&path), Err(StateError::Owner { .. })));
    assert!(matches!(Store::adopt(&path, "x", at(0)), Err(StateError::Owner { .. })));
    std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    std::os::unix::fs::chown(root.path().join("d"), Some(12345), None).unwrap();
    assert!(matches!(try_open(&path, Some("here"), 7), Err(StateError::Owner { .. })));
}

#[test]
fn reading_what_is_not_there_creates_nothing() {
    let root = tempfile::tempdir().unwrap();
    assert!(Store::open_read_only(&root.path().join("none/state.db")).unwrap().is_none());
    assert!(Store::open_read_only(&root.path().join("state.db")).unwrap().is_none());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    let error = Store::adopt(&root.path().join("none/state.db"), "x", at(0)).unwrap_err();
    assert!(matches!(error, StateError::Missing { .. }));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn reading_works_beside_a_writer_and_writes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let mut store = open(&path);
    store.start(&session(1, 0)).unwrap();
    let mut reader = Store::open_read_only(&path).unwrap().unwrap();
    assert_eq!(reader.live_sessions().unwrap(), vec![session(1, 0)]);
    assert_eq!(reader.installation(), store.installation());
    let error = reader.start(&session(2, 0)).unwrap_err();
    assert!(error.is_read_only(), "{error}");
    let before = reader.data_version().unwrap();
    assert_eq!(reader.data_version().unwrap(), before);
    store.start(&session(3, 0)).unwrap();
    assert_ne!(reader.data_version().unwrap(), before, "another connection committed");
}

/// What is refused stays byte for byte, and nothing is made beside it.
fn refused(path: &Path, check: impl Fn(&StateError) -> bool) {
    let names = || {
        let mut names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (bytes, files) = (fs::read(path).unwrap(), names());
    let errors = [
        try_open(path, Some("here"), 7).unwrap_err(),
        Store::open_read_only(path).unwrap_err(),
        Store::adopt(path, "here", at(0)).unwrap_err(),
    ];
    for error in errors {
        assert!(check(&error), "{error}");
        assert!(error.to_string().contains("state.db"), "{error}");
    }
    assert!(bytes == fs::read(path).unwrap(), "changed");
    assert_eq!(files, names());
}

#[test]
fn a_newer_schema_is_refused_untouched() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    drop(open(&path));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    refused(&path, |error| matches!(error, StateError::NewerSchema { found: 99, .. }));
}

#[test]
fn a_newer_schema_that_only_the_log_knows_is_refused_untouched() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    drop(open(&path));
    let writer = Connection::open(&path).unwrap();
    writer.pragma_update(None, "user_version", 99).unwrap();
    let crashed = root.path().join("crashed/state.db");
    fs::create_dir(crashed.parent().unwrap()).unwrap();
    for suffix in ["", "-wal"] {
        fs::copy(with_suffix(&path, suffix), with_suffix(&crashed, suffix)).unwrap();
    }
    let bytes = |suffix| fs::read(with_suffix(&crashed, suffix)).unwrap();
    let before = (bytes(""), bytes("-wal"));
    assert!(matches!(try_open(&crashed, None, 7), Err(StateError::NewerSchema { found: 99, .. })));
    assert!(before == (bytes(""), bytes("-wal")));
}

#[test]
fn damaged_files_are_refused_untouched() {
    let root = tempfile::tempdir().unwrap();
    for (name, content) in [("text", b"hello, this is not a database".to_vec()), ("zeros", vec![0; 4096])] {
        let path = root.path().join(name).join("state.db");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        refused(&path, |error| matches!(error, StateError::Corrupt { .. }));
    }
}

/// Nobody waits for a check of a large file at every opening: the daily one finds the damage before a pass writes, `eg
/// doctor` finds it at any time, and a reader of the damaged page is told.
#[test]
fn a_damaged_page_of_a_large_file_is_found_before_a_pass_writes() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    drop(open(&path));
    history::fill(&path, 2000, at(0).timestamp());
    let mut store = open(&path);
    store.check_daily(at(0)).unwrap();
    drop(store);
    let damage = |which: &str| {
        let raw = rusqlite::Connection::open(&path).unwrap();
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let page: usize = raw.query_row(sql, [which], |row| row.get::<_, u32>(0)).unwrap().try_into().unwrap();
        raw.close().unwrap();
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[(page - 1) * 4096..page * 4096].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&path, &bytes).unwrap();
        (whole, bytes)
    };
    let corrupt = |error: StateError| {
        assert!(matches!(error, StateError::Corrupt { .. }) && error.to_string().contains("state.db"), "{error}");
    };
    let day = 86_400;
    let (whole, bytes) = damage("events");
    let mut store = open(&path);
    store.check_daily(at(day - 1)).unwrap();
    corrupt(store.check_daily(at(day)).unwrap_err());
    corrupt(store.last_events(1).unwrap_err());
    corrupt(store.start(&session(1, 0)).unwrap_err());
    drop(store);
    corrupt(Store::check(&path, Some("here")).unwrap_err());
    assert!(bytes == fs::read(&path).unwrap());
    fs::write(&path, &whole).unwrap();
    let (_, bytes) = damage("sessions");
    let store = Store::open_read_only(&path).unwrap().unwrap();
    corrupt(store.sessions(&Filter::default()).unwrap_err());
    drop(store);
    assert!(bytes == fs::read(&path).unwrap());
}

#[test]
fn a_damaged_page_is_found_before_anything_is_written() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let mut store = open(&path);
    for number in 1..50 {
        store.start(&session(number, 0)).unwrap();
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    // All but the first page; then only the last, which opening alone would not read.
    for (first, last) in [(1, pages), (pages - 1, pages)] {
        let mut bytes = whole.clone();
        bytes[first * 4096..last * 4096].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&path, &bytes).unwrap();
        let error = try_open(&path, Some("here"), 7).unwrap_err();
        assert!(matches!(error, StateError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("state.db"), "{error}");
        assert!(bytes == fs::read(&path).unwrap());
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(&path).live_sessions().unwrap().len(), 49);
}

#[test]
fn another_programs_database_is_refused_untouched() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA application_id = 77; CREATE TABLE t (x)").unwrap();
    drop(other);
    refused(&path, |error| matches!(error, StateError::OtherApplication { found: 77, .. }));
}

#[test]
fn another_machine_is_refused_until_adopted() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let mut store = open(&path);
    store.start(&session(1, 0)).unwrap();
    let held = open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    drop(store);
    let error = try_open(&path, Some("there"), 8).unwrap_err();
    assert!(matches!(&error, StateError::OtherMachine { recorded, here, .. } if recorded == "here" && here == "there"));
    for way in ["eg state adopt", "--state", "EG_MACHINE"] {
        assert!(error.with_advice().contains(way), "{error}");
    }
    assert!(!error.advice().unwrap().contains("here"), "a fingerprint is not the name that it was made of: {error}");
    fs::remove_file(with_suffix(&path, ".guard")).unwrap();
    assert_eq!(Store::adopt(&path, "there", at(5)).unwrap(), installation(7));
    let (store, notices) = try_open(&path, Some("there"), 8).unwrap();
    assert_eq!((store.installation(), notices), (&installation(7), vec![]));
    assert_eq!(store.open_leases().unwrap(), vec![held]);
    assert!(store.events(None).unwrap().iter().any(|event| event.kind == EventKind::Adopted));
    assert!(matches!(try_open(&path, Some("here"), 8), Err(StateError::OtherMachine { .. })));
}

#[test]
fn an_unknown_machine_is_accepted_and_recorded_once_known() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    drop(try_open(&path, None, 7).unwrap());
    drop(try_open(&path, Some("here"), 7).unwrap());
    drop(try_open(&path, None, 7).unwrap());
    assert!(matches!(try_open(&path, Some("there"), 7), Err(StateError::OtherMachine { .. })));
}

#[test]
fn a_restored_backup_ends_its_live_sessions_once() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let backup = root.path().join("backup");
    let mut store = open(&path);
    store.start(&session(1, 0)).unwrap();
    let held = open_rule(&mut store, "sg-1", 22, "sgr-1", 1);
    run(&mut store, 1);
    drop(store); // The last connection copies the log into the file.
    fs::copy(&path, &backup).unwrap();
    // A pass that changes nothing: the backup says the same as the record.
    let mut store = open(&path);
    run(&mut store, 2);
    drop(store);
    fs::copy(&backup, &path).unwrap();
    let (mut store, notices) = try_open(&path, Some("here"), 7).unwrap();
    assert_eq!((notices, store.live_sessions().unwrap().len()), (vec![], 1));

    store.start(&session(3, 0)).unwrap();
    run(&mut store, 3);
    drop(store);
    fs::copy(&backup, &path).unwrap();
    let (mut store, notices) = try_open(&path, Some("here"), 7).unwrap();
    assert_eq!(notices, vec![OpenNotice::RestoredBackup { ended: vec![sid(1)] }]);
    let ended = store.session(sid(1)).unwrap().unwrap();
    assert_eq!((ended.status, ended.ended_reason), (SessionStatus::Expiring, Some(EndedReason::Expired)));
    assert_eq!(store.open_leases().unwrap(), vec![held], "its rule is still to be closed");
    let events = store.events(Some(sid(1))).unwrap();
    assert!(events.iter().any(|event| event.detail.as_deref() == Some("the database is a restored backup")));
    store.start(&session(2, 0)).unwrap();
    drop(store);
    let (mut store, notices) = try_open(&path, Some("here"), 7).unwrap();
    assert_eq!((notices, store.live_sessions().unwrap().len()), (vec![], 1));
    assert_eq!(store.begin_run(RunId(Uuid::from_u128(9)), RunKind::Stop, false, at(1)).unwrap(), 3);
}

#[test]
fn a_crash_between_commit_and_guard_is_no_backup() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let guard = with_suffix(&path, ".guard");
    let mut store = open(&path);
    store.start(&session(1, 0)).unwrap();
    run(&mut store, 1);
    let old = fs::read(&guard).unwrap();
    store.start(&session(2, 0)).unwrap();
    run(&mut store, 2);
    assert_ne!(fs::read(&guard).unwrap(), old);
    fs::write(&guard, old).unwrap();
    let (store, notices) = try_open(&path, Some("here"), 7).unwrap();
    assert_eq!((notices, store.live_sessions().unwrap().len()), (vec![], 2));
}

#[test]
fn missing_unreadable_and_foreign_guards() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let guard = with_suffix(&path, ".guard");
    drop(open(&path));
    fs::remove_file(&guard).unwrap();
    assert_eq!(try_open(&path, Some("here"), 7).unwrap().1, vec![OpenNotice::GuardWritten { path: guard.clone() }]);
    fs::write(&guard, "garbage").unwrap();
    assert_eq!(try_open(&path, Some("here"), 7).unwrap().1, vec![OpenNotice::GuardWritten { path: guard.clone() }]);
    fs::write(&guard, r#"{"installation":"another","lastRun":1}"#).unwrap();
    let error = try_open(&path, Some("here"), 7).unwrap_err();
    assert!(matches!(error, StateError::OtherInstallation { .. }), "{error}");
    assert!(error.with_advice().contains("eg state adopt") && error.with_advice().contains("--state"), "{error}");
    Store::adopt(&path, "here", at(0)).unwrap();
    assert_eq!(try_open(&path, Some("here"), 7).unwrap().1, vec![]);
}

#[test]
fn a_lost_database_becomes_a_new_installation() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    drop(open(&path));
    fs::remove_file(&path).unwrap();
    let (store, notices) = try_open(&path, Some("here"), 8).unwrap();
    assert_eq!(store.installation(), &installation(8));
    assert_eq!(notices, vec![OpenNotice::LostDatabase { previous: installation(7) }]);
    drop(store);
    assert_eq!(try_open(&path, Some("here"), 9).unwrap().1, vec![]);
}

#[test]
fn a_guard_that_cannot_be_written_fails_every_flush_of_its_run() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("d/state.db");
    let mut store = open(&path);
    let guard = with_suffix(&path, ".guard");
    // A directory in its place cannot be replaced by a file, also not by root.
    fs::remove_file(&guard).unwrap();
    fs::create_dir(&guard).unwrap();
    assert_eq!(store.begin_run(RunId(Uuid::from_u128(1)), RunKind::Start, false, at(0)).unwrap(), 1);
    for _ in 0..2 {
        let error = store.flush().unwrap_err();
        assert!(matches!(&error, StateError::Guard { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 4, "no temporary file stays");
}

#[test]
fn many_first_runs_at_once_make_one_installation() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("d/state.db");
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let path = &path;
                scope.spawn(move || {
                    let (mut store, notices) = try_open(path, Some("here"), 100 + number).unwrap();
                    assert_eq!(notices, vec![]);
                    store.start(&session(100 + number, 0)).unwrap();
                    store.installation().clone()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(open(&path).live_sessions().unwrap().len(), 8);
}

#[test]
fn a_busy_database_says_so() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let mut store = open(&path);
    store.set_busy_timeout(Duration::from_millis(20)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.start(&session(1, 0)).unwrap_err();
    assert!(error.is_busy() && !error.has_no_room(), "{error}");
    assert!(store.live_sessions().unwrap().is_empty(), "reading goes on");
    assert_eq!(try_open(&path, Some("here"), 7).unwrap().1, vec![], "opening does not wait");
    other.execute_batch("ROLLBACK").unwrap();
    store.start(&session(1, 0)).unwrap();
}

/// Closing waits behind the writes of a pass: only the first one waits for a process that may be stopped.
#[test]
fn a_database_that_stays_busy_is_waited_for_once() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let mut store = open(&path);
    store.set_busy_timeout(Duration::from_secs(2)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    assert!(store.expire(at(0)).unwrap_err().is_unwritable());
    let first = begun.elapsed();
    assert!(first >= Duration::from_secs(2), "{first:?}");
    for _ in 0..5 {
        assert!(store.expire(at(0)).unwrap_err().is_busy());
    }
    assert!(begun.elapsed() - first < Duration::from_secs(2), "{:?}", begun.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    store.expire(at(0)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    assert!(store.expire(at(0)).unwrap_err().is_busy());
    assert!(begun.elapsed() >= Duration::from_secs(2), "it is as patient as before");
}

/// Everyone who may read the directory can lock it.
#[test]
fn a_directory_that_somebody_keeps_locked_does_not_hang() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let handle = fs::File::open(root.path()).unwrap();
    handle.lock().unwrap();
    let error = try_open(&path, Some("here"), 7).unwrap_err();
    assert!(error.is_busy(), "{error}");
    assert!(error.to_string().contains("is locked") && !path.exists(), "{error}");
    drop(handle);
    // An existing one needs no lock of the directory.
    drop(open(&path));
    let handle = fs::File::open(root.path()).unwrap();
    handle.lock().unwrap();
    assert_eq!(try_open(&path, Some("here"), 7).unwrap().1, vec![]);
}

#[test]
fn a_schema_that_was_changed_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for (number, (sql, what)) in [
        ("DROP TRIGGER sessions_latch", "trigger sessions_latch is missing"),
        ("DROP INDEX leases_open", "index leases_open is missing"),
        ("DROP INDEX leases_open; CREATE INDEX leases_open ON leases (target)", "index leases_open is another one"),
        ("ALTER TABLE leases ADD COLUMN more TEXT", "table leases is another one"),
        ("CREATE TRIGGER keep AFTER UPDATE ON grants BEGIN DELETE FROM leases; END", "trigger keep is not one of eg's"),
        ("CREATE VIEW mine AS SELECT * FROM leases", "view mine is not one of eg's"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = root.path().join(format!("state-{number}.db"));
        drop(open(&path));
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = fs::read(&path).unwrap();
        for error in [
            try_open(&path, Some("here"), 7).unwrap_err(),
            Store::open_read_only(&path).unwrap_err(),
            Store::check(&path, Some("here")).unwrap_err(),
            Store::adopt(&path, "here", at(1)).unwrap_err(),
        ] {
            assert!(matches!(error, StateError::OtherSchema { .. }), "{error:?}");
            assert!(error.to_string().contains(what) && error.to_string().contains("state-"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{sql}");
    }
    // SQLite's own statistics are no part of it.
    let path = root.path().join("analysed.db");
    drop(open(&path));
    Connection::open(&path).unwrap().execute_batch("ANALYZE").unwrap();
    assert_eq!(try_open(&path, Some("here"), 7).unwrap().1, vec![]);
}

#[test]
fn paths_with_any_characters_work() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a b", "q?immutable=0", "h#x", "p%41", "ü", "file:x"] {
        let path = root.path().join(name).join("state.db");
        drop(open(&path));
        assert!(path.is_file(), "{name}");
        assert_eq!(try_open(&path, Some("here"), 9).unwrap().0.installation(), &installation(7), "{name}");
        let doubled = PathBuf::from(format!("/{}", path.display()));
        assert!(Store::open_read_only(&doubled).unwrap().is_some(), "{name}");
    }
}

/// Whoever looks at the file must not drop the locks of a connection in the same process.
#[test]
fn a_second_opening_in_a_process_keeps_the_locks_of_the_first() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("state.db");
    let mut store = open(&path);
    store.start(&session(1, 0)).unwrap();
    drop(Store::open_read_only(&path).unwrap());
    drop(open(&path));
    // Another process that closes the database as the last one deletes the log; our lock says it is not the last.
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program)
        .args(["--exact", "child_opens_and_closes", "--ignored"])
        .current_dir(root.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(with_suffix(&path, "-wal").exists());
}

#[test]
#[ignore = "the child of the test above"]
fn child_opens_and_closes() {
    let path = Path::new("state.db");
    if path.exists() {
        drop(open(path));
    }
}

/// Found by `tests/guarantees/crashes/company.rs`: another process copies its write-ahead log into the file just while the
/// header is read, and the first page already counts pages that are still to come.
#[test]
fn a_file_that_another_process_is_just_writing_is_not_damaged() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("eg/state.db");
    drop(open(&path));
    let whole = fs::read(&path).unwrap();
    let (first, last) = whole.split_at(whole.len() - 4096);
    // Who opens it waits for a second, and the writer may be held up for longer: then it is no trial.
    let (read, took) = (0..20)
        .map(|_| {
            fs::write(&path, first).unwrap();
            let begun = Instant::now();
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            let last = last.to_owned();
            let writer = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(60));
                file.write_all(&last).unwrap();
                begun.elapsed()
            });
            let read = Store::open_read_only(&path);
            (read, writer.join().unwrap())
        })
        .find(|(_, took)| *took < Duration::from_millis(800))
        .unwrap();
    assert!(read.unwrap().is_some(), "complete after {took:?}");
}
