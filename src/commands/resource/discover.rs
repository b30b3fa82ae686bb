//! `eg resource discover`: shows the groups that could be configured. Changes nothing.

use crate::commands::{
    context::{Context, environment_profile, way_to},
    resource::openings::openings,
};
use crate::{
    config::settings::{Resource, Settings},
    error::{CommandError, Exit, Kind},
    targets::region,
    text::{escape_controls, shell_quoted},
    ui::{
        json, style,
        table::{Cell, Table},
        warning::Code,
    },
};
use eg_model::{
    failure::Failure,
    target::{Reach, TargetKey},
};
use eg_providers::{
    ListedGroup,
    aws::{PROVIDER, SECURITY_GROUP},
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Show the groups that are not configured, and what they open
///
/// Asks every region and profile of the configuration, or those that are named. Needs `ec2:DescribeSecurityGroups`,
/// which a session needs too. Exit status 3 if some cannot be asked, 1 if none can.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg resource discover --region eu-west-1")]
pub struct DiscoverArgs {
    /// With the credentials of this AWS profile
    #[arg(long)]
    profile: Option<String>,
    /// In this region [default: AWS_REGION, else that of the profile]
    #[arg(long)]
    region: Option<String>,
}

/// The groups of one region, as one set of credentials sees them.
struct RegionReading {
    way: Reach,
    groups: Result<Vec<ListedGroup>, Failure>,
}

pub fn run(context: &Context<'_>, args: &DiscoverArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    let runtime = context.runtime()?;
    let readings = runtime.block_on(async {
        let ways = ways(context, args, &settings).await?;
        Ok::<_, CommandError>(join_all(ways.into_iter().map(|way| look(context, way, &settings))).await)
    })?;
    runtime.shutdown_background();
    let printer = context.printer;
    printer.json(&as_json(&readings));
    let found = || readings.iter().flat_map(|one| one.groups.iter().flatten().map(move |group| (&one.way, group)));
    if found().next().is_some() {
        printer.result(&table(found(), context.env.stdout_columns));
    } else if readings.iter().any(|one| one.groups.is_ok()) {
        printer.remark("Every group that can be seen is configured.");
    }
    for one in &readings {
        if let Err(failure) = &one.groups {
            let message = format!("the groups of {} cannot be listed: {failure}", one.way.target.region);
            printer.warn(Code::NotRead, &message, &[failure.class.advice().to_owned()]);
        }
    }
    if let Some((way, group)) = found().next() {
        let region = &way.target.region;
        let flag = |name: &str, value: &Option<String>| {
            value.iter().map(|v| format!(" {name} {}", shell_quoted(v))).collect::<String>()
        };
        let profile = flag("--profile", &way.profile);
        let role = flag("--role-arn", &way.role_arn) + &flag("--external-id", &way.external_id);
        let (name, id) = (shell_quoted(&group.name), &group.id);
        let next = format!("Next: eg resource add {name} --id {id} --region {region}{profile}{role} --port tcp/22");
        printer.progress(&escape_controls(&next));
    }
    let unknown = readings.iter().filter(|one| one.groups.is_err()).count();
    Ok(match unknown {
        0 => Exit::Done,
        all if all == readings.len() => Exit::Failed,
        _ => Exit::Partial,
    })
}

/// The regions and credentials to ask: those of the arguments, else those of the configuration, else the environment's.
async fn ways(
    context: &Context<'_>,
    args: &DiscoverArgs,
    settings: &Settings,
) -> Result<BTreeSet<Reach>, CommandError> {
    let any = |resource: &Resource| any_group(context, resource);
    if args.profile.is_none() && args.region.is_none() && !settings.names_no_target() {
        let meant = settings.selections.iter().map(|one| &one.like);
        return Ok(settings.resources.iter().chain(meant).map(any).collect());
    }
    let mut way = way(context, args.profile.clone(), "");
    way.target.region = match &args.region {
        Some(region) => region.clone(),
        None => region::usual(|name| context.env.var(name), context.env.connect().as_ref(), &way)
            .await
            .ok_or_else(|| CommandError::new(Kind::Usage, "no region: pass --region, or set one in the profile"))?,
    };
    Ok(BTreeSet::from([way]))
}

/// The route of a resource, to any group.
fn any_group(context: &Context<'_>, resource: &Resource) -> Reach {
    let mut way = context.reach(resource);
    way.target.id.clear();
    way
}

/// The route to any group of a region, with a profile's credentials or those of the environment.
pub fn way(context: &Context<'_>, profile: Option<String>, region: &str) -> Reach {
    let profile = profile.or_else(|| environment_profile(context.env));
    way_to(context.env, TargetKey::new(PROVIDER, SECURITY_GROUP, region, ""), profile)
}

async fn look(context: &Context<'_>, way: Reach, settings: &Settings) -> RegionReading {
    let listed = async { context.env.connect().connect(&way).await?.groups(None).await };
    // An id names the same group for everybody. A name or a tag means a group of the account that is asked.
    let meant = || settings.selections.iter().filter(|one| any_group(context, &one.like) == way);
    let configured = |group: &ListedGroup| {
        settings.resources.iter().any(|one| one.id == group.id && one.region == way.target.region)
            || meant().any(|one| one.meant.fits(&group.name, &group.tags))
    };
    let groups = listed.await.map(|groups| groups.into_iter().filter(|group| !configured(group)).collect());
    RegionReading { way, groups }
}

fn table<'a>(found: impl Iterator<Item = (&'a Reach, &'a ListedGroup)>, columns: Option<usize>) -> String {
    let mut table = Table::new(["GROUP", "NAME", "VPC", "REGION", "PROFILE", "OPENS"]);
    for (way, group) in found {
        let everybody = group.permissions.iter().any(|permission| permission.is_for_everybody());
        let opens = openings(group);
        table.row([
            Cell::new(&group.id),
            Cell::new(&group.name),
            Cell::new(group.network.as_deref().unwrap_or("-")),
            Cell::new(&way.target.region),
            Cell::new(way.profile.as_deref().unwrap_or("-")),
            if everybody { Cell::styled(opens, style::UNDER_WAY) } else { Cell::new(opens) },
        ]);
    }
    table.render_in(columns)
}

fn as_json(readings: &[RegionReading]) -> Value {
    let groups =
        readings.iter().flat_map(|one| one.groups.iter().flatten().map(move |group| group_json(&one.way, group)));
    let unknown = readings.iter().filter_map(|one| {
        let failure = one.groups.as_ref().err()?;
        let way = &one.way;
        Some(json!({"region": way.target.region, "profile": way.profile, "message": failure.to_string()}))
    });
    json!({"groups": groups.collect::<Vec<_>>(), "unavailable": unknown.collect::<Vec<_>>()})
}

fn group_json(way: &Reach, group: &ListedGroup) -> Value {
    json!({
        "id": group.id,
        "name": group.name,
        "network": group.network,
        "region": way.target.region,
        "profile": way.profile,
        "roleArn": way.role_arn,
        "tags": group.tags,
        "permissions": group.permissions.iter().map(json::permission).collect::<Vec<_>>(),
        "otherSources": group.other_ingress,
    })
}
