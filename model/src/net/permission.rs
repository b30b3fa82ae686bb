//! Protocols, ports and permissions: what one rule allows, in one canonical form.

use crate::net::{
    address::{IpVersion, network},
    services,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, net::IpAddr, str::FromStr};
use thiserror::Error;

/// An IP protocol, normalised: a number that has a name never appears as `Other`.
///
/// Numbers: IANA "Assigned Internet Protocol Numbers"; the names are those that EC2 uses in `IpProtocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Every protocol and port (`-1`).
    All,
    /// TCP (6).
    Tcp,
    /// UDP (17).
    Udp,
    /// ICMP for IPv4 (1).
    Icmp,
    /// ICMP for IPv6 (58).
    Icmpv6,
    /// Any other protocol number; never made by `eg`, only observed.
    Other(u8),
}

impl Protocol {
    /// From EC2's `IpProtocol`: a name or a number, `-1` for all.
    pub fn from_ec2(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "-1" | "all" => Some(Self::All),
            "tcp" | "6" => Some(Self::Tcp),
            "udp" | "17" => Some(Self::Udp),
            "icmp" | "1" => Some(Self::Icmp),
            "icmpv6" | "58" => Some(Self::Icmpv6),
            number => number.parse().ok().map(Self::Other),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("-1"),
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Icmp => f.write_str("icmp"),
            Self::Icmpv6 => f.write_str("icmpv6"),
            Self::Other(number) => write!(f, "{number}"),
        }
    }
}

/// An item of a resource's `ports` list: `tcp/22`, `tcp/8000-8080`, `udp/51820`, `icmp`, `all`. A number alone is TCP
/// (`22`), and a service's name stands for its port (`ssh`); both are printed in the long form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSpec {
    /// TCP ports from the first to the last, both included.
    Tcp(u16, u16),
    /// UDP ports from the first to the last, both included.
    Udp(u16, u16),
    /// ICMP of every type; ICMPv6 on an IPv6 grant.
    Icmp,
    All,
}

/// The reason why a text is not a [`PortSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{text}\" is not a port: use tcp/22 or 22, tcp/8000-8080, udp/51820, icmp, all or a service as ssh (ports 0 to \
     65535, the lower first)"
)]
pub struct PortSpecError {
    text: String,
}

impl FromStr for PortSpec {
    type Err = PortSpecError;

    fn from_str(text: &str) -> Result<Self, PortSpecError> {
        let refused = || PortSpecError { text: text.to_owned() };
        match text {
            "icmp" => return Ok(Self::Icmp),
            "all" => return Ok(Self::All),
            _ => {}
        }
        let plain = services::by_name(text).unwrap_or(text);
        let (protocol, range) = plain.split_once('/').unwrap_or(("tcp", plain));
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let number = |digits: &str| -> Result<u16, PortSpecError> {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten().ok_or_else(refused)
        };
        let (from, to) = (number(from)?, number(to)?);
        match protocol {
            _ if from > to => Err(refused()),
            "tcp" => Ok(Self::Tcp(from, to)),
            "udp" => Ok(Self::Udp(from, to)),
            _ => Err(refused()),
        }
    }
}

impl PortSpec {
    /// True if this opens everything that `other` opens.
    pub fn contains(self, other: Self) -> bool {
        match (self, other) {
            (Self::All, _) | (Self::Icmp, Self::Icmp) => true,
            (Self::Tcp(from, to), Self::Tcp(first, last)) | (Self::Udp(from, to), Self::Udp(first, last)) => {
                from <= first && last <= to
            }
            _ => false,
        }
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut range = |name: &str, from: u16, to: u16| {
            if from == to { write!(f, "{name}/{from}") } else { write!(f, "{name}/{from}-{to}") }
        };
        match *self {
            Self::Tcp(from, to) => range("tcp", from, to),
            Self::Udp(from, to) => range("udp", from, to),
            Self::Icmp => f.write_str("icmp"),
            Self::All => f.write_str("all"),
        }
    }
}

