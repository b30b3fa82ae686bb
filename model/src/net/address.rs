//! IP addresses: families, and which addresses may be opened.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IpVersion {
    #[serde(rename = "ipv4")]
    V4,
    #[serde(rename = "ipv6")]
    V6,
}

impl IpVersion {
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// 4 or 6.
    pub fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IPv{}", self.number())
    }
}

/// The size of the network around an address that a session opens, for each family. One host by default; some carriers
/// change an address within its network all the time, and their customers can ask for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixLengths {
    v4: u8,
    v6: u8,
}

impl Default for PrefixLengths {
    /// One host.
    fn default() -> Self {
        Self { v4: 32, v6: 128 }
    }
}

impl PrefixLengths {
    /// The accepted lengths of a family: never wider than the network that a carrier gives to one neighbourhood.
    pub fn accepted(version: IpVersion) -> RangeInclusive<u8> {
        match version {
            IpVersion::V4 => 24..=32,
            IpVersion::V6 => 64..=128,
        }
    }

    /// Both lengths; `None` if one of them is not [`Self::accepted`].
    pub fn new(v4: u8, v6: u8) -> Option<Self> {
        let fits = |version, length| Self::accepted(version).contains(&length);
        (fits(IpVersion::V4, v4) && fits(IpVersion::V6, v6)).then_some(Self { v4, v6 })
    }

    /// The length for one family.
    pub fn of(self, version: IpVersion) -> u8 {
        match version {
            IpVersion::V4 => self.v4,
            IpVersion::V6 => self.v6,
        }
    }

    /// The network to open for an address, host bits masked.
    pub fn around(self, address: IpAddr) -> IpNet {
        network(address, self.of(IpVersion::of(address)))
    }
}

/// The network of an address, host bits masked. A length that the family does not have is its longest.
pub fn network(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).unwrap_or_else(|_| IpNet::from(address)).trunc()
}

/// The reason why an address from the user is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("\"{text}\" is not an {version} address")]
    NotAnAddress { text: String, version: IpVersion },
    #[error("{address} is an {} address, not an {version} address", IpVersion::of(*address))]
    OtherFamily { address: IpAddr, version: IpVersion },
    /// A network; `eg` opens to one host.
    #[error("\"{text}\" is a range: give one host address, without a prefix length")]
    Range { text: String },
    /// An address with a zone index, which has a meaning on this machine only.
    #[error("\"{text}\" names a zone (%): such an address means something on this machine only")]
    Zoned { text: String },
    /// An address that no other single host has.
    #[error("{address} cannot be opened: it is {}", kind.describe())]
    NotUnicast { address: IpAddr, kind: NotUnicast },
}

/// The kinds of address that are never opened, not even when given explicitly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotUnicast {
    /// `0.0.0.0` or `::`, which firewalls read as every address.
    Unspecified,
    /// The rest of `0.0.0.0/8` (RFC 791, section 3.2), which no host has.
    ThisNetwork,
    /// `127.0.0.0/8` or `::1`.
    Loopback,
    /// `169.254.0.0/16` or `fe80::/10`.
    LinkLocal,
    /// `224.0.0.0/4` or `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// `::ffff:0:0/96`: an IPv4 address in IPv6 notation, which no packet carries.
    Ipv4Mapped,
}

