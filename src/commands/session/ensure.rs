//! `eg session ensure`.

use crate::commands::{
    context::{Context, tags_are_behind},
    session::{
        open::{OpenArgs, OpenRequest, Preflight, PreflightDepth, not_interrupted, not_open},
        start::{reached, stays_on_record},
    },
};
use crate::{
    error::{CommandError, Exit},
    reconcile::{driver::Driver, report::PassReport},
    text::escape_controls,
    ui::warning::Code,
};
use eg_model::{
    plan::NoteKind,
    session::{
        ensure::{Ensuring, ensure},
        record::{Session, SessionStatus},
    },
};
use eg_state::RunKind;

/// Reuse a matching session, or start one
///
/// Takes the options of `start`. A live session for the same addresses and the same ports of the same resources is
/// kept, looked at once more, and repaired if it is not as it should be (with --follow, one that follows you is kept wherever
/// you were, and moved to where you are); one that ends sooner than asked is prolonged,
/// or, where `max_duration` does not allow that or `--reason` gives another reason, followed by a new one beside it. Of
/// many that run at once, one starts the session. With -q nothing is said when a session is kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  eg session ensure --only prod --duration 2h
  Match host bastion.example.com exec \"eg -q session ensure --only bastion --until 18:00\"   (in ~/.ssh/config)

Exit status 0 says that everything was seen to be open just now.")]
pub struct EnsureArgs {
    #[command(flatten)]
    open: OpenArgs,
}

/// Starts a session unless there is one.
///
/// # Errors
/// Nothing was recorded, or the pass could not be made.
pub fn run(context: &Context<'_>, args: &EnsureArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    let runtime = context.runtime()?;
    let opening = OpenRequest::new(context, &runtime, &args.open, &settings, "eg session ensure")?;
    let ended = runtime.block_on(see_to_it(&opening));
    runtime.shutdown_background();
    ended
}

async fn see_to_it(opening: &OpenRequest<'_>) -> Result<Exit, CommandError> {
    let context = opening.context;
    let driver = opening.driver()?;
    let mut surroundings = opening.look_around(&driver, PreflightDepth::Targets).await?;
    let (ensuring, session) = decide(opening, &driver, &mut surroundings).await?;
    tell(opening, &driver, ensuring, &session, &surroundings).map_err(|error| stays_on_record(error, session.id))?;
    let kind = if matches!(ensuring, Ensuring::Prolong(_)) { RunKind::Extend } else { RunKind::Start };
    // One that follows was found wherever its user was: it goes where the user is now.
    let moves = opening.moves(&session, &surroundings.addresses).map_err(|error| stays_on_record(error, session.id))?;
    for step in &moves {
        context.printer.progress(&format!("  It follows you from {} to {}", step.from, step.to));
    }
    let wider = opening.wider_rules(&session, &surroundings);
    // Repairs what is not as it should be; where all is, one look, which was taken already.
    let passed = context.moving_pass(&driver, kind, &[session.id], surroundings.looks, moves).await;
    let session = context.again(&driver.store.borrow(), session.id)?;
    let unset = session.current().any(|grant| grant.without_auto_close.is_some());
    if ensuring == Ensuring::Begin && opening.is_auto_closing(&session) && (unset || passed.is_err()) {
        let runs = driver.store.borrow().last_runs()?;
        opening.warn_of_closing(&driver, &surroundings.callers, &session, &runs);
    }
    if ensuring == Ensuring::Begin {
        opening.warn_of_open_anyway(&session, &wider);
    }
    context.printer.json(&context.session_json(&driver.store.borrow(), &session)?);
    let report = passed.map_err(|error| stays_on_record(error, session.id))?;
    conclude(opening, &driver, ensuring, &session, &report).await
}

