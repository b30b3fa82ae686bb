//! Texts that the commands about resources share.

use crate::text::escape_controls;
use eg_model::{ids::SessionId, net::permission::Permission};
use eg_providers::ListedGroup;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

/// What was done to the configuration.
pub fn changed(action: &str, name: &str, file: &Path, sessions: &[SessionId]) -> Value {
    json!({
        "action": action,
        "name": name,
        "file": file.to_string_lossy(),
        "sessions": sessions.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// What a group's rules open, in a line: `tcp/22 from 0.0.0.0/0, tcp/443 from 10.0.0.0/8 and 2 more`.
pub fn openings(group: &ListedGroup) -> String {
    let mut by_ports: BTreeMap<String, Vec<&Permission>> = BTreeMap::new();
    for permission in &group.permissions {
        by_ports.entry(permission.ports()).or_default().push(permission);
    }
    // What everybody may use stands first: it is what somebody has to see.
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
