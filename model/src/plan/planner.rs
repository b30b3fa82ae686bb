//! A plan in the making: the inputs, the steps so far, and the small effects that several rows share.

use super::{
    container::marks_may_return,
    context::{PlanContext, TargetView},
    note::NoteKind,
    rules::{SeenRule, SeenRules},
    step::{LedgerStep, Step},
    target_plan::TargetPlan,
    wants::Want,
};
use crate::{
    SETTLE_WINDOW, Timestamp,
    collecting::SKEW_LIMIT,
    damage::ends_too_far_ahead,
    ids::{RuleId, SessionId},
    lease::Lease,
    net::permission::Permission,
    observation::{OwnedRule, Proof, Reading},
    tags::{LEASE_GRACE, lease_time},
    target::{Capabilities, MarkPlace},
};
use chrono::TimeDelta;
use std::collections::{BTreeMap, BTreeSet};

/// The longest delay between two attempts to open.
pub(super) const OPENING_DELAY_MAX: TimeDelta = TimeDelta::minutes(15);
/// The longest delay between two attempts to close.
pub(super) const CLOSING_DELAY_MAX: TimeDelta = TimeDelta::minutes(2);

pub(super) struct Planner<'a> {
    pub(super) record: &'a PlanContext<'a>,
    pub(super) capabilities: Capabilities,
    /// The record has a lease of this target that cannot be read.
    pub(super) unreadable: bool,
    pub(super) reading: &'a Reading,
    pub(super) rules: &'a SeenRules<'a>,
    pub(super) wanted: &'a BTreeMap<Permission, Want>,
    pub(super) leases: &'a BTreeMap<Permission, &'a Lease>,
    /// Rules that a want or a lease has decided about.
    pub(super) decided: BTreeSet<RuleId>,
    pub(super) authorize: BTreeMap<(Timestamp, SessionId), Vec<Permission>>,
    pub(super) retag: BTreeMap<Timestamp, Vec<OwnedRule>>,
    pub(super) revoke: Vec<OwnedRule>,
    pub(super) collect: Vec<OwnedRule>,
    pub(super) unmark: Vec<Permission>,
    /// Permissions that this plan marks on the container for the first time.
    pub(super) new_marks: usize,
    pub(super) plan: TargetPlan,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        record: &'a PlanContext<'a>,
        view: &TargetView<'_>,
        reading: &'a Reading,
        rules: &'a SeenRules<'a>,
        wanted: &'a BTreeMap<Permission, Want>,
        leases: &'a BTreeMap<Permission, &'a Lease>,
    ) -> Self {
        Self {
            record,
            capabilities: view.capabilities,
            unreadable: view.unreadable,
            reading,
            rules,
            wanted,
            leases,
            decided: BTreeSet::new(),
            authorize: BTreeMap::new(),
            retag: BTreeMap::new(),
            revoke: Vec::new(),
            collect: Vec::new(),
            unmark: Vec::new(),
            new_marks: 0,
            plan: TargetPlan::empty(view.key),
        }
    }

    /// Reports a local clock that differs from the provider's.
    pub(super) fn check_clock(&mut self) {
        let Some(skew) = self.reading.provider_time.map(|provider| self.record.now - provider) else { return };
        if skew.abs() > SKEW_LIMIT {
            let minutes = skew.num_minutes();
            let message = format!("the clock of this machine differs from the provider's by {minutes} minutes");
            self.plan.note(NoteKind::ClockSkew, message);
        }
    }

    /// The plan, with calls of at most as many items as the provider takes.
    pub(super) fn finish(mut self) -> TargetPlan {
        let batch = self.capabilities.batch.max(1);
        let steps = &mut self.plan.steps;
        for ((until, session), permissions) in self.authorize {
            let parts = permissions.chunks(batch).map(<[_]>::to_vec);
            steps.extend(parts.map(|permissions| Step::Authorize { session, until, permissions }));
        }
        for (until, rules) in self.retag {
            steps.extend(rules.chunks(batch).map(<[_]>::to_vec).map(|rules| Step::Retag { until, rules }));
        }
        steps.extend(self.revoke.chunks(batch).map(<[_]>::to_vec).map(|rules| Step::Revoke { rules }));
        steps.extend(self.collect.chunks(batch).map(<[_]>::to_vec).map(|rules| Step::Collect { rules }));
        self.unmark.sort();
        // One tag holds all marks of this installation.
        steps.extend(Some(self.unmark).filter(|all| !all.is_empty()).map(|permissions| Step::Unmark { permissions }));
        self.plan.steps.sort();
        self.plan.ledger.sort();
        self.plan.notes.sort();
        self.plan.notes.dedup();
        self.plan
    }

    /// The first matching rule that no want or lease has decided about.
    pub(super) fn find(&self, matches: impl Fn(&SeenRule<'_>) -> bool) -> Option<&'a SeenRule<'a>> {
        self.rules.all.iter().find(|seen| !self.decided.contains(&seen.rule.id) && matches(seen))
    }

    pub(super) fn owned(&self, seen: &SeenRule<'_>, proof: Proof) -> OwnedRule {
        OwnedRule::seen(&self.plan.target, seen.rule, proof, self.reading)
    }

    /// True if rules of this kind carry marks.
    pub(super) fn has_marks(&self) -> bool {
        self.capabilities.marks != MarkPlace::None
    }

    /// True if a call of unknown outcome can still bring back our mark for any permission: the tag of a container is
    /// written as a whole.
    pub(super) fn marks_may_return(&self) -> bool {
        let container = matches!(self.capabilities.marks, MarkPlace::Container { .. });
        container && marks_may_return(self.leases.values().copied(), &[], self.reading.read_at)
    }

    pub(super) fn is_settled(&self, lease: &Lease) -> bool {
        lease.settled(self.reading.read_at, self.capabilities.settle)
    }

    /// True if anything may be opened for a want. Not if its end is so far ahead that the record is damaged, or this
    /// machine's clock behind.
    pub(super) fn may_open(&self, want: Want) -> bool {
        want.open && self.record.policy.open && !ends_too_far_ahead(want.until, self.record.now)
    }

    /// True if the lease's retry delay is over; otherwise sets the time of the next pass.
    pub(super) fn is_due(&mut self, lease: Option<&Lease>) -> bool {
        self.is_due_at(lease.and_then(|lease| lease.next_try_at), OPENING_DELAY_MAX)
    }

    /// Like [`Self::is_due`] for closing. A failed attempt to open or to tag may have set a longer delay, but closing
    /// never waits longer than its own longest delay after the last attempt.
    pub(super) fn is_due_to_close(&mut self, lease: &Lease) -> bool {
        let latest = lease.last_sent_at.map(|sent| sent + CLOSING_DELAY_MAX);
        let next = lease.next_try_at.map(|next| latest.map_or(next, |latest| next.min(latest)));
        self.is_due_at(next, CLOSING_DELAY_MAX)
    }

    fn is_due_at(&mut self, next_try_at: Option<Timestamp>, longest: TimeDelta) -> bool {
        let later = self.put_off(next_try_at, longest);
        if let Some(at) = later {
            self.plan.wake_at(at);
            self.plan.deferred = true;
        }
        later.is_none()
    }

    pub(super) fn put_off(&self, next_try_at: Option<Timestamp>, longest: TimeDelta) -> Option<Timestamp> {
        self.record.put_off(next_try_at, longest).filter(|_| !self.record.policy.ignore_delays)
    }

    /// Waits until readings are believed about everything that was sent for the lease.
    pub(super) fn settle(&mut self, lease: &Lease) {
        // Of a container, the write for another lease may have to settle first.
        let others = self.leases.values().filter_map(|lease| lease.unknown_since()).max();
        let marks = others.filter(|_| self.marks_may_return()).map(|unknown| unknown + SETTLE_WINDOW);
        if let Some(at) = lease.settles_at(self.capabilities.settle).max(marks) {
            self.plan.wake_at(at + TimeDelta::seconds(1));
        }
    }

    /// Waits until a stray tag of ours has expired for others as well.
    pub(super) fn wait_for_tag(&mut self, until: Timestamp) {
        self.plan.wake_at(until + LEASE_GRACE + TimeDelta::seconds(1));
    }

    pub(super) fn close_lease(&mut self, lease: &Lease) {
        self.plan.ledger.push(LedgerStep::Close { lease: lease.id });
    }

    /// The rule that an attempt of ours may have opened, where rules carry no marks that would tell.
    pub(super) fn presumed(&self, lease: &Lease) -> Option<&'a SeenRule<'a>> {
        let free = |seen: &SeenRule<'_>| !self.rules.is_known(seen.rule) && self.rules.displaced(seen.rule).is_none();
        let may_be_ours = !self.has_marks() && lease.may_have_opened();
        self.find(|seen| may_be_ours && seen.rule.permission == lease.permission && free(seen))
    }

    /// The same beside the rule that the lease knows, if that one was edited.
    pub(super) fn presumed_beside(&self, known: Option<&SeenRule<'_>>, lease: &Lease) -> Option<&'a SeenRule<'a>> {
        known.filter(|known| known.rule.permission != lease.permission).and_then(|_| self.presumed(lease))
    }

    /// Takes over the id of a rule with our tag.
    pub(super) fn adopt(&mut self, permission: Permission, seen: &SeenRule<'_>, tag: &str) {
        self.adopt_by(permission, seen, Proof::LeaseTag, lease_time(tag));
    }

    /// Takes over the id of a rule.
    pub(super) fn adopt_by(
        &mut self,
        permission: Permission,
        seen: &SeenRule<'_>,
        proof: Proof,
        until: Option<Timestamp>,
    ) {
        let rule = self.owned(seen, proof);
        self.plan.ledger.push(LedgerStep::Adopt { permission, rule, until });
    }
}
