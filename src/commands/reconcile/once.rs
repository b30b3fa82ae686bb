//! The arguments of `eg reconcile`, and one pass.

use crate::{
    commands::{
        context::{Context, block_on},
        global::Output,
        reconcile::{
            news::{errors_are_news, no_pass_is_news, tell_trouble},
            notify::notify,
            pass::Pass,
            report::{PassPrinter, recorded_names},
            watch,
        },
    },
    error::{CommandError, Exit, Kind},
    reconcile::{driver::Driver, json, report::PassReport},
    schedule::variables::begin_again,
};
use eg_config::settings::Settings;
use eg_model::{ids::RunId, time::duration::parse_seconds};
use eg_state::{OpenNotice, RunKind};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Make the firewalls match the record: repair, expire, revoke
///
/// Adds what is missing, revokes what was stopped or has expired. Run it from cron or a timer every minute, with
/// --timer, or keep it running with --watch.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg reconcile --dry-run")]
pub struct ReconcileArgs {
    /// Show what would be done, and do nothing
    #[arg(long, conflicts_with = "watch")]
    dry_run: bool,
    /// Keep running: a pass whenever something is due, and at every interval
    #[arg(long)]
    watch: bool,
    /// The longest time between two passes of --watch, written as 60s (10s to 86400s)
    #[arg(long, value_name = "D", default_value = "60s", requires = "watch",
        value_parser = |text: &str| parse_seconds(text, 10..=86_400))]
    interval: Duration,
    /// A scheduler runs this: tells eg that something closes sessions on time
    #[arg(long)]
    timer: bool,
    /// Read proxies with a password from this file of yours alone, which `eg schedule install` writes
    #[arg(long, value_name = "FILE", requires = "timer")]
    env_file: Option<PathBuf>,
}

impl ReconcileArgs {
    /// True if a scheduler runs this.
    pub fn is_timed(&self) -> bool {
        self.timer
    }
}

/// Reconciles once, or until a signal ends `--watch`.
pub fn run(context: &Context<'_>, args: &ReconcileArgs) -> Result<Exit, CommandError> {
    let unread_proxies = args.env_file.as_ref().map(|file| {
        let (program, args) = (&context.env.program, &context.env.args);
        CommandError::new(Kind::Schedule, begin_again(program, args, &context.env.absolute(file)))
            .hint("write it anew: eg schedule install")
    });
    if args.dry_run && !context.state.path.exists() {
        nothing_on_record(context)?;
        return unread_proxies.map_or(Ok(Exit::Done), Err);
    }
    block_on(async {
        if !args.watch {
            return once(context, args, unread_proxies).await;
        }
        let ended = watch::watch(context, args.interval).await?;
        unread_proxies.map_or(Ok(ended), Err)
    })
}

/// A dry run must not make the record.
fn nothing_on_record(context: &Context<'_>) -> Result<(), CommandError> {
    context.settings()?;
    let nothing = PassReport::new(RunId(context.env.uuid()), context.env.now());
    context.printer.json(&json::pass(&nothing, &BTreeMap::new()));
    context.printer.remark("Nothing to do.");
    Ok(())
}

/// `unread_proxies`: the reason why the proxies with a password could not be read. The pass closes all the same, as far as it
/// can without a proxy.
async fn once(
    context: &Context<'_>,
    args: &ReconcileArgs,
    unread_proxies: Option<CommandError>,
) -> Result<Exit, CommandError> {
    let unattended = args.timer && !args.dry_run && context.global.output != Output::Json;
    let settings = context.settings();
    let policy = context.site_policy();
    let known = settings.as_ref().ok();
    let (driver, report) = match pass_told(context, args, known).await {
        Err(error) if unattended && !no_pass_is_news(context, &error) => return Ok(error.kind.exit()),
        made => made?,
    };
    let settings = settings.map_err(|error| match error.kind {
        Kind::Config => error.hint("until it is mended nothing is opened; what is due is closed all the same"),
        _ => error,
    });
    let error = settings.err().or(policy.err()).or(unread_proxies);
    if !args.dry_run && (unattended || error.is_none()) {
        let news = errors_are_news(context, &driver, error.as_slice(), report.finished);
        if let Some(error) = error.as_ref().filter(|_| !news) {
            return Ok(error.kind.exit());
        }
    }
    match (error, driver.interrupt.asked()) {
        (Some(error), _) => Err(error),
        (None, Some(number)) => Ok(Exit::Signal(number)),
        (None, None) => Ok(exit(&report, args.dry_run)),
    }
}

/// Makes the pass and prints its outcome.
async fn pass_told<'c>(
    context: &'c Context<'_>,
    args: &ReconcileArgs,
    known: Option<&Settings>,
) -> Result<(Driver<'c>, PassReport), CommandError> {
    let (store, notices) = context.open_store()?;
    let mut driver = context.driver(store, known)?;
    if args.timer {
        // Cron mails every line that is printed: success prints nothing, failure is printed at the end.
        driver.on_change = Box::new(|_, _| {});
    }
    // Some of these come back with every opening. The others tell of something that has happened just now.
    let (lasting, once): (Vec<OpenNotice>, Vec<OpenNotice>) =
        notices.into_iter().partition(|notice| args.timer && !args.dry_run && notice.lasts());
    once.iter().for_each(|notice| context.warn_of(notice));
    let pass = Pass { kind: RunKind::Reconcile, timer: args.timer, dry_run: args.dry_run };
    // The names of sessions that end in this pass are on record only before it.
    let mut names = recorded_names(&driver.store(), known)?;
    let report = pass.run(context, &driver, known).await?;
    names.extend(recorded_names(&driver.store(), known)?);
    context.printer.json(&json::pass(&report, &names));
    let printer = PassPrinter { context, names: &names, report: &report };
    if args.dry_run {
        printer.dry_run();
        return Ok((driver, report));
    }
    if args.timer {
        tell_trouble(context, &driver, &report, &lasting)?;
    } else {
        printer.outcome(&driver)?;
    }
    notify(context, &driver, known.and_then(|settings| settings.notify.as_ref()), &report).await;
    Ok((driver, report))
}

fn exit(report: &PassReport, dry_run: bool) -> Exit {
    let planned = dry_run && !(report.steps.is_empty() && report.moves.is_empty());
    match report.converged {
        true if !planned => Exit::Done,
        false if !dry_run && !report.failed_sessions.is_empty() => Exit::Failed,
        _ => Exit::Partial,
    }
}
