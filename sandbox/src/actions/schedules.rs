//! `CreateSchedule`, `UpdateSchedule`, `GetSchedule`, `DeleteSchedule` (EventBridge Scheduler API reference): one-time
//! schedules that call EC2, in the group that every account has. What they do when they are due stands in `engine`.

use super::{Answer, Ask};
use crate::{
    refusal::{self, Refusal},
    world::{Schedule, ScheduleKey, World},
};
use serde_json::{Value, json};

/// The only group there is here.
const GROUP: &str = "default";

pub(super) fn create(world: &mut World, ask: &Ask<'_>) -> Result<Answer, Refusal> {
    let (key, schedule) = (key(ask)?, given(ask)?);
    if world.schedule(&key).is_some() {
        return Err(refusal::schedule_exists(&key.name));
    }
    Ok(put(world, ask, key, schedule))
}

pub(super) fn update(world: &mut World, ask: &Ask<'_>) -> Result<Answer, Refusal> {
    let (key, schedule) = (key(ask)?, given(ask)?);
    world.schedule(&key).ok_or_else(|| refusal::no_schedule(&key.name))?;
    Ok(put(world, ask, key, schedule))
}

pub(super) fn get(world: &mut World, ask: &Ask<'_>) -> Result<Answer, Refusal> {
    let key = key(ask)?;
    let schedule = world.schedule(&key).ok_or_else(|| refusal::no_schedule(&key.name))?;
    let mut body = schedule.body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("ClientToken");
        fields.insert("Name".to_owned(), key.name.into());
    }
    Ok(Answer { json: Some(body), ..Answer::default() })
}

pub(super) fn delete(world: &mut World, ask: &Ask<'_>) -> Result<Answer, Refusal> {
    let key = key(ask)?;
    world.remove_schedule(&key).ok_or_else(|| refusal::no_schedule(&key.name))?;
    Ok(Answer { json: Some(json!({})), effect: true, ..Answer::default() })
}

fn put(world: &mut World, ask: &Ask<'_>, key: ScheduleKey, schedule: Schedule) -> Answer {
    let (account, region, name) = (&ask.caller.account, ask.region, &key.name);
    let arn = format!("arn:aws:scheduler:{region}:{account}:schedule/{GROUP}/{name}");
    world.put_schedule(key, schedule);
    Answer { json: Some(json!({"ScheduleArn": arn})), effect: true, ..Answer::default() }
}

/// "If you omit this, the default schedule group is used."
fn key(ask: &Ask<'_>) -> Result<ScheduleKey, Refusal> {
    let group = ask.form.get("GroupName").unwrap_or(GROUP);
    if group != GROUP {
        return Err(refusal::no_schedule_group(group));
    }
    let name = ask.form.required("Name")?.to_owned();
    Ok(ScheduleKey { account: ask.caller.account.clone(), region: ask.region.to_owned(), name })
}

/// One-time, exact, and with a role of the caller's own account ("The execution role you provide…").
fn given(ask: &Ask<'_>) -> Result<Schedule, Refusal> {
    let body: Value = serde_json::from_str(ask.form.get("Body").unwrap_or_default())
        .map_err(|_| refusal::schedule_invalid("The request is no JSON."))?;
    let schedule = Schedule { body };
    schedule.at().ok_or_else(|| refusal::schedule_invalid("Invalid Schedule Expression."))?;
    if schedule.text("/FlexibleTimeWindow/Mode") != "OFF" {
        return Err(refusal::schedule_invalid("FlexibleTimeWindow.Mode is not OFF."));
    }
    if schedule.text("/Target/RoleArn").split(':').nth(4) != Some(ask.caller.account.as_str()) {
        return Err(refusal::schedule_invalid("The execution role you provide must be of the schedule's account."));
    }
    Ok(schedule)
}
