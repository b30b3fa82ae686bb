//! Judgements on a reading before a session is recorded: can the target be opened at all, and which ports are open
//! already.

use crate::{
    collecting::{abandoned, lease_state},
    failure::{Failure, FailureClass},
    ids::{InstallationId, RuleId},
    net::{address::IpVersion, permission::Permission},
    observation::{Observation, ObservedRule, Reading},
    tags::Fit,
};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    Works,
    /// Unknown, or an obstacle that can pass by itself.
    NotKnown,
    /// It cannot work until the user acts.
    Cannot(Failure),
}

/// The prospect of opening one target. First match.
///
/// | reading | rights, by dry runs | rules in the group | |
/// |---|---|---|---|
/// | gone, credentials missing, not permitted, refused as invalid | any | any | cannot |
/// | throttled, an outage, no network | any | any | not known |
/// | complete | one is denied | any | cannot |
/// | complete | all there, or not known | the quota is full | cannot |
/// | complete | all there, or not known | there is room | works |
/// | not read back | not denied | any | works |
pub fn outlook(observation: &Observation, denied: Option<&Failure>, full: Option<Failure>) -> Outlook {
    match observation {
        Observation::Missing => Outlook::Cannot(Failure::new(FailureClass::Gone, "the target no longer exists")),
        Observation::Unavailable(failure) if failure.class.fails_grant() => Outlook::Cannot(failure.clone()),
        Observation::Unavailable(_) => Outlook::NotKnown,
        Observation::Complete(_) | Observation::NoReadBack => {
            denied.cloned().or(full).map_or(Outlook::Works, Outlook::Cannot)
        }
    }
}

/// True if none of the selected targets can work.
pub fn is_hopeless(outlooks: &[Outlook]) -> bool {
    !outlooks.is_empty() && outlooks.iter().all(|outlook| matches!(outlook, Outlook::Cannot(_)))
}

/// The wanted permissions that no rule of the reading has: those that have to be opened.
pub fn absent(reading: &Reading, wanted: &BTreeSet<Permission>) -> Vec<Permission> {
    let there: BTreeSet<Permission> = reading.rules.iter().map(|rule| rule.permission).collect();
    wanted.difference(&there).copied().collect()
}

/// The families that need a rule and have no room for one: the group holds as many rules as `quota` allows, and the
/// next pass closes none of them. A group with more rules than that has a higher quota, so only the provider can tell.
pub fn full_families(
    reading: &Reading,
    group: &str,
    wanted: &BTreeSet<Permission>,
    live: &BTreeSet<Permission>,
    quota: usize,
    me: &InstallationId,
) -> BTreeSet<IpVersion> {
    let goes = |rule: &ObservedRule| {
        let marks = rule.marks(group);
        let others = marks.leases.iter().filter(|(id, _)| *id != me);
        let held = others.into_iter().any(|(_, value)| lease_state(value, reading.provider_time).holds());
        let fit = marks.fit(false);
        let ours = fit == Some(Fit::Genuine) && marks.leases.contains_key(me);
        (ours && !held && !live.contains(&rule.permission)) || abandoned(fit, &marks, reading.provider_time)
    };
    let full = |family: &IpVersion| {
        let of_family = |rule: &&ObservedRule| rule.permission.ip_version() == *family;
        reading.ingress_rules(*family) == quota && !reading.rules.iter().filter(of_family).any(goes)
    };
    let needed: BTreeSet<IpVersion> = absent(reading, wanted).iter().map(Permission::ip_version).collect();
    needed.into_iter().filter(full).collect()
}

/// True if tags and description mark the rule as `eg`'s.
pub fn is_marked(rule: &ObservedRule, group: &str) -> bool {
    rule.marks(group).fit(false) == Some(Fit::Genuine)
}

