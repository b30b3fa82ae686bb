//! `eg reconcile`.

use crate::commands::{
    context::Context,
    pass::not_had,
    reconcile::{follow::follow, notify::notify, watch},
};
use crate::{
    commands::global::Output,
    config::settings::Settings,
    error::{CommandError, Exit, Kind},
    reconcile::{
        driver::{Driver, PASS_LIMIT, Request},
        json,
        observe::TargetReadings,
        report::{NoteReport, PassReport, StepOutcome},
    },
    schedule::variables::begin_again,
    text::escape_controls,
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    ids::{RunId, SessionId},
    plan::{NoteKind, TargetPlan},
    session::record::{Grant, GrantStatus, Session, Standing},
    target::{Target, TargetKey},
    time::duration::parse_seconds,
};
use eg_state::{RunKind, StateError, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};
use tokio::time::Instant;

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
    #[arg(long, value_name = "D", default_value = "60s", requires = "watch", value_parser = interval)]
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

fn interval(text: &str) -> Result<Duration, String> {
    parse_seconds(text, 10..=86_400).map_err(|error| error.to_string())
}

/// Reconciles once, or until stopped.
///
/// # Errors
/// The record cannot be used, the lock was not had, or the configuration is bad.
pub fn run(context: &Context<'_>, args: &ReconcileArgs) -> Result<Exit, CommandError> {
    let variables = args.env_file.as_ref().map(|file| {
        let (program, args) = (&context.env.program, &context.env.args);
        CommandError::new(Kind::Schedule, begin_again(program, args, &context.env.absolute(file)))
            .hint("write it anew: eg schedule install")
    });
    if args.dry_run && !context.state.path.exists() {
        context.settings()?;
        let nothing = PassReport::new(RunId(context.env.uuid()), context.env.now());
        context.printer.json(&json::pass(&nothing, &BTreeMap::new()));
        context.printer.remark("Nothing to do.");
        return variables.map_or(Ok(Exit::Done), Err);
    }
    let runtime = context.runtime()?;
    let ended = runtime.block_on(async {
        if !args.watch {
            return once(context, args, variables).await;
        }
        let ended = watch::watch(context, args.interval).await?;
        variables.map_or(Ok(ended), Err)
    });
    runtime.shutdown_background();
    ended
}

