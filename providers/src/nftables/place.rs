//! The place of a permission in a table: the set that is named for its ports, and an address in it.
//!
//! | permission | set | element |
//! |---|---|---|
//! | `tcp/22` from 203.0.113.42/32 | `v4_tcp_22` | `203.0.113.42` |
//! | `tcp/8000-8080` from 203.0.113.0/24 | `v4_24_tcp_8000_8080` | `203.0.113.0` |
//! | `udp/51820` from 2001:db8::/64 | `v6_64_udp_51820` | `2001:db8::` |
//! | `icmp` from 2001:db8::1/128 | `v6_icmp` | `2001:db8::1` |
//! | `all` from 203.0.113.42/32 | `v4_all` | `203.0.113.42` |
//!
//! Every element is one address, which the rule of its set compares after masking the packet's. Sets of ranges
//! (`flags interval`) would need fewer rules, and cannot be used: the kernel takes an element that contains another one,
//! and to delete the one may then delete the other (seen with Linux 6.18 and nft 1.0.6).

use eg_model::net::{
    address::IpVersion,
    permission::{Permission, PortSpec},
};
use ipnet::IpNet;
use std::{fmt, net::IpAddr, str::FromStr};

/// The bits that mark a packet which is let in: "eg" in ASCII, in the upper half.
pub const MARK: &str = "0x65670000";

/// The set for the same ports from networks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetName {
    family: IpVersion,
    prefix_len: u8,
    ports: PortSpec,
}

/// A permission, as the table holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub set: SetName,
    pub address: IpAddr,
}

impl Place {
    /// `None` if `eg` never opens such ports.
    pub fn of(permission: &Permission) -> Option<Self> {
        let (cidr, ports) = (permission.cidr(), permission.spec()?);
        let set = SetName { family: permission.ip_version(), prefix_len: cidr.prefix_len(), ports };
        Some(Self { set, address: cidr.addr() })
    }
}

/// The length of one address.
fn whole(family: IpVersion) -> u8 {
    match family {
        IpVersion::V4 => 32,
        IpVersion::V6 => 128,
    }
}

impl SetName {
    /// The permission of an address in the set; `None` if the rule of the set never matches the address.
    pub fn permission(self, address: IpAddr) -> Option<Permission> {
        let network =
            IpNet::new(address, self.prefix_len).ok().filter(|network| network.addr() == network.network())?;
        (IpVersion::of(address) == self.family).then(|| Permission::for_network(self.ports, network))
    }

    /// The type of the set's elements.
    pub fn element_type(self) -> &'static str {
        match self.family {
            IpVersion::V4 => "ipv4_addr",
            IpVersion::V6 => "ipv6_addr",
        }
    }

    /// The rule that marks the packets which the set lets in. Its comment is for people.
    pub fn rule(self) -> String {
        let source = match self.family {
            IpVersion::V4 => "ip saddr",
            IpVersion::V6 => "ip6 saddr",
        };
        let masked = match self.mask() {
            Some(mask) => format!("{source} & {mask}"),
            None => source.to_owned(),
        };
        let range = |from: u16, to: u16| if from == to { from.to_string() } else { format!("{from}-{to}") };
        let ports = match self.ports {
            PortSpec::Tcp(from, to) => format!(" tcp dport {}", range(from, to)),
            PortSpec::Udp(from, to) => format!(" udp dport {}", range(from, to)),
            PortSpec::Icmp if self.family == IpVersion::V4 => " meta l4proto icmp".to_owned(),
            PortSpec::Icmp => " meta l4proto ipv6-icmp".to_owned(),
            PortSpec::All => String::new(),
        };
        format!("{masked} @{self}{ports} meta mark set meta mark | {MARK}")
    }

    /// `None` for single addresses.
    fn mask(self) -> Option<IpAddr> {
        let network =
            IpNet::new(if self.family == IpVersion::V4 { [0; 4].into() } else { [0; 16].into() }, self.prefix_len);
        network.ok().filter(|_| self.prefix_len < whole(self.family)).map(|network| network.netmask())
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.family.number())?;
        if self.prefix_len < whole(self.family) {
            write!(f, "_{}", self.prefix_len)?;
        }
        match self.ports {
            PortSpec::Tcp(from, to) if from == to => write!(f, "_tcp_{from}"),
            PortSpec::Udp(from, to) if from == to => write!(f, "_udp_{from}"),
            PortSpec::Tcp(from, to) => write!(f, "_tcp_{from}_{to}"),
            PortSpec::Udp(from, to) => write!(f, "_udp_{from}_{to}"),
            PortSpec::Icmp => f.write_str("_icmp"),
            PortSpec::All => f.write_str("_all"),
        }
    }
}

