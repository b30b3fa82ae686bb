//! Expiry schedules: a job at the provider that closes one rule at a given time, even if this machine never comes back.
//!
//! An expiry schedule belongs to a rule, not to an installation: whoever holds the rule moves it to the latest lease of all. What
//! this installation has sent about an expiry schedule stands in a row of its own ([`AutoClose`]), which outlives configuration and
//! session; what is to be done about it is decided by [`crate::plan`].

use crate::{
    SETTLE_WINDOW, Timestamp,
    failure::Failure,
    ids::RuleId,
    net::permission::Permission,
    tags::{LEASE_GRACE, LEASE_HORIZON},
    target::Target,
};
use chrono::TimeDelta;

/// An expiry schedule that would have to fire within this time, or should have fired already, is set to fire this far ahead: what
/// is closer may be over when the provider reads it.
pub const LEAD: TimeDelta = TimeDelta::seconds(60);

/// Where expiry schedules are kept, and as whom they act.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AutoCloseRoute {
    /// The role that closes the rule; of the target's own account.
    pub role_arn: String,
    /// The group of schedules that it is kept in.
    pub group: String,
}

impl AutoCloseRoute {
    /// The partition of the role, and with it of the target (`aws`, `aws-cn`, …).
    #[must_use]
    pub fn partition(&self) -> &str {
        part(&self.role_arn, 1)
    }

    /// The account of the role, and with it of the target.
    #[must_use]
    pub fn account(&self) -> &str {
        part(&self.role_arn, 4)
    }
}

/// A part of `arn:<partition>:iam::<account>:role/…`, from 0.
fn part(arn: &str, number: usize) -> &str {
    arn.split(':').nth(number).unwrap_or_default()
}

/// What this installation has last sent about the expiry schedule of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoClose {
    /// The rule. Rule ids are never reused, and so no expiry schedule ever hits another one.
    pub rule: RuleId,
    /// Where its rule is.
    pub target: Target,
    /// What the rule was opened for.
    pub permission: Permission,
    /// Where it is kept, and as whom it acts.
    pub way: AutoCloseRoute,
    /// When it fires, as far as is known.
    pub at: Timestamp,
    /// Whether that was confirmed: by an answer, or by a reading.
    pub confirmed: bool,
    /// Grows by one with every write.
    pub version: u64,
    /// Refusals since the last success.
    pub refusals: u32,
    /// Not before then, except in a pass that a person started.
    pub next_try_at: Option<Timestamp>,
    /// The last refusal since the last success.
    pub last_failure: Option<Failure>,
}

impl AutoClose {
    /// One of which nothing has been sent yet.
    #[must_use]
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

    /// It was not set, or nobody answered: what it says now is not known.
    #[must_use]
    pub fn refused(&self, failure: Failure, next_try_at: Timestamp) -> Self {
        Self {
            refusals: self.refusals.saturating_add(1),
            next_try_at: Some(next_try_at),
            last_failure: Some(failure),
            ..self.next()
        }
    }

    /// One that this installation has sent nothing about, and that may be there: whoever opened the rule has set it.
    /// Nothing of ours is on its way to it.
    #[must_use]
    pub fn of_another(
        rule: RuleId,
        target: Target,
        permission: Permission,
        way: AutoCloseRoute,
        now: Timestamp,
    ) -> Self {
        Self::new(rule, target, permission, way, now - SETTLE_WINDOW - SETTLE_WINDOW)
    }

    /// Whether an attempt to set it, of unknown outcome, may still land: then it would be there again, although it has just
    /// been taken away. Attempts say a time that lies ahead, so one whose time has passed went out before.
    #[must_use]
    pub fn may_still_land(&self, now: Timestamp) -> bool {
        self.is_unknown() && now - self.at <= SETTLE_WINDOW
    }

    /// Whether it is not known if there is one: something was sent, and it was neither confirmed nor refused.
    fn is_unknown(&self) -> bool {
        !self.confirmed && self.last_failure.as_ref().is_none_or(|failure| failure.class.outcome_unknown())
    }

    /// Whether there may be one: it fires later; or it is not known if there is one, and then its time is not known either,
    /// but that no lease lasts longer than [`LEASE_HORIZON`].
    #[must_use]
    pub fn may_be_there(&self, now: Timestamp) -> bool {
        self.at > now || (self.is_unknown() && now - self.at <= LEASE_HORIZON)
    }

    /// It was taken away, or was not there, while an attempt to set it may still land: it is taken away once more when
    /// that is no longer so.
    #[must_use]
    pub fn dropped(&self, now: Timestamp) -> Self {
        let again = now + SETTLE_WINDOW + TimeDelta::seconds(1);
        Self { at: now, confirmed: false, refusals: 0, next_try_at: Some(again), last_failure: None, ..self.next() }
    }

    /// Whether it must have fired, and with that is gone, at `now`.
    #[must_use]
    pub fn is_spent(&self, now: Timestamp) -> bool {
        now - self.at > LEASE_GRACE
    }
}

/// What the provider shows of one rule's expiry schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AutoCloseSeen {
    /// There is none.
    Absent,
    /// There is one that does what it should, at this time.
    Set(Timestamp),
    /// There is one that would do something else, or nothing.
    Wrong,
    /// It could not be read.
    Unreadable(Failure),
}

/// When an expiry schedule has to fire, and what else is as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FireTime {
    /// The end of the latest lease.
    latest: Timestamp,
    /// The earliest time that is worth sending.
    soonest: Timestamp,
    /// A later time is as good: others' leases are not known.
    or_later: bool,
}

impl FireTime {
    /// For a rule whose latest lease ends at `latest`, by the provider's clock.
    #[must_use]
    pub fn new(latest: Timestamp, provider: Timestamp) -> Self {
        Self { latest, soonest: provider + LEAD, or_later: false }
    }

    /// The same where a rule does not show who else holds it: then one that fires later may be there for them.
    #[must_use]
    pub fn or_later(self, unknown: bool) -> Self {
        Self { or_later: unknown, ..self }
    }

    /// The time to send.
    #[must_use]
    pub fn at(self) -> Timestamp {
        self.latest.max(self.soonest)
    }

    /// Whether an expiry schedule that fires at `at` is right. Never earlier than the latest lease; and later only where the
    /// exact time is too close to be sent, or every pass would put it off again, or where others' leases are not known.
    #[must_use]
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

    /// What was never answered may land after it was taken away; what was answered, or is long past, does not.
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
        // Nobody looks for ever for what was refused, or for what no lease can hold any more.
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
