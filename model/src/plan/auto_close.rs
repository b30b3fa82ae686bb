//! The part of a target's plan that is about expiry schedules; the table is in the parent's documentation.

use crate::plan::{
    AutoCloseView, LedgerStep, Note, NoteKind, PlanContext, Step, TargetPlan, TargetView, Want,
    target::{CLOSING_DELAY_MAX, is_stale},
};
use crate::{
    SETTLE_WINDOW, Timestamp,
    auto_close::{AutoClose, AutoCloseRoute, AutoCloseSeen, FireTime},
    failure::{Failure, FailureClass},
    ids::RuleId,
    lease::{Lease, Phase},
    net::permission::Permission,
    observation::{Observation, ObservedRule, OwnedRule, Proof, Reading},
    tags::{Fit, LeaseState, Marks},
};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// The longest delay before an expiry schedule that is left over is taken away, or taken away once more ([`AutoClose::dropped`]).
const DROPPING_DELAY_MAX: TimeDelta = TimeDelta::seconds(SETTLE_WINDOW.num_seconds() + 1);

/// The plan with what the expiry schedules need.
pub(super) fn with_auto_closes(
    record: &PlanContext<'_>,
    view: &TargetView<'_>,
    wanted: &BTreeMap<Permission, Want>,
    leases: &BTreeMap<Permission, &Lease>,
    plan: TargetPlan,
) -> TargetPlan {
    let Some(auto_closes) = view.auto_closes.filter(|_| view.capabilities.auto_closes) else { return plan };
    let reading = match view.observation {
        Observation::Unavailable(_) => return plan,
        Observation::Missing => None,
        Observation::Complete(reading) => Some(reading),
    };
    let rows = auto_closes.rows.iter().filter(|row| &row.target.key == view.key);
    let rows = rows.map(|row| (&row.rule, row)).collect();
    let marked_kind = view.capabilities.marks;
    let unset = BTreeMap::new();
    let mut planner = AutoClosePlanner { record, marked_kind, auto_closes, reading, wanted, leases, rows, unset, plan };
    planner.held_rules();
    planner.rows_of_others();
    planner.finish()
}

struct AutoClosePlanner<'a> {
    record: &'a PlanContext<'a>,
    /// Rules of this kind show who holds them.
    marked_kind: bool,
    auto_closes: AutoCloseView<'a>,
    reading: Option<&'a Reading>,
    wanted: &'a BTreeMap<Permission, Want>,
    leases: &'a BTreeMap<Permission, &'a Lease>,
    rows: BTreeMap<&'a RuleId, &'a AutoClose>,
    /// Why some expiry schedules are not set, and how many for each reason.
    unset: BTreeMap<String, (usize, FailureClass)>,
    plan: TargetPlan,
}

impl<'a> AutoClosePlanner<'a> {
    fn finish(mut self) -> TargetPlan {
        for (why, (count, class)) in std::mem::take(&mut self.unset) {
            let rules = if count == 1 { "1 rule".to_owned() } else { format!("{count} rules") };
            let message = format!("{rules} of {}: {} ({})", self.plan.target, unset_text(&why), unset_advice(class));
            self.plan.notes.push(Note { kind: NoteKind::AutoCloseUnset, message });
        }
        self.plan.steps.sort();
        self.plan.ledger.sort();
        self.plan.notes.sort();
        self.plan
    }

