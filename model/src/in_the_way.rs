//! Obstacles that keep a connection away from a host although its group is open, from what AWS says of the interface's
//! surroundings. Only what was read is said; what could not be read is named as such.

use crate::{failure::Failure, interface::NetworkInterface};
use ipnet::IpNet;
use std::{collections::BTreeSet, net::IpAddr};

/// A fact about an interface, or the reason why it could not be read.
pub type FactRead<T> = Result<T, Failure>;

/// A rule of a network ACL (EC2 API reference, `NetworkAclEntry`), for traffic in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclRule {
    /// Rules are tried in the order of their numbers; the first that fits decides.
    pub number: i32,
    pub egress: bool,
    pub allows: bool,
    /// The protocol's number as text; `-1` is every protocol, `6` is TCP.
    pub protocol: String,
    pub cidr: IpNet,
    /// The ports; `None` is every port.
    pub ports: Option<(u16, u16)>,
}

/// The network ACL of a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkAcl {
    /// `acl-…`.
    pub id: String,
    pub rules: Vec<AclRule>,
}

/// A route table as far as it leads to the internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    /// `rtb-…`.
    pub id: String,
    /// The networks with a route to an internet gateway that works.
    pub internet: Vec<IpNet>,
}

/// The surroundings of an interface, as AWS tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// `None`: the subnet has none, or the answer leaves it out.
    pub acl: FactRead<Option<NetworkAcl>>,
    pub routes: FactRead<Option<RouteTable>>,
    /// The state of its instance (`running`, `stopped`); `None` if it belongs to no instance.
    pub instance_state: FactRead<Option<String>>,
}

/// A connection that did not come about.
#[derive(Clone, Copy, Debug)]
pub struct FailedConnection<'a> {
    /// The address that it came from.
    pub from: IpAddr,
    /// The address that it was for.
    pub to: IpAddr,
    /// The TCP port.
    pub port: u16,
    /// The ids of the groups that are open to `from`.
    pub opened: &'a BTreeSet<String>,
}

/// One sentence for each obstacle that was found, the likeliest first, then one for each thing that could not be read.
#[must_use]
pub fn in_the_way(attempt: &FailedConnection<'_>, interface: &NetworkInterface, around: &Surroundings) -> Vec<String> {
    let found = [
        group_in_the_way(attempt, interface),
        instance_in_the_way(interface, &around.instance_state),
        address_in_the_way(attempt, interface),
        route_in_the_way(attempt, interface, &around.routes),
        acl_in_the_way(attempt, interface, &around.acl),
    ];
    let unread = [
        ("the state of its instance", around.instance_state.as_ref().err()),
        ("the route table of its subnet", around.routes.as_ref().err()),
        ("the network ACL of its subnet", around.acl.as_ref().err()),
    ];
    let unread = unread.into_iter().filter_map(|(what, why)| Some(format!("{what} could not be read: {}", why?)));
    found.into_iter().flatten().chain(unread).collect()
}

fn group_in_the_way(attempt: &FailedConnection<'_>, interface: &NetworkInterface) -> Option<String> {
    if interface.groups.iter().any(|group| attempt.opened.contains(&group.id)) {
        return None;
    }
    let theirs: Vec<String> = interface.groups.iter().map(ToString::to_string).collect();
    let (id, to) = (&interface.id, attempt.to);
    Some(match theirs.is_empty() {
        true => format!("{id}, which has {to}, has no security group"),
        false => format!("{id}, which has {to}, has other groups than those that are open: {}", theirs.join(", ")),
    })
}

fn instance_in_the_way(interface: &NetworkInterface, state: &FactRead<Option<String>>) -> Option<String> {
    let state = state.as_ref().ok()?.as_deref().filter(|state| *state != "running")?;
    Some(format!("the instance {} is {state}", interface.instance.as_deref()?))
}

fn address_in_the_way(attempt: &FailedConnection<'_>, interface: &NetworkInterface) -> Option<String> {
    let private = interface.addresses.contains(&attempt.to) && !interface.public.contains(&attempt.to);
    private.then(|| match interface.public.is_empty() {
        true => {
            format!("{} has no public address: {} is reached from inside its network only", interface.id, attempt.to)
        }
        false => format!(
            "{} is the private address of {}: it is reached from inside its network only",
            attempt.to, interface.id
        ),
    })
}

fn route_in_the_way(
    attempt: &FailedConnection<'_>,
    interface: &NetworkInterface,
    routes: &FactRead<Option<RouteTable>>,
) -> Option<String> {
    let table = routes.as_ref().ok()?.as_ref()?;
    let public = interface.public.contains(&attempt.to);
    let leads = table.internet.iter().any(|network| network.contains(&attempt.from));
    (public && !leads)
        .then(|| format!("{} of {} has no route from there to an internet gateway", table.id, interface.subnet))
}

/// Client ports that answers go back to (RFC 6056 lets a client take any from 1024).
const CLIENT_PORTS: (u16, u16) = (1024, 65535);

fn acl_in_the_way(
    attempt: &FailedConnection<'_>,
    interface: &NetworkInterface,
    acl: &FactRead<Option<NetworkAcl>>,
) -> Option<String> {
    let acl = acl.as_ref().ok()?.as_ref()?;
    let (id, subnet, port, from) = (&acl.id, &interface.subnet, attempt.port, attempt.from);
    if !passes(acl, false, from, (port, port)) {
        return Some(format!("the network ACL {id} of {subnet} refuses port {port} from {from}"));
    }
    (!passes(acl, true, from, CLIENT_PORTS))
        .then(|| format!("the network ACL {id} of {subnet} lets no answers out to {from} (ports 1024-65535)"))
}

