//! `ModifySecurityGroupRules` (EC2 API reference): what a person does in the console. Ids and tags stay.

use super::{ActionRequest, Answer, group, rule};
use crate::{
    permission::{self, RulePermission},
    protocol::{
        errors::{self, Refusal},
        form::Form,
    },
    world::{SecurityGroupRule, World},
};

/// A rule and what it shall be.
struct RuleChange {
    id: String,
    permission: RulePermission,
    /// `None`: as it was.
    description: Option<String>,
}

pub(super) fn perform(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let group = group(world, ask, ask.form.required("GroupId")?)?.id.clone();
    let mut changes = Vec::new();
    for part in ask.form.parts("SecurityGroupRule") {
        changes.push(change(world, ask, &group, &part)?);
    }
    if changes.is_empty() {
        return Err(errors::missing_parameter("SecurityGroupRules"));
    }
    let ids = changes.iter().map(|change| change.id.clone()).collect();
    for RuleChange { id, permission, description } in changes {
        if let Some(rule) = world.rule_mut(&id) {
            rule.permission = permission;
            rule.description = description.or_else(|| rule.description.take());
        }
    }
    Ok(Answer::done(ids))
}

/// An inbound rule of this group; what it shall be must not be there yet, unless it is the rule itself.
fn change(world: &World, ask: &ActionRequest<'_>, group: &str, part: &Form) -> Result<RuleChange, Refusal> {
    let rule = rule(world, ask, part.required("SecurityGroupRuleId")?)?;
    if rule.group != group {
        return Err(errors::no_rule(&rule.id));
    }
    let wanted = Form::new(
        part.fields()
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("SecurityGroupRule.")?.to_owned(), value.clone()))),
    );
    let permission = permission::rewritten(&wanted)?;
    let twin = |other: &&SecurityGroupRule| {
        other.group == group && other.egress == rule.egress && other.id != rule.id && other.permission == permission
    };
    if world.rules().any(|other| twin(&other)) {
        return Err(errors::duplicate(permission));
    }
    let description = wanted.get("Description").map(permission::description).transpose()?;
    Ok(RuleChange { id: rule.id.clone(), permission, description })
}
