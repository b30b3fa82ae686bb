//! The provider call of a step: tag, untag or revoke.

use crate::reconcile::apply::release::release;
use eg_model::{
    failure::Failure,
    ids::{InstallationId, RuleId},
    observation::{Effect, OwnedRule},
    plan::Step,
    tags::{lease_key, lease_value, tags_again},
    target::TargetKey,
};
use eg_providers::{Answered, Firewall};
use std::{
    collections::{BTreeMap, BTreeSet},
    slice::from_ref,
};

type RuleTags = BTreeMap<String, String>;

/// A call that changes rules by their ids.
pub(super) enum RuleCall<'s> {
    Tag(&'s [OwnedRule], RuleTags),
    Untag(&'s OwnedRule, RuleTags),
    /// Takes our lease tag with this key and value off a rule.
    Release(&'s OwnedRule, String, &'s str),
    Revoke(&'s [OwnedRule]),
}

impl<'s> RuleCall<'s> {
    /// The call of a step; `None` for the steps that change no rule by its id.
    pub(super) fn of(step: &'s Step, target: &TargetKey, us: &InstallationId, extra: &RuleTags) -> Option<Self> {
        let lease_tag = |until| RuleTags::from([(lease_key(us), lease_value(until))]);
        Some(match step {
            Step::MakeRoom { rule, tags } => Self::Untag(rule, tags.clone()),
            Step::Join { rule, until, .. } => Self::Tag(from_ref(rule), lease_tag(*until)),
            Step::Restore { rule, until, opener, .. } => {
                let ours = tags_again(&target.id, *rule.permission(), opener.clone(), us, *until);
                Self::Tag(from_ref(rule), extra.clone().into_iter().chain(ours).collect())
            }
            Step::Retag { rules, until } => Self::Tag(rules, lease_tag(*until)),
            Step::Leave { rule, value } => Self::Release(rule, lease_key(us), value),
            Step::Revoke { rules } | Step::Collect { rules } => Self::Revoke(rules),
            Step::Authorize { .. }
            | Step::Unmark { .. }
            | Step::Undo { .. }
            | Step::SetAutoClose { .. }
            | Step::DropAutoClose { .. } => return None,
        })
    }

    /// Sends the call. The answer names the rules that a revoke has closed.
    pub(super) async fn send(&self, firewall: &dyn Firewall) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        let answer = match self {
            Self::Tag(rules, tags) => firewall.tag(rules, tags).await?,
            Self::Untag(rule, tags) => firewall.untag(rule, tags).await?,
            Self::Release(rule, key, value) => release(firewall, rule, key, value).await?,
            Self::Revoke(rules) => return firewall.revoke(rules).await,
        };
        Ok(Answered { value: BTreeSet::new(), request_id: answer.request_id })
    }

    /// The effects of the call on the reading, once it has succeeded; of a revoke, those on the rules in `closed`.
    pub(super) fn effects(self, closed: impl Fn(&RuleId) -> bool) -> Vec<Effect> {
        let id = |rule: &OwnedRule| rule.id().clone();
        match self {
            Self::Tag(rules, tags) => rules.iter().map(|rule| Effect::Tagged(id(rule), tags.clone())).collect(),
            Self::Untag(rule, tags) => vec![Effect::Untagged(id(rule), tags.into_keys().collect())],
            Self::Release(rule, key, _) => vec![Effect::Untagged(id(rule), vec![key])],
            Self::Revoke(rules) => rules.iter().map(id).filter(closed).map(Effect::Removed).collect(),
        }
    }
}

/// The step as several steps of one item each: the provider refuses a batch whole, and then only the bad item shall wait.
pub(super) fn split(step: &Step) -> Vec<Step> {
    let one = |rule: &OwnedRule| vec![rule.clone()];
    match step {
        Step::Authorize { session, until, permissions } => {
            let one = |permission| Step::Authorize { session: *session, until: *until, permissions: vec![permission] };
            permissions.iter().copied().map(one).collect()
        }
        Step::Retag { until, rules } => {
            rules.iter().map(|rule| Step::Retag { until: *until, rules: one(rule) }).collect()
        }
        Step::Revoke { rules } => rules.iter().map(|rule| Step::Revoke { rules: one(rule) }).collect(),
        Step::Collect { rules } => rules.iter().map(|rule| Step::Collect { rules: one(rule) }).collect(),
        other => vec![other.clone()],
    }
}
