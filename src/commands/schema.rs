//! `eg schema NAME`.

use crate::{
    error::{CommandError, Exit, Kind},
    output::{json::SCHEMAS, printer::Printer},
};

/// Print the JSON schema of an output
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    #[arg(help = format!("Which: {}", names()))]
    name: String,
}

fn names() -> String {
    SCHEMAS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Prints a published schema.
///
/// # Errors
/// There is no schema of that name.
pub fn run(printer: &Printer, args: &SchemaArgs) -> Result<Exit, CommandError> {
    let Some((_, text)) = SCHEMAS.iter().find(|(name, _)| *name == args.name) else {
        let message = format!("there is no schema \"{}\"; there are: {}", args.name, names());
        return Err(CommandError::new(Kind::Usage, message));
    };
    printer.verbatim(text);
    Ok(Exit::Done)
}