/// `variables`: why the proxies with a password could not be read. What is due is closed all the same, as far as that takes
/// no proxy.
async fn once(
    context: &Context<'_>,
    args: &ReconcileArgs,
    variables: Option<CommandError>,
) -> Result<Exit, CommandError> {
    let settings = context.settings();
    let site = context.site_policy();
    let mut driver = context.driver(context.store()?, settings.as_ref().ok())?;
    if args.timer {
        // A scheduler mails what is printed: what goes well is no mail, and what does not is told at the end.
        driver.on_change = Box::new(|_, _| {});
    }
    let pass = Pass { kind: RunKind::Reconcile, timer: args.timer, dry_run: args.dry_run };
    // Sessions that end in this pass are named by what was on record before it.
    let mut names = recorded_names(&driver.store.borrow(), settings.as_ref().ok())?;
    let report = pass.run(context, &driver, settings.as_ref().ok()).await?;
    names.extend(recorded_names(&driver.store.borrow(), settings.as_ref().ok())?);
    context.printer.json(&json::pass(&report, &names));
    let shown = PassPrinter { context, names: &names, report: &report };
    if args.dry_run {
        shown.dry_run();
    } else {
        if args.timer {
            shown.failure(&driver)?;
        } else {
            shown.steps(false);
            shown.whole_truth(&driver)?;
        }
    }
    if !args.dry_run {
        let told = settings.as_ref().ok().and_then(|settings| settings.notify.as_ref());
        notify(context, &driver, told, &report).await;
    }
    let settings = settings.map_err(|error| match error.kind {
        Kind::Config => error.hint("until it is mended nothing is opened; what is due is closed all the same"),
        _ => error,
    });
    let error = settings.err().or(site.err()).or(variables);
    let unattended = args.timer && !args.dry_run && context.global.output != Output::Json;
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

fn exit(report: &PassReport, dry_run: bool) -> Exit {
    let planned = !report.steps.is_empty() || !report.moves.is_empty();
    match (dry_run, report.converged) {
        (true, converged) => {
            if planned || !converged {
                Exit::Partial
            } else {
                Exit::Done
            }
        }
        (false, true) => Exit::Done,
        (false, false) if report.failed_sessions.is_empty() => Exit::Partial,
        (false, false) => Exit::Failed,
    }
}

pub(super) struct Pass {
    pub(super) kind: RunKind,
    pub(super) timer: bool,
    pub(super) dry_run: bool,
}

/// What is to be closed waits for the look-ups of a collection pass no longer than this.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(3);
/// Where the record keeps when the last collection pass was.
const COLLECTED: &str = "collected-at";

impl Pass {
    pub(super) async fn run(
        &self,
        context: &Context<'_>,
        driver: &Driver<'_>,
        settings: Option<&Settings>,
    ) -> Result<PassReport, CommandError> {
        let lock = context
            .lock(driver, "eg reconcile", true, self.timer)
            .await
            .map_err(|error| not_had(error, "nothing was changed; the next `eg reconcile` does what is due"))?;
        let collect_from = self.collect_from(context, driver, settings).await?;
        let collects = !collect_from.is_empty();
        let needed = driver.needed(None)?;
        let endpoints = needed.values().flatten().chain(&collect_from);
        if !self.dry_run && context.env.stderr_is_terminal {
            context.name_endpoints(endpoints);
        }
        let mut followed = follow(context, driver, settings, self.dry_run).await;
        let request = Request {
            kind: self.kind,
            scope: None,
            interactive: context.env.stderr_is_terminal && !self.timer && self.kind != RunKind::Watch,
            timer: self.timer,
            collect_from,
            moves: std::mem::take(&mut followed.moves),
            dry_run: self.dry_run,
        };
        let looks = std::mem::take(&mut followed.looks);
        let mut report = context.driven(driver, &lock, &request, looks).await?;
        // Other processes record sessions while the pass is at work. Further passes carry these out, for a minute at most.
        let until = Instant::now() + PASS_LIMIT;
        while report.was_outrun && !self.dry_run && Instant::now() < until && driver.interrupt.asked().is_none() {
            let request = Request { collect_from: Vec::new(), moves: Vec::new(), ..request.clone() };
            report = report.followed_by(context.driven(driver, &lock, &request, TargetReadings::new()).await?);
        }
        followed.tell(&mut report);
        if !self.dry_run {
            let mut store = driver.store.borrow_mut();
            let noted = if collects { store.set_note(COLLECTED, &report.started.to_rfc3339()) } else { Ok(()) };
            // What the pass came to is told all the same.
            report.keep(noted.and_then(|()| store.prune(report.finished).map(drop)));
        }
        Ok(report)
    }

    /// The targets of a collection pass, when one is due: every configured one, as far as those that are named by name
    /// or tags can be looked up.
    async fn collect_from(
        &self,
        context: &Context<'_>,
        driver: &Driver<'_>,
        settings: Option<&Settings>,
    ) -> Result<Vec<Target>, CommandError> {
        let Some(settings) = settings.filter(|settings| settings.reconcile.collect_expired) else {
            return Ok(Vec::new());
        };
        let last = driver.store.borrow().note(COLLECTED)?.and_then(|text| text.parse::<Timestamp>().ok());
        let age = |last: Timestamp| (context.env.now() - last).abs();
        if last.is_some_and(|last| age(last) < settings.reconcile.collect_interval) {
            return Ok(Vec::new());
        }
        let (settings, unknown) = context.expanded_within(settings, LOOK_UP_LIMIT).await;
        for (name, error) in unknown {
            tracing::info!("nothing is collected from {name}: {error}");
        }
        Ok(settings.resources.iter().map(|resource| context.target(resource)).collect())
    }
}

/// The names of targets: as configured, else as recorded.
pub(super) fn recorded_names(
    store: &Store,
    settings: Option<&Settings>,
) -> Result<BTreeMap<TargetKey, String>, CommandError> {
    let mut sessions: Vec<Session> = store.live_sessions()?;
    sessions.extend(store.unfinished_sessions()?);
    let grants = sessions.into_iter().flat_map(|session| session.grants);
    let mut names: BTreeMap<TargetKey, String> = grants.map(|grant| (grant.target.key, grant.resource_name)).collect();
    let resources = settings.into_iter().flat_map(|settings| &settings.resources);
    let known: Vec<TargetKey> = names.keys().cloned().collect();
    for resource in resources {
        for key in known.iter().filter(|key| key.id == resource.id && key.region == resource.region) {
            names.insert(key.clone(), resource.name.clone());
        }
    }
    Ok(names)
}

/// When and for what a failure was last reported, so that cron mails once and not every minute.
const REPORTED: &str = "failure-reported";
/// The same for warnings. What is not seen in one pass may be seen again in the next collection pass.
const WARNED: &str = "warning-reported";
/// The same for errors that keep a pass from opening anything: a configuration or a policy that cannot be read.
const ERRED: &str = "error-reported";
/// A failure that goes on is reported again after this long.
const REPORT_AGAIN: TimeDelta = TimeDelta::hours(6);

pub(super) struct PassPrinter<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) names: &'a BTreeMap<TargetKey, String>,
    pub(super) report: &'a PassReport,
}

