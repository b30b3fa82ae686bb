//! Writes to the record: intents before calls, outcomes after them, and what a reading teaches.

use super::target::{StepFlow, StepResult, TargetRun};
use crate::{
    error::{CommandError, advice, step_advice},
    reconcile::{
        driver::Written,
        lane::CallTurn,
        loaded_record::LoadedTarget,
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

/// A change of a lease after a call or a reading, with its event.
pub(super) struct Outcome {
    pub(super) from: Lease,
    pub(super) to: Lease,
    pub(super) event: Event,
}

impl<'a> TargetRun<'a> {
    /// Records what the reading teaches. True if it taught anything.
    pub(super) fn learn(&mut self, plan: &TargetPlan, loaded: &LoadedTarget) -> Result<bool, CommandError> {
        let confirmed: Vec<RuleId> = match &self.reading.observation {
            Observation::Complete(reading) => {
                let gone = |id: &&RuleId| !reading.rules.iter().any(|rule| rule.id == **id);
                self.confirming.keys().filter(gone).cloned().collect()
            }
            Observation::Missing | Observation::NoReadBack | Observation::Unavailable(_) => Vec::new(),
        };
        let learnt = !confirmed.is_empty() || !plan.ledger.is_empty();
        for id in confirmed {
            if let Some((rule, lease)) = self.confirming.remove(&id) {
                let outcome = self.revoked(&lease, &rule, None, loaded)?;
                self.write(vec![outcome])?;
                self.note_closed(loaded)?;
            }
        }
        for step in &plan.ledger {
            self.learn_step(step, loaded)?;
        }
        Ok(learnt)
    }

    fn learn_step(&mut self, step: &LedgerStep, loaded: &LoadedTarget) -> Result<(), CommandError> {
        match step {
            LedgerStep::Adopt { permission, rule, until } => {
                let Some(lease) = self.claim(permission, self.now())? else { return Ok(()) };
                let event = self.event(EventKind::LeaseAdopted, "seen with our tag", permission, Some(rule.id()));
                self.write(vec![Outcome { to: lease.adopted(rule.id().clone(), *until), from: lease, event }])
            }
            LedgerStep::Close { lease } => {
                let Some(lease) = loaded.rows.leases.iter().find(|known| known.id == *lease) else { return Ok(()) };
                let event = self.event(EventKind::LeaseClosed, "nothing of ours is there", &lease.permission, None);
                self.write(vec![Outcome { from: lease.clone(), to: lease.closed(), event }])
            }
            LedgerStep::KnowAutoClose { rule, permission, at, way } => {
                self.know_auto_close(loaded, rule, permission, way, *at)
            }
            LedgerStep::ForgetAutoClose { rule } => {
                let forgotten = self.driver.store_of(&self.key).forget_auto_close(rule, None);
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
    /// They survive a power loss before the call is sent. Returns the turn of the call; `None` if it may not be
    /// sent. Closing goes on even if the record cannot be written: it acts on known ids.
    pub(super) async fn intend(
        &mut self,
        before: &[Lease],
        intents: &[Lease],
        session: Option<SessionId>,
        step: &Step,
    ) -> Result<Option<CallTurn<'a>>, CommandError> {
        let lane = self.lane;
        if intents.is_empty() {
            return Ok(self.turn_on_fresh_reading(step).await);
        }
        let now = self.now();
        let batch = intents.iter().cloned().zip(before.iter().map(|lease| lease.version));
        let batch: Vec<(Lease, u64)> = batch.filter(|(lease, _)| !is_unwritten(lease)).collect();
        if batch.is_empty() && !step.opens() {
            tracing::warn!("closing without a written intent: a row of the record is damaged");
            return Ok(self.turn_on_fresh_reading(step).await);
        }
        // After a crash, no record would lead to a rule that was opened without a lease.
        if step.opens() && batch.len() < intents.len() {
            return Ok(None);
        }
        let event = |lease: &Lease| {
            let event = self.event(EventKind::Intent, step.action(), &lease.permission, lease.proven_rule());
            Event { session, ..event }
        };
        let events: Vec<Event> = intents.iter().map(event).collect();
        let written = self.driver.store_of(&self.key).begin_attempt(session.map(|id| (id, now)), &batch, &events);
        self.driver.env.progress.note();
        let mark = self.driver.written();
        // Whatever was written until the turn comes is flushed together.
        let turn = lane.turn_to_write().await;
        let flushed = !matches!(written, Ok(RowOutcome::Done)) || self.flush(mark).await;
        match written {
            // The write or the wait may have taken long, or the process was stopped. Others may have acted on the record or
            // the rules since.
            Ok(RowOutcome::Done) if !is_recent(now, self.now()) || !self.reading_is_fresh(step) || self.is_over() => {
                self.take_back(intents, "too late", step).map(|()| None)
            }
            Ok(RowOutcome::Done) if !flushed && step.opens() => {
                self.take_back(intents, "the record cannot be flushed", step).map(|()| None)
            }
            Ok(RowOutcome::Done) => Ok(Some(turn)),
            Ok(RowOutcome::Raced | RowOutcome::NoLongerWanted) => {
                self.report_step(step, StepOutcome::Skipped, Some("the record has changed".to_owned()));
                Ok(None)
            }
            Err(error) if error.is_unwritable() && !step.opens() => {
                tracing::warn!("closing without a written intent: {error}");
                Ok(Some(turn).filter(|_| self.reading_is_fresh(step)))
            }
            Err(error) => self.unless_unwritable::<()>(Err(error)).map(|_| None),
        }
    }

    /// The turn of a call without an intent; `None` if the reading became too old while the call waited for it.
    async fn turn_on_fresh_reading(&self, step: &Step) -> Option<CallTurn<'a>> {
        let turn = self.lane.turn_to_write().await;
        Some(turn).filter(|_| self.reading_is_fresh(step))
    }

    /// True if the step may be carried out on what was read: its rules, or for an opening the whole target, at most ten
    /// seconds ago.
    fn reading_is_fresh(&self, step: &Step) -> bool {
        match step {
            Step::Authorize { .. } => self.reading.is_recent(self.now()),
            _ => self.was_read_recently(step),
        }
    }

    /// Flushes what was written so far. False if that failed: then nothing is opened in this pass, and closing goes on.
    pub(super) async fn flush(&mut self, written: Written) -> bool {
        let flushed = self.driver.flush(written).await;
        if let Err(error) = flushed {
            self.may_open = false;
            self.unrecorded = Some(CommandError::from(error).message);
            return false;
        }
        true
    }

    fn take_back(&mut self, intents: &[Lease], why: &str, step: &Step) -> Result<(), CommandError> {
        tracing::info!("the intent to {} is not carried out: {why}", step.action());
        self.refuse_for_now(intents, &Failure::new(FailureClass::Transient, format!("it was not sent: {why}")))
    }

    /// The leases on permissions, all or none. A damaged row among several is an error, for each to be claimed by itself.
    pub(super) fn claim_all(&self, permissions: &[Permission], now: Timestamp) -> Result<Vec<Lease>, StateError> {
        self.driver.store_of(&self.key).claim_all(&self.reading.target, permissions, now)
    }

    /// The lease on a permission, made if there is none. `None` if the record cannot be written for now, or the row is
    /// damaged; then nothing is opened for the permission in this pass.
    pub(super) fn claim(&mut self, permission: &Permission, now: Timestamp) -> Result<Option<Lease>, CommandError> {
        let claimed = self.driver.store_of(&self.key).claim(&self.reading.target, permission, now);
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

    /// Transaction B: writes the outcomes of a call, each if the version is still ours. If another process has changed a
    /// lease, the next reading decides; nothing is lost, because the intent is on record. A power loss may take outcomes
    /// away, for the same reason.
    pub(super) fn write(&mut self, mut outcomes: Vec<Outcome>) -> Result<(), CommandError> {
        outcomes.retain(|outcome| !is_unwritten(&outcome.from));
        if outcomes.is_empty() {
            return Ok(());
        }
        let batch: Vec<(Lease, u64)> = outcomes.iter().map(|o| (o.to.clone(), o.from.version)).collect();
        let events: Vec<Event> = outcomes.iter().map(|outcome| outcome.event.clone()).collect();
        let written = self.driver.store_of(&self.key).write_leases(&batch, &events);
        self.driver.env.progress.note();
        match written {
            Ok(RowOutcome::Done) => Ok(()),
            // One changed lease keeps none of the others from being recorded.
            Ok(RowOutcome::Raced) if outcomes.len() > 1 => {
                outcomes.into_iter().try_for_each(|outcome| self.write(vec![outcome]))
            }
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
        self.refuse_until(intents, failure, |run, lease| run.delay(step, lease.refusals))?;
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
        self.refuse_until(intents, failure, |_, _| TimeDelta::zero())
    }

    pub(super) fn refuse_until(
        &mut self,
        intents: &[Lease],
        failure: &Failure,
        wait: impl Fn(&Self, &Lease) -> TimeDelta,
    ) -> Result<(), CommandError> {
        let now = self.now();
        let outcome = |lease: &Lease| {
            let event = self.failure_event(EventKind::Refused, lease, failure);
            Outcome { from: lease.clone(), to: lease.refused(failure.clone(), now + wait(self, lease)), event }
        };
        let outcomes = intents.iter().map(outcome).collect();
        self.write(outcomes)
    }

    /// No usable answer: this target stops for the round, and a reading has to show the outcome. Where nothing can be read,
    /// the call is made again later.
    pub(super) fn unanswered(&mut self, intents: &[Lease], failure: &Failure, step: &Step) -> StepResult {
        let now = self.now();
        let outcome = |lease: &Lease| {
            let next = now + self.delay(step, lease.refusals);
            let event = self.failure_event(EventKind::Unanswered, lease, failure);
            Outcome { from: lease.clone(), to: lease.unanswered(failure.clone(), next, now), event }
        };
        let outcomes = intents.iter().map(outcome).collect();
        self.write(outcomes)?;
        // If the outcome is still unknown at the end of the pass, the last plan shows it.
        self.report_failure(step, StepOutcome::Unknown, failure, advice(failure.class));
        if self.reading.observation == Observation::NoReadBack {
            return Ok(StepFlow::Next);
        }
        self.watching.extend(intents.iter().map(|lease| lease.permission));
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
