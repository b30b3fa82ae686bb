//! Rules and tags in answers: the API reference's `SecurityGroupRule`, `RevokedSecurityGroupRule` and `Tag`.

use crate::{
    permission::{RulePermission, Source},
    protocol::xml::Xml,
    tag_history::Tags,
    world::{Group, SecurityGroupRule},
};
use ipnet::IpNet;

/// `SecurityGroupRule`.
pub(super) fn rule(xml: &mut Xml, rule: &SecurityGroupRule, group: &Group) {
    let Group { account, region, .. } = group;
    xml.text("securityGroupRuleId", &rule.id);
    xml.text("groupId", &rule.group);
    xml.text("groupOwnerId", account);
    xml.text("isEgress", rule.egress);
    permission(xml, &rule.permission);
    if let Source::Group(id) = &rule.permission.source {
        xml.within("referencedGroupInfo", |xml| {
            xml.text("groupId", id);
            xml.text("userId", account);
        });
    }
    described(xml, rule);
    tags(xml, &rule.tags);
    let arn = format!("arn:aws:ec2:{region}:{account}:security-group-rule/{}", rule.id);
    xml.text("securityGroupRuleArn", arn);
}

/// `RevokedSecurityGroupRule`.
pub(super) fn revoked(xml: &mut Xml, rule: &SecurityGroupRule) {
    xml.text("securityGroupRuleId", &rule.id);
    xml.text("groupId", &rule.group);
    xml.text("isEgress", rule.egress);
    permission(xml, &rule.permission);
    if let Source::Group(id) = &rule.permission.source {
        xml.text("referencedGroupId", id);
    }
    described(xml, rule);
}

fn described(xml: &mut Xml, rule: &SecurityGroupRule) {
    if let Some(description) = &rule.description {
        xml.text("description", description);
    }
}

fn permission(xml: &mut Xml, permission: &RulePermission) {
    xml.text("ipProtocol", &permission.protocol);
    xml.text("fromPort", permission.from);
    xml.text("toPort", permission.to);
    match &permission.source {
        Source::Cidr(IpNet::V4(cidr)) => xml.text("cidrIpv4", cidr),
        Source::Cidr(IpNet::V6(cidr)) => xml.text("cidrIpv6", cidr),
        Source::PrefixList(id) => xml.text("prefixListId", id),
        Source::Group(_) => {}
    }
}

/// `tagSet`.
pub(super) fn tags(xml: &mut Xml, tags: &Tags) {
    xml.items("tagSet", tags, |xml, (key, value)| {
        xml.text("key", key);
        xml.text("value", value);
    });
}