impl PassPrinter<'_> {
    fn heading(&self, target: &TargetKey) -> String {
        let name = self.names.get(target).map(|name| format!("{} ", escape_controls(name))).unwrap_or_default();
        if name.is_empty() { format!("{target}\n") } else { format!("{name}({target})\n") }
    }

    /// Every target's plan: `+` opens, `-` closes, `~` changes tags, `=` stays.
    fn dry_run(&self) {
        self.moves("would follow");
        let mut shown = !self.report.moves.is_empty() || !self.report.notes.is_empty();
        for plan in &self.report.plans {
            let steps = plan.steps.iter().map(|step| format!("  {}\n", self.context.zone.in_text(&step.to_string())));
            let kept = kept(plan).into_iter();
            let lines: String = steps.chain(kept).collect();
            if !lines.is_empty() {
                shown = true;
                self.context.printer.result(&(self.heading(&plan.target) + &lines));
            }
        }
        if !shown {
            self.context.printer.remark("Nothing to do.");
        }
        self.context.tell_notes(self.report);
    }

    /// The sessions that went to another address.
    fn moves(&self, verb: &str) {
        for step in &self.report.moves {
            let (short, from, to) = (step.session.short(), step.from, step.to);
            self.context.printer.result(&format!("Session {short} {verb} you from {from} to {to}\n"));
        }
    }

    /// The steps that were taken.
    pub(super) fn steps(&self, unattended: bool) {
        self.moves("follows");
        let mut last = None;
        // What failed is told by the failure, once, where nobody watches.
        let watched = !unattended || self.context.env.stderr_is_terminal;
        let shown = self.report.steps.iter().filter(|step| watched || step.outcome == StepOutcome::Done);
        for step in shown {
            if last != Some(&step.target) {
                self.context.printer.result(&self.heading(&step.target));
                last = Some(&step.target);
            }
            let outcome = match (step.outcome, &step.error) {
                (StepOutcome::Done, _) => String::new(),
                (outcome, Some(error)) => format!(": {} ({})", outcome.as_str(), escape_controls(error)),
                (outcome, None) => format!(": {}", outcome.as_str()),
            };
            let step = self.context.zone.in_text(&step.step.to_string());
            self.context.printer.result(&format!("  {step}{outcome}\n"));
        }
    }

    /// Tells a person the outcome of the pass: what is not settled and when eg tries again, or that there was nothing to do.
    fn whole_truth(&self, driver: &Driver<'_>) -> Result<(), CommandError> {
        let report = self.report;
        let mut store = driver.store.borrow_mut();
        self.context.tell_notes(report);
        let what = failure_text(report, &failed_sessions(&store, &report.failed_sessions)?, &self.open_ends(&store)?);
        let noted = store.note(REPORTED)?.is_some();
        what.lines().for_each(|line| self.context.printer.remark(line));
        if !what.is_empty() {
            let now = self.context.env.now();
            let next = match report.next_wake.filter(|at| *at > now) {
                Some(at) => format!("eg tries again at {}", self.context.zone.clock(at)),
                None => "the next reconcile tries again".to_owned(),
            };
            self.context.printer.remark(&next);
        } else if noted {
            store.clear_note(REPORTED)?;
            self.context.printer.remark("✓ Everything is as recorded again");
        } else if report.steps.is_empty() && report.moves.is_empty() && warning_text(report).is_empty() {
            let changed = driver.changes.get() > 0;
            self.context.printer.remark(if changed { "✓ Everything is as recorded" } else { "Nothing to do." });
        }
        Ok(())
    }

    /// The grants on record that are not as their sessions want them, a line each.
    fn open_ends(&self, store: &Store) -> Result<Vec<String>, CommandError> {
        let mut sessions = store.live_sessions()?;
        sessions.extend(store.unfinished_sessions()?);
        let done = |session: &Session, grant: &Grant| match session.status.is_live() {
            true => grant.status == GrantStatus::Applied || grant.status == GrantStatus::Removed,
            false => grant.status == GrantStatus::Removed,
        };
        let mut lines = Vec::new();
        for session in &sessions {
            for grant in session.grants.iter().filter(|grant| !done(session, grant)) {
                let (short, name) = (session.id.short(), escape_controls(&grant.resource_name));
                let family = grant.ip_version();
                let why = grant.error_message().map(|why| format!(": {}", escape_controls(&why))).unwrap_or_default();
                lines.push(match grant.status {
                    GrantStatus::Removing => unclosed(session, grant),
                    status => format!("session {short} on {name} {family} is {status}{why}"),
                });
            }
        }
        Ok(lines)
    }

    /// The grants that are to be closed while a target cannot be read, a line each: that something stays open is news, though
    /// the reason was told before.
    fn kept_open(&self, store: &Store) -> Result<Vec<String>, CommandError> {
        if !self.report.notes.iter().any(|item| item.note.kind == NoteKind::Unavailable) {
            return Ok(Vec::new());
        }
        let sessions = store.unfinished_sessions()?;
        let grants = sessions.iter().flat_map(|session| session.grants.iter().map(move |grant| (session, grant)));
        let removing = grants.filter(|(_, grant)| grant.status == GrantStatus::Removing);
        Ok(removing.map(|(session, grant)| unclosed(session, grant)).collect())
    }

    /// What keeps the pass from being a clean one, and what it warns of: always on a terminal; else when it is new,
    /// changes, ends, or was last said six hours ago.
    pub(super) fn failure(&self, driver: &Driver<'_>) -> Result<(), CommandError> {
        let report = self.report;
        let mut store = driver.store.borrow_mut();
        let mut what = failure_text(report, &failed_sessions(&store, &report.failed_sessions)?, &[]);
        for line in self.kept_open(&store)? {
            what += &format!("\n{line}");
        }
        let warnings = warning_text(report);
        let failing = self.is_news(store.note(REPORTED)?.as_deref(), &what);
        let warned = self.is_news(store.note(WARNED)?.as_deref(), &warnings);
        let moment = report.finished.format("%Y-%m-%dT%H:%M:%SZ");
        if failing || warned {
            self.context.tell_notes(report);
        }
        if warned {
            noted(store.set_note(WARNED, &format!("{moment} {warnings}")))?;
        }
        if failing {
            // The warnings above have told the reason already, most often.
            let told = |line: &str| {
                let why = line.strip_prefix(PENDING).unwrap_or(line);
                report
                    .notes
                    .iter()
                    .any(|item| item.note.kind.is_warning() && escape_controls(&item.note.message) == why)
            };
            what.lines().filter(|line| !told(line)).for_each(|line| self.context.printer.remark(line));
            noted(store.set_note(REPORTED, &format!("{moment} {what}")))?;
        } else if what.is_empty() && store.note(REPORTED)?.is_some() && noted(store.clear_note(REPORTED))? {
            self.context.printer.remark("✓ Everything is as recorded again");
        }
        Ok(())
    }

    fn is_news(&self, said: Option<&str>, what: &str) -> bool {
        is_news(self.context, said, what, self.report.finished)
    }
}

