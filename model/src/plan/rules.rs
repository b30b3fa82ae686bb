//! The rules of a reading, with the facts that decide about them: their marks, and the leases that know them by id.

use super::context::{PlanContext, TargetView};
use crate::{
    Timestamp,
    collecting::lease_state,
    failure::FailureClass,
    ids::{InstallationId, RuleId},
    lease::Lease,
    net::permission::Permission,
    observation::{ObservedRule, Reading},
    tags::{Fit, LeaseState, Marks, lease_time},
    target::Identity,
};
use std::collections::{BTreeMap, BTreeSet};

/// An observed rule and its marks.
pub(super) struct SeenRule<'a> {
    pub(super) rule: &'a ObservedRule,
    pub(super) marks: Marks,
    /// The worth of the marks; `None` if there are none and the record does not know the rule.
    pub(super) fit: Option<Fit>,
}

impl SeenRule<'_> {
    pub(super) fn genuine(&self) -> bool {
        self.fit == Some(Fit::Genuine)
    }
}

/// The rules of one reading, sorted by id, without those whose revoke was confirmed lately.
pub(super) struct SeenRules<'a> {
    record: &'a PlanContext<'a>,
    provider_time: Option<Timestamp>,
    container: &'a str,
    loose_marks: &'a BTreeSet<(InstallationId, String)>,
    pub(super) all: Vec<SeenRule<'a>>,
    /// The permission whose lease knows a rule by its id. That lease alone decides about the rule, even if the rule was
    /// edited into another permission: for that one it is neither foreign nor its own.
    known: BTreeMap<&'a RuleId, Permission>,
}

impl<'a> SeenRules<'a> {
    pub(super) fn new(
        record: &'a PlanContext<'a>,
        view: &TargetView<'a>,
        reading: &'a Reading,
        leases: &BTreeMap<Permission, &'a Lease>,
    ) -> Self {
        let known: BTreeMap<&RuleId, Permission> =
            leases.iter().filter_map(|(permission, lease)| Some((lease.proven_rule()?, *permission))).collect();
        let judged = |rule: &'a ObservedRule| {
            let marks = rule.marks(&view.key.id);
            let fit = marks.fit(known.contains_key(&rule.id) || record.opened.contains_key(&rule.id));
            SeenRule { rule, marks, fit }
        };
        // Where identity is the value, a rule that was opened again has the id of the one that was revoked. It is there
        // if a lease knows it, or if an authorize was refused because of it.
        let exists = |lease: &&Lease| lease.last_failure.as_ref().is_some_and(|why| why.class == FailureClass::Stale);
        let refused = |rule: &ObservedRule| leases.get(&rule.permission).copied().filter(exists).is_some();
        let by_value = view.capabilities.identity == Identity::Value;
        let again = |rule: &ObservedRule| by_value && (known.contains_key(&rule.id) || refused(rule));
        let there = |rule: &&ObservedRule| again(rule) || !record.is_revoked(rule, reading, view.capabilities.settle);
        let mut all: Vec<_> = reading.rules.iter().filter(there).map(judged).collect();
        all.sort_by(|a, b| a.rule.id.cmp(&b.rule.id));
        let (provider_time, container) = (reading.provider_time, view.key.id.as_str());
        Self { record, provider_time, container, loose_marks: &reading.loose_marks, all, known }
    }

    pub(super) fn is_known(&self, rule: &ObservedRule) -> bool {
        self.known.contains_key(&rule.id)
    }

    /// Judges a lease value by the provider's clock; if that is unknown, the lease counts as unexpired.
    pub(super) fn state(&self, value: &str) -> LeaseState {
        lease_state(value, self.provider_time)
    }

    pub(super) fn our_tag<'s>(&self, seen: &'s SeenRule<'_>) -> Option<&'s str> {
        seen.marks.leases.get(self.record.installation).map(String::as_str)
    }

    pub(super) fn our_unexpired_tag<'s>(&self, seen: &'s SeenRule<'_>) -> Option<&'s str> {
        self.our_tag(seen).filter(|value| self.state(value).holds())
    }

    /// True if a lease tag of another installation is unexpired, even if the marks are not believed.
    pub(super) fn has_tag_of_others(&self, seen: &SeenRule<'_>) -> bool {
        let another =
            |(id, value): (&InstallationId, &String)| id != self.record.installation && self.state(value).holds();
        seen.marks.leases.iter().any(another)
    }

    pub(super) fn held_by_others(&self, seen: &SeenRule<'_>) -> bool {
        seen.genuine() && self.has_tag_of_others(seen)
    }

    /// True if our mark on the container names this permission, and no rule there is ours.
    pub(super) fn loose_mark(&self, permission: Permission) -> bool {
        let digest = || permission.digest(self.container);
        !self.loose_marks.is_empty() && self.loose_marks.contains(&(self.record.installation.clone(), digest()))
    }

    /// The permission that a displaced rule was opened for. Such a rule was ours and was edited by hand; a stale
    /// reading did not show it, so its permission was opened again under another id, and no open lease knows it any
    /// more.
    pub(super) fn displaced(&self, rule: &ObservedRule) -> Option<Permission> {
        let opened = self.record.opened.get(&rule.id).copied();
        opened.filter(|permission| *permission != rule.permission && !self.is_known(rule))
    }

    pub(super) fn shows_displaced(&self, permission: Permission) -> bool {
        self.all.iter().any(|seen| self.displaced(seen.rule) == Some(permission))
    }

    /// The permission whose lease has to revoke the rule that was edited into `permission`.
    pub(super) fn edited_into(&self, permission: Permission) -> Option<Permission> {
        let of = |seen: &SeenRule<'_>| {
            let known = self.known.get(&seen.rule.id).copied();
            known.or_else(|| self.displaced(seen.rule)).filter(|of| *of != permission)
        };
        self.all.iter().filter(|seen| seen.rule.permission == permission).find_map(of)
    }

    /// The end of our unexpired tag on a rule for this permission that has lost its marks. `eg` may not touch that
    /// rule. But another holder who knows it by its id marks it again, and then our tag counts again: so the lease
    /// stays open until the end of the tag. On a rule that no marks can make `eg`'s, a tag means nothing.
    pub(super) fn stray_tag(&self, permission: Permission) -> Option<Timestamp> {
        let stray = |seen: &&SeenRule<'_>| {
            let free = seen.rule.permission == permission && !self.is_known(seen.rule);
            free && !seen.genuine() && seen.marks.can_be_mended()
        };
        self.all.iter().filter(stray).filter_map(|seen| lease_time(self.our_unexpired_tag(seen)?)).max()
    }
}
