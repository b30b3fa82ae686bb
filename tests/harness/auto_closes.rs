//! The scheduler by hand: what is stored there, and what it would do, done literally.

use super::World;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde_json::Value;
use std::{sync::atomic::Ordering, time::SystemTime};

/// A schedule as the provider stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule(pub Value);

impl Schedule {
    /// Its name.
    pub fn name(&self) -> &str {
        self.0["Name"].as_str().expect("a name")
    }

    /// When it fires, as its expression says.
    pub fn at(&self) -> DateTime<Utc> {
        let expression = self.0["ScheduleExpression"].as_str().expect("an expression");
        NaiveDateTime::parse_from_str(expression, "at(%Y-%m-%dT%H:%M:%S)").expect("a one-time expression").and_utc()
    }

    /// The request that it makes, as its target and input say.
    fn request(&self) -> (String, Vec<(String, String)>) {
        let target = &self.0["Target"];
        let arn = target["Arn"].as_str().expect("a target");
        let (_, action) = arn.rsplit_once(":aws-sdk:ec2:").unwrap_or_else(|| panic!("not EC2's API: {arn}"));
        let (first, rest) = action.split_at(1);
        let input: Value = serde_json::from_str(target["Input"].as_str().expect("an input")).expect("JSON");
        let mut fields = Vec::new();
        for (key, value) in input.as_object().expect("an object") {
            match value {
                Value::String(text) => fields.push((key.clone(), text.clone())),
                Value::Array(list) => {
                    let name = key.strip_suffix('s').unwrap_or(key);
                    let text = |item: &Value| item.as_str().expect("text").to_owned();
                    fields.extend((1..).zip(list).map(|(number, item)| (format!("{name}.{number}"), text(item))));
                }
                other => panic!("{key}: {other}"),
            }
        }
        (first.to_uppercase() + rest, fields)
    }
}

impl World {
    /// Now on both clocks.
    pub fn now(&self) -> DateTime<Utc> {
        let ahead = TimeDelta::seconds(self.shared.clock.load(Ordering::SeqCst));
        DateTime::<Utc>::from(SystemTime::now()) + ahead
    }

    /// Every schedule of the default region, by name.
    pub fn schedules(&self) -> Vec<Schedule> {
        let (status, list) = self.cloud.rest("scheduler", "GET", "/schedules?MaxResults=100", "");
        assert_eq!(status, 200, "{list}");
        let list: Value = serde_json::from_str(&list).expect("JSON");
        let mut schedules: Vec<Schedule> = list["Schedules"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|short| {
                self.schedule(short["Name"].as_str().expect("a name"), short["GroupName"].as_str().expect("a group"))
            })
            .collect();
        schedules.sort_by(|a, b| a.name().cmp(b.name()));
        schedules
    }

    fn schedule(&self, name: &str, group: &str) -> Schedule {
        let (status, text) = self.cloud.rest("scheduler", "GET", &format!("/schedules/{name}?groupName={group}"), "");
        assert_eq!(status, 200, "{text}");
        Schedule(serde_json::from_str(&text).expect("JSON"))
    }

    /// Deletes a schedule by hand.
    pub fn delete_schedule(&self, schedule: &Schedule) {
        let group = schedule.0["GroupName"].as_str().expect("a group");
        let path = format!("/schedules/{}?groupName={group}", schedule.name());
        let (status, text) = self.cloud.rest("scheduler", "DELETE", &path, "");
        assert_eq!(status, 200, "{text}");
    }

    /// Edits a schedule by hand.
    pub fn edit_schedule(&self, schedule: &Schedule, edit: impl FnOnce(&mut Value)) {
        let mut body = schedule.0.clone();
        edit(&mut body);
        let path = format!("/schedules/{}", schedule.name());
        let (status, text) = self.cloud.rest("scheduler", "PUT", &path, &body.to_string());
        assert_eq!(status, 200, "{text}");
    }

    /// Makes a group of schedules.
    pub fn make_schedule_group(&self, name: &str) {
        let (status, text) = self.cloud.rest("scheduler", "POST", &format!("/schedule-groups/{name}"), "{}");
        assert_eq!(status, 200, "{text}");
    }

    /// Does what the scheduler does: every enabled schedule that is due makes its request, literally, and goes. How many
    /// did.
    pub fn fire_due(&self) -> usize {
        let now = self.now();
        let due = self.schedules().into_iter().filter(|one| one.at() <= now && one.0["State"] == "ENABLED");
        let mut fired = 0;
        for schedule in due {
            let (action, fields) = schedule.request();
            // What is gone already is refused; the scheduler would try that a few times more, in vain.
            if self.cloud.try_ask(&action, &fields).is_ok() {
                fired += 1;
            }
            assert_eq!(schedule.0["ActionAfterCompletion"], "DELETE");
            self.delete_schedule(&schedule);
        }
        fired
    }
}
