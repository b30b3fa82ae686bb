//! `eg session run`.

use super::{Signs, sessions};
use crate::{
    cli::session::{Tale, config_with_missing_group, error_of},
    harness::{Fault, Outcome, World},
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};

const EG: &str = env!("CARGO_BIN_EXE_eg");

/// `eg session run` of a shell script, with what a test adds.
fn args<'a>(more: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["session", "run", "--only", "prod-api-sg"], more, &["--", "sh", "-c", script]].concat()
}

#[track_caller]
fn closed(world: &World, before: &str) {
    assert_eq!(world.cloud.snapshot(), before, "everything is closed");
    let open = |session: &Value| session["status"] != "CANCELLED" && session["status"] != "EXPIRED";
    assert!(!sessions(world).iter().any(open), "{:#?}", sessions(world));
}

#[test]
fn a_command_runs_with_everything_open() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let inside = world.dir().join("inside.json");
    let script = format!(
        "'{EG}' --output json session get \"$EG_SESSION_ID\" > '{}'; echo out; echo err >&2; exit 7",
        inside.display()
    );
    let mut tale = Tale::new(&world.here);
    let args = args(&["--reason", "deploy 4.2"], &script);
    let outcome = world.eg(&args).expect_code(7);
    assert_eq!(outcome.stdout, "out\n", "the command's alone");
    tale.add(&args[..6], &outcome);
    tale.eg(&["-q", "session", "run", "--only", "prod", "--", "sh", "-c", "exit 0"]).expect_code(0);
    tale.end("run");
    let inside: Value = serde_json::from_str(&fs::read_to_string(inside).unwrap()).unwrap();
    assert_eq!((&inside["status"], &inside["reason"]), (&"ACTIVE".into(), &"deploy 4.2".into()));
    assert_eq!(inside["id"], sessions(&world)[1]["id"]);
    closed(&world, &before);
}

#[test]
fn however_the_command_ends_it_is_closed() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let text = world.dir().join("text");
    fs::write(&text, "no program").unwrap();
    let mut tale = Tale::new(&world.here);
    for (command, code) in [
        (vec!["sh", "-c", "exit 255"], 255),
        (vec!["sh", "-c", "kill -TERM $$"], 143),
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["no-such-program"], 127),
        (vec![&*text.to_string_lossy()], 126),
    ] {
        let args = [&["-q", "session", "run", "--only", "dev", "--"], &*command].concat();
        tale.eg(&args).expect_code(code);
        closed(&world, &before);
    }
    tale.eg(&["session", "run", "--only", "dev"]).expect_code(2);
    tale.eg(&["session", "run", "--only", "dev", "--"]).expect_code(2);
    tale.eg(&["session", "run", "--no-wait", "--", "true"]).expect_code(2);
    tale.end("run_ends");
    assert_eq!(sessions(&world).len(), 3, "what cannot be run opens nothing");
}

#[test]
fn what_cannot_be_opened_whole_is_closed_and_nothing_runs() {
    let world = World::new();
    world.write_config(&config_with_missing_group(&world));
    let before = world.cloud.snapshot();
    let marker = world.dir().join("ran");
    let touch = format!(": > '{}'", marker.display());
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "run", "--only", "prod", "--only", "bad", "--", "sh", "-c", &touch]).expect_code(1);
    closed(&world, &before);
    // And when it cannot be closed either.
    world.faults(&[Fault::deny("RevokeSecurityGroupIngress").dry_run(false)]);
    tale.eg(&["session", "run", "--only", "prod-db-sg", "--only", "bad", "--", "sh", "-c", &touch]).expect_code(3);
    tale.name(&marker.to_string_lossy(), "[MARKER]");
    tale.end("run_partial");
    assert!(!marker.exists(), "the command was not run");
    world.faults(&[]);
    world.eg(&["session", "stop"]).expect_code(0);
    closed(&world, &before);
}

