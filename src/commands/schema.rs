//! `eg schema NAME`.

use crate::{
    error::{CommandError, Exit, Kind},
    output::{json::SCHEMAS, printer::Printer},
};

/// Print the JSON schema of an output
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    /// Which: session, sessions, init, resources, resource-change, verify, discover, status, ip, who, log, iam-policy,
    /// schedule, doctor, setup-cloud-expiry, sweep, reconcile, error, demo or sandbox
    name: String,
}

/// Prints a published schema.
///
/// # Errors
/// There is no schema of that name.
pub fn run(printer: &Printer, args: &SchemaArgs) -> Result<Exit, CommandError> {
    let Some((_, text)) = SCHEMAS.iter().find(|(name, _)| *name == args.name) else {
        let known: Vec<&str> = SCHEMAS.iter().map(|(name, _)| *name).collect();
        let message = format!("there is no schema \"{}\"; there are: {}", args.name, known.join(", "));
        return Err(CommandError::new(Kind::Usage, message));
    };
    printer.verbatim(text);
    Ok(Exit::Done)
}
