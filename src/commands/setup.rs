//! `eg setup cloud-expiry`.

use super::iam_policy::scope;
use crate::commands::context::Context;
use crate::{
    config::settings::{Resource, Settings},
    error::{CommandError, Exit, Kind, Work, advice, advice_for},
    ui::warning::Code,
};
use clap::ValueEnum;
use eg_model::{
    failure::{Failure, FailureClass},
    target::Target,
};
use eg_providers::{
    CallerAccess,
    aws::{Action, Aws, ConfiguredAccount, DEFAULT_SCHEDULE_GROUP, Prepared, ROLE_NAME, Scope},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Print, or make, what rules need to close by themselves
///
/// With `[aws.cloud_expiry]` every rule that eg opens gets a one-time schedule of EventBridge Scheduler that closes it
/// on time, even if this machine never comes back. That takes a role in each account, which only the scheduler may take
/// and which may do one thing, and some permissions for whoever uses eg. Without `--apply` nothing is made: the
/// documents are printed. With it, the role (and a schedule group other than `default`) is made where it is missing. A
/// role that eg has made for fewer groups or regions is widened, never narrowed; one that is different in any other way,
/// or that somebody else has made and that lacks something, is an error that says what, and is not touched. An account
/// that is not on record yet is asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg setup cloud-expiry --format cloudformation > eg-cloud-expiry.json")]
pub struct CloudExpiryArgs {
    /// Make it, with the credentials of the resources
    #[arg(long)]
    apply: bool,
    /// What is printed
    #[arg(long, value_enum, default_value_t = Format::Documents, conflicts_with = "apply")]
    format: Format,
    /// The role's name [default: that of role_arn in the configuration, else eg-cloud-expiry]
    #[arg(long, value_name = "NAME", value_parser = role_name)]
    role_name: Option<String>,
    /// Only for the resource of this name, and those with this label; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Each policy by itself.
    Documents,
    /// A CloudFormation template, in JSON.
    Cloudformation,
}

fn role_name(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b));
    let fits = plain && (1..=64).contains(&text.len());
    if fits { Ok(text.to_owned()) } else { Err("a role's name has 1 to 64 letters, digits and any of +=,.@_-".into()) }
}

/// An account, and a way into each of its regions.
struct AccountRoutes {
    account: ConfiguredAccount,
    ways: BTreeMap<String, Target>,
}

/// One thing that was made, or was there.
struct Part {
    account: String,
    what: String,
    came: Prepared,
}

/// Prints what cloud expiry needs, or makes it.
///
/// # Errors
/// Nothing is configured, an account cannot be told, or something could not be made.
pub fn run(context: &Context<'_>, args: &CloudExpiryArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    if settings.names_no_target() {
        return Err(context.no_resources("eg setup cloud-expiry"));
    }
    let chosen = settings.select(&args.only).map_err(|error| CommandError::new(Kind::Usage, error.to_string()))?;
    let runtime = context.runtime()?;
    let resources = runtime.block_on(context.resolved(&chosen))?;
    let ended = runtime.block_on(set_up(context, args, &settings, &resources));
    runtime.shutdown_background();
    ended
}

async fn set_up(
    context: &Context<'_>,
    args: &CloudExpiryArgs,
    settings: &Settings,
    resources: &[Resource],
) -> Result<Exit, CommandError> {
    let found = accounts(context, args, settings, resources).await?;
    if args.format == Format::Cloudformation {
        return template(context, &found);
    }
    let (parts, stopped) = if args.apply { prepare(context, &found).await } else { (Vec::new(), Ok(())) };
    context.printer.json(&document(&found, &parts));
    parts.iter().for_each(|part| context.printer.result(&part_line(part)));
    stopped?;
    if !args.apply {
        found.iter().for_each(|one| context.printer.result(&documents(&one.account)));
    }
    context.printer.result(&configuration(settings, &found));
    Ok(Exit::Done)
}

