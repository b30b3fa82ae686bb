//! The events of a session that the user's own command is told, and their times.

use crate::{
    Timestamp,
    ids::SessionId,
    lease::Lease,
    session::{
        problems::trouble,
        record::Session,
        status::{EndedReason, GrantStatus, SessionStatus},
    },
    target::TargetKey,
    words::word_enum,
};
use chrono::TimeDelta;
use std::collections::BTreeSet;

/// The end of a session is news for this long.
pub const NEWS: TimeDelta = TimeDelta::hours(1);

word_enum! {
    NotifyEvent {
        Expiring = "expiring",
        Expired = "expired",
        /// A rule of an ending session could not be closed.
        CloseFailed = "close-failed",
    }
}

/// An event to tell, once for each session, event and expiry: an extended session ends soon a second time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notification {
    pub session: SessionId,
    pub event: NotifyEvent,
    /// The expiry of the session at that time.
    pub expires_at: Timestamp,
    /// The reason why a rule could not be closed.
    pub why: Option<String>,
}

/// The events as of `now`, told before or not. `unreadable` are the targets that the last pass could not read.
///
/// | session | notice |
/// |---|---|
/// | live, and ends within `before` | expiring |
/// | expired, noticed less than an hour ago | expired |
/// | EXPIRING, and the closing of a rule was refused or its target could not be read | close-failed |
pub fn notices(
    sessions: &[Session],
    leases: &[Lease],
    unreadable: &BTreeSet<TargetKey>,
    now: Timestamp,
    before: TimeDelta,
) -> Vec<Notification> {
    let mut notices = Vec::new();
    for session in sessions {
        let notice = |event, why| Notification { session: session.id, event, expires_at: session.expires_at, why };
        if session.status.is_live() && now < session.expires_at && now >= session.expires_at - before {
            notices.push(notice(NotifyEvent::Expiring, None));
        }
        let news = session.ended_at.is_some_and(|at| (now - at).abs() < NEWS);
        if news && session.ended_reason == Some(EndedReason::Expired) {
            notices.push(notice(NotifyEvent::Expired, None));
        }
        if let Some(why) = not_closed(session, leases, unreadable) {
            notices.push(notice(NotifyEvent::CloseFailed, Some(why)));
        }
    }
    notices.sort();
    notices
}

fn not_closed(session: &Session, leases: &[Lease], unreadable: &BTreeSet<TargetKey>) -> Option<String> {
    if session.status != SessionStatus::Expiring {
        return None;
    }
    let removing = session.grants.iter().filter(|grant| grant.status == GrantStatus::Removing);
    let mut reasons = removing.filter_map(|grant| {
        let refused = trouble(grant, leases).map(|trouble| trouble.reasons).filter(|reasons| !reasons.is_empty());
        let unread = || unreadable.contains(&grant.target.key).then(|| vec!["it cannot be read".to_owned()]);
        Some(format!("{}: {}", grant.resource_name, refused.or_else(unread)?.join("; ")))
    });
    reasons.next()
}

