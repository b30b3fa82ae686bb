//! `CreateSchedule`, `UpdateSchedule`, `GetSchedule`, `DeleteSchedule` (EventBridge Scheduler API reference): one-time
//! schedules that call EC2, in the group that every account has. What they do when they are due stands in `engine`.
//!
//! Refused here, though AWS takes it: other expressions than `at()`, flexible windows, and zones other than UTC.

use super::{ActionRequest, Answer};
use crate::{
    protocol::errors::{self, Refusal},
    world::{Schedule, ScheduleKey, World},
};
use serde_json::{Map, Value, json};

/// The only group there is here.
const GROUP: &str = "default";
/// The longest name (`Name`, length constraints).
const NAME_MAX: usize = 64;
/// A field that is one of several words, and the one that it is where it is not given.
const WORDS: [(&str, &[&str], &str); 3] = [
    ("State", &["ENABLED", "DISABLED"], "ENABLED"),
    ("ActionAfterCompletion", &["NONE", "DELETE"], "NONE"),
    ("ScheduleExpressionTimezone", &["UTC"], "UTC"),
];
/// A field of `RetryPolicy` with its least and its greatest value, which it has where it is not given.
const RETRIES: [(&str, i64, i64); 2] = [("MaximumEventAgeInSeconds", 60, 86_400), ("MaximumRetryAttempts", 0, 185)];

pub(super) fn create(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let (key, body) = (key(ask)?, given(ask)?);
    if world.schedule(&key).is_some() {
        let message = format!("Schedule {} already exists.", key.name);
        return Err(Refusal::with_status("ConflictException", message, 409));
    }
    Ok(put(world, key, Schedule { body, created: ask.now, changed: ask.now }))
}

/// "EventBridge Scheduler uses all values, including empty values, specified in the request and overrides the existing
/// schedule": what is left out has its default again.
pub(super) fn update(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let (key, body) = (key(ask)?, given(ask)?);
    let created = world.schedule(&key).ok_or_else(|| errors::no_schedule(&key.name))?.created;
    Ok(put(world, key, Schedule { body, created, changed: ask.now }))
}

pub(super) fn get(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let key = key(ask)?;
    let schedule = world.schedule(&key).ok_or_else(|| errors::no_schedule(&key.name))?;
    Ok(Answer { json: Some(shown(&key, schedule)), ..Answer::default() })
}

pub(super) fn delete(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let key = key(ask)?;
    world.remove_schedule(&key).ok_or_else(|| errors::no_schedule(&key.name))?;
    Ok(Answer { json: Some(json!({})), effect: true, ..Answer::default() })
}

fn put(world: &mut World, key: ScheduleKey, schedule: Schedule) -> Answer {
    let arn = arn(&key);
    world.put_schedule(key, schedule);
    Answer { json: Some(json!({"ScheduleArn": arn})), effect: true, ..Answer::default() }
}

fn arn(key: &ScheduleKey) -> String {
    let ScheduleKey { account, region, name } = key;
    format!("arn:aws:scheduler:{region}:{account}:schedule/{GROUP}/{name}")
}

/// A schedule with what its request left out.
fn shown(key: &ScheduleKey, schedule: &Schedule) -> Value {
    let mut fields = schedule.body.as_object().cloned().unwrap_or_default();
    fields.remove("ClientToken");
    for (field, _, default) in WORDS {
        fields.entry(field).or_insert_with(|| default.into());
    }
    let known = [
        ("Arn", arn(key).into()),
        ("Name", key.name.clone().into()),
        ("GroupName", GROUP.into()),
        ("CreationDate", schedule.created.timestamp().into()),
        ("LastModificationDate", schedule.changed.timestamp().into()),
    ];
    fields.extend(known.map(|(field, value): (&str, Value)| (field.to_owned(), value)));
    if let Some(target) = fields.get_mut("Target").and_then(Value::as_object_mut) {
        let policy = target.entry("RetryPolicy").or_insert_with(|| Map::new().into());
        for (field, _, default) in RETRIES {
            policy.as_object_mut().map(|policy| policy.entry(field).or_insert_with(|| default.into()));
        }
    }
    fields.into()
}

/// "If you omit this, the default schedule group is used."
fn key(ask: &ActionRequest<'_>) -> Result<ScheduleKey, Refusal> {
    let group = ask.form.get("GroupName").unwrap_or(GROUP);
    if group != GROUP {
        let message = format!("Schedule group {group} does not exist.");
        return Err(Refusal::with_status("ResourceNotFoundException", message, 404));
    }
    let name = ask.form.required("Name")?.to_owned();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !plain || !(1..=NAME_MAX).contains(&name.len()) {
        return Err(errors::schedule_invalid(&format!("Value '{name}' at 'name' failed to satisfy a constraint.")));
    }
    Ok(ScheduleKey { account: ask.caller.account.clone(), region: ask.region.to_owned(), name })
}

/// One-time, exact, and with a role of the caller's own account ("The execution role you provide…").
fn given(ask: &ActionRequest<'_>) -> Result<Value, Refusal> {
    let body: Value = serde_json::from_str(ask.form.get("Body").unwrap_or_default())
        .map_err(|_| errors::schedule_invalid("The request is no JSON."))?;
    let schedule = Schedule { body, created: ask.now, changed: ask.now };
    schedule.at().ok_or_else(|| errors::schedule_invalid("Invalid Schedule Expression."))?;
    for (field, words, _) in WORDS {
        let fits = |value: &Value| value.as_str().is_some_and(|word| words.contains(&word));
        hold(&schedule.body, field, |value| value.is_none_or(fits))?;
    }
    hold(&schedule.body, "FlexibleTimeWindow/Mode", |mode| mode.is_some_and(|mode| mode == "OFF"))?;
    hold(&schedule.body, "Target/Arn", |arn| arn.and_then(Value::as_str).is_some_and(|arn| arn.starts_with("arn:")))?;
    for (field, least, most) in RETRIES {
        let fits = |value: &Value| value.as_i64().is_some_and(|value| (least..=most).contains(&value));
        hold(&schedule.body, &format!("Target/RetryPolicy/{field}"), |value| value.is_none_or(fits))?;
    }
    if schedule.text("/Target/RoleArn").split(':').nth(4) != Some(ask.caller.account.as_str()) {
        return Err(errors::schedule_invalid("The execution role you provide must be of the schedule's account."));
    }
    Ok(schedule.body)
}

fn hold(body: &Value, field: &str, holds: impl Fn(Option<&Value>) -> bool) -> Result<(), Refusal> {
    let wrong = || errors::schedule_invalid(&format!("The value at '{field}' failed to satisfy a constraint."));
    if holds(body.pointer(&format!("/{field}"))) { Ok(()) } else { Err(wrong()) }
}
