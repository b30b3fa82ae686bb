//! `[[resource]]` and `[defaults]`.

use crate::{
    toml::{At, SpannedError, TomlResult, TomlSection},
    values::{NOT_EMPTY, PORTS, not_empty, optional_text, port_list, ports, role_arn},
};
use eg_model::{
    net::{address::IpVersion, permission::PortSpec},
    selector::{Pattern, Selector},
};
use std::{collections::BTreeMap, fmt, path::PathBuf};
use thiserror::Error;

pub const DEFAULTS_KEYS: &[&str] =
    &["provider", "kind", "region", "profile", "role_arn", "external_id", "ports", "families", "groups"];
pub const KEYS: &[&str] = &[
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
const FAMILIES: &str = "\"ipv4\", \"ipv6\" or both";
const GROUP_ID: &str = "sg- and 8 or 17 hex digits in lower case, as in \"sg-0abc123def4567890\"";
const TARGET: &str = "id (sg- and 8 or 17 hex digits), or group_name or tag in its place";
const PATTERN: &str = "text that is not empty; * is any characters, ? one or none";
const REGION: &str = "a region's code, as in \"eu-west-1\"";
const ROLE: &str = "a role's ARN, as in \"arn:aws:iam::123456789012:role/name\"";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Unique; the tables show it.
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
    /// The ports to open, in the file's order; never empty, nothing twice.
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

/// `[[resource]]` with `group_name` or `tag`: every group that fits them when a session starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    pub meant: Selector,
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
#[error("{resource} is not configured for {port} (its ports: {})", port_list(offered))]
pub struct PortNotOffered {
    pub port: PortSpec,
    pub resource: String,
    pub offered: Vec<PortSpec>,
}

impl Resource {
    /// Narrows the resource's ports to those that were asked for: each has to be one of them, or lie within one. An empty
    /// list asks for all.
    ///
    /// # Errors
    /// The first port that is wider than what is configured, or outside of it.
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

/// The keys that `[defaults]` and `[[resource]]` have in common.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    provider: Option<String>,
    kind: Option<String>,
    region: Option<String>,
    profile: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    ports: Option<Vec<PortSpec>>,
    families: Option<Vec<IpVersion>>,
    groups: Option<Vec<String>>,
}

impl Defaults {
    /// The defaults of a file; those of the file that includes it stand in for what it leaves out.
    pub fn read(root: &TomlSection<'_>, outer: &Self) -> TomlResult<Self> {
        Self::of(&root.child("defaults", "[defaults]", DEFAULTS_KEYS)?, outer)
    }

    fn of(section: &TomlSection<'_>, outer: &Self) -> TomlResult<Self> {
        let role = section.read("role_arn", ROLE, role_arn)?;
        Ok(Self {
            provider: only(section, "provider", "aws")?.or_else(|| outer.provider.clone()),
            kind: only(section, "kind", "security-group")?.or_else(|| outer.kind.clone()),
            region: section.read("region", REGION, region)?.or_else(|| outer.region.clone()),
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
        let sections = root.tables("resource", "[[resource]]", KEYS)?;
        sections.iter().map(|section| Self::of(section, defaults)).collect()
    }

    fn of(section: &TomlSection<'_>, defaults: &Defaults) -> TomlResult<(At<String>, Self)> {
        let name = section.string("name")?.ok_or_else(|| section.missing("name", NOT_EMPTY))?;
        let at = name.at;
        let name = not_empty(name, "name")?;
        let id = section.string("id")?;
        let meant = selector(section, id.is_some())?;
        let id = id.map(|id| id.read(GROUP_ID, group_id)).transpose()?;
        let found = Defaults::of(section, defaults)?;
        let resource = Resource {
            name: name.clone(),
            entry: name.clone(),
            provider: found.provider.unwrap_or_else(|| "aws".to_owned()),
            kind: found.kind.unwrap_or_else(|| "security-group".to_owned()),
            id: id.clone().unwrap_or_default(),
            region: found.region.ok_or_else(|| section.missing("region", REGION))?,
            profile: found.profile,
            role_arn: found.role_arn,
            external_id: found.external_id,
            ports: found.ports.ok_or_else(|| section.missing("ports", PORTS))?,
            families: found.families.unwrap_or_else(|| vec![IpVersion::V4, IpVersion::V6]),
            groups: found.groups.unwrap_or_default(),
            place: None,
        };
        let entry = match (id, meant) {
            (Some(_), _) => Self::Resource(resource),
            (None, Some(meant)) => Self::Selection(Selection { meant, like: resource }),
            (None, None) => return Err(section.missing("id", TARGET)),
        };
        Ok((At { value: name, at }, entry))
    }
}

/// `group_name` and `tag`, which stand in the place of `id`.
fn selector(section: &TomlSection<'_>, has_id: bool) -> TomlResult<Option<Selector>> {
    let name = section.string("group_name")?;
    let tags = section.string_table("tag")?;
    let first = name.as_ref().map(|name| ("group_name", name.at)).or(tags.as_ref().map(|tags| ("tag", tags.at)));
    if let Some((key, at)) = first.filter(|_| has_id) {
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

/// A key with a single value today.
fn only(section: &TomlSection<'_>, key: &str, value: &str) -> TomlResult<Option<String>> {
    let read = |text: String| if text == value { Ok(text) } else { Err(format!("{key} \"{text}\" is not known")) };
    section.read(key, &format!("\"{value}\""), read)
}

fn group_id(text: String) -> Result<String, String> {
    let hex = |digits: &str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let fits = text.strip_prefix("sg-").is_some_and(|digits| matches!(digits.len(), 8 | 17) && hex(digits));
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not the id of a security group")) }
}

fn region(text: String) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let fits = plain && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-');
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not a region")) }
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
