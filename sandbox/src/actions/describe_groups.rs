//! `DescribeSecurityGroups` (EC2 API reference): one unknown id fails the call, an unknown value of a filter is left
//! out. Values of filters may hold wildcards.

use super::{ActionRequest, Answer, group, groups, rule_xml};
use crate::{
    permission::Source,
    protocol::{
        errors::{self, Refusal},
        paging,
        xml::Xml,
    },
    stale, wildcard,
    world::{Group, SecurityGroupRule, World},
};
use ipnet::IpNet;
use std::collections::BTreeMap;

const FILTERS: &[&str] = &["group-id", "group-name", "owner-id", "vpc-id", "description", "tag:"];

pub(super) fn perform(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let world = &*world;
    let ids = ask.form.list("GroupId");
    for id in &ids {
        group(world, ask, id)?;
    }
    let names = ask.form.list("GroupName");
    let here = |group: &&Group| group.account == ask.caller.account && group.region == ask.region;
    if let Some(name) = names.iter().find(|name| !world.groups().filter(here).any(|group| group.name == **name)) {
        return Err(errors::no_group(name));
    }
    let filters = ask.form.filters(FILTERS)?;
    let named = |group: &&Group| {
        (ids.is_empty() || ids.contains(&group.id))
            && (names.is_empty() || names.contains(&group.name))
            && filters.iter().all(|(name, values)| takes(values, field(group, name)))
    };
    let found = world.groups().filter(here).filter(named).map(|group| (group.id.clone(), group)).collect();
    let page = paging::cut(found, ask.form, ask.settings.page_limit, &paging::OF_GROUPS)?;

    let rules = stale::rules(world, ask.stale, ask.now);
    let mut xml = Xml::default();
    xml.items("securityGroupInfo", &page.items, |xml, group| {
        let own = rules.values().map(|rule| &**rule).filter(|rule| rule.group == group.id);
        item(xml, group, &own.collect::<Vec<_>>());
    });
    if let Some(token) = page.next {
        xml.text("nextToken", token);
    }
    Ok(Answer::read(xml))
}

fn takes(values: &[String], field: Option<&String>) -> bool {
    field.is_some_and(|field| values.iter().any(|value| wildcard::matches(value, field)))
}

/// The field that a filter looks at; `None` if the group has no such tag.
fn field<'a>(group: &'a Group, filter: &str) -> Option<&'a String> {
    match filter {
        "group-name" => Some(&group.name),
        "owner-id" => Some(&group.account),
        "vpc-id" => Some(&group.vpc),
        "description" => Some(&group.description),
        "group-id" => Some(&group.id),
        tag => group.tags.get(tag.strip_prefix("tag:")?),
    }
}

/// `SecurityGroup`.
fn item(xml: &mut Xml, group: &Group, rules: &[&SecurityGroupRule]) {
    xml.text("ownerId", &group.account);
    xml.text("groupName", &group.name);
    xml.text("groupDescription", &group.description);
    xml.text("groupId", &group.id);
    xml.text("vpcId", &group.vpc);
    for (name, egress) in [("ipPermissions", false), ("ipPermissionsEgress", true)] {
        permissions(xml, name, rules.iter().copied().filter(|rule| rule.egress == egress));
    }
    rule_xml::tags(xml, &group.tags);
    xml.text("securityGroupArn", groups::arn(group));
}

/// `IpPermission`s: rules with the same protocol and ports are one.
fn permissions<'a>(xml: &mut Xml, name: &str, rules: impl Iterator<Item = &'a SecurityGroupRule>) {
    let mut by_ports: BTreeMap<_, Vec<&SecurityGroupRule>> = BTreeMap::new();
    for rule in rules {
        let ports = (rule.permission.protocol.as_str(), rule.permission.from, rule.permission.to);
        by_ports.entry(ports).or_default().push(rule);
    }
    xml.items(name, by_ports, |xml, ((protocol, from, to), rules)| {
        xml.text("ipProtocol", protocol);
        if protocol != "-1" {
            xml.text("fromPort", from);
            xml.text("toPort", to);
        }
        sources(xml, &rules);
    });
}

fn sources(xml: &mut Xml, rules: &[&SecurityGroupRule]) {
    type Pick = fn(&Source) -> Option<String>;
    let lists: [(&str, &str, Pick); 4] = [
        ("groups", "groupId", |source| match source {
            Source::Group(id) => Some(id.clone()),
            _ => None,
        }),
        ("ipRanges", "cidrIp", |source| match source {
            Source::Cidr(IpNet::V4(cidr)) => Some(cidr.to_string()),
            _ => None,
        }),
        ("ipv6Ranges", "cidrIpv6", |source| match source {
            Source::Cidr(IpNet::V6(cidr)) => Some(cidr.to_string()),
            _ => None,
        }),
        ("prefixListIds", "prefixListId", |source| match source {
            Source::PrefixList(id) => Some(id.clone()),
            _ => None,
        }),
    ];
    for (list, field, pick) in lists {
        let picked = rules.iter().filter_map(|rule| Some((pick(&rule.permission.source)?, &rule.description)));
        xml.items(list, picked, |xml, (value, description)| {
            xml.text(field, value);
            if let Some(description) = description {
                xml.text("description", description);
            }
        });
    }
}
