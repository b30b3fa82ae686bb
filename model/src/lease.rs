//! The ledger: this installation's claim on one permission of one target, and how it opens and closes.
//!
//! Every transition is a pure function from a lease to a lease with a higher version; the store writes the result
//! only where the version it started from is still there (comparing contents instead would fall for ABA: away and
//! back between the read and the write).
//!
//! | transition | when | what changes |
//! |---|---|---|
//! | [`Lease::intend`] | before any provider call about it | `in_flight` = this attempt; an older one that nobody resolved becomes an unknown outcome |
//! | [`Lease::authorized`] | the answer lists the rule's id | phase Held, the id |
//! | [`Lease::joined`] | our tag was written on a marked rule | phase Joining until an observation shows rule and tag |
//! | [`Lease::adopted`] | an observation shows our tag on a rule | phase Held, the id |
//! | [`Lease::retagged`] | our tag was rewritten | what the tag says |
//! | [`Lease::left`] | our tag was deleted from a rule that others hold | phase Leaving |
//! | [`Lease::revoked`] | the revoke of its rule was confirmed | the id goes; Closed if nobody wants it and no opening attempt is unsettled |
//! | [`Lease::refused`] | a definite "no" | the reason; the next time to try |
//! | [`Lease::unanswered`] | no answer | the attempt counts as unknown from now |
//! | [`Lease::closed`] | see [`Lease::may_close_on_absence`] | phase Closed |

use crate::{
    SETTLE_WINDOW, Timestamp,
    failure::Failure,
    ids::{LeaseId, RuleId},
    permission::Permission,
    target::{Reach, TargetKey},
};
use serde::{Deserialize, Serialize};

/// Where a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Recorded; no rule id is known.
    Claimed,
    /// Our tag was written on another's rule and not yet seen there.
    Joining,
    /// The rule's id is known from an authorize answer or from its tag.
    Held,
    /// We let go of a rule that others hold; open until that is settled.
    Leaving,
    /// Over.
    Closed,
}

impl Phase {
    /// Every value.
    pub const ALL: [Self; 5] = [Self::Claimed, Self::Joining, Self::Held, Self::Leaving, Self::Closed];

    /// The word that the database uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Joining => "joining",
            Self::Held => "held",
            Self::Leaving => "leaving",
            Self::Closed => "closed",
        }
    }

    /// From the database's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }
}

/// What an attempt was for. Only opening attempts can create what has to be closed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Authorize, or writing our tag on another's rule.
    Opening,
    /// Revoke, leave, or rewriting our tag on a rule that we hold.
    Other,
}

/// A claim on one permission of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its row.
    pub id: LeaseId,
    /// How to reach its target.
    pub reach: Reach,
    /// The permission.
    #[serde(with = "crate::session::permission_text")]
    pub permission: Permission,
    /// Where it stands.
    pub phase: Phase,
    /// Whether the rule was opened by another installation.
    pub shared: bool,
    /// The rule's id: proof of ownership in phases Held and Leaving, a hint in Joining.
    pub rule_id: Option<RuleId>,
    /// What our lease tag on the rule was last known to say.
    pub tagged_until: Option<Timestamp>,
    /// Grows by one with every write.
    pub version: u64,
    /// When the last attempt of any kind and outcome went out.
    pub last_sent_at: Option<Timestamp>,
    /// An opening attempt whose outcome nobody has recorded.
    pub in_flight: Option<Timestamp>,
    /// The last opening attempt of unknown outcome. A later success never clears it: the lost one can still land.
    pub last_unknown_at: Option<Timestamp>,
    /// Refusals since the last success.
    pub refusals: u32,
    /// Not before then, except in a pass that a person started.
    pub next_try_at: Option<Timestamp>,
    /// The last refusal since the last success.
    pub last_failure: Option<Failure>,
    /// How often the rule vanished without a revoke of ours.
    pub vanished: u32,
}

impl Lease {
    /// A claim, before the first attempt.
    #[must_use]
    pub fn claim(id: LeaseId, reach: Reach, permission: Permission) -> Self {
        Self {
            id,
            reach,
            permission,
            phase: Phase::Claimed,
            shared: false,
            rule_id: None,
            tagged_until: None,
            version: 0,
            last_sent_at: None,
            in_flight: None,
            last_unknown_at: None,
            refusals: 0,
            next_try_at: None,
            last_failure: None,
            vanished: 0,
        }
    }

    /// Its target.
    #[must_use]
    pub fn target(&self) -> &TargetKey {
        &self.reach.target
    }

    /// The id under which a rule is ours whatever its tags say. Rule ids are never reused.
    #[must_use]
    pub fn proven_rule(&self) -> Option<&RuleId> {
        match self.phase {
            Phase::Held | Phase::Leaving => self.rule_id.as_ref(),
            Phase::Claimed | Phase::Joining | Phase::Closed => None,
        }
    }

    /// Whether anything was ever sent about it.
    #[must_use]
    pub fn attempted(&self) -> bool {
        self.last_sent_at.is_some()
    }

    /// Whether a reading made at `at` is believed about everything that was sent.
    #[must_use]
    pub fn settled(&self, at: Timestamp) -> bool {
        self.last_sent_at.is_none_or(|sent| at - sent > SETTLE_WINDOW)
    }

