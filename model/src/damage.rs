//! Damage of the record: sessions and grants that `eg` cannot have recorded. A pass opens whatever the record wants, so
//! it checks first that `eg` can have written it.
//!
//! | field | sound |
//! |---|---|
//! | from start to end | at most 31 days, the cap of `max_duration` |
//! | the end, from now | at most 31 days and ten minutes: clocks differ, but no session begins in the far future |
//! | a grant's network | no wider than `ipv4_prefix_len` and `ipv6_prefix_len` accept, and with the grant's address in it |
//! | a grant's ports | ports that a configuration can name |
//!
//! A damaged grant wants nothing: nothing is opened for it, and the rule of its lease is closed by its id. Everything
//! else goes on.
//!
//! If a session ends in the far future, it is damaged or this machine's clock is behind. By the local clock, nothing is
//! opened for it ([`ends_too_far_ahead`]). Its open rules are closed only if the provider's clock agrees
//! ([`damage_at`], with the later of the two clocks).

use crate::{
    Timestamp,
    net::{
        address::PrefixLengths,
        permission::{Permission, PortSpec},
    },
    session::record::{Grant, GrantPermission, Session},
    target::TargetKey,
    time::duration::{MAX, format_duration},
};
use chrono::TimeDelta;
use std::net::IpAddr;
use thiserror::Error;

/// The largest difference between the clock at the end of a session and the one at its start; with a larger one,
/// `start` refuses.
const CLOCKS: TimeDelta = TimeDelta::minutes(10);

/// Something that `eg` cannot have recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// A session that is too long.
    #[error("it lasts longer than {limit}, as no session does", limit = format_duration(MAX))]
    Length,
    /// A session that ends in a far future.
    #[error("it ends more than {limit} from now", limit = format_duration(MAX))]
    Future,
    /// A network that no configuration can ask for.
    #[error("{} is wider than /{least}", permission.cidr())]
    Network {
        permission: Permission,
        /// The widest that can be asked for.
        least: u8,
    },
    /// A network without the grant's address.
    #[error("{} does not hold {address}", permission.cidr())]
    Address { permission: Permission, address: IpAddr },
    /// Ports that no configuration can name.
    #[error("{permission} is no port that a configuration can name")]
    Ports { permission: Permission },
}

/// The damage of a grant on record, its session included.
pub fn damage(session: &Session, grant: &Grant) -> Option<Damage> {
    if session.expires_at - session.started_at > MAX {
        return Some(Damage::Length);
    }
    grant.permissions.iter().find_map(|item| damaged(&item.permission, grant.address))
}

/// The damage as of `now`: also a session that ends in the far future.
pub fn damage_at(session: &Session, grant: &Grant, now: Timestamp) -> Option<Damage> {
    let future = ends_too_far_ahead(session.expires_at, now).then_some(Damage::Future);
    damage(session, grant).or(future)
}

/// True if no session with this end can have begun by now.
pub fn ends_too_far_ahead(end: Timestamp, now: Timestamp) -> bool {
    end - now > MAX + CLOCKS
}

fn damaged(permission: &Permission, address: IpAddr) -> Option<Damage> {
    let (permission, cidr) = (*permission, permission.cidr());
    let least = *PrefixLengths::accepted(permission.ip_version()).start();
    if cidr.prefix_len() < least {
        return Some(Damage::Network { permission, least });
    }
    if !cidr.contains(&address) {
        return Some(Damage::Address { permission, address });
    }
    let forwards = |spec: &PortSpec| match spec {
        PortSpec::Tcp(from, to) | PortSpec::Udp(from, to) => from <= to,
        PortSpec::Icmp | PortSpec::All => true,
    };
    let named = permission.spec().filter(forwards).map(|spec| Permission::for_network(spec, cidr));
    (named != Some(permission)).then_some(Damage::Ports { permission })
}

