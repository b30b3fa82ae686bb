//! The questions about network interfaces and what surrounds them.

use super::{
    form,
    replay::{Play, Replay},
    world,
};
use crate::Interfaces;
use eg_model::{
    failure::FailureClass,
    interface::{GroupName, NetworkInterface},
};
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn page(interfaces: &str, token: Option<&str>) -> Play {
    let token = token.map(|token| format!("<nextToken>{token}</nextToken>")).unwrap_or_default();
    answer("DescribeNetworkInterfaces", &format!("<networkInterfaceSet>{interfaces}</networkInterfaceSet>{token}"))
}

fn answer(action: &str, inner: &str) -> Play {
    Play::ok(format!(
        "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>{inner}</{action}Response>"
    ))
}

fn interface(id: &str, private: &str, public: Option<&str>) -> String {
    let public = public.map(|public| format!("<association><publicIp>{public}</publicIp></association>"));
    format!(
        "<item><networkInterfaceId>{id}</networkInterfaceId><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId>\
         <description>ELB app/web/1</description><interfaceType>interface</interfaceType>\
         <groupSet><item><groupId>sg-1</groupId><groupName>web</groupName></item></groupSet>\
         <attachment><instanceId>i-1</instanceId></attachment>\
         <privateIpAddressesSet><item><privateIpAddress>{private}</privateIpAddress>{}</item></privateIpAddressesSet>\
         <ipv6AddressesSet><item><ipv6Address>2001:db8::5</ipv6Address></item></ipv6AddressesSet></item>",
        public.unwrap_or_default()
    )
}

#[tokio::test]
async fn by_public_private_and_ipv6_addresses() {
    let one = interface("eni-1", "10.0.0.5", Some("203.0.113.5"));
    let (replay, groups) = world([page(&one, Some("more")), page("", None), page("", None), page(&one, None)]).await;
    let found = groups.client.interfaces(&["203.0.113.5", "2001:db8::5"].map(ip).into()).await.unwrap();
    let expected = NetworkInterface {
        id: "eni-1".to_owned(),
        region: "eu-west-1".to_owned(),
        vpc: "vpc-1".to_owned(),
        subnet: "subnet-1".to_owned(),
        groups: vec![GroupName { id: "sg-1".to_owned(), name: "web".to_owned() }],
        addresses: ["10.0.0.5", "203.0.113.5", "2001:db8::5"].map(ip).into(),
        public: ["203.0.113.5", "2001:db8::5"].map(ip).into(),
        description: "ELB app/web/1".to_owned(),
        kind: "interface".to_owned(),
        instance: Some("i-1".to_owned()),
    };
    assert_eq!(found, [expected]);
    let asked: Vec<_> = replay.asked().into_iter().map(|asked| asked.form).collect();
    let question = |name: &str, value: &str| {
        form([
            ("Action", "DescribeNetworkInterfaces"),
            ("Filter.1.Name", name),
            ("Filter.1.Value.1", value),
            ("MaxResults", "1000"),
        ])
    };
    for (name, value) in [
        ("addresses.association.public-ip", "203.0.113.5"),
        ("addresses.private-ip-address", "203.0.113.5"),
        ("ipv6-addresses.ipv6-address", "2001:db8::5"),
    ] {
        assert!(asked.contains(&question(name, value)), "{asked:?}");
    }
    assert!(asked.iter().any(|form| form.get("NextToken").is_some_and(|token| token == "more")));
    assert_eq!(asked.len(), 4);
}

/// A private network's address is nobody's public one, so nothing asks for it as such.
#[tokio::test]
async fn a_private_address_is_looked_for_among_private_ones() {
    let (replay, groups) = world([page(&interface("eni-1", "10.0.0.5", None), None)]).await;
    assert_eq!(groups.client.interfaces(&[ip("10.0.0.5")].into()).await.unwrap().len(), 1);
    let asked = replay.asked();
    assert_eq!((asked.len(), asked[0].form["Filter.1.Name"].as_str()), (1, "addresses.private-ip-address"));
}

#[tokio::test]
async fn an_endpoint_that_does_not_filter_is_not_believed() {
    let stranger = interface("eni-9", "10.0.0.9", Some("198.51.100.9")).replace("2001:db8::5", "2001:db8::9");
    let (replay, groups) = world([page(&stranger, None), page(&stranger, None)]).await;
    assert_eq!(groups.client.interfaces(&[ip("203.0.113.5")].into()).await.unwrap(), []);
    replay.asked();
}

