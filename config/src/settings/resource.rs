//! `[[resource]]` and `[defaults]`.

use crate::{
    settings::{
        host::{self, Meant},
        kind,
    },
    toml::{At, SpannedError, TomlResult, TomlSection},
    values::{NOT_EMPTY, PORTS, not_empty, optional_text, port_list, ports, role_arn},
};
use eg_model::{
    net::{address::IpVersion, permission::PortSpec},
    selector::{Pattern, Selector},
    target::TargetKey,
};
use eg_providers::{Kind, Noun, Ports, aws::SECURITY_GROUP};
use std::{collections::BTreeMap, fmt, path::PathBuf};
use thiserror::Error;

pub const DEFAULTS_KEYS: &[&str] =
    &["provider", "kind", "region", "profile", "role_arn", "external_id", "ports", "families", "groups"];
const FAMILIES: &str = "\"ipv4\", \"ipv6\" or both";
const PATTERN: &str = "text that is not empty; * is any characters, ? one or none";
const ROLE: &str = "a role's ARN, as in \"arn:aws:iam::123456789012:role/name\"";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Unique; the tables show it.
    pub name: String,
    /// The name of its `[[resource]]`, which `--only` selects: another where that names groups by name or tags, and this
    /// is one of them.
    pub entry: String,
    pub kind: &'static Kind,
    /// The id in the key of its target: the values of the keys that say which firewall is meant.
    pub id: String,
    /// Empty for a kind without regions.
    pub region: String,
    /// The profile whose credentials alone are used; absent: the standard chain.
    pub profile: Option<String>,
    /// A role to assume on top.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// The ports to open, in the file's order; never empty, nothing twice. "All" alone for a kind without ports.
    pub ports: Vec<PortSpec>,
    /// The families to open to; never empty, nothing twice.
    pub families: Vec<IpVersion>,
    pub groups: Vec<String>,
    /// The line of its `[[resource]]`; `None` if it is from no file.
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

/// `[[resource]]` with `group_name`, `tag` or `host`: the groups that fit when a session starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    pub meant: Meant,
    /// The keys that each of the groups gets. Its name is unique among all `[[resource]]`, and `--only` selects by it;
    /// there is no id yet.
    pub like: Resource,
}

impl Selection {
    /// One of the groups, under a name of its own.
    pub fn resource(&self, name: String, id: String) -> Resource {
        Resource { name, id, ..self.like.clone() }
    }
}

/// A `--port` value that a resource does not open, or not as widely.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PortNotOffered {
    #[error("{resource} is not configured for {port} (its ports: {})", port_list(offered))]
    Other { port: PortSpec, resource: String, offered: Vec<PortSpec> },
    #[error("{resource} is {noun}, which has no ports to choose from")]
    None { resource: String, noun: Noun },
}

impl Resource {
    /// The firewall that it names, at the provider's own endpoint.
    pub fn key(&self) -> TargetKey {
        TargetKey::new(self.kind.provider, self.kind.name, &self.region, &self.id)
    }

    /// Narrows the resource's ports to those that were asked for: each has to be one of them, or lie within one. An empty
    /// list asks for all.
    ///
    /// # Errors
    /// The first port that is wider than what is configured, or outside of it.
    pub fn narrowed(&self, asked: &[PortSpec]) -> Result<Vec<PortSpec>, PortNotOffered> {
        if asked.is_empty() {
            return Ok(self.ports.clone());
        }
        if !self.kind.has_ports() {
            return Err(PortNotOffered::None { resource: self.name.clone(), noun: self.kind.noun });
        }
        let offered = |port: &PortSpec| self.ports.iter().any(|known| known.contains(*port));
        match asked.iter().find(|port| !offered(port)) {
            None => Ok(asked.to_vec()),
            Some(port) => {
                let (resource, offered) = (self.name.clone(), self.ports.clone());
                Err(PortNotOffered::Other { port: *port, resource, offered })
            }
        }
    }
}

/// The keys that `[defaults]` and `[[resource]]` have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    kind: Option<&'static Kind>,
    pub region: Option<String>,
    pub profile: Option<String>,
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    ports: Option<Vec<PortSpec>>,
    pub families: Option<Vec<IpVersion>>,
    groups: Option<Vec<String>>,
}

impl Defaults {
    /// The defaults of a file; those of the file that includes it stand in for what it leaves out.
    pub fn read(root: &TomlSection<'_>, outer: &Self) -> TomlResult<Self> {
        let section = root.child("defaults", "[defaults]", DEFAULTS_KEYS)?;
        Self::of(&section, kind::named(&section, outer.kind)?, outer)
    }

    fn of(section: &TomlSection<'_>, kind: Option<&'static Kind>, outer: &Self) -> TomlResult<Self> {
        let role = section.read("role_arn", ROLE, role_arn)?;
        Ok(Self {
            kind,
            region: kind::region_code(section)?.or_else(|| outer.region.clone()),
            profile: optional_text(section, "profile")?.or_else(|| outer.profile.clone()),
            external_id: external_id(section, role.is_some(), outer)?,
            role_arn: role.or_else(|| outer.role_arn.clone()),
            ports: ports(section)?.or_else(|| outer.ports.clone()),
            families: families(section)?.or_else(|| outer.families.clone()),
            groups: groups(section)?.or_else(|| outer.groups.clone()),
        })
    }
}

/// One `[[resource]]`, with the id of its group or with a selector of groups.
pub enum ResourceEntry {
    Resource(Resource),
    Selection(Selection),
}

