//! `eg demo` and `eg sandbox`: what a newcomer sees, and that nothing of the machine is used or left behind.

use crate::{
    cli::session::{error_of, readable, snapshot},
    harness::{Outcome, World},
};
use regex::Regex;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// A machine on which `eg` was never used.
fn newcomer() -> World {
    World::bare()
}

/// The name of the person and machine that run the tests differ.
fn nameless(outcome: &Outcome) -> String {
    let text = readable(outcome);
    let described = Regex::new(r"eg \S+@\S+ session").unwrap().replace_all(&text, "eg USER@HOST session").into_owned();
    Regex::new(r"(?m)^(  User: +)\S+@\S+$").unwrap().replace_all(&described, "${1}USER@HOST").into_owned()
}

/// Every file under a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    all.sort();
    all
}

#[track_caller]
fn nothing_left(world: &World) {
    let left: Vec<_> = fs::read_dir(world.here.home().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Waits for a file that another process writes.
fn appears(path: &Path, wanted: impl Fn(&str) -> bool) -> String {
    let begin = Instant::now();
    loop {
        if let Ok(text) = fs::read_to_string(path)
            && wanted(&text)
        {
            return text;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{} never came", path.display());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn demo_shows_the_tour() {
    let world = newcomer();
    let outcome = world.eg(&["demo"]).expect_code(0);
    snapshot("demo", &nameless(&outcome));
    assert!(outcome.stdout.lines().all(|line| line.chars().count() <= 120), "{outcome}");
    nothing_left(&world);
    assert!(world.calls().is_empty(), "{:?}", world.calls());
}

#[test]
fn demo_in_json() {
    let world = newcomer();
    let outcome = world.eg(&["demo", "--output", "json"]).expect_code(0);
    assert_eq!(outcome.stderr, "");
    let demo = outcome.json_as("demo");
    assert_eq!(demo["asBefore"], true);
    let steps = demo["steps"].as_array().unwrap();
    let command = |step: &Value| step["command"].as_array().map(|words| words[1..3.min(words.len())].to_vec());
    let commands: Vec<_> = steps.iter().filter_map(command).collect();
    let wanted = [
        json!(["reconcile", "--timer"]),
        json!(["session", "start"]),
        json!(["session", "list"]),
        json!(["session", "get"]),
        json!(["session", "extend"]),
        json!(["reconcile"]),
        json!(["session", "stop"]),
    ];
    assert_eq!(commands, wanted.map(|words| words.as_array().unwrap().clone()));
    let open = |step: &Value| step["rules"].as_array().unwrap().len();
    assert_eq!(steps.iter().map(open).collect::<Vec<_>>(), [1, 1, 5, 5, 5, 5, 4, 5, 1], "as the sandbox counts");
    let start = &steps[2];
    assert!(start["stdout"].as_str().unwrap().ends_with("✓ Session is ACTIVE\n"), "{start:#}");
    assert!(start["stderr"].as_str().unwrap().starts_with("→ Starting session...\n"), "{start:#}");
    assert!(!outcome.stdout.contains("\\u001b"), "no colours");
    assert_eq!(steps[0]["rules"], steps.last().unwrap()["rules"]);
    nothing_left(&world);
}

#[test]
fn demo_in_colour() {
    let world = newcomer();
    let colour = world.eg(&["demo", "--color", "always"]).expect_code(0);
    assert!(colour.stdout.contains("\u{1b}[32mACTIVE\u{1b}[0m"), "the commands' own colours, too: {colour}");
    let stripped = Regex::new("\u{1b}\\[[0-9;]*m").unwrap().replace_all(&colour.stdout, "").into_owned();
    assert!(!stripped.contains('\u{1b}') && stripped.contains("✓ Session is ACTIVE\n"), "{colour}");
}

/// An environment in which nothing works, and in which everything that is used would show.
#[test]
fn demo_uses_nothing_of_the_environment() {
    let world = newcomer();
    let home = world.here.home();
    fs::create_dir_all(home.join(".aws")).unwrap();
    fs::write(home.join(".aws/config"), "[default]\nregion = [broken\n").unwrap();
    let before = files(home);
    let mut command = world.here.command(&["demo"]);
    for name in ["AWS_PROFILE", "AWS_ROLE_ARN", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_CONFIG_FILE", "NO_PROXY"] {
        command = command.env(name, "nonsense");
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "AWS_ENDPOINT_URL_EC2"] {
        command = command.env(name, "http://127.0.0.1:1");
    }
    for name in ["EG_CONFIG", "EG_STATE", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
        command = command.env(name, home.join("poison/file"));
    }
    let outcome = command.env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true").run().expect_code(0);
    assert!(!outcome.stdout.contains("nonsense") && !outcome.stdout.contains("warning"), "{outcome}");
    assert_eq!(files(home), before);
    assert!(world.calls().is_empty(), "{:?}", world.calls());

    world.here.command(&["demo"]).without("HOME").without("PATH").without("USER").run().expect_code(0);
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let world = newcomer();
    let file = world.dir().join("transcript");
    let running = world.here.command(&["demo"]).spawn_into(&file);
    appears(&file, |text| text.contains("\n1. "));
    running.signal("TERM");
    let outcome = running.wait();
    // On a machine under load the tour may be over before the signal comes.
    let expected = [(Some(143), "error: stopped by a signal; the sandbox and its files are gone\n"), (Some(0), "")];
    assert!(expected.contains(&(outcome.code(), outcome.stderr.as_str())), "{outcome}");
    nothing_left(&world);
}

#[test]
fn demo_and_sandbox_refuse_what_they_cannot_use() {
    let world = newcomer();
    for command in ["demo", "sandbox"] {
        for flag in ["--config", "--state"] {
            let outcome = world.eg(&[command, flag, "x"]).expect_code(2);
            assert!(error_of(&outcome).starts_with(&format!("{flag} does nothing for `eg {command}`")), "{outcome}");
        }
        let nowhere = world.here.command(&[command]).env("TMPDIR", "/nowhere").run().expect_code(1);
        assert!(error_of(&nowhere).starts_with("the sandbox cannot be started: /nowhere: "), "{nowhere}");
        let nowhere = world.here.command(&[command, "--output", "json"]).env("TMPDIR", "/nowhere").run();
        assert_eq!(nowhere.expect_code(1).json_lines()[0]["error"]["kind"], "sandbox");
    }
    world.eg(&["demo", "more"]).expect_code(2);
    let outcome = world.eg(&["sandbox", "sh", "-c", "exit 7"]).expect_code(2);
    assert!(outcome.stderr.contains("hint: the command comes after --, as in: eg sandbox -- sh"), "{outcome}");
    nothing_left(&world);
}

#[test]
fn sandbox_ends_as_its_command_does() {
    let world = newcomer();
    for (script, code) in [("exit 7", 7), ("exit 0", 0), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        world.eg(&["sandbox", "--", "sh", "-c", script]).expect_code(code);
    }
    for (program, code, why) in
        [("no-such-program", 127, "command not found"), ("/etc/passwd", 126, "permission denied")]
    {
        let outcome = world.eg(&["-q", "sandbox", "--", program]).expect_code(code);
        assert!(error_of(&outcome).starts_with(&format!("{why}: {program}")), "{outcome}");
        assert_eq!(outcome.stdout, "");
        let outcome = world.eg(&["--output", "json", "sandbox", "--", program]).expect_code(code);
        assert_eq!(outcome.json_lines()[0]["error"]["kind"], "command");
    }
    let outcome = world.eg(&["sandbox", "--", "echo", "--output", "json"]).expect_code(0);
    assert_eq!(outcome.stdout, "--output json\n", "what follows -- is the command's");
    nothing_left(&world);
}

/// The installation that runs the tests points at moto; inside, nothing of that is left.
#[test]
fn eg_works_inside_a_sandbox() {
    let world = newcomer();
    let program = env!("CARGO_BIN_EXE_eg");
    let start = world.eg(&["sandbox", "--", program, "session", "start", "--ipv4", "203.0.113.42"]).expect_code(0);
    assert!(start.stdout.ends_with("✓ Session is ACTIVE\n"), "{start}");
    assert!(start.stderr.contains("\nUsing endpoint http://127.0.0.1:"), "{start}");

    let script = "eg session start --ipv4 203.0.113.42 && eg session stop && eg session list";
    let mut command = world.here.command(&["sandbox", "--", "sh", "-c", script]);
    for name in ["AWS_PROFILE", "AWS_ENDPOINT_URL_EC2", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] {
        command = command.env(name, "true");
    }
    let outcome = command.env("HTTP_PROXY", "http://127.0.0.1:1").run().expect_code(0);
    assert!(outcome.stdout.contains("CANCELLED"), "{outcome}");
    assert!(world.calls().is_empty(), "{:?}", world.calls());
    assert!(!world.here.state_path().exists());
    nothing_left(&world);
}

#[test]
fn sandbox_without_a_command_serves_until_it_is_stopped() {
    let world = newcomer();
    let file = world.dir().join("exports");
    for (signal, code) in [("TERM", 0), ("INT", 0), ("HUP", 129)] {
        let running = world.here.command(&["sandbox"]).spawn_into(&file);
        let exports = appears(&file, |text| text.contains("export PATH=") && text.ends_with('\n'));
        assert!(exports.lines().all(|line| line.starts_with("export ") || line.starts_with("unset ")), "{exports}");
        let script = format!(". '{}' && eg -q session start --ipv4 203.0.113.42 && eg session list", file.display());
        let other = std::process::Command::new("sh")
            .args(["-c", &script])
            .env("AWS_PROFILE", "nonsense")
            .env("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:1")
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .output()
            .unwrap();
        assert!(other.status.success(), "{other:?}");
        assert!(String::from_utf8(other.stdout).unwrap().contains("ACTIVE"));
        running.signal(signal);
        let outcome = running.wait().expect_code(code);
        assert!(outcome.stderr.contains("eg session start --ipv4 203.0.113.42"), "{outcome}");
        nothing_left(&world);
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn sandbox_in_json() {
    let world = newcomer();
    let file = world.dir().join("sandbox.json");
    let command = world.here.command(&["--output", "json", "sandbox"]).env("NO_PROXY", "example.com");
    let running = command.spawn_into(&file);
    let text = appears(&file, |text| text.ends_with("}\n"));
    running.signal("TERM");
    assert_eq!(running.wait().expect_code(0).stderr, "");
    let sandbox: Value = serde_json::from_str(&text).unwrap();
    crate::harness::eg::assert_valid("sandbox", &sandbox);
    assert_eq!(sandbox["set"]["AWS_ENDPOINT_URL"], sandbox["endpoint"]);
    assert_eq!(sandbox["set"]["NO_PROXY"], "127.0.0.1,example.com");
    assert_eq!(sandbox["groups"].as_array().unwrap().len(), 3);
}

#[test]
fn signals_are_the_commands_to_answer() {
    let world = newcomer();
    let (up, go) = (world.dir().join("up"), world.dir().join("go"));
    let paths = format!("up='{}'; go='{}'", up.display(), go.display());
    let wait = "echo up > \"$up\"; while [ ! -e \"$go\" ]; do sleep 0.02; done; exit 3";

    let script = format!("{paths}; trap 'echo bye; exit 5' TERM; {wait}");
    let running = world.here.command(&["sandbox", "--", "sh", "-c", &script]).spawn();
    appears(&up, |text| text == "up\n");
    running.signal("TERM");
    let outcome = running.wait().expect_code(5);
    assert_eq!(outcome.stdout, "bye\n");
    nothing_left(&world);

    // A terminal sends Ctrl-C to the command as well; to send it again would be once too often.
    fs::remove_file(&up).unwrap();
    let running = world.here.command(&["sandbox", "--", "sh", "-c", &format!("{paths}; {wait}")]).spawn();
    appears(&up, |text| text == "up\n");
    running.signal("INT");
    running.signal("INT");
    fs::write(&go, "").unwrap();
    running.wait().expect_code(3);
    nothing_left(&world);
}
