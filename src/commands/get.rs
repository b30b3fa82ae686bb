//! `eg session get`. No network, no runtime, no lock, no configuration.

use super::{Context, id_digits};
use crate::error::{CommandError, Exit, Kind};

/// Show one session and what it holds
#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// The session's id, or at least its first four hex digits
    id: String,
}

/// Shows one session.
///
/// # Errors
/// There is no such session, or the state file cannot be read.
pub fn run(context: &Context<'_>, args: &GetArgs) -> Result<Exit, CommandError> {
    id_digits(&args.id)?;
    let Some(store) = context.store_for_reading()? else {
        return Err(CommandError::new(Kind::NotFound, format!("there is no session {}", args.id))
            .hint(format!("the state file {} does not exist", context.state.path.display())));
    };
    let session = context.find(&store, &args.id)?;
    context.printer.json(&context.session_json(&store, &session)?);
    context.printer.result(&context.view(store.last_runs()?).get(&session, &store.open_leases()?));
    Ok(Exit::Done)
}
