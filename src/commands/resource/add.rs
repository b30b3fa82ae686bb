//! `eg resource add`. No network.

use crate::{
    commands::{context::Context, resource::change_json::change_json},
    error::{CommandError, Exit, Kind},
    ui::warning::Code,
};
use clap::ValueEnum;
use eg_config::{
    edit::{self, NewResource},
    file::{ConfigError, ConfigFiles, FileChange, Over},
    trusted_file::ReadError,
};
use eg_model::{
    net::{host::Host, permission::PortSpec},
    target::Expiry,
    text::{escape_controls, shell_quoted},
};
use eg_providers::{Kind as FirewallKind, kinds, kinds_named, kinds_of};
use std::{collections::BTreeMap, path::Path};

/// Add a resource to the configuration
///
/// Writes a `[[resource]]` at the end of the file and leaves the rest of it as it is. Name the group by `--id`; or name,
/// by `--group-name` or `--tag`, every group that fits when a session starts (`*` is any characters, `?` one or none); or,
/// by `--host`, the one group in front of a host.
/// Settings of `[defaults]` need not be repeated. Other kinds of firewall have other options: see `docs/firewalls.md`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  eg resource add prod-api --id sg-0abc123def4567890 --region eu-west-1 --port tcp/22\n  \
                        eg resource add prod-db --host db.example.com:5432\n\n\
                        Other kinds of firewall:\n  \
                        eg resource add office --kind prefix-list --id pl-0abc123def4567890 --region eu-west-1\n  \
                        eg resource add web --kind waf-ip-set --scope regional --set-name office --id UUID --region eu-west-1\n  \
                        eg resource add this-host --kind nftables --port ssh\n  \
                        eg resource add router --kind script --directory /etc/eg/router"
)]
pub struct AddArgs {
    /// The name for tables and --only
    name: String,
    /// The kind of firewall: security-group, prefix-list, waf-ip-set, nftables, script [default: that of the
    /// configuration's defaults, else security-group]
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<&'static FirewallKind>,
    /// The id of the group, list or set
    #[arg(
        long,
        value_name = "ID",
        required_unless_present_any = ["group_name", "tag", "host", "kind", "table", "directory"],
        conflicts_with_all = ["group_name", "tag", "host"]
    )]
    id: Option<String>,
    /// The one group in front of this host (db.example.com:5432)
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with_all = ["group_name", "tag"])]
    host: Option<Host>,
    /// The name or id of the group that --host means, where several are in front of it
    #[arg(long, value_name = "GROUP", requires = "host")]
    group: Option<String>,
    /// The scope of the WAF IP set: regional or cloudfront
    #[arg(long)]
    scope: Option<String>,
    /// The name of the WAF IP set
    #[arg(long, value_name = "NAME")]
    set_name: Option<String>,
    /// The nftables table that eg makes and keeps [default: eg]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// The directory with the scripts
    #[arg(long, value_name = "DIR")]
    directory: Option<String>,
    /// Every group of this name
    #[arg(long, value_name = "PATTERN")]
    group_name: Option<String>,
    /// Every group with this tag; may be repeated, and then all have to be there
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    tag: Vec<(String, String)>,
    /// The region [default: that of the configuration's defaults]
    #[arg(long)]
    region: Option<String>,
    /// The AWS profile whose credentials alone are used
    #[arg(long)]
    profile: Option<String>,
    /// A role to assume
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    /// The external id that the role asks for
    #[arg(long, value_name = "ID", requires = "role_arn")]
    external_id: Option<String>,
    /// A port to open: tcp/22, tcp/8000-8080, udp/51820, icmp, all; may be repeated
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<PortSpec>,
    /// Only this family; may be repeated [default: both]
    #[arg(long = "family", value_enum)]
    families: Vec<FamilyArg>,
    /// A label for --only; may be repeated
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FamilyArg {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// A kind by its name, or by its provider's where that has no other.
fn kind(text: &str) -> Result<&'static FirewallKind, String> {
    let by_provider = || kinds_of(text).next().filter(|kind| is_only_kind(kind));
    let names = || kinds().map(short_name).collect::<Vec<_>>().join(", ");
    kinds_named(text).next().or_else(by_provider).ok_or_else(|| format!("the kinds are {}", names()))
}

