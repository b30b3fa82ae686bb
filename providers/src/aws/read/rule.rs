//! EC2's rules, read and written.

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, ResourceType, SecurityGroupRule, Tag, TagSpecification};
use eg_model::{
    ids::RuleId,
    net::permission::{Permission, Protocol},
    observation::ObservedRule,
};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// A rule of an answer, as `eg` takes it.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// An ingress rule that allows a CIDR.
    Rule(ObservedRule),
    /// Egress.
    Egress,
    /// An ingress rule from a group or a prefix list, or one that cannot be read and is certainly not ours.
    Other,
    /// A rule that may be ours and cannot be read, with the reason. It makes the whole reading unusable.
    Unreadable(String),
}

/// The tags of an answer.
pub fn tags_of(tags: &[Tag]) -> BTreeMap<String, String> {
    tags.iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))).collect()
}

/// The permission of a rule, where it has exactly one CIDR and everything in it makes sense.
fn permission_of(rule: &SecurityGroupRule) -> Option<Permission> {
    let cidr: IpNet = match (rule.cidr_ipv4(), rule.cidr_ipv6()) {
        (Some(v4), None) => IpNet::V4(v4.parse().ok()?),
        (None, Some(v6)) => IpNet::V6(v6.parse().ok()?),
        _ => return None,
    };
    permission(rule.ip_protocol()?, rule.from_port(), rule.to_port(), cidr)
}

fn permission(protocol: &str, from: Option<i32>, to: Option<i32>, cidr: IpNet) -> Option<Permission> {
    let protocol = Protocol::from_ec2(protocol)?;
    let (from, to) = match protocol {
        Protocol::All | Protocol::Other(_) => (-1, -1),
        Protocol::Icmp | Protocol::Icmpv6 => (from.unwrap_or(-1), to.unwrap_or(-1)),
        Protocol::Tcp | Protocol::Udp => (from?, to?),
    };
    Some(Permission::new(protocol, from, to, cidr))
}

/// The permissions of a group to CIDRs, and the number of other sources. Sources that cannot be read count among these.
pub(super) fn allowed(permissions: &[IpPermission]) -> (Vec<Permission>, usize) {
    let mut read = Vec::new();
    let mut others = 0;
    for one in permissions {
        others += one.user_id_group_pairs().len() + one.prefix_list_ids().len();
        let v4 = one.ip_ranges().iter().map(|range| range.cidr_ip()?.parse().ok().map(IpNet::V4));
        let v6 = one.ipv6_ranges().iter().map(|range| range.cidr_ipv6()?.parse().ok().map(IpNet::V6));
        for cidr in v4.chain(v6) {
            let allowed = cidr.and_then(|cidr| permission(one.ip_protocol()?, one.from_port(), one.to_port(), cidr));
            match allowed {
                Some(allowed) => read.push(allowed),
                None => others += 1,
            }
        }
    }
    read.sort();
    (read, others)
}

/// Reads one rule of an answer. A rule that cannot be read is left out only when it cannot be one of ours, for it
/// carries no tag of ours; nothing is guessed.
pub fn read(rule: &SecurityGroupRule) -> Read {
    let Some(id) = rule.security_group_rule_id().filter(|id| !id.is_empty()) else {
        return Read::Unreadable("a rule without an id".to_owned());
    };
    match rule.is_egress() {
        Some(true) => return Read::Egress,
        Some(false) => {}
        None => return Read::Unreadable(format!("{id} does not say whether it is an ingress rule")),
    }
    if rule.cidr_ipv4().is_none() && rule.cidr_ipv6().is_none() {
        return Read::Other;
    }
    let tags = tags_of(rule.tags());
    match permission_of(rule) {
        Some(permission) => {
            let description = rule.description().map(str::to_owned);
            Read::Rule(ObservedRule { id: RuleId(id.to_owned()), permission, description, tags })
        }
        None if tags.keys().any(|key| key.starts_with("eg:")) => {
            Read::Unreadable(format!("{id} carries tags of eg, and what it allows cannot be read"))
        }
        None => Read::Other,
    }
}

/// A permission as EC2 takes it; ports are left out for "every protocol" (EC2 API reference, `IpPermission`).
pub fn ip_permission(permission: &Permission, description: Option<&str>) -> IpPermission {
    let ported = !matches!(permission.protocol(), Protocol::All | Protocol::Other(_));
    let ports = IpPermission::builder()
        .ip_protocol(permission.protocol().to_string())
        .set_from_port(ported.then(|| permission.from_port()))
        .set_to_port(ported.then(|| permission.to_port()));
    let cidr = permission.cidr().to_string();
    let description = description.map(str::to_owned);
    match permission.cidr() {
        IpNet::V4(_) => ports.ip_ranges(IpRange::builder().cidr_ip(cidr).set_description(description).build()),
        IpNet::V6(_) => ports.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).set_description(description).build()),
    }
    .build()
}

/// Tags as EC2 takes them.
pub fn ec2_tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Tags for the rules that a call makes; `None` when there are none to give.
pub fn tag_specification(tags: &BTreeMap<String, String>) -> Option<Vec<TagSpecification>> {
    let specification = TagSpecification::builder()
        .resource_type(ResourceType::SecurityGroupRule)
        .set_tags(Some(ec2_tags(tags)))
        .build();
    (!tags.is_empty()).then(|| vec![specification])
}
