//! The findings of `eg resource verify` about one group.

use crate::checks::finding::Finding;
use eg_model::{
    failure::{Failure, FailureClass},
    net::{address::IpVersion, permission::PortSpec},
    observation::{ObservedRule, Reading},
    target::TargetKey,
    text::shell_quoted,
};
use eg_providers::{Kind, Rights, Verdict, aws::SECURITY_GROUP};

/// The name of the check that reads a firewall.
pub fn firewall_check(kind: &Kind) -> &'static str {
    if *kind == SECURITY_GROUP { "group" } else { "firewall" }
}

/// A firewall that was read.
pub fn there(kind: &Kind, target: &TargetKey, reading: &Reading) -> String {
    let name = if kind.cloud.is_some() { target.id.clone() } else { target.to_string() };
    let family = reading.family.map(|family| format!(", and takes {family} only")).unwrap_or_default();
    match kind.quota {
        Some(_) => format!("{name} is there{family}"),
        None => format!("{name} is there, with {}{family}", kind.entry.count(reading.rules.len())),
    }
}

/// The advice where a firewall is not found.
pub fn absent_advice(kind: &Kind) -> &'static str {
    match &kind.cloud {
        _ if *kind == SECURITY_GROUP => "check id, region and profile; the groups there are: eg resource discover",
        Some(_) => "check id, region and profile in the configuration",
        None => "create it (see docs/firewalls.md), or correct the configuration",
    }
}

/// The reason why a right is not known. A firewall without dry runs was not asked: nothing was refused.
pub fn why_unknown(failure: &Failure) -> String {
    if failure.class == FailureClass::Invalid { failure.message.clone() } else { failure.to_string() }
}

/// The caller's rights. `entry` is the name of the group's `[[resource]]`.
pub fn rights(entry: &str, rights: &Rights) -> Vec<Finding> {
    let advice = format!("allow it; a policy that does: eg iam-policy --only {}", shell_quoted(entry));
    let finding = |check: &'static str, may: &str, verdict: &Verdict| match verdict {
        Verdict::Allowed => Finding::good(check, format!("the credentials may {may}")),
        Verdict::Denied(failure) => Finding::bad(check, failure.to_string(), advice.clone()),
        Verdict::Unknown(failure) => {
            let why = why_unknown(failure);
            let message = format!("whether the credentials may {may} is not known: {why}");
            Finding::warning(check, message, "the first session will tell")
        }
    };
    vec![
        finding("open", "open rules", &rights.open),
        finding("tag", "tag what they open", &rights.tag),
        finding("close", "close rules", &rights.close),
    ]
}

/// The free rules of a quota, which AWS may have raised.
pub fn slots(quota: usize, reading: &Reading, family: IpVersion, ports: usize) -> Finding {
    let check = match family {
        IpVersion::V4 => "ipv4",
        IpVersion::V6 => "ipv6",
    };
    let used = reading.ingress_rules(family);
    let free = quota.saturating_sub(used);
    let counted = format!("{used} of {quota} {family} rules are used, {free} are free (the quota may differ)");
    let advice =
        "remove rules that nobody needs, or have the quota raised: Service Quotas, VPC, inbound rules per group";
    match free {
        0 if used > quota => {
            Finding::good(check, format!("{used} {family} rules: the quota is above the usual {quota}"))
        }
        few if few < ports => {
            Finding::warning(check, format!("{counted}; a session needs {ports} for each address"), advice)
        }
        _ => Finding::good(check, counted),
    }
}

