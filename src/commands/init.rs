//! `eg init`: a configuration out of what the AWS command line knows and the account shows.

use super::{
    Context,
    resource::{discover::way, openings},
};
use crate::{
    config_file::{self, Change, Over},
    edit::{self, Entry},
    error::{CommandError, Exit, Kind},
    output::text::escape_controls,
    prompt::{Questions, left, stopped_by},
};
use eg_model::{permission::PortSpec, target::Reach};
use eg_providers::{
    Group,
    aws::{Profile, profiles},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};
use tokio::runtime::Runtime;

/// Make a configuration: finds your AWS profiles and groups, and asks
///
/// Finds profiles and regions where the AWS command line keeps them, lists the groups that can be seen with what they
/// already open, lets you pick with the keyboard, shows the file and writes it. Every answer can be a flag; without a
/// terminal nothing is asked, and what is missing is named. Needs `ec2:DescribeSecurityGroups`, which a session needs
/// too.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: eg init\nExample: eg init --profile work --region eu-west-1 --group prod-api --port tcp/22 --yes"
)]
pub struct InitArgs {
    /// The AWS profile to use
    #[arg(long)]
    profile: Option<String>,
    /// The region of the groups
    #[arg(long)]
    region: Option<String>,
    /// A group, by id or name; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// What to open: tcp/22, tcp/8000-8080, udp/51820, icmp, all; may be repeated
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<PortSpec>,
    /// Write without asking
    #[arg(long)]
    yes: bool,
    /// Replace a configuration that is there
    #[arg(long)]
    force: bool,
}

/// What comes after.
const NEXT: [&str; 2] = ["eg session start", "eg schedule install"];

/// Makes a configuration.
///
/// # Errors
/// There is one already, an answer is missing or wrong, the groups cannot be listed, or the file cannot be written.
pub fn run(context: &Context<'_>, args: &InitArgs) -> Result<Exit, CommandError> {
    let path = &context.config()?.path;
    if !args.force && fs::symlink_metadata(path).is_ok() {
        let message = format!("there is a configuration already: {}", path.display());
        return Err(CommandError::new(Kind::Refused, message)
            .hint("add to it: eg resource add, or see what could be added: eg resource discover")
            .hint("or replace it: eg init --force"));
    }
    let before = config_file::read(path).ok().map(|source| source.text);
    let runtime = context.runtime()?;
    let made = Init::new(context, args, &runtime, before)?.make();
    runtime.shutdown_background();
    made
}

struct Init<'a> {
    context: &'a Context<'a>,
    args: &'a InitArgs,
    runtime: &'a Runtime,
    profiles: Vec<Profile>,
    /// Somebody to ask, if there is one.
    questions: Option<Questions>,
    /// What is to be replaced, where it can be read.
    before: Option<String>,
}

/// Whose credentials: a profile's, or what the SDK finds without one.
type Credentials = Option<String>;

impl<'a> Init<'a> {
    fn new(
        context: &'a Context<'a>,
        args: &'a InitArgs,
        runtime: &'a Runtime,
        before: Option<String>,
    ) -> Result<Self, CommandError> {
        let env = context.env;
        let var = |name: &str| env.var(name);
        let profiles = runtime.block_on(profiles(var("AWS_CONFIG_FILE"), var("AWS_SHARED_CREDENTIALS_FILE")))?;
        let somebody = env.stdin_is_terminal && env.stderr_is_terminal && !context.printer.is_json();
        let questions = if somebody { Some(runtime.block_on(async { Questions::begin() })?) } else { None };
        Ok(Self { context, args, runtime, profiles, questions, before })
    }

    fn make(&self) -> Result<Exit, CommandError> {
        self.nothing_missing()?;
        let profile = self.profile()?;
        let region = self.region(profile.as_deref())?;
        let ports = self.ports()?;
        let reach = way(self.context, profile.clone(), region);
        self.context.name_endpoints(std::iter::once(&reach));
        let groups = self.groups(&reach)?;
        let picked = self.pick(&groups, &ports)?;
        let text = text(&picked, profile.as_deref(), &reach, &ports)?;
        self.write(&text, &picked, profile.as_deref(), &reach)
    }

    /// Without somebody to ask, all that would be asked is named at once.
    fn nothing_missing(&self) -> Result<(), CommandError> {
        if self.questions.is_some() {
            return Ok(());
        }
        let profile = self.known_profile()?;
        let no_region = profile.as_ref().is_some_and(|profile| self.known_region(profile.as_deref()).is_none());
        let missing: Vec<&str> = [
            (profile.is_none(), "--profile"),
            (no_region, "--region"),
            (self.args.groups.is_empty(), "--group"),
            (self.args.ports.is_empty(), "--port"),
            (!self.args.yes, "--yes"),
        ]
        .into_iter()
        .filter_map(|(missing, flag)| missing.then_some(flag))
        .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("there is no terminal to ask on, so these have to be given: {}", missing.join(", "));
        Err(CommandError::new(Kind::Usage, message)
            .hint("see the groups: eg resource discover --region R --profile P")
            .hint("for example: eg init --profile work --region eu-west-1 --group prod-api --port tcp/22 --yes"))
    }

