//! `eg init`: a configuration out of what the AWS command line knows and the account shows.

pub mod backup;
pub mod groups;

use self::{
    backup::backup,
    groups::{lines, with_ports},
};
use super::{resource::discover::way, schedule};
use crate::commands::context::{Context, listen};
use crate::{
    config::{
        edit::{self, NewResource},
        file::{ConfigFiles, FileChange, Over},
    },
    error::{CommandError, Exit, Kind},
    text::{escape_controls, shell_quoted},
    ui::{
        prompt::{Questions, left, stopped_by},
        warning::Code,
    },
};
use eg_model::{net::permission::PortSpec, target::Reach};
use eg_providers::{
    ListedGroup,
    aws::{Profile, profiles},
};
use serde_json::json;
use std::{collections::BTreeMap, fs, future::Future};
use tokio::runtime::Runtime;

/// Create a configuration interactively
///
/// Finds profiles and regions where the AWS command line keeps them, checks the credentials, lists the groups that can
/// be seen with what they already open, lets you pick with the keyboard, shows the file and writes it; then offers to
/// install the job that closes sessions. Every answer can be a flag; without a terminal nothing is asked, and what is
/// missing is named. Needs `ec2:DescribeSecurityGroups`, which a session needs too.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: eg init\nExample: eg init --profile work --region eu-west-1 --group prod-api --port ssh --yes
Example: eg init --region eu-west-1 --group prod-api:ssh,443 --group prod-db:5432 --yes"
)]
pub struct InitArgs {
    /// The AWS profile to use
    #[arg(long)]
    profile: Option<String>,
    /// The region of the groups
    #[arg(long)]
    region: Option<String>,
    /// A group, by id or name, with its own ports if wanted: prod-api, or prod-api:tcp/22,tcp/443; may be repeated
    #[arg(long = "group", value_name = "GROUP[:PORTS]")]
    groups: Vec<String>,
    /// What to open on each group that has no ports of its own: tcp/22, ssh, tcp/8000-8080, udp/51820, icmp, all; may be
    /// repeated
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<PortSpec>,
    /// Write without asking
    #[arg(long)]
    yes: bool,
    /// Replace a configuration that is there, which is kept beside it
    #[arg(long)]
    force: bool,
}

const NEXT: [&str; 2] = ["eg session start", "eg schedule install"];

/// Makes a configuration.
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

