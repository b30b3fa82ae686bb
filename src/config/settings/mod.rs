//! The configuration: what `config.toml` may say, and what it says.
//!
//! Every mistake is one error that names file, line and column, what is wrong, and what is accepted. Nothing here
//! reads a file or the environment: texts and the files' names come in, those of included files through a [`Reader`].

pub use crate::config::toml::SpannedError;
use chrono::TimeDelta;
use eg_model::{
    net::{
        address::{IpVersion, PrefixLengths},
        permission::PortSpec,
    },
    selector::{Pattern, Selector},
    time::duration::Written,
};
pub use eg_providers::aws::{CloudExpiry, DEFAULT_SCHEDULE_GROUP};
use reqwest::Url;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use toml::{Spanned, de::DeTable};

/// The most `extra_tags`: of the 50 tags that a rule can carry (AWS, "Tag naming limits and requirements"), these
/// leave room for `eg`'s own three and some leases.
pub const MAX_EXTRA_TAGS: usize = 40;

/// The most files of one configuration.
pub const MAX_FILES: usize = 256;
/// The most files that include each other in a row: each is read while the ones above it wait.
pub const MAX_LEVELS: usize = 16;

/// What `[aws] description` accepts, for messages.
pub const DESCRIPTIONS: &str = "\"full\" (user, host and session) or \"session\" (the session alone)";

pub const ROOT_KEYS: &[&str] =
    &["include", "defaults", "user", "session", "detect", "reconcile", "notify", "aws", "resource"];
/// What an included file may say: the rest is said once, by the file that includes.
pub const INCLUDED_KEYS: &[&str] = &["include", "defaults", "resource"];
pub const USER_KEYS: &[&str] = &["name", "email"];
pub const SESSION_KEYS: &[&str] = &["default_duration", "max_duration", "ipv4_prefix_len", "ipv6_prefix_len"];
pub const DETECT_KEYS: &[&str] = &["ipv4", "ipv6", "agree", "timeout", "use_proxy"];
pub const RECONCILE_KEYS: &[&str] = &["collect_expired", "collect_interval"];
pub const AWS_KEYS: &[&str] = &["extra_tags", "description", "cloud_expiry"];
pub const CLOUD_EXPIRY_KEYS: &[&str] = &["role_arn", "schedule_group"];
pub const NOTIFY_KEYS: &[&str] = &["command", "before"];
pub const DEFAULTS_KEYS: &[&str] =
    &["provider", "kind", "region", "profile", "role_arn", "external_id", "ports", "families", "groups"];
pub const RESOURCE_KEYS: &[&str] = &[
    "name",
    "provider",
    "kind",
    "id",
    "group_name",
    "tag",
    "region",
    "profile",
    "role_arn",
    "external_id",
    "ports",
    "families",
    "groups",
];

/// Every table, as it is written, and what may stand in it: the documentation names each.
pub const TABLES: &[(&str, &[&str])] = &[
    ("", ROOT_KEYS),
    ("[defaults]", DEFAULTS_KEYS),
    ("[user]", USER_KEYS),
    ("[session]", SESSION_KEYS),
    ("[detect]", DETECT_KEYS),
    ("[reconcile]", RECONCILE_KEYS),
    ("[notify]", NOTIFY_KEYS),
    ("[aws]", AWS_KEYS),
    ("[aws.cloud_expiry]", CLOUD_EXPIRY_KEYS),
    ("[[resource]]", RESOURCE_KEYS),
];

/// The whole configuration. The default is that of an empty file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub user: User,
    pub session: SessionSettings,
    pub detect: Detect,
    pub reconcile: Reconcile,
    /// `[notify]`, where there is a command.
    pub notify: Option<Notify>,
    pub aws: AwsSettings,
    /// Every `[[resource]]` with an id, in the file's order; those of included files follow.
    pub resources: Vec<Resource>,
    /// Every `[[resource]]` that names groups by name or tags, in the same order.
    pub selections: Vec<Selection>,
    /// The file that each `[[resource]]` stands in, by its name.
    pub files: BTreeMap<String, PathBuf>,
}

/// `[user]`: who, as the user says. Absent: the OS user and host, which the caller supplies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: Option<String>,
    pub email: Option<String>,
}