/// The outcome of a start for one permission.
pub enum Would {
    Open,
    /// A rule of `eg` is there, of this installation or another.
    Keep(RuleId),
    /// A rule that is not of `eg` lets it in.
    BeCovered(RuleId),
    /// Its target could not be read.
    NotKnown,
}

impl Would {
    /// The word for JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Keep(_) => "keep",
            Self::BeCovered(_) => "covered",
            Self::NotKnown => "unknown",
        }
    }

    pub fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::Keep(rule) | Self::BeCovered(rule) => Some(rule),
            Self::Open | Self::NotKnown => None,
        }
    }
}

/// The outcome of a start for one permission of a target, by its last reading.
pub fn would(observation: Option<&Observation>, group: &str, permission: &Permission) -> Would {
    let Some(Observation::Complete(reading)) = observation else { return Would::NotKnown };
    match reading.rules.iter().find(|rule| rule.permission == *permission) {
        None => Would::Open,
        Some(rule) if is_marked(rule, group) => Would::Keep(rule.id.clone()),
        Some(rule) => Would::BeCovered(rule.id.clone()),
    }
}

/// The widest rule that is not `eg`'s and lets in all that a wanted permission would, and more. The user should know of
/// it, since it stays when the session ends. It does not count as the permission.
pub fn open_anyway<'r>(reading: &'r Reading, group: &str, wanted: &Permission) -> Option<&'r ObservedRule> {
    let wider =
        |rule: &&ObservedRule| rule.permission != *wanted && rule.permission.covers(wanted) && !is_marked(rule, group);
    reading.rules.iter().filter(wider).min_by_key(|rule| (rule.permission.cidr().prefix_len(), &rule.id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::{
        Timestamp,
        ids::{RuleId, SessionId},
        tags::tags_for,
    };
    use chrono::{DateTime, TimeDelta};
    use std::collections::BTreeMap;
    use uuid::Uuid;

    const GROUP: &str = "sg-1";

    fn now() -> Timestamp {
        DateTime::from_timestamp(1_772_150_400, 0).unwrap()
    }

    fn permission(text: &str) -> Permission {
        text.parse().unwrap()
    }

    fn me() -> InstallationId {
        InstallationId::from_uuid(Uuid::from_u128(1))
    }

    fn other() -> InstallationId {
        InstallationId::from_uuid(Uuid::from_u128(2))
    }

    fn rule(number: usize, text: &str, lease: Option<(&InstallationId, i64)>) -> ObservedRule {
        let permission = permission(text);
        let tags = lease.map(|(id, minutes)| {
            let until = now() + TimeDelta::minutes(minutes);
            tags_for(GROUP, &[permission], SessionId(Uuid::from_u128(9)), id, until)
        });
        ObservedRule {
            id: RuleId(format!("sgr-{number}")),
            permission,
            description: lease.map(|_| "eg alice@laptop session 00000000".to_owned()),
            tags: tags.unwrap_or_default(),
        }
    }

    fn reading(rules: Vec<ObservedRule>, other_ingress: usize) -> Reading {
        Reading {
            rules,
            other_ingress,
            read_at: now(),
            provider_time: Some(now()),
            last_page_at: now(),
            read_later: BTreeMap::new(),
            loose_marks: BTreeSet::new(),
            family: None,
        }
    }

    #[test]
    fn outlooks_by_their_rows() {
        let failure = |class| Failure::new(class, "words");
        let complete = Observation::Complete(reading(Vec::new(), 0));
        let (denied, full) = (failure(FailureClass::Denied), failure(FailureClass::Limit));
        for class in [FailureClass::Gone, FailureClass::Credentials, FailureClass::Denied, FailureClass::Invalid] {
            let outlook = outlook(&Observation::Unavailable(failure(class)), None, None);
            assert_eq!(outlook, Outlook::Cannot(failure(class)));
        }
        for class in [FailureClass::Throttled, FailureClass::Transient, FailureClass::Unknown] {
            assert_eq!(outlook(&Observation::Unavailable(failure(class)), Some(&denied), None), Outlook::NotKnown);
        }
        assert!(matches!(outlook(&Observation::Missing, None, None), Outlook::Cannot(_)));
        assert_eq!(outlook(&complete, Some(&denied), Some(full.clone())), Outlook::Cannot(denied.clone()));
        assert_eq!(outlook(&complete, None, Some(full.clone())), Outlook::Cannot(full));
        assert_eq!(outlook(&complete, None, None), Outlook::Works);

        let cannot = Outlook::Cannot(denied);
        assert!(is_hopeless(&[cannot.clone(), cannot.clone()]) && !is_hopeless(&[]));
        assert!(!is_hopeless(&[cannot.clone(), Outlook::NotKnown]) && !is_hopeless(&[Outlook::Works, cannot]));
    }

    #[test]
    fn full_is_as_many_as_the_quota_and_none_that_goes() {
        let wanted: BTreeSet<Permission> =
            ["tcp|22|22|203.0.113.42/32", "tcp|22|22|2001:db8::1/128"].map(permission).into();
        let foreign = |number: usize| rule(number, &format!("tcp|22|22|10.0.0.{number}/32"), None);
        let ours = "tcp|22|22|198.51.100.7/32";
        let live: BTreeSet<Permission> = [permission(ours)].into();
        let none = BTreeSet::new();
        let three = |last: ObservedRule| reading(vec![foreign(1), foreign(2), last], 0);
        let (v4, nothing): (BTreeSet<IpVersion>, _) = ([IpVersion::V4].into(), BTreeSet::new());
        for (reading, live, expected) in [
            (three(foreign(3)), &none, &v4),
            // Rules with other sources count for both families.
            (reading(vec![foreign(1)], 2), &none, &v4),
            (reading(vec![foreign(1), foreign(2)], 0), &none, &nothing),
            (reading((1..=4).map(foreign).collect(), 0), &none, &nothing),
            // There already: nothing is to be opened.
            (three(rule(3, "tcp|22|22|203.0.113.42/32", None)), &none, &nothing),
            // A rule that the next pass closes makes room.
            (three(rule(3, ours, Some((&me(), 60)))), &none, &nothing),
            (three(rule(3, ours, Some((&me(), 60)))), &live, &v4),
            (three(rule(3, ours, Some((&other(), 60)))), &none, &v4),
            (three(rule(3, ours, Some((&other(), -60)))), &none, &nothing),
        ] {
            assert_eq!(full_families(&reading, GROUP, &wanted, live, 3, &me()), *expected, "{reading:#?}");
        }
    }

    #[test]
    fn the_widest_rule_of_others_is_named() {
        let wanted = permission("tcp|22|22|203.0.113.42/32");
        let found = |rules: &[(&str, bool)]| {
            let rules = (1..).zip(rules).map(|(n, (text, ours))| rule(n, text, ours.then_some((&me(), 60)))).collect();
            let reading = reading(rules, 0);
            open_anyway(&reading, GROUP, &wanted).map(|rule| rule.id.0.clone())
        };
        let id = |number: usize| Some(format!("sgr-{number}"));
        assert_eq!(found(&[("tcp|22|22|203.0.113.42/32", false)]), None, "the same is no wider");
        assert_eq!(found(&[("tcp|443|443|0.0.0.0/0", false), ("tcp|22|22|10.0.0.0/8", false)]), None);
        assert_eq!(found(&[("tcp|22|22|203.0.113.0/24", false), ("tcp|22|22|0.0.0.0/0", false)]), id(2));
        assert_eq!(found(&[("-1|-1|-1|203.0.113.0/24", false)]), id(1));
        assert_eq!(found(&[("tcp|20|30|203.0.113.42/32", false), ("udp|22|22|0.0.0.0/0", false)]), id(1));
        assert_eq!(found(&[("tcp|22|22|203.0.113.0/24", true)]), None, "eg closes that one");
    }
}
