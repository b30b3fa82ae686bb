//! What shells are told while somebody types.

use crate::{
    cli::session::{error_of, start_id},
    harness::World,
};
use std::process::{Command, Output, Stdio};

/// The answer to a shell, for the last of these words.
fn answer(world: &World, shell: &str, words: &[&str]) -> String {
    let args = [&["--", "eg"], words].concat();
    let index = (args.len() - 2).to_string();
    let asks = world.here.command(&args).env("EG_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", index);
    let outcome = asks.env("_CLAP_IFS", "\n").run().expect_code(0);
    assert_eq!(outcome.stderr, "", "silent");
    outcome.stdout
}

fn offered(world: &World, words: &[&str]) -> Vec<String> {
    answer(world, "bash", words).lines().map(str::to_owned).collect()
}

#[test]
fn commands_and_options() {
    let world = World::new();
    assert_eq!(offered(&world, &["sess"]), ["session"]);
    assert_eq!(offered(&world, &["session", "st"]), ["start", "stop"]);
    assert!(offered(&world, &["session", "start", "--"]).contains(&"--duration".to_owned()));
    assert_eq!(offered(&world, &["completions", ""])[..4], ["bash", "zsh", "fish", "powershell"]);
    assert_eq!(offered(&world, &["--output", "c"]), ["csv"]);
}

#[test]
fn sessions_and_resources_of_this_machine() {
    let world = World::new();
    let stopped = start_id(&world.here, &["--no-wait", "--only", "dev"]);
    world.eg(&["session", "stop"]).expect_code(0);
    world.advance(60);
    let live = start_id(&world.here, &["--no-wait", "--only", "dev"]);
    let short = |id: &str| id[..8].to_owned();
    for (words, expected) in [
        (&["session", "get", ""][..], vec![short(&live), short(&stopped)]),
        (&["log", "--session", ""], vec![short(&live), short(&stopped)]),
        (&["session", "stop", ""], vec![short(&live)]),
        (&["session", "extend", ""], vec![short(&live)]),
        (&["session", "stop", &live[..5]], vec![short(&live)]),
        (
            &["session", "start", "--only", ""],
            ["dev", "dev-web-sg", "prod", "prod-api-sg", "prod-db-sg"].map(str::to_owned).to_vec(),
        ),
        (&["iam-policy", "--only", "prod-a"], vec!["prod-api-sg".to_owned()]),
        (&["resource", "remove", "d"], vec!["dev-web-sg".to_owned()]),
        (&["resource", "verify", "d"], ["dev", "dev-web-sg"].map(str::to_owned).to_vec()),
        (&["session", "list", "--status", "EXP"], ["EXPIRING", "EXPIRED"].map(str::to_owned).to_vec()),
        (&["schema", "sess"], ["session", "sessions"].map(str::to_owned).to_vec()),
    ] {
        let mut found = offered(&world, words);
        found.retain(|word| !word.starts_with('-'));
        assert_eq!(found, expected, "{words:?}");
    }
    let told = answer(&world, "fish", &["session", "stop", ""]);
    assert!(told.contains(&format!("{}\tPENDING, 8h 0m", short(&live))), "{told}");
    // Files that are named in the line are those that count.
    let elsewhere = world.dir().join("other");
    let config = elsewhere.join("config.toml");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::fs::write(&config, World::resource("other-sg", "sg-0123456789abcdef0", "eu-west-1", &["tcp/22"], "")).unwrap();
    let (config, state) = (config.to_string_lossy(), elsewhere.join("x.db").to_string_lossy().into_owned());
    let only = offered(&world, &["--config", &config, "session", "start", "--only", "o"]);
    assert_eq!(only, ["other-sg"]);
    assert_eq!(offered(&world, &[&format!("--state={state}"), "session", "stop", &live[..4]]), Vec::<String>::new());
    assert!(!elsewhere.join("x.db").exists(), "asking makes nothing");
}

/// A completion goes into the line as it is, and the next Enter runs the line.
#[test]
fn no_word_is_offered_that_a_shell_would_look_into() {
    let world = World::new();
    let group = world.group("prod-api-sg").to_owned();
    let names = ["plain", "p $(touch hit)", "p`id`", "p;id", "p'q", "p*", "p\\u200bq"];
    let entries: String =
        names.iter().map(|name| World::resource(name, &group, "eu-west-1", &["tcp/22"], "")).collect();
    world.write_config(&(world.config_head() + &entries));
    for shell in ["bash", "zsh", "fish"] {
        let told = answer(&world, shell, &["session", "start", "--only", "p"]);
        assert!(told.starts_with("plain") && told.lines().count() == 1, "{shell}: {told}");
    }
}

#[test]
fn whatever_is_wrong_is_silent() {
    let world = World::new();
    assert_eq!(offered(&world, &["session", "get", "a"]), Vec::<String>::new());
    assert!(!world.here.state_path().parent().unwrap().exists(), "asking makes nothing");
    start_id(&world.here, &["--no-wait", "--only", "dev"]);
    world.write_config("[[[");
    std::fs::write(world.here.state_path(), "this is not a database, but long enough to look like one at first")
        .unwrap();
    for words in [&["session", "get", "a"][..], &["session", "start", "--only", "p"], &["nonsense", "x"]] {
        assert_eq!(offered(&world, words), Vec::<String>::new(), "{words:?}");
    }
    let other = world.here.command(&["session", "list", "--output", "json"]).env("EG_COMPLETE", "bash").run();
    assert!(!other.stderr.is_empty(), "a variable that was left behind changes no command");
}

