//! The sections of the file, each read into its own type.

use crate::config::{
    settings::{
        AwsSettings, CloudExpiry, DEFAULT_SCHEDULE_GROUP, DESCRIPTIONS, Description, Detect, Notify, Reconcile,
        Resource, Selection, SessionSettings, User,
    },
    toml::{At, Pair, SpannedError, TomlSection},
};
use chrono::TimeDelta;
use eg_model::{
    auto_close::AutoCloseRoute,
    net::{
        address::{IpVersion, PrefixLengths},
        permission::PortSpec,
    },
    selector::{Pattern, Selector},
    time::duration::{Written, parse_duration, parse_seconds},
};
use reqwest::Url;
use std::collections::{BTreeMap, BTreeSet};

const NOT_EMPTY: &str = "text that is not empty";
const URLS: &str =
    "a list of https URLs of different hosts (plain http for loopback only), or [] to leave this family out";
const FAMILIES: &str = "\"ipv4\", \"ipv6\" or both";
const PORTS: &str = "one or more of \"tcp/22\", \"tcp/8000-8080\", \"udp/51820\", \"icmp\", \"all\"";
const GROUP_ID: &str = "sg- and 8 or 17 hex digits in lower case, as in \"sg-0abc123def4567890\"";
const TARGET: &str = "id (sg- and 8 or 17 hex digits), or group_name or tag in its place";
const PATTERN: &str = "text that is not empty; * is any characters, ? one or none";
const REGION: &str = "a region's code, as in \"eu-west-1\"";
const ROLE: &str = "a role's ARN, as in \"arn:aws:iam::123456789012:role/name\"";
const ROLES: &str =
    "a role's ARN, as in \"arn:aws:iam::123456789012:role/eg-expiry\", or a list of them, one for each account";
const SCHEDULE_GROUP: &str = "a schedule group's name: 1 to 64 letters, digits and any of -_.";
const COMMAND: &str = "a program and its arguments, as in [\"notify-send\", \"eg\"]; no shell is between";
const DURATIONS: &str = "\"1m\" to \"31d\"";
const TIMEOUT: &str = "\"1s\" to \"5s\"";

fn not_empty(found: At<String>, key: &str) -> Result<String, SpannedError> {
    found.read(NOT_EMPTY, |text| {
        let fits = !text.trim().is_empty() && !text.chars().any(char::is_control);
        if fits { Ok(text) } else { Err(format!("{key} is empty or holds control characters")) }
    })
}

fn optional_text(section: &TomlSection<'_>, key: &str) -> Result<Option<String>, SpannedError> {
    section.string(key)?.map(|found| not_empty(found, key)).transpose()
}

pub(super) fn duration_of(section: &TomlSection<'_>, key: &str) -> Result<Option<At<Written>>, SpannedError> {
    let Some(found) = section.string(key)? else { return Ok(None) };
    let at = found.at;
    let read = |text: String| match parse_duration(&text) {
        Ok(length) => Ok(Written::new(length, &text)),
        Err(error) => Err(format!("{key}: {error}")),
    };
    Ok(Some(At { value: found.read(DURATIONS, read)?, at }))
}

pub(super) fn user(section: &TomlSection<'_>) -> Result<User, SpannedError> {
    Ok(User { name: optional_text(section, "name")?, email: optional_text(section, "email")? })
}

pub(super) fn session(section: &TomlSection<'_>) -> Result<SessionSettings, SpannedError> {
    let prefix_lengths = prefix_lengths(section)?;
    let default = duration_of(section, "default_duration")?;
    let max = duration_of(section, "max_duration")?;
    let max_duration = max.map_or(SessionSettings::default().max_duration, |found| found.value);
    let Some(default) = default else {
        // Nobody wrote the default, so nobody is told that it is too long.
        let default_duration = SessionSettings::default().default_duration.min(max_duration.length);
        return Ok(SessionSettings { default_duration, max_duration, prefix_lengths });
    };
    if default.value.length > max_duration.length {
        let message = format!("default_duration {} is longer than max_duration {max_duration}", default.value);
        let accepted = format!("1m to {max_duration}, or a longer max_duration (up to 31d)");
        return Err(SpannedError::new(default.at, message, accepted));
    }
    Ok(SessionSettings { default_duration: default.value.length, max_duration, prefix_lengths })
}