/// The ports that another rule opens to everybody; where entries have no ports, the entries that are for everybody.
pub fn open_to_all(kind: &Kind, reading: &Reading, ports: &[PortSpec], families: &[IpVersion]) -> Vec<Finding> {
    let open = |rule: &&ObservedRule| {
        let permission = &rule.permission;
        permission.is_for_everybody()
            && families.contains(&permission.ip_version())
            && ports.iter().any(|port| permission.opens_some_of(*port))
    };
    let warning = |rule: &ObservedRule| {
        let permission = &rule.permission;
        let entry = kind.entry.one;
        let message = match kind.has_ports() {
            true => {
                format!("{} is open to everybody anyway: {} from {}", permission.ports(), rule.id, permission.cidr())
            }
            false => format!("it lets in everybody anyway: {entry} {}", permission.cidr()),
        };
        Finding::warning("world", message, format!("eg does not touch that {entry}; remove it if this is not meant"))
    };
    let found: Vec<Finding> = reading.rules.iter().filter(open).map(warning).collect();
    if found.is_empty() {
        let none =
            if kind.has_ports() { "none of its ports is open to everybody" } else { "it does not let in everybody" };
        return vec![Finding::good("world", none)];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::finding::Level;
    use eg_model::ids::RuleId;
    use eg_providers::aws::PREFIX_LIST;
    use std::collections::{BTreeMap, BTreeSet};

    fn reading(rules: &[&str], other: usize) -> Reading {
        let rule = |text: &&str| ObservedRule {
            id: RuleId("sgr-1".to_owned()),
            permission: text.parse().unwrap(),
            description: None,
            tags: BTreeMap::new(),
        };
        Reading {
            rules: rules.iter().map(rule).collect(),
            other_ingress: other,
            read_at: chrono::DateTime::UNIX_EPOCH,
            last_page_at: chrono::DateTime::UNIX_EPOCH,
            read_later: BTreeMap::new(),
            provider_time: None,
            loose_marks: BTreeSet::new(),
            family: None,
        }
    }

    #[test]
    fn rules_that_fit() {
        for (used, ports, level, words) in [
            (0, 3, Level::Good, "0 of 60 IPv4 rules are used, 60 are free (the quota may differ)"),
            (57, 3, Level::Good, "57 of 60 IPv4 rules are used, 3 are free (the quota may differ)"),
            (
                58,
                3,
                Level::Warning,
                "58 of 60 IPv4 rules are used, 2 are free (the quota may differ); a session needs 3 for each address",
            ),
            (
                60,
                1,
                Level::Warning,
                "60 of 60 IPv4 rules are used, 0 are free (the quota may differ); a session needs 1 for each address",
            ),
            (61, 1, Level::Good, "61 IPv4 rules: the quota is above the usual 60"),
        ] {
            let finding = slots(60, &reading(&[], used), IpVersion::V4, ports);
            assert_eq!((finding.level, finding.message.as_str()), (level, words));
        }
        let v4 = ["tcp|22|22|10.0.0.0/8"; 3];
        assert!(slots(60, &reading(&v4, 1), IpVersion::V6, 1).message.starts_with("1 of 60 IPv6"), "each family apart");
    }

    #[test]
    fn ports_that_everybody_has() {
        let rules =
            reading(&["tcp|20|30|0.0.0.0/0", "tcp|22|22|::/0", "tcp|443|443|0.0.0.0/0", "tcp|22|22|10.0.0.0/8"], 0);
        let both = [IpVersion::V4, IpVersion::V6];
        let ssh = [PortSpec::Tcp(22, 22)];
        let messages = |families: &[IpVersion]| {
            open_to_all(&SECURITY_GROUP, &rules, &ssh, families)
                .into_iter()
                .map(|finding| finding.message)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            messages(&both),
            [
                "tcp/20-30 is open to everybody anyway: sgr-1 from 0.0.0.0/0",
                "tcp/22 is open to everybody anyway: sgr-1 from ::/0"
            ]
        );
        assert_eq!(messages(&both[..1]).len(), 1);
        let none = open_to_all(&SECURITY_GROUP, &rules, &[PortSpec::Udp(22, 22)], &both);
        assert_eq!((none.len(), none[0].level), (1, Level::Good));
        let list = open_to_all(&PREFIX_LIST, &reading(&["-1|-1|-1|0.0.0.0/0"], 0), &[PortSpec::All], &both);
        assert_eq!(list[0].message, "it lets in everybody anyway: entry 0.0.0.0/0");
        assert_eq!(list[0].advice, ["eg does not touch that entry; remove it if this is not meant"]);
    }

    #[test]
    fn what_the_credentials_may() {
        let failure = |text: &str| Failure::new(FailureClass::Denied, text);
        let found = rights(
            "a b",
            &Rights {
                open: Verdict::Allowed,
                tag: Verdict::Denied(failure("no")),
                close: Verdict::Unknown(failure("perhaps")),
            },
        );
        let levels: Vec<_> = found.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Good, Level::Bad, Level::Warning]);
        assert_eq!(found[1].advice, ["allow it; a policy that does: eg iam-policy --only 'a b'"]);
        assert!(found[2].message.contains("may close rules is not known: "), "{:?}", found[2]);
    }
}