impl NotUnicast {
    fn describe(self) -> &'static str {
        match self {
            Self::Unspecified => "the unspecified address",
            Self::ThisNetwork => "in 0.0.0.0/8, where no host is",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Ipv4Mapped => "an IPv4-mapped address; give the IPv4 address itself",
        }
    }

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Option<Self> {
        match address {
            a if a.is_unspecified() => Some(Self::Unspecified),
            a if a.octets().first() == Some(&0) => Some(Self::ThisNetwork),
            a if a.is_loopback() => Some(Self::Loopback),
            a if a.is_link_local() => Some(Self::LinkLocal),
            a if a.is_multicast() => Some(Self::Multicast),
            a if a.is_broadcast() => Some(Self::Broadcast),
            _ => None,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Option<Self> {
        match address {
            a if a.is_unspecified() => Some(Self::Unspecified),
            a if a.is_loopback() => Some(Self::Loopback),
            a if a.is_unicast_link_local() => Some(Self::LinkLocal),
            a if a.is_multicast() => Some(Self::Multicast),
            a if a.to_ipv4_mapped().is_some() => Some(Self::Ipv4Mapped),
            _ => None,
        }
    }
}

/// Checks an address from the user for the family `version`. Any unicast host address is accepted, for example the
/// private one of a VPN peer.
///
/// # Errors
/// An address of the other family, or one of [`NotUnicast`].
pub fn check_explicit(address: IpAddr, version: IpVersion) -> Result<IpAddr, AddressError> {
    if IpVersion::of(address) != version {
        return Err(AddressError::OtherFamily { address, version });
    }
    match NotUnicast::of(address) {
        Some(kind) => Err(AddressError::NotUnicast { address, kind }),
        None => Ok(address),
    }
}

/// Reads an address that the user gave as one of `version`, and checks it with [`check_explicit`].
///
/// # Errors
/// As [`check_explicit`], and text that is a range, names a zone, or is not an address at all.
pub fn parse_explicit(text: &str, version: IpVersion) -> Result<IpAddr, AddressError> {
    let owned = || text.to_owned();
    if text.contains('/') {
        return Err(AddressError::Range { text: owned() });
    }
    if text.contains('%') {
        return Err(AddressError::Zoned { text: owned() });
    }
    let address = text.parse().map_err(|_| AddressError::NotAnAddress { text: owned(), version })?;
    check_explicit(address, version)
}

/// A block of addresses with a special purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialBlock {
    pub block: IpNet,
    pub name: &'static str,
    /// The document that made it.
    pub source: &'static str,
    /// True if a user can have an address of this block on the Internet.
    pub routable: bool,
}

impl fmt::Display for SpecialBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.block, self.name, self.source)
    }
}

const fn v4(address: [u8; 4], length: u8, name: &'static str, source: &'static str, routable: bool) -> SpecialBlock {
    let [a, b, c, d] = address;
    let block = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length));
    SpecialBlock { block, name, source, routable }
}

const fn v6(address: [u16; 8], length: u8, name: &'static str, source: &'static str, routable: bool) -> SpecialBlock {
    let [a, b, c, d, e, f, g, h] = address;
    let block = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length));
    SpecialBlock { block, name, source, routable }
}

