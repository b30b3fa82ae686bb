//! `eg help [COMMAND]`: the same as `eg COMMAND --help`, for people who ask in that order.

use super::man::find;
use crate::{
    error::{CommandError, Exit},
    ui::printer::Printer,
};
use clap::{Args, Command};

/// Show the help of a command
#[derive(Debug, Args)]
#[command(after_help = "Example: eg help session start")]
pub struct HelpArgs {
    /// The command; without one, all of them are listed
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Shows the long help of a command.
///
/// # Errors
/// There is no such command.
pub fn run(printer: &Printer, args: &HelpArgs, eg: &Command) -> Result<Exit, CommandError> {
    let help = find(eg, &args.command)?.clone().render_long_help();
    // Help is text for people in every output format, as with `--help`.
    printer.verbatim(&if printer.has_colors() { help.ansi().to_string() } else { help.to_string() });
    Ok(Exit::Done)
}