    /// Until when readings are not believed yet.
    #[must_use]
    pub fn settles_at(&self) -> Option<Timestamp> {
        self.last_sent_at.map(|sent| sent + SETTLE_WINDOW)
    }

    /// The latest opening attempt whose outcome is not known, recorded or not.
    #[must_use]
    pub fn unknown_since(&self) -> Option<Timestamp> {
        self.last_unknown_at.max(self.in_flight)
    }

    /// Whether an opening attempt of unknown outcome could still land.
    #[must_use]
    pub fn may_still_land(&self, at: Timestamp) -> bool {
        self.unknown_since().is_some_and(|sent| at - sent <= SETTLE_WINDOW)
    }

    /// The second way to close: an observation later than the settle window after the last attempt of *any*
    /// outcome shows no rule of ours. The caller has seen that; this says whether the reading is late enough.
    #[must_use]
    pub fn may_close_on_absence(&self, read_at: Timestamp) -> bool {
        self.settled(read_at) && !self.may_still_land(read_at)
    }

    fn next(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    /// The intent, written before the call.
    #[must_use]
    pub fn intend(&self, attempt: Attempt, now: Timestamp) -> Self {
        let mut lease = self.next();
        lease.last_unknown_at = self.unknown_since();
        lease.in_flight = (attempt == Attempt::Opening).then_some(now);
        lease.last_sent_at = self.last_sent_at.max(Some(now));
        lease
    }

    fn succeeded(&self) -> Self {
        Self { in_flight: None, refusals: 0, next_try_at: None, last_failure: None, ..self.next() }
    }

    /// The answer listed the rule.
    #[must_use]
    pub fn authorized(&self, rule: RuleId, until: Timestamp) -> Self {
        let vanished = self.vanished + u32::from(self.proven_rule().is_some());
        Self {
            phase: Phase::Held,
            shared: false,
            rule_id: Some(rule),
            tagged_until: Some(until),
            vanished,
            ..self.succeeded()
        }
    }

    /// Our tag was written on a marked rule of another installation.
    #[must_use]
    pub fn joined(&self, rule: RuleId, until: Timestamp) -> Self {
        Self {
            phase: Phase::Joining,
            shared: true,
            rule_id: Some(rule),
            tagged_until: Some(until),
            ..self.succeeded()
        }
    }

    /// An observation shows our tag, with this value, on a rule.
    #[must_use]
    pub fn adopted(&self, rule: RuleId, until: Option<Timestamp>) -> Self {
        Self { phase: Phase::Held, rule_id: Some(rule), tagged_until: until, ..self.next() }
    }

    /// Our tag was rewritten.
    #[must_use]
    pub fn retagged(&self, until: Timestamp) -> Self {
        Self { tagged_until: Some(until), ..self.succeeded() }
    }

    /// Our tag was deleted, or made to say a past time, on a rule that others hold.
    #[must_use]
    pub fn left(&self, rule: RuleId) -> Self {
        Self { phase: Phase::Leaving, rule_id: Some(rule), tagged_until: None, ..self.succeeded() }
    }

    /// The revoke of its rule was confirmed at `now`. The first way to close: confirmed by id, and no opening
    /// attempt of unknown outcome within the settle window. A lease that is still wanted goes back to Claimed.
    #[must_use]
    pub fn revoked(&self, still_wanted: bool, now: Timestamp) -> Self {
        let phase = if still_wanted || self.may_still_land(now) { Phase::Claimed } else { Phase::Closed };
        Self { phase, shared: false, rule_id: None, tagged_until: None, ..self.succeeded() }
    }

    /// A definite "no": nothing happened.
    #[must_use]
    pub fn refused(&self, failure: Failure, next_try_at: Timestamp) -> Self {
        Self {
            in_flight: None,
            refusals: self.refusals.saturating_add(1),
            next_try_at: Some(next_try_at),
            last_failure: Some(failure),
            ..self.next()
        }
    }

    /// No usable answer, noticed at `now`: from now on the attempt can still land for a settle window.
    #[must_use]
    pub fn unanswered(&self, failure: Failure, next_try_at: Timestamp, now: Timestamp) -> Self {
        let opening = self.in_flight.is_some();
        Self {
            last_unknown_at: if opening { self.unknown_since().max(Some(now)) } else { self.last_unknown_at },
            last_sent_at: self.last_sent_at.max(Some(now)),
            ..self.refused(failure, next_try_at)
        }
    }

    /// Over, after [`Self::may_close_on_absence`], or before the first attempt.
    #[must_use]
    pub fn closed(&self) -> Self {
        Self { phase: Phase::Closed, in_flight: None, ..self.next() }
    }
}

/// Whether a session that ended has let go of one permission: somebody else of ours still wants it (the rule stays
/// for them), or nothing was ever sent for it, or we left it to others, or it is closed.
#[must_use]
pub fn has_let_go(lease: Option<&Lease>, wanted_by_another: bool) -> bool {
    let open = |lease: &Lease| lease.attempted() && !matches!(lease.phase, Phase::Leaving | Phase::Closed);
    wanted_by_another || !lease.is_some_and(open)
}
