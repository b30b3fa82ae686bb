//! `eg man`: the manual pages.

use crate::{harness::World, session::error_of};
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
    let all = names(&eg::cli::Cli::command(), "");
    let mut written: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    written.sort();
    assert_eq!(written, all.keys().cloned().collect::<Vec<_>>());
    for (file, words) in &all {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        let words: Vec<&str> = words.split_whitespace().collect();
        assert_eq!(world.eg(&[&["man"], &words[..]].concat()).expect_code(0).stdout, text, "{file}");
        assert!(text.contains(".SH NAME\n") && text.contains(".SH SYNOPSIS\n"), "{file}:\n{text}");
        let title = format!(".TH {} 1 {} eg eg\n", file.trim_end_matches(".1"), env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&title), "{file}:\n{text}");
        assert!(text.contains(&file.trim_end_matches(".1").replace('-', "\\-")), "{file} names its command:\n{text}");
    }
    for option in ["\\-\\-lock\\-wait", "\\-\\-output", "eg\\-session(1)", "eg\\-status(1)"] {
        let text = fs::read_to_string(dir.join("eg.1")).unwrap();
        assert!(text.contains(option), "{option}:\n{text}");
    }
    well_formed(&dir, all.keys());
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
