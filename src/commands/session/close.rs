//! Stopping sessions, for `stop` and for the commands that close their own session: the stop is recorded, then a pass closes
//! the rules. The rules are closed even if the
//! record cannot be written.

use crate::{
    commands::{context::Context, session::outcome::concerns},
    error::{CommandError, Kind},
    host::signals::Interrupt,
    reconcile::{driver::Driver, reading::TargetReadings, report::PassReport},
    ui::opening::opening,
};
use eg_config::settings::Settings;
use eg_model::{
    SETTLE_WINDOW, Timestamp,
    failure::{Failure, FailureClass, Purpose},
    ids::SessionId,
    lease::{Lease, Phase},
    plan::NoteKind,
    session::record::Session,
};
use eg_state::{RunKind, StateError, Store};
use std::collections::BTreeSet;

/// A stop of some sessions, before the pass.
pub(super) struct Stop<'a> {
    context: &'a Context<'a>,
    pub(super) store: Store,
    now: Timestamp,
    pub(super) unrecorded: Unrecorded,
}

/// Stops that are carried out although the record cannot be written for now.
#[derive(Default)]
pub(super) struct Unrecorded {
    pub(super) stops: BTreeSet<SessionId>,
    pub(super) why: String,
    advice: Option<String>,
}

impl Unrecorded {
    /// Notes a record that cannot be written for now, and returns `None` then.
    fn note<T>(&mut self, result: Result<T, StateError>) -> Result<Option<T>, StateError> {
        match result {
            Err(error) if error.is_unwritable() => {
                tracing::warn!("not recorded, but carried out: {error}");
                (self.why, self.advice) = (error.to_string(), error.advice());
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    pub(super) fn hint(&self) -> String {
        let first = self.advice.as_ref().map(|advice| format!("{advice}; ")).unwrap_or_default();
        format!("{first}then stop again: until that is on record, the next reconcile opens the rules anew")
    }
}

impl<'a> Stop<'a> {
    /// Opens the record, and lets expire what is over.
    pub(super) fn begin(context: &'a Context<'a>) -> Result<Self, CommandError> {
        let (mut store, now) = (context.store()?, context.env.now());
        let mut unrecorded = Unrecorded::default();
        unrecorded.note(store.expire(now))?;
        Ok(Self { context, store, now, unrecorded })
    }

    /// Records a stop, if the record can be written.
    pub(super) fn record(&mut self, id: SessionId) -> Result<(), StateError> {
        if self.unrecorded.note(self.store.stop(id, self.now))?.is_none() {
            self.unrecorded.stops.insert(id);
        }
        Ok(())
    }

    /// Makes the pass that closes what these sessions opened.
    pub(super) async fn close(
        mut self,
        ids: &[SessionId],
        settings: Option<&Settings>,
        interrupt: Interrupt,
    ) -> Result<Stopped<'a>, CommandError> {
        let mut driver = self.context.driver_with(interrupt, self.store, settings);
        driver.unrecorded_stops.clone_from(&self.unrecorded.stops);
        let passed = pass(self.context, &driver, ids).await;
        let mut store = driver.into_store();
        // Another process that kept the record locked may have finished.
        self.unrecorded.stops.retain(|id| match store.stop(*id, self.now) {
            Ok(_) | Err(StateError::AlreadyEnded { .. }) => false,
            Err(_) => true,
        });
        let sessions = ids.iter().map(|id| self.context.again(&store, *id)).collect::<Result<Vec<_>, _>>()?;
        Ok(Stopped { context: self.context, store, sessions, unrecorded: self.unrecorded, passed })
    }
}

/// `None`: nothing was ever sent for these sessions, so there was no need for a lock, the network or a pass.
async fn pass(
    context: &Context<'_>,
    driver: &Driver<'_>,
    ids: &[SessionId],
) -> Result<Option<PassReport>, CommandError> {
    let sessions = {
        let store = driver.store();
        ids.iter().map(|id| context.again(&store, *id)).collect::<Result<Vec<_>, _>>()?
    };
    let touched = driver.needed(Some(&ids.iter().copied().collect()))?;
    if sessions.iter().all(|session| session.status.is_ended()) && touched.is_empty() {
        return Ok(None);
    }
    context.session_pass(driver, RunKind::Stop, ids, TargetReadings::new(), Vec::new()).await.map(Some)
}

/// Sessions after their stop.
pub(super) struct Stopped<'a> {
    context: &'a Context<'a>,
    pub(super) store: Store,
    pub(super) sessions: Vec<Session>,
    pub(super) unrecorded: Unrecorded,
    /// `None` if no pass was needed.
    pub(super) passed: Result<Option<PassReport>, CommandError>,
}

impl Stopped<'_> {
    /// The rules of a session that are still open, or not confirmed closed yet; without the rules that others want.
    fn closing<'l>(&self, session: &Session, others: &[Session], leases: &'l [Lease]) -> Vec<&'l Lease> {
        let wanted = |lease: &Lease| others.iter().any(|other| other.id != session.id && concerns(lease, other));
        // A rule that the provider refused to open, or was never asked for, is not open.
        let holds = |lease: &Lease| lease.phase != Phase::Leaving && !lease.opened_nothing();
        let closing = |lease: &&Lease| concerns(lease, session) && holds(lease) && !wanted(lease);
        leases.iter().filter(closing).collect()
    }

    /// The rules that are open for certain, and those that only wait for a confirmation, by number.
    pub(super) fn open_until(&self, session: &Session, others: &[Session], leases: &[Lease]) -> String {
        let (open, waiting): (Vec<_>, Vec<_>) =
            self.closing(session, others, leases).into_iter().partition(|lease| self.is_open(lease));
        let rules = |count: usize| if count == 1 { "1 rule".to_owned() } else { format!("{count} rules") };
        let mut parts = Vec::new();
        if !open.is_empty() {
            parts.push(format!("{} still open until the next reconcile", rules(open.len())));
        }
        if let Some(at) = waiting.iter().filter_map(|lease| lease.settles_at(SETTLE_WINDOW)).max() {
            let at = self.context.zone.clock(at);
            parts.push(format!("{} not confirmed closed yet, next check {at}", rules(waiting.len())));
        }
        if parts.is_empty() { "the next reconcile closes it".to_owned() } else { parts.join("; ") }
    }

    /// Like [`Self::open_until`], with each rule.
    fn still_open(&self, session: &Session) -> Result<String, CommandError> {
        let (others, leases) = (self.store.live_sessions()?, self.store.open_leases()?);
        let name = |lease: &Lease| {
            let grant = session.grants.iter().find(|grant| grant.target.key == lease.target.key);
            grant.map_or_else(|| lease.target.key.to_string(), |grant| grant.resource_name.clone())
        };
        let rule = |lease: &&Lease| format!("{} {}", name(lease), opening(&lease.target.key, &lease.permission));
        let rules: Vec<String> = self.closing(session, &others, &leases).iter().map(rule).collect();
        Ok(format!("{} ({})", self.open_until(session, &others, &leases), rules.join(", ")))
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
        let untried = match &self.passed {
            Err(_) => true,
            Ok(report) => report
                .iter()
                .flat_map(|report| &report.notes)
                .any(|item| item.note.kind == NoteKind::Unavailable && item.target == lease.target.key),
        };
        untried || lease.last_failure.as_ref().is_some_and(refused)
    }
}

/// Stops a session for the command that opened it, and closes its rules; the command chooses the signals that `interrupt`
/// hears. A session that has ended meanwhile stays as it is.
///
/// # Errors
/// [`Kind::StillOpen`]: the session is not closed, or that is not known; with what is open, and how to go on.
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
        // In the message, not in a hint: `-q` hides hints.
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
    let mut stop = Stop::begin(context)?;
    match stop.record(id) {
        Err(StateError::AlreadyEnded { .. }) => {}
        recorded => recorded?,
    }
    let stopped = stop.close(&[id], Some(settings), interrupt).await?;
    let session = context.again(&stopped.store, id)?;
    if session.status.is_ended() {
        // Only tags of rules that stay for other sessions may be left to do.
        return Ok(session);
    }
    let open = stopped.still_open(&session)?;
    Err(match stopped.passed {
        _ if !stopped.unrecorded.stops.is_empty() => {
            let message = format!("its stop is not on record: {}", stopped.unrecorded.why);
            CommandError::new(Kind::State, message).hint(stopped.unrecorded.hint())
        }
        Ok(_) => CommandError::new(Kind::StillOpen, open),
        Err(error) => CommandError { message: format!("{open}; {}", error.message), ..error },
    })
}
