//! `eg resource discover`: shows the firewalls that could be configured. Changes nothing.

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
    Kind as FirewallKind, ListedGroup,
    aws::{PROVIDER, SECURITY_GROUP, region},
    kinds_of,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Show the groups that are not configured, and what they open
///
/// Asks every region and profile of the configuration, or those that are named. Needs `ec2:DescribeSecurityGroups`,
/// which a session needs too. Exit status 3 if some cannot be asked, 1 if none can. With `--kind`, shows prefix lists or WAF
/// IP sets instead; nftables tables and scripts are on this machine, and are not listed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg resource discover --region eu-west-1 --kind prefix-list")]
pub struct DiscoverArgs {
    /// The kind of firewall: security-group, prefix-list, waf-ip-set
    #[arg(long, value_name = "KIND", value_parser = aws_kind, default_value = "security-group")]
    kind: &'static FirewallKind,
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
    let kind = args.kind;
    let readings = block_on(async {
        let targets = targets(context, args, &settings).await?;
        Ok(join_all(targets.into_iter().map(|target| look(context, target, &settings))).await)
    })?;
    let printer = context.printer;
    printer.json(&as_json(&readings));
    let found = || readings.iter().flat_map(|one| one.groups.iter().flatten().map(move |group| (&one.target, group)));
    if found().next().is_some() {
        printer.result(&table(kind, found(), context.env.stdout_columns));
    } else if readings.iter().any(|one| one.groups.is_ok()) {
        match *kind == SECURITY_GROUP {
            true => printer.remark("Every group that can be seen is configured."),
            false => printer.remark(&format!("No {} is left to configure.", kind.noun.one)),
        }
    }
    for one in &readings {
        if let Err(failure) = &one.groups {
            let what = if *kind == SECURITY_GROUP { "groups" } else { kind.noun.many };
            let message = format!("the {what} of {} cannot be listed: {failure}", one.target.key.region);
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
        let name = shell_quoted(&group.name);
        let firewall = options(kind, &group.id);
        let port = if kind.has_ports() { " --port tcp/22" } else { "" };
        let next = format!("Next: eg resource add {name}{firewall} --region {region}{profile}{role}{port}");
        printer.progress(&escape_controls(&next));
    }
    Ok(Exit::after_reading(readings.iter().filter(|one| one.groups.is_err()).count(), readings.len()))
}

/// A kind whose firewalls can be listed: one of AWS.
pub fn aws_kind(text: &str) -> Result<&'static FirewallKind, String> {
    let names = || kinds_of(PROVIDER).map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    kinds_of(PROVIDER).find(|kind| kind.name == text).ok_or_else(|| format!("the kinds are {}", names()))
}

/// The options of `resource add` that name a firewall: its kind, and each part of its id.
fn options(kind: &FirewallKind, id: &str) -> String {
    let kind_option = if *kind == SECURITY_GROUP { String::new() } else { format!(" --kind {}", kind.name) };
    let part = |(key, value): (&str, String)| format!(" --{} {}", key.replace('_', "-"), shell_quoted(&value));
    kind_option + &kind.target_of(id).into_iter().map(part).collect::<String>()
}

/// The regions and credentials to ask: those of the arguments, else those of the configuration, else the environment's.
async fn targets(
    context: &Context<'_>,
    args: &DiscoverArgs,
    settings: &Settings,
) -> Result<BTreeSet<Target>, CommandError> {
    // Another kind is looked for wherever a firewall of AWS is configured.
    let any = |resource: &Resource| {
        let profile = resource.profile.clone().or_else(|| environment_profile(context.env));
        let key = TargetKey::new(PROVIDER, args.kind.name, &resource.region, "");
        let mut target = target_for(context.env, key, profile);
        target.route.role_arn.clone_from(&resource.role_arn);
        target.route.external_id.clone_from(&resource.external_id);
        target
    };
    let of_aws = |resource: &&Resource| resource.kind.provider == PROVIDER;
    if args.profile.is_none() && args.region.is_none() && !settings.names_no_target() {
        let meant = settings.selections.iter().map(|one| &one.like);
        let found: BTreeSet<Target> = settings.resources.iter().chain(meant).filter(of_aws).map(any).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let mut target = any_in(context, args.kind, args.profile.clone(), "");
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
    any_in(context, &SECURITY_GROUP, profile, region)
}

fn any_in(context: &Context<'_>, kind: &FirewallKind, profile: Option<String>, region: &str) -> Target {
    let profile = profile.or_else(|| environment_profile(context.env));
    target_for(context.env, TargetKey::new(kind.provider, kind.name, region, ""), profile)
}

async fn look(context: &Context<'_>, target: Target, settings: &Settings) -> RegionReading {
    let listed = async { context.env.connect().connect(&target).await?.groups(None).await };
    // An id names the same group for everybody. A name or a tag means a group of the account that is asked.
    let meant = || settings.selections.iter().filter(|one| context.target(&one.like).regional() == target);
    let configured = |group: &ListedGroup| {
        settings
            .resources
            .iter()
            .any(|one| one.key() == TargetKey { id: group.id.clone(), endpoint: None, ..target.key.clone() })
            || meant().filter_map(|one| one.meant.groups()).any(|meant| meant.fits(&group.name, &group.tags))
    };
    let groups = listed.await.map(|groups| groups.into_iter().filter(|group| !configured(group)).collect());
    RegionReading { target, groups }
}

fn table<'a>(
    kind: &FirewallKind,
    found: impl Iterator<Item = (&'a Target, &'a ListedGroup)>,
    columns: Option<usize>,
) -> String {
    if *kind != SECURITY_GROUP {
        let mut table = Table::new(["ID", "NAME", "REGION", "PROFILE"]);
        for (target, group) in found {
            let profile = target.route.profile.as_deref().unwrap_or("-");
            table.row([&group.id, &group.name, &target.key.region, profile].map(Cell::new));
        }
        return table.render_in(columns);
    }
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
        "provider": target.key.provider,
        "kind": target.key.kind,
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
