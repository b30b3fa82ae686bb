//! `DescribeSecurityGroupRules` (EC2 API reference).

use super::{ActionRequest, Answer, group, rule, rule_xml};
use crate::{
    ids,
    protocol::{
        errors::{self, Refusal},
        paging,
        xml::Xml,
    },
    stale,
    world::{SecurityGroupRule, World},
};

/// `tag:<key>` stands for any key.
const FILTERS: &[&str] = &["group-id", "security-group-rule-id", "tag:"];

pub(super) fn perform(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let world = &*world;
    let filters = ask.form.filters(FILTERS)?;
    check_groups(world, ask, &filters)?;
    let ids = ask.form.list("SecurityGroupRuleId");
    for id in &ids {
        rule(world, ask, id)?;
    }
    let wanted = |rule: &SecurityGroupRule| {
        (ids.is_empty() || ids.contains(&rule.id))
            && filters.iter().all(|(name, values)| field(rule, name).is_some_and(|value| values.contains(value)))
    };
    let shown = stale::rules(world, ask.stale, ask.now);
    let found = shown.values().filter_map(|rule| {
        let group = world.group(&rule.group, &ask.caller.account, ask.region)?;
        wanted(rule).then(|| (rule.id.clone(), (&**rule, group)))
    });
    let page = paging::cut(found.collect(), ask.form, ask.settings.page_limit, &paging::OF_GROUPS)?;
    let mut xml = Xml::default();
    xml.items("securityGroupRuleSet", page.items, |xml, (rule, group)| rule_xml::rule(xml, rule, group));
    if let Some(token) = page.next {
        xml.text("nextToken", token);
    }
    Ok(Answer::read(xml))
}

fn field<'a>(rule: &'a SecurityGroupRule, filter: &str) -> Option<&'a String> {
    match (filter, filter.strip_prefix("tag:")) {
        (_, Some(key)) => rule.tags.get(key),
        ("security-group-rule-id", None) => Some(&rule.id),
        (_, None) => Some(&rule.group),
    }
}

/// An unknown group is left out, as by every filter of EC2, unless the region is set to refuse it; a malformed id is
/// refused.
fn check_groups(world: &World, ask: &ActionRequest<'_>, filters: &[(String, Vec<String>)]) -> Result<(), Refusal> {
    for id in filters.iter().filter(|(name, _)| name == "group-id").flat_map(|(_, values)| values) {
        if !ids::well_formed(id, "sg-") {
            return Err(errors::malformed_group(id));
        }
        if ask.settings.unknown_group_refuses_rules {
            group(world, ask, id)?;
        }
    }
    Ok(())
}
