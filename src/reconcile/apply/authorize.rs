//! AuthorizeStep: authorize, and what its answers mean.

use crate::error::CommandError;
use crate::reconcile::apply::ledger::DAMAGED;
use crate::reconcile::apply::round::{AuthorizeStep, StepFlow, TargetRun};
use crate::reconcile::retry::Retry;
use crate::reconcile::{allowed, driver::LoadedRecord, report::StepOutcome};
use chrono::TimeDelta;
use eg_model::auto_close::AutoCloseSeen;
use eg_model::failure::{Failure, FailureClass, Purpose, Reaction};
use eg_model::ids::SessionId;
use eg_model::lease::{Attempt, Lease, Phase};
use eg_model::net::permission::Permission;
use eg_model::observation::{Effect, ObservedRule};
use eg_model::plan::Step;
use eg_model::tags::{description, tags_for};
use eg_providers::{Answered, Authorize, Firewall};
use eg_state::{Event, EventKind};
use std::sync::Arc;

impl TargetRun<'_> {
    pub(super) async fn authorize(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        call: &AuthorizeStep<'_>,
        closes: bool,
        loaded: &LoadedRecord,
    ) -> Result<StepFlow, CommandError> {
        let now = self.now();
        let mut leases = Vec::new();
        for permission in call.permissions {
            match self.claim(permission, now)? {
                Some(lease) => leases.push(lease),
                None if !self.unreadable.contains(permission) => return Ok(StepFlow::Replan),
                None if call.permissions.len() > 1 => return self.one_by_one(firewall, call, loaded).await,
                None => {
                    self.steps.push(self.report(call.step, StepOutcome::Skipped, Some(DAMAGED.to_owned())));
                    return Ok(StepFlow::Next);
                }
            }
        }
        if let Some(failure) = self.barred(call.session, call.permissions, loaded) {
            if call.permissions.len() > 1 {
                return self.one_by_one(firewall, call, loaded).await;
            }
            self.refuse(&leases, &failure, Retry::Opening, call.step)?;
            return Ok(StepFlow::Next);
        }
        if let Some(failure) = self.forbidden(firewall, call).await {
            self.refuse(&leases, &failure, Retry::Opening, call.step)?;
            return Ok(StepFlow::Next);
        }
        // What an old reading does not show may be there, edited by hand: the new id would push the old one, the only
        // proof that it is ours, out of the ledger.
        if !self.look.is_fresh(self.now()) {
            return Ok(StepFlow::Refresh);
        }
        // The questions before may have taken their time, and the settle window counts from the call.
        let sent = self.now();
        let intents: Vec<Lease> = leases.iter().map(|lease| self.intent(lease, Attempt::Opening, sent)).collect();
        if !self.intend(&leases, &intents, Some(call.session), call.step)? {
            return Ok(StepFlow::Replan);
        }
        let answer = firewall.authorize(&self.authorize_call(call)).await;
        match answer {
            Ok(answer) => self.authorized(call, &intents, answer),
            Err(failure) => Box::pin(self.not_authorized(firewall, call, &intents, failure, closes, loaded)).await,
        }
    }

    pub(super) fn authorize_call(&self, call: &AuthorizeStep<'_>) -> Authorize {
        let store = self.driver.store.borrow();
        let mut tags = self.driver.policy.extra_tags.clone();
        tags.extend(tags_for(&self.key.id, call.permissions, call.session, store.installation(), call.until));
        Authorize {
            group: self.key.id.clone(),
            permissions: call.permissions.to_vec(),
            tags,
            description: self.description(call),
        }
    }

    /// For people in the console, and for other installations, which believe tags only where it bears them out. The
    /// provider cuts it and replaces what it does not accept.
    pub(super) fn description(&self, call: &AuthorizeStep<'_>) -> String {
        let env = self.driver.env;
        let person = self.driver.policy.name_person.then(|| format!("{}@{}", env.user, env.host));
        description(person.as_deref(), call.session, call.reason)
    }

    pub(super) fn authorized(
        &mut self,
        call: &AuthorizeStep<'_>,
        intents: &[Lease],
        answer: Answered<Vec<ObservedRule>>,
    ) -> Result<StepFlow, CommandError> {
        let mut unnamed = false;
        for lease in intents {
            let Some(rule) = answer.value.iter().find(|rule| rule.permission == lease.permission) else {
                let event = self.event(EventKind::Authorized, "opened, id not named", &lease.permission, None);
                self.write(lease, &lease.landed(call.until), &Event { session: Some(call.session), ..event })?;
                self.watching.insert(lease.permission);
                unnamed = true;
                continue;
            };
            let event = self.event(EventKind::Authorized, "opened", &lease.permission, Some(&rule.id));
            let event = Event { session: Some(call.session), request_id: answer.request_id.clone(), ..event };
            self.write(lease, &lease.authorized(rule.id.clone(), call.until), &event)?;
        }
        // Rule ids are never reused: a new rule has no expiry schedule yet.
        self.auto_closes.extend(answer.value.iter().map(|rule| (rule.id.clone(), AutoCloseSeen::Absent)));
        self.lay_over(Effect::Added(answer.value));
        self.steps.push(self.report(call.step, StepOutcome::Done, None));
        Ok(if unnamed { StepFlow::Reobserve } else { StepFlow::Next })
    }

    pub(super) async fn not_authorized(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        call: &AuthorizeStep<'_>,
        intents: &[Lease],
        failure: Failure,
        closes: bool,
        loaded: &LoadedRecord,
    ) -> Result<StepFlow, CommandError> {
        let failure = failure.of(Purpose::Open);
        let class = failure.class;
        if class.outcome_unknown() {
            return self.unanswered(intents, &failure, call.step);
        }
        // A full quota: close first what is due anyway, once, then try again.
        if class == FailureClass::Limit && closes && !self.quota_freed {
            self.quota_freed = true;
            self.soft_refuse(intents, &failure)?;
            return Ok(StepFlow::Next);
        }
        if class.splits_batch() && call.permissions.len() > 1 {
            self.soft_refuse(intents, &failure)?;
            return self.one_by_one(firewall, call, loaded).await;
        }
        match class.reaction() {
            Reaction::RetryNow => {
                self.soft_refuse(intents, &failure)?;
                Ok(StepFlow::Throttled)
            }
            Reaction::Reobserve => {
                // "Exists already": proof for a rule whose id we hold; else the next reading must show whose it is.
                let known = intents.iter().any(|lease| lease.phase == Phase::Held && lease.rule_id.is_some());
                if known {
                    // Nothing changes for the user; the stale reading is looked at again in a later pass.
                    for lease in intents {
                        self.refuse_until(lease, &failure, TimeDelta::minutes(1))?;
                    }
                    return Ok(StepFlow::Next);
                }
                self.soft_refuse(intents, &failure)?;
                self.watching.extend(call.permissions.iter().copied());
                Ok(StepFlow::Reobserve)
            }
            Reaction::RetryLater => {
                self.refuse(intents, &failure, Retry::Opening, call.step)?;
                Ok(StepFlow::Next)
            }
            Reaction::Stop => {
                self.refuse(intents, &failure, Retry::Opening, call.step)?;
                Ok(StepFlow::Rest)
            }
        }
    }

    pub(super) async fn one_by_one(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        call: &AuthorizeStep<'_>,
        loaded: &LoadedRecord,
    ) -> Result<StepFlow, CommandError> {
        let mut worst = StepFlow::Next;
        for permission in call.permissions {
            let (session, until, reason) = (call.session, call.until, call.reason);
            let step = Step::Authorize { session, until, permissions: vec![*permission] };
            let one =
                AuthorizeStep { session, until, reason, permissions: std::slice::from_ref(permission), step: &step };
            let flow = Box::pin(self.authorize(firewall, &one, false, loaded)).await?;
            worst = worst.max(flow);
            if matches!(flow, StepFlow::Throttled | StepFlow::Rest) || self.halted() {
                break;
            }
        }
        Ok(worst)
    }

    /// Why the machine's policy does not let this be opened.
    pub(super) fn barred(
        &self,
        session: SessionId,
        permissions: &[Permission],
        loaded: &LoadedRecord,
    ) -> Option<Failure> {
        let session = loaded.sessions.iter().find(|known| known.id == session);
        allowed::barred(&self.driver.policy.site, session, &self.key, permissions)
    }

    /// Before the first grant on a target that this installation has never closed a rule on: may we also close?
    pub(super) async fn forbidden(&self, firewall: &Arc<dyn Firewall>, call: &AuthorizeStep<'_>) -> Option<Failure> {
        let permission = call.permissions.first()?;
        // A record that cannot be read is met by the next step.
        if self.driver.has_closed(&self.key).ok()? {
            return None;
        }
        let tags = self.authorize_call(call).tags;
        let failure = self.driver.forbidden(firewall, &self.key, permission, &tags).await;
        failure.map(|failure| failure.of(Purpose::Open))
    }
}
