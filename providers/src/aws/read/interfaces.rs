//! Network interfaces by their addresses, and what surrounds one: its instance, its subnet's network ACL and routes.

use crate::{
    Interfaces,
    aws::{
        action::Action,
        client::Client,
        errors::failure::{of_call, unusable},
        read::pages::{PAGE_SIZE, Pages},
    },
};
use async_trait::async_trait;
use aws_sdk_ec2::types::{self, Filter};
use aws_types::request_id::RequestId;
use eg_model::{
    failure::Failure,
    in_the_way::{AclRule, NetworkAcl, RouteTable, Surroundings},
    interface::{GroupName, NetworkInterface},
};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The filters that find addresses (EC2 API reference, `DescribeNetworkInterfaces`), each with those that it may find. A VPC
/// may have IPv4 networks that are not private ones, so any IPv4 address may be a private one of an interface.
fn questions(addresses: &BTreeSet<IpAddr>) -> [(&'static str, Vec<String>); 3] {
    let those = |fits: fn(&IpAddr) -> bool| addresses.iter().filter(|one| fits(one)).map(ToString::to_string).collect();
    let may_be_public: fn(&IpAddr) -> bool = |one| matches!(one, IpAddr::V4(v4) if !v4.is_private());
    [
        ("addresses.association.public-ip", those(may_be_public)),
        ("addresses.private-ip-address", those(IpAddr::is_ipv4)),
        ("ipv6-addresses.ipv6-address", those(IpAddr::is_ipv6)),
    ]
}

fn filter(name: &str, values: impl IntoIterator<Item = String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().collect())).build()
}

#[async_trait]
impl Interfaces for Client {
    async fn interfaces(&self, addresses: &BTreeSet<IpAddr>) -> Result<Vec<NetworkInterface>, Failure> {
        let asked = questions(addresses).into_iter().filter(|(_, values)| !values.is_empty());
        let answers = asked.map(|(name, values)| self.interfaces_with(filter(name, values)));
        let mut found = BTreeMap::new();
        for answer in futures_util::future::join_all(answers).await {
            // An endpoint that does not filter answers with every interface.
            let theirs = answer?.into_iter().filter(|one| !one.addresses.is_disjoint(addresses));
            found.extend(theirs.map(|one| (one.id.clone(), one)));
        }
        Ok(found.into_values().collect())
    }

    async fn surroundings(&self, interface: &NetworkInterface) -> Surroundings {
        let (acl, routes, instance_state) = tokio::join!(
            self.acl_of(&interface.subnet),
            self.routes_of(&interface.subnet, &interface.vpc),
            self.instance_state(interface.instance.as_deref()),
        );
        Surroundings { acl, routes, instance_state }
    }
}

