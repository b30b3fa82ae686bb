//! `eg` opens cloud firewalls to your address for a limited time, and closes them again.
//!
//! This crate is the program: the command line, the reconcile driver, detection of the public address, and output.
//! `eg-model` decides, `eg-state` records, and `eg-providers` speaks to the clouds. See `docs/architecture.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod address;
mod checks;
mod cli;
mod commands;
mod demo;
mod error;
mod host;
mod reconcile;
mod schedule;
mod sweep;
mod targets;
mod ui;
mod usage;

pub use crate::{error::Exit, host::env::Env};

/// Parts that the tests of this repository use. Not an interface for others.
#[doc(hidden)]
pub mod inside {
    pub use crate::{cli::Cli, host::failpoints::Failpoints, ui::json::SCHEMAS};
    pub use eg_config::settings::{Settings, tables};
    pub use eg_model::net::agree::parse_answer;
}

use crate::{
    cli::Cli,
    commands::{completions::answer::answer, global::Output},
    host::{clock::Clock, signals::survive_file_size_limit},
    ui::{
        ascii::wants_ascii,
        color::{Color, colored},
        printer::{Printer, Style},
    },
};
use clap::{CommandFactory, Parser, error::ErrorKind};
use eg_model::text::escape_controls;
use std::{ffi::OsString, io::Write};
use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{format::Writer, time::FormatTime},
};

/// Runs one command line and returns its exit status.
pub fn run(env: &Env, out: Box<dyn Write>, err: Box<dyn Write>) -> Exit {
    survive_file_size_limit();
    if let Some(answer) = answer(env, Cli::command) {
        let style = Style { json: false, quiet: false, color_out: false, color_err: false };
        Printer::new(style, out, err).verbatim(&answer);
        return Exit::Done;
    }
    let json = wants_json(&env.args);
    let cli = match Cli::try_parse_from(&env.args) {
        Ok(cli) => cli,
        Err(error) => return refuse(env, &error, json, out, err),
    };
    let drawable = env.stderr_is_terminal && env.var("TERM") != Some("dumb");
    // Logs are not written through the printer, and would run into a bar.
    let printer = Printer::new(style(env, &cli), out, err)
        .in_ascii(wants_ascii(env))
        .with_bars(drawable && cli.global.verbose == 0);
    log(env, &cli);
    let exit = cli::run(env, &printer, &cli).unwrap_or_else(|error| {
        printer.error(&error);
        error.kind.exit()
    });
    if printer.failed() && exit == Exit::Done { Exit::Failed } else { exit }
}

/// True if the arguments ask for JSON. Read without the parser, since they may not parse.
fn wants_json(args: &[OsString]) -> bool {
    // Arguments after `--` belong to another program.
    let ours = || args.iter().take_while(|arg| *arg != "--");
    let names_output = |arg: &OsString| arg == "--output" || is_short_output(arg, "");
    let after = ours().zip(ours().skip(1)).any(|(a, b)| names_output(a) && b == "json");
    after || ours().any(|arg| arg == "--output=json" || is_short_output(arg, "json") || is_short_output(arg, "=json"))
}

/// True for `-o` followed by this value, also after flags without values (`-qo`).
fn is_short_output(arg: &OsString, value: &str) -> bool {
    let letters = arg.to_str().and_then(|arg| arg.strip_prefix('-')).and_then(|rest| rest.split_once('o'));
    letters.is_some_and(|(before, after)| before.bytes().all(|b| b"vq46".contains(&b)) && after == value)
}

/// The value of `--color`, read without the parser: help and usage errors come before its result.
fn color_in(args: &[OsString]) -> Color {
    let follows = args.iter().zip(args.iter().skip(1)).find(|(a, _)| *a == "--color").map(|(_, b)| b);
    let joined = || args.iter().find_map(|arg| arg.to_str()?.strip_prefix("--color="));
    match follows.and_then(|value| value.to_str()).or_else(joined) {
        Some("always") => Color::Always,
        Some("never") => Color::Never,
        _ => Color::Auto,
    }
}

/// Makes the arguments that the parser's text repeats safe to print.
fn args_escaped(args: &[OsString], text: String) -> String {
    let values =
        args.iter().filter_map(|arg| arg.to_str()).flat_map(|arg| [Some(arg), arg.split_once('=').map(|(_, v)| v)]);
    values.flatten().fold(text, |text, arg| match escape_controls(arg) {
        safe if safe != arg => text.replace(arg, &safe),
        _ => text,
    })
}

fn refuse(env: &Env, error: &clap::Error, json: bool, out: Box<dyn Write>, err: Box<dyn Write>) -> Exit {
    let asked = !error.use_stderr();
    let color = color_in(&env.args);
    let style = Style {
        json: json && !asked,
        quiet: false,
        color_out: colored(env, color, env.stdout_is_terminal),
        color_err: colored(env, color, env.stderr_is_terminal),
    };
    let printer = Printer::new(style, out, err).in_ascii(wants_ascii(env));
    if asked {
        printer.result(&error.render().ansi().to_string());
        return Exit::Done;
    }
    // Without a command, the user sees the list of commands.
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !json {
        printer.remark(error.render().ansi().to_string().trim_end());
    } else {
        printer.error(&usage::error(
            error,
            &args_escaped(&env.args, error.render().to_string()),
            &env.args,
            Cli::command(),
        ));
    }
    Exit::Usage
}

fn style(env: &Env, cli: &Cli) -> Style {
    Style {
        json: cli.global.output == Output::Json,
        quiet: cli.global.quiet,
        color_out: colored(env, cli.global.color, env.stdout_is_terminal),
        color_err: colored(env, cli.global.color, env.stderr_is_terminal),
    }
}

/// Stamps log lines by the program's own clock.
struct LogTime(Clock);

impl FormatTime for LogTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", (self.0)().format("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// `-v` logs actions, `-vv` every call. Only `eg` itself logs: the SDK's own logs may hold secrets.
fn log(env: &Env, cli: &Cli) {
    let level = match cli.global.verbose {
        0 => return,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let ours = tracing_subscriber::filter::Targets::new()
        .with_target("eg", level)
        .with_target("eg_state", level)
        .with_target("eg_providers", level);
    use tracing_subscriber::{Layer, layer::SubscriberExt, util::SubscriberInitExt};
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_timer(LogTime(env.clock()));
    let layer = if cli.global.output == Output::Json {
        format.json().with_filter(ours).boxed()
    } else {
        format.with_ansi(false).with_filter(ours).boxed()
    };
    // Fails only if a test has set a subscriber already, which then receives the logs.
    tracing_subscriber::registry().with(layer).try_init().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_heard_before_anything_is_parsed() {
        let asks = |line: &str| wants_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in ["eg --output json x", "eg --output=json", "eg -o json", "eg -ojson", "eg -o=json", "eg -qvo json"]
        {
            assert!(asks(line), "{line}");
        }
        for line in ["eg --output table json", "eg -o csv", "eg sandbox -- x -o json", "eg --onion json", "eg -x json"]
        {
            assert!(!asks(line), "{line}");
        }
    }
}
