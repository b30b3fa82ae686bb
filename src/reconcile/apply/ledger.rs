//! Intents before calls, outcomes after them, and what a reading teaches.

use crate::error::CommandError;
use crate::reconcile::apply::round::{StepFlow, TargetRun, unrecorded};
use crate::reconcile::observe::fresh;
use crate::reconcile::retry;
use crate::reconcile::retry::Retry;
use crate::reconcile::{
    driver::LoadedRecord,
    report::{StepOutcome, StepReport},
};
use chrono::TimeDelta;
use eg_model::Timestamp;
use eg_model::failure::{Failure, FailureClass};
use eg_model::ids::{LeaseId, RuleId, SessionId};
use eg_model::lease::{Attempt, Lease};
use eg_model::net::permission::Permission;
use eg_model::observation::Observation;
use eg_model::plan::{LedgerStep, Note, NoteKind, Step, TargetPlan};
use eg_state::{Event, EventKind, StateError, Written};

/// Why nothing is opened, and no expiry schedule set, where a row does not parse.
pub(super) const DAMAGED: &str = "its row in the record is damaged";

/// A lease that is in no row: what stands in its place could not be read, or written.
pub(super) const UNWRITTEN: LeaseId = LeaseId(0);

pub(super) fn is_unwritten(lease: &Lease) -> bool {
    lease.id == UNWRITTEN
}