/// Whether there is something to say that was not said lately. `said`: when, a space, and what.
fn is_news(context: &Context<'_>, said: Option<&str>, what: &str, now: Timestamp) -> bool {
    let (at, before) = said.and_then(|text| text.split_once(' ')).unwrap_or_default();
    let recent = at.parse::<Timestamp>().is_ok_and(|at| (now - at).abs() < REPORT_AGAIN);
    !what.is_empty() && (context.env.stderr_is_terminal || !recent || before != what)
}

/// True if these errors have to be told, by the same rule as a failure. Says itself that one has ended. Where the record
/// cannot be read or written they are told.
pub(super) fn errors_are_news(
    context: &Context<'_>,
    driver: &Driver<'_>,
    errors: &[CommandError],
    now: Timestamp,
) -> bool {
    let what = errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("\n");
    let mut store = driver.store.borrow_mut();
    let mut judged = || -> Result<bool, StateError> {
        let said = store.note(ERRED)?;
        let news = is_news(context, said.as_deref(), &what, now);
        if news {
            store.set_note(ERRED, &format!("{} {what}", now.format("%Y-%m-%dT%H:%M:%SZ")))?;
        } else if let Some(said) = said.filter(|_| what.is_empty()) {
            store.clear_note(ERRED)?;
            let before = said.split_once(' ').and_then(|(_, before)| before.lines().next()).unwrap_or_default();
            context.printer.remark(&format!("✓ Fixed: {}", escape_controls(before)));
        }
        Ok(news)
    };
    judged().unwrap_or_else(|error| {
        tracing::info!("that it was told cannot be noted: {error}");
        !what.is_empty()
    })
}

