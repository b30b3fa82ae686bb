//! Writes to the record: intents before calls, outcomes after them, and what a reading teaches.

use super::target::{StepFlow, StepResult, TargetRun};
use crate::{
    error::{CommandError, advice, step_advice},
    reconcile::{
        loaded_record::LoadedRecord,
        reading::is_recent,
        report::{StepOutcome, StepReport},
        retry::{self, Retry},
    },
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    failure::{Failure, FailureClass, Reaction},
    ids::{LeaseId, RuleId, SessionId},
    lease::{Attempt, Lease},
    net::permission::Permission,
    observation::Observation,
    plan::{LedgerStep, Note, NoteKind, Step, TargetPlan},
};
use eg_state::{Event, EventKind, RowOutcome, StateError};

/// The reason for opening nothing, and setting no expiry schedule, if a row does not parse.
pub(super) const DAMAGED: &str = "its row in the record is damaged";

/// The id of a lease without a row: its row could not be read, or written.
pub(super) const UNWRITTEN: LeaseId = LeaseId(0);

fn is_unwritten(lease: &Lease) -> bool {
    lease.id == UNWRITTEN
}

impl TargetRun<'_> {
    /// Records what the reading teaches. True if it taught anything.
    pub(super) fn learn(&mut self, plan: &TargetPlan, loaded: &LoadedRecord) -> Result<bool, CommandError> {
        let confirmed: Vec<RuleId> = match &self.reading.observation {
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
        match step {
            LedgerStep::Adopt { permission, rule, until } => {
                let Some(lease) = self.claim(permission, self.now())? else { return Ok(()) };
                let event = self.event(EventKind::LeaseAdopted, "seen with our tag", permission, Some(rule.id()));
                self.write(&lease, &lease.adopted(rule.id().clone(), *until), &event)
            }
            LedgerStep::Close { lease } => {
                let Some(lease) = loaded.leases.iter().find(|known| known.id == *lease) else { return Ok(()) };
                let event = self.event(EventKind::LeaseClosed, "nothing of ours is there", &lease.permission, None);
                self.write(lease, &lease.closed(), &event)
            }
            LedgerStep::KnowAutoClose { rule, permission, at, way } => {
                self.know_auto_close(loaded, rule, permission, way, *at)
            }
            LedgerStep::ForgetAutoClose { rule } => {
                let forgotten = self.driver.store.borrow_mut().forget_auto_close(rule, None);
                self.unless_unwritable(forgotten).map(drop)
            }
        }
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

    fn failure_event(&self, kind: EventKind, lease: &Lease, failure: &Failure) -> Event {
        let event = self.event(kind, &failure.class.to_string(), &lease.permission, lease.proven_rule());
        Event { request_id: failure.request_id.clone(), detail: Some(failure.message.clone()), ..event }
    }

    /// An intent. The route that works now is the route for closing it later.
    pub(super) fn intent(&self, lease: &Lease, attempt: Attempt, now: Timestamp) -> Lease {
        Lease { target: self.reading.target.clone(), ..lease.intend(attempt, now) }
    }

    /// Transaction A: checks that the session still lives and every lease is as the plan saw it, and writes the intents.
    /// True if the call may be sent. Closing goes on even if the record cannot be written: it acts on known ids.
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
        let batch = intents.iter().cloned().zip(before.iter().map(|lease| lease.version));
        let batch: Vec<(Lease, u64)> = batch.filter(|(lease, _)| !is_unwritten(lease)).collect();
        if batch.is_empty() && !step.opens() {
            tracing::warn!("closing without a written intent: a row of the record is damaged");
            return Ok(true);
        }
        // After a crash, no record would lead to a rule that was opened without a lease.
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
            // The write may have taken long, or the process was stopped. Others may have acted on the record since.
            Ok(RowOutcome::Done) if !is_recent(now, self.now()) => {
                tracing::info!("the intent to {} is too old to be carried out; the pass reads again", step.action());
                self.refuse_for_now(intents, &Failure::new(FailureClass::Transient, "it was not sent: too late"))?;
                Ok(false)
            }
            Ok(RowOutcome::Done) => Ok(true),
            Ok(RowOutcome::Raced | RowOutcome::NoLongerWanted) => {
                self.report_step(step, StepOutcome::Skipped, Some("the record has changed".to_owned()));
                Ok(false)
            }
            Err(error) if error.is_unwritable() && !step.opens() => {
                tracing::warn!("closing without a written intent: {error}");
                Ok(true)
            }
            Err(error) => self.unless_unwritable::<()>(Err(error)).map(|_| false),
        }
    }

    /// The lease on a permission, made if there is none. `None` if the record cannot be written for now, or the row is
    /// damaged; then nothing is opened for the permission in this pass.
    pub(super) fn claim(&mut self, permission: &Permission, now: Timestamp) -> Result<Option<Lease>, CommandError> {
        let claimed = self.driver.store.borrow_mut().claim(&self.reading.target, permission, now);
        if claimed.as_ref().is_err_and(StateError::is_of_a_row) {
            self.damaged.insert(*permission);
        }
        self.unless_unwritable(claimed)
    }

    /// Turns errors that the pass survives into `None`. A record that cannot be written stops every opening in this pass,
    /// and never a closing; a damaged row stops only the work on its own rule.
    pub(super) fn unless_unwritable<T>(&mut self, result: Result<T, StateError>) -> Result<Option<T>, CommandError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_unwritable() || error.is_of_a_row() => {
                self.may_open &= !error.is_unwritable();
                self.unrecorded = Some(CommandError::from(error).message);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Transaction B: writes the outcome if the version is still ours. If another process has changed the lease, the next
    /// reading decides; nothing is lost, because the intent is on record.
    pub(super) fn write(&mut self, from: &Lease, to: &Lease, event: &Event) -> Result<(), CommandError> {
        if is_unwritten(from) {
            return Ok(());
        }
        let written = self.driver.store.borrow_mut().write_lease(to, from.version, event);
        self.driver.env.progress.note();
        match written {
            Ok(RowOutcome::Done) => Ok(()),
            Ok(RowOutcome::Raced | RowOutcome::NoLongerWanted) => {
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

    /// Records a refusal, and returns the next action; `None` if a new reading has to explain the refusal first.
    pub(super) fn settle_refusal(
        &mut self,
        intents: &[Lease],
        failure: &Failure,
        step: &Step,
    ) -> Result<Option<StepFlow>, CommandError> {
        Ok(match failure.class.reaction() {
            Reaction::RetryNow => {
                self.refuse_for_now(intents, failure)?;
                Some(StepFlow::Throttled)
            }
            Reaction::Reobserve => None,
            Reaction::RetryLater => {
                self.refuse(intents, failure, step)?;
                Some(StepFlow::Next)
            }
            Reaction::Stop => {
                self.refuse(intents, failure, step)?;
                Some(StepFlow::Stop)
            }
        })
    }

    /// Refused: the next attempt waits.
    pub(super) fn refuse(&mut self, intents: &[Lease], failure: &Failure, step: &Step) -> Result<(), CommandError> {
        for lease in intents {
            self.refuse_until(lease, failure, self.delay(step, lease.refusals))?;
        }
        self.converged = false;
        if let Step::Restore { rule, .. } = step {
            // The note promised that the tags are written again. The next plan says what is true now.
            let promised = |note: &Note| note.kind == NoteKind::Stripped && note.message.starts_with(&rule.id().0);
            self.notes.retain(|note| !promised(note));
        }
        self.report_failure(step, StepOutcome::Refused, failure, step_advice(step, failure.class));
        Ok(())
    }

    /// Refused, but the step may go again in this pass.
    pub(super) fn refuse_for_now(&mut self, intents: &[Lease], failure: &Failure) -> Result<(), CommandError> {
        intents.iter().try_for_each(|lease| self.refuse_until(lease, failure, TimeDelta::zero()))
    }

    pub(super) fn refuse_until(
        &mut self,
        lease: &Lease,
        failure: &Failure,
        wait: TimeDelta,
    ) -> Result<(), CommandError> {
        let event = self.failure_event(EventKind::Refused, lease, failure);
        self.write(lease, &lease.refused(failure.clone(), self.now() + wait), &event)
    }

    /// No usable answer: this target stops for the round, and a reading has to show the outcome.
    pub(super) fn unanswered(&mut self, intents: &[Lease], failure: &Failure, step: &Step) -> StepResult {
        let now = self.now();
        for lease in intents {
            let next = now + self.delay(step, lease.refusals);
            let event = self.failure_event(EventKind::Unanswered, lease, failure);
            self.write(lease, &lease.unanswered(failure.clone(), next, now), &event)?;
            self.watching.insert(lease.permission);
        }
        // If the outcome is still unknown at the end of the pass, the last plan shows it.
        self.report_failure(step, StepOutcome::Unknown, failure, advice(failure.class));
        Ok(StepFlow::Reobserve)
    }

    /// The delay of the attempt after so many refusals.
    pub(super) fn delay(&self, step: &Step, refusals: u32) -> TimeDelta {
        let opens = step.opens() && !step.is_of_auto_close();
        let retry = if opens { Retry::Opening } else { Retry::Closing };
        let delay = retry::delay(retry, refusals.saturating_add(1), self.driver.env.random());
        TimeDelta::from_std(delay).unwrap_or(TimeDelta::minutes(1))
    }

    pub(super) fn report(&self, step: &Step, outcome: StepOutcome, error: Option<String>) -> StepReport {
        StepReport { target: self.key.clone(), step: step.clone(), outcome, error, class: None, advice: None }
    }

    pub(super) fn report_step(&mut self, step: &Step, outcome: StepOutcome, error: Option<String>) {
        self.steps.push(self.report(step, outcome, error));
    }

    pub(super) fn report_failure(
        &mut self,
        step: &Step,
        outcome: StepOutcome,
        failure: &Failure,
        advice: &'static str,
    ) {
        let report = self.report(step, outcome, Some(failure.to_string()));
        self.steps.push(StepReport { class: Some(failure.class), advice: Some(advice), ..report });
    }
}

pub(super) fn unrecorded(error: StateError) -> CommandError {
    let mut error = CommandError::from(error);
    error.message = format!("a change was made but could not be recorded (the next pass finds it): {}", error.message);
    error
}