/// The special-purpose blocks, more specific ones overriding those around them.
///
/// `routable` is the registry's "Globally Reachable", but also false for "N/A" (6to4, Teredo, old ORCHID, the 6to4
/// relay anycast), for `64:ff9b::/96` (an address there stands for an IPv4 host behind a translator), and for
/// multicast, which the registries leave out.
pub const SPECIAL_BLOCKS: &[SpecialBlock] = &[
    v4([0, 0, 0, 0], 8, "This network", "RFC 791", false),
    v4([10, 0, 0, 0], 8, "Private-Use", "RFC 1918", false),
    v4([100, 64, 0, 0], 10, "Shared Address Space", "RFC 6598", false),
    v4([127, 0, 0, 0], 8, "Loopback", "RFC 1122", false),
    v4([169, 254, 0, 0], 16, "Link Local", "RFC 3927", false),
    v4([172, 16, 0, 0], 12, "Private-Use", "RFC 1918", false),
    v4([192, 0, 0, 0], 24, "IETF Protocol Assignments", "RFC 6890", false),
    v4([192, 0, 0, 0], 29, "IPv4 Service Continuity Prefix", "RFC 7335", false),
    v4([192, 0, 0, 8], 32, "IPv4 dummy address", "RFC 7600", false),
    v4([192, 0, 0, 9], 32, "Port Control Protocol Anycast", "RFC 7723", true),
    v4([192, 0, 0, 10], 32, "Traversal Using Relays around NAT Anycast", "RFC 8155", true),
    v4([192, 0, 0, 170], 31, "NAT64/DNS64 Discovery", "RFC 8880", false),
    v4([192, 0, 2, 0], 24, "Documentation (TEST-NET-1)", "RFC 5737", false),
    v4([192, 31, 196, 0], 24, "AS112-v4", "RFC 7535", true),
    v4([192, 52, 193, 0], 24, "AMT", "RFC 7450", true),
    v4([192, 88, 99, 0], 24, "Deprecated (6to4 Relay Anycast)", "RFC 7526", false),
    v4([192, 88, 99, 2], 32, "6a44 Relay Anycast", "RFC 6751", false),
    v4([192, 168, 0, 0], 16, "Private-Use", "RFC 1918", false),
    v4([192, 175, 48, 0], 24, "Direct Delegation AS112 Service", "RFC 7534", true),
    v4([198, 18, 0, 0], 15, "Benchmarking", "RFC 2544", false),
    v4([198, 51, 100, 0], 24, "Documentation (TEST-NET-2)", "RFC 5737", false),
    v4([203, 0, 113, 0], 24, "Documentation (TEST-NET-3)", "RFC 5737", false),
    v4([224, 0, 0, 0], 4, "Multicast", "RFC 5771", false),
    v4([240, 0, 0, 0], 4, "Reserved", "RFC 1112", false),
    v4([255, 255, 255, 255], 32, "Limited Broadcast", "RFC 8190", false),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "Unspecified Address", "RFC 4291", false),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "Loopback Address", "RFC 4291", false),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped Address", "RFC 4291", false),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "IPv4-IPv6 Translation", "RFC 6052", false),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "IPv4-IPv6 Translation", "RFC 8215", false),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "Discard-Only Address Block", "RFC 6666", false),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "Dummy IPv6 Prefix", "RFC 9780", false),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "IETF Protocol Assignments", "RFC 2928", false),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "TEREDO", "RFC 4380", false),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, "Port Control Protocol Anycast", "RFC 7723", true),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, "Traversal Using Relays around NAT Anycast", "RFC 8155", true),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, "DNS-SD Service Registration Protocol Anycast", "RFC 9665", true),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "Benchmarking", "RFC 5180", false),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, "AMT", "RFC 7450", true),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, "AS112-v6", "RFC 7535", true),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "Deprecated (previously ORCHID)", "RFC 4843", false),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2", "RFC 7343", true),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, "Drone Remote ID Protocol Entity Tags", "RFC 9374", true),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "Documentation", "RFC 3849", false),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4", "RFC 3056", false),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "Direct Delegation AS112 Service", "RFC 7534", true),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "Documentation", "RFC 9637", false),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "Segment Routing (SRv6) SIDs", "RFC 9602", false),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "Unique-Local", "RFC 4193", false),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "Link-Local Unicast", "RFC 4291", false),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "Multicast", "RFC 4291", false),
];

/// The smallest special-purpose block that holds an address, for messages about addresses that are not routable.
pub fn special_block(address: IpAddr) -> Option<&'static SpecialBlock> {
    SPECIAL_BLOCKS
        .iter()
        .filter(|special| special.block.contains(&address))
        .max_by_key(|special| special.block.prefix_len())
}

