//! `RevokeSecurityGroupIngress` (EC2 API reference): by rule id, or by permission for hands; all, or none.

use super::{ActionRequest, Answer, group, rule, rule_xml};
use crate::{
    permission,
    protocol::errors::{self, Refusal},
    world::World,
};
use std::collections::BTreeSet;

pub(super) fn perform(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let group = group(world, ask, ask.form.required("GroupId")?)?.id.clone();
    let named = ask.form.list("SecurityGroupRuleId");
    let ids = if named.is_empty() { by_permission(world, ask, &group)? } else { by_id(world, ask, &group, named)? };
    let removed: Vec<_> = ids.iter().filter_map(|id| world.remove_rule(id, ask.now)).collect();
    let mut answer = Answer::done(ids.into_iter().collect());
    answer.xml.items("revokedSecurityGroupRuleSet", &removed, rule_xml::revoked);
    Ok(answer)
}

/// An inbound rule of this very group, or the whole call is refused.
fn by_id(world: &World, ask: &ActionRequest<'_>, group: &str, named: Vec<String>) -> Result<BTreeSet<String>, Refusal> {
    for id in &named {
        let rule = rule(world, ask, id)?;
        if rule.group != group || rule.egress {
            return Err(errors::no_rule(id));
        }
    }
    Ok(named.into_iter().collect())
}

/// "\[Non-default VPC\] If the values you specify do not match the existing rule's values, an
/// `InvalidPermission.NotFound` client error is returned, and no rules are revoked." Descriptions do not matter.
fn by_permission(world: &World, ask: &ActionRequest<'_>, group: &str) -> Result<BTreeSet<String>, Refusal> {
    let find = |(permission, _): permission::Described| {
        let rule = world.ingress_of(group).find(|rule| rule.permission == permission);
        let message = "The specified rule does not exist in this security group.";
        rule.map(|rule| rule.id.clone()).ok_or_else(|| Refusal::new("InvalidPermission.NotFound", message))
    };
    permission::requested(ask.form)?.into_iter().map(find).collect()
}
