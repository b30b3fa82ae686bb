//! `eg iam-policy`: prints the least policy for the configured resources. No network.

use crate::{
    commands::context::{Context, block_on},
    error::{CommandError, Exit, Kind},
    targets::route::{environment_profile, target_for},
    ui::{printer::Printer, warning::Code},
};
use eg_config::settings::{Resource, Selection};
use eg_model::target::{Target, TargetKey};
use eg_providers::aws::{
    PROVIDER, PolicyTargets, Retag, SECURITY_GROUP, Scope, partition_of, policy, region, sweep_policy,
};
use std::collections::{BTreeMap, BTreeSet};

/// The most characters of a managed policy, without white space (IAM, "IAM and AWS STS quotas").
const POLICY_MAX: usize = 6144;

/// Print the least IAM policy for the configured resources
///
/// Exactly the calls that eg makes, on the configured groups alone. The account is filled in once it is on record. Attach
/// the policy to the identity that changes the groups: with `role_arn`, that is the role.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg iam-policy > eg-policy.json")]
pub struct IamPolicyArgs {
    /// Only for the resource of this name, and those with this label; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The policy for `eg sweep` instead: every firewall of an account, and nothing that opens a group
    #[arg(long, conflicts_with = "only")]
    sweep: bool,
    /// Allow tagging rules without eg:managed-by, so that stripped rules of eg can be tagged again. Every user of the
    /// policy can then tag any untagged rule of the region, made by hand or not
    #[arg(long, conflicts_with = "sweep")]
    restore: bool,
    /// Also what `eg open HOST`, `--host` and `host` need: finding the group in front of a host. Without configured
    /// resources, the policy is for every group of the account
    #[arg(long, conflicts_with = "sweep")]
    hosts: bool,
}

pub fn run(context: &Context<'_>, args: &IamPolicyArgs) -> Result<Exit, CommandError> {
    if args.sweep {
        let policy = sweep_policy(partition_of(&home(context)?));
        context.printer.verbatim(&format!("{policy:#}\n"));
        return Ok(Exit::Done);
    }
    let settings = context.settings()?;
    if settings.names_no_target() && !args.hosts {
        return Err(context.no_resources("eg iam-policy"));
    }
    let chosen = settings.select(&args.only).map_err(|error| CommandError::new(Kind::Usage, error.to_string()))?;
    // Without a readable record, the policy is for any account, which is just as good.
    let store = context.store_for_reading().ok().flatten();
    let known = store.and_then(|store| store.used_targets().ok()).unwrap_or_default();
    // A policy cannot select groups by name, and the groups that fit may change: allow every group of the region, or of
    // every region where none is named.
    let any = |one: &Selection| {
        let region = Some(one.like.region.clone()).filter(|region| !region.is_empty());
        Resource {
            region: region.unwrap_or_else(|| "*".to_owned()),
            ..one.resource(one.like.name.clone(), "*".to_owned())
        }
    };
    let looked_up: Vec<Resource> = chosen.selections.iter().copied().map(any).collect();
    let resources: Vec<&Resource> = chosen.resources.into_iter().chain(&looked_up).collect();
    let hosts = args.hosts || chosen.selections.iter().any(|one| one.meant.host().is_some());
    let mut targets = PolicyTargets { hosts, ..PolicyTargets::default() };
    let without: Vec<&Resource> =
        resources.iter().copied().filter(|one| !targets.add(one.kind, scope(context, one, &known))).collect();
    if settings.names_no_target() {
        let partition = partition_of(&home(context)?).to_owned();
        targets.groups.insert(Scope { partition, region: "*".to_owned(), account: None, id: "*".to_owned() });
        let message = "no resource is configured: the policy takes in every security group of the account";
        context.printer.warn(Code::Policy, message, &["narrow it by hand (ec2:ResourceTag/…)".to_owned()]);
    }
    if targets.is_empty() {
        let message = "none of these resources is in AWS, so there is nothing that IAM would have to allow";
        return Err(CommandError::new(Kind::Refused, message).hint("what each kind needs: docs/firewalls.md"));
    }
    let retag = if args.restore { Retag::WithoutMark } else { Retag::Marked };
    let policy = policy(&targets, settings.aws.extra_tags.keys(), settings.aws.cloud_expiry.as_ref(), retag);
    let text = format!("{policy:#}\n");
    context.printer.verbatim(&text);
    if args.restore {
        warn_of_restore(context.printer, &targets.groups);
    }
    for one in without {
        context.printer.remark(&format!("{} is {}, which needs no rights of IAM", one.name, one.kind.noun));
    }
    warn_of_width(context.printer, &resources, &looked_up, &text);
    Ok(Exit::Done)
}

