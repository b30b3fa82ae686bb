//! What a permission opens, in the words of its kind of firewall. Where entries have no ports, "all" would read as if
//! every port of a host were open: the address is all that there is to say.

use eg_model::{net::permission::Permission, session::record::Grant, target::TargetKey};
use eg_providers::{Kind, kind_of};

fn has_ports(target: &TargetKey) -> bool {
    kind_of(target).is_none_or(Kind::has_ports)
}

/// `tcp/22 from 203.0.113.42/32`, or `203.0.113.42/32` where entries have no ports.
pub fn opening(target: &TargetKey, permission: &Permission) -> String {
    if has_ports(target) {
        format!("{} from {}", permission.ports(), permission.cidr())
    } else {
        permission.cidr().to_string()
    }
}

/// `tcp/22`, or the word for an entry (`entry`, `address`) where entries have no ports.
pub fn ports(target: &TargetKey, permission: &Permission) -> String {
    match kind_of(target).filter(|kind| !kind.has_ports()) {
        Some(kind) => kind.entry.one.to_owned(),
        None => permission.ports(),
    }
}

/// What a user should know of a grant's firewall, beyond what is open: what closes it, and how sure the record is.
pub fn remarks(grant: &Grant) -> Vec<&'static str> {
    let key = &grant.target.key;
    let Some(kind) = kind_of(key) else { return Vec::new() };
    let by_itself = kind.closes_by_itself().then_some("closes by itself at the end");
    let unread = (!(kind.reads_back)(&key.id)).then_some("as recorded; not read back");
    [by_itself, unread].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened() {
        let words = |provider, kind, permission: &str| {
            let (key, permission) = (TargetKey::new(provider, kind, "", "x"), permission.parse().unwrap());
            (opening(&key, &permission), ports(&key, &permission))
        };
        let pair = |opening: &str, ports: &str| (opening.to_owned(), ports.to_owned());
        let ssh = pair("tcp/22 from 192.0.2.1/32", "tcp/22");
        assert_eq!(words("aws", "security-group", "tcp|22|22|192.0.2.1/32"), ssh);
        assert_eq!(words("nftables", "table", "tcp|22|22|192.0.2.1/32"), ssh);
        let all = "-1|-1|-1|192.0.2.1/32";
        assert_eq!(words("aws", "security-group", all), pair("all from 192.0.2.1/32", "all"));
        assert_eq!(words("aws", "prefix-list", all), pair("192.0.2.1/32", "entry"));
        assert_eq!(words("aws", "waf-ip-set", all), pair("192.0.2.1/32", "address"));
        assert_eq!(words("script", "directory", all), pair("192.0.2.1/32", "address"));
        assert_eq!(words("of a newer eg", "x", all), pair("all from 192.0.2.1/32", "all"));
    }
}
