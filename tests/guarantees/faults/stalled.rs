//! A process that holds the lock and gets nowhere: stopped by SIGSTOP, or blocked by a read that never ends. What closes
//! goes past it; what opens waits; and it is named.

use super::{
    AUTHORIZE, DESCRIBE, marked, newest, one_group, says, says_not, sessions, settle, status, stop_and_settle,
};
use crate::harness::{Fault, Outcome, World, eg::Running};
use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::symlink,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// No progress for longer than this, in seconds.
const STALLED: i64 = 185;

/// The file of the lock, or of one of those who went past its holder.
fn lock_file(world: &World, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}.lock{suffix}", world.here.state_path().display()))
}

/// A pass that is stopped while its reading is under way.
fn stopped_reconcile(world: &World) -> Running {
    world.forget_calls();
    world.faults(&[Fault::hold(DESCRIBE).times(1)]);
    let running = world.here.command(&["reconcile"]).spawn();
    running.wait_for_delayed(DESCRIBE);
    running.hears();
    running.signal("STOP");
    world.faults(&[]);
    running
}

/// As from cron: nobody waits for anything.
fn from_cron(world: &World) -> Outcome {
    world.eg(&["--lock-wait", "0s", "reconcile", "--timer"])
}

#[test]
fn an_overdue_rule_is_closed_within_minutes_of_the_holder_being_stopped() {
    let world = one_group(&["tcp/22", "tcp/443"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "1m"]).expect_code(0);
    let open = world.cloud.snapshot();
    let holder = stopped_reconcile(&world);
    world.forget_calls();
    let mut passed = None;
    for minute in 1..=4 {
        world.advance(60);
        let outcome = from_cron(&world);
        if outcome.code() != Some(4) {
            passed = Some((minute, outcome));
            break;
        }
        assert_eq!(world.cloud.snapshot(), open, "it makes progress, as far as anybody can tell: {outcome}");
        assert_eq!(outcome.stderr.contains("another eg is at work (pid "), minute == 1, "it is said once: {outcome}");
    }
    let (minute, closed) = passed.expect("nobody went past it");
    assert!(minute >= 3, "too early: {closed}");
    assert_eq!(world.cloud.snapshot(), before, "{closed}");
    assert_eq!(status(&world), "EXPIRED", "{closed}");
    let closed = closed.expect_code(0);
    let pid = holder.pid();
    says(&closed, &format!("another eg (pid {pid}, eg reconcile, since "));
    says(&closed, "is stopped (state T) and has made no progress since ");
    says(&closed, "closing goes on past it, what opens waits for it");
    says(&closed, &format!("kill -CONT {pid}; or end it with: kill -KILL {pid}"));
    // From cron it is said once.
    world.advance(60);
    let again = from_cron(&world).expect_code(0);
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("", ""));
    // It wakes up, and finds everything done.
    world.forget_calls();
    holder.signal("CONT");
    let woken = holder.wait();
    assert!(matches!(woken.code(), Some(0 | 3)), "{woken}");
    assert!(world.calls().iter().all(|call| call.action == DESCRIBE), "{}", world.call_counts());
    assert_eq!((status(&world).as_str(), world.cloud.snapshot()), ("EXPIRED", before));
}

/// The worst that a holder can wake up to: its rule was opened while it was stopped, and closed by others.
#[test]
fn a_start_that_is_stopped_while_it_opens_reopens_nothing_when_it_wakes_up() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.faults(&[Fault::hold(AUTHORIZE).dry_run(false).times(1)]);
    let holder = world.here.command(&["session", "start"]).spawn();
    holder.wait_for_delayed(AUTHORIZE);
    holder.hears();
    holder.signal("STOP");
    world.faults(&[]);
    let begin = Instant::now();
    while marked(&world, "prod-api-sg").is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the call never landed");
        thread::sleep(Duration::from_millis(20));
    }
    let id = newest(&world);
    world.advance(STALLED);
    // What opens waits for it.
    let start = world.eg(&["--lock-wait", "0s", "session", "start", "--duration", "2h"]).expect_code(4);
    says(&start, "is stopped (state T)");
    says(&start, &format!("kill -CONT {}", holder.pid()));
    world.eg(&["session", "stop", &newest(&world)]);
    let stopped = world.eg(&["session", "stop", &id]);
    assert!(matches!(stopped.code(), Some(0 | 3)), "{stopped}");
    says(&stopped, "closing goes on past it");
    assert_eq!(world.cloud.snapshot(), before, "{stopped}");
    holder.signal("CONT");
    let woken = holder.wait();
    assert!(matches!(woken.code(), Some(1 | 3)), "its session was stopped: {woken}");
    assert_eq!(world.cloud.snapshot(), before, "{woken}");
    settle(&world);
    assert_eq!(world.cloud.snapshot(), before);
    assert!(sessions(&world).iter().all(|session| session["status"] == "CANCELLED"), "{:#?}", sessions(&world));
    stop_and_settle(&world, &before);
}