/// A group that is to be opened.
struct Picked<'g> {
    group: &'g ListedGroup,
    /// Its own ports. Empty: those of --port, or what is answered.
    ports: Vec<PortSpec>,
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
        let [config, credentials] = ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"].map(|name| env.aws_file(name));
        let profiles = runtime.block_on(profiles(config.as_deref(), credentials.as_deref()))?;
        let somebody = env.stdin_is_terminal && env.stderr_is_terminal && !context.printer.is_json();
        let questions = somebody.then(|| Questions::begin(context.printer.has_colored_talk())).transpose()?;
        Ok(Self { context, args, runtime, profiles, questions, before })
    }

    fn make(&self) -> Result<Exit, CommandError> {
        self.nothing_missing()?;
        let profile = self.profile()?;
        // Before anything else is asked: with credentials that do not work, every answer would be for nothing.
        let known = self.known_region(profile.as_deref());
        if let Some(named) = &known {
            region(named).map_err(|error| CommandError::new(Kind::Usage, error))?;
        }
        if let Some(region) = &known {
            self.check_credentials(profile.as_deref(), region)?;
        }
        let region = self.region(profile.as_deref())?;
        if known.is_none() {
            self.check_credentials(profile.as_deref(), &region)?;
        }
        let reach = way(self.context, profile.clone(), region);
        self.context.name_endpoints(std::iter::once(&reach));
        let groups = self.groups(&reach)?;
        let picked = self.pick(&groups)?;
        let (picked, ports) = self.ports(picked)?;
        let text = text(&picked, profile.as_deref(), &reach, &ports)?;
        self.write(&text, &picked, profile.as_deref(), &reach)
    }

    fn check_credentials(&self, profile: Option<&str>, region: &str) -> Result<(), CommandError> {
        self.context.printer.progress("→ Checking credentials...");
        let reach = way(self.context, profile.map(str::to_owned), region.to_owned());
        let caller = async { self.context.env.connect().connect(&reach).await?.caller().await };
        let caller = self.unless_stopped(caller)?.map_err(|failure| {
            let option = profile.map(|name| format!(" --profile {}", shell_quoted(name))).unwrap_or_default();
            CommandError::from(failure).hint(format!("check with: aws sts get-caller-identity{option}"))
        })?;
        self.context.printer.progress(&format!("  {}", escape_controls(&caller.arn)));
        Ok(())
    }

    /// Ctrl-C ends what takes its time.
    fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, CommandError> {
        self.runtime.block_on(async {
            let interrupt = listen()?;
            tokio::select! {
                done = work => Ok(done),
                () = interrupt.wait() => Err(stopped_by(interrupt.asked().unwrap_or_default())),
            }
        })
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
            (self.args.ports.is_empty() && !self.args.groups.iter().all(|group| group.contains(':')), "--port"),
            (!self.args.yes, "--yes"),
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
            options.push("none: the keys in this shell's environment (a scheduled job does not have them)".to_owned());
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
            return questions.text("Region", known.as_deref(), region);
        }
        let known = known.ok_or_else(left)?;
        region(&known).map_err(|error| CommandError::new(Kind::Usage, error))
    }

    /// The ports of each group, in the groups' order: its own, those of --port, or the answer to a question. One answer is
    /// the next one's proposal.
    fn ports<'g>(&self, picked: Vec<Picked<'g>>) -> Result<(Vec<&'g ListedGroup>, Vec<Vec<PortSpec>>), CommandError> {
        let mut usual = "tcp/22".to_owned();
        let (mut groups, mut all) = (Vec::new(), Vec::new());
        for Picked { group, ports: own } in picked {
            groups.push(group);
            let named = if own.is_empty() { each_once(&self.args.ports) } else { own };
            if !named.is_empty() {
                all.push(named);
                continue;
            }
            let name = if group.name.is_empty() { &group.id } else { &group.name };
            let Some(questions) = &self.questions else {
                let message = format!("no ports are given for {name}: pass --port, or --group {name}:tcp/22");
                return Err(CommandError::new(Kind::Usage, message));
            };
            let question = format!("Ports to open on {} (22, ssh, tcp/8000-8080, udp/51820)", escape_controls(name));
            let chosen = questions.text(&question, Some(&usual), ports)?;
            usual = chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            all.push(chosen);
        }
        Ok((groups, all))
    }

    fn groups(&self, reach: &Reach) -> Result<Vec<ListedGroup>, CommandError> {
        let region = &reach.target.region;
        self.context.printer.progress(&format!("→ Looking for groups in {region}..."));
        let listed = async { self.context.env.connect().connect(reach).await?.groups(None).await };
        let groups = self.unless_stopped(listed)?.map_err(CommandError::from)?;
        if groups.is_empty() {
            let message = format!("no security group can be seen in {region} with these credentials");
            return Err(CommandError::new(Kind::NotFound, message).hint("try another --region or --profile"));
        }
        Ok(groups)
    }

    fn pick<'g>(&self, groups: &'g [ListedGroup]) -> Result<Vec<Picked<'g>>, CommandError> {
        let Some(questions) = self.questions.as_ref().filter(|_| self.args.groups.is_empty()) else {
            let mut picked: Vec<Picked<'g>> = Vec::new();
            for wanted in &self.args.groups {
                let (group, ports) = with_ports(groups, wanted)?;
                match picked.iter_mut().find(|one| one.group == group) {
                    Some(known) => known.ports = each_once(&[known.ports.as_slice(), &ports].concat()),
                    None => picked.push(Picked { group, ports }),
                }
            }
            return Ok(picked);
        };
        let chosen = questions.some_of("Which groups should eg open?", &lines(groups))?;
        let found = chosen.into_iter().filter_map(|at| groups.get(at));
        Ok(found.map(|group| Picked { group, ports: Vec::new() }).collect())
    }

    fn write(
        &self,
        text: &str,
        picked: &[&ListedGroup],
        profile: Option<&str>,
        reach: &Reach,
    ) -> Result<Exit, CommandError> {
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
        let backup = self.args.force.then(|| backup(path)).transpose()?.flatten();
        if let Err(error) = (FileChange { main: path, file: path, text, over }).make() {
            // What was kept is still in its place.
            backup.iter().for_each(|kept| {
                fs::remove_file(kept).ok();
            });
            return Err(error);
        }
        printer.json(&json!({
            "file": path.to_string_lossy(),
            "profile": profile,
            "region": reach.target.region,
            "groups": picked.iter().map(|group| json!({"id": group.id, "name": group.name})).collect::<Vec<_>>(),
            "text": text,
            "backup": backup.as_ref().map(|kept| kept.to_string_lossy()),
            "next": NEXT,
        }));
        printer.result(&format!("✓ Wrote {}\n", path.display()));
        if let Some(kept) = &backup {
            printer.result(&format!("  The earlier one is {}\n", kept.display()));
        }
        if profile.is_none() && self.context.env.var("AWS_ACCESS_KEY_ID").is_some() {
            let hint =
                "use a profile, so that a scheduled `eg reconcile` can close sessions: eg init --force --profile P";
            printer.warn(
                Code::Credentials,
                "the credentials are those of this shell's environment alone",
                &[hint.to_owned()],
            );
        }
        let installed = self.offer_schedule()?;
        let [start, schedule] = NEXT;
        let later = if installed { String::new() } else { format!("  {schedule}  close sessions automatically\n") };
        printer.result(&format!("Next:\n  {start}     open these groups now\n{later}"));
        Ok(Exit::Done)
    }

    /// Offers to install the job that closes sessions, where somebody is there and this machine can run one. Whether it
    /// is installed now. The configuration is written: what goes wrong here is told, and ends nothing.
    fn offer_schedule(&self) -> Result<bool, CommandError> {
        let Some(questions) = self.questions.as_ref().filter(|_| !self.args.yes) else { return Ok(false) };
        if !schedule::install::can_install(self.context) {
            return Ok(false);
        }
        let wanted = questions.agreed("Install the job that closes sessions when they expire (eg schedule install)?");
        // Whoever leaves here has a configuration.
        if !wanted.unwrap_or(false) {
            return Ok(false);
        }
        let installed = schedule::install::run(self.context, &schedule::install::InstallArgs::default());
        Ok(installed
            .inspect_err(|error| self.context.printer.warn(Code::Error(error.kind), &error.message, &error.hints))
            .is_ok())
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
    let read = |word: &str| word.parse().map_err(|error: eg_model::net::permission::PortSpecError| error.to_string());
    let ports = each_once(&words.map(read).collect::<Result<Vec<_>, _>>()?);
    if ports.is_empty() { Err("at least one port, as in tcp/22".to_owned()) } else { Ok(ports) }
}

