//! Intents before calls, outcomes after them, and what a reading teaches.

use super::super::{Loaded, StepOutcome, StepReport};
use super::{Flow, TargetRun, unrecorded};
use crate::error::CommandError;
use crate::retry;
use crate::retry::Retry;
use chrono::TimeDelta;
use eg_model::Timestamp;
use eg_model::failure::Failure;
use eg_model::ids::{RuleId, SessionId};
use eg_model::lease::{Attempt, Lease};
use eg_model::observation::Observation;
use eg_model::permission::Permission;
use eg_model::plan::{LedgerStep, Note, NoteKind, Step, TargetPlan};
use eg_state::{Event, EventKind, StateError, Written};

impl TargetRun<'_> {
    /// Ledger steps: what the reading teaches. Whether it taught anything.
    pub(super) fn learn(&mut self, plan: &TargetPlan, loaded: &Loaded) -> Result<bool, CommandError> {
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

    fn learn_step(&mut self, step: &LedgerStep, loaded: &Loaded) -> Result<(), CommandError> {
        let now = self.now();
        match step {
            LedgerStep::Adopt { permission, rule, until } => {
                let claimed = self.driver.store.borrow_mut().claim(&self.look.reach, permission, now);
                let Some(lease) = self.unless_full(claimed)? else { return Ok(()) };
                let event = self.event(EventKind::LeaseAdopted, "seen with our tag", permission, Some(rule.id()));
                self.write(&lease, &lease.adopted(rule.id().clone(), *until), &event)?;
            }
            LedgerStep::KnowSwitch { .. } | LedgerStep::ForgetSwitch { .. } => self.learn_switch(step, loaded)?,
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
        Lease { reach: self.look.reach.clone(), ..lease.intend(attempt, now) }
    }

    /// Transaction A: the session still lives, every lease is still what the plan saw, and the intent is written.
    /// Closing goes on where the disk is too full to write it: what it closes is known by its id.
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
        let event = |lease: &Lease| {
            let event = self.event(EventKind::Intent, step.action(), &lease.permission, lease.proven_rule());
            Event { session, ..event }
        };
        let events: Vec<Event> = intents.iter().map(event).collect();
        let written = self.driver.store.borrow_mut().begin_attempt(session.map(|id| (id, now)), &batch, &events);
        match written {
            Ok(Written::Done) => Ok(true),
            Ok(Written::Raced | Written::NoLongerWanted) => {
                self.steps.push(self.report(step, StepOutcome::Skipped, Some("the record has changed".to_owned())));
                Ok(false)
            }
            Err(error) if error.is_full() && !step.opens() => {
                tracing::warn!("closing without a written intent: {error}");
                Ok(true)
            }
            Err(error) => self.unless_full::<()>(Err(error)).map(|_| false),
        }
    }

    /// A full disk keeps anything new from being opened in this pass; it never keeps anything from being closed.
    pub(super) fn unless_full<T>(&mut self, result: Result<T, StateError>) -> Result<Option<T>, CommandError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_full() => {
                self.may_open = false;
                self.unrecorded = Some(CommandError::from(error).message);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Transaction B: the outcome, where the version is still ours. If somebody else has moved the lease on, the
    /// next reading tells; nothing is lost, because the intent is on record.
    pub(super) fn write(&mut self, from: &Lease, to: &Lease, event: &Event) -> Result<(), CommandError> {
        let written = self.driver.store.borrow_mut().write_lease(to, from.version, event);
        match written {
            Ok(Written::Done) => Ok(()),
            Ok(Written::Raced | Written::NoLongerWanted) => {
                tracing::info!("a lease on {} changed meanwhile; the next reading decides", self.key);
                Ok(())
            }
            Err(error) if error.is_full() => {
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
        self.steps.push(StepReport { advice: Some(step.advice(failure.class)), ..report });
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
    ) -> Result<Flow, CommandError> {
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
        self.steps.push(StepReport { advice: Some(failure.class.advice()), ..report });
        Ok(Flow::Reobserve)
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
        }
        more
    }
}