#[test]
fn who_goes_past_a_holder_can_be_stopped_too() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    let first = stopped_reconcile(&world);
    world.advance(STALLED);
    let second = stopped_reconcile(&world);
    assert!(fs::read_to_string(lock_file(&world, ".2")).unwrap().contains(&format!("pid {},", second.pid())));
    // One at a time goes past, as long as that one gets on.
    let third = world.eg(&["--lock-wait", "0s", "session", "stop"]).expect_code(4);
    says(&third, &format!("another eg is at work (pid {}", second.pid()));
    world.advance(STALLED);
    let closed = world.eg(&["session", "stop"]);
    for holder in [&first, &second] {
        says(&closed, &format!("another eg (pid {}, ", holder.pid()));
    }
    assert_eq!(world.cloud.snapshot(), before, "{closed}");
    for holder in [first, second] {
        holder.signal("CONT");
        holder.wait();
    }
    stop_and_settle(&world, &before);
}

/// After a suspend a healthy process looks as if it had done nothing for hours, until the call that it waits for ends.
#[test]
fn a_holder_that_has_just_woken_up_is_waited_for() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
    world.forget_calls();
    world.faults(&[Fault::hold(DESCRIBE).times(1)]);
    let holder = world.here.command(&["reconcile"]).spawn();
    holder.wait_for_delayed(DESCRIBE);
    world.advance(STALLED);
    let stop = world.here.command(&["session", "stop"]).spawn();
    // Longer than a holder is looked at that somebody has stopped, shorter than a call takes at the most.
    thread::sleep(Duration::from_secs(4));
    world.faults(&[]);
    let (held, stopped) = (holder.wait(), stop.wait());
    assert!(matches!(held.code(), Some(0 | 3)), "{held}");
    says_not(&stopped, "closing goes on past it");
    assert!(!lock_file(&world, ".2").exists(), "{stopped}");
    assert_eq!(world.cloud.snapshot(), before, "{stopped}");
    stop_and_settle(&world, &before);
}

#[test]
fn status_and_doctor_name_a_stalled_holder() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "4h"]).expect_code(0);
    let holder = stopped_reconcile(&world);
    let pid = holder.pid();
    let calm = world.eg(&["status"]).expect_code(0);
    says_not(&calm, "no progress");
    let json = |world: &World| world.eg(&["--output", "json", "status"]).json_as("status")["stalledHolder"].clone();
    assert!(json(&world).is_null());
    world.advance(STALLED);
    let status = world.eg(&["status"]).expect_code(0);
    says(&status, &format!("Lock:      another eg (pid {pid}, eg reconcile, since "));
    says(&status, "is stopped (state T) and has made no progress since ");
    says(&status, &format!("kill -CONT {pid}"));
    let told = json(&world);
    assert_eq!((&told["pid"], &told["processState"]), (&pid.into(), &"T".into()), "{told}");
    let doctor = world.eg(&["doctor"]).expect_code(1);
    says(&doctor, &format!("✗ lock: another eg (pid {pid}, eg reconcile, since "));
    says(&doctor, &format!("kill -CONT {pid}"));
    let found = world.eg(&["--output", "json", "doctor"]).expect_code(1).json_as("doctor");
    assert!(found.to_string().contains("\"check\":\"lock\""), "{found:#}");
    // Killed, it holds nothing any more.
    holder.signal("KILL");
    assert_eq!(holder.wait().code(), None);
    says_not(&world.eg(&["status"]).expect_code(0), "no progress");
    says_not(&world.eg(&["doctor"]), "✗ lock");
    stop_and_settle(&world, &before);
}