#[tokio::test]
async fn one_refused_question_leaves_nothing_known() {
    let (_, groups) = world([Play::error(403, "UnauthorizedOperation"), page("", None)]).await;
    let failure = groups.client.interfaces(&[ip("203.0.113.5")].into()).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Denied);
}

async fn behind() -> NetworkInterface {
    let one = interface("eni-1", "10.0.0.5", Some("203.0.113.5"));
    let (_, groups) = world([page(&one, None), page("", None)]).await;
    groups.client.interfaces(&[ip("203.0.113.5")].into()).await.unwrap().remove(0)
}

/// The three questions go out together, so each test plays the answers in the order in which they are asked first.
async fn around(plays: [Play; 3]) -> (Replay, eg_model::in_the_way::Surroundings) {
    let interface = behind().await;
    let (replay, groups) = world(plays).await;
    let around = groups.client.surroundings(&interface).await;
    (replay, around)
}

fn acl(rule: &str) -> Play {
    let rules = format!("<entrySet>{rule}</entrySet>");
    let at = "<associationSet><item><subnetId>subnet-1</subnetId></item></associationSet>";
    let acl = format!("<networkAclSet><item><networkAclId>acl-1</networkAclId>{rules}{at}</item></networkAclSet>");
    answer("DescribeNetworkAcls", &acl)
}

const RULE: &str = "<item><ruleNumber>100</ruleNumber><protocol>6</protocol><ruleAction>deny</ruleAction>\
    <egress>false</egress><cidrBlock>0.0.0.0/0</cidrBlock><portRange><from>22</from><to>22</to></portRange></item>";

fn table(gateway: &str, state: &str) -> Play {
    let route = format!(
        "<routeSet><item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock><gatewayId>{gateway}</gatewayId>\
         <state>{state}</state></item></routeSet>"
    );
    let at = "<associationSet><item><subnetId>subnet-1</subnetId></item></associationSet>";
    let table = format!("<routeTableSet><item><routeTableId>rtb-1</routeTableId>{route}{at}</item></routeTableSet>");
    answer("DescribeRouteTables", &table)
}

fn instance(state: &str) -> Play {
    let one = format!("<item><instanceId>i-1</instanceId><instanceState><name>{state}</name></instanceState></item>");
    let set = format!("<reservationSet><item><instancesSet>{one}</instancesSet></item></reservationSet>");
    answer("DescribeInstances", &set)
}

#[tokio::test]
async fn what_surrounds_an_interface() {
    let (replay, around) = around([acl(RULE), table("igw-1", "active"), instance("stopped")]).await;
    let acl = around.acl.unwrap().unwrap();
    let rule = &acl.rules[0];
    assert_eq!((acl.id.as_str(), rule.number, rule.allows, rule.ports), ("acl-1", 100, false, Some((22, 22))));
    assert_eq!(around.routes.unwrap().unwrap().internet, ["0.0.0.0/0".parse().unwrap()]);
    assert_eq!(around.instance_state.unwrap().as_deref(), Some("stopped"));
    let asked: Vec<_> = replay.asked().into_iter().map(|asked| asked.form).collect();
    let of_subnet = |action| {
        form([("Action", action), ("Filter.1.Name", "association.subnet-id"), ("Filter.1.Value.1", "subnet-1")])
    };
    assert_eq!(
        asked,
        [
            of_subnet("DescribeNetworkAcls"),
            of_subnet("DescribeRouteTables"),
            form([("Action", "DescribeInstances"), ("InstanceId.1", "i-1")]),
        ]
    );
}

#[tokio::test]
async fn a_dead_gateway_is_no_way_and_an_odd_rule_makes_the_acl_unknown() {
    let odd = acl(&RULE.replace("0.0.0.0/0", "everywhere"));
    let (_, around) = around([odd, table("igw-1", "blackhole"), Play::error(403, "UnauthorizedOperation")]).await;
    assert_eq!(around.acl, Ok(None));
    assert_eq!(around.routes.unwrap().unwrap().internet, []);
    assert_eq!(around.instance_state.unwrap_err().class, FailureClass::Denied);
}
