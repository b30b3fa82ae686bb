//! `eg man`.

pub mod config;
pub mod docs;
pub mod sections;
pub mod show;

use crate::{
    error::{CommandError, Exit, Kind},
    host::env::Env,
    ui::printer::Printer,
};
use clap::Command;
use clap_mangen::Man;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Show a manual page, or write all of them
///
/// Without a command: the page of eg itself; `eg man config`: the page of the configuration file. On a terminal the page
/// is shown by man, elsewhere it is printed as man reads it. With --dir: every page, each into a file of that
/// directory, which is made where it is missing; beside a directory man1, the page of the file goes to man5.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eg man session start
  eg man config
  eg man --dir ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Command to show, or `config`
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// Write every page into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

struct ManPage {
    file: String,
    source: String,
    /// As a person reads it where there is no man.
    text: String,
}

/// Shows or prints a page, or writes all.
///
/// # Errors
/// There is no such command, or the directory cannot be written.
pub fn run(env: &Env, printer: &Printer, args: &ManArgs, eg: &Command) -> Result<Exit, CommandError> {
    if let Some(dir) = &args.dir {
        write_all(eg, &env.absolute(dir), printer)?;
        return Ok(Exit::Done);
    }
    let page = match args.command.as_slice() {
        [word] if word == config::NAME => config::page(&version(eg)),
        words => page(find(eg, words)?).map_err(unwritten)?,
    };
    if env.stdout_is_terminal && !printer.is_json() {
        show::on_terminal(env, printer, &page)?;
    } else {
        printer.verbatim(&page.source);
    }
    Ok(Exit::Done)
}

/// The command that some words name.
pub(super) fn find<'c>(eg: &'c Command, words: &[String]) -> Result<&'c Command, CommandError> {
    let below = |command: &'c Command, word: &String| {
        let all = || {
            command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .map(Command::get_name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let name = command.get_bin_name().unwrap_or("eg");
        let none = || match all() {
            known if known.is_empty() => format!("`{name}` has no command \"{word}\" below it"),
            known => format!("`{name}` has no command \"{word}\"; there are: {known}"),
        };
        command.find_subcommand(word).ok_or_else(|| CommandError::new(Kind::Usage, none()))
    };
    words.iter().try_fold(eg, below)
}

fn version(command: &Command) -> String {
    command.get_version().unwrap_or(env!("CARGO_PKG_VERSION")).to_owned()
}

fn page(command: &Command) -> io::Result<ManPage> {
    let name = command.get_display_name().unwrap_or("eg");
    // The foot has a place for a date; the version says more, and is the same wherever this is built.
    let man = Man::new(command.clone()).date(version(command)).source("eg").manual("eg");
    let mut source = Vec::new();
    man.render_title(&mut source)?;
    man.render_name_section(&mut source)?;
    man.render_synopsis_section(&mut source)?;
    man.render_description_section(&mut source)?;
    man.render_options_section(&mut source)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut source)?;
    }
    let mut source = String::from_utf8_lossy(&source).into_owned();
    if command.get_after_long_help().or(command.get_after_help()).is_some() {
        let mut extra = Vec::new();
        man.render_extra_section(&mut extra)?;
        source += &String::from_utf8_lossy(&extra).replacen(".SH EXTRA\n", ".SH EXAMPLES\n", 1);
    }
    let sections = sections::of_command(name);
    source.extend(sections.iter().map(sections::ManSection::roff));
    let help = command.clone().render_long_help().ansi().to_string();
    let text = sections.iter().fold(help, |text, section| text + "\n" + &section.plain());
    Ok(ManPage { file: format!("{name}.1"), source, text })
}

fn write_all(eg: &Command, dir: &Path, printer: &Printer) -> Result<(), CommandError> {
    let failed = |path: &Path, error: io::Error| {
        CommandError::new(Kind::Refused, format!("{} cannot be written: {error}", path.display()))
            .hint("name a directory of your own with --dir")
    };
    let write = |dir: &Path, page: &ManPage| {
        let path = dir.join(&page.file);
        std::fs::write(&path, &page.source).map_err(|error| failed(&path, error))?;
        printer.progress(&format!("→ {}", path.display()));
        Ok(())
    };
    let for_files = if dir.ends_with("man1") { dir.with_file_name("man5") } else { dir.to_owned() };
    for dir in [dir, &for_files] {
        std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    }
    for command in with_all_below(eg) {
        write(dir, &page(command).map_err(unwritten)?)?;
    }
    write(&for_files, &config::page(&version(eg)))
}

/// A command and every one below it that people see.
fn with_all_below(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|sub| !sub.is_hide_set()).flat_map(with_all_below);
    std::iter::once(command).chain(below).collect()
}

fn unwritten(error: io::Error) -> CommandError {
    CommandError::new(Kind::Refused, format!("the page cannot be made: {error}"))
}
