//! The configuration: what `config.toml` may say, and what it says.
//!
//! Every mistake is one error that names file, line and column, what is wrong, and what is accepted. Nothing here
//! reads a file or the environment: the text and the file's name come in.

mod reader;
mod sections;

use chrono::TimeDelta;
use eg_model::{address::IpVersion, permission::PortSpec, switch::SwitchWay};
use reader::{Fault, Section};
use reqwest::Url;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use toml::de::DeTable;

/// The most `extra_tags`: of the 50 tags that a rule can carry (AWS, "Tag naming limits and requirements"), these
/// leave room for `eg`'s own three and some leases.
pub const MAX_EXTRA_TAGS: usize = 40;

/// What `[aws] description` accepts, for messages.
const DESCRIPTIONS: &str = "\"full\" (user, host and session) or \"session\" (the session alone)";

const ROOT_KEYS: &[&str] = &["user", "session", "detect", "reconcile", "aws", "resource"];
const USER_KEYS: &[&str] = &["name", "email"];
const SESSION_KEYS: &[&str] = &["default_duration", "max_duration"];
const DETECT_KEYS: &[&str] = &["ipv4", "ipv6", "agree", "timeout", "use_proxy"];
const RECONCILE_KEYS: &[&str] = &["collect_expired", "collect_interval"];
const AWS_KEYS: &[&str] = &["extra_tags", "description", "cloud_expiry"];
const CLOUD_EXPIRY_KEYS: &[&str] = &["role_arn", "schedule_group"];
const RESOURCE_KEYS: &[&str] =
    &["name", "provider", "kind", "id", "region", "profile", "role_arn", "external_id", "ports", "families", "groups"];

/// The whole configuration. The default is that of an empty file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[user]`.
    pub user: User,
    /// `[session]`.
    pub session: Session,
    /// `[detect]`.
    pub detect: Detect,
    /// `[reconcile]`.
    pub reconcile: Reconcile,
    /// `[aws]`.
    pub aws: Aws,
    /// Every `[[resource]]`, in the file's order.
    pub resources: Vec<Resource>,
}

/// `[user]`: who, as the user says. Absent: the OS user and host, which the caller supplies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Their name.
    pub name: Option<String>,
    /// Their mail address.
    pub email: Option<String>,
}

/// `[session]`: how long sessions last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Without `--duration`. Not written: 8 hours, or `max_duration` where that is shorter.
    pub default_duration: TimeDelta,
    /// The longest a session may last, extensions included; 24 hours by default, 31 days at most.
    pub max_duration: TimeDelta,
}

impl Default for Session {
    fn default() -> Self {
        Self { default_duration: TimeDelta::hours(8), max_duration: TimeDelta::hours(24) }
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

/// `[aws]`: what every rule in AWS carries besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aws {
    /// Added to the tags of every rule (tag policies); at most [`MAX_EXTRA_TAGS`].
    pub extra_tags: BTreeMap<String, String>,
    /// What a rule's description says.
    pub description: Description,
    /// `[aws.cloud_expiry]`: rules that close even if this machine never comes back.
    pub cloud_expiry: Option<CloudExpiry>,
}

/// `[aws.cloud_expiry]`: every rule gets a switch in the cloud that closes it on time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudExpiry {
    /// The roles that close rules, one for each account; never empty.
    pub roles: Vec<String>,
    /// The group of schedules that switches are kept in; `default` by default, which every account has.
    pub schedule_group: String,
}

/// The group of schedules that every account has.
pub const DEFAULT_SCHEDULE_GROUP: &str = "default";

impl CloudExpiry {
    /// Where switches of an account's rules are kept; `None` where no role is of that account.
    #[must_use]
    pub fn way(&self, account: &str) -> Option<SwitchWay> {
        let way = |role: &String| SwitchWay { role_arn: role.clone(), group: self.schedule_group.clone() };
        self.roles.iter().map(way).find(|way| way.account() == account)
    }
}

/// What a rule's description says, for people in the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Description {
    /// `eg <user>@<host> session <id8>`.
    #[default]
    Full,
    /// `eg session <id8>`: the person is left out.
    Session,
}

