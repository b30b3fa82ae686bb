//! `eg session ensure`.

use crate::{
    commands::{
        context::{Context, block_on},
        reconcile::follow::{found_by_name, refused},
        session::{
            build::stays_on_record,
            open::{OpenArgs, OpenRequest},
            outcome::{not_open, tags_are_behind},
            preflight::{Preflight, PreflightDepth, not_interrupted},
        },
    },
    error::{CommandError, Exit},
    reconcile::{driver::Driver, report::PassReport},
    ui::warning::Code,
};
use eg_model::{
    net::address::IpVersion,
    plan::NoteKind,
    session::{
        ensure::{Ensuring, ensure},
        follow::{FoundAddress, Move, moves},
        record::{Session, SessionStatus},
    },
    text::escape_controls,
};
use eg_state::RunKind;
use futures_util::future::join;
use std::net::IpAddr;

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

Exit status 0 says that everything was seen to be open just now, to every address that was asked for.")]
pub struct EnsureArgs {
    #[command(flatten)]
    open: OpenArgs,
}

pub fn run(context: &Context<'_>, args: &EnsureArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    block_on(async {
        let request = OpenRequest::new(context, &args.open, &settings, "eg session ensure").await?;
        ensure_open(&request).await
    })
}

async fn ensure_open(request: &OpenRequest<'_>) -> Result<Exit, CommandError> {
    let context = request.context;
    let driver = request.driver(context.store()?)?;
    let mut preflight = request.ask(&driver, PreflightDepth::Targets).await?;

    let (ensuring, session) = decide(request, &driver, &mut preflight).await?;
    let id = session.id;
    let on_record = |error| stays_on_record(error, id);
    tell(request, &driver, ensuring, &session, &preflight).map_err(on_record)?;

    // A session that follows its user was found at any address: it moves to the one that the user has now.
    let moves = allowed_moves(request, &driver, &session, &preflight.addresses).map_err(on_record)?;
    for step in &moves {
        context.printer.progress(&format!("  It moves from {} to {}", step.from, step.to));
    }
    let wider = request.wider_rules(&session, &preflight);
    let readings = std::mem::take(&mut preflight.readings);
    let kind = if matches!(ensuring, Ensuring::Prolong(_)) { RunKind::Extend } else { RunKind::Start };
    let passed = context.session_pass(&driver, kind, &[id], readings, moves).await;

    let session = context.again(&driver.store(), id)?;
    if ensuring == Ensuring::Begin {
        let unset = session.current().any(|grant| grant.without_auto_close.is_some());
        if request.is_auto_closing(&session) && (unset || passed.is_err()) {
            request.warn_of_closing(&driver, &preflight, &session);
        }
        request.warn_of_open_anyway(&session, &wider);
    }
    context.printer.json(&context.session_json(&driver.store(), &session)?);
    let report = passed.map_err(on_record)?;
    let ended = conclude(request, &driver, ensuring, &session, &report).await?;
    let elsewhere = ended == Exit::Done && tell_elsewhere(request, &session, &preflight.addresses);
    Ok(if elsewhere { Exit::Partial } else { ended })
}

/// Keeps, prolongs or records a session, in one transaction. Only a new session needs the caller, so a first look at the
/// record decides whether to ask. If another process records in between, the new session lacks the caller's name, no more.
async fn decide(
    request: &OpenRequest<'_>,
    driver: &Driver<'_>,
    preflight: &mut Preflight,
) -> Result<(Ensuring, Session), CommandError> {
    let wanted = request.build(&preflight.addresses, &preflight.callers, &preflight.readings)?;
    let live = driver.store().live_sessions()?;
    if ensure(&live, &wanted, request.longest) == Ensuring::Begin {
        let (refused, callers) = join(request.refuse_hopeless(driver, preflight), request.callers(driver)).await;
        refused?;
        (preflight.callers, preflight.credentials) = callers;
    }
    not_interrupted(driver)?;
    let wanted = request.build(&preflight.addresses, &preflight.callers, &preflight.readings)?;
    let ensuring = driver.store_mut().ensure(&wanted, request.longest)?;
    let session = match ensuring {
        Ensuring::Keep(id) | Ensuring::Prolong(id) => request.context.again(&driver.store(), id)?,
        Ensuring::Begin => wanted,
    };
    Ok((ensuring, session))
}

