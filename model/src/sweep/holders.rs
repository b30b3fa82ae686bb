//! The holders of a target's marked rules, for `eg who`. The judgement is that of the plan.

use crate::{
    Timestamp,
    collecting::lease_state,
    container_mark::as_written,
    ids::{InstallationId, RuleId, SessionId},
    net::permission::Permission,
    observation::{ObservedRule, Reading},
    tags::{Fit, LeaseState, Marks, SESSION},
};
use std::collections::BTreeSet;

/// One installation's lease on a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub installation: InstallationId,
    pub ours: bool,
    /// The tag's value, as read.
    pub value: String,
    /// The time in the value, if it parses.
    pub until: Option<Timestamp>,
    /// The state on the provider's clock.
    pub state: LeaseState,
}

/// A rule that carries marks, or that is ours by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedRule {
    pub id: RuleId,
    pub permission: Permission,
    /// Its description, as written by its opener; `None` where entries have no text.
    pub description: Option<String>,
    /// The session that opened it, from its tag.
    pub opener: Option<SessionId>,
    /// The worth of its marks.
    pub fit: Fit,
    /// Every lease, by installation; ours first.
    pub holders: Vec<Holder>,
}

/// The marked rules of a reading, by permission. `ours` are the rule ids that the record proves. Leases are judged by
/// the provider's clock; if that is unknown, every lease that parses counts as unexpired, as in the plan.
pub fn marked_rules(
    group: &str,
    reading: &Reading,
    installation: Option<&InstallationId>,
    ours: &BTreeSet<RuleId>,
) -> Vec<MarkedRule> {
    let look = |rule: &ObservedRule| {
        let marks = rule.marks(group);
        let fit = marks.fit(ours.contains(&rule.id))?;
        Some(MarkedRule {
            id: rule.id.clone(),
            permission: rule.permission,
            description: as_written(rule.description.as_deref()).map(str::to_owned),
            opener: rule.tags.get(SESSION).and_then(|id| id.parse().ok()).map(SessionId),
            fit,
            holders: holders(&marks, reading.provider_time, installation),
        })
    };
    let mut rules: Vec<MarkedRule> = reading.rules.iter().filter_map(look).collect();
    rules.sort_by(|a, b| (a.permission, &a.id).cmp(&(b.permission, &b.id)));
    rules
}

fn holders(marks: &Marks, provider: Option<Timestamp>, installation: Option<&InstallationId>) -> Vec<Holder> {
    let holder = |(id, value): (&InstallationId, &String)| Holder {
        installation: id.clone(),
        ours: Some(id) == installation,
        value: value.clone(),
        until: value.parse().ok(),
        state: lease_state(value, provider),
    };
    let mut all: Vec<Holder> = marks.leases.iter().map(holder).collect();
    all.sort_by_key(|holder| !holder.ours);
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::tags::{Misfit, description, lease_key, tags_for};
    use uuid::Uuid;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn installation(number: u128) -> InstallationId {
        InstallationId::from_uuid(Uuid::from_u128(number))
    }

    fn rule(id: &str, port: u16) -> ObservedRule {
        let permission: Permission = format!("tcp|{port}|{port}|203.0.113.42/32").parse().unwrap();
        let until = at("2026-02-27T18:00:00Z");
        let session = SessionId(Uuid::from_u128(9));
        let tags = tags_for("sg-1", &[permission], session, &installation(2), until);
        let description = Some(description(Some("bob@desk"), session, None));
        ObservedRule { id: RuleId(id.into()), permission, description, tags }
    }

    fn reading(rules: Vec<ObservedRule>) -> Reading {
        let now = at("2026-02-27T12:00:00Z");
        Reading {
            rules,
            other_ingress: 0,
            read_at: now,
            last_page_at: now,
            read_later: Default::default(),
            provider_time: Some(now),
            loose_marks: BTreeSet::new(),
            family: None,
        }
    }

    #[test]
    fn holders_ours_first_each_judged() {
        let mut shared = rule("sgr-1", 22);
        shared.tags.insert(lease_key(&installation(5)), "2026-02-27T17:00:00Z".into());
        shared.tags.insert(lease_key(&installation(1)), "2026-02-27T09:00:00Z".into());
        shared.tags.insert(lease_key(&installation(3)), "soon".into());
        let found = marked_rules("sg-1", &reading(vec![shared]), Some(&installation(5)), &BTreeSet::new());
        let [rule] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((rule.fit, rule.opener), (Fit::Genuine, Some(SessionId(Uuid::from_u128(9)))));
        let states: Vec<_> = rule.holders.iter().map(|holder| (holder.ours, holder.state)).collect();
        use LeaseState::{Expired, Odd, Unexpired};
        assert_eq!(states, [(true, Unexpired), (false, Expired), (false, Unexpired), (false, Odd)]);
        assert_eq!(rule.holders[3].until, None);
    }

    #[test]
    fn marks_that_do_not_fit() {
        let mut edited = rule("sgr-1", 22);
        edited.permission = "tcp|23|23|203.0.113.42/32".parse().unwrap();
        let mut stripped = rule("sgr-2", 443);
        stripped.tags.clear();
        let by_hand = ObservedRule { id: RuleId("sgr-3".into()), ..stripped.clone() };
        let seen = reading(vec![stripped, edited, by_hand]);
        let fits = |ours: &[&str]| {
            let ours = ours.iter().map(|id| RuleId((*id).into())).collect();
            let found = marked_rules("sg-1", &seen, None, &ours);
            found.into_iter().map(|rule| (rule.id.0, rule.fit)).collect::<Vec<_>>()
        };
        assert_eq!(fits(&[]), [("sgr-1".to_owned(), Fit::Misfit(Misfit::Digest))]);
        let both = [("sgr-1".to_owned(), Fit::OursById), ("sgr-2".to_owned(), Fit::OursById)];
        assert_eq!(fits(&["sgr-1", "sgr-2"]), both);
    }
}
