//! `eg man`.

use crate::{
    cli::Cli,
    env::Env,
    error::{CommandError, Exit, Kind},
    output::printer::Printer,
};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

/// Print a manual page, or write one for each command
///
/// Without a command: the page of eg itself. With --dir: every page, each into a file of that directory, which is made
/// where it is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eg man session start | man -l -
  eg man --dir ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Command to document
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<OsString>,
    /// Write every page into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints a page, or writes all.
///
/// # Errors
/// There is no such command, or the directory cannot be written.
pub fn run(env: &Env, printer: &Printer, args: &ManArgs) -> Result<Exit, CommandError> {
    let mut eg = Cli::command();
    eg.build();
    match &args.dir {
        Some(dir) => write_all(&eg, &env.absolute(dir), printer)?,
        None => printer.verbatim(&page(find(&eg, &args.command)?).map_err(unwritten)?),
    }
    Ok(Exit::Done)
}

/// The command that some words name.
pub(super) fn find<'c>(eg: &'c Command, words: &[OsString]) -> Result<&'c Command, CommandError> {
    let below = |command: &'c Command, word: &OsString| {
        let all = || {
            command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .map(Command::get_name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let name = command.get_bin_name().unwrap_or("eg");
        let shown = word.to_string_lossy();
        let none = || match all() {
            known if known.is_empty() => format!("`{name}` has no command \"{shown}\" below it"),
            known => format!("`{name}` has no command \"{shown}\"; there are: {known}"),
        };
        command.find_subcommand(word).ok_or_else(|| CommandError::new(Kind::Usage, none()))
    };
    words.iter().try_fold(eg, below)
}

fn page(command: &Command) -> io::Result<String> {
    let mut text = Vec::new();
    // The foot has a place for a date; the version says more, and is the same wherever this is built.
    let version = command.get_version().unwrap_or(env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).date(version).source("eg").manual("eg").render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn write_all(eg: &Command, dir: &Path, printer: &Printer) -> Result<(), CommandError> {
    let failed = |path: &Path, error: io::Error| {
        CommandError::new(Kind::Refused, format!("{} cannot be written: {error}", path.display()))
            .hint("name a directory of your own with --dir")
    };
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    for command in with_all_below(eg) {
        let path = dir.join(format!("{}.1", command.get_display_name().unwrap_or("eg")));
        let written = page(command).and_then(|text| std::fs::write(&path, text));
        written.map_err(|error| failed(&path, error))?;
        printer.progress(&format!("→ {}", path.display()));
    }
    Ok(())
}

/// A command and every one below it that people see.
fn with_all_below(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|sub| !sub.is_hide_set()).flat_map(with_all_below);
    std::iter::once(command).chain(below).collect()
}

fn unwritten(error: io::Error) -> CommandError {
    CommandError::new(Kind::Refused, format!("the page cannot be made: {error}"))
}
