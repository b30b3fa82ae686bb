//! Network interfaces: from the addresses of a host to the security groups in front of it.
//!
//! EC2 knows every address of an account as the address of a network interface: of an instance, a load balancer, a
//! database, a task. The groups of that interface decide who reaches the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};
use thiserror::Error;

/// A security group, as an interface names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupName {
    /// `sg-…`.
    pub id: String,
    /// Unique in its VPC.
    pub name: String,
}

impl GroupName {
    /// True if a user means it by this name or id.
    fn is(&self, text: &str) -> bool {
        self.id == text || self.name == text
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.name)
    }
}

/// A network interface (EC2 API reference, `NetworkInterface`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInterface {
    /// `eni-…`.
    pub id: String,
    pub region: String,
    /// `vpc-…`.
    pub vpc: String,
    /// `subnet-…`.
    pub subnet: String,
    pub groups: Vec<GroupName>,
    /// Its private IPv4 addresses, their public ones, and its IPv6 addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The public ones of these: an Elastic IP, or one that AWS has assigned; and every IPv6 address.
    pub public: BTreeSet<IpAddr>,
    /// Its purpose, in the words of AWS: `ELB app/web/50dc6c495c0c9188`, `RDSNetworkInterface`.
    pub description: String,
    /// `interface`, `network_load_balancer`, `nat_gateway`, …
    pub kind: String,
    /// The instance that it is attached to, if it is one's.
    pub instance: Option<String>,
}

/// The group in front of a host, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFront {
    pub group: GroupName,
    pub region: String,
    /// The interfaces behind the host's addresses, by id.
    pub interfaces: BTreeMap<String, NetworkInterface>,
    /// The addresses of the host that these have.
    pub addresses: BTreeSet<IpAddr>,
    /// Addresses of the host that no interface has: another account's or another network's.
    pub elsewhere: BTreeSet<IpAddr>,
}

/// The reason why no group in front of a host is known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotInFront {
    /// No interface that was looked at has one of the addresses.
    #[error("no network interface here has {}", list(.0))]
    NoInterface(BTreeSet<IpAddr>),
    /// An interface without groups, or several without one in common.
    #[error("{0} has no security group: what it is ({1}) takes none")]
    NoGroup(String, String),
    #[error("its interfaces {} have no security group in common", .0.join(", "))]
    NothingInCommon(Vec<String>),
    #[error("its interfaces are in several regions ({})", .0.join(", "))]
    SeveralRegions(Vec<String>),
    /// Networks use the same private addresses, and which of them the user reaches is not known.
    #[error("{0} is an address in several networks: {list}", list = .1.join("; "))]
    SeveralNetworks(IpAddr, Vec<String>),
    /// The group that was named is not in front of the host.
    #[error("{asked} is not in front of it; {} is", list(.there))]
    NotThere { asked: String, there: Vec<GroupName> },
    /// Which one of several is meant is not known.
    #[error("{} security groups are in front of it: {}", .0.len(), list(.0))]
    Several(Vec<GroupName>),
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// The one group in front of a host. `configured` are the ids of configured groups, `asked` is the name or id of the one
/// that the user names. First match.
///
/// | interfaces of the host's addresses | the groups that they have in common | |
/// |---|---|---|
/// | none | | [`NotInFront::NoInterface`] |
/// | one address in several VPCs, and not one VPC alone has the group that is asked for, or a configured one | | [`NotInFront::SeveralNetworks`] |
/// | in several regions | | [`NotInFront::SeveralRegions`] |
/// | one without groups | | [`NotInFront::NoGroup`] |
/// | | none | [`NotInFront::NothingInCommon`] |
/// | | the one that is asked for | it |
/// | | not the one that is asked for | [`NotInFront::NotThere`] |
/// | | one that is configured | it |
/// | | one alone | it |
/// | | several | [`NotInFront::Several`] |
///
/// A load balancer has an interface in each zone, with the same groups. A group that only one of them has would let in
/// only a part of the connections.
///
/// # Errors
/// As the table says.
pub fn in_front(
    addresses: &BTreeSet<IpAddr>,
    interfaces: &[NetworkInterface],
    configured: &BTreeSet<String>,
    asked: Option<&str>,
) -> Result<InFront, NotInFront> {
    let has = |interface: &&NetworkInterface| !interface.addresses.is_disjoint(addresses);
    let behind: BTreeMap<String, NetworkInterface> =
        interfaces.iter().filter(has).map(|one| (one.id.clone(), one.clone())).collect();
    let behind = in_one_network(behind, addresses, |group| match asked {
        Some(asked) => group.is(asked),
        None => configured.contains(&group.id),
    })?;
    let regions: BTreeSet<&String> = behind.values().map(|one| &one.region).collect();
    let region = match (regions.first(), regions.len()) {
        (None, _) => return Err(NotInFront::NoInterface(addresses.clone())),
        (Some(region), 1) => (*region).clone(),
        _ => return Err(NotInFront::SeveralRegions(regions.into_iter().cloned().collect())),
    };
    let group = one_of(&common(&behind)?, configured, asked)?;
    let known: BTreeSet<IpAddr> = behind.values().flat_map(|one| one.addresses.iter().copied()).collect();
    let (addresses, elsewhere) = addresses.iter().copied().partition(|address| known.contains(address));
    Ok(InFront { group, region, interfaces: behind, addresses, elsewhere })
}