fn unclosed(session: &Session, grant: &Grant) -> String {
    let (short, name) = (session.id.short(), escape_controls(&grant.resource_name));
    format!("session {short} on {name} {}: not confirmed closed yet", grant.ip_version())
}

/// Whether it could be noted that something was told. Where the record cannot be written for now, which the pass has told,
/// it is told again.
fn noted(written: Result<(), StateError>) -> Result<bool, CommandError> {
    match written {
        Err(error) if error.is_unwritable() => {
            tracing::info!("that it was told cannot be noted: {error}");
            Ok(false)
        }
        other => Ok(other.map(|()| true)?),
    }
}

/// The warnings of a pass in words that stay the same while they do: a clock's difference changes all the time.
fn warning_text(report: &PassReport) -> String {
    let words = |item: &NoteReport| match item.note.kind {
        NoteKind::ClockSkew => item.note.kind.as_str().to_owned(),
        _ => item.note.message.clone(),
    };
    let notes = report.notes.iter().filter(|item| item.note.kind.is_warning()).map(words);
    let of_lock = report.warnings.iter().map(|warning| warning.message.clone());
    let warnings: BTreeSet<String> = notes.chain(of_lock).collect();
    warnings.into_iter().collect::<Vec<_>>().join("\n")
}

fn kept(plan: &TargetPlan) -> Vec<String> {
    let held = plan.standings.iter().filter_map(|(permission, standing)| {
        let whose = match standing {
            Standing::Own(rule) => format!("{rule}"),
            Standing::Shared(rule) => format!("{rule}, shared"),
            Standing::Foreign(rule) => format!("{rule}, not eg's"),
            _ => return None,
        };
        Some(format!("  = {} from {} ({whose})\n", permission.ports(), permission.cidr()))
    });
    held.collect()
}

fn failed_sessions(store: &Store, ids: &[SessionId]) -> Result<Vec<Session>, CommandError> {
    let found = ids.iter().map(|id| store.session(*id)).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// Stands before the reason why a pass has not done everything.
const PENDING: &str = "Still pending: ";

/// The failure in words that stay the same while it does: no times, no counts.
fn failure_text(report: &PassReport, failed: &[Session], open_ends: &[String]) -> String {
    if report.converged && report.state_errors.is_empty() {
        return String::new();
    }
    let mut lines: Vec<String> = failed
        .iter()
        .flat_map(|session| {
            session.grants.iter().filter_map(move |grant| {
                let why = grant.error_message()?;
                Some(format!(
                    "session {} on {}: {}",
                    session.id.short(),
                    escape_controls(&grant.resource_name),
                    escape_controls(&why)
                ))
            })
        })
        .collect();
    if lines.is_empty() {
        lines.extend(report.summary().map(|summary| format!("{PENDING}{}", escape_controls(&summary))));
    }
    if lines.is_empty() {
        lines.extend(open_ends.iter().cloned());
    }
    if lines.is_empty() {
        lines.push("not everything is as recorded yet; eg keeps trying".to_owned());
    }
    lines.sort();
    lines.dedup();
    lines.join("\n")
}
