//! `eg session stop`.

use crate::{
    commands::{
        context::{Context, block_on, listen},
        session::{
            close::{Stop, Stopped},
            find::ended_text,
        },
    },
    error::{CommandError, Exit, Kind},
    reconcile::report::{PassReport, StepOutcome, StepReport},
    ui::{json::SessionJson, opening::ports, time::Zone, warning::Code},
};
use eg_model::{
    ids::SessionId,
    lease::Lease,
    plan::Step,
    session::record::{GrantStatus, Session, SessionStatus, Standing},
};
use eg_state::{StateError, Store};
use std::collections::BTreeMap;

/// Close what a session opened
///
/// Without an id: the most recently started live session. Connections that are open stay open: a cloud firewall
/// judges new connections only.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg session stop a1b2")]
pub struct StopArgs {
    /// The session's id, or at least its first four hex digits
    id: Option<String>,
    /// Every session that has not ended
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

pub fn run(context: &Context<'_>, args: &StopArgs) -> Result<Exit, CommandError> {
    block_on(stop(context, args))
}

async fn stop(context: &Context<'_>, args: &StopArgs) -> Result<Exit, CommandError> {
    // A bad configuration never blocks closing; it is reported at the end.
    let settings = context.settings();
    let mut stop = Stop::begin(context)?;
    let mut sessions = chosen(context, &stop.store, args)?;
    if sessions.is_empty() {
        context.printer.json(&Vec::<SessionJson>::new());
        context.printer.remark("No live sessions.");
        settings?;
        return Ok(Exit::Done);
    }
    for session in &sessions {
        context.printer.progress(&format!("→ Stopping session {}...", session.id.short()));
        match stop.record(session.id) {
            // Another process was faster.
            Err(StateError::AlreadyEnded { .. }) if args.all => {}
            recorded => recorded?,
        }
    }
    // Stable, so that of two that started in one second the newer stays first.
    sessions.sort_by_key(|session| std::cmp::Reverse(session.started_at));
    context.name_endpoints(sessions.iter().flat_map(|session| &session.grants).map(|grant| &grant.target));
    let ids: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
    let stopped = stop.close(&ids, settings.as_ref().ok(), listen()?).await?;
    print(context, args, &sessions, &stopped)?;
    let Stopped { sessions, unrecorded, passed, .. } = stopped;
    let report = passed.map_err(|error| go_on(error, &sessions))?;
    settings?;
    if !unrecorded.stops.is_empty() {
        let message = format!("rules were closed, but the stop could not be recorded: {}", unrecorded.why);
        context.printer.warn(Code::Unwritable, &message, &[unrecorded.hint()]);
    }
    let closed = sessions.iter().all(|session| session.status.is_ended());
    Ok(if closed && report.is_none_or(|report| retagged(&report)) { Exit::Done } else { Exit::Partial })
}

/// Adds how to go on closing to the error of a pass that was cut off.
fn go_on(error: CommandError, sessions: &[Session]) -> CommandError {
    let open = sessions.iter().filter(|session| !session.status.is_ended());
    open.fold(error, |error, session| {
        let short = session.id.short();
        error.hint(format!("session {short} is not closed yet; go on with: eg session stop {short}"))
    })
}

/// True if no rule that stays for another session keeps the old expiry, in its tag or its expiry schedule.
fn retagged(report: &PassReport) -> bool {
    // The last outcome of each rule counts: a change that was refused in a batch may have been made alone.
    let moved = report.steps.iter().filter(|step| matches!(step.step, Step::Retag { .. } | Step::SetAutoClose { .. }));
    let rules = |step: &StepReport| {
        let (action, outcome) = (step.step.action(), step.outcome);
        step.step.rule_ids().into_iter().map(move |rule| ((action, rule), outcome)).collect::<Vec<_>>()
    };
    let outcomes: BTreeMap<_, _> = moved.flat_map(rules).collect();
    outcomes.values().all(|outcome| *outcome == StepOutcome::Done)
}

fn chosen(context: &Context<'_>, store: &Store, args: &StopArgs) -> Result<Vec<Session>, CommandError> {
    let mut open = store.live_sessions()?;
    let nothing = || CommandError::new(Kind::NotFound, "no live sessions").hint("see them with: eg session list");
    if args.all {
        open.extend(store.unfinished_sessions()?);
        return Ok(open);
    }
    let Some(id) = &args.id else {
        // If nothing is live, a session that has just expired, or that could not be closed before.
        if open.is_empty() {
            open = store.unfinished_sessions()?;
        }
        open.truncate(1);
        return if open.is_empty() { Err(nothing()) } else { Ok(open) };
    };
    let session = context.find(store, id)?;
    if session.status.is_ended() {
        let message = format!("{}: there is nothing left to stop", ended_text(&session, &context.zone));
        return Err(CommandError::new(Kind::Refused, message));
    }
    Ok(vec![session])
}

/// Prints the sessions, and what stays open of each as it was `before` the stop.
fn print(
    context: &Context<'_>,
    args: &StopArgs,
    before: &[Session],
    stopped: &Stopped<'_>,
) -> Result<(), CommandError> {
    let Stopped { store, sessions, unrecorded, .. } = stopped;
    if args.all {
        let json = sessions.iter().map(|session| context.session_json(store, session));
        context.printer.json(&json.collect::<Result<Vec<_>, _>>()?);
    } else if let Some(session) = sessions.first() {
        context.printer.json(&context.session_json(store, session)?);
    }
    let others = store.live_sessions()?;
    let leases = store.open_leases()?;
    for (before, session) in before.iter().zip(sessions) {
        if unrecorded.stops.contains(&session.id) {
            context.printer.result("Stop not recorded\n");
            continue;
        }
        // One of several is named.
        let name = if args.all { format!(" {}", session.id.short()) } else { String::new() };
        context.printer.result(&match session.status {
            SessionStatus::Cancelled if args.all => format!("✓ Stopped{name}\n"),
            SessionStatus::Cancelled => "✓ Session stopped\n".to_owned(),
            SessionStatus::Expired => format!("✓ Session{name} closed; it had expired\n"),
            _ => format!("Stop recorded; {}\n", stopped.open_until(session, &others, &leases)),
        });
        for line in stays_open(before, &others, &leases, &context.zone) {
            context.printer.result(&format!("  still open: {line}\n"));
        }
    }
    Ok(())
}

/// The ports of a session that stay open, and who holds each.
fn stays_open(before: &Session, others: &[Session], leases: &[Lease], zone: &Zone) -> Vec<String> {
    let mut lines = Vec::new();
    for grant in before.grants.iter().filter(|grant| grant.status != GrantStatus::Removed) {
        for item in &grant.permissions {
            let wants = |session: &&Session| {
                session.id != before.id
                    && session.current().any(|other| {
                        other.target.key == grant.target.key
                            && other.permissions.iter().any(|wanted| wanted.permission == item.permission)
                    })
            };
            let lease =
                leases.iter().find(|lease| lease.target.key == grant.target.key && lease.permission == item.permission);
            // A rule that another session wants, but that could not be opened, is not open.
            let wanted = others.iter().filter(wants).max_by_key(|session| session.expires_at);
            let wanted = wanted.filter(|_| lease.is_some_and(|lease| !lease.opened_nothing()));
            let holder = if let Some(other) = wanted {
                format!("session {} until {}", other.id.short(), zone.clock(other.expires_at))
            } else if lease.is_some_and(Lease::left_to_others) {
                "another installation".to_owned()
            } else if matches!(item.standing, Standing::Foreign(_)) {
                "a rule eg does not own".to_owned()
            } else {
                continue;
            };
            lines.push(format!(
                "{} {}, held by {holder}",
                grant.resource_name,
                ports(&grant.target.key, &item.permission)
            ));
        }
    }
    lines
}
