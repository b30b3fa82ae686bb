//! What the program `observe` prints: one address or network a line.

use eg_model::{
    ids::RuleId,
    net::permission::{Permission, PortSpec},
    observation::ObservedRule,
};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The permission for everything from a network: which ports that means is for the scripts to decide.
pub fn permission(network: IpNet) -> Permission {
    Permission::for_network(PortSpec::All, network)
}

/// A permission as a rule. What opens a network has no identity but the network.
pub fn rule(permission: Permission) -> ObservedRule {
    let id = RuleId(permission.cidr().to_string());
    ObservedRule { id, permission, description: None, tags: BTreeMap::new() }
}

/// Reads the whole answer. Empty lines say nothing; any other line that is no network makes the answer worthless, since
/// a network that is open may be missing from it.
///
/// # Errors
/// The line that is no network.
pub fn read(answer: &[u8]) -> Result<Vec<ObservedRule>, String> {
    let text = std::str::from_utf8(answer).map_err(|_| "it prints what is not UTF-8 text".to_owned())?;
    let network = |line: &str| {
        let network = line.parse::<IpNet>().ok().or_else(|| line.parse::<IpAddr>().ok().map(IpNet::from));
        network.ok_or_else(|| {
            let start: String = line.chars().take(60).collect();
            format!("it prints a line that is no network: \"{}\"", start.escape_debug())
        })
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let open: BTreeSet<Permission> = lines.map(|line| network(line).map(permission)).collect::<Result<_, _>>()?;
    Ok(open.into_iter().map(rule).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_read_once_each() {
        let answer = b"203.0.113.42/32\n\n  203.0.113.42 \n198.51.100.7/24\n2001:DB8::1\r\n2001:db8::/64";
        let ids: Vec<_> = read(answer).unwrap().into_iter().map(|rule| rule.id.0).collect();
        assert_eq!(ids, ["198.51.100.0/24", "203.0.113.42/32", "2001:db8::/64", "2001:db8::1/128"]);
        assert_eq!(read(b""), Ok(Vec::new()));
    }

    #[test]
    fn one_odd_line_spoils_the_answer() {
        for (answer, why) in [
            ("203.0.113.42/32\n# the office\n", "it prints a line that is no network: \"# the office\""),
            ("203.0.113.42/33", "it prints a line that is no network: \"203.0.113.42/33\""),
            ("203.0.113.42/32 ALLOW", "it prints a line that is no network: \"203.0.113.42/32 ALLOW\""),
            ("\u{1b}[31mred", "it prints a line that is no network: \"\\u{1b}[31mred\""),
        ] {
            assert_eq!(read(answer.as_bytes()), Err(why.to_owned()), "{answer}");
        }
        assert_eq!(read(&[0xff, b'\n']), Err("it prints what is not UTF-8 text".to_owned()));
    }
}
