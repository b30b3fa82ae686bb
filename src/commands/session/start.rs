//! `eg session start`.

use crate::commands::{
    context::{Context, exit_after},
    session::{
        open::{OpenArgs, OpenRequest, PreflightDepth},
        preview::preview,
    },
};
use crate::{
    error::{CommandError, Exit},
    reconcile::{driver::Driver, reading::TargetReadings, report::PassReport},
    ui::warning::Code,
};
use eg_model::{ids::SessionId, session::record::Session};
use eg_state::RunKind;

/// Open the configured firewalls to your address
///
/// Finds your public address, records a session, and adds ingress rules for it to every configured resource. The
/// rules are closed when the session is stopped, or by `eg reconcile` once its time is over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  eg session start --duration 2h --only prod
  eg session start --until 18:00 --atomic
  eg session start --only db --check db.example.com:5432

With --check, exit status 3 says that the rules are open and something else is in the way.
With cloud expiry, it may say that a switch in the cloud is not set: --atomic keeps that session.")]
pub struct StartArgs {
    #[command(flatten)]
    open: OpenArgs,
    /// Everything or nothing: close it again unless all of it was opened (and reached, with --check)
    #[arg(long)]
    atomic: bool,
    /// Record the session and return; `eg reconcile` opens the rules
    #[arg(long, conflicts_with_all = ["atomic", "check"])]
    no_wait: bool,
    /// Show what would be opened, and do nothing
    #[arg(long, conflicts_with_all = ["atomic", "check", "no_wait"])]
    dry_run: bool,
}

/// Starts a session.
///
/// # Errors
/// Nothing was recorded, or the pass could not be made.
pub fn run(context: &Context<'_>, args: &StartArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    let runtime = context.runtime()?;
    let mut opening = OpenRequest::new(context, &runtime, &args.open, &settings, "eg session start")?;
    opening.dry_run = args.dry_run;
    let ended =
        if args.dry_run { runtime.block_on(preview(&opening)) } else { runtime.block_on(start(&opening, args)) };
    runtime.shutdown_background();
    ended
}

async fn start(opening: &OpenRequest<'_>, args: &StartArgs) -> Result<Exit, CommandError> {
    let context = opening.context;
    context.printer.progress("→ Starting session...");
    let driver = opening.driver()?;
    let ask = if args.no_wait { PreflightDepth::Nothing } else { PreflightDepth::TargetsAndCallers };
    let surroundings = opening.look_around(&driver, ask).await?;
    opening.preflight(&driver, &surroundings).await?;
    opening.warn_of_earlier_addresses(&driver, &surroundings.addresses)?;
    let runs = driver.store.borrow().last_runs()?;
    let session = opening.begin(&driver, &surroundings)?;
    context.printer.result(&opening.began(&session, runs.clone()));
    opening.warn_of_families_left_out();
    opening.warn_of_accounts_without_role(&surroundings.callers);
    let callers = &surroundings.callers;
    let warn = |driver: &Driver<'_>| opening.warn_of_closing(driver, callers, &session, &runs);
    // What the cloud closes by itself needs neither this machine nor its credentials on time.
    let auto_closing = opening.is_auto_closing(&session) && !args.no_wait;
    if !auto_closing {
        warn(&driver);
    }
    let on_record = |error| stays_on_record(error, session.id);
    let wider = opening.wider_rules(&session, &surroundings);
    if args.no_wait {
        context.printer.json(&context.session_json(&driver.store.borrow(), &session).map_err(on_record)?);
        return Ok(Exit::Done);
    }
    let unset = |session: &Session| auto_closing && session.current().any(|grant| grant.without_auto_close.is_some());
    if args.atomic {
        let (driver, session, exit) = whole(opening, driver, session.id, surroundings.looks).await?;
        if unset(&session) {
            warn(&driver);
        }
        opening.warn_of_open_anyway(&session, &wider);
        context.printer.result(&opening.closing_line(&session));
        return Ok(exit);
    }
    let passed = context.scoped_pass(&driver, RunKind::Start, &[session.id], surroundings.looks).await;
    let session = context.again(&driver.store.borrow(), session.id).map_err(on_record)?;
    if unset(&session) || (auto_closing && passed.is_err()) {
        warn(&driver);
    }
    opening.warn_of_open_anyway(&session, &wider);
    context.printer.json(&context.session_json(&driver.store.borrow(), &session).map_err(on_record)?);
    let report = passed.map_err(on_record)?;
    context.printer.result(&opening.closing_line(&session));
    reached(opening, &driver, &session, &report).await
}

/// Everything or nothing. A rule whose expiry schedule in the cloud could not be set is open all the same: it stays, and the
/// exit status says that this part is not as asked.
async fn whole<'d>(
    opening: &OpenRequest<'_>,
    driver: Driver<'d>,
    id: SessionId,
    looks: TargetReadings,
) -> Result<(Driver<'d>, Session, Exit), CommandError> {
    let context = opening.context;
    match opening.all_or_nothing(driver, id, looks).await {
        Ok((driver, report)) => {
            let on_record = |error| stays_on_record(error, id);
            let session = context.again(&driver.store.borrow(), id).map_err(on_record)?;
            context.printer.json(&context.session_json(&driver.store.borrow(), &session).map_err(on_record)?);
            let exit = exit_after(&session, &report);
            Ok((driver, session, exit))
        }
        Err(error) => {
            // What is open, or is not, matters more than that it cannot be shown.
            if let Err(unseen) = show(context, id) {
                context.printer.warn(
                    Code::NotShown,
                    &format!("the session cannot be shown: {}", unseen.message),
                    &unseen.hints,
                );
            }
            Err(error)
        }
    }
}

fn show(context: &Context<'_>, id: SessionId) -> Result<(), CommandError> {
    let Some(store) = context.store_for_reading()? else { return Ok(()) };
    let session = context.again(&store, id)?;
    context.printer.json(&context.session_json(&store, &session)?);
    Ok(())
}

/// The rules stay where something else is in the way: the exit status says that this part is not as asked.
pub(super) async fn reached(
    opening: &OpenRequest<'_>,
    driver: &Driver<'_>,
    session: &Session,
    report: &PassReport,
) -> Result<Exit, CommandError> {
    match exit_after(session, report) {
        Exit::Done if !opening.reaches_all(session, &driver.interrupt).await? => Ok(Exit::Partial),
        exit => Ok(exit),
    }
}

/// Says how to end what a pass that failed was about.
pub(super) fn stays_on_record(error: CommandError, id: SessionId) -> CommandError {
    let short = id.short();
    error.hint(format!("session {short} is on record; stop it with: eg session stop {short}"))
}