/// The interfaces; where an address is in several VPCs, those with a group that is meant, if these are in one.
fn in_one_network(
    mut behind: BTreeMap<String, NetworkInterface>,
    addresses: &BTreeSet<IpAddr>,
    is_meant: impl Fn(&GroupName) -> bool,
) -> Result<BTreeMap<String, NetworkInterface>, NotInFront> {
    let with = |address: IpAddr| behind.values().filter(move |one| one.addresses.contains(&address));
    let networks = |address: IpAddr| with(address).map(|one| &one.vpc).collect::<BTreeSet<_>>().len();
    let Some(shared) = addresses.iter().copied().find(|address| networks(*address) > 1) else { return Ok(behind) };
    let meant: BTreeSet<&String> =
        behind.values().filter(|one| one.groups.iter().any(&is_meant)).map(|one| &one.vpc).collect();
    if let (Some(only), 1) = (meant.first().map(|vpc| (*vpc).clone()), meant.len()) {
        behind.retain(|_, one| one.vpc == only);
        return Ok(behind);
    }
    let place =
        |one: &NetworkInterface| format!("{} in {} ({}) with {}", one.id, one.vpc, one.region, list(&one.groups));
    Err(NotInFront::SeveralNetworks(shared, with(shared).map(place).collect()))
}

/// The groups that every interface has; never none.
fn common(interfaces: &BTreeMap<String, NetworkInterface>) -> Result<BTreeSet<GroupName>, NotInFront> {
    if let Some(bare) = interfaces.values().find(|one| one.groups.is_empty()) {
        return Err(NotInFront::NoGroup(bare.id.clone(), bare.kind.clone()));
    }
    let mut sets = interfaces.values().map(|one| one.groups.iter().cloned().collect::<BTreeSet<_>>());
    let first = sets.next().unwrap_or_default();
    let all = sets.fold(first, |all, one| all.intersection(&one).cloned().collect());
    if all.is_empty() { Err(NotInFront::NothingInCommon(interfaces.keys().cloned().collect())) } else { Ok(all) }
}

fn one_of(
    groups: &BTreeSet<GroupName>,
    configured: &BTreeSet<String>,
    asked: Option<&str>,
) -> Result<GroupName, NotInFront> {
    let several = || groups.iter().cloned().collect::<Vec<_>>();
    if let Some(asked) = asked {
        let meant = groups.iter().find(|group| group.is(asked));
        return meant.cloned().ok_or_else(|| NotInFront::NotThere { asked: asked.to_owned(), there: several() });
    }
    let mut known = groups.iter().filter(|group| configured.contains(&group.id));
    let known = (known.next(), known.next());
    match (known, groups.first(), groups.len()) {
        ((Some(only), None), ..) | (_, Some(only), 1) => Ok(only.clone()),
        _ => Err(NotInFront::Several(several())),
    }
}