impl TargetRun<'_> {
    /// Ledger steps: what the reading teaches. Whether it taught anything.
    pub(super) fn learn(&mut self, plan: &TargetPlan, loaded: &LoadedRecord) -> Result<bool, CommandError> {
        let confirmed: Vec<_> = match &self.look.observation {
            Observation::Complete(reading) => {
                let gone = |id: &&RuleId| !reading.rules.iter().any(|rule| rule.id == **id);
                self.confirming.keys().filter(gone).cloned().collect()
            }
            Observation::Missing | Observation::Unavailable(_) => Vec::new(),
        };
        let learnt = !confirmed.is_empty() || !plan.ledger.is_empty();
        for id in confirmed {
            if let Some((rule, lease)) = self.confirming.remove(&id) {
                self.record_revoked(&lease, &rule, None, loaded)?;
            }
        }
        for step in &plan.ledger {
            self.learn_step(step, loaded)?;
        }
        Ok(learnt)
    }

    fn learn_step(&mut self, step: &LedgerStep, loaded: &LoadedRecord) -> Result<(), CommandError> {
        let now = self.now();
        match step {
            LedgerStep::Adopt { permission, rule, until } => {
                let Some(lease) = self.claim(permission, now)? else { return Ok(()) };
                let event = self.event(EventKind::LeaseAdopted, "seen with our tag", permission, Some(rule.id()));
                self.write(&lease, &lease.adopted(rule.id().clone(), *until), &event)?;
            }
            LedgerStep::KnowAutoClose { .. } | LedgerStep::ForgetAutoClose { .. } => {
                self.learn_auto_close(step, loaded)?
            }
            LedgerStep::Close { lease } => {
                if let Some(lease) = loaded.leases.iter().find(|known| known.id == *lease) {
                    let event = self.event(EventKind::LeaseClosed, "nothing of ours is there", &lease.permission, None);
                    self.write(lease, &lease.closed(), &event)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn event(
        &self,
        kind: EventKind,
        outcome: &str,
        permission: &Permission,
        rule: Option<&RuleId>,
    ) -> Event {
        Event {
            target: Some(self.key.clone()),
            permission: Some(*permission),
            rule_id: rule.cloned(),
            ..Event::new(self.now(), kind, outcome)
        }
    }

    pub(super) fn failure_event(&self, kind: EventKind, lease: &Lease, failure: &Failure) -> Event {
        let event = self.event(kind, &failure.class.to_string(), &lease.permission, lease.proven_rule());
        Event { request_id: failure.request_id.clone(), detail: Some(failure.message.clone()), ..event }
    }

    /// An intent. The way that works now is the way to close it later.
    pub(super) fn intent(&self, lease: &Lease, attempt: Attempt, now: Timestamp) -> Lease {
        Lease { target: self.look.target.clone(), ..lease.intend(attempt, now) }
    }

    /// Transaction A: the session still lives, every lease is still what the plan saw, and the intent is written.
    /// Closing goes on where the record cannot be written: what it closes is known by its id.
    pub(super) fn intend(
        &mut self,
        before: &[Lease],
        intents: &[Lease],
        session: Option<SessionId>,
        step: &Step,
    ) -> Result<bool, CommandError> {
        if intents.is_empty() {
            return Ok(true);
        }
        let now = self.now();
        let batch: Vec<(Lease, u64)> = intents.iter().cloned().zip(before.iter().map(|lease| lease.version)).collect();
        let batch: Vec<(Lease, u64)> = batch.into_iter().filter(|(lease, _)| !is_unwritten(lease)).collect();
        if batch.is_empty() && !step.opens() {
            tracing::warn!("closing without a written intent: a row of the record is damaged");
            return Ok(true);
        }
        // A call that opens without a lease on record would be known to nobody after a crash.
        if step.opens() && batch.len() < intents.len() {
            return Ok(false);
        }
        let event = |lease: &Lease| {
            let event = self.event(EventKind::Intent, step.action(), &lease.permission, lease.proven_rule());
            Event { session, ..event }
        };
        let events: Vec<Event> = intents.iter().map(event).collect();
        let written = self.driver.store.borrow_mut().begin_attempt(session.map(|id| (id, now)), &batch, &events);
        self.driver.env.progress.note();
        match written {
            // The write may have taken its time, or the process was stopped: others may have acted on what they saw since.
            Ok(Written::Done) if !fresh(now, self.now()) => {
                tracing::info!("the intent to {} is too old to be carried out; it is read again", step.action());
                self.soft_refuse(intents, &Failure::new(FailureClass::Transient, "it was not sent: too late"))?;
                Ok(false)
            }
            Ok(Written::Done) => Ok(true),
            Ok(Written::Raced | Written::NoLongerWanted) => {
                self.steps.push(self.report(step, StepOutcome::Skipped, Some("the record has changed".to_owned())));
                Ok(false)
            }
            Err(error) if error.is_unwritable() && !step.opens() => {
                tracing::warn!("closing without a written intent: {error}");
                Ok(true)
            }
            Err(error) => self.unless_unwritable::<()>(Err(error)).map(|_| false),
        }
    }

    /// The lease on a permission here, made where there is none. `None`: the record cannot be written for now, or its row
    /// is damaged, and then nothing is opened for it in this pass.
    pub(super) fn claim(&mut self, permission: &Permission, now: Timestamp) -> Result<Option<Lease>, CommandError> {
        let claimed = self.driver.store.borrow_mut().claim(&self.look.target, permission, now);
        if claimed.as_ref().is_err_and(StateError::is_of_a_row) {
            self.unreadable.insert(*permission);
        }
        self.unless_unwritable(claimed)
    }

    /// A record that cannot be written for now keeps anything new from being opened in this pass; it never keeps anything
    /// from being closed.
    pub(super) fn unless_unwritable<T>(&mut self, result: Result<T, StateError>) -> Result<Option<T>, CommandError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_unwritable() => {
                self.may_open = false;
                self.unrecorded = Some(CommandError::from(error).message);
                Ok(None)
            }
            // One row ends what it is about, and nothing else.
            Err(error) if error.is_of_a_row() => {
                self.unrecorded = Some(CommandError::from(error).message);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Transaction B: the outcome, where the version is still ours. If somebody else has moved the lease on, the
    /// next reading tells; nothing is lost, because the intent is on record.
    pub(super) fn write(&mut self, from: &Lease, to: &Lease, event: &Event) -> Result<(), CommandError> {
        if is_unwritten(from) {
            return Ok(());
        }
        let written = self.driver.store.borrow_mut().write_lease(to, from.version, event);
        self.driver.env.progress.note();
        match written {
            Ok(Written::Done) => Ok(()),
            Ok(Written::Raced | Written::NoLongerWanted) => {
                tracing::info!("a lease on {} changed meanwhile; the next reading decides", self.key);
                Ok(())
            }
            Err(error) if error.is_unwritable() => {
                self.unrecorded = Some(unrecorded(error).message);
                Ok(())
            }
            Err(error) => Err(unrecorded(error)),
        }
    }

    pub(super) fn refuse(
        &mut self,
        intents: &[Lease],
        failure: &Failure,
        retry: Retry,
        step: &Step,
    ) -> Result<(), CommandError> {
        for lease in intents {
            let wait = retry::delay(retry, lease.refusals.saturating_add(1), self.driver.env.random());
            self.refuse_until(lease, failure, TimeDelta::from_std(wait).unwrap_or(TimeDelta::minutes(1)))?;
        }
        self.clean = false;
        if let Step::Restore { rule, .. } = step {
            // The next plan says what is true now: the tags are not written again.
            let promised = |note: &Note| note.kind == NoteKind::Stripped && note.message.starts_with(&rule.id().0);
            self.notes.retain(|note| !promised(note));
        }
        let report = self.report(step, StepOutcome::Refused, Some(failure.to_string()));
        self.steps.push(StepReport { advice: Some(crate::error::step_advice(step, failure.class)), ..report });
        Ok(())
    }

    /// Refused for now: it may go again in this pass.
    pub(super) fn soft_refuse(&mut self, intents: &[Lease], failure: &Failure) -> Result<(), CommandError> {
        intents.iter().try_for_each(|lease| self.refuse_until(lease, failure, TimeDelta::zero()))
    }

    pub(super) fn refuse_until(
        &mut self,
        lease: &Lease,
        failure: &Failure,
        wait: TimeDelta,
    ) -> Result<(), CommandError> {
        let now = self.now();
        let event = self.failure_event(EventKind::Refused, lease, failure);
        self.write(lease, &lease.refused(failure.clone(), now + wait), &event)
    }

    /// No usable answer: this target rests for the round, and readings must tell.
    pub(super) fn unanswered(
        &mut self,
        intents: &[Lease],
        failure: &Failure,
        step: &Step,
    ) -> Result<StepFlow, CommandError> {
        let now = self.now();
        let retry = if step.opens() { Retry::Opening } else { Retry::Closing };
        for lease in intents {
            let wait = retry::delay(retry, lease.refusals.saturating_add(1), self.driver.env.random());
            let next = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::minutes(1));
            let event = self.failure_event(EventKind::Unanswered, lease, failure);
            self.write(lease, &lease.unanswered(failure.clone(), next, now), &event)?;
            self.watching.insert(lease.permission);
        }
        // What is not known by the end of the pass shows in the last plan.
        let report = self.report(step, StepOutcome::Unknown, Some(failure.to_string()));
        self.steps.push(StepReport { advice: Some(crate::error::advice(failure.class)), ..report });
        Ok(StepFlow::Reobserve)
    }

    pub(super) fn report(&self, step: &Step, outcome: StepOutcome, error: Option<String>) -> StepReport {
        StepReport { target: self.key.clone(), step: step.clone(), outcome, error, advice: None }
    }

    /// Turns to the next recorded way to this target, each once in a pass.
    pub(super) fn next_way(&mut self) -> bool {
        self.ways_tried += 1;
        let more = self.ways_tried < self.ways.len();
        if more {
            self.ways.rotate_left(1);
            // The other credentials begin with a reading of their own.
            self.too_old.clear();
        }
        more
    }
}
