//! `policy.toml`: limits set by the machine's administrator; user configuration cannot loosen them. They limit opening
//! alone: no policy keeps a rule from being closed.

use crate::{
    toml::{self, At, SettingsError, TomlResult, TomlSection},
    values::{duration, port_list, ports, prefix_length},
};
use chrono::TimeDelta;
use eg_model::{
    net::{
        address::IpVersion,
        host::Host,
        permission::{Permission, PortSpec},
    },
    session::record::{Grant, Session},
    target::TargetKey,
    time::duration::Written,
};
use eg_providers::{Kind, kind_of, kinds, kinds_of};
use regex::Regex;
use std::{
    collections::BTreeSet,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};
use thiserror::Error;

const KEYS: &[&str] = &[
    "max_duration",
    "kinds",
    "ports",
    "min_ipv4_prefix_len",
    "min_ipv6_prefix_len",
    "reason_pattern",
    "explicit_addresses",
    "hosts",
];
const PATTERN: &str = "a regular expression, which a whole reason has to match";

/// Limits of what may be opened. The default is that of a machine without a policy: everything is allowed.
#[derive(Clone, Debug)]
pub struct MachinePolicy {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    max_duration: Option<Written>,
    kinds: Option<Vec<&'static Kind>>,
    ports: Option<Vec<PortSpec>>,
    min_ipv4_prefix_len: Option<u8>,
    min_ipv6_prefix_len: Option<u8>,
    reason: Option<ReasonPattern>,
    explicit_addresses: bool,
    hosts: bool,
}

#[derive(Clone, Debug)]
struct ReasonPattern {
    text: String,
    whole: Regex,
}

impl Default for MachinePolicy {
    fn default() -> Self {
        Self {
            file: None,
            max_duration: None,
            kinds: None,
            ports: None,
            min_ipv4_prefix_len: None,
            min_ipv6_prefix_len: None,
            reason: None,
            explicit_addresses: true,
            hosts: true,
        }
    }
}

/// Provider and kind of a firewall. The record of a newer `eg` may hold some that this one does not know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KindName {
    provider: String,
    kind: String,
}

impl KindName {
    pub fn of(key: &TargetKey) -> Self {
        Self { provider: key.provider.clone(), kind: key.kind.clone() }
    }

    fn known(&self) -> Option<&'static Kind> {
        kinds_of(&self.provider).find(|kind| kind.name == self.kind)
    }
}

/// As the policy names it: `aws/security-group`.
impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.kind)
    }
}

/// The port that a permission asks for; `None` for a kind without ports.
fn asked_port(grant: &Grant, permission: &Permission) -> Option<(String, PortSpec)> {
    let kind = kind_of(&grant.target.key);
    let port = permission.spec().filter(|_| kind.is_none_or(Kind::has_ports))?;
    Some((grant.resource_name.clone(), port))
}

/// A request to open something, or to keep it open for longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRequest {
    /// From start to end, extensions included.
    pub duration: TimeDelta,
    /// The same as the user wrote it, if they did.
    pub written: Option<Written>,
    /// The kind of firewall of each resource, as provider and kind.
    pub kinds: BTreeSet<(String, KindName)>,
    /// Each port with the resource that it is asked for on. Nothing for a kind without ports.
    pub ports: BTreeSet<(String, PortSpec)>,
    /// The prefix lengths of the networks to open.
    pub prefixes: BTreeSet<(IpVersion, u8)>,
    pub reason: Option<String>,
    /// Addresses that the user named, rather than detection.
    pub explicit: Vec<IpAddr>,
    /// The services, besides the program's own, that detection asks for the user.
    pub services: Vec<String>,
}

impl PolicyRequest {
    /// Asks again for all that a session on record still wants. The record does not say if its addresses were named.
    pub fn again(session: &Session) -> Self {
        let ports = |grant: &Grant| -> Vec<_> {
            grant.permissions.iter().filter_map(|item| asked_port(grant, &item.permission)).collect()
        };
        let kind = |grant: &Grant| (grant.resource_name.clone(), KindName::of(&grant.target.key));
        Self {
            kinds: session.current().map(kind).collect(),
            duration: session.expires_at - session.started_at,
            reason: session.reason.clone(),
            ports: session.current().flat_map(ports).collect(),
            prefixes: session.current().map(|grant| (grant.ip_version(), grant.cidr().prefix_len())).collect(),
            ..Self::default()
        }
    }
}

/// A request that the policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {key}: {allowed}; {asked}", file.display())]
pub struct NotAllowed {
    pub file: PathBuf,
    pub key: &'static str,
    pub allowed: String,
    pub asked: String,
}

