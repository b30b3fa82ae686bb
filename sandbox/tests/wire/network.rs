//! Network interfaces and what surrounds them.

use crate::{Bench, support::fields};
use eg_sandbox::{AclEntry, Interface, RouteEntry, Subnet};

const ACCOUNT: &str = "123456789012";

fn interface(group: &str) -> Interface {
    Interface {
        account: ACCOUNT.to_owned(),
        region: "us-east-1".to_owned(),
        id: "eni-1".to_owned(),
        vpc: "vpc-1".to_owned(),
        subnet: "subnet-1".to_owned(),
        groups: vec![group.to_owned()],
        ipv4: vec![("10.0.0.5".parse().unwrap(), Some("203.0.113.5".parse().unwrap()))],
        ipv6: vec!["2001:db8::5".parse().unwrap()],
        description: "RDSNetworkInterface".to_owned(),
        kind: "interface".to_owned(),
        instance: Some("i-1".to_owned()),
    }
}

fn subnet(uses_main_table: bool) -> Subnet {
    let everywhere = "0.0.0.0/0".parse().unwrap();
    let entry = AclEntry {
        number: 100,
        egress: false,
        allows: true,
        protocol: "6".to_owned(),
        cidr: everywhere,
        ports: Some((22, 22)),
    };
    let route = RouteEntry { destination: everywhere, gateway: "igw-1".to_owned(), active: true };
    Subnet {
        account: ACCOUNT.to_owned(),
        region: "us-east-1".to_owned(),
        vpc: "vpc-1".to_owned(),
        acl: ("acl-1".to_owned(), vec![entry]),
        table: ("rtb-1".to_owned(), vec![route]),
        uses_main_table,
    }
}

#[test]
fn interfaces_are_found_by_each_of_their_addresses() {
    let bench = Bench::new();
    let group = bench.group();
    bench.handle.put_interface(interface(&group));
    let by = |filter: &str, value: &str| {
        let call = fields(&[("Filter.1.Name", filter), ("Filter.1.Value.1", value)]);
        bench.client.get("DescribeNetworkInterfaces", &call).each("networkInterfaceSet", "networkInterfaceId")
    };
    assert_eq!(by("addresses.association.public-ip", "203.0.113.5"), ["eni-1"]);
    assert_eq!(by("addresses.private-ip-address", "10.0.0.5"), ["eni-1"]);
    assert_eq!(by("ipv6-addresses.ipv6-address", "2001:db8::5"), ["eni-1"]);
    assert!(by("addresses.private-ip-address", "203.0.113.5").is_empty());
    let unknown = fields(&[("Filter.1.Name", "nothing"), ("Filter.1.Value.1", "x")]);
    assert_eq!(bench.client.code("DescribeNetworkInterfaces", &unknown), "InvalidParameterValue");
    let item = bench.client.get("DescribeNetworkInterfaces", &[]);
    assert_eq!((item.text_of("groupId"), item.text_of("groupName")), (group, "web".to_owned()));
    assert_eq!(item.text_of("publicIp"), "203.0.113.5");
}

#[test]
fn another_account_and_region_see_nothing() {
    let bench = Bench::new();
    bench.handle.put_interface(Interface { account: "210987654321".to_owned(), ..interface("sg-1") });
    bench.handle.put_interface(Interface {
        region: "eu-west-1".to_owned(),
        id: "eni-2".to_owned(),
        ..interface("sg-1")
    });
    assert!(bench.client.get("DescribeNetworkInterfaces", &[]).items("networkInterfaceSet").is_empty());
}

#[test]
fn acls_routes_and_instances() {
    let bench = Bench::new();
    bench.handle.put_interface(interface("sg-1"));
    bench.handle.put_subnet("subnet-1", subnet(false));
    bench.handle.put_subnet("subnet-2", subnet(true));
    let of = |action: &str, subnet: &str| {
        bench.client.get(action, &fields(&[("Filter.1.Name", "association.subnet-id"), ("Filter.1.Value.1", subnet)]))
    };
    assert_eq!(of("DescribeNetworkAcls", "subnet-1").text_of("ruleAction"), "allow");
    assert!(of("DescribeNetworkAcls", "subnet-3").items("networkAclSet").is_empty());
    assert_eq!(of("DescribeRouteTables", "subnet-1").text_of("gatewayId"), "igw-1");
    assert!(of("DescribeRouteTables", "subnet-2").items("routeTableSet").is_empty(), "it has no table of its own");
    let main = fields(&[
        ("Filter.1.Name", "vpc-id"),
        ("Filter.1.Value.1", "vpc-1"),
        ("Filter.2.Name", "association.main"),
        ("Filter.2.Value.1", "true"),
    ]);
    assert_eq!(bench.client.get("DescribeRouteTables", &main).items("routeTableSet").len(), 1);

    let state = || bench.client.get("DescribeInstances", &fields(&[("InstanceId.1", "i-1")])).text_of("name");
    assert_eq!(state(), "running");
    bench.handle.set_instance_state("i-1", "stopped");
    assert_eq!(state(), "stopped");
    let unknown = fields(&[("InstanceId.1", "i-9")]);
    assert_eq!(bench.client.code("DescribeInstances", &unknown), "InvalidInstanceID.NotFound");
}