/// Runs a script in a shell, where this machine has it.
fn in_shell(world: &World, shell: &str, args: &[&str], script: &str) -> Option<Output> {
    let found = Command::new(shell).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.ok()?;
    let program = env!("CARGO_BIN_EXE_eg");
    let dir = std::path::Path::new(program).parent().unwrap().to_string_lossy().into_owned();
    let output = Command::new(shell)
        .args(args)
        .arg(script)
        .env("PATH", format!("{dir}:/usr/bin:/bin"))
        .env("HOME", world.here.home())
        .env("XDG_STATE_HOME", world.here.home().join("state"))
        .env("XDG_CONFIG_HOME", world.here.home().join("config"))
        .env("EG_MACHINE", "test-machine")
        .output();
    Some(output.unwrap())
}

#[track_caller]
fn completes(world: &World, shell: &str, args: &[&str], script: &str, id: &str) {
    let Some(output) = in_shell(world, shell, args, script) else { return };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{shell}: {out}\n{err}");
    assert!(out.contains(&id[..8]), "{shell}: {out}");
}

#[test]
fn bash_completes() {
    let world = World::new();
    let id = start_id(&world.here, &["--no-wait", "--only", "dev"]);
    let script = "source <(eg completions bash); COMP_WORDS=(eg session stop ''); COMP_CWORD=3; COMP_TYPE=9; \
                  _clap_complete_eg eg '' stop; echo \"${COMPREPLY[*]}\"";
    assert!(in_shell(&world, "bash", &["-c"], "true").is_some(), "bash is needed");
    completes(&world, "bash", &["--norc", "-c"], script, &id);
}

/// Each shell that this machine has loads its script, and completes a command.
#[test]
fn every_shell_completes_a_command() {
    let world = World::new();
    let zsh = "compdef() { :; }; _describe() { print -rl -- ${(P)@[-1]} }; source <(eg completions zsh); \
               words=(eg sess); CURRENT=2; _clap_dynamic_completer_eg";
    for (shell, args, script) in [
        ("zsh", &["-f", "-c"][..], zsh),
        ("fish", &["--no-config", "-c"], "eg completions fish | source; complete -C 'eg sess'"),
    ] {
        let Some(output) = in_shell(&world, shell, args, script) else { continue };
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && err.is_empty() && out.contains("session"), "{shell}: {out}\n{err}");
    }
}

/// bash takes the answer apart by itself.
#[test]
fn bash_tells_candidates_apart() {
    let world = World::new();
    let script = "source <(eg completions bash); COMP_WORDS=(eg session st); COMP_CWORD=2; COMP_TYPE=9; \
                  _clap_complete_eg eg st session; printf '%s,' \"${#COMPREPLY[@]}\" \"${COMPREPLY[@]}\"";
    let output = in_shell(&world, "bash", &["--norc", "-c"], script).expect("bash is needed");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2,start,stop,");
}

#[test]
fn zsh_completes() {
    let world = World::new();
    let id = start_id(&world.here, &["--no-wait", "--only", "dev"]);
    // What `_describe` would get, without a terminal.
    let script = "compdef() { :; }; _describe() { print -rl -- ${(P)@[-1]} }; \
                  source <(eg completions zsh); words=(eg session stop ''); CURRENT=4; _clap_dynamic_completer_eg";
    completes(&world, "zsh", &["-f", "-c"], script, &id);
}

#[test]
fn fish_completes() {
    let world = World::new();
    let id = start_id(&world.here, &["--no-wait", "--only", "dev"]);
    completes(
        &world,
        "fish",
        &["--no-config", "-c"],
        "eg completions fish | source; complete -C 'eg session stop '",
        &id,
    );
}

#[test]
fn powershell_completes() {
    let world = World::new();
    let id = start_id(&world.here, &["--no-wait", "--only", "dev"]);
    let script = "eg completions powershell | Out-String | Invoke-Expression; \
                  $line = 'eg session stop '; (TabExpansion2 $line $line.Length).CompletionMatches.CompletionText";
    completes(&world, "pwsh", &["-NoProfile", "-Command"], script, &id);
}

#[test]
fn a_script_for_each_shell() {
    let world = World::new();
    for (shell, part) in [
        ("bash", "complete -o nospace"),
        ("zsh", "#compdef eg"),
        ("fish", "complete --keep-order"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let outcome = world.eg(&["completions", shell]).expect_code(0);
        assert!(outcome.stdout.contains(part) && outcome.stdout.contains(env!("CARGO_BIN_EXE_eg")), "{outcome}");
        assert!(outcome.stdout.contains("EG_COMPLETE") && outcome.stderr.is_empty(), "{outcome}");
        assert_eq!(world.eg(&["completions", shell, "--output", "json"]).expect_code(0).stdout, outcome.stdout);
    }
    assert!(error_of(&world.eg(&["completions", "csh"]).expect_code(2)).contains("csh"));
}
