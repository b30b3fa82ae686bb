//! Expiry schedules: a job at the provider that closes one rule at a given time, even if this machine never comes back.
//!
//! An expiry schedule belongs to a rule, not to an installation: every holder of the rule moves it to the end of the
//! latest lease. An [`AutoClose`] is the last call of this installation about one schedule; its row outlives
//! configuration and session. [`crate::plan`] decides about it.

use crate::{
    SETTLE_WINDOW, Timestamp,
    failure::Failure,
    ids::RuleId,
    net::permission::Permission,
    tags::{LEASE_GRACE, LEASE_HORIZON},
    target::Target,
};
use chrono::TimeDelta;

/// An expiry schedule that has to fire sooner than this is set to fire this far ahead: an earlier time might have
/// passed when the provider reads it.
pub const LEAD: TimeDelta = TimeDelta::seconds(60);

/// The group that holds expiry schedules, and the role that they use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AutoCloseRoute {
    /// The role that closes the rule; of the target's own account.
    pub role_arn: String,
    /// The group of schedules that holds it.
    pub group: String,
}

impl AutoCloseRoute {
    /// The partition of the role, and with it of the target (`aws`, `aws-cn`, …).
    pub fn partition(&self) -> &str {
        part(&self.role_arn, 1)
    }

    /// The account of the role, and with it of the target.
    pub fn account(&self) -> &str {
        part(&self.role_arn, 4)
    }
}

/// A part of `arn:<partition>:iam::<account>:role/…`, from 0.
fn part(arn: &str, number: usize) -> &str {
    arn.split(':').nth(number).unwrap_or_default()
}

/// The last call of this installation about the expiry schedule of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoClose {
    /// The rule. Rule ids are never reused, so a schedule never hits another rule.
    pub rule: RuleId,
    /// The firewall of the rule.
    pub target: Target,
    /// The permission that the rule was opened for.
    pub permission: Permission,
    /// Its group and role.
    pub way: AutoCloseRoute,
    /// The time at which it fires, as far as is known.
    pub at: Timestamp,
    /// True if an answer or a reading has confirmed that time.
    pub confirmed: bool,
    /// Grows by one with every write.
    pub version: u64,
    /// Refusals since the last success.
    pub refusals: u32,
    /// The earliest time of the next attempt, except in a pass that a person started.
    pub next_try_at: Option<Timestamp>,
    /// The last refusal since the last success.
    pub last_failure: Option<Failure>,
}

impl AutoClose {
    /// A schedule before the first call.
    pub fn new(rule: RuleId, target: Target, permission: Permission, way: AutoCloseRoute, at: Timestamp) -> Self {
        Self {
            rule,
            target,
            permission,
            way,
            at,
            confirmed: false,
            version: 0,
            refusals: 0,
            next_try_at: None,
            last_failure: None,
        }
    }

    fn next(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    /// The intent, written before the call.
    #[must_use]
    pub fn intend(&self, way: &AutoCloseRoute, at: Timestamp) -> Self {
        Self { way: way.clone(), at, confirmed: false, ..self.next() }
    }

    /// It was set, or is seen to be set, for this time.
    #[must_use]
    pub fn set(&self, at: Timestamp) -> Self {
        Self { at, confirmed: true, refusals: 0, next_try_at: None, last_failure: None, ..self.next() }
    }

    /// The call was refused or had no answer: its time is unknown from now on.
    #[must_use]
    pub fn refused(&self, failure: Failure, next_try_at: Timestamp) -> Self {
        Self {
            refusals: self.refusals.saturating_add(1),
            next_try_at: Some(next_try_at),
            last_failure: Some(failure),
            ..self.next()
        }
    }

    /// A schedule that another installation may have set when it opened the rule. This installation has made no call
    /// about it that could still land.
    pub fn of_another(
        rule: RuleId,
        target: Target,
        permission: Permission,
        way: AutoCloseRoute,
        now: Timestamp,
    ) -> Self {
        Self::new(rule, target, permission, way, now - SETTLE_WINDOW - SETTLE_WINDOW)
    }

    /// True if an attempt to set it, of unknown outcome, may still land, which would bring a deleted schedule back. An
    /// attempt always names a time ahead of it, so one whose time has passed is old.
    pub fn may_still_land(&self, now: Timestamp) -> bool {
        self.is_unknown() && now - self.at <= SETTLE_WINDOW
    }

    /// True if the schedule may or may not exist: a call was neither confirmed nor refused.
    fn is_unknown(&self) -> bool {
        !self.confirmed && self.last_failure.as_ref().is_none_or(|failure| failure.class.outcome_unknown())
    }

    /// True if the schedule may exist: it fires later, or its existence is unknown. Then its time is unknown as well,
    /// but no lease lasts longer than [`LEASE_HORIZON`].
    pub fn may_be_there(&self, now: Timestamp) -> bool {
        self.at > now || (self.is_unknown() && now - self.at <= LEASE_HORIZON)
    }

    /// It was deleted, or absent, while an attempt to set it may still land: it is deleted once more after that.
    #[must_use]
    pub fn dropped(&self, now: Timestamp) -> Self {
        let again = now + SETTLE_WINDOW + TimeDelta::seconds(1);
        Self { at: now, confirmed: false, refusals: 0, next_try_at: Some(again), last_failure: None, ..self.next() }
    }

    /// True if it must have fired by `now`, and is gone with that.
    pub fn is_spent(&self, now: Timestamp) -> bool {
        now - self.at > LEASE_GRACE
    }
}

/// The expiry schedule of one rule, as the provider shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AutoCloseSeen {
    Absent,
    /// Set correctly, for this time.
    Set(Timestamp),
    /// Set to do something else, or nothing.
    Wrong,
    /// It could not be read.
    Unreadable(Failure),
}

