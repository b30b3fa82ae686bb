//! The sections of the file, each read into its own type.

use super::{
    Aws, CloudExpiry, DEFAULT_SCHEDULE_GROUP, DESCRIPTIONS, Description, Detect, Reconcile, Resource, Session, User,
    reader::{At, Fault, Section},
};
use chrono::TimeDelta;
use eg_model::{
    address::IpVersion,
    duration::{self, parse_duration, parse_seconds},
    permission::PortSpec,
    switch::SwitchWay,
};
use reqwest::Url;
use std::collections::{BTreeMap, BTreeSet};

const NOT_EMPTY: &str = "text that is not empty";
const URLS: &str =
    "a list of https URLs of different hosts (plain http for loopback only), or [] to leave this family out";
const FAMILIES: &str = "\"ipv4\", \"ipv6\" or both";
const PORTS: &str = "one or more of \"tcp/22\", \"tcp/8000-8080\", \"udp/51820\", \"icmp\", \"all\"";
const GROUP_ID: &str = "sg- and 8 or 17 hex digits in lower case, as in \"sg-0abc123def4567890\"";
const ROLE: &str = "a role's ARN, as in \"arn:aws:iam::123456789012:role/name\"";
const ROLES: &str =
    "a role's ARN, as in \"arn:aws:iam::123456789012:role/eg-expiry\", or a list of them, one for each account";
const SCHEDULE_GROUP: &str = "a schedule group's name: 1 to 64 letters, digits and any of -_.";
const DURATIONS: &str = "\"1m\" to \"31d\"";
const TIMEOUT: &str = "\"1s\" to \"5s\"";

fn not_empty(found: At<String>, key: &str) -> Result<String, Fault> {
    found.read(NOT_EMPTY, |text| {
        let fits = !text.trim().is_empty() && !text.chars().any(char::is_control);
        if fits { Ok(text) } else { Err(format!("{key} is empty or holds control characters")) }
    })
}

fn optional_text(section: &Section<'_>, key: &str) -> Result<Option<String>, Fault> {
    section.string(key)?.map(|found| not_empty(found, key)).transpose()
}

fn duration_of(section: &Section<'_>, key: &str) -> Result<Option<At<TimeDelta>>, Fault> {
    let Some(found) = section.string(key)? else { return Ok(None) };
    let at = found.at;
    let value = found.read(DURATIONS, |text| parse_duration(&text).map_err(|error| format!("{key}: {error}")))?;
    Ok(Some(At { value, at }))
}

pub(super) fn user(section: &Section<'_>) -> Result<User, Fault> {
    Ok(User { name: optional_text(section, "name")?, email: optional_text(section, "email")? })
}

pub(super) fn session(section: &Section<'_>) -> Result<Session, Fault> {
    let default = duration_of(section, "default_duration")?;
    let max = duration_of(section, "max_duration")?;
    let max_duration = max.as_ref().map_or(Session::default().max_duration, |found| found.value);
    let Some(default) = default else {
        // Nobody wrote the default, so nobody is told that it is too long.
        return Ok(Session { default_duration: Session::default().default_duration.min(max_duration), max_duration });
    };
    if default.value > max_duration {
        let [length, limit] = [default.value, max_duration].map(duration::format_duration);
        let message = format!("default_duration {length} is longer than max_duration {limit}");
        return Err(Fault::new(default.at, message, format!("1m to {limit}, or a longer max_duration (up to 31d)")));
    }
    Ok(Session { default_duration: default.value, max_duration })
}