/// The name is not that of a set which `eg` makes.
#[derive(Debug)]
pub struct NotASet;

impl FromStr for SetName {
    type Err = NotASet;

    fn from_str(text: &str) -> Result<Self, NotASet> {
        let parsed = || {
            let (family, rest) = text.split_once('_')?;
            let family = match family {
                "v4" => IpVersion::V4,
                "v6" => IpVersion::V6,
                _ => return None,
            };
            let (prefix_len, ports) = match rest.split_once('_').and_then(|(len, rest)| Some((len.parse().ok()?, rest)))
            {
                Some((len, ports)) => (len, ports),
                None => (whole(family), rest),
            };
            let ports = match ports.split_once('_') {
                None => ports.to_owned(),
                Some((protocol, range)) => format!("{protocol}/{}", range.replace('_', "-")),
            };
            Some(Self { family, prefix_len, ports: ports.parse().ok()? })
        };
        // One name for each set: `v4_tcp_22_22` and `v4_32_tcp_22` are somebody else's.
        parsed().filter(|name| name.prefix_len <= whole(name.family) && name.to_string() == text).ok_or(NotASet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_of_eg_has_a_place_and_a_rule() {
        for (permission, set, address, rule) in [
            ("tcp|22|22|203.0.113.42/32", "v4_tcp_22", "203.0.113.42", "ip saddr @v4_tcp_22 tcp dport 22"),
            (
                "tcp|8000|8080|203.0.113.0/24",
                "v4_24_tcp_8000_8080",
                "203.0.113.0",
                "ip saddr & 255.255.255.0 @v4_24_tcp_8000_8080 tcp dport 8000-8080",
            ),
            (
                "udp|51820|51820|2001:db8::/64",
                "v6_64_udp_51820",
                "2001:db8::",
                "ip6 saddr & ffff:ffff:ffff:ffff:: @v6_64_udp_51820 udp dport 51820",
            ),
            ("icmp|-1|-1|203.0.113.42/32", "v4_icmp", "203.0.113.42", "ip saddr @v4_icmp meta l4proto icmp"),
            ("icmpv6|-1|-1|2001:db8::1/128", "v6_icmp", "2001:db8::1", "ip6 saddr @v6_icmp meta l4proto ipv6-icmp"),
            ("-1|-1|-1|2001:db8::1/128", "v6_all", "2001:db8::1", "ip6 saddr @v6_all"),
        ] {
            let permission: Permission = permission.parse().unwrap();
            let place = Place::of(&permission).unwrap();
            assert_eq!((place.set.to_string().as_str(), place.address.to_string().as_str()), (set, address));
            assert_eq!(place.set.rule(), format!("{rule} meta mark set meta mark | {MARK}"));
            assert_eq!(set.parse::<SetName>().unwrap(), place.set);
            assert_eq!(place.set.permission(place.address), Some(permission));
        }
    }

    #[test]
    fn what_eg_never_opens_has_no_place() {
        for permission in ["47|-1|-1|203.0.113.42/32", "icmp|8|0|203.0.113.42/32"] {
            assert_eq!(Place::of(&permission.parse().unwrap()), None, "{permission}");
        }
        let networks: SetName = "v4_24_tcp_22".parse().unwrap();
        for address in ["203.0.113.42", "2001:db8::"] {
            assert_eq!(networks.permission(address.parse().unwrap()), None, "{address}: the rule never matches it");
        }
    }

    #[test]
    fn other_sets_are_not_eg_s() {
        for name in [
            "",
            "v4",
            "v4_",
            "v5_tcp_22",
            "tcp_22",
            "v4_tcp",
            "v4_tcp_22_22",
            "v4_tcp_022",
            "v4_tcp_30_20",
            "v4_32_tcp_22",
            "v4_33_tcp_22",
            "v6_129_all",
            "v4_sctp_22",
            "v4_22",
            "v4_ssh",
            "v4_tcp_ssh",
            "version",
            "V4_tcp_22",
            "v4_tcp_22 ",
        ] {
            assert!(name.parse::<SetName>().is_err(), "{name}");
        }
    }
}
