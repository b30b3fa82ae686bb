//! `eg session stop`.

use crate::commands::context::{Context, concerns, ended_text};
use crate::{
    config::settings::Settings,
    error::{CommandError, Exit, Kind},
    host::signals::Interrupt,
    reconcile::{
        driver::Driver,
        observe::TargetReadings,
        report::{PassReport, StepOutcome, StepReport},
    },
    ui::{json::SessionJson, time::Zone, warning::Code},
};
use eg_model::{
    Timestamp,
    failure::{Failure, FailureClass, Purpose},
    ids::SessionId,
    lease::{Lease, Phase},
    plan::{NoteKind, Step},
    session::record::{GrantStatus, Session, SessionStatus, Standing},
    target::TargetKey,
};
use eg_state::{RunKind, StateError, Store};
use std::collections::{BTreeMap, BTreeSet};

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

/// Stops sessions.
///
/// # Errors
/// There is nothing to stop, or the stop cannot be recorded.
pub fn run(context: &Context<'_>, args: &StopArgs) -> Result<Exit, CommandError> {
    let runtime = context.runtime()?;
    let ended = runtime.block_on(stop(context, args));
    runtime.shutdown_background();
    ended
}

async fn stop(context: &Context<'_>, args: &StopArgs) -> Result<Exit, CommandError> {
    // Closing is never blocked by a bad configuration; it is reported at the end.
    let settings = context.settings();
    let mut store = context.store()?;
    let now = context.env.now();
    let mut unrecorded = Unrecorded::default();
    unrecorded.unless_unwritable(store.expire(now))?;
    let mut sessions = chosen(context, &store, args)?;
    if sessions.is_empty() {
        context.printer.json(&Vec::<SessionJson>::new());
        context.printer.remark("No live sessions.");
        settings?;
        return Ok(Exit::Done);
    }
    for session in &sessions {
        context.printer.progress(&format!("→ Stopping session {}...", session.id.short()));
        match store.stop(session.id, now) {
            // Another process was faster.
            Err(StateError::AlreadyEnded { .. }) if args.all => {}
            other => unrecorded.stop(session.id, other.map(drop))?,
        }
    }
    // Stable, so that of two that started in one second the newer stays first.
    sessions.sort_by_key(|session| std::cmp::Reverse(session.started_at));
    context.name_endpoints(sessions.iter().flat_map(|session| &session.grants).map(|grant| &grant.target));
    let ids: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
    let mut driver = context.driver(store, settings.as_ref().ok())?;
    driver.unrecorded_stops.clone_from(&unrecorded.stops);
    let passed = close(context, &driver, &ids).await;
    let untried = Untried::of(&passed);
    unrecorded.again(&mut driver.store.borrow_mut(), now);
    let store = driver.store.borrow();
    let ended = ids.iter().map(|id| context.again(&store, *id)).collect::<Result<Vec<_>, _>>()?;
    let shown = StopPrinter { context, store: &store, unrecorded: &unrecorded.stops, untried };
    shown.print(args, &sessions, &ended)?;
    let passed = passed.map_err(|error| go_on(error, &ended))?;
    settings?;
    if !unrecorded.stops.is_empty() {
        let message = format!("rules were closed, but the stop could not be recorded: {}", unrecorded.why);
        context.printer.warn(Code::Unwritable, &message, &[unrecorded.hint()]);
    }
    let closed = ended.iter().all(|session| session.status.is_ended());
    Ok(if closed && passed.is_none_or(|report| retagged(&report)) { Exit::Done } else { Exit::Partial })
}

/// Says how the closing goes on after a pass that did not come to its end.
fn go_on(error: CommandError, ended: &[Session]) -> CommandError {
    let open = ended.iter().filter(|session| !session.status.is_ended());
    open.fold(error, |error, session| {
        let short = session.id.short();
        error.hint(format!("session {short} is not closed yet; go on with: eg session stop {short}"))
    })
}

