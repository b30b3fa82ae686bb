//! Opening permissions: the authorize call, and the meaning of its answers.

use super::{
    container::TagWrite,
    ledger::{DAMAGED, Outcome},
    target::{Round, StepFlow, StepResult, TargetRun},
};
use crate::reconcile::{loaded_record::LoadedTarget, report::StepOutcome};
use chrono::TimeDelta;
use eg_config::policy::barred;
use eg_model::{
    Timestamp,
    auto_close::AutoCloseSeen,
    failure::{Failure, FailureClass, Purpose},
    ids::{RuleId, SessionId},
    lease::{Attempt, Lease, Phase},
    net::permission::{Permission, PortSpec},
    observation::{Effect, Observation, ObservedRule},
    plan::Step,
    tags::{description, tags_for},
};
use eg_providers::{Answered, Authorize, Firewall};
use eg_state::{Event, EventKind};
use std::collections::BTreeMap;

/// The parts of an authorize step.
pub(super) struct AuthorizeStep<'s> {
    pub(super) session: SessionId,
    pub(super) until: Timestamp,
    /// The reason for the session, in the user's words.
    pub(super) reason: Option<&'s str>,
    pub(super) permissions: &'s [Permission],
    pub(super) step: &'s Step,
}

impl TargetRun<'_> {
    /// Writes the intent, sends the call, and records the outcome.
    pub(super) async fn authorize(&mut self, call: &AuthorizeStep<'_>, round: Round<'_>) -> StepResult {
        let now = self.now();
        let single = call.permissions.len() <= 1;
        let leases = match self.claim_all(call.permissions, now) {
            Err(error) if error.is_of_a_row() && !single => return self.one_by_one(call.step, round).await,
            Err(error) if error.is_of_a_row() => {
                self.damaged.extend(call.permissions);
                self.unless_unwritable::<()>(Err(error))?;
                self.report_step(call.step, StepOutcome::Skipped, Some(DAMAGED.to_owned()));
                return Ok(StepFlow::Next);
            }
            claimed => match self.unless_unwritable(claimed)? {
                Some(leases) => leases,
                None => return Ok(StepFlow::Replan),
            },
        };
        let barred = self.barred(call.session, call.permissions, round.loaded).or_else(|| self.wrong_family(call));
        if barred.is_some() && !single {
            return self.one_by_one(call.step, round).await;
        }
        let refusal = match barred {
            Some(failure) => Some(failure),
            None => self.denied_right(call, round).await,
        };
        if let Some(failure) = refusal {
            self.refuse(&leases, &failure, call.step)?;
            return Ok(StepFlow::Next);
        }
        // An old reading may not show a rule that was edited by hand. Its id on record is the only proof that it is ours,
        // and the id of the new rule would replace it.
        if !self.reading.is_recent(self.now()) {
            return Ok(StepFlow::Refresh);
        }
        let Some(tag) = self.prepare_tag(call.step, &leases, round.loaded)? else { return Ok(StepFlow::Replan) };
        // The questions before may have taken long, and the settle window counts from the call.
        let sent = self.now();
        let intents: Vec<Lease> = leases.iter().map(|lease| self.intent(lease, Attempt::Opening, sent)).collect();
        let Some(turn) = self.intend(&leases, &intents, Some(call.session), call.step).await? else {
            return Ok(StepFlow::Replan);
        };
        let answer = self.open(call, tag.as_ref(), round.firewall).await;
        drop(turn);
        self.lane.note_write(answer.as_ref().err().map(|failure| failure.class));
        match answer {
            Ok(answer) => {
                let flow = self.authorized(call, &intents, answer);
                tag.iter().for_each(|tag| self.show_tag(tag));
                flow
            }
            Err(failure) => self.not_authorized(call, &intents, failure, round).await,
        }
    }

    /// Sends the requests that open the permissions.
    async fn open(
        &mut self,
        call: &AuthorizeStep<'_>,
        tag: Option<&TagWrite>,
        firewall: &dyn Firewall,
    ) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        let request = self.authorize_call(call);
        if let Some(unread) = firewall.unread().filter(|_| self.reading.observation == Observation::NoReadBack) {
            let Answered { value: (), request_id } = unread.apply(&request).await?;
            return Ok(Answered { value: call.permissions.iter().map(unread_rule).collect(), request_id });
        }
        if let Some(tag) = tag {
            self.write_tag(firewall, tag).await?;
        }
        firewall.authorize(&request).await
    }

    fn authorize_call(&self, call: &AuthorizeStep<'_>) -> Authorize {
        let env = self.driver.env;
        let store = self.driver.store();
        let mut tags = self.driver.policy.extra_tags.clone();
        tags.extend(tags_for(&self.key.id, call.permissions, call.session, store.installation(), call.until));
        let person = self.driver.policy.name_person.then(|| format!("{}@{}", env.user, env.host));
        Authorize {
            group: self.key.id.clone(),
            permissions: call.permissions.to_vec(),
            tags,
            // Other installations believe tags only if the description confirms them. The provider shortens the description,
            // and replaces characters that it does not accept.
            description: description(person.as_deref(), call.session, call.reason),
            nonce: env.nonce(),
        }
    }

    fn authorized(
        &mut self,
        call: &AuthorizeStep<'_>,
        intents: &[Lease],
        answer: Answered<Vec<ObservedRule>>,
    ) -> StepResult {
        let mut flow = StepFlow::Next;
        let mut outcomes = Vec::new();
        for lease in intents {
            let rule = answer.value.iter().find(|rule| rule.permission == lease.permission);
            let outcome = if rule.is_some() { "opened" } else { "opened, id not named" };
            let event = self.event(EventKind::Authorized, outcome, &lease.permission, rule.map(|rule| &rule.id));
            let event = Event { session: Some(call.session), ..event };
            let (to, event) = match rule {
                Some(rule) => {
                    let event = Event { request_id: answer.request_id.clone(), ..event };
                    (lease.authorized(rule.id.clone(), call.until), event)
                }
                None => {
                    self.watching.insert(lease.permission);
                    flow = StepFlow::Reobserve;
                    (lease.landed(call.until), event)
                }
            };
            outcomes.push(Outcome { from: lease.clone(), to, event });
        }
        self.write(outcomes)?;
        // Rule ids are never reused: a new rule has no expiry schedule yet.
        self.expiry.seen.extend(answer.value.iter().map(|rule| (rule.id.clone(), AutoCloseSeen::Absent)));
        self.apply_known(Effect::Added(answer.value));
        self.report_step(call.step, StepOutcome::Done, None);
        Ok(flow)
    }

    async fn not_authorized(
        &mut self,
        call: &AuthorizeStep<'_>,
        intents: &[Lease],
        failure: Failure,
        round: Round<'_>,
    ) -> StepResult {
        let failure = failure.of(Purpose::Open);
        let class = failure.class;
        if class.outcome_unknown() {
            return self.unanswered(intents, &failure, call.step);
        }
        // A full quota: the pass closes first what is due anyway, once, then tries again.
        if class == FailureClass::Limit && round.closes && !self.quota_freed {
            self.quota_freed = true;
            self.refuse_for_now(intents, &failure)?;
            return Ok(StepFlow::Next);
        }
        if class.splits_batch() && call.permissions.len() > 1 {
            self.refuse_for_now(intents, &failure)?;
            return self.one_by_one(call.step, round).await;
        }
        if let Some(flow) = self.settle_refusal(intents, &failure, call.step)? {
            return Ok(flow);
        }
        // "Exists already" proves a rule whose id we hold. Then nothing changes for the user, and a later pass looks into the
        // stale reading. Without an id, the next reading must show the rule's owner.
        if intents.iter().any(|lease| lease.phase == Phase::Held && lease.rule_id.is_some()) {
            self.refuse_until(intents, &failure, |_, _| TimeDelta::minutes(1))?;
            return Ok(StepFlow::Next);
        }
        self.refuse_for_now(intents, &failure)?;
        self.watching.extend(call.permissions.iter().copied());
        Ok(StepFlow::Reobserve)
    }

    /// The reason why the machine's policy forbids the opening.
    pub(super) fn barred(
        &self,
        session: SessionId,
        permissions: &[Permission],
        loaded: &LoadedTarget,
    ) -> Option<Failure> {
        let session = loaded.sessions.iter().find(|known| known.id == session);
        barred(&self.driver.policy.site, session, &self.key, permissions)
    }

    /// The refusal of an address that the target does not take, without a call.
    fn wrong_family(&self, call: &AuthorizeStep<'_>) -> Option<Failure> {
        let Observation::Complete(reading) = &self.reading.observation else { return None };
        let family = reading.family?;
        let wrong = call.permissions.iter().find(|permission| permission.ip_version() != family)?;
        let why = format!("open to {}: {} takes {family} addresses only", wrong.cidr(), self.key);
        Some(Failure::new(FailureClass::Invalid, why))
    }

    /// The right that the caller lacks. Asked before the first grant on a target on which this installation has never closed
    /// a rule: it must also be able to close.
    async fn denied_right(&self, call: &AuthorizeStep<'_>, round: Round<'_>) -> Option<Failure> {
        let permission = call.permissions.first()?;
        if round.loaded.rows.closed_once || self.closed_once {
            return None;
        }
        let tags = self.authorize_call(call).tags;
        let _turn = self.lane.turn().await;
        let failure = self.driver.rights.ask(round.firewall, &self.key, permission, &tags).await;
        failure.map(|failure| failure.of(Purpose::Open))
    }
}

/// The rule of a permission where nothing tells a rule's id. The record names it so; nobody else does.
fn unread_rule(permission: &Permission) -> ObservedRule {
    let (ports, cidr) = (permission.ports(), permission.cidr());
    let all = permission.spec() == Some(PortSpec::All);
    let id = if all { cidr.to_string() } else { format!("{ports} {cidr}") };
    ObservedRule { id: RuleId(id), permission: *permission, description: None, tags: BTreeMap::new() }
}
