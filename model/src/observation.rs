//! Readings of a target, and the proof of ownership that only a reading can give.

use crate::{
    Timestamp, address::IpVersion, failure::Failure, ids::RuleId, marks::Marks, permission::Permission,
    target::TargetKey,
};
use std::collections::BTreeMap;

/// An ingress rule with a CIDR, as it exists at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRule {
    /// Its id.
    pub id: RuleId,
    /// What it allows.
    pub permission: Permission,
    /// Its description.
    pub description: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl ObservedRule {
    /// What its tags say, judged against the rest of it.
    #[must_use]
    pub fn marks(&self, group: &str) -> Marks {
        Marks::read(group, &self.permission, self.description.as_deref(), &self.tags)
    }
}

/// A complete reading of one target: every page, or it is not a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Ingress rules that allow CIDRs. Rules with other sources never leave the provider's module.
    pub rules: Vec<ObservedRule>,
    /// How many further ingress rules there are (from a group, a prefix list): nothing to `eg`, but they take room.
    pub other_ingress: usize,
    /// When the answer came, on the local clock.
    pub read_at: Timestamp,
    /// The provider's clock (`Date` of the answer), where it told.
    pub provider_time: Option<Timestamp>,
    /// The account the target belongs to, where the answer told.
    pub account: Option<String>,
}

/// What one look at a target came to; never a guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Everything that is there.
    Complete(Reading),
    /// The target is gone, and with it its rules; confirmed, see [`absence_is_believed`].
    Missing,
    /// Not known. Nothing may be concluded.
    Unavailable(Failure),
}

/// Whether a "not found" is believed: only when the caller's account is the one in the snapshot, and it was first
/// seen at least a settle window ago. A wrong profile, account or region says "not found" too.
#[must_use]
pub fn absence_is_believed(
    expected_account: Option<&str>,
    caller_account: Option<&str>,
    first_seen_missing: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let same_account = expected_account.is_some() && expected_account == caller_account;
    let settled = first_seen_missing.is_some_and(|first| now - first > crate::SETTLE_WINDOW);
    same_account && settled
}

/// Why a rule may be revoked or tagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// The ledger holds its id, from an authorize answer or from adopting it under our tag.
    LedgerId,
    /// It carries our own lease tag, and its marks are [genuine](crate::marks::Fit::Genuine).
    LeaseTag,
    /// Its marks are genuine and no lease holds it: any installation may close it, or join it.
    Marked,
    /// Its marks are genuine, and it carries the lease tag of the installation that somebody named (`eg sweep
    /// --revoke-all`).
    NamedOwner,
}

/// A rule that `eg` may change, as seen in a reading. Only [`crate::plan`] and [`crate::sweep`] make these, only
/// from a complete reading, so a revoke of anything else does not compile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnedRule {
    target: TargetKey,
    id: RuleId,
    permission: Permission,
    proof: Proof,
    read_at: Timestamp,
}

impl OwnedRule {
    pub(crate) fn seen(target: &TargetKey, rule: &ObservedRule, proof: Proof, read_at: Timestamp) -> Self {
        Self { target: target.clone(), id: rule.id.clone(), permission: rule.permission, proof, read_at }
    }

    /// Its target.
    #[must_use]
    pub fn target(&self) -> &TargetKey {
        &self.target
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &RuleId {
        &self.id
    }

    /// What it allowed when it was read.
    #[must_use]
    pub fn permission(&self) -> &Permission {
        &self.permission
    }

    /// Why it may be changed.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// When the reading was made; a revoke goes out on a fresh one only.
    #[must_use]
    pub fn read_at(&self) -> Timestamp {
        self.read_at
    }
}

/// A change that is known to have happened, laid over a reading so that no second look is needed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An authorize answer listed these rules.
    Added(Vec<ObservedRule>),
    /// A revoke was confirmed.
    Removed(RuleId),
    /// Tags were written.
    Tagged(RuleId, BTreeMap<String, String>),
    /// Tags were deleted, by key.
    Untagged(RuleId, Vec<String>),
}

impl Reading {
    /// How many ingress rules take room in this family's quota, at least: a rule that names a group counts in both
    /// families, and one that names a prefix list counts as many as that may hold (VPC User Guide, "Amazon VPC
    /// quotas").
    #[must_use]
    pub fn ingress_rules(&self, family: IpVersion) -> usize {
        self.rules.iter().filter(|rule| rule.permission.ip_version() == family).count() + self.other_ingress
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
