//! `eg man`: the manual pages.

use crate::{cli::session::error_of, harness::World};
use clap::{Command, CommandFactory};
use std::{collections::BTreeMap, fs, process};

/// The name of every page, with the words after `eg`.
fn names(command: &Command, words: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([(format!("eg{}.1", words.replace(' ', "-")), words.trim().to_owned())]);
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        all.extend(names(sub, &format!("{words} {}", sub.get_name())));
    }
    all
}

#[test]
fn a_page_for_each_command() {
    let world = World::bare();
    let dir = world.dir().join("man/man1");
    world.eg(&["man", "--dir", &dir.to_string_lossy()]).expect_code(0);
    let all = names(&eg::inside::Cli::command(), "");
    let mut written: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    written.sort();
    assert_eq!(written, all.keys().cloned().collect::<Vec<_>>());
    for (file, words) in &all {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        let words: Vec<&str> = words.split_whitespace().collect();
        assert_eq!(world.eg(&[&["man"], &words[..]].concat()).expect_code(0).stdout, text, "{file}");
        for section in ["NAME", "SYNOPSIS", "\"EXIT STATUS\"", "\"SEE ALSO\""] {
            assert!(text.contains(&format!(".SH {section}\n")), "{file}, {section}:\n{text}");
        }
        let title = format!(".TH {} 1 {} eg eg\n", file.trim_end_matches(".1"), env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&title), "{file}:\n{text}");
        assert!(text.contains(&file.trim_end_matches(".1").replace('-', "\\-")), "{file} names its command:\n{text}");
    }
    let text = fs::read_to_string(dir.join("eg.1")).unwrap();
    for part in [
        "\\-\\-lock\\-wait",
        "\\-\\-output",
        "eg\\-session(1)",
        "eg\\-status(1)",
        ".SH \"ENVIRONMENT\"\n",
        "\\fBEG_STATE\\fR",
        ".SH \"FILES\"\n",
        "\\fB/etc/eg/policy.toml\\fR",
        "eg\\-config(5)",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    well_formed(&dir, all.keys());
}

/// `eg-config(5)` names every key of the configuration, and goes where man looks for it.
#[test]
fn a_page_for_the_configuration() {
    let world = World::bare();
    let (man1, flat) = (world.dir().join("share/man/man1"), world.dir().join("pages"));
    for dir in [&man1, &flat] {
        world.eg(&["man", "--dir", &dir.to_string_lossy()]).expect_code(0);
    }
    let man5 = world.dir().join("share/man/man5");
    let text = fs::read_to_string(man5.join("eg-config.5")).unwrap();
    assert_eq!(fs::read_to_string(flat.join("eg-config.5")).unwrap(), text);
    assert!(!man1.join("eg-config.5").exists());
    assert_eq!(world.eg(&["man", "config"]).expect_code(0).stdout, text);
    assert!(text.starts_with(&format!(".TH eg-config 5 {} eg eg\n", env!("CARGO_PKG_VERSION"))), "{text}");
    let tables = eg::inside::tables();
    for (table, keys) in &tables {
        let is_table = |key: &str| tables.iter().any(|(name, _)| name.contains(&format!("{key}]")));
        assert!(table.is_empty() || text.contains(table.trim_matches(['[', ']'])), "{table}:\n{text}");
        for key in keys.iter().filter(|key| !is_table(key)) {
            assert!(text.contains(&format!("\n\\fB{key}\\fR\n")), "{table} {key}:\n{text}");
        }
    }
    well_formed(&man5, [&"eg-config.5".to_owned()].into_iter());
}

/// What a terminal shows of `eg man …`, with the programs of `path`.
fn on_terminal(path: &std::path::Path, words: &[&str]) -> String {
    let world = World::bare();
    let mut command = world.here.command(&[&["man"], words].concat()).env("PATH", path);
    for (name, value) in [("MANPAGER", "cat"), ("PAGER", "cat"), ("MANWIDTH", "80"), ("TERM", "xterm")] {
        command = command.env(name, value);
    }
    let left = command.on_terminal(400, 100).wait();
    assert_eq!(left.code, Some(0));
    left.screen.contents()
}

/// `man` shows the page; where there is none, the help and the sections do.
#[test]
fn a_page_on_a_terminal() {
    let nothing = tempfile::tempdir().unwrap();
    let without = on_terminal(nothing.path(), &["session", "start"]);
    assert!(without.contains("Usage: eg session start") && without.contains("EXIT STATUS:"), "{without}");
    let config = on_terminal(nothing.path(), &["config"]);
    assert!(config.contains("max_duration") && !config.contains(".TH"), "{config}");
    if !std::path::Path::new("/usr/bin/man").exists() {
        eprintln!("NOT CHECKED: there is no man on this machine");
        return;
    }
    let with = on_terminal(std::path::Path::new("/usr/bin:/bin"), &["session", "start"]);
    assert!(with.contains("EXIT STATUS") && !with.contains(".SH") && !with.contains("EXIT STATUS:"), "{with}");
}

/// As `mandoc` and `man` see it, where this machine has them.
fn well_formed<'f>(dir: &std::path::Path, files: impl Iterator<Item = &'f String>) {
    for file in files {
        let path = dir.join(file);
        let checks: [(&str, &[&str]); 2] =
            [("mandoc", &["-T", "lint", "-W", "error"]), ("man", &["--warnings", "-E", "UTF-8", "-l"])];
        for (program, args) in checks {
            let Ok(output) = process::Command::new(program).args(args).arg(&path).env("MANPAGER", "cat").output()
            else {
                continue;
            };
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{program} {file}: {said}");
        }
    }
}

#[test]
fn what_is_not_there_is_said() {
    let world = World::bare();
    let unknown = world.eg(&["man", "session", "sart"]).expect_code(2);
    let said = error_of(&unknown);
    assert!(said.starts_with("`eg session` has no command \"sart\"; there are: start, "), "{said}");
    let below = world.eg(&["man", "status", "now"]).expect_code(2);
    assert_eq!(error_of(&below), "`eg status` has no command \"now\" below it");
    let file = world.dir().join("file");
    fs::write(&file, "").unwrap();
    let refused = world.eg(&["man", "--dir", &file.to_string_lossy()]).expect_code(1);
    assert!(error_of(&refused).contains("cannot be written: "), "{refused}");
}