impl Client {
    /// Every page of `DescribeNetworkInterfaces`.
    async fn interfaces_with(&self, filter: Filter) -> Result<Vec<NetworkInterface>, Failure> {
        let tried = "look for the network interface";
        let region = self.unsigned.region().map(ToString::to_string).unwrap_or_default();
        let mut found = Vec::new();
        let mut pages = Pages::default();
        let mut token = None;
        loop {
            let call = self
                .ec2
                .describe_network_interfaces()
                .filters(filter.clone())
                .max_results(PAGE_SIZE)
                .set_next_token(token);
            let answer = self.call(Action::DescribeNetworkInterfaces, "-", || call.clone().send()).await;
            let answer = answer.map_err(|error| of_call(tried, &error))?;
            for interface in answer.network_interfaces() {
                let read = read(interface, &region);
                found.push(read.ok_or_else(|| unusable(tried, "an interface without an id", answer.request_id()))?);
            }
            token = pages.next(tried, answer.next_token(), answer.request_id())?;
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// `DescribeNetworkAcls` for one subnet, which has exactly one (VPC User Guide, "Network ACL basics").
    async fn acl_of(&self, subnet: &str) -> Result<Option<NetworkAcl>, Failure> {
        let by_subnet = filter("association.subnet-id", [subnet.to_owned()]);
        let call = self.ec2.describe_network_acls().filters(by_subnet);
        let answer = self.call(Action::DescribeNetworkAcls, subnet, || call.clone().send()).await;
        let answer = answer.map_err(|error| of_call(&format!("read the network ACL of {subnet}"), &error))?;
        let of_subnet = |acl: &&types::NetworkAcl| {
            acl.associations().iter().any(|association| association.subnet_id() == Some(subnet))
        };
        let acl = answer.network_acls().iter().find(of_subnet);
        Ok(acl.and_then(|acl| {
            let rules = acl.entries().iter().map(acl_rule).collect::<Option<Vec<_>>>()?;
            Some(NetworkAcl { id: acl.network_acl_id()?.to_owned(), rules })
        }))
    }

    /// `DescribeRouteTables`: the subnet's own table, or the main one of its VPC (VPC User Guide, "Route table concepts").
    async fn routes_of(&self, subnet: &str, vpc: &str) -> Result<Option<RouteTable>, Failure> {
        let own = self.route_tables(subnet, vec![filter("association.subnet-id", [subnet.to_owned()])]).await?;
        let own = own.iter().find(|table| table.associations().iter().any(|one| one.subnet_id() == Some(subnet)));
        if let Some(table) = own.and_then(route_table) {
            return Ok(Some(table));
        }
        let main = [filter("vpc-id", [vpc.to_owned()]), filter("association.main", ["true".to_owned()])];
        let main = self.route_tables(subnet, main.into()).await?;
        let is_main = |table: &&types::RouteTable| {
            table.vpc_id() == Some(vpc) && table.associations().iter().any(|one| one.main() == Some(true))
        };
        Ok(main.iter().find(is_main).and_then(route_table))
    }

    async fn route_tables(&self, subnet: &str, filters: Vec<Filter>) -> Result<Vec<types::RouteTable>, Failure> {
        let call = self.ec2.describe_route_tables().set_filters(Some(filters));
        let answer = self.call(Action::DescribeRouteTables, subnet, || call.clone().send()).await;
        let answer = answer.map_err(|error| of_call(&format!("read the route table of {subnet}"), &error))?;
        Ok(answer.route_tables().to_vec())
    }

    /// `DescribeInstances` for one instance.
    async fn instance_state(&self, instance: Option<&str>) -> Result<Option<String>, Failure> {
        let Some(id) = instance else { return Ok(None) };
        let call = self.ec2.describe_instances().instance_ids(id);
        let answer = self.call(Action::DescribeInstances, id, || call.clone().send()).await;
        let answer = answer.map_err(|error| of_call(&format!("read the state of {id}"), &error))?;
        let mut instances = answer.reservations().iter().flat_map(types::Reservation::instances);
        let found = instances.find(|one| one.instance_id() == Some(id));
        Ok(found.and_then(|one| Some(one.state()?.name()?.as_str().to_owned())))
    }
}

/// Reads one interface; `None` if it has no id. An address that does not parse is left out: it is none that was asked for.
fn read(interface: &types::NetworkInterface, region: &str) -> Option<NetworkInterface> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let parse = |text: &str| text.parse::<IpAddr>().ok();
    let private = || interface.private_ip_addresses().iter();
    let public = private().filter_map(|one| parse(one.association()?.public_ip()?));
    let v6 = || interface.ipv6_addresses().iter().filter_map(|one| parse(one.ipv6_address()?));
    let public: BTreeSet<IpAddr> = public.chain(v6()).collect();
    let private = private().filter_map(|one| parse(one.private_ip_address()?));
    let groups = interface.groups().iter().filter_map(|group| {
        let id = group.group_id().filter(|id| !id.is_empty())?.to_owned();
        Some(GroupName { id, name: text(group.group_name()) })
    });
    Some(NetworkInterface {
        id: interface.network_interface_id().filter(|id| !id.is_empty())?.to_owned(),
        region: region.to_owned(),
        vpc: text(interface.vpc_id()),
        subnet: text(interface.subnet_id()),
        groups: groups.collect(),
        addresses: private.chain(public.iter().copied()).collect(),
        public,
        description: text(interface.description()),
        kind: text(interface.interface_type().map(|kind| kind.as_str())),
        instance: interface.attachment().and_then(|one| one.instance_id()).map(str::to_owned),
    })
}

/// Reads a rule; `None` if it does not make sense, and then the whole ACL is not known.
fn acl_rule(entry: &types::NetworkAclEntry) -> Option<AclRule> {
    let cidr: IpNet = entry.cidr_block().or(entry.ipv6_cidr_block())?.parse().ok()?;
    let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
    let ports = match entry.port_range() {
        Some(range) => Some((port(range.from())?, port(range.to())?)),
        None => None,
    };
    Some(AclRule {
        number: entry.rule_number()?,
        egress: entry.egress()?,
        allows: *entry.rule_action()? == types::RuleAction::Allow,
        protocol: entry.protocol()?.to_owned(),
        cidr,
        ports,
    })
}

/// The networks that a table leads to the internet for.
fn route_table(table: &types::RouteTable) -> Option<RouteTable> {
    let internet = table.routes().iter().filter(|route| {
        let gateway = route.gateway_id().is_some_and(|id| id.starts_with("igw-"));
        gateway && route.state() == Some(&types::RouteState::Active)
    });
    let to = |route: &types::Route| {
        route.destination_cidr_block().or(route.destination_ipv6_cidr_block())?.parse::<IpNet>().ok()
    };
    Some(RouteTable { id: table.route_table_id()?.to_owned(), internet: internet.filter_map(to).collect() })
}