fn tell(
    request: &OpenRequest<'_>,
    driver: &Driver<'_>,
    ensuring: Ensuring,
    session: &Session,
    preflight: &Preflight,
) -> Result<(), CommandError> {
    let printer = request.context.printer;
    let short = session.id.short();
    if ensuring == Ensuring::Begin {
        request.context.name_hosts(&request.hosts);
    }
    match ensuring {
        Ensuring::Keep(_) => {
            printer.progress(&format!("→ Looking at session {short}..."));
            if request.args.reason.is_some() && request.args.reason != session.reason {
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
            request.warn_of_earlier_addresses(driver, &preflight.addresses)?;
            printer.result(&request.began(session, preflight));
            request.warn_of_gaps(preflight);
            if !request.is_auto_closing(session) {
                request.warn_of_closing(driver, preflight, session);
            }
        }
    }
    Ok(())
}

/// The moves of a session that follows its user or a name to these addresses, as far as the machine's policy allows them.
fn allowed_moves(
    request: &OpenRequest<'_>,
    driver: &Driver<'_>,
    session: &Session,
    addresses: &[IpAddr],
) -> Result<Vec<Move>, CommandError> {
    // As of the resolving: what came after it may have taken long.
    let now = request.resolved_at;
    let found = |version| {
        let address = addresses.iter().find(|address| IpVersion::of(**address) == version);
        address.map_or(FoundAddress::Unknown, |address| FoundAddress::Agreed(*address))
    };
    let (v4, v6) = match session.followed_name {
        None => (found(IpVersion::V4), found(IpVersion::V6)),
        Some(_) => found_by_name(&mut driver.store_mut(), session, addresses, now, true)?,
    };
    let site = request.context.site_policy()?;
    let mut moves = moves(session, v4, v6, now);
    moves.retain(|step| match refused(&site, request.settings, session, step) {
        None => true,
        Some(note) => {
            request.context.printer.warn(Code::Note(note.note.kind), &note.note.message, &[]);
            false
        }
    });
    Ok(moves)
}

/// Warns, and says true, if the name that a session follows has an address now that the session is not open to: it may have
/// to be seen once more, or the machine's policy may refuse it.
fn tell_elsewhere(request: &OpenRequest<'_>, session: &Session, addresses: &[IpAddr]) -> bool {
    let Some(name) = &session.followed_name else { return false };
    let followed = addresses.iter().filter(|address| session.cidr(IpVersion::of(**address)).is_some());
    let mut elsewhere = followed.filter(|address| !session.is_for(**address));
    let Some(address) = elsewhere.next() else { return false };
    let message = format!("session {} is not open to {address}, which {name} is now", session.id.short());
    let hint = "a new address counts when the name resolves to it once more, a minute later".to_owned();
    request.context.printer.warn(Code::NotOpen, &message, &[hint]);
    true
}

async fn conclude(
    request: &OpenRequest<'_>,
    driver: &Driver<'_>,
    ensuring: Ensuring,
    session: &Session,
    report: &PassReport,
) -> Result<Exit, CommandError> {
    let Context { printer, zone, .. } = request.context;
    let short = session.id.short();
    if session.status != SessionStatus::Active {
        // No line about a grant has told the reason if nothing changed.
        printer.warn(Code::NotOpen, &format!("not open: {}", not_open(session)), &[]);
        printer.result(&request.closing_line(session));
    } else if !was_seen(session, report) {
        printer.result(&format!("! Could not check session {short}; it was ACTIVE when last seen\n"));
        return Ok(Exit::Partial);
    } else {
        let left = request.context.view(driver.store().last_runs()?).left(session);
        match ensuring {
            // Nothing was done, so `-q` leaves this out.
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
            Ensuring::Begin => printer.result(&request.closing_line(session)),
        }
        if tags_are_behind(&driver.store(), session, report)? {
            return Ok(Exit::Partial);
        }
    }
    request.exit_after_check(driver, session, report).await
}

/// True if this pass has read every target of a session, so that its record is what was seen.
fn was_seen(session: &Session, report: &PassReport) -> bool {
    let unseen = report.notes.iter().filter(|item| matches!(item.note.kind, NoteKind::Unavailable | NoteKind::Missing));
    let mut unseen = unseen.map(|item| &item.target);
    report.state_errors.is_empty()
        && !unseen.any(|target| session.grants.iter().any(|grant| grant.target.key == *target))
}
