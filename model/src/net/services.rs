//! Services by the names that people type for their ports.

/// A name and its port. Source: IANA, "Service Name and Transport Protocol Port Number Registry" (RFC 6335). The usual
/// name stands beside a registered name that people do not type: `rdp` for `ms-wbt-server`, `mssql` for `ms-sql-s`,
/// `postgres` for `postgresql`, `vnc` for `rfb`, `smb` for `microsoft-ds`, `winrm` for `wsman`. A service that is
/// registered for several protocols has the one that its servers use.
const SERVICES: &[(&str, &str)] = &[
    ("ftp", "tcp/21"),
    ("ssh", "tcp/22"),
    ("telnet", "tcp/23"),
    ("smtp", "tcp/25"),
    ("http", "tcp/80"),
    ("ntp", "udp/123"),
    ("imap", "tcp/143"),
    ("ldap", "tcp/389"),
    ("https", "tcp/443"),
    ("microsoft-ds", "tcp/445"),
    ("smb", "tcp/445"),
    ("submission", "tcp/587"),
    ("ldaps", "tcp/636"),
    ("imaps", "tcp/993"),
    ("openvpn", "udp/1194"),
    ("ms-sql-s", "tcp/1433"),
    ("mssql", "tcp/1433"),
    ("mqtt", "tcp/1883"),
    ("nfs", "tcp/2049"),
    ("mysql", "tcp/3306"),
    ("ms-wbt-server", "tcp/3389"),
    ("rdp", "tcp/3389"),
    ("postgresql", "tcp/5432"),
    ("postgres", "tcp/5432"),
    ("amqps", "tcp/5671"),
    ("amqp", "tcp/5672"),
    ("rfb", "tcp/5900"),
    ("vnc", "tcp/5900"),
    ("wsman", "tcp/5985"),
    ("winrm", "tcp/5985"),
    ("redis", "tcp/6379"),
    ("secure-mqtt", "tcp/8883"),
    ("mongodb", "tcp/27017"),
];

/// The port of a service, as a configuration writes it; `None` for a name that is not in the table.
pub fn by_name(name: &str) -> Option<&'static str> {
    SERVICES.iter().find(|(known, _)| *known == name).map(|(_, port)| *port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::permission::PortSpec;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_plain_and_told_apart() {
        let names: BTreeSet<&str> = SERVICES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), SERVICES.len(), "no name twice");
        assert!(SERVICES.iter().all(|(_, port)| port.parse::<PortSpec>().is_ok()));
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        assert!(!names.contains("icmp") && !names.contains("all"), "those mean something else");
        assert_eq!(by_name("rdp"), by_name("ms-wbt-server"));
        assert_eq!(by_name("SSH"), None);
    }
}
