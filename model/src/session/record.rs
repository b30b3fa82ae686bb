//! Sessions and grants: what the user starts and stops, with every status change a checked transition.

use crate::{
    Timestamp,
    ids::{GrantId, RuleId, SessionId},
    net::{address::IpVersion, permission::Permission},
    target::Target,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};
use thiserror::Error;

macro_rules! word_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),* }

        impl $name {
            /// Every value, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word that tables, JSON and the database use.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text { $($word => Ok(Self::$variant),)* _ => Err(UnknownWord { text: text.to_owned() }) }
            }
        }
    };
}

pub(crate) use word_enum;

/// A stored word that is not one of an enumeration's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{text}\" is not a known status")]
pub struct UnknownWord {
    pub(crate) text: String,
}

word_enum! {
    /// Where a session stands.
    SessionStatus {
        /// Nothing decided yet, or something can still come right by itself.
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
    /// Where a grant stands.
    GrantStatus {
        /// Not decided yet.
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
    /// Why a session ended.
    EndedReason {
        /// The user stopped it.
        Manual = "MANUAL",
        /// Its time was over.
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
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Active | Self::Partial | Self::Failed)
    }

    /// Ended for good: CANCELLED or EXPIRED.
    #[must_use]
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
    /// Whether its session lets go of it, or has done so.
    #[must_use]
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

/// What one permission of a grant has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "of", rename_all = "kebab-case")]
pub enum Standing {
    /// No attempt yet.
    Untried,
    /// Held by a rule that this installation opened.
    Own(RuleId),
    /// Held by a rule of another installation that carries our lease too.
    Shared(RuleId),
    /// Covered by a rule that is not `eg`'s.
    Foreign(RuleId),
    /// Tried, and it can come right by itself.
    Pending(String),
    /// Tried, and somebody has to act.
    Failed(String),
}

impl Standing {
    /// Whether the port is open.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Own(_) | Self::Shared(_) | Self::Foreign(_))
    }

    /// The rule that holds it, whoever's.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::Own(id) | Self::Shared(id) | Self::Foreign(id) => Some(id),
            Self::Untried | Self::Pending(_) | Self::Failed(_) => None,
        }
    }

    /// Why it is not held.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Pending(why) | Self::Failed(why) => Some(why),
            _ => None,
        }
    }
}

/// Whose rules a grant rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// At least one rule that this installation opened.
    Own,
    /// Else at least one rule of another installation that we joined.
    Shared,
    /// Else a rule that is not `eg`'s.
    Foreign,
}

/// One permission of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantPermission {
    /// What was asked for.
    #[serde(with = "permission_text")]
    pub permission: Permission,
    /// What it has come to.
    pub standing: Standing,
}

pub(crate) mod permission_text {
    use crate::net::permission::Permission;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(permission: &Permission, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(permission)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Permission, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// One session on one resource for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The resource's name in the configuration at start.
    pub resource_name: String,
    /// The snapshot of its target.
    pub target: Target,
    /// The address.
    pub address: IpAddr,
    /// Where it stands.
    pub status: GrantStatus,
    /// Its permissions, sorted.
    pub permissions: Vec<GrantPermission>,
    /// The last time it became APPLIED.
    pub applied_at: Option<Timestamp>,
    /// When its session let go.
    pub removed_at: Option<Timestamp>,
    /// Why some of its rules would not close by themselves, where they should.
    pub without_auto_close: Option<String>,
}

impl Grant {
    /// The address family.
    #[must_use]
    pub fn ip_version(&self) -> IpVersion {
        IpVersion::of(self.address)
    }

    /// What it opens the ports to: the address's network, as the session keeps it. One host, unless the configuration
    /// asked for more at the start.
    #[must_use]
    pub fn cidr(&self) -> IpNet {
        self.permissions.first().map_or_else(|| IpNet::from(self.address), |item| item.permission.cidr())
    }

    /// Open ports and all ports.
    #[must_use]
    pub fn open_ports(&self) -> (usize, usize) {
        let held = self.permissions.iter().filter(|p| p.standing.is_held()).count();
        (held, self.permissions.len())
    }

    /// Whose rules it rests on.
    #[must_use]
    pub fn coverage(&self) -> Option<Coverage> {
        let any = |matches: fn(&Standing) -> bool| self.permissions.iter().any(|p| matches(&p.standing));
        if any(|s| matches!(s, Standing::Own(_))) {
            Some(Coverage::Own)
        } else if any(|s| matches!(s, Standing::Shared(_))) {
            Some(Coverage::Shared)
        } else if any(|s| matches!(s, Standing::Foreign(_))) {
            Some(Coverage::Foreign)
        } else {
            None
        }
    }

