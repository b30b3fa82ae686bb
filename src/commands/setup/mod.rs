//! `eg setup cloud-expiry`: prints or makes the AWS resources of cloud expiry. [`accounts`] finds the accounts of the resources,
//! [`prepare`] makes the parts, [`texts`] has what is printed.

pub mod accounts;
pub mod prepare;
pub mod texts;

use self::{
    accounts::{AccountTargets, accounts},
    prepare::prepare,
    texts::{configuration, documents, part_line},
};
use crate::{
    commands::context::{Context, block_on},
    error::{CommandError, Exit, Kind},
    ui::warning::Code,
};
use clap::ValueEnum;
use eg_config::settings::{Resource, Settings};
use eg_model::target::Expiry;

/// Print or make the AWS resources that let rules close by themselves
///
/// With `[aws.cloud_expiry]` every rule that eg opens gets a one-time schedule of EventBridge Scheduler that closes it
/// on time, even if this machine never comes back. That takes a role in each account, which only the scheduler may take
/// and which may do one thing, and some permissions for every user of eg. Without `--apply` nothing is made: the
/// documents are printed. With `--apply`, the role (and a schedule group other than `default`) is made if it is missing.
/// A role that eg has made for fewer groups or regions is widened, never narrowed. A role that differs in any other way,
/// or that somebody else has made and that lacks something, is an error that names the difference, and is not touched.
/// The account of a resource is taken from the record, else AWS is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg setup cloud-expiry --format cloudformation > eg-cloud-expiry.json")]
pub struct CloudExpiryArgs {
    /// Make the resources, with the credentials of the configured resources
    #[arg(long)]
    apply: bool,
    /// The format of the documents
    #[arg(long, value_enum, default_value_t = Format::Documents, conflicts_with = "apply")]
    format: Format,
    /// The role's name [default: that of role_arn in the configuration, else eg-cloud-expiry]
    #[arg(long, value_name = "NAME", value_parser = role_name)]
    role_name: Option<String>,
    /// Only for the resource of this name, and those with this label; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

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

pub fn run(context: &Context<'_>, args: &CloudExpiryArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    if settings.names_no_target() {
        return Err(context.no_resources("eg setup cloud-expiry"));
    }
    let chosen = settings.select(&args.only).map_err(|error| CommandError::new(Kind::Usage, error.to_string()))?;
    block_on(async {
        let (resources, hosts) = context.resolved(&chosen, &settings).await?;
        context.name_hosts(&hosts);
        let (scheduled, others): (Vec<_>, Vec<_>) =
            resources.into_iter().partition(|resource| resource.kind.expiry == Expiry::Schedule);
        others.iter().for_each(|resource| context.printer.remark(&not_scheduled(resource)));
        if scheduled.is_empty() {
            let message = "none of these resources can have expiry schedules";
            return Err(CommandError::new(Kind::Refused, message).hint("security groups can: eg resource add --help"));
        }
        set_up(context, args, &settings, &scheduled).await
    })
}

/// The reason why a firewall gets no expiry schedule. A schedule makes one call, written beforehand. What removes an entry
/// from a list must name the version of the list, or send the whole list, as it is then: a call that was written before
/// would fail, or undo what others have changed meanwhile.
fn not_scheduled(resource: &Resource) -> String {
    let (name, noun) = (&resource.name, resource.kind.noun);
    if resource.kind.closes_by_itself() {
        format!("{name} is {noun}: it closes by itself, and needs no schedule")
    } else if resource.kind.cloud.is_some() {
        format!(
            "{name} is {noun}: no single call, written beforehand, closes on it safely beside others; eg reconcile closes it"
        )
    } else {
        format!("{name} is {noun}: it is on this machine, and eg reconcile closes it")
    }
}

async fn set_up(
    context: &Context<'_>,
    args: &CloudExpiryArgs,
    settings: &Settings,
    resources: &[Resource],
) -> Result<Exit, CommandError> {
    let accounts = accounts(context, args.role_name.as_deref(), settings, resources).await?;
    if args.format == Format::Cloudformation {
        return template(context, &accounts);
    }
    let (parts, stopped) = if args.apply { prepare(context, &accounts).await } else { (Vec::new(), Ok(())) };
    context.printer.json(&texts::json(&accounts, &parts));
    parts.iter().for_each(|part| context.printer.result(&part_line(part)));
    stopped?;
    if !args.apply {
        accounts.iter().for_each(|one| context.printer.result(&documents(&one.account)));
    }
    context.printer.result(&configuration(settings, &accounts));
    Ok(Exit::Done)
}

/// A template is for one account.
fn template(context: &Context<'_>, accounts: &[AccountTargets]) -> Result<Exit, CommandError> {
    let [one] = accounts else {
        let numbers: Vec<&str> = accounts.iter().map(|one| one.account.number.as_str()).collect();
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