/// What cannot be run is found out before anything is opened, looked up or recorded.
#[test]
fn a_command_that_is_not_there_opens_nothing() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let file = world.here.home().join("file");
    fs::write(&file, "text").unwrap();
    for (program, code, message) in [
        ("nosuchcmd", 127, "command not found: nosuchcmd"),
        ("./nosuchcmd", 127, "command not found: ./nosuchcmd"),
        ("./file", 126, "permission denied: ./file"),
        ("", 127, "command not found: \"\""),
    ] {
        let outcome = world.eg(&["session", "run", "--", program]).expect_code(code);
        assert_eq!(error_of(&outcome), message);
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.lines().count()), ("", 1), "{outcome}");
    }
    assert_eq!((world.calls().len(), world.here.state_path().exists()), (0, false));
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn a_close_that_fails_is_said_loudly() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.faults(&[Fault::deny("RevokeSecurityGroupIngress").dry_run(false)]);
    let mut tale = Tale::new(&world.here);
    tale.eg(&args(&["-q"], "exit 0")).expect_code(3);
    let script = world.dir().join("script");
    fs::write(&script, "#!/nowhere/at-all\n").unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    tale.eg(&["session", "run", "--only", "prod-db-sg", "--", &script.to_string_lossy()]).expect_code(3);
    tale.end("run_stays_open");
    let outcome = world.eg(&args(&["--output", "json"], "echo out")).expect_code(3);
    assert_eq!(outcome.stdout, "out\n");
    assert_eq!(outcome.json_lines().last().unwrap()["error"]["kind"], "still-open", "{outcome}");
    world.faults(&[]);
    world.eg(&["session", "stop", "--all"]).expect_code(0);
    closed(&world, &before);
}

fn session_of(outcome: &Outcome) -> Value {
    let lines = outcome.json_lines();
    let mut found = lines.iter().filter_map(|line| line.get("session"));
    let session = found.next().unwrap_or_else(|| panic!("no session in\n{outcome}")).clone();
    assert!(found.next().is_none(), "{outcome}");
    crate::harness::eg::assert_valid("session", &session);
    session
}

#[test]
fn json_goes_where_the_command_does_not_write() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let outcome = world.eg(&args(&["--output", "json"], "echo out; exit 5")).expect_code(5);
    assert_eq!(outcome.stdout, "out\n");
    let session = session_of(&outcome);
    assert_eq!((&session["status"], &session["endedReason"]), (&"CANCELLED".into(), &"MANUAL".into()));
    world.write_config(&config_with_missing_group(&world));
    let outcome = world.eg(&args(&["--only", "bad", "--output", "json"], "echo out")).expect_code(1);
    assert_eq!(outcome.stdout, "");
    assert_eq!(session_of(&outcome)["status"], "CANCELLED");
    assert_eq!(outcome.json_lines().last().unwrap()["error"]["kind"], "provider", "{outcome}");
    closed(&world, &before);
}

#[test]
fn signals_are_passed_on_and_then_it_is_closed() {
    let world = World::new();
    let before = world.cloud.snapshot();
    // Without a terminal, whoever sends SIGINT sends it to eg alone.
    for (signal, answer) in [("TERM", "exit 5"), ("HUP", "exit 6"), ("INT", "exit 8"), ("QUIT", "exit 9")] {
        let signs = Signs::new(&world);
        let script = signs.script(&format!("trap 'echo heard; {answer}' {signal}"), "exit 1");
        let running = world.here.command(&args(&[], &script)).spawn();
        signs.wait();
        assert_ne!(world.cloud.snapshot(), before, "open while it runs");
        running.signal(signal);
        let outcome = running.wait().expect_code(answer.rsplit(' ').next().unwrap().parse().unwrap());
        assert_eq!(outcome.stdout, "heard\n");
        closed(&world, &before);
        fs::remove_file(&signs.up).unwrap();
    }
    // One that does not answer ends by the signal.
    let signs = Signs::new(&world);
    let running = world.here.command(&args(&[], &signs.script("", "exit 1"))).spawn();
    signs.wait();
    running.signal("TERM");
    running.wait().expect_code(143);
    closed(&world, &before);
}

/// The pass that opens is stopped by the first signal; the session is closed all the same, and nothing is run.
#[test]
fn a_signal_while_it_opens_takes_it_back() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let marker = world.dir().join("ran");
    for signal in ["TERM", "INT"] {
        world.forget_calls();
        world.faults(&[Fault::hold("AuthorizeSecurityGroupIngress").dry_run(false)]);
        let running = world.here.command(&args(&[], &format!(": > '{}'", marker.display()))).spawn();
        running.wait_for_delayed("AuthorizeSecurityGroupIngress");
        running.signal(signal);
        running.hears();
        world.faults(&[]);
        let outcome = running.wait().expect_code(if signal == "INT" { 130 } else { 143 });
        assert_eq!(error_of(&outcome), "stopped by a signal; the session was closed again", "{outcome}");
        closed(&world, &before);
    }
    assert!(!marker.exists());
}

/// Closing goes on through a first signal.
#[test]
fn a_signal_while_it_closes_changes_nothing() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.faults(&[Fault::hold("RevokeSecurityGroupIngress").dry_run(false)]);
    let running = world.here.command(&args(&[], "exit 4")).spawn();
    running.wait_for_delayed("RevokeSecurityGroupIngress");
    running.signal("TERM");
    running.hears();
    world.faults(&[]);
    running.wait().expect_code(4);
    closed(&world, &before);
}

