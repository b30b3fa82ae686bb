//! A host and port behind a firewall (`host:port`), and the obstacles that remain although the rules are open.

use crate::{
    net::{
        address::IpVersion,
        permission::{Permission, Protocol},
    },
    session::record::Session,
};
use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};
use thiserror::Error;

/// The longest name that DNS can hold (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;

/// A host, by name or address, and a TCP port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// The reason why a text is not an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{text}\" is not a host and port: use name:22, 192.0.2.1:22 or [2001:db8::1]:22")]
pub struct EndpointError {
    text: String,
}

impl Endpoint {
    pub(super) fn new(host: String, port: u16) -> Self {
        Self { host, port }
    }

    /// The name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, from 1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        parse(text).ok_or_else(|| EndpointError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port > 0)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
        None => Some(host).filter(|host| is_name(host))?.to_owned(),
    };
    Some(Endpoint { host, port })
}

/// A name or an IPv4 address. DNS does not allow underscores for hosts, but such names exist.
pub(super) fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        let fits = (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
        fits && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= LONGEST_NAME && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The reason why an endpoint was not reached.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreached {
    /// Its name has no address; with the words of the resolver.
    #[error("its name cannot be resolved: {0}")]
    NoName(String),
    /// All of its addresses are of a family that the session did not open.
    #[error("it has {0} addresses alone, and the session is not for {0}")]
    OtherFamily(IpVersion),
    #[error("it refuses the connection")]
    Refused,
    #[error("it does not answer")]
    Silent,
    /// The connection failed on the way; with the words of the system.
    #[error("{0}")]
    Failed(String),
}

/// The possible obstacles of a session whose rules are open: those that `eg` cannot open, or was not asked to open. `known`:
/// true if the endpoint's network interface was found, so that its groups and its network are no matter of guessing.
pub fn advice(endpoint: &Endpoint, why: &Unreached, session: &Session, known: bool) -> Vec<String> {
    match why {
        Unreached::NoName(_) => vec!["check the name; a private one resolves only inside its network".to_owned()],
        Unreached::OtherFamily(version) => {
            vec![format!("start a session for {version}, or name an address of the other family")]
        }
        Unreached::Refused => vec![
            "an answer came back, so the way there is open: most likely nothing listens on that port".to_owned(),
            "else the firewall of the host itself rejects it".to_owned(),
        ],
        Unreached::Silent | Unreached::Failed(_) => in_the_way(endpoint, session, known),
    }
}

fn in_the_way(endpoint: &Endpoint, session: &Session, known: bool) -> Vec<String> {
    let grants = || session.current();
    let mut hints = Vec::new();
    if !grants().flat_map(|grant| &grant.permissions).any(|item| opens(&item.permission, endpoint.port)) {
        hints
            .push(format!("no resource of this session opens tcp/{}: see `ports` in the configuration", endpoint.port));
    }
    let groups: BTreeSet<&str> = grants().map(|grant| grant.target.key.id.as_str()).collect();
    let groups: Vec<&str> = groups.into_iter().collect();
    if known {
        hints.push("the firewall of the host may be in the way, or the host is down".to_owned());
    } else {
        hints.push(format!("another security group may be the one attached there: opened were {}", groups.join(", ")));
        hints.push(
            "a network ACL, a route or the firewall of the host may be in the way, or the host is down".to_owned(),
        );
    }
    let addresses: BTreeSet<IpAddr> = grants().map(|grant| grant.address).collect();
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    hints.push(format!(
        "your way there may leave from another address than {}: through a VPN or a proxy, or out of the same network",
        addresses.join(" and ")
    ));
    hints
}

fn opens(permission: &Permission, port: u16) -> bool {
    let range = permission.from_port()..=permission.to_port();
    match permission.protocol() {
        Protocol::All => true,
        Protocol::Tcp => range.contains(&i32::from(port)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, host, port) in [
            ("db.example.com:5432", "db.example.com", 5432),
            ("db.example.com.:5432", "db.example.com.", 5432),
            ("localhost:1", "localhost", 1),
            ("my_host:65535", "my_host", 65535),
            ("192.0.2.1:22", "192.0.2.1", 22),
            ("[2001:DB8:0::1]:22", "2001:db8::1", 22),
            ("[::ffff:192.0.2.1]:22", "::ffff:192.0.2.1", 22),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host(), endpoint.port()), (host, port), "{text}");
            assert_eq!(endpoint.to_string().parse(), Ok(endpoint), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        let (label, name) = (format!("{}:22", "a".repeat(64)), format!("{}a:22", "a.".repeat(127)));
        for text in [
            "",
            ":",
            ":22",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+22",
            "host: 22",
            "host:000022",
            "host:ssh",
            " host:22",
            "ho st:22",
            "host..name:22",
            ".host:22",
            "-host:22",
            "host-:22",
            "user@host:22",
            "http://host:22",
            "2001:db8::1:22",
            "[2001:db8::1]",
            "[2001:db8::1]22",
            "[fe80::1%eth0]:22",
            "[192.0.2.1]:22",
            "[]:22",
            "[[::1]]:22",
            "hôst:22",
            "host\u{0}:22",
            &label,
            &name,
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError { text: text.to_owned() }), "{text:?}");
        }
        assert_eq!(
            "db".parse::<Endpoint>().unwrap_err().to_string(),
            "\"db\" is not a host and port: use name:22, 192.0.2.1:22 or [2001:db8::1]:22"
        );
    }

    #[test]
    fn which_permissions_open_a_port() {
        for (spec, port, expected) in [
            ("tcp/22", 22, true),
            ("tcp/22", 23, false),
            ("tcp/8000-8080", 8000, true),
            ("tcp/8000-8080", 8080, true),
            ("tcp/8000-8080", 8081, false),
            ("udp/22", 22, false),
            ("icmp", 22, false),
            ("all", 22, true),
        ] {
            let permission = Permission::for_host(spec.parse().unwrap(), "192.0.2.1".parse().unwrap());
            assert_eq!(opens(&permission, port), expected, "{spec} {port}");
        }
    }
}
