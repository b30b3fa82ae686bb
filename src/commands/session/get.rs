//! `eg session get`. No network, no runtime, no lock, no configuration.

use crate::{
    commands::{context::Context, session::find::id_digits},
    error::{CommandError, Exit, Kind},
};
use eg_model::session::record::Session;
use eg_state::{Filter, Store};

/// Show one session and what it holds
///
/// Without an id: the most recently started live session; if none is live, the most recently started one.
#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// The session's id, or at least its first four hex digits
    id: Option<String>,
}

pub fn run(context: &Context<'_>, args: &GetArgs) -> Result<Exit, CommandError> {
    if let Some(id) = &args.id {
        id_digits(id)?;
    }
    let Some(store) = context.store_for_reading()? else {
        let message = match &args.id {
            Some(id) => format!("there is no session {id}"),
            None => "there is no session yet".to_owned(),
        };
        return Err(CommandError::new(Kind::NotFound, message)
            .hint(format!("the state file {} does not exist", context.state.path.display())));
    };
    let session = match &args.id {
        Some(id) => context.find(&store, id)?,
        None => newest(context, &store)?,
    };
    context.printer.json(&context.session_json(&store, &session)?);
    context.printer.result(&context.view(store.last_runs()?).get(&session, &store.open_leases()?));
    Ok(Exit::Done)
}

/// The session without an id: the newest live one, as for `stop` and `extend`, or else the newest one. A line says which.
fn newest(context: &Context<'_>, store: &Store) -> Result<Session, CommandError> {
    let (found, which) = match store.live_sessions()?.into_iter().next() {
        Some(live) => (Some(live), "the newest live session"),
        None => {
            let filter = Filter { limit: Some(1), ..Filter::default() };
            (store.sessions(&filter)?.sessions.into_iter().next(), "the newest session; none is live")
        }
    };
    let nothing =
        || CommandError::new(Kind::NotFound, "there is no session yet").hint("start one with: eg session start");
    let found = found.ok_or_else(nothing)?.id;
    context.printer.progress(&format!("→ Session {} ({which})", found.short()));
    store.session(found)?.ok_or_else(nothing)
}