/// `[session]`: how long sessions last, and how much around an address they open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Without `--duration`. Not written: 8 hours, or `max_duration` where that is shorter.
    pub default_duration: TimeDelta,
    /// The longest a session may last, extensions included; 24 hours by default, 31 days at most.
    pub max_duration: Written,
    /// What is opened around an address; one host by default.
    pub prefix_lengths: PrefixLengths,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            default_duration: TimeDelta::hours(8),
            max_duration: TimeDelta::hours(24).into(),
            prefix_lengths: PrefixLengths::default(),
        }
    }
}

/// `[detect]`: how the user's own addresses are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detect {
    /// The services asked for the IPv4 address; empty: that family is never detected.
    pub ipv4: Vec<Url>,
    /// The services asked for the IPv6 address; empty: that family is never detected.
    pub ipv6: Vec<Url>,
    /// How many equal answers make an address; at least 2.
    pub agree: usize,
    /// How long one request may take; 1 to 5 seconds.
    pub timeout: Duration,
    /// Whether requests may go through the proxy that the environment names (the address found is then the proxy's).
    pub use_proxy: bool,
}

/// Echo services of three different operators a family: ipify, icanhazip (Cloudflare), and AWS or ident.me.
const IPV4_SERVICES: [&str; 3] =
    ["https://api.ipify.org", "https://ipv4.icanhazip.com", "https://checkip.amazonaws.com"];
const IPV6_SERVICES: [&str; 3] = ["https://api6.ipify.org", "https://ipv6.icanhazip.com", "https://v6.ident.me"];

impl Default for Detect {
    fn default() -> Self {
        let urls = |list: [&str; 3]| list.iter().filter_map(|text| Url::parse(text).ok()).collect();
        Self {
            ipv4: urls(IPV4_SERVICES),
            ipv6: urls(IPV6_SERVICES),
            agree: 2,
            timeout: Duration::from_secs(3),
            use_proxy: false,
        }
    }
}

impl Detect {
    /// The services that are asked for an address of this family; empty: it is never detected.
    #[must_use]
    pub fn services(&self, version: IpVersion) -> &[Url] {
        match version {
            IpVersion::V4 => &self.ipv4,
            IpVersion::V6 => &self.ipv6,
        }
    }

    /// What decides about the address besides the program's own services: whoever names services, or a proxy on the way
    /// to them, can have them answer anything.
    #[must_use]
    pub fn of_the_user(&self) -> Vec<String> {
        let own = Self::default();
        let named = |url: &&Url| !own.ipv4.contains(url) && !own.ipv6.contains(url);
        let services = self.ipv4.iter().chain(&self.ipv6).filter(named).map(ToString::to_string);
        services.chain(self.use_proxy.then(|| "a proxy".to_owned())).collect()
    }
}

/// `[reconcile]`: what a pass does beyond its own rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconcile {
    /// Whether expired rules are revoked whoever opened them; true by default.
    pub collect_expired: bool,
    /// At most one collection pass over all configured targets in this time; 1 hour by default.
    pub collect_interval: TimeDelta,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self { collect_expired: true, collect_interval: TimeDelta::hours(1) }
    }
}

/// `[notify]`: whom passes of `reconcile` tell what happens to sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The program and its arguments; no shell is between. Never empty.
    pub command: Vec<String>,
    /// How long before its end a session is said to end soon; 10 minutes by default.
    pub before: TimeDelta,
}

/// `[aws]`: what every rule in AWS carries besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsSettings {
    /// Added to the tags of every rule (tag policies); at most [`MAX_EXTRA_TAGS`].
    pub extra_tags: BTreeMap<String, String>,
    /// What a rule's description says.
    pub description: Description,
    /// `[aws.cloud_expiry]`: rules that close even if this machine never comes back.
    pub cloud_expiry: Option<CloudExpiry>,
}

