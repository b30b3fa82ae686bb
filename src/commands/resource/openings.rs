//! The rules of a group in a line of text.

use eg_model::{net::permission::Permission, text::escape_controls};
use eg_providers::ListedGroup;
use std::collections::BTreeMap;

/// The ports that a group opens, each with a source: `tcp/22 from 0.0.0.0/0, tcp/443 from 10.0.0.0/8 and 2 more`.
pub fn openings(group: &ListedGroup) -> String {
    let mut by_ports: BTreeMap<String, Vec<&Permission>> = BTreeMap::new();
    for permission in &group.permissions {
        by_ports.entry(permission.ports()).or_default().push(permission);
    }
    // A source that lets everybody in is the one to show: the user must not miss it.
    let shown = |(ports, permissions): (String, Vec<&Permission>)| {
        let first = permissions.iter().find(|one| one.is_for_everybody()).or(permissions.first());
        let from = first.map(|one| one.cidr().to_string()).unwrap_or_default();
        match permissions.len() {
            0 | 1 => format!("{ports} from {from}"),
            many => format!("{ports} from {from} and {} more", many - 1),
        }
    };
    let mut parts: Vec<String> = by_ports.into_iter().map(shown).collect();
    match group.other_ingress {
        0 => {}
        1 => parts.push("1 other source".to_owned()),
        many => parts.push(format!("{many} other sources")),
    }
    if parts.is_empty() { "nothing".to_owned() } else { escape_controls(&parts.join(", ")) }
}
