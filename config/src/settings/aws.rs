//! `[aws]` and `[aws.cloud_expiry]`.

use crate::{
    toml::{At, SpannedError, TomlResult, TomlSection},
    values::role_arn,
};
use eg_model::auto_close::AutoCloseRoute;
use eg_providers::aws::{CloudExpiry, DEFAULT_SCHEDULE_GROUP};
use std::collections::{BTreeMap, BTreeSet};

pub const KEYS: &[&str] = &["extra_tags", "description", "cloud_expiry"];
pub const CLOUD_EXPIRY_KEYS: &[&str] = &["role_arn", "schedule_group"];
const DESCRIPTIONS: &str = "\"full\" (user, host and session) or \"session\" (the session alone)";
const TAG_KEY: &str = "1 to 128 characters, not starting with eg: or aws:";
const ROLES: &str =
    "a role's ARN, as in \"arn:aws:iam::123456789012:role/eg-expiry\", or a list of them, one for each account";
const SCHEDULE_GROUP: &str = "a schedule group's name: 1 to 64 letters, digits and any of -_.";

/// The most `extra_tags`: of the 50 tags that a rule can carry (AWS, "Tag naming limits and requirements"), these
/// leave room for `eg`'s own three and some leases.
const MAX_EXTRA_TAGS: usize = 40;

/// Tags, description and cloud expiry of every rule in AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsSettings {
    /// Added to the tags of every rule (tag policies); at most `MAX_EXTRA_TAGS`.
    pub extra_tags: BTreeMap<String, String>,
    pub description: Description,
    /// With it, rules close even if this machine never comes back.
    pub cloud_expiry: Option<CloudExpiry>,
}

/// The text of a rule's description, for people in the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Description {
    #[default]
    Full,
    /// `eg session <id8>`: the person is left out.
    Session,
}

impl AwsSettings {
    pub fn read(root: &TomlSection<'_>) -> TomlResult<Self> {
        let section = root.child("aws", "[aws]", KEYS)?;
        let expiry = section.optional_child("cloud_expiry", "[aws.cloud_expiry]", CLOUD_EXPIRY_KEYS)?;
        let description = section.read("description", DESCRIPTIONS, |text| match text.as_str() {
            "full" => Ok(Description::Full),
            "session" => Ok(Description::Session),
            _ => Err(format!("description of [aws] is \"{text}\"")),
        });
        Ok(Self {
            extra_tags: extra_tags(&section)?,
            description: description?.unwrap_or_default(),
            cloud_expiry: expiry.as_ref().map(cloud_expiry).transpose()?,
        })
    }
}

fn cloud_expiry(section: &TomlSection<'_>) -> TomlResult<CloudExpiry> {
    let found = section.string_or_strings("role_arn", ROLES)?.filter(|list| !list.is_empty());
    let schedule_group = section.read("schedule_group", SCHEDULE_GROUP, schedule_group);
    let roles = roles(found.ok_or_else(|| section.missing("role_arn", ROLES))?)?;
    Ok(CloudExpiry { roles, schedule_group: schedule_group?.unwrap_or_else(|| DEFAULT_SCHEDULE_GROUP.to_owned()) })
}

fn roles(found: Vec<At<String>>) -> TomlResult<Vec<String>> {
    let mut accounts = BTreeSet::new();
    let mut roles = Vec::new();
    for item in found {
        let at = item.at;
        let route = AutoCloseRoute { role_arn: item.read(ROLES, role_arn)?, group: String::new() };
        if !accounts.insert(route.account().to_owned()) {
            let message = format!("role_arn has two roles of account {}", route.account());
            return Err(SpannedError::new(at, message, "one role for each account"));
        }
        roles.push(route.role_arn);
    }
    Ok(roles)
}

fn extra_tags(section: &TomlSection<'_>) -> TomlResult<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for (key, value) in section.string_table("extra_tags")?.map(|found| found.value).unwrap_or_default() {
        let key_at = key.at;
        let key = key.read(TAG_KEY, tag_key)?;
        let value = value.read("up to 256 characters", |text| match text.encode_utf16().count() {
            0..=256 => Ok(text),
            _ => Err(format!("the value of tag \"{key}\" is too long")),
        })?;
        tags.insert(key, value);
        if tags.len() > MAX_EXTRA_TAGS {
            let accepted = format!("up to {MAX_EXTRA_TAGS} tags: a rule has 50, and the leases need some");
            return Err(SpannedError::new(key_at, "extra_tags has too many tags", accepted));
        }
    }
    Ok(tags)
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