/// What a rule's description says, for people in the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Description {
    #[default]
    Full,
    /// `eg session <id8>`: the person is left out.
    Session,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Unique; what the tables show.
    pub name: String,
    /// The name of its `[[resource]]`, which `--only` selects: another where that names groups by name or tags, and this
    /// is one of them.
    pub entry: String,
    pub provider: String,
    pub kind: String,
    pub id: String,
    pub region: String,
    /// The profile whose credentials alone are used; absent: the standard chain.
    pub profile: Option<String>,
    /// A role to assume on top.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// What to open, in the file's order; never empty, nothing twice.
    pub ports: Vec<PortSpec>,
    /// The families to open to; never empty, nothing twice.
    pub families: Vec<IpVersion>,
    pub groups: Vec<String>,
    /// Where its `[[resource]]` stands; `None` where no file says so.
    pub place: Option<SourceLine>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    pub file: PathBuf,
    pub line: usize,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// `[[resource]]` with `group_name` or `tag`: every group that is like this when a session starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// What a group has to be like.
    pub meant: Selector,
    /// What it says of each of them. Its name is unique among all `[[resource]]`, and `--only` selects by it; there is
    /// no id yet.
    pub like: Resource,
}

impl Selection {
    /// One group that it means, under a name of its own.
    #[must_use]
    pub fn resource(&self, name: String, id: String) -> Resource {
        Resource { name, id, ..self.like.clone() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen<'a> {
    pub resources: Vec<&'a Resource>,
    /// Those that are looked up.
    pub selections: Vec<&'a Selection>,
}

/// One file of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub text: String,
    /// Where it really is: the same for every way to one file.
    pub real: PathBuf,
}

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadFile {
    pub why: String,
    /// The command that mends it, where there is one.
    pub mend: Option<String>,
}

/// Reads one file of the configuration.
pub type Reader<'r> = dyn Fn(&Path) -> Result<SourceFile, UnreadFile> + 'r;

/// A mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}:{line}:{column}: {message}{}", file.display(), accepted_suffix(accepted))]
pub struct SettingsError {
    /// The file, as it was named.
    pub file: PathBuf,
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    pub message: String,
    /// What is accepted in its place; empty where the text is not TOML at all.
    pub accepted: String,
    /// The command that mends it, where there is one.
    pub mend: Option<String>,
}

fn accepted_suffix(accepted: &str) -> String {
    if accepted.is_empty() { String::new() } else { format!(" (accepted: {accepted})") }
}

/// An `--only` value that selects nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no resource is named or labelled \"{value}\"; known: {}", known_list(known))]
pub struct UnknownOnly {
    pub value: String,
    /// Every name, then every label, each once, in the configuration's order.
    pub known: Vec<String>,
}

/// A `--port` value that a resource does not open, or not as widely.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{resource} is not configured for {port} (its ports: {})", list(offered))]
pub struct PortNotOffered {
    pub port: PortSpec,
    pub resource: String,
    pub offered: Vec<PortSpec>,
}

pub fn list(ports: &[PortSpec]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Resource {
    /// What is left of the resource's ports when these alone are asked for: each has to be one of them, or lie within
    /// one. An empty list asks for all.
    ///
    /// # Errors
    /// The first one that is wider than what is configured, or outside of it.
    pub fn narrowed(&self, asked: &[PortSpec]) -> Result<Vec<PortSpec>, PortNotOffered> {
        if asked.is_empty() {
            return Ok(self.ports.clone());
        }
        let offered = |port: &PortSpec| self.ports.iter().any(|known| known.contains(*port));
        match asked.iter().find(|port| !offered(port)) {
            None => Ok(asked.to_vec()),
            Some(port) => Err(PortNotOffered { port: *port, resource: self.name.clone(), offered: self.ports.clone() }),
        }
    }
}

fn known_list(known: &[String]) -> String {
    if known.is_empty() { "none, for no resource is configured".to_owned() } else { known.join(", ") }
}

impl Settings {
    /// Reads the text of a configuration that includes no other file; `file` is only named in errors.
    ///
    /// # Errors
    /// As for [`Settings::load`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        let source = SourceFile { text: text.to_owned(), real: file.to_owned() };
        Self::load(&source, file, &|_| Err(UnreadFile { why: "files are not read here".to_owned(), mend: None }))
    }

    /// Reads a configuration and, through `read`, what it includes; `file` is named in errors, and included files are
    /// relative to it.
    ///
    /// # Errors
    /// Text that is not TOML, unknown keys, values of the wrong type or out of range, duplicate names, and a
    /// `default_duration` above `max_duration`; a file that cannot be read, or that is included twice; more files or
    /// levels of them than [`MAX_FILES`] and [`MAX_LEVELS`]. The first mistake found is the one reported.
    pub fn load(source: &SourceFile, file: &Path, read: &Reader<'_>) -> Result<Self, SettingsError> {
        crate::config::include::gather(source, file, read)
    }

    /// Whether nothing is there to be opened.
    #[must_use]
    pub fn names_no_target(&self) -> bool {
        self.resources.is_empty() && self.selections.is_empty()
    }

    /// Whether some resource takes addresses of this family.
    #[must_use]
    pub fn takes(&self, version: IpVersion) -> bool {
        let resources = self.resources.iter().map(|resource| &resource.families);
        resources
            .chain(self.selections.iter().map(|one| &one.like.families))
            .any(|families| families.contains(&version))
    }

    /// The resources that `--only` names: names or labels, case-sensitive, or patterns of them (`prod-*`), several in one
    /// value with commas between; their union, in the configuration's order. A value that is a name or a label as it
    /// stands is just that, whatever characters it holds. An empty list selects all.
    ///
    /// # Errors
    /// The first one that selects nothing.
    pub fn select(&self, only: &[String]) -> Result<Chosen<'_>, UnknownOnly> {
        let all: Vec<(&String, &Vec<String>)> = self.names_and_labels().collect();
        let known = |one: &OnlyPattern<'_>| all.iter().any(|(name, labels)| one.fits(name, labels));
        let mut wanted: Vec<OnlyPattern<'_>> = Vec::new();
        for value in only {
            let whole = OnlyPattern::Exactly(value);
            let parts = || value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(OnlyPattern::new);
            let ones = if known(&whole) { vec![whole] } else { parts().collect() };
            if let Some(value) = unknown_of(&ones, value, known) {
                return Err(UnknownOnly { value, known: self.known_to_only() });
            }
            wanted.extend(ones);
        }
        let chosen = |one: &Resource| wanted.is_empty() || wanted.iter().any(|only| only.fits(&one.name, &one.groups));
        Ok(Chosen {
            resources: self.resources.iter().filter(|one| chosen(one)).collect(),
            selections: self.selections.iter().filter(|one| chosen(&one.like)).collect(),
        })
    }

