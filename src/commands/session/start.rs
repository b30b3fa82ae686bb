//! `eg session start`.

use crate::{
    commands::{
        context::{Context, block_on},
        session::{
            build::stays_on_record,
            open::{OpenArgs, OpenRequest},
            outcome::exit_after,
            preflight::PreflightDepth,
            preview::preview,
        },
    },
    error::{CommandError, Exit},
    ui::warning::Code,
};
use eg_model::{ids::SessionId, net::host::Host, session::record::Session};
use eg_state::RunKind;

/// Open the configured firewalls to your address
///
/// Finds your public address, records a session, and adds ingress rules for it to every configured resource. The
/// rules are closed when the session is stopped, or by `eg reconcile` once its time is over.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  eg session start --duration 2h --only prod
  eg session start --until 18:00 --atomic
  eg session start --only db --check db.example.com:5432

With --check, exit status 3 says that the rules are open and something else is in the way.
With cloud expiry, it may say that an expiry schedule could not be set: --atomic keeps that session.")]
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

/// Open to your address what lies in front of a host, or everything that is configured
///
/// The short form of `eg session start`, with hosts in the place of --host: each host's addresses are looked up, the
/// network interfaces that have them, and the security group of these. No configuration is needed. Whoever controls the
/// name chooses the group, among those of your own accounts: look at the line that names it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  eg open db.example.com:5432
  eg open bastion.example.com:22 db.example.com:5432 --duration 1h
  eg close")]
pub struct OpenHostArgs {
    /// The hosts, each with the port to open; without any, everything that is configured
    #[arg(value_name = "HOST[:PORT]", conflicts_with = "only")]
    hosts: Vec<Host>,
    #[command(flatten)]
    start: StartArgs,
}

pub fn run_open(context: &Context<'_>, args: &OpenHostArgs) -> Result<Exit, CommandError> {
    let mut start = args.start.clone();
    start.open.host.extend(args.hosts.iter().cloned());
    run_as(context, &start, "eg open")
}

pub fn run(context: &Context<'_>, args: &StartArgs) -> Result<Exit, CommandError> {
    run_as(context, args, "eg session start")
}

fn run_as(context: &Context<'_>, args: &StartArgs, command: &str) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    block_on(async {
        let request = OpenRequest::new(context, &args.open, &settings, command).await?;
        context.name_hosts(&request.hosts);
        if args.dry_run { preview(request).await } else { start(&request, args).await }
    })
}

async fn start(request: &OpenRequest<'_>, args: &StartArgs) -> Result<Exit, CommandError> {
    let context = request.context;
    context.printer.progress("→ Starting session...");
    let driver = request.driver(context.store()?)?;
    let depth = if args.no_wait { PreflightDepth::Nothing } else { PreflightDepth::TargetsAndCallers };
    let mut preflight = request.preflight(&driver, depth).await?;
    request.warn_of_earlier_addresses(&driver, &preflight.addresses)?;

    let session = request.build(&preflight.addresses, &preflight.callers, &preflight.readings)?;
    request.record(&driver, &session)?;
    let id = session.id;
    let on_record = |error| stays_on_record(error, id);
    context.printer.result(&request.began(&session, &preflight));
    request.warn_of_gaps(&preflight);
    // A session that the cloud closes by itself needs neither this machine nor its credentials on time.
    let auto_closing = request.is_auto_closing(&session) && !args.no_wait;
    if !auto_closing {
        request.warn_of_closing(&driver, &preflight, &session);
    }
    if args.no_wait {
        context.printer.json(&context.session_json(&driver.store(), &session).map_err(on_record)?);
        return Ok(Exit::Done);
    }

    let wider = request.wider_rules(&session, &preflight);
    let readings = std::mem::take(&mut preflight.readings);
    let (driver, passed) = if args.atomic {
        let opened = request.all_or_nothing(driver, id, readings).await;
        let (driver, report) = opened.inspect_err(|_| show_as_closed(context, id))?;
        (driver, Ok(report))
    } else {
        let passed = context.session_pass(&driver, RunKind::Start, &[id], readings, Vec::new()).await;
        (driver, passed)
    };

    let session = context.again(&driver.store(), id).map_err(on_record)?;
    let unset = |session: &Session| session.current().any(|grant| grant.without_auto_close.is_some());
    if auto_closing && (passed.is_err() || unset(&session)) {
        request.warn_of_closing(&driver, &preflight, &session);
    }
    request.warn_of_open_anyway(&session, &wider);
    context.printer.json(&context.session_json(&driver.store(), &session).map_err(on_record)?);
    let report = passed.map_err(on_record)?;
    context.printer.result(&request.closing_line(&session));
    match args.atomic {
        // The endpoints of `--check` were reached: otherwise the session would have been closed again.
        true => Ok(exit_after(&session, &report)),
        false => request.exit_after_check(&driver, &session, &report).await,
    }
}

/// Prints the session that was closed again, in JSON. A failure is a warning: the error about the session matters more.
fn show_as_closed(context: &Context<'_>, id: SessionId) {
    let show = || -> Result<(), CommandError> {
        let Some(store) = context.store_for_reading()? else { return Ok(()) };
        let session = context.again(&store, id)?;
        context.printer.json(&context.session_json(&store, &session)?);
        Ok(())
    };
    if let Err(unseen) = show() {
        let message = format!("the session cannot be shown: {}", unseen.message);
        context.printer.warn(Code::NotShown, &message, &unseen.hints);
    }
}
