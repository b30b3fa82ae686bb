//! NetworkWorld interfaces, and what surrounds them: instances, network ACLs, route tables. `eg` only reads these, so nothing
//! here is made by a request: a test or the demo puts it there.

use ipnet::IpNet;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub account: String,
    pub region: String,
    /// `eni-…`.
    pub id: String,
    /// `vpc-…`.
    pub vpc: String,
    /// `subnet-…`.
    pub subnet: String,
    /// The ids of its groups.
    pub groups: Vec<String>,
    /// Its private addresses, the primary one first, each with its public one.
    pub ipv4: Vec<(Ipv4Addr, Option<Ipv4Addr>)>,
    pub ipv6: Vec<Ipv6Addr>,
    pub description: String,
    /// `interface`, `network_load_balancer`, …
    pub kind: String,
    /// `i-…`.
    pub instance: Option<String>,
}

impl Interface {
    /// The addresses that a filter looks at (EC2 API reference, `DescribeNetworkInterfaces`).
    pub(crate) fn field(&self, filter: &str) -> Vec<String> {
        match filter {
            "network-interface-id" => vec![self.id.clone()],
            "group-id" => self.groups.clone(),
            "addresses.private-ip-address" => self.ipv4.iter().map(|(private, _)| private.to_string()).collect(),
            "addresses.association.public-ip" => {
                self.ipv4.iter().filter_map(|(_, public)| Some((*public)?.to_string())).collect()
            }
            _ => self.ipv6.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A rule of a network ACL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    pub number: i32,
    pub egress: bool,
    pub allows: bool,
    /// `-1` is every protocol, `6` is TCP.
    pub protocol: String,
    pub cidr: IpNet,
    pub ports: Option<(u16, u16)>,
}

/// A route: its destination, and the gateway that it leads to (`local`, `igw-…`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    pub destination: IpNet,
    pub gateway: String,
    /// False if the gateway is gone (state `blackhole`).
    pub active: bool,
}

/// What a subnet's interfaces are subject to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub account: String,
    pub region: String,
    pub vpc: String,
    /// The id of its network ACL (`acl-…`), and its rules.
    pub acl: (String, Vec<AclEntry>),
    /// The id of its route table (`rtb-…`), and its routes.
    pub table: (String, Vec<RouteEntry>),
    /// True if it has no route table of its own: the table is the main one of its VPC.
    pub uses_main_table: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkWorld {
    pub(crate) interfaces: BTreeMap<String, Interface>,
    /// By id.
    pub(crate) subnets: BTreeMap<String, Subnet>,
    /// Accounts and regions of instances, with their states, by id.
    pub(crate) instances: BTreeMap<String, (String, String, String)>,
}

impl NetworkWorld {
    pub(crate) fn put_interface(&mut self, interface: Interface) {
        if let Some(instance) = &interface.instance {
            let place = (interface.account.clone(), interface.region.clone(), "running".to_owned());
            self.instances.entry(instance.clone()).or_insert(place);
        }
        self.interfaces.insert(interface.id.clone(), interface);
    }
}
