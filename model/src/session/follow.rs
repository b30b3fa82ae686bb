//! Sessions that follow their user to another address.
//!
//! A session's addresses change in no other way. One transaction records the move: the new grants, and the old ones as
//! REMOVING. The plan carries it out: the old rules stay until the new ones are there
//! ([`crate::session::record::Session::keeps`]).

use crate::{
    Timestamp,
    ids::{GrantId, SessionId},
    net::address::IpVersion,
    session::record::{Grant, GrantPermission, GrantStatus, Session, Standing},
};
use std::net::IpAddr;

/// The result of a search for the user's address of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundAddress {
    /// Enough services agree, and it is an address on the Internet.
    Agreed(IpAddr),
    /// Services name different addresses.
    Disagreed,
    /// No reliable address: no answer, too few answers, or an address that no user can have on the Internet.
    Unknown,
}

/// A change of one address of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    pub session: SessionId,
    /// Its address until now.
    pub from: IpAddr,
    /// Its address from now on, of the same family.
    pub to: IpAddr,
}

/// The moves of a session as of `now`. An unknown address is never a change, and a session never gets a family that it
/// did not start with.
///
/// | session | IPv4, IPv6 found | each of its addresses |
/// |---|---|---|
/// | does not follow, not live, or past its expiry | any | stays |
/// | follows | one or both disagreed | stays: services that lie about one family may lie about the other |
/// | follows | unknown for this family | stays |
/// | follows | agreed: the same, or within what the session opens around the old one | stays: it is open already |
/// | follows | agreed: another | moves |
pub fn moves(session: &Session, v4: FoundAddress, v6: FoundAddress, now: Timestamp) -> Vec<Move> {
    let lives = session.status.is_live() && now < session.expires_at;
    if !session.follow || !lives || v4 == FoundAddress::Disagreed || v6 == FoundAddress::Disagreed {
        return Vec::new();
    }
    let families = [(IpVersion::V4, v4), (IpVersion::V6, v6)];
    families.into_iter().filter_map(|(version, found)| one(session, version, found)).collect()
}

fn one(session: &Session, version: IpVersion, found: FoundAddress) -> Option<Move> {
    let FoundAddress::Agreed(to) = found else { return None };
    let (from, open) = (session.address(version)?, session.cidr(version)?);
    let goes = IpVersion::of(to) == version && !open.contains(&to);
    goes.then_some(Move { session: session.id, from, to })
}

