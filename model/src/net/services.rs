//! Services by the names that people type for their ports.

use crate::net::permission::PortSpec;

/// A name and what it stands for. Source: IANA, "Service Name and Transport Protocol Port Number Registry" (RFC 6335).
/// Where the registered name is one that nobody types, the usual name stands beside it: `rdp` for `ms-wbt-server`,
/// `mssql` for `ms-sql-s`, `postgres` for `postgresql`, `vnc` for `rfb`, `smb` for `microsoft-ds`, `winrm` for `wsman`.
/// A service that is registered for several protocols has the one that servers use.
const SERVICES: &[(&str, PortSpec)] = &[
    ("ftp", PortSpec::Tcp(21, 21)),
    ("ssh", PortSpec::Tcp(22, 22)),
    ("telnet", PortSpec::Tcp(23, 23)),
    ("smtp", PortSpec::Tcp(25, 25)),
    ("http", PortSpec::Tcp(80, 80)),
    ("ntp", PortSpec::Udp(123, 123)),
    ("imap", PortSpec::Tcp(143, 143)),
    ("ldap", PortSpec::Tcp(389, 389)),
    ("https", PortSpec::Tcp(443, 443)),
    ("microsoft-ds", PortSpec::Tcp(445, 445)),
    ("smb", PortSpec::Tcp(445, 445)),
    ("submission", PortSpec::Tcp(587, 587)),
    ("ldaps", PortSpec::Tcp(636, 636)),
    ("imaps", PortSpec::Tcp(993, 993)),
    ("openvpn", PortSpec::Udp(1194, 1194)),
    ("ms-sql-s", PortSpec::Tcp(1433, 1433)),
    ("mssql", PortSpec::Tcp(1433, 1433)),
    ("mqtt", PortSpec::Tcp(1883, 1883)),
    ("nfs", PortSpec::Tcp(2049, 2049)),
    ("mysql", PortSpec::Tcp(3306, 3306)),
    ("ms-wbt-server", PortSpec::Tcp(3389, 3389)),
    ("rdp", PortSpec::Tcp(3389, 3389)),
    ("postgresql", PortSpec::Tcp(5432, 5432)),
    ("postgres", PortSpec::Tcp(5432, 5432)),
    ("amqps", PortSpec::Tcp(5671, 5671)),
    ("amqp", PortSpec::Tcp(5672, 5672)),
    ("rfb", PortSpec::Tcp(5900, 5900)),
    ("vnc", PortSpec::Tcp(5900, 5900)),
    ("wsman", PortSpec::Tcp(5985, 5985)),
    ("winrm", PortSpec::Tcp(5985, 5985)),
    ("redis", PortSpec::Tcp(6379, 6379)),
    ("secure-mqtt", PortSpec::Tcp(8883, 8883)),
    ("mongodb", PortSpec::Tcp(27017, 27017)),
];

/// The port of a service; `None` for a name that is not in the table.
#[must_use]
pub fn by_name(name: &str) -> Option<PortSpec> {
    SERVICES.iter().find(|(known, _)| *known == name).map(|(_, port)| *port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_plain_and_told_apart() {
        let names: BTreeSet<&str> = SERVICES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), SERVICES.len(), "no name twice");
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        assert!(!names.contains("icmp") && !names.contains("all"), "those mean something else");
        assert_eq!(by_name("rdp"), by_name("ms-wbt-server"));
        assert_eq!(by_name("SSH"), None);
    }
}