    /// Names what is missing and why, and what would not close by itself; `None` when nothing is, or when the session has let go: what kept a port shut is
    /// of no interest then.
    #[must_use]
    pub fn error_message(&self) -> Option<String> {
        if self.status.lets_go() {
            return None;
        }
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for item in &self.permissions {
            let Some(why) = item.standing.error() else { continue };
            let ports = item.permission.ports();
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, list)) => list.push(ports),
                None => reasons.push((why, vec![ports])),
            }
        }
        let mut lines: Vec<_> = reasons.iter().map(|(why, ports)| format!("{}: {why}", ports.join(", "))).collect();
        lines.extend(self.without_auto_close.clone());
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

/// Rolls a grant's permissions up, while its session lives.
///
/// | permissions | grant |
/// |---|---|
/// | every one held | APPLIED |
/// | at least one failed, none untried or pending | FAILED |
/// | else | PENDING |
///
/// "Untried" includes an attempt whose outcome is open: it can still come right by itself.
#[must_use]
pub fn roll_up_grant<'a>(mut standings: impl Iterator<Item = &'a Standing> + Clone) -> GrantStatus {
    let open = |s: &Standing| matches!(s, Standing::Untried | Standing::Pending(_));
    if standings.clone().all(Standing::is_held) {
        GrantStatus::Applied
    } else if standings.any(open) {
        GrantStatus::Pending
    } else {
        GrantStatus::Failed
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
#[must_use]
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
#[must_use]
pub fn roll_up_ending(grants: &[GrantStatus], reason: EndedReason) -> SessionStatus {
    match reason {
        _ if grants.iter().any(|s| *s != GrantStatus::Removed) => SessionStatus::Expiring,
        EndedReason::Manual => SessionStatus::Cancelled,
        EndedReason::Expired => SessionStatus::Expired,
    }
}

/// Who, which addresses, from when until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who, as the user says.
    pub user_name: String,
    /// Their mail address, as the user says.
    pub user_email: Option<String>,
    /// Why, as the user says.
    pub reason: Option<String>,
    /// Whether its addresses follow the user's.
    pub follow: bool,
    /// Where it stands.
    pub status: SessionStatus,
    /// When the record was committed.
    pub started_at: Timestamp,
    /// `started_at` plus the duration and every extension; unchanged by a stop.
    pub expires_at: Timestamp,
    /// When stop was asked, or when expiry was noticed.
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    pub ended_reason: Option<EndedReason>,
    /// The provider's name for the caller, per account.
    pub caller_arns: BTreeSet<String>,
    /// Its grants, sorted by resource name and family, then by age; at least one. Those of addresses that the session
    /// has moved away from are among them: REMOVING or REMOVED while the session lives.
    pub grants: Vec<Grant>,
}

impl Session {
    /// What the session opens for its address of one family.
    #[must_use]
    pub fn cidr(&self, version: IpVersion) -> Option<IpNet> {
        let address = self.address(version)?;
        self.grants.iter().find(|grant| grant.address == address).map(Grant::cidr)
    }

    /// The session's address of one family: the last one, where it has moved.
    #[must_use]
    pub fn address(&self, version: IpVersion) -> Option<IpAddr> {
        let fits = |grant: &&Grant| grant.ip_version() == version;
        let found = self.current().find(fits).or_else(|| self.grants.iter().rfind(fits));
        found.map(|grant| grant.address)
    }

    /// The grants for the addresses that the session has now; none once it has ended.
    pub fn current(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(|grant| !grant.status.lets_go())
    }

    /// Whether what a grant has open stays for now although its session has moved to another address: make before
    /// break. It is never opened anew.
    ///
    /// | session | grant | the grant that took over | |
    /// |---|---|---|---|
    /// | live | REMOVING, and holds a rule | not APPLIED yet | kept |
    /// | live | REMOVING | APPLIED | closed |
    /// | ended | any | any | closed |
    #[must_use]
    pub fn keeps(&self, grant: &Grant) -> bool {
        let holds = grant.permissions.iter().any(|item| item.standing.is_held());
        let took_over = |other: &&Grant| {
            other.resource_name == grant.resource_name
                && other.target.key == grant.target.key
                && other.ip_version() == grant.ip_version()
        };
        let waits = || self.current().filter(took_over).any(|other| other.status != GrantStatus::Applied);
        self.status.is_live() && grant.status == GrantStatus::Removing && holds && waits()
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
    fn grant_roll_up_rows() {
        let own = Standing::Own(RuleId("sgr-1".into()));
        let foreign = Standing::Foreign(RuleId("sgr-2".into()));
        let failed = Standing::Failed("no".into());
        let pending = Standing::Pending("later".into());
        for (standings, expected) in [
            (vec![own.clone(), foreign], GrantStatus::Applied),
            (vec![own.clone(), failed.clone()], GrantStatus::Failed),
            (vec![failed.clone(), Standing::Untried], GrantStatus::Pending),
            (vec![failed, pending], GrantStatus::Pending),
            (vec![own, Standing::Untried], GrantStatus::Pending),
        ] {
            assert_eq!(roll_up_grant(standings.iter()), expected, "{standings:?}");
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