fn prefix_lengths(section: &TomlSection<'_>) -> Result<PrefixLengths, SpannedError> {
    let standard = PrefixLengths::default();
    let length = |key: &str, version| Ok(prefix_length(section, key, version)?.unwrap_or(standard.of(version)));
    let (v4, v6) = (length("ipv4_prefix_len", IpVersion::V4)?, length("ipv6_prefix_len", IpVersion::V6)?);
    Ok(PrefixLengths::new(v4, v6).unwrap_or(standard))
}

/// A prefix length of one family.
pub(super) fn prefix_length(
    section: &TomlSection<'_>,
    key: &str,
    version: IpVersion,
) -> Result<Option<u8>, SpannedError> {
    let fits = PrefixLengths::accepted(version);
    let accepted = format!("{} to {}, for one host", fits.start(), fits.end());
    let Some(found) = section.integer(key, &accepted)? else { return Ok(None) };
    let refused = || SpannedError::new(found.at, format!("{key} is {}", found.value), accepted.clone());
    u8::try_from(found.value).ok().filter(|length| fits.contains(length)).map(Some).ok_or_else(refused)
}

pub(super) fn detect(section: &TomlSection<'_>) -> Result<Detect, SpannedError> {
    let standard = Detect::default();
    let ipv4 = services(section, "ipv4")?.unwrap_or(standard.ipv4);
    let ipv6 = services(section, "ipv6")?.unwrap_or(standard.ipv6);
    let agree = agree(section, &[&ipv4, &ipv6])?.unwrap_or(standard.agree);
    let timeout = match section.string("timeout")? {
        None => standard.timeout,
        Some(found) => {
            found.read(TIMEOUT, |text| parse_seconds(&text, 1..=5).map_err(|error| format!("timeout: {error}")))?
        }
    };
    let use_proxy = section.boolean("use_proxy")?.unwrap_or(standard.use_proxy);
    Ok(Detect { ipv4, ipv6, agree, timeout, use_proxy })
}

/// At least two, so that no single service can put an address of its choosing into a firewall; and not more than
/// there are services, which could never be reached.
fn agree(section: &TomlSection<'_>, lists: &[&Vec<Url>]) -> Result<Option<usize>, SpannedError> {
    let fewest = lists.iter().map(|list| list.len()).filter(|length| *length > 0).min().unwrap_or(2);
    let accepted = format!("2 up to the number of services of a family (here {fewest})");
    let Some(found) = section.integer("agree", &accepted)? else {
        return Ok(None);
    };
    let fits = (2..=fewest).contains(&found.value);
    let refused = || format!("agree of [detect] is {}", found.value);
    if fits { Ok(Some(found.value)) } else { Err(SpannedError::new(found.at, refused(), accepted)) }
}

fn services(section: &TomlSection<'_>, key: &str) -> Result<Option<Vec<Url>>, SpannedError> {
    let Some(list) = section.strings(key, URLS)? else { return Ok(None) };
    let mut hosts = BTreeSet::new();
    let mut urls = Vec::new();
    for item in list.value {
        let at = item.at;
        let url = item.read(URLS, |text| service(&text))?;
        // Two answers of one operator are one opinion. On loopback everything is the user's own.
        if url.scheme() == "https" && !hosts.insert(url.host_str().map(str::to_owned)) {
            let message = format!("{key} asks {} twice", url.host_str().unwrap_or_default());
            return Err(SpannedError::new(at, message, URLS));
        }
        urls.push(url);
    }
    if urls.len() == 1 {
        return Err(SpannedError::new(list.at, format!("{key} has one service: two have to agree"), URLS));
    }
    Ok(Some(urls))
}

