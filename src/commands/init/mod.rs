//! `eg init`: makes a configuration from the profiles of the AWS command line and the groups of the account. One file per step:
//! [`credentials`], [`region`], [`groups`] and [`host`], [`ports`], [`write`]; every step gets the [`dialog`].

pub mod backup;
pub mod credentials;
pub mod dialog;
pub mod groups;
pub mod host;
pub mod ports;
pub mod region;
pub mod write;

use self::{dialog::Dialog, ports::Picked};
use super::resource::discover::any_group_in;
use crate::{
    commands::context::Context,
    error::{CommandError, Exit, Kind},
};
use eg_config::file::ConfigFiles;
use eg_model::net::permission::PortSpec;
use serde_json::json;
use std::{fs, path::Path};

/// Create a configuration interactively
///
/// Finds profiles and regions where the AWS command line keeps them, checks the credentials, lists the groups that can
/// be seen with what they already open, lets you pick with the keyboard, shows the file and writes it; then offers to
/// install the job that closes sessions. Every answer can be a flag; without a terminal nothing is asked, and what is
/// missing is named. Needs `ec2:DescribeSecurityGroups`, which a session needs too. Prefix lists and WAF IP sets are offered
/// where the credentials may list them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: eg init\nExample: eg init --profile work --region eu-west-1 --group prod-api --port ssh --yes
Example: eg init --region eu-west-1 --group prod-api:ssh,443 --group prod-db:5432 --yes"
)]
pub struct InitArgs {
    /// The AWS profile to use
    #[arg(long)]
    profile: Option<String>,
    /// The region of the groups [default: AWS_REGION, else the profile's]
    #[arg(long)]
    region: Option<String>,
    /// A group, by id or name, with its own ports if wanted: prod-api, or prod-api:tcp/22,tcp/443; or a prefix list or WAF
    /// IP set, which has none; may be repeated
    #[arg(long = "group", value_name = "GROUP[:PORTS]")]
    groups: Vec<String>,
    /// Ports to open on each group that has none of its own: tcp/22, ssh, tcp/8000-8080, udp/51820, icmp, all; may be
    /// repeated
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<PortSpec>,
    /// Write without asking
    #[arg(long)]
    yes: bool,
    /// Replace a configuration that is there, and keep it as a backup next to the new one
    #[arg(long)]
    force: bool,
}

/// The firewalls that no list has.
const OTHERS: &str = "\
Firewalls of this machine are in no list. Write a section for each, or use eg resource add:
  [[resource]]
  name = \"this-host\"
  provider = \"nftables\"
  ports = [\"tcp/22\"]

  [[resource]]
  name = \"router\"
  provider = \"script\"
  directory = \"/etc/eg/router\"";

const NEXT: [&str; 2] = ["eg session start", "eg schedule install"];

/// Makes a configuration. Refuses to replace one without `--force`.
pub fn run(context: &Context<'_>, args: &InitArgs) -> Result<Exit, CommandError> {
    let path = &context.config()?.path;
    if !args.force && fs::symlink_metadata(path).is_ok() {
        let message = format!("there is a configuration already: {}", path.display());
        return Err(CommandError::new(Kind::Refused, message)
            .hint("add to it: eg resource add, or see what could be added: eg resource discover")
            .hint("or replace it: eg init --force"));
    }
    let before = ConfigFiles::begin().read(path).ok().map(|source| source.text);
    let runtime = context.runtime()?;
    let made = Dialog::new(context, &runtime).and_then(|dialog| make(&dialog, args, path, before.as_deref()));
    runtime.shutdown_background();
    made
}

fn make(dialog: &Dialog<'_>, args: &InitArgs, path: &Path, before: Option<&str>) -> Result<Exit, CommandError> {
    let context = dialog.context;
    check_complete(dialog, args)?;
    let profile = credentials::choose(dialog, args.profile.as_deref())?;
    // Credentials are checked before anything else is asked: if they do not work, every answer is in vain.
    let known = region::known(dialog, args.region.as_deref(), profile.as_deref());
    if let Some(region) = &known {
        region::check(region)?;
        credentials::check(dialog, &profile, region)?;
    }
    let is_known = known.is_some();
    let region = region::choose(dialog, args.region.as_deref(), known)?;
    if !is_known {
        credentials::check(dialog, &profile, &region)?;
    }
    let target = any_group_in(context, profile.clone(), &region);
    context.name_endpoints(std::iter::once(&target));
    let groups = groups::list(dialog, &target, &args.groups)?;
    let (mut picked, with_host) = groups::pick(dialog, &args.groups, &groups)?;
    ports::choose(dialog, &args.ports, &mut picked)?;
    let host = if with_host { host::ask(dialog, &target)? } else { None };
    let text = write::text(&picked, host.as_ref(), profile.as_deref(), &region)?;
    write::confirm(dialog, path, &text, args.yes)?;
    let backup = write::write(path, &text, before, args.force)?;
    let group =
        |Picked { group, .. }: &Picked<'_>| json!({"kind": group.kind.name, "id": group.id, "name": group.name});
    context.printer.json(&json!({
        "file": path.to_string_lossy(),
        "profile": profile,
        "region": region,
        "groups": picked.iter().map(group).collect::<Vec<_>>(),
        "text": text,
        "backup": backup.as_ref().map(|kept| kept.to_string_lossy()),
        "next": NEXT,
    }));
    context.printer.result(&format!("✓ Wrote {}\n", path.display()));
    if let Some(kept) = &backup {
        context.printer.result(&format!("  The earlier one is {}\n", kept.display()));
    }
    if profile.is_none() && dialog.has_environment_keys() {
        write::warn_of_environment_keys(dialog);
    }
    let installed = write::offer_schedule(dialog, args.yes);
    let [start, schedule] = NEXT;
    let later = if installed { String::new() } else { format!("  {schedule}  close sessions automatically\n") };
    context.printer.result(&format!("Next:\n  {start}     open these groups now\n{later}"));
    context.printer.progress(OTHERS);
    Ok(Exit::Done)
}

/// Without a user to ask, names at once every option that is missing. Not `--port`: a group may be named with its ports, and
/// only the list tells what has none.
fn check_complete(dialog: &Dialog<'_>, args: &InitArgs) -> Result<(), CommandError> {
    if dialog.questions.is_some() {
        return Ok(());
    }
    let profile = credentials::known(dialog, args.profile.as_deref())?;
    let has_region = |profile: &credentials::Credentials| {
        region::known(dialog, args.region.as_deref(), profile.as_deref()).is_some()
    };
    let missing: Vec<&str> = [
        (profile.is_none(), "--profile"),
        (profile.as_ref().is_some_and(|profile| !has_region(profile)), "--region"),
        (args.groups.is_empty(), "--group"),
        (!args.yes, "--yes"),
    ]
    .into_iter()
    .filter_map(|(missing, flag)| missing.then_some(flag))
    .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("not a terminal: pass {}", missing.join(", "));
    Err(CommandError::new(Kind::Usage, message)
        .hint("see the groups: eg resource discover --region R --profile P")
        .hint("for example: eg init --profile work --region eu-west-1 --group prod-api --port ssh --yes"))
}
