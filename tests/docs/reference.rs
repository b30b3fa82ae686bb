//! `docs/reference.md`: every command, made from what the program itself accepts and says in its help.

use super::is_as_made;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;

const HEAD: &str = "\
# Command reference

<!-- Made from the program by: EG_WRITE_DOCS=1 cargo test --test e2e docs:: -->

What every command is for and accepts, as `--help` says it, too. How they are used day by day: [everyday.md](everyday.md).
What `--output json` prints is described by the schemas that `eg schema NAME` prints.

";

#[test]
fn the_reference_is_made_from_the_program() {
    let mut eg = eg::inside::Cli::command().term_width(100);
    eg.build();
    let commands = below(&eg);
    let mut text = HEAD.to_owned();
    for command in &commands {
        let name = command.get_bin_name().unwrap();
        writeln!(text, "- [`{name}`](#{}): {}", name.replace(' ', "-"), command.get_about().unwrap()).unwrap();
    }
    text += "\n## Options of every command\n\n";
    text += &options(eg.get_arguments().filter(|arg| arg.is_global_set()));
    for command in commands {
        text += &page(command);
    }
    is_as_made("docs/reference.md", &text);
}

/// Every command that does something, in the order of the help.
fn below(command: &Command) -> Vec<&Command> {
    let seen = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    seen.flat_map(|sub| if sub.has_subcommands() { below(sub) } else { vec![sub] }).collect()
}

fn page(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about()).unwrap().to_string();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let own = |arg: &&Arg| !arg.is_global_set() && !arg.is_hide_set() && !is_for_help(arg);
    let mut text = format!("\n## `{}`\n\n{}\n", command.get_bin_name().unwrap(), markdown(&about));
    write!(text, "\n```text\n{usage}\n```\n").unwrap();
    let options = options(command.get_arguments().filter(own));
    if !options.is_empty() {
        write!(text, "\n{options}").unwrap();
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        write!(text, "\n```text\n{after}\n```\n").unwrap();
    }
    text
}

fn is_for_help(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

fn options<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    args.map(|arg| format!("- `{}`: {}\n", shape(arg), meaning(arg))).collect()
}

/// `-q`, `--quiet`, `--duration <D>`, `[ID]`.
fn shape(arg: &Arg) -> String {
    let short = arg.get_short().map(|letter| format!("-{letter}"));
    let long = arg.get_long().map(|name| format!("--{name}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let takes = arg.get_action().takes_values();
    let values = arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>"));
    let values = values.filter(|_| takes).collect::<Vec<_>>().join(" ");
    match (flags.is_empty(), values.is_empty()) {
        (true, _) if arg.is_required_set() => values,
        (true, _) => values.replace('<', "[").replace('>', "]"),
        (false, true) => flags.join(", "),
        (false, false) => format!("{} {values}", flags.join(", ")),
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = markdown(&help).replace("\n\n", " ");
    if !arg.get_action().takes_values() {
        return text;
    }
    let possible: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|v| format!("`{}`", v.get_name()))
        .collect();
    if !possible.is_empty() {
        write!(text, " ({})", possible.join(", ")).unwrap();
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() {
        write!(text, " [default: {}]", defaults.join(" ")).unwrap();
    }
    text
}

/// What stands in angle brackets would be taken for HTML.
fn markdown(text: &str) -> String {
    text.trim().replace('<', "&lt;")
}