/// `[[resource]]`: one firewall target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Unique; what the tables show and `--only` selects.
    pub name: String,
    /// `aws`.
    pub provider: String,
    /// `security-group`.
    pub kind: String,
    /// The provider's id (`sg-…`).
    pub id: String,
    /// The region.
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
    /// Labels for `--only`.
    pub groups: Vec<String>,
}

/// A mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}:{line}:{column}: {message}{}", file.display(), accepted_suffix(accepted))]
pub struct SettingsError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What is accepted in its place; empty where the text is not TOML at all.
    pub accepted: String,
}

fn accepted_suffix(accepted: &str) -> String {
    if accepted.is_empty() { String::new() } else { format!(" (accepted: {accepted})") }
}

/// An `--only` value that selects nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no resource is named or labelled \"{value}\"; known: {}", known_list(known))]
pub struct UnknownOnly {
    /// The value.
    pub value: String,
    /// Every name, then every label, each once, in the configuration's order.
    pub known: Vec<String>,
}

fn known_list(known: &[String]) -> String {
    if known.is_empty() { "none, for no resource is configured".to_owned() } else { known.join(", ") }
}

impl Settings {
    /// Reads the text of a configuration; `file` is only named in errors.
    ///
    /// # Errors
    /// Text that is not TOML, unknown keys, values of the wrong type or out of range, duplicate names, and a
    /// `default_duration` above `max_duration`. The first mistake found is the one reported.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        read(text).map_err(|fault| locate(text, file, fault))
    }

    /// The resources that `--only` names: exact, case-sensitive names or labels, their union, in the configuration's
    /// order. An empty list selects all.
    ///
    /// # Errors
    /// The first value that is neither a name nor a label.
    pub fn select(&self, only: &[String]) -> Result<Vec<&Resource>, UnknownOnly> {
        let matches = |resource: &Resource, value: &String| resource.name == *value || resource.groups.contains(value);
        let unknown = only.iter().find(|value| !self.resources.iter().any(|resource| matches(resource, value)));
        if let Some(value) = unknown {
            return Err(UnknownOnly { value: value.clone(), known: self.known_to_only() });
        }
        let wanted = |resource: &&Resource| only.is_empty() || only.iter().any(|value| matches(resource, value));
        Ok(self.resources.iter().filter(wanted).collect())
    }

    fn known_to_only(&self) -> Vec<String> {
        let names = self.resources.iter().map(|resource| &resource.name);
        let labels = self.resources.iter().flat_map(|resource| &resource.groups);
        let mut known: Vec<String> = Vec::new();
        for word in names.chain(labels) {
            if !known.contains(word) {
                known.push(word.clone());
            }
        }
        known
    }
}

fn read(text: &str) -> Result<Settings, Fault> {
    // Editors on some systems start a file with a byte order mark; TOML parsers skip it, and so do positions.
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(text.len(), |span| span.start);
        Fault::new(at, format!("not TOML: {}", error.message()), "")
    })?;
    let root = Section::new("the file", 0, root.get_ref(), ROOT_KEYS)?;
    let child = |key: &str, name: &'static str, keys: &[&str]| Section::child(&root, key, name, keys);
    Ok(Settings {
        user: sections::user(&child("user", "[user]", USER_KEYS)?)?,
        session: sections::session(&child("session", "[session]", SESSION_KEYS)?)?,
        detect: sections::detect(&child("detect", "[detect]", DETECT_KEYS)?)?,
        reconcile: sections::reconcile(&child("reconcile", "[reconcile]", RECONCILE_KEYS)?)?,
        aws: {
            let section = child("aws", "[aws]", AWS_KEYS)?;
            let expiry = section.optional_child("cloud_expiry", "[aws.cloud_expiry]", CLOUD_EXPIRY_KEYS)?;
            sections::aws(&section, expiry.as_ref())?
        },
        resources: sections::resources(&root.tables("resource", "[[resource]]", RESOURCE_KEYS)?)?,
    })
}

fn locate(text: &str, file: &Path, fault: Fault) -> SettingsError {
    let before = text.get(..fault.at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    SettingsError { file: file.to_owned(), line, column, message: fault.message, accepted: fault.accepted }
}

#[cfg(test)]
mod tests;
