//! Commands that only read the record: no network, no lock, no configuration, nothing made.

use super::{start, start_id};
use crate::harness::World;
use std::{fs::File, os::unix::fs::PermissionsExt};

#[test]
fn reading_makes_nothing_and_calls_nobody() {
    let world = World::new();
    for args in [
        &["session", "list"][..],
        &["session", "get", "a1b2"],
        &["schema", "session"],
        &["session", "list", "--output", "json"],
    ] {
        world.eg(args);
        assert!(!world.here.state_path().parent().unwrap().exists(), "{args:?} made a directory");
    }
    let id = start_id(&world.here, &["--only", "dev"]);
    world.forget_calls();
    let asked: usize = world.echo4.iter().map(|echo| echo.asked()).sum();
    let files = || {
        let dir = std::fs::read_dir(world.here.state_path().parent().unwrap()).unwrap();
        let all: Vec<_> = dir.map(|entry| entry.unwrap()).collect();
        for entry in &all {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
        }
        // A reader of a WAL database makes these two where they are missing.
        let own = |name: &String| !name.ends_with("-wal") && !name.ends_with("-shm");
        let mut names: Vec<_> = all.iter().map(|entry| entry.file_name().into_string().unwrap()).filter(own).collect();
        names.sort();
        names
    };
    let before = (files(), std::fs::read(world.here.state_path()).unwrap());
    world.eg(&["session", "list"]).expect_code(0);
    world.eg(&["session", "get", &id]).expect_code(0);
    assert_eq!(world.call_counts(), "");
    assert_eq!(world.echo4.iter().map(|echo| echo.asked()).sum::<usize>(), asked);
    assert_eq!((files(), std::fs::read(world.here.state_path()).unwrap()), before, "the record is as it was");
}

#[test]
fn reading_needs_no_configuration() {
    let world = World::new();
    let id = start_id(&world.here, &["--no-wait", "--only", "dev"]);
    world.write_config("[[[ this is not TOML");
    world.eg(&["session", "list"]).expect_code(0);
    world.eg(&["session", "get", &id]).expect_code(0);
    world.eg(&["--config", "/does/not/exist.toml", "session", "list"]).expect_code(0);
}

#[test]
fn reading_needs_no_cloud() {
    let world = World::new();
    let id = start_id(&world.here, &["--no-wait", "--only", "dev"]);
    for args in [&["session", "list"][..], &["session", "get", &id]] {
        world
            .here
            .command(args)
            .without("AWS_ACCESS_KEY_ID")
            .without("AWS_SECRET_ACCESS_KEY")
            .without("AWS_ENDPOINT_URL")
            .run()
            .expect_code(0);
    }
}

#[test]
fn reading_waits_for_nobody() {
    let world = World::new();
    let id = start_id(&world.here, &["--no-wait", "--only", "dev"]);
    world.advance(60);
    let path = world.here.state_path().with_extension("db.lock");
    let lock = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    lock.lock().unwrap();
    // Whoever waited for the lock would outlast the harness's patience.
    world.eg(&["--lock-wait", "3600s", "session", "list"]).expect_code(0);
    world.eg(&["--lock-wait", "3600s", "session", "get", &id]).expect_code(0);

    let busy = world.eg(&["--lock-wait", "0s", "reconcile"]).expect_code(4);
    assert_eq!(busy.stdout, "");
    let start =
        world.eg(&["--lock-wait", "0s", "--output", "json", "session", "start", "--only", "prod"]).expect_code(4);
    assert_eq!(start.json_as("session")["status"], "PENDING", "the intent is on record");
    assert_eq!(start.json_lines().last().unwrap()["error"]["kind"], "locked");
    let stop = world.eg(&["--lock-wait", "0s", "session", "stop", "--output", "json"]);
    assert_ne!(stop.json_as("session")["status"], "PENDING", "a stop is never lost to a busy lock");
    let wait = world.eg(&["--lock-wait", "2s", "reconcile"]).expect_code(4);
    assert!(wait.stderr.contains("Waiting for another eg ("), "{wait}");
    drop(lock);
    world.eg(&["reconcile"]).expect_code(0);
    let status = |id: &str| super::get(&world.here, id)["status"].as_str().unwrap().to_owned();
    assert_eq!(status(&id), "ACTIVE");
}

#[test]
fn a_state_file_that_is_none_is_named_and_left_alone() {
    let world = World::new();
    start(&world.here, &["--no-wait"]);
    let path = world.dir().join("other.db");
    std::fs::write(&path, "this is not a database, but long enough to look like something at first sight").unwrap();
    let shown = path.to_string_lossy().into_owned();
    for args in [&["session", "list"][..], &["session", "stop"], &["session", "start"], &["reconcile"]] {
        let outcome = world.eg(&[&["--state", &shown], args].concat()).expect_code(1);
        assert!(super::error_of(&outcome).contains(&shown), "{outcome}");
    }
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("this is not a database"));
}

#[test]
fn the_state_file_can_be_named() {
    let world = World::new();
    let path = world.dir().join("mine/x.db");
    let shown = path.to_string_lossy().into_owned();
    world.eg(&["--state", &shown, "session", "start", "--no-wait"]).expect_code(0);
    assert!(path.exists() && !world.here.state_path().exists());
    let by_variable = world.here.command(&["session", "list"]).env("EG_STATE", &path).run().expect_code(0);
    assert_eq!(by_variable.stdout.lines().count(), 2);
    assert_eq!(world.eg(&["session", "list"]).expect_code(0).stderr, "No sessions.\n");
}
