//! The reasons why a grant is not done yet, and the time of the next attempt.

use crate::{
    Timestamp,
    lease::{Lease, Phase},
    session::record::{Grant, GrantStatus},
};

/// The reasons why a grant is not done yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// The last refusals, each with its ports: `tcp/22: not permitted: …`. Empty if nothing was refused because the
    /// target could not be read.
    pub reasons: Vec<String>,
    /// The time of the next attempt; `None`: the next pass.
    pub next_try_at: Option<Timestamp>,
}

/// The reasons why a grant is not done, from the open leases on record.
///
/// | grant | trouble |
/// |---|---|
/// | FAILED, PENDING, REMOVING | the refusals on record, possibly none |
/// | APPLIED | only if a call was refused: a tag still says another time |
/// | REMOVED | none: this session has let go |
pub fn trouble(grant: &Grant, leases: &[Lease]) -> Option<Trouble> {
    if grant.status == GrantStatus::Removed {
        return None;
    }
    let concerns = |lease: &&Lease| {
        lease.phase != Phase::Closed
            && lease.target.key == grant.target.key
            && grant.permissions.iter().any(|item| item.permission == lease.permission)
    };
    let refused: Vec<&Lease> = leases.iter().filter(concerns).filter(|lease| lease.last_failure.is_some()).collect();
    if refused.is_empty() && grant.status == GrantStatus::Applied {
        return None;
    }
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for lease in &refused {
        let Some(why) = lease.last_failure.as_ref().map(ToString::to_string) else { continue };
        let ports = lease.permission.ports();
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, list)) => list.push(ports),
            None => reasons.push((why, vec![ports])),
        }
    }
    Some(Trouble {
        reasons: reasons.iter().map(|(why, ports)| grant.reason(why, ports)).collect(),
        next_try_at: refused.iter().filter_map(|lease| lease.next_try_at).min(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::{
        failure::{Failure, FailureClass},
        ids::{GrantId, LeaseId, RuleId},
        net::permission::Permission,
        session::record::{GrantPermission, Standing},
        target::{Target, TargetKey},
    };
    use uuid::Uuid;

    fn at(minute: u32) -> Timestamp {
        format!("2026-02-27T10:{minute:02}:00Z").parse().unwrap()
    }

    fn target() -> Target {
        let target = TargetKey::new("aws", "security-group", "eu-west-1", "sg-1");
        Target::new(target)
    }

    fn permission(port: u16) -> Permission {
        format!("tcp|{port}|{port}|203.0.113.42/32").parse().unwrap()
    }

    fn grant(status: GrantStatus, ports: &[u16]) -> Grant {
        let untried = |port: &u16| GrantPermission { permission: permission(*port), standing: Standing::Untried };
        Grant {
            id: GrantId(Uuid::from_u128(1)),
            resource_name: "a".into(),
            target: target(),
            address: "203.0.113.42".parse().unwrap(),
            status,
            permissions: ports.iter().map(untried).collect(),
            applied_at: None,
            removed_at: None,
            without_auto_close: None,
        }
    }

    fn refused(port: u16, why: &str, next: Timestamp) -> Lease {
        let lease = Lease::claim(LeaseId(port.into()), target(), permission(port));
        lease.refused(Failure::new(FailureClass::Denied, why), next)
    }

    #[test]
    fn the_same_refusal_is_said_once_and_the_first_retry_counts() {
        let leases = [refused(22, "no", at(5)), refused(443, "no", at(3)), refused(80, "other", at(1))];
        let found = trouble(&grant(GrantStatus::Failed, &[22, 443]), &leases).unwrap();
        assert_eq!(found.reasons, ["tcp/22, tcp/443: not permitted: no"]);
        assert_eq!(found.next_try_at, Some(at(3)), "port 80 is another grant's");
    }

    #[test]
    fn where_everything_is_open_no_port_is_named() {
        let all: Permission = "-1|-1|-1|203.0.113.42/32".parse().unwrap();
        let grant = Grant {
            permissions: vec![GrantPermission { permission: all, standing: Standing::Untried }],
            ..grant(GrantStatus::Removing, &[])
        };
        let refused = Lease::claim(LeaseId(1), target(), all).refused(Failure::new(FailureClass::Denied, "no"), at(5));
        assert_eq!(trouble(&grant, &[refused]).unwrap().reasons, ["not permitted: no"]);
    }

    #[test]
    fn who_is_done_has_no_trouble() {
        let leases = [refused(22, "no", at(5))];
        assert_eq!(trouble(&grant(GrantStatus::Removed, &[22]), &leases), None);
        assert_eq!(trouble(&grant(GrantStatus::Applied, &[443]), &leases), None);
        assert!(trouble(&grant(GrantStatus::Applied, &[22]), &leases).is_some(), "a tag that could not be rewritten");
        let closed = [leases[0].closed()];
        assert_eq!(trouble(&grant(GrantStatus::Removing, &[22]), &closed), Some(Trouble::default()));
        let held = [Lease::claim(LeaseId(1), target(), permission(22)).authorized(RuleId("sgr-1".into()), at(9))];
        assert_eq!(trouble(&grant(GrantStatus::Failed, &[22]), &held), Some(Trouble::default()), "not even read");
    }
}