/// Warns of what the policy does not say, takes in besides, or is too long for.
fn warn_of_width(printer: &Printer, resources: &[&Resource], looked_up: &[Resource], text: &str) {
    let roles: BTreeSet<&String> = resources.iter().filter_map(|resource| resource.role_arn.as_ref()).collect();
    for role in roles {
        let message = format!("this is for the role {role}; the credentials that assume it need sts:AssumeRole on it");
        printer.warn(Code::Policy, &message, &[]);
    }
    for one in looked_up {
        let place = if one.region == "*" { "every region" } else { &one.region };
        let message = format!("{} names no group by id: the policy takes in every group of {place}", one.name);
        let hint = "name them by id, or narrow it by hand (ec2:ResourceTag/…)".to_owned();
        printer.warn(Code::Policy, &message, &[hint]);
    }
    let size = text.chars().filter(|c| !c.is_whitespace()).count();
    if size > POLICY_MAX {
        let message = format!("a managed policy has at most {POLICY_MAX} characters, this has {size}");
        printer.warn(Code::Policy, &message, &["make several, each with --only".to_owned()]);
    }
}

fn warn_of_restore(printer: &Printer, scopes: &BTreeSet<Scope>) {
    let regions: BTreeSet<&str> = scopes.iter().map(|scope| scope.region.as_str()).collect();
    let regions = regions.into_iter().collect::<Vec<_>>().join(", ");
    let message = format!(
        "--restore gives something away: with this policy, every rule in {regions} that carries no eg:managed-by tag \
         can be marked as eg's, rules made by hand included; only their descriptions then keep eg from closing them"
    );
    let hint =
        "leave --restore out unless another tool keeps stripping tags: eg closes a stripped rule by its id anyway";
    printer.warn(Code::Policy, &message, &[hint.to_owned()]);
}

/// The home region of the credentials that would sweep; empty if nothing names one.
fn home(context: &Context<'_>) -> Result<String, CommandError> {
    let target = TargetKey::new(PROVIDER, SECURITY_GROUP.name, "", "");
    let target = target_for(context.env, target, environment_profile(context.env));
    let home = block_on(async { Ok(region::home(|name| context.env.var(name), &target.route).await) })?;
    Ok(home.unwrap_or_default())
}

/// The account, region and id of a resource, as far as record and configuration know them.
pub(super) fn scope(context: &Context<'_>, resource: &Resource, known: &BTreeMap<TargetKey, Target>) -> Scope {
    let used = known.get(&context.target(resource).key);
    // arn:<partition>:iam::<account>:role/…
    let role: Vec<&str> = resource.role_arn.iter().flat_map(|arn| arn.split(':')).collect();
    let of_role = |part: usize| role.get(part).map(|text| (*text).to_owned());
    let partition = used.and_then(|way| way.route.partition.clone()).or_else(|| of_role(1));
    Scope {
        partition: partition.unwrap_or_else(|| partition_of(&resource.region).to_owned()),
        region: resource.region.clone(),
        account: used.and_then(|way| way.route.account.clone()).or_else(|| of_role(4)),
        id: resource.id.clone(),
    }
}
