//! `eg session extend`.

use super::{Context, check_clock, concerns, ended_text, exit_for};
use crate::{
    error::{CommandError, Exit, Kind},
    settings::Settings,
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    duration::format_duration,
    ids::SessionId,
    lease::{Lease, Phase},
    session::Session,
};
use eg_state::RunKind;

/// Prolong a live session
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg session extend a1b2 --hours 2")]
pub struct ExtendArgs {
    /// The session's id, or at least its first four hex digits
    id: String,
    /// By how many hours, from its current expiry
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    hours: u32,
}

/// Prolongs a session.
///
/// # Errors
/// The session is not live, or would become longer than the configuration allows.
pub fn run(context: &Context<'_>, args: &ExtendArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    let runtime = context.runtime()?;
    let ended = runtime.block_on(extend(context, args, &settings));
    runtime.shutdown_background();
    ended
}

async fn extend(context: &Context<'_>, args: &ExtendArgs, settings: &Settings) -> Result<Exit, CommandError> {
    let mut store = context.store()?;
    let now = context.env.now();
    store.expire(now)?;
    let session = context.find(&store, &args.id)?;
    let expires = new_expiry(context, &session, args.hours, settings)?;
    let (id, short) = (session.id, session.id.short());
    context.printer.progress(&format!("→ Extending session {short} by {}...", in_hours(args.hours.into())));
    context.name_endpoints(session.grants.iter().map(|grant| &grant.reach));
    let driver = context.driver(store, Some(settings))?;
    let targets = driver.needed(Some(&[id].into()))?;
    let looks = driver.look(&targets, false).await;
    check_clock(&looks)?;
    driver.store.borrow_mut().extend(id, expires, now)?;
    let passed = context.scoped_pass(&driver, RunKind::Extend, &[id], looks).await;
    let session = context.again(&driver.store.borrow(), id)?;
    context.printer.json(&context.session_json(&driver.store.borrow(), &session)?);
    passed.map_err(|error| error.hint(recorded(context, id, expires)))?;
    let view = context.view(driver.store.borrow().last_runs()?);
    let expiry = context.zone.format(session.expires_at);
    context.printer.result(&format!("✓ Session extended — new expiry: {expiry} ({})\n", view.left(&session)));
    // A tag that still says the old time lets another installation close the rule too early.
    let leases = driver.store.borrow().open_leases()?;
    let early = |lease: &Lease| lease.tagged_until.is_none_or(|until| until < session.expires_at);
    let held = leases.iter().filter(|lease| lease.phase == Phase::Held && concerns(lease, &session));
    let exit = exit_for(&session);
    Ok(if exit == Exit::Done && held.into_iter().any(early) { Exit::Partial } else { exit })
}

fn in_hours(hours: i64) -> String {
    if hours == 1 { "1 hour".to_owned() } else { format!("{hours} hours") }
}

fn recorded(context: &Context<'_>, id: SessionId, expires: Timestamp) -> String {
    let (short, expiry) = (id.short(), context.zone.format(expires));
    format!("the new expiry of session {short}, {expiry}, is on record; stop it with: eg session stop {short}")
}

fn new_expiry(
    context: &Context<'_>,
    session: &Session,
    hours: u32,
    settings: &Settings,
) -> Result<Timestamp, CommandError> {
    if !session.status.is_live() {
        let message = format!("{}; only a live session can be extended", ended_text(session, &context.zone));
        return Err(CommandError::new(Kind::Refused, message).hint("start a new one with: eg session start"));
    }
    // Compared before they are added: a date has an end, and `hours` may be anything.
    let max = settings.session.max_duration;
    let (more, left) = (TimeDelta::hours(hours.into()), max - (session.expires_at - session.started_at));
    if more <= left {
        return Ok(session.expires_at + more);
    }
    let fits = left.num_hours();
    let limit = format_duration(max);
    let message = if fits > 0 {
        format!(
            "session {} may last {limit} at most: it can be extended by {}, not by {hours}",
            session.id.short(),
            in_hours(fits)
        )
    } else {
        format!("session {} may last {limit} at most: nothing is left to extend it by", session.id.short())
    };
    Err(CommandError::new(Kind::Usage, message).hint("max_duration in the configuration sets the limit"))
}
