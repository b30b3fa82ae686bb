//! Expiry schedules: reading them, setting them, taking them away. Nothing here ever keeps a rule from being closed.

use crate::error::{CommandError, Work, advice_for};
use crate::reconcile::apply::ledger::DAMAGED;
use crate::reconcile::apply::round::{Impatient, Leased, StepFlow, TargetRun};
use crate::reconcile::lane::CalledService;
use crate::reconcile::retry;
use crate::reconcile::retry::Retry;
use crate::reconcile::{
    driver::LoadedRecord,
    report::{StepOutcome, StepReport},
};
use chrono::TimeDelta;
use eg_model::auto_close::{AutoClose, AutoCloseRoute, AutoCloseSeen};
use eg_model::failure::{Failure, FailureClass, Reaction};
use eg_model::ids::RuleId;
use eg_model::net::permission::Permission;
use eg_model::observation::OwnedRule;
use eg_model::plan::{LedgerStep, Note, NoteKind, Step};
use eg_model::tags::lease_value;
use eg_providers::{Firewall, SetAutoClose};
use eg_state::{Event, EventKind, StateError, Written};
use futures_util::{StreamExt, stream};
use std::{cell::RefCell, sync::Arc};

/// How many expiry schedules are read side by side.
const READERS: usize = 8;

