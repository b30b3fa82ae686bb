//! `docs/recipes.md`: what it says to type is what `eg` takes, and does what it says.

use super::sessions;
use crate::harness::World;
use regex::Regex;
use std::{fs, process::Command};

const RECIPES: &str = include_str!("../../../docs/recipes.md");

/// The `eg` commands in its code blocks, without what stands after `--`.
fn commands() -> Vec<Vec<String>> {
    let blocks = RECIPES.split("```").skip(1).step_by(2);
    let pattern = Regex::new(r#"\beg ((?:-q )?(?:session|schedule) [^\n]*)"#).unwrap();
    let words = Regex::new(r#""[^"]*"|[^\s"]+"#).unwrap();
    let mut all = Vec::new();
    for block in blocks {
        for found in pattern.captures_iter(&block.replace("${{ github.run_id }}", "1")) {
            let typed = found[1].split(" -- ").next().unwrap().trim_end().to_owned();
            // In an ssh configuration the whole command is quoted.
            let typed = if typed.matches('"').count() % 2 == 1 { typed.replace('"', "") } else { typed };
            all.push(words.find_iter(&typed).map(|word| word.as_str().trim_matches('"').to_owned()).collect());
        }
    }
    all
}

#[test]
fn every_command_is_accepted() {
    let world = World::bare();
    let commands = commands();
    assert!(commands.len() >= 9, "{commands:?}");
    for words in commands {
        // ssh puts the host that it is going to in the place of these.
        let words: Vec<String> = words.iter().map(|word| word.replace("%h:%p", "bastion.example.com:22")).collect();
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        // Help comes last, when everything before it was accepted.
        args.push("--help");
        world.eg(&args).expect_code(0);
    }
}

/// The real `ssh`, which prints what it would do, and runs what `Match` says for that.
#[test]
fn ssh_opens_before_it_connects() {
    if Command::new("ssh").arg("-V").output().is_err() {
        return; // A machine without ssh.
    }
    let world = World::bare();
    let block = RECIPES.split("```").nth(1).unwrap();
    let own = "--ipv4 203.0.113.42";
    let config = block.replace("--only bastion", own);
    assert!(config.contains(own), "{block}");
    let path = world.dir().join("ssh_config");
    fs::write(&path, config).unwrap();
    let ssh = format!("ssh -G -F '{}'", path.display());
    let script = format!(
        "{ssh} bastion.example.com | grep '^user ' && {ssh} other.example.com | grep -v '^user alice' > /dev/null && \
         {ssh} bastion.example.com > /dev/null && eg session list"
    );
    let outcome = world.here.command(&["-q", "sandbox", "--", "sh", "-c", &script]).env("SHELL", "/bin/sh").run();
    let outcome = outcome.expect_code(0);
    assert!(outcome.stdout.starts_with("user alice\nID "), "{outcome}");
    assert_eq!(outcome.stdout.matches("ACTIVE").count(), 1, "one session for both: {outcome}");
    assert_eq!(sessions(&world).len(), 0, "all in the sandbox");
}
