//! Cron manners over a day: cron mails what `eg reconcile --timer` prints, so these tests count the runs that print. They take
//! turns between passes that look at what a session needs, and the hourly ones that look at every configured group.

use super::{AUTHORIZE, DESCRIBE, REVOKE, one_group, says, says_not, sessions, settle, status, stop_and_settle};
use crate::harness::{Fault, IPV4, Outcome, REGION, World};
use eg_model::{
    ids::{InstallationId, SessionId},
    net::permission::Permission,
    tags::{description, tags_for},
};
use std::fs;

const MINUTE: i64 = 60;

fn timer(world: &World) -> Outcome {
    world.eg(&["reconcile", "--timer"])
}

fn is_mail(outcome: &Outcome) -> bool {
    !outcome.stdout.is_empty() || !outcome.stderr.is_empty()
}

/// Runs the job every half hour for so many hours: in every second run it looks at all groups. The mails, each with the minute
/// of its run.
fn mails(world: &World, hours: i64, code: i32) -> Vec<(i64, String)> {
    let mut mails = Vec::new();
    for run in 1..=hours * 2 {
        world.advance(30 * MINUTE);
        let outcome = timer(world).expect_code(code);
        if is_mail(&outcome) {
            mails.push((run * 30, outcome.stdout + &outcome.stderr));
        }
    }
    mails
}

fn minutes(mails: &[(i64, String)]) -> Vec<i64> {
    mails.iter().map(|(minute, _)| *minute).collect()
}

/// Three groups that a session needs, and two more for the hourly pass alone.
fn five_groups() -> World {
    let mut world = World::new();
    let others = ["other-1", "other-2"].map(|name| (name, world.make_group(name)));
    let head = world.config_head() + "[session]\nmax_duration = \"48h\"\n\n";
    let ports = [("prod-api-sg", "tcp/22"), ("prod-db-sg", "tcp/5432"), ("dev-web-sg", "tcp/443")];
    let needed = ports.map(|(name, port)| World::resource(name, world.group(name), REGION, &[port], ""));
    let others = others.map(|(name, id)| World::resource(name, &id, REGION, &["tcp/22"], ""));
    world.write_config(&(head + &needed.concat() + &others.concat()));
    let start = ["session", "start", "--duration", "40h", "--only", "prod-api-sg,prod-db-sg,dev-web-sg"];
    world.eg(&start).expect_code(0);
    world
}

/// The provider's words name one group "and 2 more" or "and 4 more", as the pass looks at three groups or at five.
#[test]
fn groups_that_cannot_be_read_are_four_mails_a_day_and_one_at_the_end() {
    let world = five_groups();
    assert!(mails(&world, 2, 0).is_empty());
    world.faults(&[Fault::deny(DESCRIBE)]);
    let told = mails(&world, 24, 3);
    assert_eq!(minutes(&told), [30, 390, 750, 1110], "{told:#?}");
    for (_, mail) in &told {
        assert_eq!(mail.matches("cannot be read").count(), 3, "{mail}");
    }
    world.faults(&[]);
    let ended = mails(&world, 2, 0);
    assert_eq!(ended, [(30, "✓ Everything is as recorded again\n".to_owned())]);
}

/// An expired rule of another installation, in a group that no session needs: only the hourly pass finds it.
#[test]
fn what_the_hourly_pass_alone_finds_is_neither_over_nor_new_in_between() {
    let world = five_groups();
    let group = fs::read_to_string(world.here.config_path()).unwrap();
    let group = group.lines().rev().find_map(|line| line.strip_prefix("id = ")).unwrap().trim_matches('"').to_owned();
    let permission: Permission = format!("tcp|22|22|{IPV4}/32").parse().unwrap();
    let session = SessionId(uuid::Uuid::from_u128(7));
    let long_ago = chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let tags = tags_for(&group, &[permission], session, &InstallationId::from_uuid(uuid::Uuid::from_u128(8)), long_ago);
    let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let words = description(Some("bob@desk"), session, None);
    let rule = world.cloud.authorize(&group, "tcp/22", &format!("{IPV4}/32"), &words, &tags);
    world.faults(&[Fault::deny(REVOKE)]);
    let (mut told, mut refused) = (Vec::new(), 0);
    for run in 1..=24 * 2 {
        world.advance(30 * MINUTE);
        let outcome = timer(&world);
        // An ordinary pass has nothing to do; the hourly one cannot close that rule.
        match outcome.code() {
            Some(3) => refused += 1,
            code => assert_eq!(code, Some(0), "{outcome}"),
        }
        if is_mail(&outcome) {
            told.push((run * 30, outcome.stderr));
        }
    }
    assert!((20..=24).contains(&refused), "{refused}");
    assert!((4..=5).contains(&told.len()), "{told:#?}");
    assert!(told.iter().all(|(_, mail)| mail.contains("UnauthorizedOperation")), "{told:#?}");
    world.faults(&[]);
    let ended = mails(&world, 2, 0);
    assert_eq!(ended.len(), 1, "{ended:#?}");
    assert!(ended[0].1.contains("✓ Everything is as recorded again"), "{ended:#?}");
    assert!(!world.cloud.rules(&group).iter().any(|known| known.id == rule));
}

