//! Readings of a target, and the proof of ownership that only a reading can give.

use crate::{
    Timestamp,
    failure::Failure,
    ids::{InstallationId, RuleId},
    net::{address::IpVersion, permission::Permission},
    tags::Marks,
    target::TargetKey,
};
use std::collections::{BTreeMap, BTreeSet};

/// An ingress rule with a CIDR, as it exists at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRule {
    pub id: RuleId,
    pub permission: Permission,
    pub description: Option<String>,
    pub tags: BTreeMap<String, String>,
}

impl ObservedRule {
    /// Its tags, judged against its group, permission and description.
    pub fn marks(&self, group: &str) -> Marks {
        Marks::read(group, &self.permission, self.description.as_deref(), &self.tags)
    }
}

/// A complete reading of one target: every page, or it is not a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Ingress rules that allow CIDRs. Rules with other sources never leave the provider's module.
    pub rules: Vec<ObservedRule>,
    /// The number of further ingress rules (from a group, a prefix list). `eg` ignores them, but they count for the
    /// quota.
    pub other_ingress: usize,
    /// The time of the first page's request, on the local clock. Conclusions from the whole reading have this date.
    pub read_at: Timestamp,
    /// The time of the last page's request: long after the first for thousands of rules over a slow link.
    pub last_page_at: Timestamp,
    /// The rules of later pages, and those read again by their ids since, each with the time of its request.
    pub read_later: BTreeMap<RuleId, Timestamp>,
    /// The provider's clock (`Date` of the answer), if known.
    pub provider_time: Option<Timestamp>,
    /// Marks on the container that name no rule in it ([`crate::container_mark::loose_marks`]).
    pub loose_marks: BTreeSet<(InstallationId, String)>,
    /// The only address family that the target takes, if it takes one (a prefix list holds IPv4 or IPv6, never both).
    pub family: Option<IpVersion>,
}

/// The result of reading a target; never a guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    Complete(Reading),
    /// The target is gone, and with it its rules; confirmed, see [`absence_is_believed`].
    Missing,
    /// The target is there and cannot be read back: the record alone tells what is open ([`crate::plan::plan_blind`]).
    NoReadBack,
    /// Unknown. No conclusion is allowed.
    Unavailable(Failure),
}

/// True if a "not found" is believed: it was said to the account on record, or the kind of firewall has no accounts, and
/// the target was first missing at least a settle window ago. With a wrong profile, account or region the provider says
/// "not found" as well.
pub fn absence_is_believed(same_account: bool, first_seen_missing: Option<Timestamp>, now: Timestamp) -> bool {
    same_account && first_seen_missing.is_some_and(|first| now - first > crate::SETTLE_WINDOW)
}

/// The proof that a rule may be revoked or tagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// The record holds its id, from an authorize answer or from our tag.
    LedgerId,
    /// Its kind carries no marks, and an attempt of ours whose outcome is unknown may have opened it.
    Attempt,
    /// It carries our own lease tag, and its marks are [genuine](crate::tags::Fit::Genuine).
    LeaseTag,
    /// Its marks are genuine and no lease holds it: any installation may close it, or join it.
    Marked,
    /// Its marks are genuine, and it carries the lease tag of the installation that the user named (`eg sweep
    /// --revoke-all`).
    NamedOwner,
}

/// A rule that `eg` may change, as seen in a reading. Only [`crate::plan`] and [`crate::sweep::judge`] make these, from
/// a complete reading, so a revoke of any other rule does not compile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnedRule {
    target: TargetKey,
    id: RuleId,
    permission: Permission,
    proof: Proof,
    read_at: Timestamp,
    target_read_at: Timestamp,
}

impl OwnedRule {
    pub(crate) fn seen(target: &TargetKey, rule: &ObservedRule, proof: Proof, reading: &Reading) -> Self {
        Self {
            target: target.clone(),
            id: rule.id.clone(),
            permission: rule.permission,
            proof,
            read_at: reading.rule_read_at(&rule.id),
            target_read_at: reading.read_at,
        }
    }

    pub fn target(&self) -> &TargetKey {
        &self.target
    }

    pub fn id(&self) -> &RuleId {
        &self.id
    }

    pub fn permission(&self) -> &Permission {
        &self.permission
    }

    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// The time at which the rule was read, by its page or alone. A revoke needs a recent reading of the rule.
    pub fn read_at(&self) -> Timestamp {
        self.read_at
    }

    /// The time at which the reading of its whole target began. Rules that the reading missed are older.
    pub fn target_read_at(&self) -> Timestamp {
        self.target_read_at
    }
}