/// The key that refuses, its limit, and the value that was asked for.
type PolicyRefusal = (&'static str, String, String);

impl MachinePolicy {
    /// Reads the text of a policy; `file` is named in errors.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        let policy = read(text).map_err(|fault| fault.locate(text, file))?;
        Ok(Self { file: Some(file.to_owned()), ..policy })
    }

    /// Refuses with the first key that does not allow the request.
    pub fn check(&self, asked: &PolicyRequest) -> Result<(), NotAllowed> {
        let refusal = self
            .refused_duration(asked)
            .or_else(|| self.refused_kind(asked))
            .or_else(|| self.refused_port(asked))
            .or_else(|| self.refused_prefix(asked))
            .or_else(|| self.refused_reason(asked));
        self.answer(refusal.or_else(|| self.refused_address(asked)))
    }

    fn answer(&self, refusal: Option<PolicyRefusal>) -> Result<(), NotAllowed> {
        let Some((key, allowed, asked)) = refusal else { return Ok(()) };
        Err(NotAllowed { file: self.file.clone().unwrap_or_default(), key, allowed, asked })
    }

    /// Checks one permission of a session that is on record.
    pub fn allows(&self, session: &Session, grant: &Grant, permission: &Permission) -> Result<(), NotAllowed> {
        self.check(&PolicyRequest {
            duration: session.expires_at - session.started_at,
            reason: session.reason.clone(),
            kinds: [(grant.resource_name.clone(), KindName::of(&grant.target.key))].into(),
            ports: asked_port(grant, permission).into_iter().collect(),
            prefixes: [(permission.ip_version(), permission.cidr().prefix_len())].into(),
            ..PolicyRequest::default()
        })
    }

    /// Checks the services, besides the program's own, that detection asks.
    pub fn check_services(&self, services: Vec<String>) -> Result<(), NotAllowed> {
        self.answer(self.refused_address(&PolicyRequest { services, ..PolicyRequest::default() }))
    }

    /// Checks the hosts whose names choose what is opened.
    pub fn check_hosts<'h>(&self, mut hosts: impl Iterator<Item = &'h Host>) -> Result<(), NotAllowed> {
        let refused = hosts.next().filter(|_| !self.hosts).map(|host| {
            let allowed = "false: no host may choose what is opened".to_owned();
            ("hosts", allowed, format!("{host} is asked for"))
        });
        self.answer(refused)
    }

    fn refused_duration(&self, asked: &PolicyRequest) -> Option<PolicyRefusal> {
        let max = self.max_duration.as_ref().filter(|max| asked.duration > max.length)?;
        let length = asked.written.clone().unwrap_or_else(|| asked.duration.into());
        Some(("max_duration", format!("{max} at most is allowed"), format!("{length} is asked for")))
    }

    /// | `kinds` | `ports` | refused |
    /// |---|---|---|
    /// | a list | any | every kind that is not in the list |
    /// | absent | a list | kinds without ports, which would get around it, and kinds that this `eg` does not know |
    /// | absent | absent | nothing |
    fn refused_kind(&self, asked: &PolicyRequest) -> Option<PolicyRefusal> {
        let kinds = self.kinds.as_deref();
        let fits = |name: &KindName| match (kinds, name.known()) {
            (Some(allowed), known) => known.is_some_and(|known| allowed.contains(&known)),
            (None, known) => self.ports.is_none() || known.is_some_and(Kind::has_ports),
        };
        let (resource, name) = asked.kinds.iter().find(|(_, name)| !fits(name))?;
        let noun = name.known().map_or(name.to_string(), |known| known.noun.to_string());
        Some(match kinds {
            Some(allowed) => {
                ("kinds", format!("{} alone are allowed", kind_list(allowed)), format!("{resource} is {noun} ({name})"))
            }
            None => {
                let allowed = "only firewalls whose entries have ports are allowed, unless \"kinds\" names others";
                ("ports", allowed.to_owned(), format!("{resource} is {noun} ({name})"))
            }
        })
    }

    fn refused_port(&self, asked: &PolicyRequest) -> Option<PolicyRefusal> {
        let allowed = self.ports.as_ref()?;
        let fits = |port: PortSpec| allowed.iter().any(|known| known.contains(port));
        let (resource, port) = asked.ports.iter().find(|(_, port)| !fits(*port))?;
        let allowed = format!("{} alone are allowed", port_list(allowed));
        Some(("ports", allowed, format!("{port} of {resource} is asked for")))
    }

    fn refused_prefix(&self, asked: &PolicyRequest) -> Option<PolicyRefusal> {
        asked.prefixes.iter().find_map(|(version, length)| {
            let (key, least) = match version {
                IpVersion::V4 => ("min_ipv4_prefix_len", self.min_ipv4_prefix_len),
                IpVersion::V6 => ("min_ipv6_prefix_len", self.min_ipv6_prefix_len),
            };
            let least = least.filter(|least| length < least)?;
            Some((key, format!("/{least} or longer is allowed"), format!("/{length} is asked for")))
        })
    }

    fn refused_reason(&self, asked: &PolicyRequest) -> Option<PolicyRefusal> {
        let pattern = self.reason.as_ref()?;
        let given = asked.reason.as_deref();
        if given.is_some_and(|reason| pattern.whole.is_match(reason)) {
            return None;
        }
        let allowed = format!("a --reason that matches {} as a whole is needed", pattern.text);
        Some(("reason_pattern", allowed, given.map_or("none is given".to_owned(), |it| format!("\"{it}\" is given"))))
    }

    fn refused_address(&self, asked: &PolicyRequest) -> Option<PolicyRefusal> {
        if self.explicit_addresses {
            return None;
        }
        let (key, only) = ("explicit_addresses", "false: only detected addresses are allowed");
        if let Some(address) = asked.explicit.first() {
            return Some((key, only.to_owned(), format!("{address} is given")));
        }
        let service = asked.services.first()?;
        Some((key, format!("{only}, by eg's own services"), format!("[detect] asks {service}")))
    }

    /// The longest that a session may last, if the configuration allows this much.
    pub fn longest(&self, configured: TimeDelta) -> TimeDelta {
        self.max_duration.as_ref().map_or(configured, |max| max.length.min(configured))
    }

    /// The limits, each in a few words; empty if the policy limits nothing.
    pub fn limits(&self) -> Vec<String> {
        let length = |version, least: Option<u8>| least.map(|least| format!("{version} /{least} or longer"));
        let parts = [
            self.max_duration.as_ref().map(|max| format!("sessions of {max} at most")),
            self.kinds.as_ref().map(|kinds| format!("firewalls of kind {}", kind_list(kinds))),
            self.ports.as_ref().map(|ports| format!("ports {}", port_list(ports))),
            length(IpVersion::V4, self.min_ipv4_prefix_len),
            length(IpVersion::V6, self.min_ipv6_prefix_len),
            self.reason.as_ref().map(|pattern| format!("a reason that matches {}", pattern.text)),
            (!self.explicit_addresses).then(|| "addresses that eg's own services detect".to_owned()),
            (!self.hosts).then(|| "no hosts".to_owned()),
        ];
        parts.into_iter().flatten().collect()
    }
}

