//! A host that a user names in the place of a firewall (`db.example.com:5432`).

use super::host_port::{Endpoint, is_name};
use serde::{Deserialize, Serialize};
use std::{fmt, net::Ipv6Addr, str::FromStr};
use thiserror::Error;

/// A host, by name or address, and the TCP port to open, if one is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host {
    name: String,
    port: Option<u16>,
}

/// The reason why a text is not a [`Host`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{text}\" is not a host: use name:5432, name, 192.0.2.1:22 or [2001:db8::1]:22")]
pub struct HostError {
    text: String,
}

impl Host {
    /// The name or address, without brackets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The TCP port, from 1.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The host with a port to connect to, if it has one.
    pub fn endpoint(&self) -> Option<Endpoint> {
        Some(Endpoint::new(self.name.clone(), self.port?))
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Ok(with_port) = text.parse::<Endpoint>() {
            return Ok(Self { name: with_port.host().to_owned(), port: Some(with_port.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let name = match bare.parse::<Ipv6Addr>() {
            Ok(address) => Some(address.to_string()),
            Err(_) => Some(text.to_owned()).filter(|text| is_name(text)),
        };
        name.map(|name| Self { name, port: None }).ok_or_else(|| HostError { text: text.to_owned() })
    }
}

impl TryFrom<String> for Host {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.to_string()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.endpoint() {
            Some(endpoint) => endpoint.fmt(f),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_a_port() {
        let read = |text: &str| text.parse::<Host>().map(|host| (host.name.clone(), host.port, host.to_string()));
        let whole = |name: &str, port, text: &str| Ok((name.to_owned(), port, text.to_owned()));
        assert_eq!(read("db.example.com:5432"), whole("db.example.com", Some(5432), "db.example.com:5432"));
        assert_eq!(read("db.example.com"), whole("db.example.com", None, "db.example.com"));
        assert_eq!(read("192.0.2.1"), whole("192.0.2.1", None, "192.0.2.1"));
        assert_eq!(read("2001:DB8::1"), whole("2001:db8::1", None, "2001:db8::1"));
        assert_eq!(read("[2001:db8::1]:22"), whole("2001:db8::1", Some(22), "[2001:db8::1]:22"));
        for wrong in
            ["", ":22", "db.example.com:", "db.example.com:0", "db.example.com:65536", "a b", "https://x", "a/b"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