/// The grant that takes over from another: the same resource, ports and width, for another address.
pub fn successor(grant: &Grant, id: GrantId, to: IpAddr) -> Grant {
    let moved =
        |item: &GrantPermission| GrantPermission { permission: item.permission.moved(to), standing: Standing::Untried };
    Grant {
        id,
        resource_name: grant.resource_name.clone(),
        target: grant.target.clone(),
        address: to,
        status: GrantStatus::Pending,
        permissions: grant.permissions.iter().map(moved).collect(),
        applied_at: None,
        removed_at: None,
        without_auto_close: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::{
        ids::RuleId,
        net::permission::{Permission, PortSpec},
        session::record::SessionStatus,
        target::{Target, TargetKey},
    };
    use chrono::TimeDelta;
    use std::collections::BTreeSet;
    use uuid::Uuid;

    fn start() -> Timestamp {
        Timestamp::from_timestamp(1_772_150_400, 0).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn grant(address: &str, cidr: &str) -> Grant {
        let target = TargetKey::new("aws", "security-group", "eu-west-1", "sg-1");
        let permission = |spec| Permission::for_network(spec, cidr.parse().unwrap());
        let item = |spec| GrantPermission { permission: permission(spec), standing: Standing::Untried };
        Grant {
            id: GrantId(Uuid::from_u128(1)),
            resource_name: "api".into(),
            target: Target::new(target),
            address: ip(address),
            status: GrantStatus::Applied,
            permissions: vec![item(PortSpec::Tcp(22, 22)), item(PortSpec::Icmp)],
            applied_at: Some(start()),
            removed_at: None,
            without_auto_close: None,
        }
    }

    /// An hour long, with one host of IPv4 and a /64 of IPv6.
    fn session() -> Session {
        Session {
            id: SessionId(Uuid::from_u128(7)),
            user_name: "Alice".into(),
            user_email: None,
            reason: None,
            follow: true,
            followed_name: None,
            status: SessionStatus::Active,
            started_at: start(),
            expires_at: start() + TimeDelta::hours(1),
            ended_at: None,
            ended_reason: None,
            caller_arns: BTreeSet::new(),
            grants: vec![grant("203.0.113.42", "203.0.113.42/32"), grant("2001:db8::1", "2001:db8::/64")],
        }
    }

    fn found(session: &Session, v4: FoundAddress, v6: FoundAddress) -> Vec<(IpAddr, IpAddr)> {
        let moved = moves(session, v4, v6, start() + TimeDelta::minutes(1));
        assert!(moved.iter().all(|one| one.session == session.id));
        moved.into_iter().map(|one| (one.from, one.to)).collect()
    }

    #[test]
    fn every_row() {
        use FoundAddress::{Agreed, Disagreed, Unknown};
        let (same4, new4) = (Agreed(ip("203.0.113.42")), Agreed(ip("198.51.100.7")));
        let (same6, near6, new6) = (Agreed(ip("2001:db8::1")), Agreed(ip("2001:db8::2")), Agreed(ip("2001:db8:1::1")));
        let four = (ip("203.0.113.42"), ip("198.51.100.7"));
        let six = (ip("2001:db8::1"), ip("2001:db8:1::1"));
        for (v4, v6, expected) in [
            (same4, same6, vec![]),
            (same4, near6, vec![]),
            (new4, same6, vec![four]),
            (same4, new6, vec![six]),
            (new4, new6, vec![four, six]),
            (new4, Unknown, vec![four]),
            (Unknown, new6, vec![six]),
            (Unknown, Unknown, vec![]),
            (Disagreed, new6, vec![]),
            (new4, Disagreed, vec![]),
            (Agreed(ip("2001:db8:1::1")), Unknown, vec![]),
        ] {
            assert_eq!(found(&session(), v4, v6), expected, "{v4:?} {v6:?}");
        }
        let stays = |session: &Session| assert_eq!(found(session, new4, new6), vec![], "{session:?}");
        stays(&Session { follow: false, ..session() });
        stays(&Session { expires_at: start() + TimeDelta::minutes(1), ..session() });
        for status in [SessionStatus::Expiring, SessionStatus::Cancelled, SessionStatus::Expired] {
            stays(&Session { status, ..session() });
        }
        for status in [SessionStatus::Pending, SessionStatus::Partial, SessionStatus::Failed] {
            assert_eq!(found(&Session { status, ..session() }, new4, new6), vec![four, six]);
        }
    }

    #[test]
    fn the_set_of_families_stays() {
        let mut only4 = session();
        only4.grants.truncate(1);
        assert_eq!(found(&only4, FoundAddress::Unknown, FoundAddress::Agreed(ip("2001:db8:1::1"))), vec![]);
    }

    #[test]
    fn what_is_kept_and_for_how_long() {
        let held = |status| {
            let mut old = grant("203.0.113.42", "203.0.113.42/32");
            old.status = status;
            old.permissions[0].standing = Standing::Own(RuleId("sgr-1".into()));
            old
        };
        let moved = |status, old: Grant, new| {
            let mut next = successor(&old, GrantId(Uuid::from_u128(2)), ip("198.51.100.7"));
            next.status = new;
            Session { status, grants: vec![old, next], ..session() }
        };
        use GrantStatus::{Applied, Failed, Pending, Removed, Removing};
        let keeps = |session: &Session| session.keeps(&session.grants[0]);
        let live = SessionStatus::Pending;
        assert!(keeps(&moved(live, held(Removing), Pending)));
        assert!(keeps(&moved(live, held(Removing), Failed)));
        assert!(!keeps(&moved(live, held(Removing), Applied)), "make, then break");
        assert!(!keeps(&moved(live, held(Removed), Pending)));
        assert!(!keeps(&moved(live, held(Applied), Pending)), "that one is wanted");
        assert!(!keeps(&moved(SessionStatus::Expiring, held(Removing), Pending)));
        let nothing = Grant { status: Removing, ..grant("203.0.113.42", "203.0.113.42/32") };
        assert!(!keeps(&moved(live, nothing, Pending)), "it holds nothing");
        let session = moved(live, held(Removing), Pending);
        assert_eq!(session.address(IpVersion::V4), Some(ip("198.51.100.7")));
        let ended = moved(SessionStatus::Expired, held(Removed), Removed);
        assert_eq!(ended.address(IpVersion::V4), Some(ip("198.51.100.7")), "the last one");
    }

    #[test]
    fn only_the_address_of_a_grant_changes() {
        let id = GrantId(Uuid::from_u128(2));
        let moved = successor(&grant("2001:db8::1", "2001:db8::/64"), id, ip("2001:db8:1:2::3"));
        let permissions: Vec<String> = moved.permissions.iter().map(|item| item.permission.to_string()).collect();
        assert_eq!(permissions, ["tcp|22|22|2001:db8:1:2::/64", "icmpv6|-1|-1|2001:db8:1:2::/64"]);
        assert_eq!((moved.id, moved.address, moved.status), (id, ip("2001:db8:1:2::3"), GrantStatus::Pending));
        assert!(moved.applied_at.is_none() && moved.permissions.iter().all(|item| item.standing == Standing::Untried));
    }
}