impl ResourceEntry {
    /// Every `[[resource]]` of a file with the place of its name.
    pub fn read(root: &TomlSection<'_>, defaults: &Defaults) -> TomlResult<Vec<(At<String>, Self)>> {
        let sections = root.tables("resource", "[[resource]]")?;
        sections.iter().map(|section| Self::of(section, defaults)).collect()
    }

    fn of(section: &TomlSection<'_>, defaults: &Defaults) -> TomlResult<(At<String>, Self)> {
        let kind = kind::named(section, defaults.kind)?.unwrap_or(&SECURITY_GROUP);
        kind::check_keys(section, kind)?;
        let name = section.string("name")?.ok_or_else(|| section.missing("name", NOT_EMPTY))?;
        let at = name.at;
        let name = not_empty(name, "name")?;
        let meant = match host::meant(section, defaults)? {
            None if kind.selectors => selector(section)?.map(Meant::Groups),
            meant => meant,
        };
        let is_host = meant.as_ref().is_some_and(|meant| meant.host().is_some());
        let id = if meant.is_some() { None } else { Some(kind::target_id(section, kind)?) };
        let found = Defaults::of(section, Some(kind), defaults)?;
        let resource = Resource {
            name: name.clone(),
            entry: name.clone(),
            kind,
            // A host is looked for in every region, unless its section names one.
            region: match is_host {
                true => kind::region_code(section)?.unwrap_or_default(),
                false => kind::region(section, kind, id.as_deref(), found.region)?,
            },
            id: id.unwrap_or_default(),
            profile: found.profile.filter(|_| kind.cloud.is_some()),
            role_arn: found.role_arn.filter(|_| kind.cloud.is_some()),
            external_id: found.external_id.filter(|_| kind.cloud.is_some()),
            ports: match kind.ports {
                Ports::OfEachEntry => {
                    let of_host = host::ports(meant.as_ref()).filter(|_| !section.has("ports"));
                    of_host.or(found.ports).ok_or_else(|| section.missing("ports", PORTS))?
                }
                Ports::None { .. } => vec![PortSpec::All],
            },
            families: found.families.unwrap_or_else(|| vec![IpVersion::V4, IpVersion::V6]),
            groups: found.groups.unwrap_or_default(),
            place: None,
        };
        let entry = match meant {
            Some(meant) => Self::Selection(Selection { meant, like: resource }),
            None => Self::Resource(resource),
        };
        Ok((At { value: name, at }, entry))
    }
}

/// `group_name` and `tag`, which stand in the place of `id`.
fn selector(section: &TomlSection<'_>) -> TomlResult<Option<Selector>> {
    let name = section.string("group_name")?;
    let tags = section.string_table("tag")?;
    let first = name.as_ref().map(|name| ("group_name", name.at)).or(tags.as_ref().map(|tags| ("tag", tags.at)));
    if let Some((key, at)) = first.filter(|_| section.has("id")) {
        return Err(SpannedError::new(at, format!("{key} stands beside id"), "either id, or group_name and tag"));
    }
    let name = name.map(|name| pattern(name, "group_name")).transpose()?;
    let mut patterns = BTreeMap::new();
    if let Some(tags) = tags {
        if tags.value.is_empty() {
            return Err(SpannedError::new(tags.at, "tag is empty", "one or more tags, as in { env = \"prod\" }"));
        }
        for (key, value) in tags.value {
            patterns.insert(not_empty(key, "tag")?, pattern(value, "tag")?);
        }
    }
    Ok(Selector::new(name, patterns))
}

fn pattern(found: At<String>, key: &str) -> TomlResult<Pattern> {
    found.read(PATTERN, |text| {
        let plain = !text.chars().any(char::is_control);
        Pattern::new(text).filter(|_| plain).ok_or_else(|| format!("{key} is empty or holds control characters"))
    })
}

/// The external id belongs to its role: a table that names another role does not get the outer one's.
fn external_id(section: &TomlSection<'_>, has_role: bool, outer: &Defaults) -> TomlResult<Option<String>> {
    match section.string("external_id")? {
        None => Ok(outer.external_id.clone().filter(|_| !has_role)),
        Some(found) if !has_role && outer.role_arn.is_none() => {
            let message = "external_id stands without a role_arn";
            Err(SpannedError::new(found.at, message, "external_id beside role_arn"))
        }
        Some(found) => not_empty(found, "external_id").map(Some),
    }
}

fn families(section: &TomlSection<'_>) -> TomlResult<Option<Vec<IpVersion>>> {
    let Some(list) = section.strings("families", FAMILIES)? else { return Ok(None) };
    if list.value.is_empty() {
        return Err(SpannedError::new(list.at, "families is empty", FAMILIES));
    }
    let family = |item: At<String>| {
        item.read(FAMILIES, |text| match text.as_str() {
            "ipv4" => Ok(IpVersion::V4),
            "ipv6" => Ok(IpVersion::V6),
            _ => Err(format!("\"{text}\" is not an address family")),
        })
    };
    list.value.into_iter().map(family).collect::<Result<_, _>>().map(Some)
}

fn groups(section: &TomlSection<'_>) -> TomlResult<Option<Vec<String>>> {
    let Some(list) = section.strings("groups", "a list of labels for --only")? else { return Ok(None) };
    list.value.into_iter().map(|item| not_empty(item, "groups")).collect::<Result<_, _>>().map(Some)
}