    /// The credentials, where there is nothing to ask: those that are named, those that the SDK takes before all
    /// others, or the only ones there are.
    fn known_profile(&self) -> Result<Option<Credentials>, CommandError> {
        let names: Vec<&str> = self.profiles.iter().map(|profile| profile.name.as_str()).collect();
        let keys = self.context.env.var("AWS_ACCESS_KEY_ID").is_some();
        let named = self.args.profile.as_deref().or_else(|| self.context.env.var("AWS_PROFILE").filter(|_| !keys));
        match (named, names.as_slice()) {
            (Some(name), known) if known.contains(&name) => Ok(Some(Some(name.to_owned()))),
            (Some(name), known) => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(CommandError::new(Kind::Usage, format!("there is no AWS profile \"{name}\"; known: {known}")))
            }
            (None, []) => Ok(Some(None)),
            (None, _) if keys => Ok(Some(None).filter(|_: &Credentials| self.questions.is_none())),
            (None, [only]) => Ok(Some(Some((*only).to_owned()))),
            (None, _) => Ok(None),
        }
    }

    fn profile(&self) -> Result<Credentials, CommandError> {
        if let Some(known) = self.known_profile()? {
            if let Some(name) = &known {
                self.context.printer.progress(&format!("→ AWS profile {}", escape_controls(name)));
            }
            return Ok(known);
        }
        let questions = self.questions.as_ref().ok_or_else(left)?;
        let shown = |profile: &Profile| match &profile.region {
            Some(region) => format!("{} ({region})", profile.name),
            None => profile.name.clone(),
        };
        let mut options: Vec<String> = self.profiles.iter().map(shown).collect();
        if self.context.env.var("AWS_ACCESS_KEY_ID").is_some() {
            options.push("none: the keys in this shell's environment, which a schedule does not have".to_owned());
        }
        let chosen = questions.one_of("AWS profile", &options)?;
        Ok(self.profiles.get(chosen).map(|profile| profile.name.clone()))
    }

    /// The region that is named, else the profile's, else the environment's.
    fn known_region(&self, profile: Option<&str>) -> Option<String> {
        let of_profile = || self.profiles.iter().find(|one| Some(one.name.as_str()) == profile)?.region.clone();
        let of_environment = || {
            let env = self.context.env;
            env.var("AWS_REGION").or_else(|| env.var("AWS_DEFAULT_REGION")).map(str::to_owned)
        };
        self.args.region.clone().or_else(of_profile).or_else(of_environment)
    }

    fn region(&self, profile: Option<&str>) -> Result<String, CommandError> {
        let known = self.known_region(profile);
        if let Some(questions) = self.questions.as_ref().filter(|_| self.args.region.is_none()) {
            return questions.text("Region", known, region);
        }
        let known = known.ok_or_else(left)?;
        region(&known).map_err(|error| CommandError::new(Kind::Usage, error))
    }

    fn ports(&self) -> Result<Vec<PortSpec>, CommandError> {
        match &self.questions {
            Some(questions) if self.args.ports.is_empty() => questions.text(
                "Ports to open (tcp/22, tcp/8000-8080, udp/51820, icmp, all)",
                Some("tcp/22".to_owned()),
                ports,
            ),
            _ => Ok(each_once(&self.args.ports)),
        }
    }

    fn groups(&self, reach: &Reach) -> Result<Vec<Group>, CommandError> {
        let region = &reach.target.region;
        self.context.printer.progress(&format!("→ Looking for groups in {region}..."));
        let listed = async { self.context.env.connect().connect(reach).await?.groups(None).await };
        let groups = self.runtime.block_on(async {
            tokio::select! {
                groups = listed => groups.map_err(CommandError::from),
                // Whoever asks questions has taken Ctrl-C for a key.
                _ = tokio::signal::ctrl_c() => Err(self.questions.as_ref().map_or_else(|| stopped_by(2), Questions::stopped)),
            }
        })?;
        if groups.is_empty() {
            let message = format!("no security group can be seen in {region} with these credentials");
            return Err(CommandError::new(Kind::NotFound, message).hint("try another --region or --profile"));
        }
        Ok(groups)
    }

    fn pick<'g>(&self, groups: &'g [Group], ports: &[PortSpec]) -> Result<Vec<&'g Group>, CommandError> {
        let Some(questions) = self.questions.as_ref().filter(|_| self.args.groups.is_empty()) else {
            let named: Vec<&Group> =
                self.args.groups.iter().map(|wanted| named(groups, wanted)).collect::<Result<_, _>>()?;
            return Ok(each_once(&named));
        };
        let list: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let question = format!("Groups that shall open {} (space picks, Enter goes on)", list.join(", "));
        let options: Vec<String> = lines(groups, ports);
        let chosen = questions.some_of(&question, &options)?;
        Ok(chosen.into_iter().filter_map(|at| groups.get(at)).collect())
    }

    fn write(&self, text: &str, picked: &[&Group], profile: Option<&str>, reach: &Reach) -> Result<Exit, CommandError> {
        let (path, printer) = (&self.context.config()?.path, self.context.printer);
        let shown: Vec<String> = text.lines().map(escape_controls).collect();
        let shown = format!("\n{}\n", shown.join("\n"));
        match self.questions.as_ref().filter(|_| !self.args.yes) {
            None => printer.progress(&shown),
            Some(questions) => {
                // Also with --quiet: nobody can agree to what is not shown.
                printer.remark(&shown);
                if !questions.agreed(&format!("Write this to {}?", path.display()))? {
                    return Err(left());
                }
            }
        }
        let over = match &self.before {
            Some(before) => Over::Text(before),
            None if self.args.force => Over::Anything,
            None => Over::Nothing,
        };
        Change { main: path, file: path, text, over }.make()?;
        printer.json(&json!({
            "file": path.to_string_lossy(),
            "profile": profile,
            "region": reach.target.region,
            "groups": picked.iter().map(|group| &group.id).collect::<Vec<_>>(),
            "text": text,
            "next": NEXT,
        }));
        printer.result(&format!("✓ Wrote {}\n", path.display()));
        if profile.is_none() && self.context.env.var("AWS_ACCESS_KEY_ID").is_some() {
            let hint =
                "use a profile, so that a scheduled `eg reconcile` can close sessions: eg init --force --profile P";
            printer.warn("the credentials are those of this shell's environment alone", &[hint.to_owned()]);
        }
        let [start, schedule] = NEXT;
        printer.result(&format!(
            "Next:\n  {start}       opens these groups to your address\n  {schedule}    closes them on time\n"
        ));
        Ok(Exit::Done)
    }
}