    fn names_and_labels(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        let resources = self.resources.iter().map(|resource| (&resource.name, &resource.groups));
        resources.chain(self.selections.iter().map(|one| (&one.like.name, &one.like.groups)))
    }

    fn known_to_only(&self) -> Vec<String> {
        let names = self.names_and_labels().map(|(name, _)| name);
        let labels = self.names_and_labels().flat_map(|(_, labels)| labels);
        let mut seen = BTreeSet::new();
        names.chain(labels).filter(|word| seen.insert(*word)).cloned().collect()
    }
}

/// What one part of an `--only` value means.
enum OnlyPattern<'v> {
    Exactly(&'v str),
    Like(Pattern),
}

impl<'v> OnlyPattern<'v> {
    fn new(text: &'v str) -> Self {
        let pattern = Pattern::new(text).filter(|_| text.contains(['*', '?']));
        pattern.map_or(Self::Exactly(text), Self::Like)
    }

    fn fits(&self, name: &str, labels: &[String]) -> bool {
        let one = |text: &str| match self {
            Self::Exactly(wanted) => *wanted == text,
            Self::Like(pattern) => pattern.matches(text),
        };
        one(name) || labels.iter().any(|label| one(label))
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Exactly(text) => text,
            Self::Like(pattern) => pattern.as_str(),
        }
    }
}

/// The part of a value that selects nothing; the value itself, where it has no parts.
fn unknown_of(ones: &[OnlyPattern<'_>], value: &str, known: impl Fn(&OnlyPattern<'_>) -> bool) -> Option<String> {
    match ones.iter().find(|one| !known(one)) {
        Some(one) => Some(one.as_str().to_owned()),
        None => ones.is_empty().then(|| value.to_owned()),
    }
}

pub fn table(text: &str) -> Result<Spanned<DeTable<'_>>, SpannedError> {
    // Editors on some systems start a file with a byte order mark; TOML parsers skip it, and so do positions.
    DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(text.len(), |span| span.start);
        SpannedError::new(at, format!("not TOML: {}", error.message()), "")
    })
}

pub fn locate(text: &str, file: &Path, fault: SpannedError) -> SettingsError {
    let before = text.get(..fault.at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let SpannedError { message, accepted, mend, .. } = fault;
    SettingsError { file: file.to_owned(), line, column, message, accepted, mend }
}

#[cfg(test)]
mod tests;
