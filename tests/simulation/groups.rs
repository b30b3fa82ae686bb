//! A security group of the sandbox. Half of all lives are lived with expiry schedules in the cloud.

use crate::{
    action::Weather,
    site::{ACCOUNT, Calls, Site, changes_in, faults, lag_behind, set},
};
use chrono::{DateTime, TimeDelta, Utc};
use eg_sandbox::{Config, HandClock, HandRule, Handle, Sandbox, SecurityGroupRule, StaleSight};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

const RULE_CALLS: [&str; 4] =
    ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress", "CreateTags", "DeleteTags"];
const SCHEDULE_CALLS: [&str; 3] = ["CreateSchedule", "UpdateSchedule", "DeleteSchedule"];

pub struct GroupSite {
    clock: HandClock,
    region: Handle,
    group: String,
    /// Whether rules get expiry schedules in the cloud.
    auto_closing: bool,
    /// What may land late; in some lives what is asked of the scheduler, too.
    changing: Vec<&'static str>,
}

impl Site for GroupSite {
    type Entry = SecurityGroupRule;

    fn new(seed: u64, _: &Path, clock: &HandClock) -> Self {
        let region = Sandbox::start(Config::new(seed, clock.clock())).unwrap();
        let group = region.create_group_in(ACCOUNT, "eu-west-1", "api").unwrap();
        let scheduling: &[&str] = if seed % 4 == 2 { &SCHEDULE_CALLS } else { &[] };
        let changing = [&RULE_CALLS[..], scheduling].concat();
        Self { clock: clock.clone(), region, group, auto_closing: seed.is_multiple_of(2), changing }
    }

    fn endpoint(&self) -> String {
        self.region.endpoint()
    }

    fn config(&self) -> String {
        let role = format!("\n[aws.cloud_expiry]\nrole_arn = \"arn:aws:iam::{ACCOUNT}:role/eg-cloud-expiry\"\n");
        let expiry = if self.auto_closing { role.as_str() } else { "" };
        format!(
            "[[resource]]\nname = \"api\"\nid = \"{}\"\nregion = \"eu-west-1\"\nprofile = \"sandbox\"\n\
             ports = [\"tcp/22\", \"tcp/443\"]\n{expiry}",
            self.group
        )
    }

    /// With the times of writes: what was changed and changed back would show.
    fn entries(&self) -> Vec<SecurityGroupRule> {
        self.region.rules(&self.group)
    }

    fn id(rule: &SecurityGroupRule) -> String {
        rule.id.clone()
    }

    fn make(&mut self, ports: &str, cidr: &str) -> Option<SecurityGroupRule> {
        let rule = HandRule { description: "theirs".to_owned(), ..HandRule::new(ports, cidr) };
        let id = self.region.authorize_by_hand(&self.group, &rule).ok()?;
        self.entries().into_iter().find(|known| known.id == id)
    }

    fn remove(&mut self, rule: &SecurityGroupRule) {
        self.region.revoke_by_hand(&self.group, &rule.id).unwrap();
    }

    /// It is still the rule that `eg` opened, by its id.
    fn edit(&mut self, rule: &SecurityGroupRule, number: u64) -> Option<SecurityGroupRule> {
        let new = HandRule::new(&format!("tcp/{}", 9000 + number), "192.0.2.1/32");
        self.region.modify_by_hand(&self.group, &rule.id, &new).ok();
        None
    }

    fn strip(&mut self, rule: &SecurityGroupRule) {
        self.region.untag_by_hand(&rule.id, &BTreeMap::new()).unwrap();
    }

    fn strips_all(&self) -> bool {
        false
    }

    fn weather(&mut self, weather: Weather) {
        set(&self.region, faults(weather, &self.changing));
    }

    fn lag(&mut self, seconds: i64) {
        use StaleSight::{NewMissing, RevokedPresent, TagsMissing};
        lag_behind(&self.region, seconds, &[NewMissing, RevokedPresent, TagsMissing]);
    }

    /// Every rule that somebody holds has an expiry schedule, which fires when the last of its holders lets go: not before,
    /// and not after.
    fn while_open(&self, ours: &[SecurityGroupRule]) -> Option<Result<(), String>> {
        if !self.auto_closing {
            return None;
        }
        let auto_closes: BTreeMap<String, _> =
            self.region.schedules().into_iter().map(|(key, schedule)| (key.name, schedule.at())).collect();
        for rule in ours {
            let leases = rule.tags.iter().filter(|(key, _)| key.starts_with("eg:lease:"));
            let until = leases.filter_map(|(_, value)| value.parse::<DateTime<Utc>>().ok()).max();
            let at = auto_closes.get(&format!("eg-{}", rule.id)).copied().flatten();
            if at != until && until.is_some_and(|until| until > self.clock.now() + TimeDelta::minutes(2)) {
                return Some(Err(format!("the schedule of {rule:#?} fires at {at:?}")));
            }
        }
        Some(Ok(()))
    }

    fn in_the_end(&self, foreign: &[SecurityGroupRule]) -> Result<(), String> {
        let auto_closes = self.region.schedules();
        if !auto_closes.is_empty() {
            return Err(format!("schedules left over: {auto_closes:#?}"));
        }
        let foreign: BTreeSet<&String> = foreign.iter().map(|rule| &rule.id).collect();
        for call in changes_in(&self.region) {
            if call.rules.iter().any(|id| foreign.contains(id)) {
                return Err(format!("a foreign rule was named: {call:#?}"));
            }
            let by_permission = call.fields.keys().any(|key| key.starts_with("IpPermissions"));
            if call.action == "RevokeSecurityGroupIngress" && by_permission {
                return Err(format!("revoked, and not by id: {call:#?}"));
            }
        }
        Ok(())
    }

    fn changes(&self) -> Vec<String> {
        changes_in(&self.region).iter().map(|call| format!("{call:#?}")).collect()
    }

    fn calls(&self) -> Calls {
        let log = self.region.log();
        let rules = |action: &str| -> u64 {
            log.iter().filter(|call| call.action == action && call.effect).map(|call| call.rules.len() as u64).sum()
        };
        Calls {
            all: log.len() as u64,
            struck: log.iter().filter(|call| call.fault.is_some()).count() as u64,
            opened: rules("AuthorizeSecurityGroupIngress"),
            closed: rules("RevokeSecurityGroupIngress"),
        }
    }
}
