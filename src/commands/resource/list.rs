//! `eg resource list`. No network.

use crate::{
    commands::context::Context,
    error::{CommandError, Exit},
    ui::{
        json,
        table::{Cell, Table},
    },
};
use eg_config::settings::{Meant, Resource, Settings};
use eg_providers::aws::SECURITY_GROUP;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// List the configured resources
///
/// Includes `[defaults]` and included files. Groups that are named by name or tags are looked up when a session starts;
/// `eg resource verify` shows which they are now.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg resource list")]
pub struct ResourceListArgs {}

pub fn run(context: &Context<'_>, _args: &ResourceListArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    let rows = rows(&settings);
    context.printer.json(&rows.iter().map(|row| as_json(row, &settings)).collect::<Vec<_>>());
    if rows.is_empty() {
        context.printer.remark("No resources configured. Run: eg init");
        return Ok(Exit::Done);
    }
    let table = if rows.iter().all(|(resource, _)| *resource.kind == SECURITY_GROUP) {
        groups(&rows)
    } else {
        firewalls(&rows)
    };
    context.printer.result(&table.render_in(context.env.stdout_columns));
    Ok(Exit::Done)
}

fn in_words(meant: &Meant) -> String {
    match meant {
        Meant::Groups(selector) => format!("every {selector}"),
        Meant::Host(_) => meant.to_string(),
    }
}

/// Security groups alone, which is what most people have: no column says the same in every row.
fn groups(rows: &[ResourceRow<'_>]) -> Table {
    let mut table = Table::new(["NAME", "GROUP", "REGION", "PROFILE", "PORTS", "FAMILIES", "LABELS"]);
    for row in rows {
        table.row(cells(row));
    }
    table
}

fn firewalls(rows: &[ResourceRow<'_>]) -> Table {
    let mut table = Table::new(["NAME", "KIND", "FIREWALL", "REGION", "PROFILE", "PORTS", "FAMILIES", "LABELS"]);
    for row in rows {
        let [name, id, region, profile, ports, families, labels] = cells(row);
        table.row([name, Cell::new(row.0.kind.noun.one), id, region, profile, ports, families, labels]);
    }
    table
}

/// The cells but the kind's. A dash stands where a kind has no such thing.
fn cells((resource, selector): &ResourceRow<'_>) -> [Cell; 7] {
    let list = |items: Vec<String>| if items.is_empty() { "-".to_owned() } else { items.join(" ") };
    let ports = resource.ports.iter().filter(|_| resource.kind.has_ports());
    [
        Cell::new(&resource.name),
        Cell::new(selector.map_or_else(|| resource.id.clone(), in_words)),
        Cell::new(json::region(&resource.key()).unwrap_or("-")),
        Cell::new(resource.profile.as_deref().unwrap_or("-")),
        Cell::new(list(ports.map(ToString::to_string).collect())),
        Cell::new(list(resource.families.iter().map(ToString::to_string).collect())),
        Cell::new(list(resource.groups.clone())),
    ]
}

/// A resource, and its selector if it has no id.
type ResourceRow<'a> = (&'a Resource, Option<&'a Meant>);

fn rows(settings: &Settings) -> Vec<ResourceRow<'_>> {
    let fixed = settings.resources.iter().map(|resource| (resource, None));
    fixed.chain(settings.selections.iter().map(|one| (&one.like, Some(&one.meant)))).collect()
}

fn as_json((resource, selector): &ResourceRow<'_>, settings: &Settings) -> Value {
    let (groups, host) = (selector.and_then(Meant::groups), selector.and_then(Meant::host));
    let tags: BTreeMap<&String, &str> =
        groups.iter().flat_map(|selector| selector.tags()).map(|(key, value)| (key, value.as_str())).collect();
    json!({
        "name": resource.name,
        "provider": resource.kind.provider,
        "kind": resource.kind.name,
        "id": Some(&resource.id).filter(|_| selector.is_none()),
        "groupName": groups.and_then(|selector| selector.name()).map(|name| name.as_str()),
        "tags": tags,
        "host": host.map(|meant| meant.host.to_string()),
        "group": host.and_then(|meant| meant.group.as_ref()),
        "region": json::region(&resource.key()),
        "profile": resource.profile,
        "roleArn": resource.role_arn,
        "externalId": resource.external_id,
        "ports": if resource.kind.has_ports() { resource.ports.as_slice() } else { &[] },
        "families": resource.families.iter().map(|family| family.number()).collect::<Vec<_>>(),
        "labels": resource.groups,
        "file": settings.files.get(&resource.name).map(|file| file.to_string_lossy()),
    })
}