fn service(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("\"{text}\" is not a URL: {error}"))?;
    let secret = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        _ if secret => Err(format!("the URL for {} holds a user or password", url.host_str().unwrap_or_default())),
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(format!("\"{text}\" is plain http: anybody on the way could change the answer")),
        _ => Err(format!("\"{text}\" is not an https URL")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn reconcile(section: &TomlSection<'_>) -> Result<Reconcile, SpannedError> {
    let standard = Reconcile::default();
    Ok(Reconcile {
        collect_expired: section.boolean("collect_expired")?.unwrap_or(standard.collect_expired),
        collect_interval: duration_of(section, "collect_interval")?
            .map_or(standard.collect_interval, |found| found.value.length),
    })
}

pub(super) fn notify(section: &TomlSection<'_>) -> Result<Option<Notify>, SpannedError> {
    let before = duration_of(section, "before")?;
    let Some(command) = section.words("command", COMMAND)? else {
        let stray = |before: At<Written>| {
            Err(SpannedError::new(before.at, "before stands without a command", "before beside command"))
        };
        return before.map_or(Ok(None), stray);
    };
    let before = before.map_or(TimeDelta::minutes(10), |found| found.value.length);
    let fits = |words: &[String]| {
        let program = words.first().is_some_and(|program| !program.is_empty());
        program && !words.iter().any(|word| word.contains('\0'))
    };
    command.read(COMMAND, |command| {
        if fits(&command) {
            Ok(Some(Notify { command, before }))
        } else {
            Err("command is empty, or no program can be called so".to_owned())
        }
    })
}

pub(super) fn aws(section: &TomlSection<'_>, expiry: Option<&TomlSection<'_>>) -> Result<AwsSettings, SpannedError> {
    let mut extra_tags = BTreeMap::new();
    let tags = section.string_table("extra_tags")?.map(|found| found.value);
    for (key, value) in tags.unwrap_or_default() {
        let (key_at, value_at) = (key.at, value.at);
        let key = key.read("1 to 128 characters, not starting with eg: or aws:", tag_key)?;
        if value.value.encode_utf16().count() > 256 {
            return Err(SpannedError::new(
                value_at,
                format!("the value of tag \"{key}\" is too long"),
                "up to 256 characters",
            ));
        }
        extra_tags.insert(key, value.value);
        if extra_tags.len() > crate::config::settings::MAX_EXTRA_TAGS {
            let accepted = format!(
                "up to {} tags: a rule has 50, and the leases need some",
                crate::config::settings::MAX_EXTRA_TAGS
            );
            return Err(SpannedError::new(key_at, "extra_tags has too many tags", accepted));
        }
    }
    let description = match section.string("description")? {
        None => Description::default(),
        Some(found) => found.read(DESCRIPTIONS, |text| match text.as_str() {
            "full" => Ok(Description::Full),
            "session" => Ok(Description::Session),
            _ => Err(format!("description of [aws] is \"{text}\"")),
        })?,
    };
    Ok(AwsSettings { extra_tags, description, cloud_expiry: expiry.map(cloud_expiry).transpose()? })
}

fn cloud_expiry(section: &TomlSection<'_>) -> Result<CloudExpiry, SpannedError> {
    let found = section.string_or_strings("role_arn", ROLES)?.filter(|list| !list.is_empty());
    let found = found.ok_or_else(|| section.missing("role_arn", ROLES))?;
    let mut accounts = BTreeSet::new();
    let mut roles = Vec::new();
    for item in found {
        let at = item.at;
        let role = item.read(ROLES, role_arn)?;
        let way = AutoCloseRoute { role_arn: role.clone(), group: String::new() };
        if !accounts.insert(way.account().to_owned()) {
            let message = format!("role_arn has two roles of account {}", way.account());
            return Err(SpannedError::new(at, message, "one role for each account"));
        }
        roles.push(role);
    }
    let schedule_group = match section.string("schedule_group")? {
        None => DEFAULT_SCHEDULE_GROUP.to_owned(),
        Some(found) => found.read(SCHEDULE_GROUP, schedule_group)?,
    };
    Ok(CloudExpiry { roles, schedule_group })
}

/// EventBridge Scheduler API reference, `CreateScheduleGroup`.
fn schedule_group(text: String) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let fits = plain && (1..=64).contains(&text.len());
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not the name of a schedule group")) }
}

