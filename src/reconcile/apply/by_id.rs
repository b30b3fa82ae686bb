//! Steps that change or close rules by their ids: tags, untags, revokes.

use super::{
    ledger::{DAMAGED, Outcome, UNWRITTEN, unrecorded},
    rule_call::RuleCall,
    target::{Leased, Round, StepFlow, StepResult, TargetRun},
};
use crate::{
    error::CommandError,
    reconcile::{
        loaded_record::{LoadedTarget, OVERWRITTEN},
        report::StepOutcome,
    },
};
use eg_model::{
    failure::{Failure, FailureClass, Purpose},
    ids::RuleId,
    lease::{Attempt, Lease, hidden_rule},
    observation::{Effect, OwnedRule},
    plan::{Note, NoteKind, Step},
    twin::{Overwritten, was_overwritten},
};
use eg_providers::Answered;
use eg_state::{Event, EventKind};
use std::{collections::BTreeSet, mem::replace};

/// The answer to a call: the rules that a revoke has closed.
type RuleAnswer = Answered<BTreeSet<RuleId>>;

impl TargetRun<'_> {
    /// Writes the intents, sends the call, and records the outcomes.
    pub(super) async fn change(&mut self, step: &Step, round: Round<'_>) -> StepResult {
        let us = self.driver.store().installation().clone();
        let Some(call) = RuleCall::of(step, &self.key, &us, &self.driver.policy.extra_tags) else {
            return Ok(StepFlow::Next);
        };
        let now = self.now();
        if !self.was_read_recently(step) {
            self.too_old.extend(self.old_rules(step));
            return Ok(StepFlow::Refresh);
        }
        let leased = self.leased(step)?;
        let before: Vec<Lease> = leased.iter().map(|(_, lease)| lease.clone()).collect();
        if step.opens() && leased.iter().any(|(rule, _)| self.damaged.contains(rule.permission())) {
            if step.rules().len() > 1 {
                return self.one_by_one(step, round).await;
            }
            self.report_step(step, StepOutcome::Skipped, Some(DAMAGED.to_owned()));
            return Ok(StepFlow::Next);
        }
        let (session, attempt) = match step {
            Step::Join { session, .. } => (Some(*session), Attempt::Joining),
            Step::Restore { session, .. } => (Some(*session), Attempt::Other),
            _ => (None, Attempt::Other),
        };
        if let Step::Join { rule, session, .. } = step
            && let Some(failure) = self.barred(*session, &[*rule.permission()], round.loaded)
        {
            self.refuse(&before, &failure, step)?;
            return Ok(StepFlow::Next);
        }
        if matches!(step, Step::Revoke { .. }) {
            self.expect_auto_closes(&leased, round.loaded);
        }
        let Some(tag) = self.prepare_tag(step, &before, round.loaded)? else { return Ok(StepFlow::Replan) };
        // A tag of the container that is written late can bring back any mark that was in it.
        let attempt = if tag.is_some() && attempt == Attempt::Other { Attempt::Opening } else { attempt };
        let intents: Vec<Lease> = before.iter().map(|lease| self.intent(lease, attempt, now)).collect();
        let Some(turn) = self.intend(&before, &intents, session, step).await? else {
            return Ok(StepFlow::Replan);
        };
        let answer = match &tag {
            Some(tag) => self.send_with_tag(round.firewall, &call, tag, &intents).await,
            None => call.send(round.firewall).await,
        };
        drop(turn);
        let intended: Leased<'_> = leased.iter().map(|(rule, _)| *rule).zip(intents).collect();
        self.lane.note_write(answer.as_ref().err().map(|failure| failure.class));
        match answer {
            Ok(answer) => self.changed(step, call, &intended, &answer, round.loaded),
            Err(failure) => self.not_changed(step, &before, &intended, failure, round).await,
        }
    }

    /// Each rule of a step with its lease: by the rule's id, else by its permission. Rules without a lease of ours (those
    /// that are collected, or only lose others' tags) are left out.
    fn leased<'s>(&mut self, step: &'s Step) -> Result<Leased<'s>, CommandError> {
        if matches!(step, Step::Collect { .. } | Step::MakeRoom { .. }) {
            return Ok(Vec::new());
        }
        let now = self.now();
        let open = self.driver.store().open_leases_on(&self.key)?;
        let mut leased = Leased::new();
        for rule in step.rules() {
            let by_id = open.iter().find(|lease| lease.proven_rule() == Some(rule.id()));
            let lease = match by_id.or_else(|| open.iter().find(|lease| lease.permission == *rule.permission())) {
                Some(lease) => lease.clone(),
                None => {
                    // If no row can be written, closing goes on with a lease that exists in memory only.
                    let unwritten = Lease::claim(UNWRITTEN, self.reading.target.clone(), *rule.permission());
                    self.claim(rule.permission(), now)?.unwrap_or(unwritten)
                }
            };
            leased.push((rule, lease));
        }
        Ok(leased)
    }

    /// The call has succeeded: records what that means for each lease, and applies the effects to the reading.
    fn changed(
        &mut self,
        step: &Step,
        call: RuleCall<'_>,
        intended: &Leased<'_>,
        answer: &RuleAnswer,
        loaded: &LoadedTarget,
    ) -> StepResult {
        let intents: Vec<Lease> = intended.iter().map(|(_, lease)| lease.clone()).collect();
        let marks_return = self.marks_may_return(&intents)?;
        let mut outcomes = Vec::new();
        for (rule, lease) in intended {
            outcomes.extend(self.outcome(step, rule, lease, answer, loaded, marks_return)?);
        }
        self.write(outcomes)?;
        if intended.iter().any(|(rule, _)| answer.value.contains(rule.id())) {
            self.note_closed(loaded)?;
        }
        if let Step::Collect { rules } = step {
            self.record_collected(rules, answer);
        }
        // A join counts only once a reading shows it. The rules of a collection count as closed even if the answer does not
        // name them: no lease of ours depends on them.
        let joins = matches!(step, Step::Join { .. });
        let collects = matches!(step, Step::Collect { .. });
        let effects = call.effects(|id| collects || answer.value.contains(id));
        // The marks of a container are on the reading already.
        let unknown = |effect: &Effect| !joins && (!self.marks_container() || matches!(effect, Effect::Removed(_)));
        let effects: Vec<Effect> = effects.into_iter().filter(unknown).collect();
        effects.into_iter().for_each(|effect| self.apply_known(effect));
        self.report_step(step, StepOutcome::Done, None);
        Ok(if joins || !self.confirming.is_empty() { StepFlow::Reobserve } else { StepFlow::Replan })
    }

    /// The meaning of the answer for the lease of a rule; `None` if no lease of ours changes.
    fn outcome(
        &mut self,
        step: &Step,
        rule: &OwnedRule,
        lease: &Lease,
        answer: &RuleAnswer,
        loaded: &LoadedTarget,
        marks_return: bool,
    ) -> Result<Option<Outcome>, CommandError> {
        let id = || rule.id().clone();
        let (to, event) = match step {
            Step::Join { until, session, .. } => {
                self.watching.insert(lease.permission);
                let event = self.rule_event(EventKind::Joined, "tagged", rule, answer);
                (lease.joined(id(), *until), Event { session: Some(*session), ..event })
            }
            Step::Restore { until, .. } | Step::Retag { until, .. } => {
                if matches!(step, Step::Retag { .. }) && was_overwritten(lease, *until) {
                    self.note_overwritten(rule)?;
                }
                (lease.retagged(*until), self.rule_event(EventKind::Retagged, step.action(), rule, answer))
            }
            Step::Leave { .. } => {
                self.left.insert(id());
                (lease.left(id()), self.rule_event(EventKind::Left, "untagged", rule, answer))
            }
            Step::Revoke { .. } if self.marks_container() => {
                let wanted = loaded.wants(&lease.permission) || marks_return;
                (lease.undone(wanted, self.now()), self.rule_event(EventKind::Revoked, "closed", rule, answer))
            }
            Step::Revoke { .. } if answer.value.contains(rule.id()) => {
                return self.revoked(lease, rule, answer.request_id.as_deref(), loaded).map(Some);
            }
            Step::Revoke { .. } => {
                self.confirming.insert(id(), (rule.clone(), lease.clone()));
                self.watching.insert(lease.permission);
                return Ok(None);
            }
            // No lease of ours is concerned.
            _ => return Ok(None),
        };
        Ok(Some(Outcome { from: lease.clone(), to, event }))
    }

    fn rule_event(&self, kind: EventKind, outcome: &str, rule: &OwnedRule, answer: &RuleAnswer) -> Event {
        let event = self.event(kind, outcome, rule.permission(), Some(rule.id()));
        Event { request_id: answer.request_id.clone(), ..event }
    }

    fn record_collected(&mut self, rules: &[OwnedRule], answer: &RuleAnswer) {
        let event = |rule| self.rule_event(EventKind::Revoked, "collected", rule, answer);
        let events: Vec<Event> = rules.iter().map(event).collect();
        // No lease depends on these events, so the pass goes on without them.
        if let Err(error) = self.driver.store_of(&self.key).write_leases(&[], &events) {
            self.unrecorded = Some(unrecorded(error).message);
        }
    }

    /// Counts that something else had put another time into our tag on a rule. Several times mean that a copy of this record
    /// is in use; the user is told once.
    fn note_overwritten(&mut self, rule: &OwnedRule) -> Result<(), CommandError> {
        let now = self.now();
        let known = self.driver.store().note(OVERWRITTEN)?.and_then(|text| text.parse().ok());
        let Some(overwritten) = Overwritten::again(known, now) else { return Ok(()) };
        let noted = self.driver.store_mut().set_note(OVERWRITTEN, &overwritten.to_string());
        if self.unless_unwritable(noted)?.is_some() && overwritten.is_news() {
            let message = format!(
                "something else keeps rewriting this installation's tag on {} of {}: most likely a copy of this record is in \
                 use on a machine that eg cannot tell from this one. From now on the later time stands. End it: give each \
                 machine a name of its own (EG_MACHINE) and the copy a fresh record (--state FILE); `eg state adopt` is for a \
                 machine that is gone",
                rule.id(),
                self.key
            );
            self.notes.insert(Note::new(NoteKind::Contested, message));
        }
        Ok(())
    }

    /// The meaning of a confirmed revoke for the lease.
    pub(super) fn revoked(
        &self,
        lease: &Lease,
        rule: &OwnedRule,
        request: Option<&str>,
        loaded: &LoadedTarget,
    ) -> Result<Outcome, CommandError> {
        let now = self.now();
        let wanted = loaded.wants(&lease.permission);
        let event = self.event(EventKind::Revoked, "closed", &lease.permission, Some(rule.id()));
        let event = Event { request_id: request.map(str::to_owned), ..event };
        // Only the reading of the whole target can have hidden another rule; this rule may have been read again since.
        let (read_at, settle) = (rule.target_read_at(), self.capabilities().settle);
        let opened = self.driver.store().opened_on(&self.key, &lease.permission, read_at - settle)?;
        let hidden = hidden_rule(opened, rule.id(), read_at, settle);
        Ok(Outcome { from: lease.clone(), to: lease.revoked(wanted, hidden, now), event })
    }

    /// Records that this installation may close rules on the target.
    pub(super) fn note_closed(&mut self, loaded: &LoadedTarget) -> Result<(), CommandError> {
        if !loaded.rows.closed_once && !replace(&mut self.closed_once, true) {
            let noted = self.driver.store_of(&self.key).change_target(&self.key, |record| record.closed_once = true);
            match noted {
                Err(error) if error.is_unwritable() || error.is_of_a_row() => {
                    self.unrecorded = Some(unrecorded(error).message);
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Handles a call that has failed.
    async fn not_changed(
        &mut self,
        step: &Step,
        before: &[Lease],
        intended: &Leased<'_>,
        failure: Failure,
        round: Round<'_>,
    ) -> StepResult {
        let intents: Vec<Lease> = intended.iter().map(|(_, lease)| lease.clone()).collect();
        let failure = failure.of(if step.opens() { Purpose::Tag } else { Purpose::Close });
        let class = failure.class;
        if class.outcome_unknown() {
            return self.unanswered(&intents, &failure, step);
        }
        if class.splits_batch() && step.rules().len() > 1 {
            self.refuse_for_now(&intents, &failure)?;
            return self.one_by_one(step, round).await;
        }
        // By id, "not found" is final once a rule is old enough for every answer to know it.
        let gone = matches!(step, Step::Revoke { .. }) && class == FailureClass::Stale;
        let settled = before.iter().all(|lease| lease.settled(self.now(), self.capabilities().settle));
        // The mark of an entry that is gone has to go, too.
        let settled = settled && !self.marks_container();
        if let (true, true, [(rule, lease)]) = (gone, settled, intended.as_slice()) {
            let outcome = self.revoked(lease, rule, failure.request_id.as_deref(), round.loaded)?;
            self.write(vec![outcome])?;
            self.note_closed(round.loaded)?;
            self.apply_known(Effect::Removed(rule.id().clone()));
            self.report_step(step, StepOutcome::Done, None);
            return Ok(StepFlow::Next);
        }
        if let Step::Collect { rules } = step {
            self.given_up.extend(rules.iter().map(|rule| rule.id().clone()));
        }
        // These credentials may read but not close. Other credentials on record for the target may close.
        if !step.opens() && matches!(class, FailureClass::Denied | FailureClass::Credentials) && self.next_route() {
            self.refuse_for_now(&intents, &failure)?;
            return Ok(StepFlow::Refresh);
        }
        if let Some(flow) = self.settle_refusal(&intents, &failure, step)? {
            return Ok(flow);
        }
        // "Not found" is neither success nor failure. Only a join's attempt has to be taken back.
        if matches!(step, Step::Join { .. }) {
            self.refuse_for_now(&intents, &failure)?;
        }
        self.watching.extend(intents.iter().map(|lease| lease.permission));
        Ok(StepFlow::Reobserve)
    }

    /// Turns to the next recorded route to this target, each once in a pass.
    fn next_route(&mut self) -> bool {
        self.routes_tried += 1;
        let more = self.routes_tried < self.routes.len();
        if more {
            self.routes.rotate_left(1);
            // The other credentials begin with a reading of their own.
            self.too_old.clear();
        }
        more
    }
}