    fn rule(&self, id: &RuleId) -> Option<&'a ObservedRule> {
        let reading = self.reading?;
        reading.rules.iter().find(|rule| rule.id == *id).filter(|rule| !is_stale(self.record, reading, rule))
    }

    /// The provider's clock; where it does not tell, ours.
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
                let unmarked = self.marked_kind && !fits(&rule.marks(&self.plan.target.id));
                self.held_rule(rule, FireTime::new(latest, self.provider_now()).or_later(unmarked), way, known);
            }
        }
    }

    /// The end of the rule's latest unexpired lease: ours as our sessions have it, others' as their tags say.
    fn latest(&self, rule: &ObservedRule, ours: Option<Timestamp>) -> Option<Timestamp> {
        let marks = rule.marks(&self.plan.target.id);
        let provider = self.provider_now();
        let holds = |value: &&String| fits(&marks) && Marks::judge(value, provider) == LeaseState::Unexpired;
        // A twin's lease stands under our own id.
        let another = |id| self.record.twin || id != self.record.installation;
        let others = marks.leases.iter().filter(|(id, _)| another(*id)).map(|(_, value)| value);
        let times = others.filter(holds).filter_map(|value| DateTime::parse_from_rfc3339(value).ok());
        times.map(|until| until.with_timezone(&Utc)).chain(ours).max()
    }

    /// As whom by the configuration, where as recorded: an expiry schedule that stayed behind in another group would still fire.
    fn way(&self, known: Option<&AutoClose>) -> Option<AutoCloseRoute> {
        let role = self.auto_closes.way.or(known.map(|known| &known.way))?;
        let place = known.map_or(role, |known| &known.way);
        Some(AutoCloseRoute { role_arn: role.role_arn.clone(), group: place.group.clone() })
    }

    fn held_rule(&mut self, rule: &ObservedRule, due: FireTime, way: AutoCloseRoute, known: Option<&AutoClose>) {
        let recorded = known.is_some_and(|known| known.confirmed && known.way == way && due.fits(known.at));
        match self.auto_closes.seen.get(&rule.id) {
            None => {
                self.plan.unread.insert(rule.id.clone(), way);
                return;
            }
            Some(AutoCloseSeen::Set(at)) if due.fits(*at) => {
                if !known.is_some_and(|known| known.confirmed && known.way == way && known.at == *at) {
                    let (rule, permission) = (rule.id.clone(), rule.permission);
                    self.plan.ledger.push(LedgerStep::KnowAutoClose { rule, permission, at: *at, way });
                }
                return;
            }
            Some(AutoCloseSeen::Unreadable(_)) if recorded => return,
            Some(_) => {}
        }
        if let Some(failure) = known.and_then(|known| known.last_failure.as_ref()) {
            self.unset.entry(failure.to_string()).or_insert((0, failure.class)).0 += 1;
        }
        if self.auto_closes.ignore_delays || self.is_due(known, CLOSING_DELAY_MAX) {
            let owned = self.owned(rule);
            self.plan.steps.extend(owned.map(|rule| Step::SetAutoClose { rule, at: due.at(), way }));
        } else {
            self.plan.deferred = true;
            let next = known.and_then(|known| known.next_try_at);
            self.plan.wake = self.plan.wake.into_iter().chain(next).min();
        }
    }

    fn owned(&self, rule: &ObservedRule) -> Option<OwnedRule> {
        Some(OwnedRule::seen(&self.plan.target, rule, Proof::LedgerId, self.reading?))
    }

    /// A delay longer than the longest was written before the clock stepped back; it delays nothing.
    fn is_due(&self, known: Option<&AutoClose>, longest: TimeDelta) -> bool {
        let now = self.record.now;
        let next = known.and_then(|known| known.next_try_at).filter(|at| *at > now && *at - now <= longest);
        next.is_none()
    }

    /// Rows whose rule no open lease of ours knows any more, once this plan is carried out.
    fn rows_of_others(&mut self) {
        let closes = |lease: &Lease| self.plan.ledger.contains(&LedgerStep::Close { lease: lease.id });
        let open = self.leases.values().filter(|lease| !closes(lease));
        let known: BTreeSet<&RuleId> = open.filter_map(|lease| lease.rule_id.as_ref()).collect();
        let rows: Vec<&AutoClose> = self.rows.values().copied().filter(|row| !known.contains(&row.rule)).collect();
        for row in rows {
            let rule = self.rule(&row.rule);
            if rule.is_some_and(|rule| self.is_closed_by_this_plan(&rule.id) || self.is_moved_by_this_plan(&rule.id)) {
                continue;
            }
            let spent = row.confirmed && row.is_spent(self.provider_now());
            if let Some(settles_at) = self.may_misread(row).filter(|_| !spent) {
                self.plan.wake = self.plan.wake.into_iter().chain([settles_at + TimeDelta::seconds(1)]).min();
            } else if spent || rule.is_some_and(|rule| self.latest(rule, None).is_some()) {
                self.plan.ledger.push(LedgerStep::ForgetAutoClose { rule: row.rule.clone() });
            } else if rule.is_none() && self.is_due(Some(row), DROPPING_DELAY_MAX) {
                // Nothing waits for this one, and no person either: what is left behind hits nothing and deletes itself.
                let (rule, permission, way) = (row.rule.clone(), row.permission, row.way.clone());
                self.plan.steps.push(Step::DropAutoClose { rule, permission, way });
            } else if rule.is_none() {
                self.plan.wake = self.plan.wake.into_iter().chain(row.next_try_at).min();
            }
        }
    }

    /// Until when a reading may be wrong about a rule that has vanished: another was opened in its place a short while
    /// ago, and no revoke of it is known. It may be gone and show, or be hidden, edited by hand.
    fn may_misread(&self, row: &AutoClose) -> Option<Timestamp> {
        let read_at = self.reading?.read_at;
        let lease = self.leases.get(&row.permission).filter(|lease| !lease.settled(read_at))?;
        lease.settles_at().filter(|_| self.record.opened.contains_key(&row.rule))
    }
}

/// Whether the leases on a rule that the record knows mean anything.
fn fits(marks: &Marks) -> bool {
    marks.fit(true) == Some(Fit::Genuine)
}

fn unset_text(why: &str) -> String {
    format!("closes by eg reconcile only: the switch in the cloud could not be set: {why}")
}

/// What a grant says whose rule would not close by itself.
#[must_use]
pub fn auto_close_unset(failure: &Failure) -> String {
    unset_text(&failure.to_string())
}

fn unset_advice(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Denied | FailureClass::Gone | FailureClass::Invalid => {
            "`eg setup cloud-expiry` prints what this needs"
        }
        FailureClass::Limit => "delete schedules that are no longer needed, or ask the provider for a higher quota",
        other => other.advice(),
    }
}