/// AWS, "Tag naming limits and requirements": keys of up to 128 characters, `aws:` in any case reserved.
fn tag_key(key: String) -> Result<String, String> {
    let lower = key.to_ascii_lowercase();
    if lower.starts_with("aws:") || lower.starts_with("eg:") {
        return Err(format!("\"{key}\" is a reserved tag"));
    }
    let fits = (1..=128).contains(&key.encode_utf16().count());
    if fits { Ok(key) } else { Err(format!("\"{key}\" is too short or too long for a tag")) }
}

/// The keys that `[defaults]` and `[[resource]]` have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedKeys {
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

pub(super) enum ResourceEntry {
    Resource(Resource),
    Selection(Selection),
}

/// What a section says; where it says nothing, what holds outside of it.
pub(super) fn keys(section: &TomlSection<'_>, outer: &SharedKeys) -> Result<SharedKeys, SpannedError> {
    let provider = only(section, "provider", "aws")?.or_else(|| outer.provider.clone());
    let kind = only(section, "kind", "security-group")?.or_else(|| outer.kind.clone());
    let region = region(section)?.or_else(|| outer.region.clone());
    let profile = optional_text(section, "profile")?.or_else(|| outer.profile.clone());
    let role = section.string("role_arn")?.map(|found| found.read(ROLE, role_arn)).transpose()?;
    Ok(SharedKeys {
        external_id: external_id(section, role.as_ref(), outer)?,
        role_arn: role.or_else(|| outer.role_arn.clone()),
        ports: ports(section)?.or_else(|| outer.ports.clone()),
        families: families(section)?.or_else(|| outer.families.clone()),
        groups: groups(section)?.or_else(|| outer.groups.clone()),
        provider,
        kind,
        region,
        profile,
    })
}

/// Every `[[resource]]` with the place of its name.
pub(super) fn entries(
    sections: &[TomlSection<'_>],
    defaults: &SharedKeys,
) -> Result<Vec<(At<String>, ResourceEntry)>, SpannedError> {
    sections.iter().map(|section| entry(section, defaults)).collect()
}

fn entry(section: &TomlSection<'_>, defaults: &SharedKeys) -> Result<(At<String>, ResourceEntry), SpannedError> {
    let name = section.required("name", NOT_EMPTY)?;
    let at = name.at;
    let name = not_empty(name, "name")?;
    let id = section.string("id")?;
    let meant = selector(section, id.is_some())?;
    let id = id.map(|id| id.read(GROUP_ID, group_id)).transpose()?;
    let found = keys(section, defaults)?;
    let missing = |key: &str, accepted: &str| section.missing(key, accepted);
    let resource = Resource {
        name: name.clone(),
        entry: name.clone(),
        provider: found.provider.unwrap_or_else(|| "aws".to_owned()),
        kind: found.kind.unwrap_or_else(|| "security-group".to_owned()),
        id: id.clone().unwrap_or_default(),
        region: found.region.ok_or_else(|| missing("region", REGION))?,
        profile: found.profile,
        role_arn: found.role_arn,
        external_id: found.external_id,
        ports: found.ports.ok_or_else(|| missing("ports", PORTS))?,
        families: found.families.unwrap_or_else(|| vec![IpVersion::V4, IpVersion::V6]),
        groups: found.groups.unwrap_or_default(),
        place: None,
    };
    let entry = match (id, meant) {
        (Some(_), _) => ResourceEntry::Resource(resource),
        (None, Some(meant)) => ResourceEntry::Selection(Selection { meant, like: resource }),
        (None, None) => return Err(missing("id", TARGET)),
    };
    Ok((At { value: name, at }, entry))
}

/// `group_name` and `tag`, which stand in the place of `id`.
fn selector(section: &TomlSection<'_>, has_id: bool) -> Result<Option<Selector>, SpannedError> {
    let name = section.string("group_name")?;
    let tags = section.string_table("tag")?;
    let first = name.as_ref().map(|name| ("group_name", name.at)).or(tags.as_ref().map(|tags| ("tag", tags.at)));
    if let Some((key, at)) = first.filter(|_| has_id) {
        return Err(SpannedError::new(at, format!("{key} stands beside id"), "either id, or group_name and tag"));
    }
    let name = name.map(|name| pattern(name, "group_name")).transpose()?;
    let tags = tags.map(tag_patterns).transpose()?.unwrap_or_default();
    Ok(Selector::new(name, tags))
}

fn tag_patterns(tags: At<Vec<Pair>>) -> Result<BTreeMap<String, Pattern>, SpannedError> {
    if tags.value.is_empty() {
        return Err(SpannedError::new(tags.at, "tag is empty", "one or more tags, as in { env = \"prod\" }"));
    }
    tags.value.into_iter().map(|(key, value)| Ok((not_empty(key, "tag")?, pattern(value, "tag")?))).collect()
}

fn pattern(found: At<String>, key: &str) -> Result<Pattern, SpannedError> {
    found.read(PATTERN, |text| {
        let plain = !text.chars().any(char::is_control);
        Pattern::new(text).filter(|_| plain).ok_or_else(|| format!("{key} is empty or holds control characters"))
    })
}

/// A key with a single value today.
fn only(section: &TomlSection<'_>, key: &str, value: &str) -> Result<Option<String>, SpannedError> {
    let read = |text: String| if text == value { Ok(text) } else { Err(format!("{key} \"{text}\" is not known")) };
    section.string(key)?.map(|found| found.read(&format!("\"{value}\""), read)).transpose()
}

fn group_id(text: String) -> Result<String, String> {
    let hex = |digits: &str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let fits = text.strip_prefix("sg-").is_some_and(|digits| matches!(digits.len(), 8 | 17) && hex(digits));
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not the id of a security group")) }
}

fn region(section: &TomlSection<'_>) -> Result<Option<String>, SpannedError> {
    let read = |text: String| {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let fits = plain && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-');
        if fits { Ok(text) } else { Err(format!("\"{text}\" is not a region")) }
    };
    section.string("region")?.map(|found| found.read(REGION, read)).transpose()
}

/// `arn:<partition>:iam::<account>:role/<path and name>` (AWS IAM user guide, "IAM ARNs").
fn role_arn(text: String) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let fits = matches!(parts.as_slice(), ["arn", partition, "iam", "", account, role]
        if !partition.is_empty()
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()));
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not the ARN of a role")) }
}