/// What the record already has decides, in one transaction. Who we are is asked only for a session that is new: the
/// first look at the record tells, and where another process is faster nothing but a name is missing.
async fn decide(
    opening: &OpenRequest<'_>,
    driver: &Driver<'_>,
    surroundings: &mut Preflight,
) -> Result<(Ensuring, Session), CommandError> {
    let longest = opening.longest;
    let wanted = opening.session(surroundings)?;
    let live = driver.store.borrow().live_sessions()?;
    if ensure(&live, &wanted, longest) == Ensuring::Begin {
        opening.preflight(driver, surroundings).await?;
        surroundings.callers = opening.callers(&surroundings.looks).await;
    }
    not_interrupted(driver)?;
    let wanted = opening.session(surroundings)?;
    let ensuring = driver.store.borrow_mut().ensure(&wanted, longest)?;
    let session = match ensuring {
        Ensuring::Keep(id) | Ensuring::Prolong(id) => opening.context.again(&driver.store.borrow(), id)?,
        Ensuring::Begin => wanted,
    };
    Ok((ensuring, session))
}

fn tell(
    opening: &OpenRequest<'_>,
    driver: &Driver<'_>,
    ensuring: Ensuring,
    session: &Session,
    surroundings: &Preflight,
) -> Result<(), CommandError> {
    let printer = opening.context.printer;
    let short = session.id.short();
    match ensuring {
        Ensuring::Keep(_) => {
            printer.progress(&format!("→ Looking at session {short}..."));
            if opening.has_another_reason(session) {
                let reason =
                    session.reason.as_ref().map_or("no reason".to_owned(), |reason| format!("reason \"{reason}\""));
                let reason = escape_controls(&reason);
                printer
                    .progress(&format!("  Note: the existing session is kept, with {reason}; yours is not recorded"));
            }
        }
        Ensuring::Prolong(_) => printer.progress(&format!("→ Extending session {short}...")),
        Ensuring::Begin => {
            printer.progress("→ Starting session...");
            opening.warn_of_earlier_addresses(driver, &surroundings.addresses)?;
            let runs = driver.store.borrow().last_runs()?;
            printer.result(&opening.began(session, runs.clone()));
            opening.warn_of_families_left_out();
            opening.warn_of_accounts_without_role(&surroundings.callers);
            if !opening.is_auto_closing(session) {
                opening.warn_of_closing(driver, &surroundings.callers, session, &runs);
            }
        }
    }
    Ok(())
}

async fn conclude(
    opening: &OpenRequest<'_>,
    driver: &Driver<'_>,
    ensuring: Ensuring,
    session: &Session,
    report: &PassReport,
) -> Result<Exit, CommandError> {
    let Context { printer, zone, .. } = opening.context;
    let short = session.id.short();
    if session.status != SessionStatus::Active {
        // Where nothing changed, no line about a grant has said why.
        printer.warn(Code::NotOpen, &format!("not open: {}", not_open(session)), &[]);
        printer.result(&opening.closing_line(session));
    } else if !was_seen(session, report) {
        printer.result(&format!("! Could not check session {short}; it was ACTIVE when last seen\n"));
        return Ok(Exit::Partial);
    } else {
        let left = opening.context.view(driver.store.borrow().last_runs()?).left(session);
        match ensuring {
            // Nothing was done, so there is nothing to tell where nobody wants to be talked to.
            Ensuring::Keep(_) => {
                printer.progress(&format!(
                    "✓ Session {short} is ACTIVE until {} ({left})",
                    zone.clock(session.expires_at)
                ));
            }
            Ensuring::Prolong(_) => {
                let expiry = zone.format(session.expires_at);
                printer.result(&format!("✓ Session {short} extended — new expiry: {expiry} ({left})\n"));
            }
            Ensuring::Begin => printer.result(&opening.closing_line(session)),
        }
        if tags_are_behind(&driver.store.borrow(), session)? {
            return Ok(Exit::Partial);
        }
    }
    reached(opening, driver, session, report).await
}

/// Whether what the record says of a session is what was seen in this pass.
fn was_seen(session: &Session, report: &PassReport) -> bool {
    let unseen = report.notes.iter().filter(|item| matches!(item.note.kind, NoteKind::Unavailable | NoteKind::Missing));
    let mut unseen = unseen.map(|item| &item.target);
    report.state_errors.is_empty()
        && !unseen.any(|target| session.grants.iter().any(|grant| grant.target.key == *target))
}
