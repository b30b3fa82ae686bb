//! The part of a plan that is about expiry schedules: [`HeldScheduleCase`] and [`LeftoverScheduleCase`], row by row.

use super::{
    case::{HeldScheduleCase, LeftoverScheduleCase},
    context::{AutoCloseView, PlanContext, TargetView},
    note::{Note, NoteKind},
    planner::CLOSING_DELAY_MAX,
    step::{LedgerStep, Step},
    target_plan::TargetPlan,
    wants::Want,
};
use crate::{
    SETTLE_WINDOW, Timestamp,
    auto_close::{AutoClose, AutoCloseRoute, AutoCloseSeen, FireTime},
    failure::{Failure, FailureClass},
    ids::RuleId,
    lease::{Lease, Phase},
    net::permission::Permission,
    observation::{Observation, ObservedRule, OwnedRule, Proof, Reading},
    tags::{Fit, LeaseState, Marks, lease_time},
    target::{Capabilities, Expiry, MarkPlace},
};
use chrono::TimeDelta;
use std::collections::{BTreeMap, BTreeSet};

/// The longest delay before a leftover expiry schedule is deleted, or deleted once more ([`AutoClose::dropped`]).
const DROPPING_DELAY_MAX: TimeDelta = TimeDelta::seconds(SETTLE_WINDOW.num_seconds() + 1);

/// Adds the steps for expiry schedules to a plan.
pub(super) fn with_auto_closes(
    record: &PlanContext<'_>,
    view: &TargetView<'_>,
    wanted: &BTreeMap<Permission, Want>,
    leases: &BTreeMap<Permission, &Lease>,
    plan: TargetPlan,
) -> TargetPlan {
    let Some(auto_closes) = view.auto_closes.filter(|_| view.capabilities.expiry == Expiry::Schedule) else {
        return plan;
    };
    let reading = match view.observation {
        Observation::Unavailable(_) | Observation::NoReadBack => return plan,
        Observation::Missing => None,
        Observation::Complete(reading) => Some(reading),
    };
    let rows = auto_closes.rows.iter().filter(|row| &row.target.key == view.key);
    let rows = rows.map(|row| (&row.rule, row)).collect();
    let capabilities = view.capabilities;
    let unset = BTreeMap::new();
    let mut planner =
        AutoClosePlanner { record, capabilities, auto_closes, reading, wanted, leases, rows, unset, plan };
    planner.held_rules();
    planner.leftover_rows();
    planner.finish()
}

struct AutoClosePlanner<'a> {
    record: &'a PlanContext<'a>,
    capabilities: Capabilities,
    auto_closes: AutoCloseView<'a>,
    reading: Option<&'a Reading>,
    wanted: &'a BTreeMap<Permission, Want>,
    leases: &'a BTreeMap<Permission, &'a Lease>,
    rows: BTreeMap<&'a RuleId, &'a AutoClose>,
    /// The reasons why expiry schedules could not be set, with the number of rules for each.
    unset: BTreeMap<String, (usize, FailureClass)>,
    plan: TargetPlan,
}

impl<'a> AutoClosePlanner<'a> {
    fn finish(mut self) -> TargetPlan {
        for (why, (count, class)) in std::mem::take(&mut self.unset) {
            let rules = if count == 1 { "1 rule".to_owned() } else { format!("{count} rules") };
            let message = format!("{rules} of {}: {}", self.plan.target, unset_text(&why));
            self.plan.notes.push(Note { kind: NoteKind::AutoCloseUnset, message, class: Some(class) });
        }
        self.plan.steps.sort();
        self.plan.ledger.sort();
        self.plan.notes.sort();
        self.plan
    }