/// The external id belongs to its role: who names another role does not get the outer one's.
fn external_id(
    section: &TomlSection<'_>,
    role: Option<&String>,
    outer: &SharedKeys,
) -> Result<Option<String>, SpannedError> {
    let Some(found) = section.string("external_id")? else {
        return Ok(outer.external_id.clone().filter(|_| role.is_none()));
    };
    if role.is_none() && outer.role_arn.is_none() {
        return Err(SpannedError::new(
            found.at,
            "external_id stands without a role_arn",
            "external_id beside role_arn",
        ));
    }
    not_empty(found, "external_id").map(Some)
}

/// A list of ports, where there is one; never empty, nothing twice.
pub(super) fn ports(section: &TomlSection<'_>) -> Result<Option<Vec<PortSpec>>, SpannedError> {
    let Some(list) = section.strings("ports", PORTS)? else { return Ok(None) };
    if list.value.is_empty() {
        return Err(SpannedError::new(list.at, "ports is empty", PORTS));
    }
    let mut ports = Vec::new();
    for item in list.value {
        let at = item.at;
        let text = item.value.clone();
        let port = item.value.parse::<PortSpec>();
        let port = port.map_err(|_| SpannedError::new(at, format!("\"{text}\" is not a port"), PORTS))?;
        // Written differently, still the same: `tcp/22` and `tcp/22-22`.
        if ports.contains(&port) {
            return Err(SpannedError::new(at, format!("\"{text}\" stands in ports twice"), PORTS));
        }
        ports.push(port);
    }
    Ok(Some(ports))
}

fn families(section: &TomlSection<'_>) -> Result<Option<Vec<IpVersion>>, SpannedError> {
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

fn groups(section: &TomlSection<'_>) -> Result<Option<Vec<String>>, SpannedError> {
    let Some(list) = section.strings("groups", "a list of labels for --only")? else { return Ok(None) };
    list.value.into_iter().map(|item| not_empty(item, "groups")).collect::<Result<_, _>>().map(Some)
}
