//! `DescribeNetworkInterfaces`, `DescribeNetworkAcls`, `DescribeRouteTables` and `DescribeInstances` (EC2 API reference),
//! as far as `eg` reads them. An unknown value of a filter is left out of the answer.

use super::{ActionRequest, Answer};
use crate::{
    network::{AclEntry, Interface, RouteEntry, Subnet},
    protocol::{errors::Refusal, paging, xml::Xml},
    wildcard,
    world::World,
};
use ipnet::IpNet;

const INTERFACE_FILTERS: &[&str] = &[
    "network-interface-id",
    "group-id",
    "addresses.private-ip-address",
    "addresses.association.public-ip",
    "ipv6-addresses.ipv6-address",
];

pub(super) fn interfaces(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let world = &*world;
    let filters = ask.form.filters(INTERFACE_FILTERS)?;
    let here = |one: &&Interface| one.account == ask.caller.account && one.region == ask.region;
    let meant = |one: &&Interface| {
        filters.iter().all(|(name, values)| {
            one.field(name).iter().any(|field| values.iter().any(|value| wildcard::matches(value, field)))
        })
    };
    let found = world.network.interfaces.values().filter(here).filter(meant);
    let found = found.map(|one| (one.id.clone(), one)).collect();
    let page = paging::cut(found, ask.form, ask.settings.page_limit, &paging::OF_GROUPS)?;
    let mut xml = Xml::default();
    xml.items("networkInterfaceSet", page.items, |xml, one| interface(xml, one, world));
    if let Some(token) = page.next {
        xml.text("nextToken", token);
    }
    Ok(Answer::read(xml))
}

/// `NetworkInterface`.
fn interface(xml: &mut Xml, one: &Interface, world: &World) {
    xml.text("networkInterfaceId", &one.id);
    xml.text("subnetId", &one.subnet);
    xml.text("vpcId", &one.vpc);
    xml.text("description", &one.description);
    xml.text("ownerId", &one.account);
    xml.text("status", "in-use");
    xml.text("interfaceType", &one.kind);
    xml.items("groupSet", &one.groups, |xml, id| {
        xml.text("groupId", id);
        xml.text("groupName", world.any_group(id).map_or("", |group| group.name.as_str()));
    });
    if let Some(instance) = &one.instance {
        xml.within("attachment", |xml| {
            xml.text("instanceId", instance);
            xml.text("status", "attached");
        });
    }
    xml.items("privateIpAddressesSet", one.ipv4.iter().enumerate(), |xml, (number, (private, public))| {
        xml.text("privateIpAddress", private);
        xml.text("primary", number == 0);
        if let Some(public) = public {
            xml.within("association", |xml| {
                xml.text("publicIp", public);
                xml.text("ipOwnerId", &one.account);
            });
        }
    });
    xml.items("ipv6AddressesSet", &one.ipv6, |xml, address| xml.text("ipv6Address", address));
}

/// The subnets of the caller here that a filter names by id, or that are of a VPC that it names.
fn subnets<'w>(
    world: &'w World,
    ask: &ActionRequest<'_>,
    filters: &[(String, Vec<String>)],
) -> Vec<(&'w String, &'w Subnet)> {
    let fits = |id: &str, subnet: &Subnet| {
        filters.iter().all(|(name, values)| match name.as_str() {
            "association.subnet-id" => !subnet.uses_main_table && values.iter().any(|value| value == id),
            "association.main" => subnet.uses_main_table && values.iter().any(|value| value == "true"),
            _ => values.contains(&subnet.vpc),
        })
    };
    let here = |subnet: &Subnet| subnet.account == ask.caller.account && subnet.region == ask.region;
    world.network.subnets.iter().filter(|(id, subnet)| here(subnet) && fits(id, subnet)).collect()
}

pub(super) fn acls(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let filters = ask.form.filters(&["association.subnet-id"])?;
    let asked = |id: &String| filters.iter().all(|(_, values)| values.contains(id));
    let here = |subnet: &Subnet| subnet.account == ask.caller.account && subnet.region == ask.region;
    let found = world.network.subnets.iter().filter(|(id, subnet)| here(subnet) && asked(id));
    let mut xml = Xml::default();
    xml.items("networkAclSet", found, |xml, (id, subnet)| {
        xml.text("networkAclId", &subnet.acl.0);
        xml.text("vpcId", &subnet.vpc);
        xml.items("entrySet", &subnet.acl.1, acl_entry);
        xml.items("associationSet", [id], |xml, id| {
            xml.text("networkAclId", &subnet.acl.0);
            xml.text("subnetId", id);
        });
    });
    Ok(Answer::read(xml))
}

/// `NetworkAclEntry`.
fn acl_entry(xml: &mut Xml, entry: &AclEntry) {
    xml.text("ruleNumber", entry.number);
    xml.text("protocol", &entry.protocol);
    xml.text("ruleAction", if entry.allows { "allow" } else { "deny" });
    xml.text("egress", entry.egress);
    xml.text(if matches!(entry.cidr, IpNet::V4(_)) { "cidrBlock" } else { "ipv6CidrBlock" }, entry.cidr);
    if let Some((from, to)) = entry.ports {
        xml.within("portRange", |xml| {
            xml.text("from", from);
            xml.text("to", to);
        });
    }
}

pub(super) fn route_tables(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let filters = ask.form.filters(&["association.subnet-id", "association.main", "vpc-id"])?;
    let mut xml = Xml::default();
    xml.items("routeTableSet", subnets(world, ask, &filters), |xml, (id, subnet)| {
        xml.text("routeTableId", &subnet.table.0);
        xml.text("vpcId", &subnet.vpc);
        xml.items("routeSet", &subnet.table.1, route);
        xml.items("associationSet", [id], |xml, id| {
            xml.text("main", subnet.uses_main_table);
            xml.text("routeTableId", &subnet.table.0);
            if !subnet.uses_main_table {
                xml.text("subnetId", id);
            }
        });
    });
    Ok(Answer::read(xml))
}

/// `Route`.
fn route(xml: &mut Xml, route: &RouteEntry) {
    let field =
        if matches!(route.destination, IpNet::V4(_)) { "destinationCidrBlock" } else { "destinationIpv6CidrBlock" };
    xml.text(field, route.destination);
    xml.text("gatewayId", &route.gateway);
    xml.text("state", if route.active { "active" } else { "blackhole" });
}

pub(super) fn instances(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let mut found = Vec::new();
    for id in ask.form.list("InstanceId") {
        let here =
            |(account, region, _): &&(String, String, String)| *account == ask.caller.account && region == ask.region;
        let Some((_, _, state)) = world.network.instances.get(&id).filter(here) else {
            let message = format!("The instance ID '{id}' does not exist");
            return Err(Refusal::new("InvalidInstanceID.NotFound", message));
        };
        found.push((id, state));
    }
    let mut xml = Xml::default();
    xml.items("reservationSet", found, |xml, (id, state)| {
        xml.items("instancesSet", [id], |xml, id| {
            xml.text("instanceId", id);
            xml.within("instanceState", |xml| xml.text("name", state));
        });
    });
    Ok(Answer::read(xml))
}
