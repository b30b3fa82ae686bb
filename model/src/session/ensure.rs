//! `ensure`: can a live session serve as the requested one?
//!
//! | live sessions that are the same | decision |
//! |---|---|
//! | one lasts as long as requested, to the minute | keep it |
//! | one can be extended to the requested end, within the longest duration and for the same reason | extend it |
//! | none | a new one; the old ones stay beside it until they expire |
//!
//! *The same* means the same ports of the same targets by the same routes, for the same addresses. Not fewer, and not more:
//! an extension would keep the others open for longer than requested. A request with a reason never extends a session
//! with another reason, or with none: the record would then tell the wrong reason.
//!
//! Sessions that follow their user are the same at any address if user, ports, targets and routes are the same: the
//! caller moves the session to the user's present address. Otherwise each change of address would leave one more
//! session behind, and all of them would follow. A family that was not found just now (a network without IPv6) makes no
//! difference. A family that the session does not have does, since the session would never get it.

use crate::{
    ids::SessionId,
    net::{address::IpVersion, permission::Permission},
    session::record::Session,
    target::Target,
};
use chrono::TimeDelta;
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensuring {
    Keep(SessionId),
    /// Move the expiry of this session to the requested one.
    Prolong(SessionId),
    /// Record the requested session.
    Begin,
}

/// Durations and remaining times are shown in whole minutes, so a smaller difference does not count.
const A_MINUTE: TimeDelta = TimeDelta::minutes(1);

/// Decides among all live sessions. `wanted` is the session to start if none of them serves; `longest` is the longest
/// duration of a session in all.
pub fn ensure(live: &[Session], wanted: &Session, longest: TimeDelta) -> Ensuring {
    let now = wanted.started_at;
    let alive = |session: &&Session| session.status.is_live() && session.expires_at > now;
    let alike = |session: &&Session| {
        if wanted.follow { follows_alike(session, wanted) } else { what_it_opens(session) == what_it_opens(wanted) }
    };
    let mut same: Vec<&Session> = live.iter().filter(alive).filter(alike).collect();
    same.sort_by_key(|session| std::cmp::Reverse((session.expires_at, session.started_at, session.id)));
    if let Some(last) = same.first().filter(|session| wanted.expires_at - session.expires_at < A_MINUTE) {
        return Ensuring::Keep(last.id);
    }
    let reason = |session: &Session| wanted.reason.is_none() || session.reason == wanted.reason;
    let fits = |session: &&&Session| wanted.expires_at - session.started_at <= longest && reason(session);
    same.iter().find(fits).map_or(Ensuring::Begin, |session| Ensuring::Prolong(session.id))
}

/// Permissions name the address and the ports; the route names the firewall and the credentials.
fn what_it_opens(session: &Session) -> BTreeSet<(Target, Permission)> {
    let way = |target: &Target| Target { route: target.route.configured(), ..target.clone() };
    session
        .current()
        .flat_map(|grant| grant.permissions.iter().map(move |item| (way(&grant.target), item.permission)))
        .collect()
}

/// True if a session follows the same user and opens the same as the wanted one, at any address.
fn follows_alike(session: &Session, wanted: &Session) -> bool {
    let same_user = session.user_name == wanted.user_name && session.user_email == wanted.user_email;
    let asked = wherever(wanted);
    let families: BTreeSet<IpVersion> = asked.iter().map(|(_, permission)| permission.ip_version()).collect();
    let mut has = wherever(session);
    has.retain(|(_, permission)| families.contains(&permission.ip_version()));
    session.follow && session.followed_name == wanted.followed_name && same_user && has == asked
}

