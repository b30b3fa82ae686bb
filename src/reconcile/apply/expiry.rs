//! Expiry schedules: reading, setting and deleting them. Nothing here ever keeps a rule from being closed.

use super::{
    ledger::DAMAGED,
    target::{Impatience, Leased, Round, StepFlow, StepResult, TargetRun},
};
use crate::{
    error::{CommandError, Work, advice_for},
    reconcile::{lane::CalledService, loaded_record::LoadedTarget, report::StepOutcome},
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    auto_close::{AutoClose, AutoCloseRoute, AutoCloseSeen},
    failure::{Failure, FailureClass, Reaction},
    ids::RuleId,
    lease::Lease,
    net::permission::Permission,
    observation::OwnedRule,
    plan::{Note, NoteKind, Step},
    tags::lease_value,
    target::Expiry,
};
use eg_providers::{Firewall, SetAutoClose};
use eg_state::{Event, EventKind, RowOutcome, StateError};
use futures_util::{StreamExt, stream};
use std::{cell::RefCell, mem::replace};

/// The number of expiry schedules that are read side by side.
const READERS: usize = 8;

impl TargetRun<'_> {
    /// Finds the role for the target's account. The provider is asked for the account only if the record does not know it and
    /// the role is needed: a rule stays open, or was just left to others, whose time its schedule has to say then.
    pub(super) async fn find_auto_close_route(&mut self, loaded: &LoadedTarget) {
        if replace(&mut self.expiry.route_sought, true) {
            return;
        }
        let Some(expiry) = &self.driver.policy.cloud_expiry else { return };
        let Some(firewall) =
            self.reading.firewall.clone().filter(|firewall| firewall.capabilities().expiry == Expiry::Schedule)
        else {
            return;
        };
        let wanted = !loaded.wants.is_empty();
        // A target that is read for collection alone has no rules of ours.
        if !wanted && loaded.rows.leases.is_empty() {
            return;
        }
        let account = match &self.reading.target.route.account {
            Some(account) => account.clone(),
            None if !wanted && !loaded.rows.leases.iter().any(Lease::left_to_others) => return,
            None => {
                self.slot = None;
                match self.lane.caller(&self.reading.target, firewall.as_ref()).await {
                    Ok(caller) => caller.account,
                    Err(failure) => {
                        let message = format!(
                            "{}: no expiry schedule is set, since its account is not known: {failure}",
                            self.key
                        );
                        let class = Some(failure.class);
                        self.notes.insert(Note { class, ..Note::new(NoteKind::AutoCloseUnset, message) });
                        return;
                    }
                }
            }
        };
        self.expiry.route = expiry.way(&account);
    }

    /// Reads the schedules that the plan needs. The first failure stops all further reading: the next read would meet it too.
    pub(super) async fn read_auto_closes(&mut self, loaded: &LoadedTarget) {
        let unread = self.plan(loaded, Impatience::default()).unread;
        let Some(firewall) = self.reading.firewall.clone().filter(|_| !unread.is_empty()) else { return };
        self.take_slot(CalledService::Scheduler).await;
        let (group, firewall, lane) = (self.key.id.as_str(), firewall.as_ref(), self.lane);
        let failed = &RefCell::new(None::<Failure>);
        let reads = unread.into_iter().map(|(rule, route)| async move {
            let before = failed.borrow().clone().or_else(|| lane.silence());
            let seen = match before {
                Some(failure) => AutoCloseSeen::Unreadable(failure),
                None => {
                    let seen = firewall.read_auto_close(group, &rule, &route).await;
                    let failure = if let AutoCloseSeen::Unreadable(failure) = &seen { Some(failure) } else { None };
                    lane.note_answer(failure.map(|failure| failure.class));
                    seen
                }
            };
            if let AutoCloseSeen::Unreadable(failure) = &seen {
                failed.borrow_mut().get_or_insert_with(|| failure.clone());
            }
            (rule, seen)
        });
        let seen: Vec<(RuleId, AutoCloseSeen)> = stream::iter(reads).buffer_unordered(READERS).collect().await;
        self.expiry.seen.extend(seen);
    }

    pub(super) async fn auto_close(&mut self, step: &Step, round: Round<'_>) -> StepResult {
        match step {
            Step::SetAutoClose { rule, at, way } => {
                let known = known(round.loaded, rule.id());
                let base = known.cloned().unwrap_or_else(|| self.new_row(rule.id(), rule.permission(), way, *at));
                let intended = AutoClose { target: self.reading.target.clone(), ..base.intend(way, *at) };
                self.set_auto_close(round.firewall, step, rule, intended, known.map(|known| known.version)).await
            }
            Step::DropAutoClose { rule, way, .. } => match known(round.loaded, rule) {
                Some(known) => self.drop_auto_close(round.firewall, step, known, way).await,
                None => Ok(StepFlow::Next),
            },
            _ => Ok(StepFlow::Next),
        }
    }

    fn new_row(&self, rule: &RuleId, permission: &Permission, route: &AutoCloseRoute, at: Timestamp) -> AutoClose {
        AutoClose::new(rule.clone(), self.reading.target.clone(), *permission, route.clone(), at)
    }

    /// Writes the intent, sends the call, and records the outcome.
    async fn set_auto_close(
        &mut self,
        firewall: &dyn Firewall,
        step: &Step,
        rule: &OwnedRule,
        intended: AutoClose,
        before: Option<u64>,
    ) -> StepResult {
        let event = self.auto_close_event(EventKind::Intent, step.action(), &intended);
        let written = self.driver.store_of(&self.key).write_auto_close(&intended, before, Some(&event));
        if written.as_ref().is_err_and(StateError::is_of_a_row) {
            self.expiry.damaged.insert(rule.id().clone());
            self.report_step(step, StepOutcome::Skipped, Some(DAMAGED.to_owned()));
        }
        match self.unless_unwritable(written)? {
            Some(RowOutcome::Done) if !self.flush(self.driver.written()).await => return Ok(StepFlow::Next),
            Some(RowOutcome::Done) => {}
            Some(RowOutcome::Raced | RowOutcome::NoLongerWanted) => return Ok(StepFlow::Replan),
            None => return Ok(StepFlow::Next),
        }
        self.expiry.set_refusal = self.expiry.set_refusal.take().or_else(|| self.lane.silence());
        if let Some(failure) = self.expiry.set_refusal.clone() {
            return self.auto_close_not_set(step, &intended, failure);
        }
        let seen = self.expiry.seen.get(rule.id());
        let unreadable = matches!(seen, Some(AutoCloseSeen::Unreadable(_)));
        let call = SetAutoClose {
            way: intended.way.clone(),
            at: intended.at,
            exists: matches!(seen, Some(AutoCloseSeen::Set(_) | AutoCloseSeen::Wrong)),
            description: format!("eg closes {} of {}", rule.id(), self.key.id),
            token: self.driver.env.uuid().to_string(),
        };
        let set = firewall.set_auto_close(rule, &call).await;
        self.lane.note_answer(set.as_ref().err().map(|failure| failure.class));
        match set {
            Ok(answer) => {
                let event = self.auto_close_event(EventKind::AutoCloseSet, &lease_value(intended.at), &intended);
                let event = Event { request_id: answer.request_id, ..event };
                self.record_auto_close(&intended.set(intended.at), intended.version, &event)?;
                self.expiry.seen.insert(rule.id().clone(), AutoCloseSeen::Set(intended.at));
                self.report_step(step, StepOutcome::Done, None);
                Ok(StepFlow::Next)
            }
            Err(failure) => {
                if stops_auto_closes(failure.class, unreadable) || self.lane.silence().is_some() {
                    self.expiry.set_refusal = Some(failure.clone());
                }
                self.auto_close_not_set(step, &intended, failure)
            }
        }
    }

    /// The rule is open and usable all the same; the grant and the exit status show that its schedule is missing.
    fn auto_close_not_set(&mut self, step: &Step, intended: &AutoClose, failure: Failure) -> StepResult {
        let class = failure.class;
        let (flow, wait) = match class.reaction() {
            Reaction::RetryNow => (StepFlow::Throttled, TimeDelta::zero()),
            // After a refusal that stops all schedules, another reading would fail too.
            Reaction::Reobserve if self.expiry.set_refusal.is_none() => (StepFlow::Reobserve, TimeDelta::zero()),
            Reaction::Reobserve | Reaction::RetryLater | Reaction::Stop => {
                (StepFlow::Next, self.delay(step, intended.refusals))
            }
        };
        self.refuse_auto_close(intended, &failure, wait)?;
        let outcome = if class.outcome_unknown() { StepOutcome::Unknown } else { StepOutcome::Refused };
        self.report_failure(step, outcome, &failure, advice_for(Work::SettingExpiry, class));
        Ok(flow)
    }

    /// A left-over schedule closes nothing and deletes itself, so a failure to delete it is only logged. The first failure of
    /// a kind that the next schedule would meet too stops all further deletions of this pass.
    async fn drop_auto_close(
        &mut self,
        firewall: &dyn Firewall,
        step: &Step,
        known: &AutoClose,
        route: &AutoCloseRoute,
    ) -> StepResult {
        let dropped = match self.expiry.drop_refusal.clone().or_else(|| self.lane.silence()) {
            Some(failure) => Err(failure),
            None => {
                let dropped = firewall.drop_auto_close(&known.rule, route).await;
                self.lane.note_answer(dropped.as_ref().err().map(|failure| failure.class));
                dropped
            }
        };
        match dropped {
            Ok(answer) => {
                let event = self.auto_close_event(EventKind::AutoCloseDropped, "its rule is gone", known);
                let event = Event { request_id: answer.request_id, ..event };
                let now = self.now();
                if known.may_still_land(now) {
                    self.record_auto_close(&known.dropped(now), known.version, &event)?;
                } else {
                    let forgotten = self.driver.store_of(&self.key).forget_auto_close(&known.rule, Some(&event));
                    self.unless_unwritable(forgotten)?;
                }
                self.expiry.seen.remove(&known.rule);
                self.report_step(step, StepOutcome::Done, None);
            }
            Err(failure) => {
                self.refuse_auto_close(known, &failure, self.delay(step, known.refusals))?;
                if stops_auto_closes(failure.class, true) {
                    self.expiry.drop_refusal = Some(failure.clone());
                }
                tracing::info!("{}: an expiry schedule that closes nothing any more is left over: {failure}", self.key);
            }
        }
        Ok(StepFlow::Next)
    }

    /// Records expiry schedules that may exist, before their rules are closed; the next passes delete them. A rule that
    /// another installation has opened may have a schedule that the record does not know: this installation joined the rule
    /// and crashed before it looked for a schedule, and the other installation has left since.
    pub(super) fn expect_auto_closes(&self, leased: &Leased<'_>, loaded: &LoadedTarget) {
        let target = &self.reading.target;
        let configured = || self.driver.policy.cloud_expiry.as_ref()?.way(target.route.account.as_ref()?);
        let Some(route) = self.expiry.route.clone().or_else(configured) else { return };
        let unknown = leased.iter().filter(|(rule, lease)| lease.shared && known(loaded, rule.id()).is_none());
        for (rule, _) in unknown {
            let (id, permission) = (rule.id().clone(), *rule.permission());
            let auto_close = AutoClose::of_another(id, target.clone(), permission, route.clone(), self.now());
            let written = self.driver.store_of(&self.key).write_auto_close(&auto_close, None, None);
            if let Err(error) = written {
                // Such a schedule would find no rule to close, so closing does not wait for its row.
                tracing::info!("{}: an expiry schedule that may be left over could not be recorded: {error}", self.key);
            }
        }
    }

    /// Records a schedule that a reading shows.
    pub(super) fn know_auto_close(
        &mut self,
        loaded: &LoadedTarget,
        rule: &RuleId,
        permission: &Permission,
        route: &AutoCloseRoute,
        at: Timestamp,
    ) -> Result<(), CommandError> {
        let known = known(loaded, rule);
        let base = known.cloned().unwrap_or_else(|| self.new_row(rule, permission, route, at));
        let seen = AutoClose { way: route.clone(), ..base.set(at) };
        let written = self.driver.store_of(&self.key).write_auto_close(&seen, known.map(|known| known.version), None);
        self.unless_unwritable(written).map(drop)
    }

    fn auto_close_event(&self, kind: EventKind, outcome: &str, auto_close: &AutoClose) -> Event {
        self.event(kind, outcome, &auto_close.permission, Some(&auto_close.rule))
    }

    fn refuse_auto_close(
        &mut self,
        auto_close: &AutoClose,
        failure: &Failure,
        wait: TimeDelta,
    ) -> Result<(), CommandError> {
        let kind = if failure.class.outcome_unknown() { EventKind::Unanswered } else { EventKind::Refused };
        let event = self.auto_close_event(kind, &failure.class.to_string(), auto_close);
        let event = Event { request_id: failure.request_id.clone(), detail: Some(failure.message.clone()), ..event };
        self.record_auto_close(&auto_close.refused(failure.clone(), self.now() + wait), auto_close.version, &event)
    }

    fn record_auto_close(&mut self, auto_close: &AutoClose, before: u64, event: &Event) -> Result<(), CommandError> {
        let written = self.driver.store_of(&self.key).write_auto_close(auto_close, Some(before), Some(event));
        // If another process was faster, its row stands: the next reading decides.
        self.unless_unwritable(written).map(drop)
    }
}

fn known<'l>(loaded: &'l LoadedTarget, rule: &RuleId) -> Option<&'l AutoClose> {
    loaded.rows.auto_closes.iter().find(|auto_close| auto_close.rule == *rule)
}

/// True if the next expiry schedule would meet the same failure: the role or the caller lacks a right, or the scheduler does
/// not answer, and `unreadable` says that it did not answer before.
fn stops_auto_closes(class: FailureClass, unreadable: bool) -> bool {
    match class {
        FailureClass::Denied | FailureClass::Credentials | FailureClass::Gone | FailureClass::Local => true,
        class => unreadable && class.outcome_unknown(),
    }
}
