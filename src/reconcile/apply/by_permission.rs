//! Steps that close by permission, where no rule can be named: a mark on a container without an entry, and calls to a
//! firewall that cannot be read back.

use super::{
    ledger::Outcome,
    target::{Round, StepFlow, StepResult, TargetRun},
};
use crate::reconcile::report::StepOutcome;
use eg_model::{
    failure::{Failure, FailureClass, Purpose},
    lease::{Attempt, Lease},
    plan::Step,
};
use eg_providers::Answered;
use eg_state::{Event, EventKind};

impl TargetRun<'_> {
    /// Writes the intents, sends the call, and records the outcomes.
    pub(super) async fn close_by_permission(&mut self, step: &Step, round: Round<'_>) -> StepResult {
        let permissions = step.permissions();
        let mut before = self.driver.store().open_leases_on(&self.key)?;
        before.retain(|lease| permissions.contains(&lease.permission));
        let unmarks = matches!(step, Step::Unmark { .. });
        let Some(tag) = self.prepare_tag(step, &before, round.loaded)? else { return Ok(StepFlow::Replan) };
        let (now, attempt) = (self.now(), if unmarks { Attempt::Opening } else { Attempt::Undoing });
        let intents: Vec<Lease> = before.iter().map(|lease| self.intent(lease, attempt, now)).collect();
        let Some(turn) = self.intend(&before, &intents, None, step).await? else {
            return Ok(StepFlow::Replan);
        };
        let answer = match (&tag, permissions.first(), round.firewall.unread()) {
            (Some(tag), ..) => self.write_tag_after_entries(round.firewall, tag, &intents).await,
            (None, Some(permission), Some(unread)) => unread.undo(&self.key, permission).await,
            _ => Err(Failure::new(FailureClass::Invalid, format!("close on {}: there is no such call", self.key.id))),
        };
        drop(turn);
        self.lane.note_write(answer.as_ref().err().map(|failure| failure.class));
        match answer {
            Ok(answer) => self.closed_by_permission(step, &intents, &answer, round),
            Err(failure) => self.not_closed(step, &intents, failure),
        }
    }

    fn closed_by_permission(
        &mut self,
        step: &Step,
        intents: &[Lease],
        answer: &Answered<()>,
        round: Round<'_>,
    ) -> StepResult {
        let now = self.now();
        let unmarks = matches!(step, Step::Unmark { .. });
        let marks_return = unmarks && self.marks_may_return(intents)?;
        let outcome = |lease: &Lease| {
            let wanted = round.loaded.wants(&lease.permission) || marks_return;
            let (to, event) = match step {
                Step::Unmark { .. } => {
                    let event = self.event(EventKind::LeaseClosed, "its mark is taken off", &lease.permission, None);
                    (lease.unmarked(wanted, now), event)
                }
                _ => {
                    let rule = lease.rule_id.as_ref();
                    (lease.undone(wanted, now), self.event(EventKind::Revoked, "closed", &lease.permission, rule))
                }
            };
            Outcome { from: lease.clone(), to, event: Event { request_id: answer.request_id.clone(), ..event } }
        };
        let outcomes = intents.iter().map(outcome).collect();
        self.write(outcomes)?;
        if !unmarks {
            self.undone.extend(step.permissions());
            self.note_closed(round.loaded)?;
        }
        self.report_step(step, StepOutcome::Done, None);
        Ok(StepFlow::Replan)
    }

    fn not_closed(&mut self, step: &Step, intents: &[Lease], failure: Failure) -> StepResult {
        let failure = failure.of(Purpose::Close);
        if failure.class.outcome_unknown() {
            return self.unanswered(intents, &failure, step);
        }
        if let Some(flow) = self.settle_refusal(intents, &failure, step)? {
            return Ok(flow);
        }
        self.refuse(intents, &failure, step)?;
        Ok(StepFlow::Next)
    }
}