/// Stops that are carried out, although the record cannot be written for now.
#[derive(Default)]
struct Unrecorded {
    stops: BTreeSet<SessionId>,
    /// Why they are not on record, and what to do about it.
    why: String,
    advice: Option<String>,
}

impl Unrecorded {
    /// Whether it is on record.
    fn unless_unwritable<T>(&mut self, result: Result<T, StateError>) -> Result<bool, CommandError> {
        match result {
            Err(error) if error.is_unwritable() => {
                tracing::warn!("not recorded, but carried out: {error}");
                (self.why, self.advice) = (error.to_string(), error.advice());
                Ok(false)
            }
            other => Ok(other.map(|_| true)?),
        }
    }

    fn stop(&mut self, id: SessionId, result: Result<(), StateError>) -> Result<(), CommandError> {
        if !self.unless_unwritable(result)? {
            self.stops.insert(id);
        }
        Ok(())
    }

    /// Records what can be recorded by now: who kept the record locked may have let go.
    fn again(&mut self, store: &mut Store, now: Timestamp) {
        self.stops.retain(|id| match store.stop(*id, now) {
            Ok(_) | Err(StateError::AlreadyEnded { .. }) => false,
            Err(_) => true,
        });
    }

    fn hint(&self) -> String {
        let first = self.advice.as_ref().map(|advice| format!("{advice}; ")).unwrap_or_default();
        format!("{first}then stop again: until that is on record, the next reconcile opens the rules anew")
    }
}

/// Whether no rule that stays for another session still says the old time, in its tag or its expiry schedule.
fn retagged(report: &PassReport) -> bool {
    // The last word on each rule counts: one that was refused in a batch may have been done alone.
    let moved = report.steps.iter().filter(|step| matches!(step.step, Step::Retag { .. } | Step::SetAutoClose { .. }));
    let rules = |step: &StepReport| {
        let (action, outcome) = (step.step.action(), step.outcome);
        step.step.rule_ids().into_iter().map(move |rule| ((action, rule), outcome)).collect::<Vec<_>>()
    };
    let outcomes: BTreeMap<_, _> = moved.flat_map(rules).collect();
    outcomes.values().all(|outcome| *outcome == StepOutcome::Done)
}

/// Nothing that was ever sent needs no pass, no lock and no network.
async fn close(
    context: &Context<'_>,
    driver: &Driver<'_>,
    ids: &[SessionId],
) -> Result<Option<PassReport>, CommandError> {
    let open = {
        let store = driver.store.borrow();
        ids.iter().map(|id| context.again(&store, *id)).collect::<Result<Vec<_>, _>>()?
    };
    let touched = driver.needed(Some(&ids.iter().copied().collect()))?;
    if open.iter().all(|session| session.status.is_ended()) && touched.is_empty() {
        return Ok(None);
    }
    context.scoped_pass(driver, RunKind::Stop, ids, TargetReadings::new()).await.map(Some)
}

/// Ends a session for the command that has begun it, and closes what it opened; `interrupt` is whose signals are heeded.
/// One that has ended meanwhile stays as it is. Returns it as it is then.
///
/// # Errors
/// [`Kind::StillOpen`]: it is not closed, or nobody knows; with what is open, and how to go on.
pub(super) async fn end_own(
    context: &Context<'_>,
    settings: &Settings,
    id: SessionId,
    interrupt: Interrupt,
) -> Result<Session, CommandError> {
    let short = id.short();
    let how = format!("close it with: eg session stop {short}");
    end(context, settings, id, interrupt).await.map_err(|CommandError { message, hints, .. }| CommandError {
        kind: Kind::StillOpen,
        // Not a hint: nobody may be so quiet as not to hear it.
        message: format!("session {short} is not closed: {message}; {how}"),
        hints,
    })
}