/// A change that is known to have happened. It is applied to a reading, which saves reading again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An authorize answer listed these rules.
    Added(Vec<ObservedRule>),
    /// A revoke was confirmed.
    Removed(RuleId),
    Tagged(RuleId, BTreeMap<String, String>),
    /// Tags were deleted, by key.
    Untagged(RuleId, Vec<String>),
}

impl Reading {
    /// The least number of ingress rules that count for this family's quota. A rule that names a group counts in both
    /// families; one that names a prefix list counts as many times as the list can hold entries (VPC User Guide,
    /// "Amazon VPC quotas").
    pub fn ingress_rules(&self, family: IpVersion) -> usize {
        self.rules.iter().filter(|rule| rule.permission.ip_version() == family).count() + self.other_ingress
    }

    /// When this rule was read.
    pub fn rule_read_at(&self, rule: &RuleId) -> Timestamp {
        self.read_later.get(rule).copied().unwrap_or(self.read_at)
    }

    /// Puts what was read of some rules by their ids, at `at`, in the place of what the pages showed of them. A rule
    /// that was asked for and not found is not there any more.
    pub fn read_again(&mut self, asked: &BTreeSet<RuleId>, found: Vec<ObservedRule>, at: Timestamp) {
        self.rules.retain(|rule| !asked.contains(&rule.id));
        for rule in found.into_iter().filter(|rule| asked.contains(&rule.id)) {
            self.read_later.insert(rule.id.clone(), at);
            self.rules.push(rule);
        }
    }

    /// The same reading with a known change laid over it. Joins are not laid over: those count only when seen.
    pub fn lay_over(&mut self, effect: Effect) {
        match effect {
            Effect::Added(rules) => {
                for rule in rules {
                    self.rules.retain(|known| known.id != rule.id);
                    self.rules.push(rule);
                }
            }
            Effect::Removed(id) => self.rules.retain(|rule| rule.id != id),
            Effect::Tagged(id, tags) => {
                for rule in self.rules.iter_mut().filter(|rule| rule.id == id) {
                    rule.tags.extend(tags.clone());
                }
            }
            Effect::Untagged(id, keys) => {
                for rule in self.rules.iter_mut().filter(|rule| rule.id == id) {
                    rule.tags.retain(|key, _| !keys.contains(key));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use chrono::TimeDelta;

    fn rule(id: &str, port: u16) -> ObservedRule {
        let permission = format!("tcp|{port}|{port}|203.0.113.42/32").parse().unwrap();
        ObservedRule { id: RuleId(id.to_owned()), permission, description: None, tags: BTreeMap::new() }
    }

    /// A page of its own dates a rule; so does another look at it alone, which also tells that it is gone or edited.
    /// The date of conclusions from the whole reading stays.
    #[test]
    fn a_rule_is_as_old_as_the_last_look_at_it() {
        let first = Timestamp::from_timestamp(1_772_150_400, 0).unwrap();
        let (page, later) = (first + TimeDelta::seconds(8), first + TimeDelta::seconds(13));
        let id = |id: &str| RuleId(id.to_owned());
        let mut reading = Reading {
            rules: vec![rule("sgr-1", 22), rule("sgr-2", 443), rule("sgr-3", 80)],
            other_ingress: 0,
            read_at: first,
            last_page_at: page,
            read_later: BTreeMap::from([(id("sgr-3"), page)]),
            provider_time: None,
            loose_marks: BTreeSet::new(),
            family: None,
        };
        assert_eq!(["sgr-1", "sgr-3"].map(|rule| reading.rule_read_at(&id(rule))), [first, page]);

        let asked = ["sgr-1", "sgr-2"].map(id).into();
        reading.read_again(&asked, vec![rule("sgr-1", 9), rule("sgr-4", 22)], later);
        let shown: Vec<_> =
            reading.rules.iter().map(|rule| (rule.id.0.as_str(), rule.permission.to_string())).collect();
        let (old, new) = (rule("", 80).permission.to_string(), rule("", 9).permission.to_string());
        assert_eq!(
            shown,
            [("sgr-3", old), ("sgr-1", new)],
            "one is edited, one is gone, and nobody asked for the fourth"
        );
        assert_eq!(reading.rule_read_at(&id("sgr-1")), later);
        let target = TargetKey::new("aws", "security-group", "eu-west-1", "sg-1");
        let owned = OwnedRule::seen(&target, &reading.rules[1], Proof::LedgerId, &reading);
        assert_eq!((owned.read_at(), owned.target_read_at()), (later, first));
    }
}
