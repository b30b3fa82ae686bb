//! `eg session list` and `get`.

use super::{Tale, error_of, start, start_id};
use crate::harness::{Installation, World};

/// A copy of a session under an id of our choosing, with the clock's order kept.
pub(super) fn rename(here: &Installation, from: &str, to: &str) {
    let db = rusqlite::Connection::open(here.state_path()).unwrap();
    db.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    for (table, column) in [("grants", "session"), ("callers", "session"), ("sessions", "id")] {
        db.execute(&format!("UPDATE {table} SET {column} = ?2 WHERE {column} = ?1"), [from, to]).unwrap();
    }
}

#[test]
fn nothing_to_list() {
    let world = World::new();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "list"]).expect_code(0);
    tale.eg(&["session", "list", "--output", "json"]).expect_code(0).json_as("sessions");
    tale.eg(&["session", "get", "a1b2c3d4"]).expect_code(1);
    tale.end("list_empty");
    start(&world.here, &["--no-wait"]);
    world.eg(&["session", "stop"]).expect_code(0);
    let outcome = world.eg(&["session", "list", "--active"]).expect_code(0);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", "No sessions.\n"));
}

/// An upgrade must not hide what is open until the next pass. The record here is as version 7 made it.
#[test]
fn the_record_of_an_older_eg_is_shown() {
    let world = World::new();
    let id = start_id(&world.here, &["--no-wait"]);
    let db = rusqlite::Connection::open(world.here.state_path()).unwrap();
    db.execute_batch("ALTER TABLE sessions DROP COLUMN followed_name; DROP TABLE sightings; PRAGMA user_version = 7")
        .unwrap();
    let version = || db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(version(), 7);
    let listed = world.eg(&["session", "list"]).expect_code(0);
    assert!(listed.stdout.contains(&id[..8]), "{listed}");
    assert_eq!(listed.stderr, "");
    assert!(version() > 7);
    world.eg(&["session", "stop"]).expect_code(0);
}

#[test]
fn filters_and_limits() {
    let world = World::new();
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(start_id(&world.here, &["--no-wait", "--only", "dev"]));
        if number < 3 {
            world.eg(&["session", "stop"]).expect_code(0);
        }
        world.advance(60);
    }
    // The oldest of all is live: it is shown whatever the limit is.
    ids.push(start_id(&world.here, &["--no-wait", "--only", "dev"]));
    let shown = |more: &[&str]| {
        let args = [&["session", "list", "--output", "json"], more].concat();
        let list = world.eg(&args).expect_code(0).json_as("sessions");
        let found: Vec<_> = list.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        found.iter().map(|id| ids.iter().position(|known| known == id).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&[]), [4, 3, 2, 1, 0], "newest first");
    assert_eq!(shown(&["--active"]), [4, 3]);
    assert_eq!(shown(&["--status", "CANCELLED"]), [2, 1, 0]);
    assert_eq!(shown(&["--status", "cancelled", "--status", "pending"]), [4, 3, 2, 1, 0]);
    assert_eq!(shown(&["--status", "EXPIRED"]), [0_usize; 0]);
    assert_eq!(shown(&["--limit", "3"]), [4, 3, 2]);
    assert_eq!(shown(&["--limit", "1"]), [4, 3], "live ones are always shown");
    assert_eq!(shown(&["--limit", "0"]), [4, 3, 2, 1, 0]);

    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "list", "--limit", "3"]).expect_code(0);
    tale.eg(&["session", "list", "--status", "GONE"]).expect_code(2);
    tale.eg(&["session", "list", "--limit", "-1"]).expect_code(2);
    tale.eg(&["session", "list", "--active", "--status", "ACTIVE"]).expect_code(2);
    tale.end("list_filters");
}

#[test]
fn twenty_by_default() {
    let world = World::new();
    for _ in 0..22 {
        start(&world.here, &["--no-wait", "--only", "dev"]);
    }
    assert_eq!(world.eg(&["session", "list"]).stdout.lines().count(), 23, "all of them are live");
    world.eg(&["session", "stop", "--all"]).expect_code(0);
    let outcome = world.eg(&["session", "list"]).expect_code(0);
    assert_eq!(outcome.stdout.lines().count(), 21);
    assert_eq!(outcome.stderr, "2 more: eg session list --limit 0\n");
    assert_eq!(world.eg(&["session", "list", "--limit", "0"]).stdout.lines().count(), 23);
}

#[test]
fn ids_grow_where_two_rows_share_them() {
    let world = World::new();
    for id in [
        "abcdef12-1111-4111-8111-111111111111",
        "abcdef12-1222-4222-8222-222222222222",
        "abcdef99-3333-4333-8333-333333333333",
    ] {
        let from = start_id(&world.here, &["--no-wait", "--only", "dev"]);
        rename(&world.here, &from, id);
        world.advance(60);
    }
    let list = world.eg(&["session", "list"]).expect_code(0);
    let column: Vec<_> = list.stdout.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(column, ["ID", "abcdef99", "abcdef1212", "abcdef1211"], "{list}");
    for id in &column[1..] {
        world.eg(&["session", "get", id]).expect_code(0);
    }

    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "get", "abcd"]).expect_code(1);
    tale.eg(&["session", "get", "abcdef12"]).expect_code(1);
    tale.eg(&["session", "stop", "abcdef12"]).expect_code(1);
    tale.eg(&["session", "extend", "abcdef12", "--hours", "1"]).expect_code(1);
    tale.end("ambiguous");
    let outcome = world.eg(&["session", "get", "abcdef12", "--output", "json"]).expect_code(1);
    assert_eq!((outcome.stdout.as_str(), outcome.json_lines()[0]["error"]["kind"].as_str()), ("", Some("ambiguous")));

    for id in [
        "ABCDEF99",
        "abcdef99-3333-4333-8333-333333333333",
        "ABCDEF99-3333-4333-8333-333333333333",
        "abcdef99-33",
        "abcdef9933",
    ] {
        let page = world.eg(&["session", "get", id]).expect_code(0);
        assert!(page.stdout.starts_with("Session abcdef99-3333-4333-8333-333333333333\n"), "{id}: {page}");
    }
}

#[test]
fn ids_that_are_none() {
    let world = World::new();
    let unmade = world.eg(&["session", "get", "abc"]).expect_code(2);
    assert_eq!(error_of(&unmade), "\"abc\" is not a session's id", "said with and without a state file");
    start(&world.here, &["--no-wait", "--only", "dev"]);
    let mut tale = Tale::new(&world.here);
    for id in ["abc", "", "xyz1", "a1b2c3d4-e5f6-7890-abcd-ef12345678901", "%", "----", "a1b2_"] {
        tale.eg(&["session", "get", id]).expect_code(2);
    }
    tale.eg(&["session", "get", "00000000-0000-4000-8000-000000000000"]).expect_code(1);
    tale.eg(&["session", "stop", "00000000"]).expect_code(1);
    tale.end("bad_ids");
}

#[test]
fn columns_line_up() {
    let Some(world) = World::new().with_ipv6() else { return };
    start(&world.here, &["--no-wait", "--only", "dev"]);
    world.advance(60);
    start(&world.here, &["--no-wait", "--only", "dev", "--ipv4", "192.0.2.1"]);
    world.eg(&["session", "stop"]).expect_code(0);
    world.advance(60);
    start(
        &world.here,
        &["--no-wait", "--only", "dev", "--ipv6", "2001:db8:1234:5678:9abc:def0:1234:5678", "--duration", "45m"],
    );
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "list"]).expect_code(0);
    tale.end("columns");
}