/// The accounts of the resources: from the record and the configuration, else from the provider.
async fn accounts(
    context: &Context<'_>,
    args: &CloudExpiryArgs,
    settings: &Settings,
    resources: &[Resource],
) -> Result<Vec<AccountRoutes>, CommandError> {
    let store = context.store_for_reading().ok().flatten();
    let known = store.and_then(|store| context.used_targets(&store).ok()).unwrap_or_default();
    let connect = context.env.connect();
    let mut found: BTreeMap<String, AccountRoutes> = BTreeMap::new();
    for resource in resources {
        let target = context.target(resource);
        let mut scope = scope(context, resource, &known);
        let number = match scope.account.clone() {
            Some(number) => number,
            None => {
                let unknown = |failure: Failure| unknown_account(&resource.name, &failure);
                let firewall = connect.connect(&target).await.map_err(unknown)?;
                let caller = firewall.caller().await.map_err(unknown)?;
                scope.partition = caller.partition;
                caller.account
            }
        };
        scope.account = Some(number.clone());
        let one = found.entry(number.clone()).or_insert_with(|| AccountRoutes {
            account: account(args, settings, number, &scope),
            ways: BTreeMap::new(),
        });
        one.ways.entry(scope.region.clone()).or_insert(target);
        one.account.scopes.insert(scope);
    }
    Ok(found.into_values().collect())
}

fn unknown_account(resource: &str, failure: &Failure) -> CommandError {
    let message = format!("which account {resource} belongs to is not known: {failure}");
    CommandError::new(Kind::Provider, message).hint(advice(failure.class))
}

fn account(args: &CloudExpiryArgs, settings: &Settings, number: String, scope: &Scope) -> ConfiguredAccount {
    let expiry = settings.aws.cloud_expiry.as_ref();
    let way = expiry.and_then(|expiry| expiry.way(&number));
    let configured = way.and_then(|way| way.role_arn.split_once(":role/").map(|(_, role)| role.to_owned()));
    let group = expiry.map_or(DEFAULT_SCHEDULE_GROUP, |expiry| expiry.schedule_group.as_str());
    ConfiguredAccount {
        partition: scope.partition.clone(),
        number,
        role: args.role_name.clone().or(configured).unwrap_or_else(|| ROLE_NAME.to_owned()),
        schedule_group: group.to_owned(),
        scopes: BTreeSet::new(),
    }
}

/// A template is for one account.
fn template(context: &Context<'_>, found: &[AccountRoutes]) -> Result<Exit, CommandError> {
    let [one] = found else {
        let numbers: Vec<&str> = found.iter().map(|one| one.account.number.as_str()).collect();
        let message = format!("a template is for one account; the resources are in {}", numbers.join(", "));
        return Err(CommandError::new(Kind::Usage, message).hint("make several, each with --only"));
    };
    context.printer.verbatim(&format!("{:#}\n", one.account.template()));
    if one.account.needs_schedule_group() && one.account.regions().len() > 1 {
        let regions: Vec<&str> = one.account.regions().into_iter().collect();
        let message = format!(
            "the template makes the schedule group {} in the region of its stack alone; it is needed in {}",
            one.account.schedule_group,
            regions.join(", ")
        );
        context.printer.warn(
            Code::Policy,
            &message,
            &["or make all of it with: eg setup cloud-expiry --apply".to_owned()],
        );
    }
    Ok(Exit::Done)
}

/// What came of it, and why it did not go on.
async fn prepare(context: &Context<'_>, found: &[AccountRoutes]) -> (Vec<Part>, Result<(), CommandError>) {
    context.name_endpoints(found.iter().flat_map(|one| one.ways.values()));
    let aws = context.env.aws();
    let mut parts = Vec::new();
    for one in found {
        if let Err(failure) = prepare_account(&aws, one, &mut parts).await {
            return (parts, Err(not_prepared(&one.account, &failure)));
        }
    }
    (parts, Ok(()))
}

async fn prepare_account(aws: &Aws, one: &AccountRoutes, parts: &mut Vec<Part>) -> Result<(), Failure> {
    let account = &one.account;
    let part = |what: String, came: Prepared| Part { account: account.number.clone(), what, came };
    let mut role_is_made = false;
    for (region, target) in &one.ways {
        let groups = aws.security_groups(target).await?;
        let caller = groups.caller().await?;
        // The record may be of a time when other credentials led there.
        if caller.account != account.number {
            let message = format!("the credentials for {region} are of account {} now", caller.account);
            return Err(Failure::new(FailureClass::Credentials, message));
        }
        if account.needs_schedule_group() {
            let came = groups.prepare_schedule_group(&account.schedule_group).await?;
            parts.push(part(format!("schedule group {} in {region}", account.schedule_group), came));
        }
        // Roles are of the account, whatever the region.
        if !role_is_made {
            let came = groups.prepare_role(&account.expiry_role()).await?;
            parts.push(part(format!("role {}", account.role_arn()), came));
            role_is_made = true;
        }
    }
    Ok(())
}

