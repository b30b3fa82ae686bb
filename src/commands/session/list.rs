//! `eg session list`. No network, no runtime, no lock, no configuration.

use crate::{
    commands::context::Context,
    error::{CommandError, Exit},
    ui::json::SessionJson,
};
use eg_model::session::record::SessionStatus;
use eg_state::{Filter, LastRuns, Listing};

/// List sessions, newest first
#[derive(Debug, clap::Args)]
pub struct SessionListArgs {
    /// Only sessions that have not ended
    #[arg(long, conflicts_with = "status")]
    active: bool,
    /// Only sessions of this status; may be repeated
    #[arg(long, value_name = "S", value_parser = status)]
    status: Vec<SessionStatus>,
    /// Maximum number (0 = all); sessions that have not ended are always shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

fn status(text: &str) -> Result<SessionStatus, String> {
    let known: Vec<&str> = SessionStatus::ALL.iter().map(|status| status.as_str()).collect();
    text.to_uppercase().parse().map_err(|_| format!("one of: {}", known.join(", ")))
}

pub fn run(context: &Context<'_>, args: &SessionListArgs) -> Result<Exit, CommandError> {
    let statuses = match (args.active, args.status.is_empty()) {
        (true, _) => Some(SessionStatus::ALL.iter().copied().filter(|status| !status.is_ended()).collect()),
        (false, true) => None,
        (false, false) => Some(args.status.clone()),
    };
    let limit = Some(args.limit).filter(|limit| *limit > 0);
    let filter = Filter { statuses, limit, whole: context.printer.is_json() };
    let store = context.store_for_reading()?;
    let (listing, runs, leases) = match &store {
        Some(store) => (store.sessions(&filter)?, store.last_runs()?, store.open_leases()?),
        None => (Listing { sessions: Vec::new(), left_out: 0 }, LastRuns::default(), Vec::new()),
    };
    let view = context.view(runs);
    if context.printer.is_json() {
        let json: Vec<SessionJson> =
            listing.sessions.iter().map(|session| SessionJson::new(session, &leases, view.now)).collect();
        context.printer.json(&json);
    }
    if listing.sessions.is_empty() {
        context.printer.remark("No sessions.");
    } else {
        context.printer.result(&view.list(&listing.sessions));
        // On stderr, beside the table: scripts read its columns and rows.
        view.overdue_causes(&listing.sessions).iter().for_each(|line| context.printer.remark(line));
        view.troubles(&listing.sessions, &leases).iter().for_each(|line| context.printer.remark(line));
        view.covered(&listing.sessions).iter().for_each(|line| context.printer.remark(line));
    }
    if listing.left_out > 0 {
        context.printer.remark(&format!("{} more: eg session list --limit 0", listing.left_out));
    }
    Ok(if context.tell_damaged(store.as_ref()) { Exit::Failed } else { Exit::Done })
}
