//! Network interfaces and what surrounds them. Both sides are filled beforehand: moto by its API, the sandbox with the same
//! ids by hand. Then both are asked what `eg` asks.
//!
//! moto filters interfaces by private addresses alone. Other emulators are further from AWS: ministack 1.5 takes no private
//! address for a new interface and ignores every filter, so `eg` checks each answer itself
//! (`providers/src/aws/tests/interfaces.rs`).

use crate::{
    known::{Difference, Follows},
    support::{Answer, Client, Element, fields},
};
use eg_sandbox::{AclEntry, Handle, Interface, RouteEntry, Subnet};

const FILTERS: &str = "Interfaces are filtered by public and by IPv6 addresses too (DescribeNetworkInterfaces, `Filter.N`); moto ends in an \
     internal error.";

pub(crate) const KNOWN_OF_NETWORKS: &[Difference] = &[
    Difference {
        at: ("network", "by public address"),
        sandbox: &["OK"],
        other: &["error 500 (no XML)"],
        follows: Follows::Sandbox,
        why: FILTERS,
    },
    Difference {
        at: ("network", "by IPv6 address"),
        sandbox: &["OK"],
        other: &["error 500 (no XML)"],
        follows: Follows::Sandbox,
        why: FILTERS,
    },
];

const PRIVATE: &str = "172.31.0.80";
const INTERFACES: &str = "DescribeNetworkInterfaces";
const TABLES: &str = "DescribeRouteTables";

/// Its name, its action, its filters.
type NetworkQuestion = (&'static str, &'static str, Vec<(String, String)>);

/// One network on both sides, and the ids that moto gave.
pub(crate) struct BothNetworks {
    subnet: String,
    vpc: String,
}

impl BothNetworks {
    /// Makes an interface on moto, and the same in the sandbox.
    pub(crate) fn on_both(moto: &Client, ours: &Client, handle: &Handle) -> Self {
        let first = moto.get("DescribeSubnets", &[]);
        let (subnet, vpc) = (first.text_of("subnetId"), first.text_of("vpcId"));
        let theirs = moto.create_group("behind");
        let call = [("SubnetId", subnet.as_str()), ("PrivateIpAddress", PRIVATE), ("SecurityGroupId.1", &theirs)];
        let call = [&call[..], &[("Description", "RDSNetworkInterface")]].concat();
        let made = moto.get("CreateNetworkInterface", &fields(&call));
        let (account, region) = ("123456789012".to_owned(), "us-east-1".to_owned());
        handle.put_interface(Interface {
            account: account.clone(),
            region: region.clone(),
            id: made.text_of("networkInterfaceId"),
            vpc: vpc.clone(),
            subnet: subnet.clone(),
            groups: vec![ours.create_group("behind")],
            ipv4: vec![(PRIVATE.parse().unwrap(), None)],
            ipv6: Vec::new(),
            description: "RDSNetworkInterface".to_owned(),
            kind: "interface".to_owned(),
            instance: None,
        });
        // As a default VPC has it (VPC User Guide, "Default network ACL").
        let all = "0.0.0.0/0".parse().unwrap();
        let entry = |number, egress| AclEntry {
            number,
            egress,
            allows: number == 100,
            protocol: "-1".to_owned(),
            cidr: all,
            ports: None,
        };
        let entries = [(100, true), (32_767, true), (100, false), (32_767, false)];
        let local = RouteEntry { destination: "172.31.0.0/16".parse().unwrap(), gateway: "local".into(), active: true };
        let subnet_of_ours = Subnet {
            account,
            region,
            vpc: vpc.clone(),
            acl: ("acl-1".to_owned(), entries.map(|(number, egress)| entry(number, egress)).to_vec()),
            table: ("rtb-1".to_owned(), vec![local]),
            uses_main_table: true,
        };
        handle.put_subnet(&subnet, subnet_of_ours);
        Self { subnet, vpc }
    }

    /// Every question.
    pub(crate) fn questions(&self) -> Vec<NetworkQuestion> {
        let by = |filters: &[(&str, &str)]| {
            let numbered = (1..).zip(filters).flat_map(|(number, (name, value)): (u32, _)| {
                [(format!("Filter.{number}.Name"), *name), (format!("Filter.{number}.Value.1"), *value)]
            });
            numbered.map(|(name, value)| (name, value.to_owned())).collect::<Vec<_>>()
        };
        let subnet = by(&[("association.subnet-id", &self.subnet)]);
        let main = by(&[("vpc-id", &self.vpc), ("association.main", "true")]);
        vec![
            ("by private address", INTERFACES, by(&[("addresses.private-ip-address", PRIVATE)])),
            ("by a private address that none has", INTERFACES, by(&[("addresses.private-ip-address", "172.31.0.99")])),
            ("by public address", INTERFACES, by(&[("addresses.association.public-ip", "203.0.113.5")])),
            ("by IPv6 address", INTERFACES, by(&[("ipv6-addresses.ipv6-address", "2001:db8::5")])),
            ("the network ACL", "DescribeNetworkAcls", subnet.clone()),
            ("the subnet's own table", TABLES, subnet),
            ("the main table", TABLES, main),
            ("an unknown instance", "DescribeInstances", fields(&[("InstanceId.1", "i-0123456789abcdef0")])),
        ]
    }

    /// What an answer says, one statement a line, sorted.
    pub(crate) fn lines(&self, answer: &Answer) -> Vec<String> {
        if answer.status != 200 {
            return vec![format!("error {} {}", answer.status, answer.code())];
        }
        let xml = answer.xml();
        let mut lines = vec!["OK".to_owned()];
        lines.extend(xml.items("networkInterfaceSet").iter().map(interface));
        for acl in xml.items("networkAclSet") {
            let ours = acl.each("associationSet", "subnetId").contains(&self.subnet);
            lines.extend(acl.items("entrySet").iter().map(|entry| format!("{} {}", ours, acl_entry(entry))));
        }
        for table in xml.items("routeTableSet") {
            let main = table.each("associationSet", "main").join(" ");
            lines.extend(table.items("routeSet").iter().map(|route| format!("main {main}: {}", route_of(route))));
        }
        lines.sort();
        lines
    }
}

fn interface(item: &Element) -> String {
    let text = |name: &str| item.text_of(name);
    let of = |list: &str, field: &str| item.each(list, field).join(" ");
    format!(
        "{} {} {} {} {:?} groups {} addresses {} public {} IPv6 {}",
        text("networkInterfaceId"),
        text("subnetId"),
        text("vpcId"),
        text("interfaceType"),
        text("description"),
        of("groupSet", "groupName"),
        of("privateIpAddressesSet", "privateIpAddress"),
        of("privateIpAddressesSet", "publicIp"),
        of("ipv6AddressesSet", "ipv6Address"),
    )
}

fn acl_entry(entry: &Element) -> String {
    let text = |name: &str| entry.text_of(name);
    format!(
        "{} egress {} {} {} {}",
        text("ruleNumber"),
        text("egress"),
        text("ruleAction"),
        text("protocol"),
        text("cidrBlock")
    )
}

fn route_of(route: &Element) -> String {
    let text = |name: &str| route.text_of(name);
    format!("{} {} {}", text("destinationCidrBlock"), text("gatewayId"), text("state"))
}