impl Serialize for PortSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortSpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A permission: protocol, ports and CIDR on some target. Canonical: two permissions that a firewall treats as the
/// same are equal here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    protocol: Protocol,
    from_port: i32,
    to_port: i32,
    cidr: IpNet,
}

impl Permission {
    /// In canonical form: host bits of the CIDR are masked; protocols without ports (`-1` and numbers other than
    /// TCP, UDP and ICMP) carry ports `-1`. For ICMP the "ports" are type and code, `-1` meaning every one
    /// (EC2 API reference, `IpPermission`).
    pub fn new(protocol: Protocol, from_port: i32, to_port: i32, cidr: IpNet) -> Self {
        let (from_port, to_port) = match protocol {
            Protocol::All | Protocol::Other(_) => (-1, -1),
            Protocol::Icmp | Protocol::Icmpv6 if from_port == -1 => (-1, -1),
            _ => (from_port, to_port),
        };
        Self { protocol, from_port, to_port, cidr: cidr.trunc() }
    }

    /// The permission of `spec` for one host address.
    pub fn for_host(spec: PortSpec, host: IpAddr) -> Self {
        Self::for_network(spec, IpNet::from(host))
    }

    /// The permission of `spec` for a network; host bits are masked.
    pub fn for_network(spec: PortSpec, cidr: IpNet) -> Self {
        let icmp = if cidr.addr().is_ipv4() { Protocol::Icmp } else { Protocol::Icmpv6 };
        match spec {
            PortSpec::Tcp(from, to) => Self::new(Protocol::Tcp, from.into(), to.into(), cidr),
            PortSpec::Udp(from, to) => Self::new(Protocol::Udp, from.into(), to.into(), cidr),
            PortSpec::Icmp => Self::new(icmp, -1, -1, cidr),
            PortSpec::All => Self::new(Protocol::All, -1, -1, cidr),
        }
    }

    /// The same ports for another address of the same family, with the same prefix length.
    #[must_use]
    pub fn moved(&self, to: IpAddr) -> Self {
        Self { cidr: network(to, self.cidr.prefix_len()), ..*self }
    }

    /// The ports alone, as a configuration writes them; `None` if `eg` never opens such ports.
    pub fn spec(&self) -> Option<PortSpec> {
        let port = |number: i32| u16::try_from(number).ok();
        match self.protocol {
            Protocol::All => Some(PortSpec::All),
            Protocol::Icmp | Protocol::Icmpv6 if self.from_port == -1 => Some(PortSpec::Icmp),
            Protocol::Tcp => Some(PortSpec::Tcp(port(self.from_port)?, port(self.to_port)?)),
            Protocol::Udp => Some(PortSpec::Udp(port(self.from_port)?, port(self.to_port)?)),
            Protocol::Icmp | Protocol::Icmpv6 | Protocol::Other(_) => None,
        }
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The first port (ICMP: the type), or `-1`.
    pub fn from_port(&self) -> i32 {
        self.from_port
    }

    /// The last port (ICMP: the code), or `-1`.
    pub fn to_port(&self) -> i32 {
        self.to_port
    }

    pub fn cidr(&self) -> IpNet {
        self.cidr
    }

    pub fn ip_version(&self) -> IpVersion {
        IpVersion::of(self.cidr.addr())
    }

    /// The first eight lower-case hex digits of SHA-256 over `group|protocol|from|to|cidr`, for `eg:marks`. The digest
    /// ties a rule's tags to this group and permission, so tags that were copied to another rule do not fit.
    pub fn digest(&self, group: &str) -> String {
        let text = format!("{group}|{self}");
        Sha256::digest(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// True if it opens every protocol and port.
    pub fn is_every_port(&self) -> bool {
        self.protocol == Protocol::All
    }

    /// True if it lets in every address of its family.
    pub fn is_for_everybody(&self) -> bool {
        self.cidr.prefix_len() == 0
    }

    /// True if it lets in everything that `other` lets in.
    pub fn covers(&self, other: &Self) -> bool {
        let all_types = |permission: &Self| permission.from_port == -1;
        let ports = match (self.protocol, other.protocol) {
            (Protocol::All, _) => true,
            (mine, others) if mine != others => false,
            (Protocol::Icmp | Protocol::Icmpv6, _) if all_types(self) => true,
            _ => self.from_port <= other.from_port && other.to_port <= self.to_port,
        };
        ports && self.cidr.contains(&other.cidr)
    }

    /// True if it opens some of these ports. ICMP of either family is the same here.
    pub fn opens_some_of(&self, ports: PortSpec) -> bool {
        let meets = |from: u16, to: u16| self.from_port <= i32::from(to) && i32::from(from) <= self.to_port;
        match (self.protocol, ports) {
            (Protocol::All, _) | (_, PortSpec::All) => true,
            (Protocol::Tcp, PortSpec::Tcp(from, to)) | (Protocol::Udp, PortSpec::Udp(from, to)) => meets(from, to),
            (Protocol::Icmp | Protocol::Icmpv6, PortSpec::Icmp) => true,
            _ => false,
        }
    }

    /// The ports alone, for people: `tcp/22`, `icmp`, `all`.
    pub fn ports(&self) -> String {
        match self.protocol {
            Protocol::All => "all".to_owned(),
            protocol if self.from_port == -1 => protocol.to_string(),
            protocol if self.from_port == self.to_port => format!("{protocol}/{}", self.from_port),
            protocol => format!("{protocol}/{}-{}", self.from_port, self.to_port),
        }
    }
}

/// `tcp|22|22|203.0.113.42/32`: the stored and digested form, read back by [`Permission::from_str`].
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}|{}|{}", self.protocol, self.from_port, self.to_port, self.cidr)
    }
}

