//! The statuses of sessions and grants: every change is a checked transition.

use crate::words::word_enum;
use thiserror::Error;

word_enum! {
    SessionStatus {
        /// Undecided, or a failure that can pass by itself.
        Pending = "PENDING",
        /// Every grant is APPLIED.
        Active = "ACTIVE",
        /// Some grants are APPLIED.
        Partial = "PARTIAL",
        /// No grant is APPLIED and none is PENDING. While the session lives, reconcile keeps trying.
        Failed = "FAILED",
        /// Stopped or past its time; rules may still be open.
        Expiring = "EXPIRING",
        /// Ended by the user; every grant is REMOVED.
        Cancelled = "CANCELLED",
        /// Ended by time; every grant is REMOVED.
        Expired = "EXPIRED",
    }
}

word_enum! {
    GrantStatus {
        /// Undecided, or a failure that can pass by itself.
        Pending = "PENDING",
        /// Every one of its permissions is held: own, shared or covered.
        Applied = "APPLIED",
        /// At least one permission failed and none is untried.
        Failed = "FAILED",
        /// Its session has ended, or moved to another address; a rule may still be open.
        Removing = "REMOVING",
        /// Its session has let go of every rule.
        Removed = "REMOVED",
    }
}

word_enum! {
    EndedReason {
        /// The user stopped it.
        Manual = "MANUAL",
        Expired = "EXPIRED",
    }
}

/// A transition that the state machines do not allow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a {what} cannot go from {from} to {to}")]
pub struct TransitionError {
    what: &'static str,
    from: &'static str,
    to: &'static str,
}

impl SessionStatus {
    /// Live: PENDING, ACTIVE, PARTIAL or FAILED in the record, whatever the clock says.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Active | Self::Partial | Self::Failed)
    }

    /// Ended for good: CANCELLED or EXPIRED.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Cancelled | Self::Expired)
    }

    /// Checks one step.
    ///
    /// | from | to |
    /// |---|---|
    /// | live | any live, EXPIRING |
    /// | EXPIRING | EXPIRING, CANCELLED, EXPIRED |
    /// | CANCELLED, EXPIRED | itself only: ended is a latch |
    ///
    /// # Errors
    /// Any other step.
    pub fn to(self, next: Self) -> Result<Self, TransitionError> {
        let allowed = match self {
            _ if self == next => true,
            Self::Expiring => next.is_ended(),
            live if live.is_live() => next.is_live() || next == Self::Expiring,
            _ => false,
        };
        let refused = TransitionError { what: "session", from: self.as_str(), to: next.as_str() };
        allowed.then_some(next).ok_or(refused)
    }
}

impl GrantStatus {
    /// True if its session lets go of it, or has done so.
    pub fn lets_go(self) -> bool {
        matches!(self, Self::Removing | Self::Removed)
    }

    /// Checks one step.
    ///
    /// | from | to |
    /// |---|---|
    /// | PENDING, APPLIED, FAILED | each other, REMOVING, REMOVED |
    /// | REMOVING | REMOVING, REMOVED |
    /// | REMOVED | itself only |
    ///
    /// # Errors
    /// Any other step.
    pub fn to(self, next: Self) -> Result<Self, TransitionError> {
        let allowed = match self {
            Self::Removed => next == Self::Removed,
            Self::Removing => matches!(next, Self::Removing | Self::Removed),
            _ => true,
        };
        let refused = TransitionError { what: "grant", from: self.as_str(), to: next.as_str() };
        allowed.then_some(next).ok_or(refused)
    }
}

/// Rolls a live session's grants up; first match wins.
///
/// | grants | session |
/// |---|---|
/// | all APPLIED | ACTIVE |
/// | some APPLIED | PARTIAL |
/// | any PENDING | PENDING |
/// | else | FAILED |
pub fn roll_up_live(grants: &[GrantStatus]) -> SessionStatus {
    let count = |status| grants.iter().filter(|s| **s == status).count();
    match count(GrantStatus::Applied) {
        applied if applied == grants.len() => SessionStatus::Active,
        applied if applied > 0 => SessionStatus::Partial,
        _ if count(GrantStatus::Pending) > 0 => SessionStatus::Pending,
        _ => SessionStatus::Failed,
    }
}

/// Rolls an ending session's grants up: CANCELLED or EXPIRED once every grant is REMOVED, else EXPIRING.
pub fn roll_up_ending(grants: &[GrantStatus], reason: EndedReason) -> SessionStatus {
    match reason {
        _ if grants.iter().any(|s| *s != GrantStatus::Removed) => SessionStatus::Expiring,
        EndedReason::Manual => SessionStatus::Cancelled,
        EndedReason::Expired => SessionStatus::Expired,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    #[test]
    fn every_session_transition() {
        use SessionStatus as S;
        for from in S::ALL.iter().copied() {
            for to in S::ALL.iter().copied() {
                let expected = from == to
                    || (from.is_live() && (to.is_live() || to == S::Expiring))
                    || (from == S::Expiring && to.is_ended());
                assert_eq!(from.to(to).is_ok(), expected, "{from} to {to}");
            }
        }
    }

    #[test]
    fn ended_is_a_latch() {
        for ended in [SessionStatus::Cancelled, SessionStatus::Expired] {
            for next in SessionStatus::ALL.iter().filter(|next| **next != ended) {
                assert!(ended.to(*next).is_err(), "{ended} to {next}");
            }
        }
    }

    #[test]
    fn every_grant_transition() {
        use GrantStatus as G;
        for from in G::ALL.iter().copied() {
            for to in G::ALL.iter().copied() {
                let expected = match from {
                    G::Removed => to == G::Removed,
                    G::Removing => to == G::Removing || to == G::Removed,
                    _ => true,
                };
                assert_eq!(from.to(to).is_ok(), expected, "{from} to {to}");
            }
        }
    }

    #[test]
    fn session_roll_up_rows() {
        use GrantStatus::{Applied, Failed, Pending};
        for (grants, expected) in [
            (vec![Applied, Applied], SessionStatus::Active),
            (vec![Applied, Failed], SessionStatus::Partial),
            (vec![Applied, Pending], SessionStatus::Partial),
            (vec![Failed, Pending], SessionStatus::Pending),
            (vec![Failed, Failed], SessionStatus::Failed),
        ] {
            assert_eq!(roll_up_live(&grants), expected, "{grants:?}");
        }
    }

    #[test]
    fn an_ending_session_waits_for_its_last_grant() {
        use GrantStatus::{Removed, Removing};
        assert_eq!(roll_up_ending(&[Removed, Removing], EndedReason::Manual), SessionStatus::Expiring);
        assert_eq!(roll_up_ending(&[Removed, Removed], EndedReason::Manual), SessionStatus::Cancelled);
        assert_eq!(roll_up_ending(&[Removed], EndedReason::Expired), SessionStatus::Expired);
    }
}