/// The one word that says all of a kind.
pub fn short_name(kind: &'static FirewallKind) -> &'static str {
    if is_only_kind(kind) { kind.provider } else { kind.name }
}

/// True for the only kind of its provider, which the provider's name stands for.
fn is_only_kind(kind: &FirewallKind) -> bool {
    kinds_of(kind.provider).count() == 1
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a tag is written KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub fn run(context: &Context<'_>, args: &AddArgs) -> Result<Exit, CommandError> {
    let entry = entry(args)?;
    let path = &context.config()?.path;
    let (old, auto_closing) = without_resource(path, &args.name)?;
    let text = edit::add(old.as_deref().unwrap_or_default(), &entry)
        .map_err(|error| CommandError::new(Kind::Config, format!("{}: {error}", path.display())))?;
    let over = old.as_deref().map_or(Over::Nothing, Over::Text);
    FileChange { main: path, file: path, text: &text, over }.make()?;
    context.printer.json(&change_json("added", &args.name, path, &[]));
    context.printer.result(&format!("✓ Added {} to {}\n", escape_controls(&args.name), path.display()));
    if auto_closing && args.kind.is_none_or(|kind| kind.expiry == Expiry::Schedule) {
        // Otherwise every expiry schedule would look well until it fires.
        let hint = format!("have it widened with: eg setup cloud-expiry --apply --only {}", shell_quoted(&args.name));
        let message = "the role of [aws.cloud_expiry] may close only groups that it was made for: rules of this resource \
                       do not close by themselves before it is widened";
        context.printer.warn(Code::CloudExpiry, message, &[hint]);
    }
    context.printer.progress(&format!("Next: eg resource verify {}", shell_quoted(&args.name)));
    Ok(Exit::Done)
}

/// The text of the configuration file, if there is one, and whether it sets up cloud expiry. Refuses a name that is taken.
fn without_resource(path: &Path, name: &str) -> Result<(Option<String>, bool), CommandError> {
    let files = ConfigFiles::begin();
    let source = match files.read(path) {
        Ok(source) => source,
        Err(ReadError::Absent) => return Ok((None, false)),
        Err(error) => return Err(ConfigError::unreadable(path, error).into()),
    };
    let settings = files.load(&source, path)?;
    if let Some(file) = settings.files.get(name) {
        let message = format!("{name} is there already, in {}", file.display());
        return Err(CommandError::new(Kind::Refused, message).hint("choose another name, or edit the file"));
    }
    Ok((Some(source.text), settings.aws.cloud_expiry.is_some()))
}

/// Refuses a key that stands twice: a group has one value for it, so no group could have both.
fn tags(args: &AddArgs) -> Result<BTreeMap<String, String>, CommandError> {
    let mut tags = BTreeMap::new();
    for (key, value) in &args.tag {
        if tags.insert(key.clone(), value.clone()).is_some() {
            let message = format!("--tag {key}=… stands twice, and a group has one value");
            let hint = "add a resource for each value, or write a pattern that fits them all (* and ?)";
            return Err(CommandError::new(Kind::Usage, message).hint(hint));
        }
    }
    Ok(tags)
}

/// The keys that say which firewall is meant. The configuration's own reader judges them, with all that `[defaults]` says.
fn target(args: &AddArgs) -> Vec<(&'static str, String)> {
    let host = args.host.as_ref().map(ToString::to_string);
    let given = [
        ("host", &host),
        ("group", &args.group),
        ("scope", &args.scope),
        ("set_name", &args.set_name),
        ("id", &args.id),
        ("table", &args.table),
        ("directory", &args.directory),
    ];
    given.into_iter().filter_map(|(key, found)| Some((key, found.clone()?))).collect()
}

fn entry(args: &AddArgs) -> Result<NewResource, CommandError> {
    let family = |family: &FamilyArg| match family {
        FamilyArg::Ipv4 => "ipv4".to_owned(),
        FamilyArg::Ipv6 => "ipv6".to_owned(),
    };
    Ok(NewResource {
        name: args.name.clone(),
        provider: args.kind.filter(|kind| is_only_kind(kind)).map(|kind| kind.provider.to_owned()),
        kind: args.kind.filter(|kind| !is_only_kind(kind)).map(|kind| kind.name.to_owned()),
        target: target(args),
        group_name: args.group_name.clone(),
        tags: tags(args)?,
        region: args.region.clone(),
        profile: args.profile.clone(),
        role_arn: args.role_arn.clone(),
        external_id: args.external_id.clone(),
        ports: args.ports.iter().map(ToString::to_string).collect(),
        families: args.families.iter().map(family).collect(),
        groups: args.labels.clone(),
    })
}