pub(super) fn detect(section: &Section<'_>) -> Result<Detect, Fault> {
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
fn agree(section: &Section<'_>, lists: &[&Vec<Url>]) -> Result<Option<usize>, Fault> {
    let fewest = lists.iter().map(|list| list.len()).filter(|length| *length > 0).min().unwrap_or(2);
    let accepted = format!("2 up to the number of services of a family (here {fewest})");
    let Some(found) = section.integer("agree", &accepted)? else {
        return Ok(None);
    };
    let fits = (2..=fewest).contains(&found.value);
    let refused = || format!("agree of [detect] is {}", found.value);
    if fits { Ok(Some(found.value)) } else { Err(Fault::new(found.at, refused(), accepted)) }
}

fn services(section: &Section<'_>, key: &str) -> Result<Option<Vec<Url>>, Fault> {
    let Some(list) = section.strings(key, URLS)? else { return Ok(None) };
    let mut hosts = BTreeSet::new();
    let mut urls = Vec::new();
    for item in list.value {
        let at = item.at;
        let url = item.read(URLS, |text| service(&text))?;
        // Two answers of one operator are one opinion. On loopback everything is the user's own.
        if url.scheme() == "https" && !hosts.insert(url.host_str().map(str::to_owned)) {
            let message = format!("{key} asks {} twice", url.host_str().unwrap_or_default());
            return Err(Fault::new(at, message, URLS));
        }
        urls.push(url);
    }
    if urls.len() == 1 {
        return Err(Fault::new(list.at, format!("{key} has one service: two have to agree"), URLS));
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

pub(super) fn reconcile(section: &Section<'_>) -> Result<Reconcile, Fault> {
    let standard = Reconcile::default();
    Ok(Reconcile {
        collect_expired: section.boolean("collect_expired")?.unwrap_or(standard.collect_expired),
        collect_interval: duration_of(section, "collect_interval")?
            .map_or(standard.collect_interval, |found| found.value),
    })
}

pub(super) fn aws(section: &Section<'_>, expiry: Option<&Section<'_>>) -> Result<Aws, Fault> {
    let mut extra_tags = BTreeMap::new();
    for (key, value) in section.string_table("extra_tags")? {
        let (key_at, value_at) = (key.at, value.at);
        let key = key.read("1 to 128 characters, not starting with eg: or aws:", tag_key)?;
        if value.value.encode_utf16().count() > 256 {
            return Err(Fault::new(
                value_at,
                format!("the value of tag \"{key}\" is too long"),
                "up to 256 characters",
            ));
        }
        extra_tags.insert(key, value.value);
        if extra_tags.len() > super::MAX_EXTRA_TAGS {
            let accepted = format!("up to {} tags: a rule has 50, and the leases need some", super::MAX_EXTRA_TAGS);
            return Err(Fault::new(key_at, "extra_tags has too many tags", accepted));
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
    Ok(Aws { extra_tags, description, cloud_expiry: expiry.map(cloud_expiry).transpose()? })
}

fn cloud_expiry(section: &Section<'_>) -> Result<CloudExpiry, Fault> {
    let found = section.string_or_strings("role_arn", ROLES)?.filter(|list| !list.is_empty());
    let found = found.ok_or_else(|| section.missing("role_arn", ROLES))?;
    let mut accounts = BTreeSet::new();
    let mut roles = Vec::new();
    for item in found {
        let at = item.at;
        let role = item.read(ROLES, role_arn)?;
        let way = SwitchWay { role_arn: role.clone(), group: String::new() };
        if !accounts.insert(way.account().to_owned()) {
            let message = format!("role_arn has two roles of account {}", way.account());
            return Err(Fault::new(at, message, "one role for each account"));
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

pub(super) fn resources(sections: &[Section<'_>]) -> Result<Vec<Resource>, Fault> {
    let mut names = BTreeSet::new();
    let mut resources = Vec::new();
    for section in sections {
        let name = section.required("name", NOT_EMPTY)?;
        let at = name.at;
        let resource = resource(section, not_empty(name, "name")?)?;
        if !names.insert(resource.name.clone()) {
            let message = format!("\"{}\" is the name of two resources", resource.name);
            return Err(Fault::new(at, message, "a name that no other resource has"));
        }
        resources.push(resource);
    }
    Ok(resources)
}

fn resource(section: &Section<'_>, name: String) -> Result<Resource, Fault> {
    let resource = Resource {
        provider: only(section, "provider", "aws")?,
        kind: only(section, "kind", "security-group")?,
        id: section.required("id", GROUP_ID)?.read(GROUP_ID, group_id)?,
        region: region(section)?,
        profile: optional_text(section, "profile")?,
        role_arn: section.string("role_arn")?.map(|found| found.read(ROLE, role_arn)).transpose()?,
        external_id: external_id(section)?,
        ports: ports(section)?,
        families: families(section)?,
        groups: groups(section)?,
        name,
    };
    Ok(resource)
}

/// A key with a single value today.
fn only(section: &Section<'_>, key: &str, value: &str) -> Result<String, Fault> {
    let Some(found) = section.string(key)? else { return Ok(value.to_owned()) };
    found.read(&format!("\"{value}\""), |text| {
        if text == value { Ok(text) } else { Err(format!("{key} \"{text}\" is not known")) }
    })
}

fn group_id(text: String) -> Result<String, String> {
    let hex = |digits: &str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let fits = text.strip_prefix("sg-").is_some_and(|digits| matches!(digits.len(), 8 | 17) && hex(digits));
    if fits { Ok(text) } else { Err(format!("\"{text}\" is not the id of a security group")) }
}

fn region(section: &Section<'_>) -> Result<String, Fault> {
    let accepted = "a region's code, as in \"eu-west-1\"";
    section.required("region", accepted)?.read(accepted, |text| {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let fits = plain && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-');
        if fits { Ok(text) } else { Err(format!("\"{text}\" is not a region")) }
    })
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

fn external_id(section: &Section<'_>) -> Result<Option<String>, Fault> {
    let Some(found) = section.string("external_id")? else { return Ok(None) };
    if section.string("role_arn")?.is_none() {
        return Err(Fault::new(found.at, "external_id stands without a role_arn", "external_id beside role_arn"));
    }
    not_empty(found, "external_id").map(Some)
}

fn ports(section: &Section<'_>) -> Result<Vec<PortSpec>, Fault> {
    let list = section.strings("ports", PORTS)?.ok_or_else(|| section.missing("ports", PORTS))?;
    if list.value.is_empty() {
        return Err(Fault::new(list.at, "ports is empty", PORTS));
    }
    let mut ports = Vec::new();
    for item in list.value {
        let at = item.at;
        let text = item.value.clone();
        let port = item.value.parse::<PortSpec>();
        let port = port.map_err(|_| Fault::new(at, format!("\"{text}\" is not a port"), PORTS))?;
        // Written differently, still the same: `tcp/22` and `tcp/22-22`.
        if ports.contains(&port) {
            return Err(Fault::new(at, format!("\"{text}\" stands in ports twice"), PORTS));
        }
        ports.push(port);
    }
    Ok(ports)
}

fn families(section: &Section<'_>) -> Result<Vec<IpVersion>, Fault> {
    let Some(list) = section.strings("families", FAMILIES)? else { return Ok(vec![IpVersion::V4, IpVersion::V6]) };
    if list.value.is_empty() {
        return Err(Fault::new(list.at, "families is empty", FAMILIES));
    }
    let family = |item: At<String>| {
        item.read(FAMILIES, |text| match text.as_str() {
            "ipv4" => Ok(IpVersion::V4),
            "ipv6" => Ok(IpVersion::V6),
            _ => Err(format!("\"{text}\" is not an address family")),
        })
    };
    list.value.into_iter().map(family).collect()
}

fn groups(section: &Section<'_>) -> Result<Vec<String>, Fault> {
    let Some(list) = section.strings("groups", "a list of labels for --only")? else { return Ok(Vec::new()) };
    list.value.into_iter().map(|item| not_empty(item, "groups")).collect()
}