/// True if a user can have this address on the Internet: no block of [`SPECIAL_BLOCKS`] says otherwise, and an IPv6
/// address is inside `2000::/3`, the only global unicast space that IANA gives out.
pub fn is_globally_routable(address: IpAddr) -> bool {
    let assigned = match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => v6.octets().first().is_some_and(|first| first >> 5 == 0b001),
    };
    assigned && special_block(address).is_none_or(|special| special.routable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn refusal(text: &str, version: IpVersion) -> String {
        parse_explicit(text, version).unwrap_err().to_string()
    }

    #[test]
    fn any_unicast_host_may_be_given() {
        for text in ["203.0.113.42", "10.8.0.2", "192.168.1.1", "100.64.0.1", "8.8.8.8"] {
            assert_eq!(parse_explicit(text, IpVersion::V4), Ok(ip(text)));
        }
        for text in ["2001:db8::1", "fd00::1", "2600::1"] {
            assert_eq!(parse_explicit(text, IpVersion::V6), Ok(ip(text)));
        }
    }

    #[test]
    fn every_refusal_says_which() {
        use IpVersion::{V4, V6};
        for (text, version, expected) in [
            ("0.0.0.0", V4, "0.0.0.0 cannot be opened: it is the unspecified address"),
            ("0.1.2.3", V4, "0.1.2.3 cannot be opened: it is in 0.0.0.0/8, where no host is"),
            ("127.0.0.2", V4, "127.0.0.2 cannot be opened: it is a loopback address"),
            ("169.254.1.1", V4, "169.254.1.1 cannot be opened: it is a link-local address"),
            ("239.1.1.1", V4, "239.1.1.1 cannot be opened: it is a multicast address"),
            ("255.255.255.255", V4, "255.255.255.255 cannot be opened: it is the broadcast address"),
            ("203.0.113.0/24", V4, "\"203.0.113.0/24\" is a range: give one host address, without a prefix length"),
            ("203.0.113.1/32", V4, "\"203.0.113.1/32\" is a range: give one host address, without a prefix length"),
            ("2001:db8::1", V4, "2001:db8::1 is an IPv6 address, not an IPv4 address"),
            ("office", V4, "\"office\" is not an IPv4 address"),
            ("", V4, "\"\" is not an IPv4 address"),
            ("203.0.113.042", V4, "\"203.0.113.042\" is not an IPv4 address"),
            (" 203.0.113.42", V4, "\" 203.0.113.42\" is not an IPv4 address"),
            ("203.0.113.42", V6, "203.0.113.42 is an IPv4 address, not an IPv6 address"),
            ("::", V6, ":: cannot be opened: it is the unspecified address"),
            ("::1", V6, "::1 cannot be opened: it is a loopback address"),
            ("febf::1", V6, "febf::1 cannot be opened: it is a link-local address"),
            ("ff02::1", V6, "ff02::1 cannot be opened: it is a multicast address"),
            (
                "::ffff:203.0.113.42",
                V6,
                "::ffff:203.0.113.42 cannot be opened: it is an IPv4-mapped address; give the IPv4 address itself",
            ),
            (
                "fe80::1%eth0",
                V6,
                "\"fe80::1%eth0\" names a zone (%): such an address means something on this machine only",
            ),
            ("[2001:db8::1]", V6, "\"[2001:db8::1]\" is not an IPv6 address"),
        ] {
            assert_eq!(refusal(text, version), expected);
        }
    }

    fn last(block: IpNet) -> IpAddr {
        match block {
            IpNet::V4(net) => net.broadcast().into(),
            IpNet::V6(net) => net.broadcast().into(),
        }
    }

    #[test]
    fn blocks_are_networks_and_unique() {
        for (index, special) in SPECIAL_BLOCKS.iter().enumerate() {
            assert_eq!(special.block, special.block.trunc(), "{special}");
            assert!(SPECIAL_BLOCKS.iter().skip(index + 1).all(|other| other.block != special.block), "{special} twice");
        }
    }

    #[test]
    fn both_ends_of_every_block_belong_to_it() {
        for special in SPECIAL_BLOCKS {
            for edge in [special.block.network(), last(special.block)] {
                let found = special_block(edge).unwrap();
                assert!(special.block.contains(&found.block.network()), "{edge} is in {found}, not in {special}");
                assert_eq!(is_globally_routable(edge), found.routable, "{edge}");
            }
        }
    }

    /// First and last address of each outermost block that says no, with the neighbours on either side.
    #[test]
    fn ipv4_edges() {
        for (before, first, last, after) in [
            ("", "0.0.0.0", "0.255.255.255", "1.0.0.0"),
            ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
            ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
            ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
            ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
            ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
            ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
            ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
            ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
            ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
            ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
            ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
            ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
            ("223.255.255.255", "224.0.0.0", "255.255.255.255", ""),
        ] {
            edges(before, first, last, after);
        }
    }

    #[test]
    fn ipv6_edges() {
        let ones = "ffff:ffff:ffff:ffff:ffff:ffff";
        for (before, first, last, after) in [
            ("", "::", &format!("1fff:ffff:{ones}"), "2000::"),
            (&format!("2000:ffff:{ones}"), "2001::", "2001:1::", "2001:1::1"),
            ("2001:1::3", "2001:1::4", &format!("2001:2:{ones}"), "2001:3::"),
            (&format!("2001:3:{ones}"), "2001:4::", "2001:4:111:ffff:ffff:ffff:ffff:ffff", "2001:4:112::"),
            ("2001:4:112:ffff:ffff:ffff:ffff:ffff", "2001:4:113::", &format!("2001:1f:{ones}"), "2001:20::"),
            (&format!("2001:3f:{ones}"), "2001:40::", &format!("2001:1ff:{ones}"), "2001:200::"),
            (&format!("2001:db7:{ones}"), "2001:db8::", &format!("2001:db8:{ones}"), "2001:db9::"),
            (&format!("2001:ffff:{ones}"), "2002::", &format!("2002:ffff:{ones}"), "2003::"),
            (&format!("3ffe:ffff:{ones}"), "3fff::", &format!("3fff:fff:{ones}"), "3fff:1000::"),
            (&format!("3fff:ffff:{ones}"), "4000::", &format!("ffff:ffff:{ones}"), ""),
        ] as [(&str, &str, &str, &str); 10]
        {
            edges(before, first, last, after);
        }
    }

    fn edges(before: &str, first: &str, last: &str, after: &str) {
        for inside in [first, last] {
            assert!(!is_globally_routable(ip(inside)), "{inside} was taken for routable");
        }
        for outside in [before, after].iter().filter(|text| !text.is_empty()) {
            assert!(is_globally_routable(ip(outside)), "{outside} was refused");
        }
    }

    #[test]
    fn exceptions_inside_special_blocks() {
        for text in [
            "192.0.0.9",
            "192.0.0.10",
            "192.31.196.1",
            "192.52.193.1",
            "192.175.48.1",
            "2001:1::1",
            "2001:1::3",
            "2620:4f:8000::1",
        ] {
            assert!(is_globally_routable(ip(text)), "{text}");
        }
        for text in [
            "192.0.0.8",
            "192.0.0.11",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "::ffff:8.8.8.8",
            "2002:808:808::1",
            "fd00::1",
            "5f00::1",
        ] {
            assert!(!is_globally_routable(ip(text)), "{text}");
        }
    }

    #[test]
    fn networks_around_an_address() {
        let around = |v4, v6, text: &str| PrefixLengths::new(v4, v6).unwrap().around(ip(text)).to_string();
        assert_eq!(PrefixLengths::default().around(ip("203.0.113.42")).to_string(), "203.0.113.42/32");
        assert_eq!(PrefixLengths::default().around(ip("2001:db8::42")).to_string(), "2001:db8::42/128");
        assert_eq!(around(24, 64, "203.0.113.42"), "203.0.113.0/24");
        assert_eq!(around(31, 64, "203.0.113.43"), "203.0.113.42/31");
        assert_eq!(around(24, 64, "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(around(24, 127, "2001:db8::43"), "2001:db8::42/127");
        for (v4, v6) in [(23, 128), (33, 128), (32, 63), (32, 129), (0, 0)] {
            assert_eq!(PrefixLengths::new(v4, v6), None, "{v4} {v6}");
        }
    }

    #[test]
    fn a_block_names_itself() {
        let block = special_block(ip("203.0.113.42")).unwrap();
        assert_eq!(block.to_string(), "203.0.113.0/24 (Documentation (TEST-NET-3), RFC 5737)");
        assert_eq!(special_block(ip("8.8.8.8")), None);
    }
}