/// The time at which an expiry schedule has to fire, and the other times that are as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FireTime {
    /// The end of the latest lease.
    latest: Timestamp,
    /// The earliest time that is worth sending.
    soonest: Timestamp,
    /// A later time is as good, since others' leases are unknown.
    or_later: bool,
}

impl FireTime {
    /// For a rule whose latest lease ends at `latest`, by the provider's clock.
    pub fn new(latest: Timestamp, provider: Timestamp) -> Self {
        Self { latest, soonest: provider + LEAD, or_later: false }
    }

    /// With `unknown`, the rule does not show its other holders, and a later schedule may be there for them.
    #[must_use]
    pub fn or_later(self, unknown: bool) -> Self {
        Self { or_later: unknown, ..self }
    }

    /// The time to send.
    pub fn at(self) -> Timestamp {
        self.latest.max(self.soonest)
    }

    /// True if a schedule that fires at `at` is right. It may not be earlier than the end of the latest lease. It may
    /// be later if that end is too close to be sent (otherwise every pass would put it off again), or if others' leases
    /// are unknown.
    pub fn fits(self, at: Timestamp) -> bool {
        at >= self.latest && (self.or_later || at <= self.at())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::failure::FailureClass;
    use crate::target::TargetKey;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(1_772_193_600 + seconds, 0).unwrap()
    }

    /// | latest lease, from now | sent | right |
    #[test]
    fn when_it_fires() {
        for (latest, sent, right, wrong) in [
            (3600, 3600, vec![3600], vec![3599, 3601, 60]),
            (61, 61, vec![61], vec![60, 62]),
            (60, 60, vec![60], vec![59, 61]),
            (30, 60, vec![30, 45, 60], vec![29, 61]),
            (-300, 60, vec![-300, 0, 60], vec![-301, 61]),
        ] {
            let due = FireTime::new(t(latest), t(0));
            assert_eq!(due.at(), t(sent), "{latest}");
            right.iter().for_each(|at| assert!(due.fits(t(*at)), "{latest}: {at}"));
            wrong.iter().for_each(|at| assert!(!due.fits(t(*at)), "{latest}: {at}"));
        }
    }

    #[test]
    fn what_was_sent_stays_right_while_time_passes() {
        let sent = FireTime::new(t(30), t(0)).at();
        for now in 0..=300 {
            assert!(FireTime::new(t(30), t(now)).fits(sent), "{now}");
        }
    }

    #[test]
    fn where_others_are_not_known_it_is_never_too_late() {
        let due = FireTime::new(t(3600), t(0)).or_later(true);
        assert_eq!(due.at(), t(3600));
        assert!(due.fits(t(3600)) && due.fits(t(9000)) && !due.fits(t(3599)));
    }

    /// An attempt without an answer may land after the deletion; an answered or old one does not.
    #[test]
    fn what_may_still_land_is_taken_away_twice() {
        let way = AutoCloseRoute { role_arn: "r".into(), group: "default".into() };
        let target = Target::new(TargetKey::new("aws", "security-group", "eu-west-1", "sg-1"));
        let permission: Permission = "tcp|22|22|203.0.113.42/32".parse().unwrap();
        let new = |at| AutoClose::new(RuleId("sgr-1".into()), target.clone(), permission, way.clone(), at);
        let sent = new(t(3600)).intend(&way, t(3600));
        assert!(sent.may_still_land(t(0)) && !sent.set(t(3600)).may_still_land(t(0)));
        let dropped = sent.dropped(t(0));
        assert_eq!((dropped.at, dropped.next_try_at, dropped.version), (t(0), Some(t(301)), sent.version + 1));
        assert!(dropped.may_still_land(t(300)) && !dropped.may_still_land(t(301)));
        // A refused schedule, or one that no lease can hold any more, is not looked for any longer.
        let failed = |class| sent.refused(Failure::new(class, "no"), t(60));
        let (denied, unanswered) = (failed(FailureClass::Denied), failed(FailureClass::Unknown));
        assert!(!denied.may_still_land(t(0)) && denied.may_be_there(t(3599)) && !denied.may_be_there(t(3600)));
        assert!(unanswered.may_still_land(t(0)) && unanswered.may_be_there(t(3600)));
        let horizon = 3600 + LEASE_HORIZON.num_seconds();
        assert!(unanswered.may_be_there(t(horizon)) && !unanswered.may_be_there(t(horizon + 1)));
        assert!(!sent.set(t(3600)).may_be_there(t(3600)) && sent.set(t(3600)).may_be_there(t(3599)));
        let another = AutoClose::of_another(RuleId("sgr-1".into()), target.clone(), permission, way.clone(), t(0));
        assert!(!another.may_still_land(t(0)) && !another.confirmed);
    }

    #[test]
    fn a_role_tells_partition_and_account() {
        let way = AutoCloseRoute { role_arn: "arn:aws-cn:iam::123456789012:role/a/b".into(), group: "default".into() };
        assert_eq!((way.partition(), way.account()), ("aws-cn", "123456789012"));
        let none = AutoCloseRoute { role_arn: "x".into(), group: "default".into() };
        assert_eq!((none.partition(), none.account()), ("", ""));
    }
}