/// The owner of addresses that no interface has, as far as a host's name tells. `None` if it says nothing.
#[must_use]
pub fn owner_by_name(host: &str) -> Option<&'static str> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let owners = [
        (".cloudfront.net", "CloudFront, which has no security group; the host that it fetches from may have one"),
        (".awsglobalaccelerator.com", "Global Accelerator, whose endpoints have the groups"),
    ];
    owners.into_iter().find(|(suffix, _)| host.ends_with(suffix)).map(|(_, owner)| owner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn group(id: &str) -> GroupName {
        GroupName { id: format!("sg-{id}"), name: format!("name-{id}") }
    }

    fn interface(id: &str, address: &str, groups: &[&str]) -> NetworkInterface {
        NetworkInterface {
            id: format!("eni-{id}"),
            region: "eu-west-1".to_owned(),
            vpc: "vpc-1".to_owned(),
            subnet: "subnet-1".to_owned(),
            groups: groups.iter().copied().map(group).collect(),
            addresses: [ip(address)].into(),
            public: [ip(address)].into(),
            description: String::new(),
            kind: "interface".to_owned(),
            instance: None,
        }
    }

    fn found(interfaces: &[NetworkInterface], configured: &[&str], asked: Option<&str>) -> Result<String, NotInFront> {
        let addresses = ["203.0.113.1", "203.0.113.2"].map(ip).into();
        let configured = configured.iter().map(|id| format!("sg-{id}")).collect();
        in_front(&addresses, interfaces, &configured, asked).map(|front| front.group.id)
    }

    #[test]
    fn every_row_of_the_table() {
        let one = |groups: &[&str]| vec![interface("1", "203.0.113.1", groups)];
        let both = |a: &[&str], b: &[&str]| vec![interface("1", "203.0.113.1", a), interface("2", "203.0.113.2", b)];
        assert_eq!(found(&one(&["a"]), &[], None), Ok("sg-a".to_owned()));
        assert_eq!(found(&both(&["a", "b"], &["b", "c"]), &[], None), Ok("sg-b".to_owned()), "what both have");
        assert_eq!(found(&one(&["a", "b"]), &["b", "x"], None), Ok("sg-b".to_owned()), "the configured one");
        assert_eq!(found(&one(&["a", "b"]), &[], Some("name-a")), Ok("sg-a".to_owned()), "the one that is named");
        assert_eq!(found(&one(&["a", "b"]), &["b"], Some("sg-a")), Ok("sg-a".to_owned()), "also before a configured");

        let stranger = vec![interface("9", "198.51.100.9", &["a"])];
        assert!(
            matches!(found(&stranger, &[], None), Err(NotInFront::NoInterface(_))),
            "an interface nobody asked for"
        );
        assert!(matches!(found(&one(&[]), &[], None), Err(NotInFront::NoGroup(..))));
        assert!(matches!(found(&both(&["a"], &["b"]), &[], None), Err(NotInFront::NothingInCommon(_))));
        assert!(matches!(found(&both(&["a"], &["b"]), &["a"], None), Err(NotInFront::NothingInCommon(_))));
        assert!(matches!(found(&one(&["a"]), &[], Some("sg-b")), Err(NotInFront::NotThere { .. })));
        assert!(matches!(found(&one(&["a", "b"]), &["a", "b"], None), Err(NotInFront::Several(_))));
        let there = |vpc: &str, id: &str, groups: &[&str]| NetworkInterface {
            vpc: vpc.to_owned(),
            ..interface(id, "203.0.113.1", groups)
        };
        let twice = [there("vpc-1", "1", &["a"]), there("vpc-2", "2", &["b"])];
        let Err(NotInFront::SeveralNetworks(shared, places)) = found(&twice, &[], None) else { panic!() };
        assert_eq!((shared, places.len()), (ip("203.0.113.1"), 2));
        assert_eq!(found(&twice, &["b"], None), Ok("sg-b".to_owned()), "the network of the configured one");
        assert_eq!(found(&twice, &["a", "b"], Some("name-a")), Ok("sg-a".to_owned()));
        assert!(matches!(found(&twice, &["a", "b"], None), Err(NotInFront::SeveralNetworks(..))));
        assert!(matches!(found(&twice, &[], Some("sg-c")), Err(NotInFront::SeveralNetworks(..))));

        let mut apart = both(&["a"], &["a"]);
        apart[1].region = "us-east-1".to_owned();
        assert!(matches!(found(&apart, &[], None), Err(NotInFront::SeveralRegions(_))));
    }

    #[test]
    fn addresses_that_are_not_here_are_named() {
        let addresses = ["203.0.113.1", "203.0.113.2"].map(ip).into();
        let front = in_front(&addresses, &[interface("1", "203.0.113.1", &["a"])], &BTreeSet::new(), None).unwrap();
        assert_eq!(front.addresses, [ip("203.0.113.1")].into());
        assert_eq!(front.elsewhere, [ip("203.0.113.2")].into());
        assert_eq!(front.interfaces.keys().collect::<Vec<_>>(), ["eni-1"]);
    }

    #[test]
    fn what_a_name_tells() {
        assert_eq!(
            owner_by_name("d111.cloudfront.net."),
            Some("CloudFront, which has no security group; the host that it fetches from may have one")
        );
        assert_eq!(owner_by_name("cloudfront.net.example.com"), None);
    }

    #[test]
    fn in_words() {
        let interfaces = vec![interface("1", "203.0.113.1", &["a", "b"])];
        let said = |asked| found(&interfaces, &[], asked).unwrap_err().to_string();
        assert_eq!(said(None), "2 security groups are in front of it: sg-a (name-a), sg-b (name-b)");
        assert_eq!(said(Some("x")), "x is not in front of it; sg-a (name-a), sg-b (name-b) is");
    }
}
