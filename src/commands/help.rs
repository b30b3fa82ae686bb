//! `eg help [COMMAND]`: the same as `eg COMMAND --help`.

use super::man::find;
use crate::{
    cli::{Cli, HelpArgs},
    error::{CommandError, Exit},
    ui::printer::Printer,
};
use clap::CommandFactory;

pub fn run(printer: &Printer, args: &HelpArgs) -> Result<Exit, CommandError> {
    let mut eg = Cli::command();
    eg.build();
    let help = find(&eg, &args.command)?.clone().render_long_help();
    // Help is text for people in every output format, as with `--help`.
    printer.verbatim(&if printer.has_colors() { help.ansi().to_string() } else { help.to_string() });
    Ok(Exit::Done)
}