async fn end(
    context: &Context<'_>,
    settings: &Settings,
    id: SessionId,
    interrupt: Interrupt,
) -> Result<Session, CommandError> {
    let mut store = context.store()?;
    let now = context.env.now();
    let mut unrecorded = Unrecorded::default();
    unrecorded.unless_unwritable(store.expire(now))?;
    match store.stop(id, now) {
        Err(StateError::AlreadyEnded { .. }) => {}
        other => unrecorded.stop(id, other.map(drop))?,
    }
    let mut driver = context.driver_heeding(interrupt, store, Some(settings));
    driver.unrecorded_stops.clone_from(&unrecorded.stops);
    let passed = close(context, &driver, &[id]).await;
    unrecorded.again(&mut driver.store.borrow_mut(), now);
    let store = driver.store.borrow();
    let session = context.again(&store, id)?;
    if session.status.is_ended() {
        // What may be left to do concerns the tags of rules that stay for others.
        return Ok(session);
    }
    let shown = StopPrinter { context, store: &store, unrecorded: &unrecorded.stops, untried: Untried::of(&passed) };
    let open = shown.still_open(&session)?;
    Err(match passed {
        _ if !unrecorded.stops.is_empty() => {
            let message = format!("its stop is not on record: {}", unrecorded.why);
            CommandError::new(Kind::State, message).hint(unrecorded.hint())
        }
        Ok(_) => CommandError::new(Kind::StillOpen, open),
        Err(error) => CommandError { message: format!("{open}; {}", error.message), ..error },
    })
}

