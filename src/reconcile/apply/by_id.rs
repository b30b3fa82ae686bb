//! Changing and closing rules by their ids: tags, leaves, revokes.

use crate::error::CommandError;
use crate::reconcile::apply::ledger::{DAMAGED, UNWRITTEN};
use crate::reconcile::apply::release::leave;
use crate::reconcile::apply::round::{Leased, StepFlow, TargetRun, unrecorded};
use crate::reconcile::retry::Retry;
use crate::reconcile::{
    driver::{LoadedRecord, OVERWRITTEN},
    report::StepOutcome,
};
use eg_model::SETTLE_WINDOW;
use eg_model::failure::{Failure, FailureClass, Purpose, Reaction};
use eg_model::ids::{InstallationId, RuleId};
use eg_model::lease::{Attempt, Lease, hidden_rule};
use eg_model::observation::{Effect, OwnedRule};
use eg_model::plan::{Note, NoteKind, Step};
use eg_model::tags::{lease_key, lease_value, tags_again};
use eg_model::twin::{Overwritten, was_overwritten};
use eg_providers::{Answered, Firewall};
use eg_state::{Event, EventKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl TargetRun<'_> {
    pub(super) async fn change(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        step: &Step,
        loaded: &LoadedRecord,
    ) -> Result<StepFlow, CommandError> {
        let now = self.now();
        if !self.is_recent(step) {
            self.too_old.extend(self.old_rules(step));
            return Ok(StepFlow::Refresh);
        }
        let leased = self.leased(step)?;
        if step.opens() && leased.iter().any(|(rule, _)| self.unreadable.contains(rule.permission())) {
            if step.rules().len() > 1 {
                return self.rules_one_by_one(firewall, step, loaded).await;
            }
            self.steps.push(self.report(step, StepOutcome::Skipped, Some(DAMAGED.to_owned())));
            return Ok(StepFlow::Next);
        }
        if let Step::Join { rule, session, .. } = step
            && let Some(failure) = self.barred(*session, &[*rule.permission()], loaded)
        {
            let leases: Vec<Lease> = leased.into_iter().map(|(_, lease)| lease).collect();
            self.refuse(&leases, &failure, Retry::Opening, step)?;
            return Ok(StepFlow::Next);
        }
        if matches!(step, Step::Revoke { .. }) {
            self.expect_auto_closes(&leased, loaded);
        }
        let before: Vec<Lease> = leased.iter().map(|(_, lease)| lease.clone()).collect();
        let attempt = if matches!(step, Step::Join { .. }) { Attempt::Joining } else { Attempt::Other };
        let intents: Vec<Lease> = before.iter().map(|lease| self.intent(lease, attempt, now)).collect();
        let session = match step {
            Step::Join { session, .. } | Step::Restore { session, .. } => Some(*session),
            _ => None,
        };
        if !self.intend(&before, &intents, session, step)? {
            return Ok(StepFlow::Replan);
        }
        let intended: Leased<'_> = leased.iter().map(|(rule, _)| *rule).zip(intents.iter().cloned()).collect();
        match self.send(firewall, step).await {
            Ok(answer) => self.changed(step, &intended, &answer, loaded),
            Err(failure) => Box::pin(self.not_changed(firewall, step, &before, &intended, failure, loaded)).await,
        }
    }

    /// Each rule of a step with its lease: by the rule's id, else by its permission. Rules that nobody here holds
    /// (collected ones, and those that only make room) have none.
    pub(super) fn leased<'s>(&mut self, step: &'s Step) -> Result<Leased<'s>, CommandError> {
        if matches!(step, Step::Collect { .. } | Step::MakeRoom { .. }) {
            return Ok(Vec::new());
        }
        let now = self.now();
        let open = self.driver.store.borrow().open_leases()?;
        let open: Vec<Lease> = open.into_iter().filter(|lease| lease.target.key == self.key).collect();
        let mut leased = Leased::new();
        for rule in step.rules() {
            let by_id = open.iter().find(|lease| lease.proven_rule() == Some(rule.id()));
            let lease = match by_id.or_else(|| open.iter().find(|lease| lease.permission == *rule.permission())) {
                Some(lease) => lease.clone(),
                None => {
                    // Where no row can be written, closing goes on with a lease that nothing records.
                    let unwritten = Lease::claim(UNWRITTEN, self.look.target.clone(), *rule.permission());
                    self.claim(rule.permission(), now)?.unwrap_or(unwritten)
                }
            };
            leased.push((rule, lease));
        }
        Ok(leased)
    }

    pub(super) async fn send(
        &self,
        firewall: &Arc<dyn Firewall>,
        step: &Step,
    ) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        let installation = self.driver.store.borrow().installation().clone();
        let key = lease_key(&installation);
        let named = |answer: Answered<()>| Answered { value: BTreeSet::new(), request_id: answer.request_id };
        match step {
            Step::Authorize { .. } | Step::SetAutoClose { .. } | Step::DropAutoClose { .. } => {
                Err(Failure::new(FailureClass::Invalid, "this is not a change of rules"))
            }
            Step::MakeRoom { rule, tags } => firewall.untag(rule, tags).await.map(named),
            Step::Join { rule, until, .. } => {
                let tags = BTreeMap::from([(key, lease_value(*until))]);
                firewall.tag(std::slice::from_ref(rule), &tags).await.map(named)
            }
            Step::Restore { rule, until, opener, .. } => {
                let mut tags = self.driver.policy.extra_tags.clone();
                tags.extend(tags_again(&self.key.id, *rule.permission(), opener.clone(), &installation, *until));
                firewall.tag(std::slice::from_ref(rule), &tags).await.map(named)
            }
            Step::Retag { rules, until } => {
                firewall.tag(rules, &BTreeMap::from([(key, lease_value(*until))])).await.map(named)
            }
            Step::Leave { rule, value } => leave(firewall.as_ref(), rule, &key, value).await.map(named),
            Step::Revoke { rules } | Step::Collect { rules } => firewall.revoke(rules).await,
        }
    }

    pub(super) fn changed(
        &mut self,
        step: &Step,
        intended: &Leased<'_>,
        answer: &Answered<BTreeSet<RuleId>>,
        loaded: &LoadedRecord,
    ) -> Result<StepFlow, CommandError> {
        let request = answer.request_id.as_deref();
        let installation = self.driver.store.borrow().installation().clone();
        for (rule, lease) in intended {
            let event = |kind, outcome| {
                let event = self.event(kind, outcome, rule.permission(), Some(rule.id()));
                Event { request_id: answer.request_id.clone(), ..event }
            };
            match step {
                Step::Join { until, session, .. } => {
                    let event = Event { session: Some(*session), ..event(EventKind::Joined, "tagged") };
                    self.write(lease, &lease.joined(rule.id().clone(), *until), &event)?;
                    self.watching.insert(lease.permission);
                }
                Step::Restore { until, .. } | Step::Retag { until, .. } => {
                    let overwritten = matches!(step, Step::Retag { .. }) && was_overwritten(lease, *until);
                    let event = event(EventKind::Retagged, step.action());
                    self.write(lease, &lease.retagged(*until), &event)?;
                    if overwritten {
                        self.note_overwritten(rule)?;
                    }
                }
                Step::Leave { .. } => {
                    let event = event(EventKind::Left, "untagged");
                    self.left.insert(rule.id().clone());
                    self.write(lease, &lease.left(rule.id().clone()), &event)?;
                }
                Step::Revoke { .. } if answer.value.contains(rule.id()) => {
                    self.record_revoked(lease, rule, request, loaded)?;
                }
                Step::Revoke { .. } => {
                    self.confirming.insert(rule.id().clone(), ((*rule).clone(), lease.clone()));
                    self.watching.insert(lease.permission);
                }
                Step::MakeRoom { .. }
                | Step::Authorize { .. }
                | Step::Collect { .. }
                | Step::SetAutoClose { .. }
                | Step::DropAutoClose { .. } => {}
            }
        }
        self.lay_over_change(step, answer, &installation);
        if let Step::Collect { rules } = step {
            let event = |rule: &OwnedRule| {
                let event = self.event(EventKind::Revoked, "collected", rule.permission(), Some(rule.id()));
                Event { request_id: answer.request_id.clone(), ..event }
            };
            let events: Vec<Event> = rules.iter().map(event).collect();
            // Nothing hangs on these rows: the rules were nobody's.
            if let Err(error) = self.driver.store.borrow_mut().write_leases(&[], &events) {
                self.unrecorded = Some(unrecorded(error).message);
            }
        }
        self.steps.push(self.report(step, StepOutcome::Done, None));
        let unseen = matches!(step, Step::Join { .. }) || !self.confirming.is_empty();
        Ok(if unseen { StepFlow::Reobserve } else { StepFlow::Replan })
    }

    /// Something else had put another time into our tag on a rule. Again and again means that a copy of this record is in
    /// use: that is told once.
    fn note_overwritten(&mut self, rule: &OwnedRule) -> Result<(), CommandError> {
        let now = self.now();
        let known = self.driver.store.borrow().note(OVERWRITTEN)?.and_then(|text| text.parse().ok());
        let Some(overwritten) = Overwritten::again(known, now) else { return Ok(()) };
        let noted = self.driver.store.borrow_mut().set_note(OVERWRITTEN, &overwritten.to_string());
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

    pub(super) fn lay_over_change(
        &mut self,
        step: &Step,
        answer: &Answered<BTreeSet<RuleId>>,
        installation: &InstallationId,
    ) {
        let key = lease_key(installation);
        match step {
            Step::MakeRoom { rule, tags } => {
                self.lay_over(Effect::Untagged(rule.id().clone(), tags.keys().cloned().collect()));
            }
            Step::Restore { rule, until, opener, .. } => {
                let tags = tags_again(&self.key.id, *rule.permission(), opener.clone(), installation, *until);
                self.lay_over(Effect::Tagged(rule.id().clone(), tags));
            }
            Step::Retag { rules, until } => {
                for rule in rules {
                    let tags = BTreeMap::from([(key.clone(), lease_value(*until))]);
                    self.lay_over(Effect::Tagged(rule.id().clone(), tags));
                }
            }
            Step::Leave { rule, .. } => self.lay_over(Effect::Untagged(rule.id().clone(), vec![key])),
            Step::Revoke { rules } => {
                for rule in rules.iter().filter(|rule| answer.value.contains(rule.id())) {
                    self.lay_over(Effect::Removed(rule.id().clone()));
                }
            }
            Step::Collect { rules } => {
                for rule in rules {
                    self.lay_over(Effect::Removed(rule.id().clone()));
                }
            }
            // A join counts only when it is seen.
            Step::Join { .. } | Step::Authorize { .. } | Step::SetAutoClose { .. } | Step::DropAutoClose { .. } => {}
        }
    }

    pub(super) fn record_revoked(
        &mut self,
        lease: &Lease,
        rule: &OwnedRule,
        request: Option<&str>,
        loaded: &LoadedRecord,
    ) -> Result<(), CommandError> {
        let now = self.now();
        let wanted = loaded.wants.get(&self.key).is_some_and(|wants| wants.contains_key(&lease.permission));
        let event = self.event(EventKind::Revoked, "closed", &lease.permission, Some(rule.id()));
        let event = Event { request_id: request.map(str::to_owned), ..event };
        // The rule may have been read again since: what is hidden was hidden by the reading of the whole.
        let since = rule.target_read_at() - SETTLE_WINDOW;
        let opened = self.driver.store.borrow().opened_on(&self.key, &lease.permission, since)?;
        let hidden = hidden_rule(opened, rule.id(), rule.target_read_at());
        self.write(lease, &lease.revoked(wanted, hidden, now), &event)?;
        let mut store = self.driver.store.borrow_mut();
        if !store.targets()?.get(&self.key).is_some_and(|record| record.closed_once) {
            match store.change_target(&self.key, |record| record.closed_once = true) {
                Err(error) if error.is_unwritable() || error.is_of_a_row() => {
                    self.unrecorded = Some(unrecorded(error).message);
                }
                other => other?,
            }
        }
        Ok(())
    }

    pub(super) async fn not_changed(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        step: &Step,
        before: &[Lease],
        intended: &Leased<'_>,
        failure: Failure,
        loaded: &LoadedRecord,
    ) -> Result<StepFlow, CommandError> {
        let intents: Vec<Lease> = intended.iter().map(|(_, lease)| lease.clone()).collect();
        let failure = failure.of(if step.opens() { Purpose::Tag } else { Purpose::Close });
        let class = failure.class;
        if class.outcome_unknown() {
            return self.unanswered(&intents, &failure, step);
        }
        if class.splits_batch() && step.rules().len() > 1 {
            self.soft_refuse(&intents, &failure)?;
            return self.rules_one_by_one(firewall, step, loaded).await;
        }
        // By id, "not found" is final once a rule is old enough for every answer to know it.
        let gone = matches!(step, Step::Revoke { .. }) && class == FailureClass::Stale;
        let settled = before.iter().all(|lease| lease.settled(self.now()));
        if let (true, true, [(rule, lease)]) = (gone, settled, intended.as_slice()) {
            self.record_revoked(lease, rule, failure.request_id.as_deref(), loaded)?;
            self.lay_over(Effect::Removed(rule.id().clone()));
            self.steps.push(self.report(step, StepOutcome::Done, None));
            return Ok(StepFlow::Next);
        }
        let retry = if step.opens() { Retry::Opening } else { Retry::Closing };
        if let Step::Collect { rules } = step {
            self.given_up.extend(rules.iter().map(|rule| rule.id().clone()));
        }
        // These credentials may read but not close; others on record for the same target may.
        if !step.opens() && matches!(class, FailureClass::Denied | FailureClass::Credentials) && self.next_way() {
            self.soft_refuse(&intents, &failure)?;
            return Ok(StepFlow::Refresh);
        }
        match class.reaction() {
            Reaction::RetryNow => {
                self.soft_refuse(&intents, &failure)?;
                Ok(StepFlow::Throttled)
            }
            Reaction::Reobserve => {
                // "Not found" is neither success nor failure. Only a join's attempt has to be taken back.
                if matches!(step, Step::Join { .. }) {
                    self.soft_refuse(&intents, &failure)?;
                }
                self.watching.extend(intents.iter().map(|lease| lease.permission));
                Ok(StepFlow::Reobserve)
            }
            Reaction::RetryLater => {
                self.refuse(&intents, &failure, retry, step)?;
                Ok(StepFlow::Next)
            }
            Reaction::Stop => {
                self.refuse(&intents, &failure, retry, step)?;
                Ok(StepFlow::Rest)
            }
        }
    }

    pub(super) async fn rules_one_by_one(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        step: &Step,
        loaded: &LoadedRecord,
    ) -> Result<StepFlow, CommandError> {
        let mut worst = StepFlow::Next;
        for rule in step.rules() {
            let rules = vec![rule.clone()];
            let one = match step {
                Step::Retag { until, .. } => Step::Retag { until: *until, rules },
                Step::Revoke { .. } => Step::Revoke { rules },
                Step::Collect { .. } => Step::Collect { rules },
                other => other.clone(),
            };
            let flow = Box::pin(self.change(firewall, &one, loaded)).await?;
            worst = worst.max(flow);
            if matches!(flow, StepFlow::Throttled | StepFlow::Rest) || self.halted() {
                break;
            }
        }
        Ok(worst)
    }
}