const HEAD: &str = "# Created by eg init. All settings: eg man config, or docs/configuration.md\n";

fn text(
    picked: &[&ListedGroup],
    profile: Option<&str>,
    reach: &Reach,
    ports: &[Vec<PortSpec>],
) -> Result<String, CommandError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for group in picked {
        *counts.entry(group.name.as_str()).or_default() += 1;
    }
    let mut text = HEAD.to_owned();
    for (group, ports) in picked.iter().zip(ports) {
        let name = match counts.get(group.name.as_str()) {
            Some(1) if !group.name.is_empty() => group.name.clone(),
            _ => format!("{} {}", group.name, group.id).trim().to_owned(),
        };
        let entry = NewResource {
            name,
            id: Some(group.id.clone()),
            region: Some(reach.target.region.clone()),
            profile: profile.map(str::to_owned),
            ports: ports.iter().map(ToString::to_string).collect(),
            ..NewResource::default()
        };
        text = edit::add(&text, &entry).map_err(|error| CommandError::new(Kind::Config, error.to_string()))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_as_people_write_them() {
        let read = |text: &str| ports(text).map(|ports| ports.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read("tcp/22").unwrap(), ["tcp/22"]);
        assert_eq!(read(" tcp/22,udp/53  icmp, tcp/22").unwrap(), ["tcp/22", "udp/53", "icmp"]);
        assert_eq!(read("22 https").unwrap(), ["tcp/22", "tcp/443"]);
        assert!(read("gopher").is_err() && read(" , ").is_err());
    }
}