fn chosen(context: &Context<'_>, store: &Store, args: &StopArgs) -> Result<Vec<Session>, CommandError> {
    let mut open = store.live_sessions()?;
    let nothing = || CommandError::new(Kind::NotFound, "no live sessions").hint("see them with: eg session list");
    if args.all {
        open.extend(store.unfinished_sessions()?);
        return Ok(open);
    }
    let Some(id) = &args.id else {
        // One that has just expired, or that could not be closed before, is what is meant when nothing is live.
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

/// Prints what a stop came to.
struct StopPrinter<'a> {
    context: &'a Context<'a>,
    store: &'a Store,
    /// Sessions whose stop is not on record.
    unrecorded: &'a BTreeSet<SessionId>,
    untried: Untried,
}

/// Where a pass could not try to close anything.
enum Untried {
    /// It did not come to its end.
    Anything,
    /// These could not be read.
    Targets(BTreeSet<TargetKey>),
}

impl Untried {
    fn of<E>(passed: &Result<Option<PassReport>, E>) -> Self {
        let Ok(report) = passed else { return Self::Anything };
        let notes = report.iter().flat_map(|report| &report.notes);
        let unread = notes.filter(|item| item.note.kind == NoteKind::Unavailable);
        Self::Targets(unread.map(|item| item.target.clone()).collect())
    }

    fn concerns(&self, target: &TargetKey) -> bool {
        match self {
            Self::Anything => true,
            Self::Targets(unread) => unread.contains(target),
        }
    }
}

impl StopPrinter<'_> {
    fn print(&self, args: &StopArgs, before: &[Session], ended: &[Session]) -> Result<(), CommandError> {
        let Self { context, store, .. } = self;
        if args.all {
            let json =
                ended.iter().map(|session| context.session_json(store, session)).collect::<Result<Vec<_>, _>>()?;
            context.printer.json(&json);
        } else if let Some(session) = ended.first() {
            context.printer.json(&context.session_json(store, session)?);
        }
        let others = store.live_sessions()?;
        let leases = store.open_leases()?;
        for (before, session) in before.iter().zip(ended) {
            if self.unrecorded.contains(&session.id) {
                context.printer.result("Stop not recorded\n");
                continue;
            }
            // One of several is named.
            let name = if args.all { format!(" {}", session.id.short()) } else { String::new() };
            context.printer.result(&self.closing_line(session, &name, &others, &leases));
            for line in stays_open(before, &others, &leases, &context.zone) {
                context.printer.result(&format!("  still open: {line}\n"));
            }
        }
        Ok(())
    }

    /// `Session stopped` is said only when every rule is closed or left to somebody else.
    fn closing_line(&self, session: &Session, name: &str, others: &[Session], leases: &[Lease]) -> String {
        match session.status {
            SessionStatus::Cancelled if !name.is_empty() => format!("✓ Stopped{name}\n"),
            SessionStatus::Cancelled => "✓ Session stopped\n".to_owned(),
            SessionStatus::Expired => format!("✓ Session{name} closed; it had expired\n"),
            _ => format!("Stop recorded; {}\n", self.open_until(&closing(session, others, leases))),
        }
    }

    /// Counts the rules that are open for certain, and those that only wait for a confirmation.
    fn open_until(&self, closing: &[&Lease]) -> String {
        let (open, waiting): (Vec<&Lease>, Vec<&Lease>) =
            closing.iter().copied().partition(|lease| self.is_open(lease));
        let rules = |count: usize| if count == 1 { "1 rule".to_owned() } else { format!("{count} rules") };
        let mut parts = Vec::new();
        if !open.is_empty() {
            parts.push(format!("{} still open until the next reconcile", rules(open.len())));
        }
        if let Some(at) = waiting.iter().filter_map(|lease| lease.settles_at()).max() {
            let at = self.context.zone.clock(at);
            parts.push(format!("{} not confirmed closed yet, next check {at}", rules(waiting.len())));
        }
        if parts.is_empty() { "the next reconcile closes it".to_owned() } else { parts.join("; ") }
    }

    /// The same with each of them.
    fn still_open(&self, session: &Session) -> Result<String, CommandError> {
        let (others, leases) = (self.store.live_sessions()?, self.store.open_leases()?);
        let open = closing(session, &others, &leases);
        let name = |lease: &Lease| {
            let grant = session.grants.iter().find(|grant| grant.target.key == lease.target.key);
            grant.map_or_else(|| lease.target.key.to_string(), |grant| grant.resource_name.clone())
        };
        let what =
            |lease: &&Lease| format!("{} {} from {}", name(lease), lease.permission.ports(), lease.permission.cidr());
        let each: Vec<String> = open.iter().map(what).collect();
        Ok(format!("{} ({})", self.open_until(&open), each.join(", ")))
    }

    /// | the last attempt to close it | a rule is |
    /// |---|---|
    /// | none was possible in this pass, or it was refused | open |
    /// | had no answer, or a reading that is too early does not show the rule | not confirmed closed |
    fn is_open(&self, lease: &Lease) -> bool {
        // "Not found" by id says that the rule may be gone.
        let refused = |why: &Failure| {
            let definite = !why.class.outcome_unknown() && why.class != FailureClass::Stale;
            definite && !matches!(why.purpose, Some(Purpose::Open | Purpose::Tag))
        };
        lease.last_failure.as_ref().is_some_and(refused) || self.untried.concerns(&lease.target.key)
    }
}

/// The claims of a session that ends which nobody else wants.
fn closing<'l>(session: &Session, others: &[Session], leases: &'l [Lease]) -> Vec<&'l Lease> {
    let wanted = |lease: &Lease| others.iter().any(|other| other.id != session.id && concerns(lease, other));
    // A rule that the provider refused to open, or was never asked for, is not open.
    let holds = |lease: &Lease| lease.phase != Phase::Leaving && !lease.opened_nothing();
    let closing = |lease: &&Lease| concerns(lease, session) && holds(lease) && !wanted(lease);
    leases.iter().filter(closing).collect()
}

/// What of a session's ports stays open, and who holds it.
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
            // What another session wants and nobody could open is not open.
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
            lines.push(format!("{} {}, held by {holder}", grant.resource_name, item.permission.ports()));
        }
    }
    lines
}