    fn rule(&self, id: &RuleId) -> Option<&'a ObservedRule> {
        let reading = self.reading?;
        reading
            .rules
            .iter()
            .find(|rule| rule.id == *id)
            .filter(|rule| !self.record.is_revoked(rule, reading, self.capabilities.settle))
    }

    /// The provider's clock; ours if that is unknown.
    fn provider_now(&self) -> Timestamp {
        self.reading.and_then(|reading| reading.provider_time).unwrap_or(self.record.now)
    }

    fn is_closed_by_this_plan(&self, id: &RuleId) -> bool {
        let closes = |step: &&Step| matches!(step, Step::Revoke { .. } | Step::Collect { .. });
        self.plan.steps.iter().filter(closes).any(|step| step.rules().iter().any(|rule| rule.id() == id))
    }

    fn is_moved_by_this_plan(&self, id: &RuleId) -> bool {
        self.plan.steps.iter().any(|step| matches!(step, Step::SetAutoClose { rule, .. } if rule.id() == id))
    }

    /// The rules that our leases hold, or have just left to others.
    fn held_rules(&mut self) {
        let leases = self.leases;
        for (permission, lease) in leases {
            let Some(rule) = lease.proven_rule().and_then(|id| self.rule(id)) else { continue };
            if rule.permission != *permission || self.is_closed_by_this_plan(&rule.id) {
                continue;
            }
            let ours = self.wanted.get(permission).map(|want| want.until);
            let moves = if lease.phase == Phase::Leaving { ours.is_none() } else { ours.is_some() };
            let known = self.rows.get(&rule.id).copied();
            if let Some((latest, way)) = self.latest(rule, ours).filter(|_| moves).zip(self.way(known)) {
                let marked_kind = self.capabilities.marks != MarkPlace::None;
                let unmarked = marked_kind && !fits(&rule.marks(&self.plan.target.id));
                self.held_rule(rule, FireTime::new(latest, self.provider_now()).or_later(unmarked), way, known);
            }
        }
    }

    /// The end of the rule's latest unexpired lease: ours by our sessions, others' by their tags.
    fn latest(&self, rule: &ObservedRule, ours: Option<Timestamp>) -> Option<Timestamp> {
        let marks = rule.marks(&self.plan.target.id);
        let provider = self.provider_now();
        let holds = |value: &&String| fits(&marks) && Marks::judge(value, provider) == LeaseState::Unexpired;
        // A twin's lease has our own id.
        let another = |id| self.record.twin || id != self.record.installation;
        let others = marks.leases.iter().filter(|(id, _)| another(*id)).map(|(_, value)| value);
        others.filter(holds).filter_map(|value| lease_time(value)).chain(ours).max()
    }

    /// The role of the configuration, in the group on record: a schedule left behind in another group would still fire.
    fn way(&self, known: Option<&AutoClose>) -> Option<AutoCloseRoute> {
        let role = self.auto_closes.way.or(known.map(|known| &known.way))?;
        let place = known.map_or(role, |known| &known.way);
        Some(AutoCloseRoute { role_arn: role.role_arn.clone(), group: place.group.clone() })
    }

    fn held_case(
        &self,
        rule: &ObservedRule,
        due: FireTime,
        way: &AutoCloseRoute,
        known: Option<&AutoClose>,
    ) -> HeldScheduleCase {
        let recorded = known.filter(|known| known.confirmed && known.way == *way).map(|known| known.at);
        match self.auto_closes.seen.get(&rule.id) {
            None => HeldScheduleCase::Unread,
            Some(AutoCloseSeen::Set(at)) if due.fits(*at) && recorded == Some(*at) => HeldScheduleCase::Right,
            Some(AutoCloseSeen::Set(at)) if due.fits(*at) => HeldScheduleCase::Unrecorded(*at),
            Some(AutoCloseSeen::Unreadable(_)) if recorded.is_some_and(|at| due.fits(at)) => HeldScheduleCase::Trusted,
            Some(_) => HeldScheduleCase::Wrong,
        }
    }

    fn held_rule(&mut self, rule: &ObservedRule, due: FireTime, way: AutoCloseRoute, known: Option<&AutoClose>) {
        let case = self.held_case(rule, due, &way, known);
        self.plan.rows.insert(case.row());
        match case {
            HeldScheduleCase::Unread => {
                self.plan.unread.insert(rule.id.clone(), way);
            }
            HeldScheduleCase::Right | HeldScheduleCase::Trusted => {}
            HeldScheduleCase::Unrecorded(at) => {
                let (rule, permission) = (rule.id.clone(), rule.permission);
                self.plan.ledger.push(LedgerStep::KnowAutoClose { rule, permission, at, way });
            }
            HeldScheduleCase::Wrong => self.set(rule, due, way, known),
        }
    }

    fn set(&mut self, rule: &ObservedRule, due: FireTime, way: AutoCloseRoute, known: Option<&AutoClose>) {
        if let Some(failure) = known.and_then(|known| known.last_failure.as_ref()) {
            self.unset.entry(failure.to_string()).or_insert((0, failure.class)).0 += 1;
        }
        let later = self.put_off(known, CLOSING_DELAY_MAX).filter(|_| !self.auto_closes.ignore_delays);
        if let Some(at) = later {
            self.plan.deferred = true;
            self.plan.wake_at(at);
        } else {
            let owned = self.owned(rule);
            self.plan.steps.extend(owned.map(|rule| Step::SetAutoClose { rule, at: due.at(), way }));
        }
    }

    fn owned(&self, rule: &ObservedRule) -> Option<OwnedRule> {
        Some(OwnedRule::seen(&self.plan.target, rule, Proof::LedgerId, self.reading?))
    }

    fn put_off(&self, known: Option<&AutoClose>, longest: TimeDelta) -> Option<Timestamp> {
        self.record.put_off(known.and_then(|known| known.next_try_at), longest)
    }

    /// Plans the rows whose rule no open lease of ours knows any more, once this plan is carried out.
    fn leftover_rows(&mut self) {
        let closes = |lease: &Lease| self.plan.ledger.contains(&LedgerStep::Close { lease: lease.id });
        let open = self.leases.values().filter(|lease| !closes(lease));
        let known: BTreeSet<&RuleId> = open.filter_map(|lease| lease.rule_id.as_ref()).collect();
        let rows: Vec<&AutoClose> = self.rows.values().copied().filter(|row| !known.contains(&row.rule)).collect();
        for row in rows {
            self.leftover_row(row);
        }
    }

    fn leftover_case(&self, row: &AutoClose) -> LeftoverScheduleCase {
        let rule = self.rule(&row.rule);
        if rule.is_some_and(|rule| self.is_closed_by_this_plan(&rule.id) || self.is_moved_by_this_plan(&rule.id)) {
            return LeftoverScheduleCase::Busy;
        }
        if row.confirmed && row.is_spent(self.provider_now()) {
            return LeftoverScheduleCase::Fired;
        }
        if let Some(settles_at) = self.may_misread(row) {
            return LeftoverScheduleCase::Unsettled(settles_at);
        }
        match rule {
            Some(rule) if self.latest(rule, None).is_some() => LeftoverScheduleCase::OfOthers,
            Some(_) => LeftoverScheduleCase::RuleStays,
            None => LeftoverScheduleCase::RuleGone,
        }
    }

    fn leftover_row(&mut self, row: &AutoClose) {
        let case = self.leftover_case(row);
        self.plan.rows.insert(case.row());
        match case {
            LeftoverScheduleCase::Busy | LeftoverScheduleCase::RuleStays => {}
            LeftoverScheduleCase::Unsettled(settles_at) => self.plan.wake_at(settles_at + TimeDelta::seconds(1)),
            LeftoverScheduleCase::Fired | LeftoverScheduleCase::OfOthers => {
                self.plan.ledger.push(LedgerStep::ForgetAutoClose { rule: row.rule.clone() });
            }
            // Even a person does not wait for this one: a schedule that is left behind hits nothing and deletes itself.
            LeftoverScheduleCase::RuleGone => match self.put_off(Some(row), DROPPING_DELAY_MAX) {
                Some(at) => self.plan.wake_at(at),
                None => {
                    let (rule, permission, way) = (row.rule.clone(), row.permission, row.way.clone());
                    self.plan.steps.push(Step::DropAutoClose { rule, permission, way });
                }
            },
        }
    }

    /// The end of the time in which a reading may be wrong about a vanished rule, because another one was opened in its
    /// place a short while ago.
    fn may_misread(&self, row: &AutoClose) -> Option<Timestamp> {
        let read_at = self.reading?.read_at;
        let lease =
            self.leases.get(&row.permission).filter(|lease| !lease.settled(read_at, self.capabilities.settle))?;
        lease.settles_at(self.capabilities.settle).filter(|_| self.record.opened.contains_key(&row.rule))
    }
}

/// True if the plan counts the leases on a rule whose id is on record.
fn fits(marks: &Marks) -> bool {
    marks.fit(true) == Some(Fit::Genuine)
}

fn unset_text(why: &str) -> String {
    format!("closes by eg reconcile only: the expiry schedule could not be set: {why}")
}

/// The error of a grant whose expiry schedule could not be set.
#[must_use]
pub fn auto_close_unset(failure: &Failure) -> String {
    unset_text(&failure.to_string())
}
