//! The inputs of a plan.

use crate::{
    Timestamp,
    auto_close::{AutoClose, AutoCloseRoute, AutoCloseSeen},
    ids::{InstallationId, RuleId},
    lease::Lease,
    net::permission::Permission,
    observation::{Observation, ObservedRule, Reading},
    session::record::Session,
    target::{Capabilities, TargetKey},
};
use chrono::TimeDelta;
use std::collections::BTreeMap;

/// The limits of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanPolicy {
    /// Open anything new. False with a bad configuration: closing goes on from the record alone.
    pub open: bool,
    /// Revoke marked rules whose every lease has expired, ours and others'.
    pub collect: bool,
    /// Ignore [`Lease::next_try_at`]: a person started this pass.
    pub ignore_delays: bool,
}

/// The inputs that are the same for all targets of a pass.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    /// The local clock.
    pub now: Timestamp,
    /// This installation.
    pub installation: &'a InstallationId,
    /// Every live session.
    pub sessions: &'a [Session],
    /// Every open lease.
    pub leases: &'a [Lease],
    /// Rules whose revoke was confirmed lately, with the time of the confirmation.
    pub revoked: &'a BTreeMap<RuleId, Timestamp>,
    /// Rules that an answer, our tag or a join once proved to be ours, and whose revoke is not confirmed; each with the
    /// permission that it was opened for. An open lease may know another rule by now.
    pub opened: &'a BTreeMap<RuleId, Permission>,
    /// Another `eg` uses this installation's id: a copy of this record, on a machine that looks like this one. It has
    /// written other times into our tags again and again ([`crate::twin`]).
    pub twin: bool,
    /// The limits of the pass.
    pub policy: PlanPolicy,
}

impl PlanContext<'_> {
    /// True if the revoke of a rule was confirmed less than a settle window before `reading`. Rule ids are never
    /// reused, so a reading that still shows the rule is stale.
    pub(super) fn is_revoked(&self, rule: &ObservedRule, reading: &Reading, settle: TimeDelta) -> bool {
        self.revoked.get(&rule.id).is_some_and(|at| reading.read_at - *at <= settle)
    }

    /// The time of the next attempt, if the attempt has to wait. A time further ahead than the longest delay was
    /// written before the clock stepped back, and delays nothing.
    pub(super) fn put_off(&self, next_try_at: Option<Timestamp>, longest: TimeDelta) -> Option<Timestamp> {
        next_try_at.filter(|at| *at > self.now && *at - self.now <= longest)
    }
}

/// One target as a pass has read it.
#[derive(Clone, Copy, Debug)]
pub struct TargetView<'a> {
    /// The target.
    pub key: &'a TargetKey,
    /// The abilities of its kind of firewall.
    pub capabilities: Capabilities,
    /// The reading.
    pub observation: &'a Observation,
    /// The record has a lease here that cannot be read: [`PlanContext::opened`] alone knows its rule.
    pub unreadable: bool,
    /// Expiry schedules; `None` if neither configuration nor record has any for this target.
    pub auto_closes: Option<AutoCloseView<'a>>,
}

/// The expiry schedules of a target.
#[derive(Clone, Copy, Debug)]
pub struct AutoCloseView<'a> {
    /// The route for new ones; `None` if none is configured for the target's account.
    pub way: Option<&'a AutoCloseRoute>,
    /// The rows on record, of any target.
    pub rows: &'a [AutoClose],
    /// Ignore [`AutoClose::next_try_at`] for rules without a schedule: a person started this pass, and it has tried
    /// none yet.
    pub ignore_delays: bool,
    /// The schedules at the provider that the pass has read.
    pub seen: &'a BTreeMap<RuleId, AutoCloseSeen>,
}