/// The permissions of a session without their addresses: routes, ports and widths of each family.
fn wherever(session: &Session) -> BTreeSet<(Target, Permission)> {
    let nowhere = |permission: Permission| {
        permission.moved(match permission.ip_version() {
            IpVersion::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpVersion::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        })
    };
    what_it_opens(session).into_iter().map(|(way, permission)| (way, nowhere(permission))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Timestamp,
        ids::GrantId,
        session::record::{Grant, GrantPermission, GrantStatus, SessionStatus, Standing},
        target::TargetKey,
    };
    use std::net::IpAddr;
    use uuid::Uuid;

    fn at(minutes: i64) -> Timestamp {
        "2026-02-27T10:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::minutes(minutes)
    }

    fn grant(group: &str, address: &str, ports: &[&str]) -> Grant {
        let address: IpAddr = address.parse().unwrap();
        let permission = |port: &&str| Permission::for_host(port.parse().unwrap(), address);
        let key = TargetKey::new("aws", "security-group", "eu-west-1", group);
        let untried = |permission| GrantPermission { permission, standing: Standing::Untried };
        Grant {
            id: GrantId(Uuid::from_u128(1)),
            resource_name: group.into(),
            target: Target::new(key),
            address,
            status: GrantStatus::Pending,
            permissions: ports.iter().map(permission).map(untried).collect(),
            applied_at: None,
            removed_at: None,
            without_auto_close: None,
        }
    }

    fn session(number: u128, from: i64, until: i64) -> Session {
        Session {
            id: SessionId(Uuid::from_u128(number)),
            user_name: "alice".into(),
            user_email: None,
            reason: None,
            follow: false,
            followed_name: None,
            status: SessionStatus::Active,
            started_at: at(from),
            expires_at: at(until),
            ended_at: None,
            ended_reason: None,
            caller_arns: BTreeSet::new(),
            grants: vec![grant("sg-1", "203.0.113.42", &["tcp/22", "tcp/443"])],
        }
    }

    fn id(number: u128) -> SessionId {
        SessionId(Uuid::from_u128(number))
    }

    /// Eight hours are asked for at 10:00; a session may last a day.
    fn decide(live: &[Session]) -> Ensuring {
        ensure(live, &session(99, 0, 8 * 60), TimeDelta::hours(24))
    }

    #[test]
    fn one_that_lasts_long_enough_is_kept() {
        assert_eq!(decide(&[session(1, -60, 8 * 60)]), Ensuring::Keep(id(1)));
        assert_eq!(decide(&[session(1, -60, 9 * 60)]), Ensuring::Keep(id(1)));
        // The longest session is the last to need an extension.
        assert_eq!(decide(&[session(1, -60, 60), session(2, -60, 8 * 60)]), Ensuring::Keep(id(2)));
        // 59 seconds are none.
        let mut short = session(1, -60, 8 * 60);
        short.expires_at -= TimeDelta::seconds(59);
        assert_eq!(decide(&[short.clone()]), Ensuring::Keep(id(1)));
        short.expires_at -= TimeDelta::seconds(1);
        assert_eq!(decide(&[short]), Ensuring::Prolong(id(1)));
    }

    #[test]
    fn one_that_ends_sooner_is_prolonged_within_the_limit() {
        assert_eq!(decide(&[session(1, -60, 60)]), Ensuring::Prolong(id(1)));
        assert_eq!(decide(&[session(1, -16 * 60, 60)]), Ensuring::Prolong(id(1)));
        assert_eq!(decide(&[session(1, -16 * 60 - 1, 60)]), Ensuring::Begin);
        assert_eq!(decide(&[session(1, -16 * 60 - 1, 60), session(2, -60, 30)]), Ensuring::Prolong(id(2)));
    }

    #[test]
    fn nothing_is_prolonged_for_another_reason() {
        let with = |reason: Option<&str>, session| Session { reason: reason.map(str::to_owned), ..session };
        let ensure =
            |live: &[Session], reason| ensure(live, &with(reason, session(99, 0, 8 * 60)), TimeDelta::hours(24));
        let (short, long) = (session(1, -60, 60), session(1, -60, 8 * 60));
        for known in [None, Some("INC-1")] {
            assert_eq!(ensure(&[with(known, short.clone())], Some("INC-2")), Ensuring::Begin, "{known:?}");
            assert_eq!(ensure(&[with(known, long.clone())], Some("INC-2")), Ensuring::Keep(id(1)), "nothing is opened");
            assert_eq!(ensure(&[with(known, short.clone())], known), Ensuring::Prolong(id(1)), "{known:?}");
            assert_eq!(ensure(&[with(known, short.clone())], None), Ensuring::Prolong(id(1)), "none is asked for");
        }
    }

    #[test]
    fn one_that_has_ended_is_none() {
        assert_eq!(decide(&[]), Ensuring::Begin);
        assert_eq!(decide(&[session(1, -60, 0)]), Ensuring::Begin);
        for status in SessionStatus::ALL.iter().copied() {
            let expected = if status.is_live() { Ensuring::Keep(id(1)) } else { Ensuring::Begin };
            assert_eq!(decide(&[Session { status, ..session(1, -60, 8 * 60) }]), expected, "{status}");
        }
    }

    #[test]
    fn who_is_to_follow_is_not_served_by_one_who_stays() {
        let following = |number| Session { follow: true, ..session(number, -60, 8 * 60) };
        let wanted = Session { follow: true, ..session(99, 0, 8 * 60) };
        let longest = TimeDelta::hours(24);
        assert_eq!(ensure(&[session(1, -60, 8 * 60)], &wanted, longest), Ensuring::Begin);
        assert_eq!(ensure(&[session(1, -60, 8 * 60), following(2)], &wanted, longest), Ensuring::Keep(id(2)));
        assert_eq!(decide(&[following(1)]), Ensuring::Keep(id(1)), "more than was asked for, at the same address");
        // Where it has been is not what it opens.
        let mut moved = following(1);
        moved.grants.push(Grant { status: GrantStatus::Removed, ..grant("sg-1", "203.0.113.7", &["tcp/22"]) });
        assert_eq!(ensure(&[moved], &wanted, longest), Ensuring::Keep(id(1)));
    }

    #[test]
    fn who_follows_is_known_wherever_the_user_is() {
        let at = |number, grants: Vec<Grant>| Session { follow: true, grants, ..session(number, -60, 8 * 60) };
        let ports = ["tcp/22", "tcp/443"];
        let (here, there) = ("203.0.113.42", "198.51.100.7");
        let wanted = Session { started_at: super::tests::at(0), ..at(99, vec![grant("sg-1", here, &ports)]) };
        let decide = |live: Session| ensure(&[live], &wanted, TimeDelta::hours(24));
        let both = |v4: &str| vec![grant("sg-1", v4, &ports), grant("sg-1", "2001:db8::1", &ports)];
        for same in [at(1, vec![grant("sg-1", there, &ports)]), at(1, both(there)), at(1, both(here))] {
            assert_eq!(decide(same.clone()), Ensuring::Keep(id(1)), "{same:#?}");
            // A session that is not to follow is for this address and nothing more.
            assert_eq!(
                ensure(&[same], &Session { follow: false, ..wanted.clone() }, TimeDelta::hours(24)),
                Ensuring::Begin
            );
        }
        for other in [
            at(1, vec![grant("sg-1", there, &ports[..1])]),
            at(1, vec![grant("sg-2", there, &ports)]),
            at(1, vec![grant("sg-1", "2001:db8::1", &ports)]),
            Session { user_name: "bob".into(), ..at(1, vec![grant("sg-1", here, &ports)]) },
            Session { follow: false, ..at(1, vec![grant("sg-1", here, &ports)]) },
        ] {
            assert_eq!(decide(other.clone()), Ensuring::Begin, "{other:#?}");
        }
        let dual = Session { grants: both(here), ..wanted.clone() };
        let v4 = at(1, vec![grant("sg-1", here, &ports)]);
        assert_eq!(ensure(&[v4], &dual, TimeDelta::hours(24)), Ensuring::Begin, "it would never get IPv6");
    }

    #[test]
    fn another_one_is_not_the_same() {
        let with = |grants: Vec<Grant>| Session { grants, ..session(1, -60, 8 * 60) };
        let mine = || grant("sg-1", "203.0.113.42", &["tcp/22", "tcp/443"]);
        let other_way = |change: fn(&mut Target)| {
            let mut grant = mine();
            change(&mut grant.target);
            with(vec![grant])
        };
        for different in [
            with(vec![grant("sg-2", "203.0.113.42", &["tcp/22", "tcp/443"])]),
            with(vec![grant("sg-1", "203.0.113.43", &["tcp/22", "tcp/443"])]),
            with(vec![grant("sg-1", "203.0.113.42", &["tcp/22"])]),
            with(vec![grant("sg-1", "203.0.113.42", &["tcp/22", "tcp/443", "tcp/80"])]),
            with(vec![mine(), grant("sg-1", "2001:db8::1", &["tcp/22", "tcp/443"])]),
            with(vec![mine(), grant("sg-2", "203.0.113.42", &["tcp/22"])]),
            other_way(|target| target.key.region = "us-east-1".into()),
            other_way(|target| target.key.endpoint = Some("http://127.0.0.1:1".into())),
            other_way(|target| target.route.profile = Some("work".into())),
        ] {
            assert_eq!(decide(std::slice::from_ref(&different)), Ensuring::Begin, "{different:#?}");
        }
        // Account and partition make no difference, nor does the resource's name.
        let mut learnt = other_way(|target| target.route.account = Some("123456789012".into()));
        learnt.grants.iter_mut().for_each(|grant| grant.resource_name = "renamed".into());
        assert_eq!(decide(&[learnt]), Ensuring::Keep(id(1)));
    }
}
