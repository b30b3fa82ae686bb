//! `[notify]`: each event once, whatever the command does, and closing never depends on it.

use crate::{
    cli::session::{get, start_id},
    harness::{Fault, World, eg::assert_valid},
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// A world whose command is made of these words; `FILE` stands for the file that is to hold the events.
fn notified(command: &[&str]) -> (World, PathBuf) {
    let world = World::new();
    let file = world.dir().join("events");
    let words = command.iter().map(|word| format!("{:?}", word.replace("FILE", &file.to_string_lossy())));
    let command = words.collect::<Vec<_>>().join(", ");
    world.write_config(&(world.default_config() + &format!("[notify]\ncommand = [{command}]\n")));
    (world, file)
}

const KEEP: &[&str] = &["tee", "-a", "FILE"];

fn events(file: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    events.iter().for_each(|event| assert_valid("notify", event));
    events
}

fn kinds(file: &PathBuf) -> Vec<String> {
    events(file).iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_event_is_told_once() {
    let (world, file) = notified(KEEP);
    let id = start_id(&world.here, &["--only", "dev", "--duration", "30m"]);
    let pass = |after: i64| {
        world.advance(after);
        world.eg(&["reconcile"]).expect_code(0);
        kinds(&file)
    };
    assert_eq!(pass(900), Vec::<String>::new());
    world.advance(360);
    world.eg(&["reconcile", "--dry-run"]).expect_code(0);
    assert_eq!(kinds(&file), Vec::<String>::new(), "a dry run tells nothing");
    assert_eq!(pass(0), ["expiring"]);
    assert_eq!(pass(60), ["expiring"]);
    let told = events(&file)[0].clone();
    assert_eq!((&told["session"]["id"], &told["session"]["status"]), (&id.as_str().into(), &"ACTIVE".into()));
    let left = told["remainingSeconds"].as_i64().unwrap();
    assert!((480..=540).contains(&left), "{left}");
    // Prolonged, it ends soon a second time.
    world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(0);
    assert_eq!(pass(60), ["expiring"]);
    assert_eq!(pass(3600), ["expiring", "expiring"]);
    assert_eq!(pass(600), ["expiring", "expiring", "expired"]);
    assert_eq!(events(&file)[2]["session"]["status"], "EXPIRED");
    assert_eq!(pass(60), ["expiring", "expiring", "expired"]);
    // Who stops a session knows that it has ended.
    let id = start_id(&world.here, &["--only", "dev"]);
    world.eg(&["session", "stop", &id]).expect_code(0);
    assert_eq!(pass(0).len(), 3);
}

/// What is recorded while a pass ends is no less noticed: here it is the command that records it.
#[test]
fn what_the_command_records_wakes_the_watch() {
    let start = ["session", "start", "--no-wait", "--only", "prod-db-sg"];
    let (world, _) = notified(&[&[env!("CARGO_BIN_EXE_eg")], &start[..]].concat());
    start_id(&world.here, &["--only", "dev", "--duration", "5m"]);
    let watch = world.here.command(&["reconcile", "--watch", "--interval", "600s"]).spawn();
    let begin = Instant::now();
    while world.cloud.rules(world.group("prod-db-sg")).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the new session was never opened");
        thread::sleep(Duration::from_millis(100));
    }
    watch.signal("TERM");
    watch.wait().expect_code(0);
}

#[test]
fn what_cannot_be_closed_is_told_with_its_reason() {
    let (world, file) = notified(KEEP);
    let id = start_id(&world.here, &["--only", "dev"]);
    world.faults(&[Fault::deny("RevokeSecurityGroupIngress")]);
    world.eg(&["session", "stop", &id]).expect_code(3);
    world.eg(&["reconcile"]).expect_code(3);
    assert_eq!(kinds(&file), ["close-failed"]);
    let message = events(&file)[0]["message"].as_str().unwrap().to_owned();
    let begin = format!("session {} could not be closed: dev-web-sg: tcp/22", &id[..8]);
    assert!(message.starts_with(&begin), "{message}");
    world.advance(300);
    world.eg(&["reconcile"]).expect_code(3);
    world.faults(&[]);
    world.advance(300);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(kinds(&file), ["close-failed"]);
}

#[test]
fn a_command_that_fails_changes_nothing() {
    for (command, why) in [
        (&["/nowhere/at-all"][..], "/nowhere/at-all cannot be run: "),
        (&["false"], "false ended with exit status: 1"),
        (&["sleep", "3600"], "sleep did not end within 10 s and was ended"),
    ] {
        let (world, _) = notified(command);
        let before = world.cloud.snapshot();
        let id = start_id(&world.here, &["--only", "dev", "--duration", "30m"]);
        world.advance(1801);
        let outcome = world.eg(&["reconcile"]).expect_code(0);
        assert!(outcome.stderr.contains(&format!(" has expired: {why}")), "{outcome}");
        assert_eq!(get(&world.here, &id)["status"], "EXPIRED");
        assert_eq!(world.cloud.snapshot(), before);
        let outcome = world.eg(&["reconcile"]).expect_code(0);
        assert_eq!(outcome.stderr, "Nothing to do.\n", "once is enough");
    }
}

/// The command ends `eg` before it can record that it was told.
#[test]
fn a_crash_loses_no_event_and_repeats_none_for_ever() {
    let (world, file) = notified(&["sh", "-c", "cat >> FILE; kill -9 $PPID"]);
    start_id(&world.here, &["--only", "dev", "--duration", "5m"]);
    let told: Vec<usize> = (0..5)
        .map(|_| {
            world.advance(61);
            // The session is over in the last pass; only the first event is looked at.
            world.eg(&["reconcile"]);
            kinds(&file).iter().filter(|kind| *kind == "expiring").count()
        })
        .collect();
    assert_eq!(told, [1, 2, 3, 3, 3]);
}

#[test]
fn watch_tells_too() {
    let (world, file) = notified(KEEP);
    start_id(&world.here, &["--only", "dev", "--duration", "5m"]);
    let watch = world.here.command(&["reconcile", "--watch"]).spawn();
    let begin = Instant::now();
    while kinds(&file).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing was told");
        thread::sleep(Duration::from_millis(20));
    }
    watch.signal("TERM");
    watch.wait().expect_code(0);
    assert_eq!(kinds(&file), ["expiring"]);
}