#[test]
fn what_was_ended_meanwhile_stays_as_it_is() {
    let world = World::new();
    let before = world.cloud.snapshot();
    // By its time, which another process noticed.
    let signs = Signs::new(&world);
    let running = world.here.command(&args(&["--duration", "1h"], &signs.script("", "exit 3"))).spawn();
    signs.wait();
    world.advance(3601);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    signs.go();
    let outcome = running.wait().expect_code(3);
    assert!(outcome.stderr.contains("warning: the session was over at "), "{outcome}");
    assert_eq!(sessions(&world)[0]["endedReason"], "EXPIRED");
    // By the command itself.
    let script = format!("'{EG}' session stop \"$EG_SESSION_ID\"");
    let outcome = world.eg(&args(&["-q"], &script)).expect_code(0);
    assert!(!outcome.stderr.contains("warning: the session was over"), "{outcome}");
    closed(&world, &before);
}

/// Then nothing closes but its time, or somebody.
#[test]
fn killed_it_leaves_the_session_on_record() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let signs = Signs::new(&world);
    let running = world.here.command(&args(&["--duration", "1h"], &signs.script("", "exit 0"))).spawn();
    signs.wait();
    running.signal("KILL");
    signs.go();
    assert_eq!(running.wait().code(), None);
    assert_eq!(sessions(&world)[0]["status"], "ACTIVE");
    world.advance(3601);
    world.eg(&["reconcile"]).expect_code(0);
    closed(&world, &before);
}

/// A session around it keeps what both want.
#[test]
fn what_another_session_holds_stays_open() {
    let world = World::new();
    let before = world.cloud.snapshot();
    world.eg(&["session", "start", "--only", "prod-api-sg"]).expect_code(0);
    let held = world.cloud.snapshot();
    world.eg(&args(&["--duration", "1h"], "exit 0")).expect_code(0);
    assert_eq!(world.cloud.snapshot(), held);
    world.eg(&["session", "stop"]).expect_code(0);
    closed(&world, &before);
}

/// On a terminal, Ctrl-C reaches the command from there, once; eg waits for it and closes. Standard input is the
/// command's.
#[test]
fn on_a_terminal() {
    let world = World::bare();
    let terminal = r#"
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen, keys = b"", [(b"ready", b"\x03"), (b"interrupted", b"word\n")]
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
    seen += data
    if keys and keys[0][0] in seen:
        os.write(fd, keys.pop(0)[1])
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(seen.decode())
print("status", status)
"#;
    let script = "trap 'count=x$count; echo interrupted' INT; echo ready; \
                  until read line; do :; done; echo \"$line $count\"; exit 9";
    let run = ["eg", "session", "run", "--ipv4", "203.0.113.42", "--", "sh", "-c", script];
    let args = [&["-q", "sandbox", "--", "python3", "-c", terminal], &run[..]].concat();
    let outcome = world.eg(&args).expect_code(0);
    assert!(outcome.stdout.contains("word x\r\n"), "interrupted once, and asked: {outcome}");
    assert!(outcome.stdout.contains("status 9\n") && outcome.stdout.contains("✓ Session closed"), "{outcome}");
}

#[test]
fn standard_input_is_the_commands() {
    let world = World::bare();
    let script = "echo word | eg -q session run --ipv4 203.0.113.42 -- cat && eg session list";
    let outcome = world.eg(&["-q", "sandbox", "--", "sh", "-c", script]).expect_code(0);
    assert!(outcome.stdout.starts_with("word\nID"), "{outcome}");
    assert!(outcome.stdout.contains("CANCELLED"), "{outcome}");
}

/// Files that options have named are those that the command's own `eg` finds, wherever it goes.
#[test]
fn files_that_options_name_are_the_commands_too() {
    let world = World::new();
    let (config, before) = (world.here.config_path(), world.cloud.snapshot());
    fs::rename(&config, world.here.home().join("mine.toml")).unwrap();
    let script = format!("cd / && '{EG}' session extend \"$EG_SESSION_ID\" --hours 1 >&2");
    let named = ["--config", "mine.toml", "--state", "own/state.db"];
    let outcome = world.eg(&[&named[..], &args(&["--duration", "1h"], &script)].concat()).expect_code(0);
    assert!(outcome.stderr.contains("✓ Session extended"), "{outcome}");
    assert!(!world.here.state_path().exists(), "{outcome}");
    assert_eq!(world.cloud.snapshot(), before, "everything is closed");
}
