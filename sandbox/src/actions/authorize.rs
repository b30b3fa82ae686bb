//! `AuthorizeSecurityGroupIngress` (EC2 API reference): all of its permissions, or none.

use super::{ActionRequest, Answer, group, new_tags, rule_xml};
use crate::{
    permission::{self, Described, RulePermission},
    protocol::errors::{self, Refusal},
    world::World,
};
use std::collections::BTreeSet;

pub(super) fn perform(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let group = group(world, ask, ask.form.required("GroupId")?)?.clone();
    let wanted = permission::requested(ask.form)?;
    let tags = new_tags(ask, "security-group-rule")?;
    check_distinct(&wanted)?;
    check_new(world, &group.id, &wanted)?;
    check_quota(world, ask, &group.id, &wanted)?;

    let make = |described| world.add_rule(&group.id, described, &tags, ask.seed, ask.now);
    let made: Vec<_> = wanted.into_iter().map(make).collect();
    let mut answer = Answer::done(made.iter().map(|rule| rule.id.clone()).collect());
    // "Information about the inbound (ingress) security group rules that were added": each of them.
    answer.xml.items("securityGroupRuleSet", &made, |xml, rule| rule_xml::rule(xml, rule, &group));
    Ok(answer)
}

/// "The same permission must not appear multiple times": `InvalidParameterValue`.
fn check_distinct(wanted: &[Described]) -> Result<(), Refusal> {
    let distinct: BTreeSet<&RulePermission> = wanted.iter().map(|(permission, _)| permission).collect();
    match distinct.len() == wanted.len() {
        true => Ok(()),
        false => Err(errors::invalid_value("The same permission must not appear multiple times")),
    }
}

/// Tags and descriptions do not make two rules different.
fn check_new(world: &World, group: &str, wanted: &[Described]) -> Result<(), Refusal> {
    let there = |permission: &RulePermission| world.ingress_of(group).any(|rule| rule.permission == *permission);
    match wanted.iter().find(|(permission, _)| there(permission)) {
        Some((permission, _)) => Err(errors::duplicate(permission)),
        None => Ok(()),
    }
}

/// Inbound rules per group, IPv4 and IPv6 apart (VPC User Guide, "Amazon VPC quotas").
fn check_quota(world: &World, ask: &ActionRequest<'_>, group: &str, wanted: &[Described]) -> Result<(), Refusal> {
    let there = world.ingress_of(group).map(|rule| &rule.permission);
    let (mut v4, mut v6) = (0_usize, 0_usize);
    for permission in there.chain(wanted.iter().map(|(permission, _)| permission)) {
        let (counts_v4, counts_v6) = permission.families();
        v4 += usize::from(counts_v4);
        v6 += usize::from(counts_v6);
    }
    // A full family refuses only what adds to it.
    let adds = |family: fn(&RulePermission) -> bool| wanted.iter().any(|(permission, _)| family(permission));
    let most = ask.settings.rules_per_group;
    let full = (v4 > most && adds(|p| p.families().0)) || (v6 > most && adds(|p| p.families().1));
    let message = "The maximum number of rules per security group has been reached.";
    if full { Err(Refusal::new("RulesPerSecurityGroupLimitExceeded", message)) } else { Ok(()) }
}