/// True if a live session wants a permission of a target, or keeps it for now, without damage. Checked once more right
/// before the permission is opened.
pub fn still_wants(session: &Session, target: &TargetKey, permission: &Permission, now: Timestamp) -> bool {
    let has = |item: &GrantPermission| item.permission == *permission;
    session.status.is_live()
        && now < session.expires_at
        && session.grants.iter().any(|grant| {
            (!grant.status.lets_go() || session.keeps(grant))
                && grant.target.key == *target
                && grant.permissions.iter().any(has)
                && damage_at(session, grant, now).is_none()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{GrantId, SessionId},
        session::record::{GrantStatus, SessionStatus, Standing},
        target::Target,
    };
    use std::collections::BTreeSet;
    use uuid::Uuid;

    fn at(seconds: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(1_000_000_000 + seconds, 0).unwrap()
    }

    fn session(address: &str, permission: &str, length: TimeDelta) -> Session {
        let grant = Grant {
            id: GrantId(Uuid::from_u128(2)),
            resource_name: "api".to_owned(),
            target: Target::new(TargetKey::new("aws", "security-group", "eu-west-1", "sg-1")),
            address: address.parse().unwrap(),
            status: GrantStatus::Pending,
            permissions: vec![GrantPermission { permission: permission.parse().unwrap(), standing: Standing::Untried }],
            applied_at: None,
            removed_at: None,
            without_auto_close: None,
        };
        Session {
            id: SessionId(Uuid::from_u128(1)),
            user_name: "alice".to_owned(),
            user_email: None,
            reason: None,
            follow: false,
            followed_name: None,
            status: SessionStatus::Pending,
            started_at: at(0),
            expires_at: at(0) + length,
            ended_at: None,
            ended_reason: None,
            caller_arns: BTreeSet::new(),
            grants: vec![grant],
        }
    }

    #[test]
    fn what_a_configuration_can_ask_for_is_sound() {
        for (address, permission) in [
            ("203.0.113.42", "tcp|22|22|203.0.113.42/32"),
            ("203.0.113.42", "udp|1|65535|203.0.113.0/24"),
            ("203.0.113.42", "icmp|-1|-1|203.0.113.42/32"),
            ("203.0.113.42", "-1|-1|-1|203.0.113.42/32"),
            ("2001:db8::1", "icmpv6|-1|-1|2001:db8::/64"),
            ("2001:db8::1", "tcp|0|0|2001:db8::1/128"),
        ] {
            let session = session(address, permission, MAX);
            assert_eq!(damage_at(&session, &session.grants[0], at(0)), None, "{permission}");
            assert!(still_wants(&session, &session.grants[0].target.key, &permission.parse().unwrap(), at(0)));
        }
    }

    #[test]
    fn what_it_cannot_is_damage() {
        for (address, permission, expected) in [
            ("203.0.113.42", "tcp|22|22|0.0.0.0/0", "0.0.0.0/0 is wider than /24"),
            ("203.0.113.42", "tcp|22|22|203.0.112.0/23", "203.0.112.0/23 is wider than /24"),
            ("2001:db8::1", "tcp|22|22|2001:db8::/63", "2001:db8::/63 is wider than /64"),
            ("203.0.113.42", "tcp|22|22|198.51.100.1/32", "198.51.100.1/32 does not hold 203.0.113.42"),
            ("203.0.113.42", "tcp|22|22|2001:db8::1/128", "2001:db8::1/128 does not hold 203.0.113.42"),
            (
                "203.0.113.42",
                "tcp|23|22|203.0.113.42/32",
                "tcp|23|22|203.0.113.42/32 is no port that a configuration can name",
            ),
            (
                "203.0.113.42",
                "tcp|-1|-1|203.0.113.42/32",
                "tcp|-1|-1|203.0.113.42/32 is no port that a configuration can name",
            ),
            (
                "203.0.113.42",
                "icmp|8|0|203.0.113.42/32",
                "icmp|8|0|203.0.113.42/32 is no port that a configuration can name",
            ),
            (
                "203.0.113.42",
                "icmpv6|-1|-1|203.0.113.42/32",
                "icmpv6|-1|-1|203.0.113.42/32 is no port that a configuration can name",
            ),
            (
                "203.0.113.42",
                "50|-1|-1|203.0.113.42/32",
                "50|-1|-1|203.0.113.42/32 is no port that a configuration can name",
            ),
        ] {
            let session = session(address, permission, TimeDelta::hours(8));
            assert_eq!(damage(&session, &session.grants[0]).unwrap().to_string(), expected);
            assert!(!still_wants(&session, &session.grants[0].target.key, &permission.parse().unwrap(), at(0)));
        }
        let fine = "tcp|22|22|203.0.113.42/32";
        let long = session("203.0.113.42", fine, MAX + TimeDelta::seconds(1));
        let why = damage(&long, &long.grants[0]).unwrap().to_string();
        assert_eq!(why, "it lasts longer than 31d, as no session does");
        let later = session("203.0.113.42", fine, MAX);
        assert_eq!(damage_at(&later, &later.grants[0], at(-600)), None, "a clock may be ten minutes behind");
        assert_eq!(damage_at(&later, &later.grants[0], at(-601)), Some(Damage::Future));
    }

    #[test]
    fn only_what_a_live_session_has_is_wanted() {
        let permission = "tcp|22|22|203.0.113.42/32";
        let live = session("203.0.113.42", permission, TimeDelta::hours(8));
        let target = live.grants[0].target.key.clone();
        let wants = |session: &Session, now| still_wants(session, &target, &permission.parse().unwrap(), now);
        assert!(wants(&live, at(0)) && !wants(&live, live.expires_at));
        assert!(!still_wants(&live, &target, &"tcp|23|23|203.0.113.42/32".parse().unwrap(), at(0)));
        let elsewhere = TargetKey { id: "sg-2".to_owned(), ..target.clone() };
        assert!(!still_wants(&live, &elsewhere, &permission.parse().unwrap(), at(0)));
        let ended = Session { status: SessionStatus::Expiring, ..live.clone() };
        assert!(!wants(&ended, at(0)));
        let mut gone = live;
        gone.grants[0].status = GrantStatus::Removed;
        assert!(!wants(&gone, at(0)));
    }
}
