//! `eg resource discover`: shows the groups that could be configured. Changes nothing.

use crate::{
    commands::{
        context::{Context, block_on},
        resource::openings::openings,
    },
    error::{CommandError, Exit, Kind, advice},
    targets::route::{environment_profile, target_for},
    ui::{
        json, style,
        table::{Cell, Table},
        warning::Code,
    },
};
use eg_config::settings::{Resource, Settings};
use eg_model::{
    failure::Failure,
    target::{Target, TargetKey},
    text::{escape_controls, shell_quoted},
};
use eg_providers::{
    ListedGroup,
    aws::{PROVIDER, SECURITY_GROUP, region},
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
    /// In this region [default: AWS_REGION, else the profile's]
    #[arg(long)]
    region: Option<String>,
}

/// The groups of one region, as one set of credentials sees them.
struct RegionReading {
    target: Target,
    groups: Result<Vec<ListedGroup>, Failure>,
}

pub fn run(context: &Context<'_>, args: &DiscoverArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    let readings = block_on(async {
        let targets = targets(context, args, &settings).await?;
        Ok(join_all(targets.into_iter().map(|target| look(context, target, &settings))).await)
    })?;
    let printer = context.printer;
    printer.json(&as_json(&readings));
    let found = || readings.iter().flat_map(|one| one.groups.iter().flatten().map(move |group| (&one.target, group)));
    if found().next().is_some() {
        printer.result(&table(found(), context.env.stdout_columns));
    } else if readings.iter().any(|one| one.groups.is_ok()) {
        printer.remark("Every group that can be seen is configured.");
    }
    for one in &readings {
        if let Err(failure) = &one.groups {
            let message = format!("the groups of {} cannot be listed: {failure}", one.target.key.region);
            printer.warn(Code::NotRead, &message, &[advice(failure.class).to_owned()]);
        }
    }
    if let Some((target, group)) = found().next() {
        let region = &target.key.region;
        let flag = |name: &str, value: &Option<String>| {
            value.iter().map(|v| format!(" {name} {}", shell_quoted(v))).collect::<String>()
        };
        let profile = flag("--profile", &target.route.profile);
        let role = flag("--role-arn", &target.route.role_arn) + &flag("--external-id", &target.route.external_id);
        let (name, id) = (shell_quoted(&group.name), &group.id);
        let next = format!("Next: eg resource add {name} --id {id} --region {region}{profile}{role} --port tcp/22");
        printer.progress(&escape_controls(&next));
    }
    Ok(Exit::after_reading(readings.iter().filter(|one| one.groups.is_err()).count(), readings.len()))
}

/// The regions and credentials to ask: those of the arguments, else those of the configuration, else the environment's.
async fn targets(
    context: &Context<'_>,
    args: &DiscoverArgs,
    settings: &Settings,
) -> Result<BTreeSet<Target>, CommandError> {
    let any = |resource: &Resource| context.target(resource).regional();
    if args.profile.is_none() && args.region.is_none() && !settings.names_no_target() {
        let meant = settings.selections.iter().map(|one| &one.like);
        return Ok(settings.resources.iter().chain(meant).map(any).collect());
    }
    let mut target = any_group_in(context, args.profile.clone(), "");
    target.key.region = match &args.region {
        Some(region) => region.clone(),
        None => region::usual(|name| context.env.var(name), &target.route)
            .await
            .ok_or_else(|| CommandError::new(Kind::Usage, "no region: pass --region, or set one in the profile"))?,
    };
    Ok(BTreeSet::from([target]))
}

/// The target that stands for every group of a region, with a profile's credentials or those of the environment.
pub fn any_group_in(context: &Context<'_>, profile: Option<String>, region: &str) -> Target {
    let profile = profile.or_else(|| environment_profile(context.env));
    target_for(context.env, TargetKey::new(PROVIDER, SECURITY_GROUP.name, region, ""), profile)
}

async fn look(context: &Context<'_>, target: Target, settings: &Settings) -> RegionReading {
    let listed = async { context.env.connect().connect(&target).await?.groups(None).await };
    // An id names the same group for everybody. A name or a tag means a group of the account that is asked.
    let meant = || settings.selections.iter().filter(|one| context.target(&one.like).regional() == target);
    let configured = |group: &ListedGroup| {
        settings.resources.iter().any(|one| one.id == group.id && one.region == target.key.region)
            || meant().filter_map(|one| one.meant.groups()).any(|meant| meant.fits(&group.name, &group.tags))
    };
    let groups = listed.await.map(|groups| groups.into_iter().filter(|group| !configured(group)).collect());
    RegionReading { target, groups }
}

fn table<'a>(found: impl Iterator<Item = (&'a Target, &'a ListedGroup)>, columns: Option<usize>) -> String {
    let mut table = Table::new(["GROUP", "NAME", "VPC", "REGION", "PROFILE", "OPENS"]);
    for (target, group) in found {
        let everybody = group.permissions.iter().any(|permission| permission.is_for_everybody());
        let opens = openings(group);
        table.row([
            Cell::new(&group.id),
            Cell::new(&group.name),
            Cell::new(group.network.as_deref().unwrap_or("-")),
            Cell::new(&target.key.region),
            Cell::new(target.route.profile.as_deref().unwrap_or("-")),
            if everybody { Cell::styled(opens, style::UNDER_WAY) } else { Cell::new(opens) },
        ]);
    }
    table.render_in(columns)
}

fn as_json(readings: &[RegionReading]) -> Value {
    let groups =
        readings.iter().flat_map(|one| one.groups.iter().flatten().map(move |group| group_json(&one.target, group)));
    let unknown = readings.iter().filter_map(|one| {
        let failure = one.groups.as_ref().err()?;
        let target = &one.target;
        Some(json!({"region": target.key.region, "profile": target.route.profile, "message": failure.to_string()}))
    });
    json!({"groups": groups.collect::<Vec<_>>(), "unavailable": unknown.collect::<Vec<_>>()})
}

fn group_json(target: &Target, group: &ListedGroup) -> Value {
    json!({
        "id": group.id,
        "name": group.name,
        "network": group.network,
        "region": target.key.region,
        "profile": target.route.profile,
        "roleArn": target.route.role_arn,
        "tags": group.tags,
        "permissions": group.permissions.iter().map(json::permission).collect::<Vec<_>>(),
        "otherSources": group.other_ingress,
    })
}
