//! `eg` opens cloud firewalls to your address for a limited time, and closes them again.
//!
//! This crate is the program: the command line, the reconcile driver, detection of the public address, and output.
//! What is decided is decided in `eg-model`; what is recorded is recorded in `eg-state`; how a cloud is spoken to is
//! known to `eg-providers`. See `docs/architecture.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod cli;
pub mod commands;
pub mod detect;
pub mod env;
pub mod error;
pub mod lock;
pub mod output;
pub mod paths;
pub mod reconcile;
pub mod retry;
pub mod schedule;
pub mod settings;
pub mod signals;

use clap::Parser;
use cli::{Cli, Color, Output};
use env::Env;
use error::{CommandError, Exit, Kind};
use output::printer::{Printer, Style};
use std::{ffi::OsString, io::Write};
use tracing_subscriber::{filter::LevelFilter, fmt::format::Writer, fmt::time::FormatTime};

/// Runs one command line and returns its exit status.
pub fn run(env: &Env, out: Box<dyn Write>, err: Box<dyn Write>) -> Exit {
    let json = wants_json(&env.args);
    let cli = match Cli::try_parse_from(&env.args) {
        Ok(cli) => cli,
        Err(error) => return usage(env, &error, json, out, err),
    };
    let printer = Printer::new(style(env, &cli), out, err);
    log(env, &cli);
    let exit = commands::run(env, &printer, &cli).unwrap_or_else(|error| {
        printer.error(&error);
        error.kind.exit()
    });
    if printer.failed() && exit == Exit::Done { Exit::Failed } else { exit }
}

/// Whether the arguments ask for JSON, read without a parser: they may not parse.
fn wants_json(args: &[OsString]) -> bool {
    let after = args.iter().zip(args.iter().skip(1)).any(|(a, b)| a == "--output" && b == "json");
    after || args.iter().any(|arg| arg == "--output=json")
}

fn usage(env: &Env, error: &clap::Error, json: bool, out: Box<dyn Write>, err: Box<dyn Write>) -> Exit {
    let asked = !error.use_stderr();
    let style = Style {
        json: json && !asked,
        quiet: false,
        color_out: env.stdout_is_terminal,
        color_err: env.stderr_is_terminal,
    };
    let printer = Printer::new(style, out, err);
    if asked {
        printer.result(&error.render().ansi().to_string());
        return Exit::Done;
    }
    if json {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ").to_owned();
        printer.error(&CommandError::new(Kind::Usage, message));
    } else {
        printer.remark(error.render().ansi().to_string().trim_end());
    }
    Exit::Usage
}

fn style(env: &Env, cli: &Cli) -> Style {
    let allowed = env.var("NO_COLOR").is_none() && env.var("TERM") != Some("dumb");
    let color = |terminal: bool| match cli.global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && allowed,
    };
    Style {
        json: cli.global.output == Output::Json,
        quiet: cli.global.quiet,
        color_out: color(env.stdout_is_terminal),
        color_err: color(env.stderr_is_terminal),
    }
}

/// Logs carry the program's own clock.
struct LogTime(env::Clock);

impl FormatTime for LogTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", (self.0)().format("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// `-v` shows what is done, `-vv` every call; only of `eg` itself: the SDK's own logs may hold what must not leak.
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
    // Fails only where a test has set a subscriber already; then that one hears it.
    tracing_subscriber::registry().with(layer).try_init().ok();
}