/// What was named twice counts once.
fn each_once<T: Clone + PartialEq>(named: &[T]) -> Vec<T> {
    let mut once: Vec<T> = Vec::new();
    for one in named {
        if !once.contains(one) {
            once.push(one.clone());
        }
    }
    once
}

/// A region as it may be written.
fn region(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(text.to_owned()) } else { Err(format!("\"{text}\" is not a region; one is eu-west-1")) }
}

/// Ports with commas or spaces between them, each once.
fn ports(text: &str) -> Result<Vec<PortSpec>, String> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let read = |word: &str| word.parse().map_err(|error: eg_model::permission::PortSpecError| error.to_string());
    let ports = each_once(&words.map(read).collect::<Result<Vec<_>, _>>()?);
    if ports.is_empty() { Err("at least one port, as in tcp/22".to_owned()) } else { Ok(ports) }
}

/// The most groups that an error lists.
const LISTED_MAX: usize = 20;

/// A group by id or name.
fn named<'g>(groups: &'g [Group], wanted: &str) -> Result<&'g Group, CommandError> {
    let found: Vec<&Group> = groups.iter().filter(|group| group.id == wanted || group.name == wanted).collect();
    let list = |groups: &[&Group]| {
        let named = groups.iter().take(LISTED_MAX).map(|group| format!("{} {}", group.id, group.name));
        let more = groups.len().saturating_sub(LISTED_MAX);
        let more = (more > 0).then(|| format!("and {more} more"));
        named.chain(more).collect::<Vec<_>>().join(", ")
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let message = format!(
                "no group is \"{wanted}\" by id or name; there are: {}",
                list(&groups.iter().collect::<Vec<_>>())
            );
            Err(CommandError::new(Kind::Usage, message))
        }
        several => {
            let message = format!("\"{wanted}\" is the name of {}: {}", several.len(), list(several));
            Err(CommandError::new(Kind::Usage, message).hint("name it by id"))
        }
    }
}