fn kind_list(kinds: &[&Kind]) -> String {
    kinds.iter().map(|kind| kind.label()).collect::<Vec<_>>().join(", ")
}

/// A list of kinds, each with its provider; an empty list allows none.
fn kinds_of_policy(root: &TomlSection<'_>) -> TomlResult<Option<Vec<&'static Kind>>> {
    let all: Vec<&Kind> = kinds().collect();
    let accepted = format!("some of {}", kind_list(&all));
    let Some(list) = root.strings("kinds", &accepted)? else { return Ok(None) };
    let kind = |item: At<String>| {
        item.read(&accepted, |text| {
            let named = |kind: &&'static Kind| kind.label() == text;
            kinds().find(named).ok_or_else(|| format!("\"{text}\" is not a kind of firewall"))
        })
    };
    list.value.into_iter().map(kind).collect::<Result<_, _>>().map(Some)
}

fn read(text: &str) -> TomlResult<MachinePolicy> {
    let root = toml::parse(text)?;
    let root = TomlSection::new("the policy", 0, root.get_ref(), KEYS)?;
    Ok(MachinePolicy {
        file: None,
        max_duration: duration(&root, "max_duration")?.map(|found| found.value),
        kinds: kinds_of_policy(&root)?,
        ports: ports(&root)?,
        min_ipv4_prefix_len: prefix_length(&root, "min_ipv4_prefix_len", IpVersion::V4)?,
        min_ipv6_prefix_len: prefix_length(&root, "min_ipv6_prefix_len", IpVersion::V6)?,
        reason: root.read("reason_pattern", PATTERN, reason_pattern)?,
        explicit_addresses: root.boolean("explicit_addresses")?.unwrap_or(true),
        hosts: root.boolean("hosts")?.unwrap_or(true),
    })
}

/// Compiles the pattern by itself first: `a)|(b`, which closes a group that it did not open, would be valid inside the
/// group that makes it match a reason as a whole.
fn reason_pattern(text: String) -> Result<ReasonPattern, String> {
    let whole = Regex::new(&text).and_then(|_| Regex::new(&format!(r"\A(?:{text})\z")));
    let whole = whole.map_err(|error| format!("reason_pattern is no regular expression: {error}"))?;
    Ok(ReasonPattern { whole, text })
}

#[cfg(test)]
mod tests;