/// Reading such a file blocks whoever tries, until somebody writes to it.
fn fifo(world: &World) -> PathBuf {
    let path = world.dir().join("hangs");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// A pass that hangs in a read, with the lock in its hand.
fn blocked_reconcile(world: &World, more: &[&str], limit: &str) -> Running {
    let args = [more, &["reconcile"]].concat();
    let command = world.here.command(&args).env("AWS_CONFIG_FILE", fifo(world)).env("EG_TEST_STALL_LIMIT", limit);
    let running = command.spawn();
    let begin = Instant::now();
    let holds =
        || fs::read_to_string(lock_file(world, "")).unwrap_or_default().contains(&format!("pid {},", running.pid()));
    while !(holds() && running.sleeps_in("wait_for_partner")) {
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not block");
        thread::sleep(Duration::from_millis(20));
    }
    running
}

#[test]
fn a_blocked_process_is_ended_by_its_watchdog() {
    for json in [false, true] {
        let world = one_group(&["tcp/22"]);
        let before = world.cloud.snapshot();
        world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
        world.advance(3601);
        let more: &[&str] = if json { &["--output", "json"] } else { &[] };
        let ended = blocked_reconcile(&world, more, "2").wait().expect_code(3);
        says(&ended, "`eg reconcile` has made no progress for 2 seconds while it held the lock, and was ended");
        if json {
            assert_eq!(ended.json_lines().last().unwrap()["error"]["kind"], "stalled", "{ended}");
        }
        let closed = world.eg(&["--lock-wait", "0s", "reconcile"]).expect_code(0);
        says_not(&closed, "no progress");
        assert_eq!((status(&world).as_str(), world.cloud.snapshot()), ("EXPIRED", before));
    }
}

#[test]
fn an_overdue_rule_is_closed_past_a_blocked_process() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--duration", "1m"]).expect_code(0);
    let holder = blocked_reconcile(&world, &[], "600");
    world.advance(60);
    assert_eq!(from_cron(&world).code(), Some(4));
    world.advance(STALLED);
    let closed = from_cron(&world).expect_code(0);
    says(&closed, &format!("end it with: kill {}", holder.pid()));
    assert_eq!((status(&world).as_str(), world.cloud.snapshot()), ("EXPIRED", before));
}

#[test]
fn a_second_signal_ends_a_blocked_process_at_once() {
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let world = one_group(&["tcp/22"]);
        world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
        let holder = blocked_reconcile(&world, &[], "600");
        holder.signal(name);
        holder.signal_until_it_ends(name).expect_code(128 + number);
        world.eg(&["--lock-wait", "0s", "reconcile"]).expect_code(0);
    }
}

/// What others can put in the place of the lock's file is neither followed nor waited for, and keeps nothing open.
#[test]
fn what_stands_in_the_place_of_the_lock_is_not_followed() {
    for what in ["a link", "a link to nothing", "a pipe", "a directory"] {
        let world = one_group(&["tcp/22"]);
        let before = world.cloud.snapshot();
        world.eg(&["session", "start", "--duration", "1h"]).expect_code(0);
        let (path, victim) = (lock_file(&world, ""), world.dir().join("victim"));
        fs::remove_file(&path).unwrap();
        match what {
            "a link" => {
                fs::write(&victim, "precious").unwrap();
                symlink(&victim, &path).unwrap();
            }
            "a link to nothing" => symlink(&victim, &path).unwrap(),
            "a pipe" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
            _ => fs::create_dir(&path).unwrap(),
        }
        let start = world.eg(&["session", "start"]).expect_code(1);
        says(&start, "state.db.lock cannot be used: ");
        let stop = world.eg(&["session", "stop", "--all"]).expect_code(0);
        says(&stop, "closing goes on, what opens waits");
        assert_eq!(world.cloud.snapshot(), before, "{what}: {stop}");
        let mut text = String::new();
        let read = File::open(&victim).map(|mut file| file.read_to_string(&mut text));
        assert_eq!((read.is_ok(), text.as_str()), (what == "a link", if what == "a link" { "precious" } else { "" }));
    }
}

/// The lock's file names nobody once its holder is done.
#[test]
fn a_holder_that_is_done_is_forgotten() {
    let world = one_group(&["tcp/22"]);
    let before = world.cloud.snapshot();
    world.eg(&["session", "start"]).expect_code(0);
    assert_eq!(fs::read_to_string(lock_file(&world, "")).unwrap(), "");
    stop_and_settle(&world, &before);
    assert!(!lock_file(&world, ".2").exists());
}