fn not_prepared(account: &ConfiguredAccount, failure: &Failure) -> CommandError {
    let hint = match failure.class {
        FailureClass::Denied => {
            let needed: Vec<String> = Action::PREPARATION.into_iter().filter_map(Action::permission).collect();
            format!("this takes {}; or give whoever may what `eg setup cloud-expiry` prints", needed.join(", "))
        }
        class if class.is_of_credentials() => format!("{}; then run it again", advice(class)),
        class => advice_for(Work::PreparingExpiry, class).to_owned(),
    };
    CommandError::new(Kind::Provider, format!("account {}: {failure}", account.number)).hint(hint)
}

fn part_line(part: &Part) -> String {
    let came = match &part.came {
        Prepared::Made => "made".to_owned(),
        Prepared::There => "is there".to_owned(),
        Prepared::Widened(added) => format!("widened by {}", listed(added).join(", ")),
    };
    format!("✓ account {}: {} {came}\n", part.account, part.what)
}

fn listed(added: &BTreeSet<String>) -> Vec<&str> {
    added.iter().map(String::as_str).collect()
}

fn document(found: &[AccountRoutes], parts: &[Part]) -> Value {
    let part = |part: &Part| {
        let added = match &part.came {
            Prepared::Widened(added) => listed(added),
            Prepared::Made | Prepared::There => Vec::new(),
        };
        json!({"what": part.what, "made": part.came == Prepared::Made, "added": added})
    };
    let of = |account: &ConfiguredAccount| {
        let prepared = parts.iter().filter(|part| part.account == account.number);
        json!({
            "account": account.number,
            "partition": account.partition,
            "regions": account.regions(),
            "roleArn": account.role_arn(),
            "scheduleGroup": account.schedule_group,
            "trustPolicy": account.trust(),
            "rolePolicy": account.role_policy(),
            "userPolicy": account.user_policy(),
            "prepared": prepared.map(part).collect::<Vec<_>>(),
        })
    };
    json!({"accounts": found.iter().map(|one| of(&one.account)).collect::<Vec<_>>()})
}

fn documents(account: &ConfiguredAccount) -> String {
    let mut text = format!("Account {}\n\nThe role {}\n", account.number, account.role_arn());
    text += &format!("\ntrust policy:\n{:#}\n", account.trust());
    text += &format!("\nits one policy:\n{:#}\n", account.role_policy());
    if account.needs_schedule_group() {
        let regions: Vec<&str> = account.regions().into_iter().collect();
        text += &format!("\nThe schedule group {} in {}\n", account.schedule_group, regions.join(", "));
    }
    text += "\nFor whoever uses eg, beside the rest (`eg iam-policy` prints it with the rest once it is configured):\n";
    text + &format!("{:#}\n\n", account.user_policy())
}

/// What goes into the configuration, beside the roles of other accounts that are in there.
fn configuration(settings: &Settings, found: &[AccountRoutes]) -> String {
    let expiry = settings.aws.cloud_expiry.as_ref();
    let replaced = |arn: &String| {
        found.iter().any(|one| arn.starts_with(&format!("arn:{}:iam::{}:", one.account.partition, one.account.number)))
    };
    let kept = expiry.iter().flat_map(|expiry| &expiry.roles).filter(|arn| !replaced(arn)).cloned();
    let roles = kept.chain(found.iter().map(|one| one.account.role_arn()));
    let roles: Vec<String> = roles.map(|arn| format!("\"{arn}\"")).collect();
    let roles = match roles.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let group = found.iter().find(|one| one.account.needs_schedule_group());
    let group = group.map(|one| format!("schedule_group = \"{}\"\n", one.account.schedule_group)).unwrap_or_default();
    format!("In the configuration:\n[aws.cloud_expiry]\nrole_arn = {roles}\n{group}")
}
