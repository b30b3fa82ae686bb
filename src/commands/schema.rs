//! `eg schema`: prints the published JSON schemas.

use crate::{
    error::{CommandError, Exit, Kind},
    ui::{json::SCHEMAS, printer::Printer},
};

/// Print the JSON schema of an output
///
/// Without a name: the names of all schemas.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    #[arg(help = format!("Schema: {}", names()))]
    name: Option<String>,
}

fn names() -> String {
    SCHEMAS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

pub fn run(printer: &Printer, args: &SchemaArgs) -> Result<Exit, CommandError> {
    let Some(wanted) = &args.name else {
        printer.json(&SCHEMAS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        printer.result(&SCHEMAS.iter().map(|(name, _)| format!("{name}\n")).collect::<String>());
        return Ok(Exit::Done);
    };
    let Some((_, text)) = SCHEMAS.iter().find(|(name, _)| name == wanted) else {
        let message = format!("there is no schema \"{wanted}\"; there are: {}", names());
        return Err(CommandError::new(Kind::Usage, message));
    };
    printer.verbatim(text);
    Ok(Exit::Done)
}