impl TargetRun<'_> {
    /// Which role is of the target's account. The provider is asked only where the record does not know the account, and
    /// something is to stay open, or was just left to others, whose time its expiry schedule is to say then: what is closed needs no
    /// role.
    pub(super) async fn find_auto_close_route(&mut self, loaded: &LoadedRecord) {
        if std::mem::replace(&mut self.way_looked_for, true) {
            return;
        }
        let Some(expiry) = &self.driver.policy.cloud_expiry else { return };
        let Some(firewall) = self.look.firewall.clone().filter(|firewall| firewall.capabilities().auto_closes) else {
            return;
        };
        // A target that is looked at for collection alone has no rules of ours.
        let leased = loaded.leases.iter().any(|lease| lease.target.key == self.key);
        let wanted = loaded.wants.contains_key(&self.key);
        let left = loaded.leases.iter().any(|lease| lease.target.key == self.key && lease.left_to_others());
        if !leased && !wanted {
            return;
        }
        let account = match &self.look.target.route.account {
            Some(account) => account.clone(),
            None if !wanted && !left => return,
            None => {
                self.turn = None;
                match self.lane.caller(&self.look.target, firewall.as_ref()).await {
                    Ok(caller) => caller.account,
                    Err(failure) => {
                        let message =
                            format!("{}: no switch is set: whose account it is is not known: {failure}", self.key);
                        self.notes.insert(Note::new(NoteKind::AutoCloseUnset, message));
                        return;
                    }
                }
            }
        };
        self.auto_close_route = expiry.way(&account);
    }

    /// Reads what the plan cannot do without. What keeps one from being read would keep the next one: after the first
    /// failure nothing more is asked.
    pub(super) async fn see_auto_closes(&mut self, loaded: &LoadedRecord) {
        let unread = self.plan(loaded, Impatient::default()).unread;
        let Some(firewall) = self.look.firewall.clone().filter(|_| !unread.is_empty()) else { return };
        self.take_turn(CalledService::Scheduler).await;
        let (group, firewall, lane) = (self.key.id.as_str(), firewall.as_ref(), self.lane);
        let failed = &RefCell::new(None::<Failure>);
        let reads = unread.into_iter().map(|(rule, way)| async move {
            let before = failed.borrow().clone().or_else(|| lane.silence());
            let seen = match before {
                Some(failure) => AutoCloseSeen::Unreadable(failure),
                None => {
                    let seen = firewall.read_auto_close(group, &rule, &way).await;
                    lane.heard(if let AutoCloseSeen::Unreadable(failure) = &seen { Some(failure.class) } else { None });
                    seen
                }
            };
            if let AutoCloseSeen::Unreadable(failure) = &seen {
                failed.borrow_mut().get_or_insert_with(|| failure.clone());
            }
            (rule, seen)
        });
        let seen: Vec<(RuleId, AutoCloseSeen)> = stream::iter(reads).buffer_unordered(READERS).collect().await;
        self.auto_closes.extend(seen);
    }

    pub(super) async fn auto_close(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        step: &Step,
        loaded: &LoadedRecord,
    ) -> Result<StepFlow, CommandError> {
        match step {
            Step::SetAutoClose { rule, at, way } => {
                let known = known(loaded, rule.id());
                let new = || {
                    AutoClose::new(rule.id().clone(), self.look.target.clone(), *rule.permission(), way.clone(), *at)
                };
                let known = known.cloned().map_or_else(|| (new(), None), |known| (known.clone(), Some(known.version)));
                self.set_auto_close(firewall, step, rule, known.0.intend(way, *at), known.1).await
            }
            Step::DropAutoClose { rule, way, .. } => match known(loaded, rule) {
                Some(known) => self.drop_auto_close(firewall, step, known, way).await,
                None => Ok(StepFlow::Next),
            },
            _ => Ok(StepFlow::Next),
        }
    }

    /// The intent before the call, the outcome after it, as for a lease.
    async fn set_auto_close(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        step: &Step,
        rule: &OwnedRule,
        intended: AutoClose,
        before: Option<u64>,
    ) -> Result<StepFlow, CommandError> {
        let intended = AutoClose { target: self.look.target.clone(), ..intended };
        let event = self.auto_close_event(EventKind::Intent, step.action(), &intended);
        let written = self.driver.store.borrow_mut().write_auto_close(&intended, before, Some(&event));
        if written.as_ref().is_err_and(StateError::is_of_a_row) {
            self.unreadable_auto_closes.insert(rule.id().clone());
            self.steps.push(self.report(step, StepOutcome::Skipped, Some(DAMAGED.to_owned())));
        }
        match self.unless_unwritable(written)? {
            Some(Written::Done) => {}
            Some(Written::Raced | Written::NoLongerWanted) => return Ok(StepFlow::Replan),
            None => return Ok(StepFlow::Next),
        }
        self.auto_close_refusal = self.auto_close_refusal.take().or_else(|| self.lane.silence());
        if let Some(failure) = self.auto_close_refusal.clone() {
            return self.auto_close_not_set(step, &intended, failure);
        }
        let seen = self.auto_closes.get(rule.id());
        let unreadable = matches!(seen, Some(AutoCloseSeen::Unreadable(_)));
        let call = SetAutoClose {
            way: intended.way.clone(),
            at: intended.at,
            exists: matches!(seen, Some(AutoCloseSeen::Set(_) | AutoCloseSeen::Wrong)),
            description: format!("eg closes {} of {}", rule.id(), self.key.id),
            token: self.driver.env.uuid().to_string(),
        };
        let set = firewall.set_auto_close(rule, &call).await;
        self.lane.heard(set.as_ref().err().map(|failure| failure.class));
        match set {
            Ok(answer) => {
                let event = self.auto_close_event(EventKind::AutoCloseSet, &lease_value(intended.at), &intended);
                let event = Event { request_id: answer.request_id, ..event };
                self.record_auto_close(&intended.set(intended.at), intended.version, &event)?;
                self.auto_closes.insert(rule.id().clone(), AutoCloseSeen::Set(intended.at));
                self.steps.push(self.report(step, StepOutcome::Done, None));
                Ok(StepFlow::Next)
            }
            Err(failure) => {
                if auto_closes_rest(failure.class, unreadable) || self.lane.silence().is_some() {
                    self.auto_close_refusal = Some(failure.clone());
                }
                self.auto_close_not_set(step, &intended, failure)
            }
        }
    }

    /// The rule is open and usable all the same; the grant and the exit status say what it lacks.
    fn auto_close_not_set(
        &mut self,
        step: &Step,
        intended: &AutoClose,
        failure: Failure,
    ) -> Result<StepFlow, CommandError> {
        let class = failure.class;
        let flow = match class.reaction() {
            Reaction::RetryNow => StepFlow::Throttled,
            // What could not be read before is not read now either.
            Reaction::Reobserve if self.auto_close_refusal.is_none() => StepFlow::Reobserve,
            Reaction::Reobserve => StepFlow::Next,
            Reaction::RetryLater | Reaction::Stop => StepFlow::Next,
        };
        let wait = match flow {
            StepFlow::Next => {
                retry::delay(Retry::Closing, intended.refusals.saturating_add(1), self.driver.env.random())
            }
            _ => std::time::Duration::ZERO,
        };
        self.refuse_auto_close(intended, &failure, wait)?;
        let outcome = if class.outcome_unknown() { StepOutcome::Unknown } else { StepOutcome::Refused };
        self.report_auto_close(step, outcome, &failure);
        Ok(flow)
    }

    /// An expiry schedule that is left over hits nothing and deletes itself: nobody waits for this, and nothing depends on it. What
    /// keeps one from being deleted would keep the next one: then that is not asked for any more in this pass.
    async fn drop_auto_close(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        step: &Step,
        known: &AutoClose,
        way: &AutoCloseRoute,
    ) -> Result<StepFlow, CommandError> {
        let dropped = match self.drop_refusal.clone().or_else(|| self.lane.silence()) {
            Some(failure) => Err(failure),
            None => {
                let dropped = firewall.drop_auto_close(&known.rule, way).await;
                self.lane.heard(dropped.as_ref().err().map(|failure| failure.class));
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
                    let forgotten = self.driver.store.borrow_mut().forget_auto_close(&known.rule, Some(&event));
                    self.unless_unwritable(forgotten)?;
                }
                self.auto_closes.remove(&known.rule);
                self.steps.push(self.report(step, StepOutcome::Done, None));
            }
            Err(failure) => {
                let wait = retry::delay(Retry::Closing, known.refusals.saturating_add(1), self.driver.env.random());
                self.refuse_auto_close(known, &failure, wait)?;
                if auto_closes_rest(failure.class, true) {
                    self.drop_refusal = Some(failure.clone());
                }
                tracing::info!("{}: a switch that closes nothing any more stays behind: {failure}", self.key);
            }
        }
        Ok(StepFlow::Next)
    }

    /// A rule that another installation has opened may have an expiry schedule that the record does not know: it was joined, and the
    /// command died before it looked at that; and whoever set it has left the rule to us since. Before such a rule is
    /// closed, its expiry schedule goes on record, to be taken away once the rule is gone.
    pub(super) fn expect_auto_closes(&self, leased: &Leased<'_>, loaded: &LoadedRecord) {
        let configured = || self.driver.policy.cloud_expiry.as_ref()?.way(self.look.target.route.account.as_ref()?);
        let Some(way) = self.auto_close_route.clone().or_else(configured) else { return };
        let unknown = leased.iter().filter(|(rule, lease)| lease.shared && known(loaded, rule.id()).is_none());
        for (rule, _) in unknown {
            let (id, target, now) = (rule.id().clone(), self.look.target.clone(), self.now());
            let auto_close = AutoClose::of_another(id, target, *rule.permission(), way.clone(), now);
            let written = self.driver.store.borrow_mut().write_auto_close(&auto_close, None, None);
            if let Err(error) = written {
                // It would hit nothing: no reason not to close.
                tracing::info!("{}: a switch that may be left over could not be recorded: {error}", self.key);
            }
        }
    }

    /// What a reading teaches about expiry schedules.
    pub(super) fn learn_auto_close(&mut self, step: &LedgerStep, loaded: &LoadedRecord) -> Result<(), CommandError> {
        match step {
            LedgerStep::KnowAutoClose { rule, permission, at, way } => {
                self.know_auto_close(loaded, rule, permission, way, *at)
            }
            LedgerStep::ForgetAutoClose { rule } => {
                let forgotten = self.driver.store.borrow_mut().forget_auto_close(rule, None);
                self.unless_unwritable(forgotten).map(drop)
            }
            LedgerStep::Adopt { .. } | LedgerStep::Close { .. } => Ok(()),
        }
    }

    fn know_auto_close(
        &mut self,
        loaded: &LoadedRecord,
        rule: &RuleId,
        permission: &Permission,
        way: &AutoCloseRoute,
        at: eg_model::Timestamp,
    ) -> Result<(), CommandError> {
        let known = known(loaded, rule);
        let new = || AutoClose::new(rule.clone(), self.look.target.clone(), *permission, way.clone(), at);
        let seen = AutoClose { way: way.clone(), ..known.cloned().unwrap_or_else(new).set(at) };
        let written = self.driver.store.borrow_mut().write_auto_close(&seen, known.map(|known| known.version), None);
        self.unless_unwritable(written).map(drop)
    }

    fn auto_close_event(&self, kind: EventKind, outcome: &str, auto_close: &AutoClose) -> Event {
        self.event(kind, outcome, &auto_close.permission, Some(&auto_close.rule))
    }

    fn refuse_auto_close(
        &mut self,
        auto_close: &AutoClose,
        failure: &Failure,
        wait: std::time::Duration,
    ) -> Result<(), CommandError> {
        let next = self.now() + TimeDelta::from_std(wait).unwrap_or(TimeDelta::minutes(1));
        let kind = if failure.class.outcome_unknown() { EventKind::Unanswered } else { EventKind::Refused };
        let event = self.auto_close_event(kind, &failure.class.to_string(), auto_close);
        let event = Event { request_id: failure.request_id.clone(), detail: Some(failure.message.clone()), ..event };
        self.record_auto_close(&auto_close.refused(failure.clone(), next), auto_close.version, &event)
    }

    fn record_auto_close(&mut self, auto_close: &AutoClose, before: u64, event: &Event) -> Result<(), CommandError> {
        let written = self.driver.store.borrow_mut().write_auto_close(auto_close, Some(before), Some(event));
        // Somebody else's write is as good: the next reading decides.
        self.unless_unwritable(written).map(drop)
    }

    fn report_auto_close(&mut self, step: &Step, outcome: StepOutcome, failure: &Failure) {
        let report = self.report(step, outcome, Some(failure.to_string()));
        self.steps.push(StepReport { advice: Some(advice_for(Work::SettingExpiry, failure.class)), ..report });
    }
}

fn known<'l>(loaded: &'l LoadedRecord, rule: &RuleId) -> Option<&'l AutoClose> {
    loaded.auto_closes.iter().find(|auto_close| auto_close.rule == *rule)
}

/// Whether the next expiry schedule would meet the same: what the role or the caller may not do for one rule, they may not do for
/// the next one; and where nothing answers, and `unreadable` says that nothing did before, nothing will.
fn auto_closes_rest(class: FailureClass, unreadable: bool) -> bool {
    match class {
        FailureClass::Denied | FailureClass::Credentials | FailureClass::Gone | FailureClass::Local => true,
        class => unreadable && class.outcome_unknown(),
    }
}