/// One of two refusals ends: that is said, and nothing else is repeated.
#[test]
fn the_end_of_one_of_two_failures_is_told() {
    let world = five_groups();
    let (api, db) = (world.group("prod-api-sg").to_owned(), world.group("prod-db-sg").to_owned());
    for group in [&api, &db] {
        world.cloud.revoke(group, &world.cloud.rules(group)[0].id);
    }
    world.faults(&[Fault::deny(AUTHORIZE)]);
    world.advance(MINUTE);
    says(&timer(&world).expect_code(3), "UnauthorizedOperation");
    assert!(mails(&world, 2, 3).is_empty());
    world.faults(&[Fault::deny(AUTHORIZE).containing(&db)]);
    let told = mails(&world, 2, 3);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].1.starts_with("✓ Over: ") && !told[0].1.contains("Everything"), "{told:#?}");
    world.faults(&[]);
    let ended = mails(&world, 1, 0);
    assert_eq!(ended.len(), 1, "{ended:#?}");
    assert!(ended[0].1.ends_with("✓ Everything is as recorded again\n"), "{ended:#?}");
}

/// What an earlier version has noted as plain text means that nothing is known: one mail more, and none less.
#[test]
fn the_notes_of_an_earlier_version() {
    let world = five_groups();
    world.faults(&[Fault::deny(DESCRIBE)]);
    let note =
        "INSERT INTO meta (key, value) VALUES ('note:failure-reported', '2026-02-27T10:00:00Z sg-1 cannot be read')";
    rusqlite::Connection::open(world.here.state_path()).unwrap().execute_batch(note).unwrap();
    world.advance(MINUTE);
    says(&timer(&world).expect_code(3), "cannot be read");
    assert!(mails(&world, 2, 3).is_empty());
}

/// A pass of another process that takes long, or hangs: who it is, and since when, is no news.
#[test]
fn a_busy_lock_is_told_once_and_its_end_too() {
    let world = one_group(&["tcp/22"]);
    world.faults(&[Fault::hold(DESCRIBE).times(1)]);
    let holder = world.here.command(&["reconcile"]).spawn();
    // Without a session there is nothing to read but for collecting.
    holder.wait_for_delayed(DESCRIBE);
    let busy = || world.eg(&["--lock-wait", "0s", "reconcile", "--timer"]).expect_code(4);
    let first = busy();
    says(&first, "another eg is at work (pid ");
    for _ in 0..3 {
        assert!(!is_mail(&busy()));
    }
    let json = world.eg(&["--lock-wait", "0s", "-o", "json", "reconcile", "--timer"]).expect_code(4);
    assert_eq!(json.json_lines().last().unwrap()["error"]["kind"], "locked", "programs always get it");
    holder.signal("KILL");
    holder.wait();
    world.faults(&[]);
    let again = timer(&world).expect_code(0);
    assert_eq!(again.stderr, "✓ eg reconcile works again\n");
    assert!(!is_mail(&timer(&world).expect_code(0)));
}

/// A record that cannot be opened holds no memory either; a link beside it does.
#[test]
fn a_damaged_record_is_told_four_times_a_day() {
    let world = one_group(&["tcp/22"]);
    timer(&world).expect_code(0);
    let state = world.here.state_path();
    let good = fs::read(&state).unwrap();
    fs::write(&state, "this is no database, however long it is looked at. ".repeat(100)).unwrap();
    let told = mails(&world, 24, 1);
    assert_eq!(minutes(&told), [30, 390, 750, 1110], "{told:#?}");
    assert!(told.iter().all(|(_, mail)| mail.starts_with("error: ") && mail.contains("state.db")), "{told:#?}");
    says(&world.eg(&["reconcile"]).expect_code(1), "state.db");
    // Something else is wrong: that is new.
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    says(&timer(&world).expect_code(1), "is not a regular file");
    assert!(!is_mail(&timer(&world).expect_code(1)));
    fs::remove_dir(&state).unwrap();
    fs::write(&state, good).unwrap();
    says(&timer(&world).expect_code(0), "✓ eg reconcile works again");
    assert!(!is_mail(&timer(&world).expect_code(0)));
}

/// The record can be read and not written: what is due is closed, and cron hears of it once.
#[test]
fn a_record_that_cannot_be_written_is_told_once() {
    let world = one_group(&["tcp/22"]);
    world.eg(&["session", "start", "--duration", "20h"]).expect_code(0);
    let before_end = world.cloud.snapshot();
    let line = format!("ulimit -f 0; exec {} reconcile --timer", env!("CARGO_BIN_EXE_eg"));
    let full = || world.here.command(&[]).in_bash(&line).run();
    world.advance(MINUTE);
    let first = full();
    says(&first, "may not write files that large");
    let mut told = 0;
    for _ in 0..6 * 2 {
        world.advance(30 * MINUTE);
        told += usize::from(is_mail(&full()));
    }
    assert_eq!(told, 1, "after six hours");
    assert_eq!(world.cloud.snapshot(), before_end);
    let ended = timer(&world).expect_code(0);
    says(&ended, "✓ Everything is as recorded again");
    says_not(&ended, "warning");
    let quiet = timer(&world).expect_code(0);
    assert!(!is_mail(&quiet), "{quiet}");
    assert_eq!(sessions(&world).len(), 1);
    assert_eq!(status(&world), "ACTIVE");
    world.eg(&["session", "stop"]);
    world.advance(1000);
    settle(&world);
    let closed = world.cloud.snapshot();
    stop_and_settle(&world, &closed);
}