/// The groups as they are offered: id, name, VPC, and what opens these ports already.
fn lines(groups: &[Group], ports: &[PortSpec]) -> Vec<String> {
    let width = |text: fn(&Group) -> &str| groups.iter().map(|group| text(group).chars().count()).max().unwrap_or(0);
    let network = |group: &Group| group.network.clone().unwrap_or_else(|| "-".to_owned());
    let (ids, names) = (width(|group| &group.id), width(|group| &group.name));
    let vpcs = groups.iter().map(|group| network(group).chars().count()).max().unwrap_or(0);
    let line = |group: &Group| {
        let meets =
            |permission: &eg_model::permission::Permission| ports.iter().any(|port| permission.opens_some_of(*port));
        let permissions = group.permissions.iter().copied().filter(meets).collect();
        let open = openings(&Group { permissions, other_ingress: 0, ..group.clone() });
        let open = if open == "nothing" { closed(group, ports) } else { format!("open: {open}") };
        format!("{:ids$}  {:names$}  {:vpcs$}  {open}", group.id, group.name, network(group))
    };
    groups.iter().map(line).collect()
}

/// The column of a group that opens none of the chosen ports. It names ports that the group opens to the whole world.
fn closed(group: &Group, ports: &[PortSpec]) -> String {
    let asked = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let everybody = group.permissions.iter().filter(|permission| permission.is_for_everybody());
    let others: BTreeSet<String> = everybody.map(eg_model::permission::Permission::ports).collect();
    match others.is_empty() {
        true => format!("{asked} closed"),
        false => format!("{asked} closed; opens {} to the world", others.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

const HEAD: &str =
    "# Made by `eg init`. More can stand here: durations, labels, defaults; see docs/configuration.md.\n";

/// The file.
fn text(picked: &[&Group], profile: Option<&str>, reach: &Reach, ports: &[PortSpec]) -> Result<String, CommandError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for group in picked {
        *counts.entry(group.name.as_str()).or_default() += 1;
    }
    let mut text = HEAD.to_owned();
    for group in picked {
        let name = match counts.get(group.name.as_str()) {
            Some(1) if !group.name.is_empty() => group.name.clone(),
            _ => format!("{} {}", group.name, group.id).trim().to_owned(),
        };
        let entry = Entry {
            name,
            id: Some(group.id.clone()),
            region: Some(reach.target.region.clone()),
            profile: profile.map(str::to_owned),
            ports: ports.iter().map(ToString::to_string).collect(),
            ..Entry::default()
        };
        text = edit::add(&text, &entry).map_err(|error| CommandError::new(Kind::Config, error.to_string()))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: &str, name: &str, permissions: &[&str]) -> Group {
        Group {
            id: id.to_owned(),
            name: name.to_owned(),
            network: Some("vpc-1".to_owned()),
            tags: BTreeMap::new(),
            permissions: permissions.iter().map(|text| text.parse().unwrap()).collect(),
            other_ingress: 1,
        }
    }

    #[test]
    fn ports_as_people_write_them() {
        let read = |text: &str| ports(text).map(|ports| ports.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read("tcp/22").unwrap(), ["tcp/22"]);
        assert_eq!(read(" tcp/22,udp/53  icmp, tcp/22").unwrap(), ["tcp/22", "udp/53", "icmp"]);
        assert!(read("ssh").is_err() && read(" , ").is_err());
    }

    #[test]
    fn what_is_offered() {
        let groups = [
            group("sg-1", "api", &["tcp|22|22|10.0.0.0/8", "tcp|22|22|0.0.0.0/0", "tcp|443|443|0.0.0.0/0"]),
            group("sg-22", "database", &["tcp|5432|5432|10.0.0.0/8"]),
        ];
        assert_eq!(
            lines(&groups, &[PortSpec::Tcp(22, 22)]),
            ["sg-1   api       vpc-1  open: tcp/22 from 0.0.0.0/0 and 1 more", "sg-22  database  vpc-1  tcp/22 closed"]
        );
        let everybody = [group("sg-1", "api", &["tcp|22|22|10.0.0.0/8", "tcp|443|443|0.0.0.0/0", "tcp|443|443|::/0"])];
        let ports = [PortSpec::Tcp(80, 80), PortSpec::Tcp(8080, 8080)];
        assert_eq!(
            lines(&everybody, &ports),
            ["sg-1  api  vpc-1  tcp/80, tcp/8080 closed; opens tcp/443 to the world"]
        );
    }

    #[test]
    fn groups_by_id_or_name() {
        let groups = [group("sg-1", "web", &[]), group("sg-2", "web", &[]), group("sg-3", "api", &[])];
        assert_eq!(named(&groups, "sg-2").unwrap().id, "sg-2");
        assert_eq!(named(&groups, "api").unwrap().id, "sg-3");
        let twice = named(&groups, "web").unwrap_err();
        assert_eq!(twice.message, "\"web\" is the name of 2: sg-1 web, sg-2 web");
        let none = named(&groups, "db").unwrap_err();
        assert_eq!(none.message, "no group is \"db\" by id or name; there are: sg-1 web, sg-2 web, sg-3 api");
    }
}