impl Serialize for Permission {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The reason why a stored text is not a [`Permission`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{text}\" is not a permission")]
pub struct PermissionError {
    text: String,
}

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let parsed = || {
            let mut parts = text.split('|');
            let protocol = Protocol::from_ec2(parts.next()?)?;
            let from = parts.next()?.parse().ok()?;
            let to = parts.next()?.parse().ok()?;
            let cidr = parts.next()?.parse().ok()?;
            parts.next().is_none().then(|| Self::new(protocol, from, to, cidr))
        };
        parsed().ok_or_else(|| PermissionError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    fn permission(text: &str) -> Permission {
        text.parse().unwrap()
    }

    #[test]
    fn ports_that_meet() {
        for (rule, ports, meet) in [
            ("tcp|22|22|0.0.0.0/0", "tcp/22", true),
            ("tcp|22|22|0.0.0.0/0", "tcp/20-30", true),
            ("tcp|20|30|0.0.0.0/0", "tcp/22", true),
            ("tcp|20|30|0.0.0.0/0", "tcp/30-40", true),
            ("tcp|20|30|0.0.0.0/0", "tcp/31-40", false),
            ("udp|22|22|0.0.0.0/0", "tcp/22", false),
            ("-1|-1|-1|0.0.0.0/0", "tcp/22", true),
            ("udp|53|53|0.0.0.0/0", "all", true),
            ("icmp|-1|-1|0.0.0.0/0", "icmp", true),
            ("icmpv6|-1|-1|::/0", "icmp", true),
            ("icmp|-1|-1|0.0.0.0/0", "tcp/22", false),
            ("47|-1|-1|0.0.0.0/0", "tcp/22", false),
        ] {
            assert_eq!(permission(rule).opens_some_of(ports.parse().unwrap()), meet, "{rule} {ports}");
        }
        assert!(
            permission("tcp|22|22|0.0.0.0/0").is_for_everybody() && permission("tcp|22|22|::/0").is_for_everybody()
        );
        assert!(!permission("tcp|22|22|10.0.0.0/8").is_for_everybody());
    }

    #[test]
    fn ports_read_and_print_the_same() {
        for text in ["tcp/22", "tcp/8000-8080", "udp/51820", "icmp", "all", "tcp/0-65535"] {
            assert_eq!(text.parse::<PortSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn ports_as_people_type_them() {
        for (text, long) in [
            ("22", "tcp/22"),
            ("8000-8080", "tcp/8000-8080"),
            ("ssh", "tcp/22"),
            ("https", "tcp/443"),
            ("rdp", "tcp/3389"),
            ("openvpn", "udp/1194"),
        ] {
            assert_eq!(text.parse::<PortSpec>().unwrap().to_string(), long);
        }
    }

    #[test]
    fn bad_ports_are_refused() {
        for text in [
            "",
            "22x",
            "/22",
            "-22",
            "SSH",
            "gopher",
            "tcp",
            "tcp/",
            "tcp/65536",
            "tcp/2-1",
            "tcp/+22",
            "tcp/22-",
            "TCP/22",
            "icmp/8",
            "sctp/1",
            "tcp/1-2-3",
            " tcp/22",
        ] {
            assert!(text.parse::<PortSpec>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn ports_contain_what_is_no_wider() {
        let contains = |wide: &str, narrow: &str| {
            let (wide, narrow): (PortSpec, PortSpec) = (wide.parse().unwrap(), narrow.parse().unwrap());
            wide.contains(narrow)
        };
        for (wide, narrow) in [
            ("tcp/22", "tcp/22"),
            ("tcp/8000-8080", "tcp/8000-8080"),
            ("tcp/8000-8080", "tcp/8000"),
            ("tcp/8000-8080", "tcp/8080"),
            ("udp/1-9", "udp/2-3"),
            ("icmp", "icmp"),
            ("all", "all"),
            ("all", "tcp/1"),
            ("all", "icmp"),
        ] {
            assert!(contains(wide, narrow), "{narrow} in {wide}");
        }
        for (wide, narrow) in [
            ("tcp/22", "tcp/21-22"),
            ("tcp/22", "tcp/22-23"),
            ("tcp/22", "udp/22"),
            ("udp/22", "tcp/22"),
            ("tcp/0-65535", "all"),
            ("tcp/0-65535", "icmp"),
            ("icmp", "all"),
            ("icmp", "tcp/1"),
        ] {
            assert!(!contains(wide, narrow), "{narrow} in {wide}");
        }
    }

    #[test]
    fn equal_for_a_firewall_is_equal_here() {
        assert_eq!(permission("6|22|22|203.0.113.42/32"), permission("tcp|22|22|203.0.113.42/32"));
        assert_eq!(permission("-1|0|65535|10.1.2.3/8"), permission("-1|-1|-1|10.0.0.0/8"));
        assert_eq!(permission("58|-1|-1|2001:db8::1/128"), permission("icmpv6|-1|-1|2001:DB8::1/128"));
    }

    #[test]
    fn icmp_follows_the_family() {
        let v4 = Permission::for_host(PortSpec::Icmp, "203.0.113.42".parse().unwrap());
        let v6 = Permission::for_host(PortSpec::Icmp, "2001:db8::1".parse().unwrap());
        assert_eq!(v4.to_string(), "icmp|-1|-1|203.0.113.42/32");
        assert_eq!(v6.to_string(), "icmpv6|-1|-1|2001:db8::1/128");
    }

    #[test]
    fn what_is_opened_can_be_written_again() {
        for host in ["203.0.113.42", "2001:db8::1"] {
            for text in ["tcp/22", "tcp/8000-8080", "udp/51820", "icmp", "all", "tcp/0-65535"] {
                let spec: PortSpec = text.parse().unwrap();
                assert_eq!(Permission::for_host(spec, host.parse().unwrap()).spec(), Some(spec));
            }
        }
        assert_eq!(permission("icmp|8|0|203.0.113.42/32").spec(), None);
        assert_eq!(permission("47|-1|-1|203.0.113.42/32").spec(), None);
    }

    /// The published test vector: `printf 'sg-0abc123def4567890|tcp|22|22|203.0.113.42/32' | sha256sum`.
    #[test]
    fn digest_vector() {
        let digest = permission("tcp|22|22|203.0.113.42/32").digest("sg-0abc123def4567890");
        assert_eq!(digest, "e1f2c308");
        let all = permission("-1|-1|-1|2001:db8::1/128").digest("sg-0abc123def4567890");
        assert_eq!(all, "575c7989");
    }
}
