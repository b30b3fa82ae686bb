//! The options that every command has.

use crate::{
    error::{CommandError, Kind},
    ui::color::Color,
};
use clap::{Args, ValueEnum};
use eg_model::time::duration::parse_seconds;
use std::{path::PathBuf, time::Duration};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The configuration file [default: $EG_CONFIG, else config.toml in the user's configuration directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The state file [default: $EG_STATE, else state.db in the user's state directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// How long to wait for another running eg (0s to 3600s)
    #[arg(long, global = true, value_name = "D", default_value = "30s", value_parser = |text: &str| parse_seconds(text, 0..=3600))]
    pub lock_wait: Duration,
    /// Say more on stderr: -v what is done, -vv every call
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say less on stderr: results, warnings and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// The format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document on stdout, JSON Lines on stderr.
    Json,
    /// For spreadsheets: the rows of `eg log`, and of nothing else.
    Csv,
}

impl Global {
    /// Refuses `--config` and `--state` for a command that makes a configuration and a state of its own.
    pub fn no_files_named(&self, command: &str) -> Result<(), CommandError> {
        let named = [("--config", &self.config), ("--state", &self.state)];
        match named.into_iter().find(|(_, path)| path.is_some()) {
            None => Ok(()),
            Some((flag, _)) => {
                let message = format!(
                    "{flag} does nothing for `eg {command}`, which makes a configuration and a state of its own"
                );
                Err(CommandError::new(Kind::Usage, message))
            }
        }
    }
}