/// Who can write the configuration could have anything run as its user.
#[test]
fn a_command_that_anybody_can_write_is_not_run() {
    let (world, file) = notified(KEEP);
    let before = world.cloud.snapshot();
    start_id(&world.here, &["--only", "dev", "--duration", "30m"]);
    fs::set_permissions(world.here.config_path(), fs::Permissions::from_mode(0o666)).unwrap();
    world.advance(1801);
    let outcome = world.eg(&["reconcile"]).expect_code(1);
    let path = world.here.config_path();
    let why = format!("{0} is not to be trusted: {0} can be written by everybody (mode 0666)", path.display());
    assert!(outcome.stderr.contains(&why), "{outcome}");
    assert_eq!((events(&file).len(), world.cloud.snapshot()), (0, before), "and everything is closed");
    let doctor = world.eg(&["doctor"]).stdout;
    assert!(doctor.contains("✗ configuration: ") && doctor.contains(&why), "{doctor}");
}

/// A file that is replaced while a pass runs is not looked at again: the command that was judged is the command that runs.
#[test]
fn a_command_that_comes_during_a_pass_is_not_run() {
    let (world, file) = notified(KEEP);
    let forged = world.dir().join("forged");
    start_id(&world.here, &["--only", "dev", "--duration", "30m"]);
    world.advance(1801);
    world.faults(&[Fault::hold("RevokeSecurityGroupIngress")]);
    let pass = world.here.command(&["reconcile"]).spawn();
    pass.wait_for_delayed("RevokeSecurityGroupIngress");
    let text = format!("[notify]\ncommand = [\"tee\", {:?}]\n", forged.to_string_lossy());
    world.write_config(&(world.default_config() + &text));
    world.faults(&[]);
    pass.wait().expect_code(0);
    assert_eq!(kinds(&file), ["expired"]);
    assert!(!forged.exists());
}

/// Whatever directory the pass is run in: cron's is the home, a person's is any.
#[test]
fn a_command_that_is_a_path_is_beside_the_configuration() {
    let (world, file) = notified(&["./tell", "FILE"]);
    let tell = world.here.config_path().with_file_name("tell");
    fs::write(&tell, "#!/bin/sh\ncat >> \"$1\"\n").unwrap();
    fs::set_permissions(&tell, fs::Permissions::from_mode(0o700)).unwrap();
    let elsewhere = world.dir().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let wrong = elsewhere.join("tell");
    fs::write(&wrong, format!("#!/bin/sh\ntouch '{}'\n", world.dir().join("forged").display())).unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o700)).unwrap();
    start_id(&world.here, &["--only", "dev", "--duration", "5m"]);
    let line = format!("cd '{}' && '{}' reconcile", elsewhere.display(), env!("CARGO_BIN_EXE_eg"));
    world.here.command(&[]).in_bash(&line).run().expect_code(0);
    assert_eq!(kinds(&file), ["expiring"]);
    assert!(!world.dir().join("forged").exists());
}