/// True if the ACL lets TCP through for at least one of the ports. Without a rule that fits, it refuses (VPC User Guide,
/// "Network ACL basics").
fn passes(acl: &NetworkAcl, egress: bool, peer: IpAddr, ports: (u16, u16)) -> bool {
    let fits = |rule: &&AclRule| {
        let overlaps = |(first, last): (u16, u16)| first <= ports.1 && last >= ports.0;
        let protocol = matches!(rule.protocol.as_str(), "-1" | "6" | "tcp");
        rule.egress == egress && protocol && rule.cidr.contains(&peer) && rule.ports.is_none_or(overlaps)
    };
    let mut rules: Vec<&AclRule> = acl.rules.iter().filter(fits).collect();
    rules.sort_by_key(|rule| rule.number);
    // A refusal of a part of the ports decides nothing about the others.
    let whole = |rule: &&&AclRule| rule.ports.is_none_or(|(first, last)| first <= ports.0 && last >= ports.1);
    let refused_at = rules.iter().find(|rule| !rule.allows && whole(rule)).map_or(i32::MAX, |rule| rule.number);
    rules.iter().any(|rule| rule.allows && rule.number < refused_at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{failure::FailureClass, interface::GroupName};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn interface() -> NetworkInterface {
        NetworkInterface {
            id: "eni-1".to_owned(),
            region: "eu-west-1".to_owned(),
            vpc: "vpc-1".to_owned(),
            subnet: "subnet-1".to_owned(),
            groups: vec![GroupName { id: "sg-1".to_owned(), name: "db".to_owned() }],
            addresses: ["10.0.0.5", "203.0.113.5"].map(ip).into(),
            public: [ip("203.0.113.5")].into(),
            description: String::new(),
            kind: "interface".to_owned(),
            instance: Some("i-1".to_owned()),
        }
    }

    fn rule(number: i32, egress: bool, allows: bool, ports: Option<(u16, u16)>) -> AclRule {
        AclRule { number, egress, allows, protocol: "6".to_owned(), cidr: "0.0.0.0/0".parse().unwrap(), ports }
    }

    fn acl(rules: &[AclRule]) -> FactRead<Option<NetworkAcl>> {
        Ok(Some(NetworkAcl { id: "acl-1".to_owned(), rules: rules.to_vec() }))
    }

    fn clear() -> Surroundings {
        let internet = vec!["0.0.0.0/0".parse().unwrap()];
        Surroundings {
            acl: acl(&[rule(100, false, true, None), rule(100, true, true, None)]),
            routes: Ok(Some(RouteTable { id: "rtb-1".to_owned(), internet })),
            instance_state: Ok(Some("running".to_owned())),
        }
    }

    fn said(to: &str, opened: &str, around: &Surroundings) -> Vec<String> {
        let opened = [opened.to_owned()].into();
        let attempt = FailedConnection { from: ip("198.51.100.7"), to: ip(to), port: 5432, opened: &opened };
        in_the_way(&attempt, &interface(), around)
    }

    #[test]
    fn nothing_is_said_where_nothing_is_wrong() {
        assert_eq!(said("203.0.113.5", "sg-1", &clear()), Vec::<String>::new());
    }

    #[test]
    fn each_obstacle_has_its_sentence() {
        let one = |around: &Surroundings| said("203.0.113.5", "sg-1", around);
        assert_eq!(
            said("203.0.113.5", "sg-9", &clear()),
            ["eni-1, which has 203.0.113.5, has other groups than those that are open: sg-1 (db)"]
        );
        assert_eq!(
            said("10.0.0.5", "sg-1", &clear()),
            ["10.0.0.5 is the private address of eni-1: it is reached from inside its network only"]
        );
        let stopped = Surroundings { instance_state: Ok(Some("stopped".to_owned())), ..clear() };
        assert_eq!(one(&stopped), ["the instance i-1 is stopped"]);
        let routes = Ok(Some(RouteTable { id: "rtb-1".to_owned(), internet: Vec::new() }));
        let inside = Surroundings { routes, ..clear() };
        assert_eq!(one(&inside), ["rtb-1 of subnet-1 has no route from there to an internet gateway"]);
        let denied = Failure::new(FailureClass::Denied, "not permitted");
        let unknown = Surroundings { acl: Err(denied), ..clear() };
        assert_eq!(one(&unknown).len(), 1);
        assert!(one(&unknown).concat().starts_with("the network ACL of its subnet could not be read: "));
    }

    #[test]
    fn a_network_acl_is_read_in_the_order_of_its_numbers() {
        let one = |rules: &[AclRule]| said("203.0.113.5", "sg-1", &Surroundings { acl: acl(rules), ..clear() });
        let out = rule(100, true, true, Some((1024, 65535)));
        let refused = ["the network ACL acl-1 of subnet-1 refuses port 5432 from 198.51.100.7"];
        assert_eq!(one(&[]), refused, "without a rule it refuses");
        assert_eq!(one(&[rule(90, false, false, None), rule(100, false, true, None), out.clone()]), refused);
        let clear: [&str; 0] = [];
        assert_eq!(one(&[rule(110, false, false, None), rule(100, false, true, None), out.clone()]), clear);
        assert_eq!(one(&[rule(90, false, false, Some((22, 22))), rule(100, false, true, None), out]), clear);
        assert_eq!(
            one(&[rule(100, false, true, None)]),
            ["the network ACL acl-1 of subnet-1 lets no answers out to 198.51.100.7 (ports 1024-65535)"]
        );
        let half = rule(90, true, false, Some((1024, 2000)));
        assert_eq!(one(&[rule(100, false, true, None), half, rule(100, true, true, None)]), clear);
    }
}
