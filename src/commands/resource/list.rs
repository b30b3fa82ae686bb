//! `eg resource list`. No network.

use crate::{
    commands::context::Context,
    error::{CommandError, Exit},
    ui::table::{Cell, Table},
};
use eg_config::settings::{Meant, Resource, Settings};
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
    let mut table = Table::new(["NAME", "GROUP", "REGION", "PROFILE", "PORTS", "FAMILIES", "LABELS"]);
    for (resource, selector) in &rows {
        let list = |items: Vec<String>| if items.is_empty() { "-".to_owned() } else { items.join(" ") };
        let families = resource.families.iter().map(ToString::to_string).collect();
        table.row([
            Cell::new(&resource.name),
            Cell::new(selector.map_or_else(|| resource.id.clone(), in_words)),
            Cell::new(&resource.region),
            Cell::new(resource.profile.as_deref().unwrap_or("-")),
            Cell::new(list(resource.ports.iter().map(ToString::to_string).collect())),
            Cell::new(list(families)),
            Cell::new(list(resource.groups.clone())),
        ]);
    }
    context.printer.result(&table.render_in(context.env.stdout_columns));
    Ok(Exit::Done)
}

fn in_words(meant: &Meant) -> String {
    match meant {
        Meant::Groups(selector) => format!("every {selector}"),
        Meant::Host(_) => meant.to_string(),
    }
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
        "region": resource.region,
        "profile": resource.profile,
        "roleArn": resource.role_arn,
        "externalId": resource.external_id,
        "ports": resource.ports,
        "families": resource.families.iter().map(|family| family.number()).collect::<Vec<_>>(),
        "labels": resource.groups,
        "file": settings.files.get(&resource.name).map(|file| file.to_string_lossy()),
    })
}