/// The time of the next event of the live sessions.
pub fn next_notice(sessions: &[Session], now: Timestamp, before: TimeDelta) -> Option<Timestamp> {
    let live = sessions.iter().filter(|session| session.status.is_live());
    live.map(|session| session.expires_at - before).filter(|at| *at > now).min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::{
        failure::{Failure, FailureClass},
        ids::{GrantId, LeaseId},
        net::permission::Permission,
        session::record::{Grant, GrantPermission, Standing},
        target::Target,
    };
    use uuid::Uuid;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_timestamp(1_772_150_400, 0).unwrap() + TimeDelta::minutes(minutes)
    }

    fn permission() -> Permission {
        "tcp|22|22|203.0.113.42/32".parse().unwrap()
    }

    fn target() -> Target {
        let target = TargetKey::new("aws", "security-group", "eu-west-1", "sg-1");
        Target::new(target)
    }

    /// From 0 to 60 minutes.
    fn session(status: SessionStatus, ended: Option<(i64, EndedReason)>) -> Session {
        let grant = Grant {
            id: GrantId(Uuid::from_u128(1)),
            resource_name: "api".into(),
            target: target(),
            address: "203.0.113.42".parse().unwrap(),
            status: if status.is_live() { GrantStatus::Applied } else { GrantStatus::Removing },
            permissions: vec![GrantPermission { permission: permission(), standing: Standing::Untried }],
            applied_at: None,
            removed_at: None,
            without_auto_close: None,
        };
        Session {
            id: SessionId(Uuid::from_u128(7)),
            user_name: "Alice".into(),
            user_email: None,
            reason: None,
            follow: false,
            followed_name: None,
            status,
            started_at: at(0),
            expires_at: at(60),
            ended_at: ended.map(|(minute, _)| at(minute)),
            ended_reason: ended.map(|(_, reason)| reason),
            caller_arns: BTreeSet::new(),
            grants: vec![grant],
        }
    }

    fn told(session: &Session, now: i64) -> Vec<NotifyEvent> {
        let found = notices(std::slice::from_ref(session), &[], &BTreeSet::new(), at(now), TimeDelta::minutes(10));
        found.into_iter().map(|notice| notice.event).collect()
    }

    #[test]
    fn every_row() {
        use EndedReason::{Expired, Manual};
        use NotifyEvent as E;
        let live = session(SessionStatus::Failed, None);
        for (now, expected) in [(49, vec![]), (50, vec![E::Expiring]), (59, vec![E::Expiring]), (60, vec![])] {
            assert_eq!(told(&live, now), expected, "{now}");
        }
        let ended = |status, reason| session(status, Some((61, reason)));
        for (session, now, expected) in [
            (ended(SessionStatus::Expired, Expired), 61, vec![E::Expired]),
            (ended(SessionStatus::Expired, Expired), 120, vec![E::Expired]),
            (ended(SessionStatus::Expired, Expired), 121, vec![]),
            (ended(SessionStatus::Expiring, Expired), 61, vec![E::Expired]),
            (ended(SessionStatus::Cancelled, Manual), 61, vec![]),
            (ended(SessionStatus::Expiring, Manual), 61, vec![]),
        ] {
            assert_eq!(told(&session, now), expected, "{now} {session:?}");
        }
    }

    #[test]
    fn a_failure_to_close_says_why() {
        let stopped = session(SessionStatus::Expiring, Some((61, EndedReason::Manual)));
        let why = |session: &Session, leases: &[Lease], unreadable: &BTreeSet<TargetKey>| {
            let found = notices(std::slice::from_ref(session), leases, unreadable, at(62), TimeDelta::minutes(10));
            found.into_iter().next().and_then(|notice| notice.why)
        };
        let refused = Lease::claim(LeaseId(1), target(), permission());
        let refused = [refused.refused(Failure::new(FailureClass::Denied, "no"), at(63))];
        let target = BTreeSet::from([target().key]);
        assert_eq!(why(&stopped, &refused, &BTreeSet::new()).unwrap(), "api: tcp/22: not permitted: no");
        assert_eq!(why(&stopped, &[], &target).unwrap(), "api: it cannot be read");
        assert_eq!(why(&stopped, &[], &BTreeSet::new()), None, "it only takes its time");
        assert_eq!(why(&session(SessionStatus::Active, None), &refused, &target), None, "nothing is to be closed");
    }

    #[test]
    fn the_next_one_is_known_ahead() {
        let live = session(SessionStatus::Active, None);
        let next = |session: &Session, now| next_notice(std::slice::from_ref(session), at(now), TimeDelta::minutes(10));
        assert_eq!(next(&live, 0), Some(at(50)));
        assert_eq!(next(&live, 50), None, "that one is due");
        assert_eq!(next(&session(SessionStatus::Expiring, Some((1, EndedReason::Manual))), 1), None);
    }
}
