//! `CreateTags` and `DeleteTags` (EC2 API reference), on rules, groups and prefix lists: every resource, or none.

use super::{ActionRequest, Answer, group, prefix_lists, rule};
use crate::{
    protocol::{
        errors::{self, Refusal},
        form::Form,
    },
    tag_history::Tags,
    world::World,
};

/// The tags of a `TagSpecification` or of `CreateTags`. EC2 User Guide, "Tag restrictions": keys of 1 to 128
/// characters, values of up to 256, keys unique, none that begin with `aws:`.
pub(super) fn given(form: &Form) -> Result<Tags, Refusal> {
    let mut tags = Tags::new();
    for part in form.parts("Tag") {
        let key = checked_key(&part)?;
        let value = part.get("Value").unwrap_or_default();
        if value.chars().count() > 256 {
            return Err(errors::invalid_value("Tag value exceeds the maximum length of 256 characters"));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(errors::invalid_value(format!("Duplicate tag key '{key}' specified.")));
        }
    }
    Ok(tags)
}

fn checked_key(part: &Form) -> Result<&str, Refusal> {
    let key = part.required("Key")?;
    if key.chars().count() > 128 {
        return Err(errors::invalid_value("Tag key exceeds the maximum length of 128 characters"));
    }
    match key.to_ascii_lowercase().starts_with("aws:") {
        true => Err(errors::invalid_value("Tag keys starting with 'aws:' are reserved for internal use")),
        false => Ok(key),
    }
}

/// "Adds or overwrites only the specified tags."
pub(super) fn create(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let new = given(ask.form)?;
    if new.is_empty() {
        return Err(errors::missing_parameter("Tags"));
    }
    let rewritten = rewrite(world, ask, |tags| tags.extend(new.clone()))?;
    if let Some((id, _)) = rewritten.iter().find(|(_, tags)| tags.len() > ask.settings.tags_per_resource) {
        return Err(errors::too_many_tags(id));
    }
    Ok(apply(world, ask, rewritten))
}

/// "If you specify a tag key without a tag value, we delete any tag with this key regardless of its value. If you
/// specify this parameter with an empty string as the tag value, we delete the key only if its value is an empty
/// string." Without tags named, every tag.
pub(super) fn delete(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let mut named = Vec::new();
    for part in ask.form.parts("Tag") {
        named.push((checked_key(&part)?.to_owned(), part.get("Value").map(str::to_owned)));
    }
    let goes = |key: &String, value: &String| {
        named.is_empty() || named.iter().any(|(k, v)| k == key && v.as_ref().is_none_or(|v| v == value))
    };
    let rewritten = rewrite(world, ask, |tags| tags.retain(|key, value| !goes(key, value)))?;
    Ok(apply(world, ask, rewritten))
}

/// The new tags of every named resource. One that is not there refuses the whole call.
fn rewrite(world: &World, ask: &ActionRequest<'_>, change: impl Fn(&mut Tags)) -> Result<Vec<(String, Tags)>, Refusal> {
    let ids = ask.form.list("ResourceId");
    if ids.is_empty() {
        return Err(errors::missing_parameter("resourceIdSet"));
    }
    let one = |id: String| {
        let mut tags = if id.starts_with("sgr-") {
            rule(world, ask, &id)?.tags.clone()
        } else if id.starts_with("sg-") {
            group(world, ask, &id)?.tags.clone()
        } else if id.starts_with("pl-") {
            prefix_lists::own(world, ask, &id)?.tags.clone()
        } else {
            return Err(Refusal::new("InvalidID", format!("The ID '{id}' is not valid")));
        };
        change(&mut tags);
        Ok((id, tags))
    };
    ids.into_iter().map(one).collect()
}

fn apply(world: &mut World, ask: &ActionRequest<'_>, rewritten: Vec<(String, Tags)>) -> Answer {
    let mut changed = false;
    for (id, tags) in rewritten {
        if let Some(rule) = world.rule_mut(&id) {
            changed |= rule.tags != tags;
            rule.retag(tags, ask.now);
        } else if let Some(group) = world.group_mut(&id) {
            changed |= group.tags != tags;
            group.tags = tags;
        } else if let Some(list) = world.list_mut(&id) {
            changed |= list.tags != tags;
            list.retag(tags, ask.now);
        }
    }
    Answer { effect: changed, ..Answer::done(Vec::new()) }
}
