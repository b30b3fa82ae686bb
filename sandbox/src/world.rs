//! The truth: groups, rules, prefix lists, IP sets and role sessions.

use crate::{
    ids,
    ip_set::IpSet,
    network::NetworkWorld,
    permission::{RulePermission, Source},
    prefix_list::PrefixList,
    protocol::form::Form,
    tag_history::{Tags, retag},
};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use std::collections::BTreeMap;

/// Hours for which a removed rule can still be shown.
const REMOVED_KEPT_HOURS: i64 = 24;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerIdentity {
    /// Twelve digits.
    pub account: String,
    /// `arn:aws:iam::…:user/…`.
    pub arn: String,
    /// `AIDA…`, or `AROA…:session`.
    pub user_id: String,
}

impl CallerIdentity {
    /// The user `name` of an account.
    pub fn user(account: &str, name: &str) -> Self {
        Self {
            account: account.to_owned(),
            arn: format!("arn:aws:iam::{account}:user/{name}"),
            user_id: format!("AIDA{}", name.to_ascii_uppercase()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `sg-…`.
    pub id: String,
    /// Unique in its VPC.
    pub name: String,
    pub description: String,
    pub account: String,
    pub region: String,
    /// `vpc-…`.
    pub vpc: String,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroupRule {
    /// `sgr-…`, never used again.
    pub id: String,
    /// `sg-…`.
    pub group: String,
    pub egress: bool,
    pub permission: RulePermission,
    pub description: Option<String>,
    pub tags: Tags,
    pub(crate) made_at: DateTime<Utc>,
    /// The tags before each write, oldest first.
    pub(crate) earlier_tags: Vec<(DateTime<Utc>, Tags)>,
}

impl SecurityGroupRule {
    /// Replaces the tags and keeps what they were.
    pub(crate) fn retag(&mut self, tags: Tags, now: DateTime<Utc>) {
        retag(&mut self.tags, &mut self.earlier_tags, tags, now);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) rule: SecurityGroupRule,
    pub(crate) at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleSession {
    pub(crate) caller: CallerIdentity,
    pub(crate) expires_at: DateTime<Utc>,
}

/// A request that arrived and has yet to land.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Late {
    pub(crate) due: DateTime<Utc>,
    pub(crate) number: u64,
    pub(crate) caller: CallerIdentity,
    pub(crate) region: String,
    pub(crate) form: Form,
}

/// The name of a schedule, with its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScheduleKey {
    pub account: String,
    pub region: String,
    /// Unique there.
    pub name: String,
}

/// A one-time schedule, as its request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub body: serde_json::Value,
    pub created: DateTime<Utc>,
    /// When it was made or last replaced.
    pub changed: DateTime<Utc>,
}

impl Schedule {
    /// When it fires; `None` for any other expression (User Guide, "Schedule types": `at(yyyy-mm-ddThh:mm:ss)`).
    pub fn at(&self) -> Option<DateTime<Utc>> {
        let time = NaiveDateTime::parse_from_str(self.text("/ScheduleExpression"), "at(%Y-%m-%dT%H:%M:%S)");
        time.ok().map(|time| time.and_utc())
    }

    /// A text in it, by JSON pointer; empty where there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    /// Ids made so far.
    made: u64,
    /// Requests seen so far.
    pub(crate) requests: u64,
    groups: BTreeMap<String, Group>,
    rules: BTreeMap<String, SecurityGroupRule>,
    removed: Vec<Removed>,
    sessions: BTreeMap<String, RoleSession>,
    pub(crate) late: Vec<Late>,
    schedules: BTreeMap<ScheduleKey, Schedule>,
    pub(crate) network: NetworkWorld,
    lists: BTreeMap<String, PrefixList>,
    /// By place.
    ip_sets: BTreeMap<String, IpSet>,
}

impl World {
    pub(crate) fn next(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// A group that this account has in this region.
    pub(crate) fn group(&self, id: &str, account: &str, region: &str) -> Option<&Group> {
        self.groups.get(id).filter(|group| group.account == account && group.region == region)
    }

    /// A group, whosever it is.
    pub(crate) fn any_group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(crate) fn group_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.groups.get_mut(id)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Keeps a new group, with the rule that lets everything out (VPC User Guide, "Default and custom security
    /// groups": "an outbound rule that allows all outbound traffic").
    pub(crate) fn add_group(&mut self, group: Group, seed: u64, now: DateTime<Utc>) {
        let everywhere = Source::Cidr(ipnet::Ipv4Net::default().into());
        let all = RulePermission { protocol: "-1".to_owned(), from: -1, to: -1, source: everywhere };
        let id = group.id.clone();
        self.groups.insert(id.clone(), group);
        let rule = self.new_rule(&id, all, None, Tags::new(), seed, now);
        self.rules.insert(rule.id.clone(), SecurityGroupRule { egress: true, ..rule });
    }

    pub(crate) fn remove_group(&mut self, id: &str, now: DateTime<Utc>) {
        self.groups.remove(id);
        let rules: Vec<String> =
            self.rules.values().filter(|rule| rule.group == id).map(|rule| rule.id.clone()).collect();
        for rule in rules {
            self.remove_rule(&rule, now);
        }
        self.removed.retain(|removed| removed.rule.group != id);
    }

    pub(crate) fn rule(&self, id: &str) -> Option<&SecurityGroupRule> {
        self.rules.get(id)
    }

    pub(crate) fn rule_mut(&mut self, id: &str) -> Option<&mut SecurityGroupRule> {
        self.rules.get_mut(id)
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = &SecurityGroupRule> {
        self.rules.values()
    }

    pub(crate) fn removed(&self) -> impl Iterator<Item = &Removed> {
        self.removed.iter()
    }

    pub(crate) fn ingress_of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a SecurityGroupRule> {
        self.rules.values().filter(move |rule| rule.group == group && !rule.egress)
    }

    fn new_rule(
        &mut self,
        group: &str,
        permission: RulePermission,
        description: Option<String>,
        tags: Tags,
        seed: u64,
        now: DateTime<Utc>,
    ) -> SecurityGroupRule {
        let id = ids::rule(seed, self.next());
        let (group, earlier_tags) = (group.to_owned(), Vec::new());
        SecurityGroupRule { id, group, egress: false, permission, description, tags, made_at: now, earlier_tags }
    }

    pub(crate) fn add_rule(
        &mut self,
        group: &str,
        (permission, description): (RulePermission, Option<String>),
        tags: &Tags,
        seed: u64,
        now: DateTime<Utc>,
    ) -> SecurityGroupRule {
        let rule = self.new_rule(group, permission, description, tags.clone(), seed, now);
        self.rules.insert(rule.id.clone(), rule.clone());
        rule
    }

    /// Removes a rule; a stale reader may still see it.
    pub(crate) fn remove_rule(&mut self, id: &str, now: DateTime<Utc>) -> Option<SecurityGroupRule> {
        let rule = self.rules.remove(id)?;
        self.removed.retain(|removed| now.signed_duration_since(removed.at) < TimeDelta::hours(REMOVED_KEPT_HOURS));
        self.removed.push(Removed { rule: rule.clone(), at: now });
        Some(rule)
    }

    /// A prefix list, whosever it is.
    pub(crate) fn list(&self, id: &str) -> Option<&PrefixList> {
        self.lists.get(id)
    }

    pub(crate) fn list_mut(&mut self, id: &str) -> Option<&mut PrefixList> {
        self.lists.get_mut(id)
    }

    pub(crate) fn lists(&self) -> impl Iterator<Item = &PrefixList> {
        self.lists.values()
    }

    pub(crate) fn put_list(&mut self, list: PrefixList) {
        self.lists.insert(list.id.clone(), list);
    }

    pub(crate) fn remove_list(&mut self, id: &str) -> Option<PrefixList> {
        self.lists.remove(id)
    }

    /// The IP set at a place, whosever it is.
    pub(crate) fn ip_set(&self, place: &str) -> Option<&IpSet> {
        self.ip_sets.get(place)
    }

    pub(crate) fn ip_set_mut(&mut self, place: &str) -> Option<&mut IpSet> {
        self.ip_sets.get_mut(place)
    }

    pub(crate) fn ip_sets(&self) -> impl Iterator<Item = &IpSet> {
        self.ip_sets.values()
    }

    pub(crate) fn put_ip_set(&mut self, set: IpSet) {
        self.ip_sets.insert(set.place(), set);
    }

    pub(crate) fn remove_ip_set(&mut self, place: &str) {
        self.ip_sets.remove(place);
    }

    /// Ends every change of a list whose time has come.
    pub(crate) fn settle_lists(&mut self, now: DateTime<Utc>) {
        self.lists.values_mut().for_each(|list| list.settle(now));
    }

    pub(crate) fn schedule(&self, key: &ScheduleKey) -> Option<&Schedule> {
        self.schedules.get(key)
    }

    pub(crate) fn put_schedule(&mut self, key: ScheduleKey, schedule: Schedule) {
        self.schedules.insert(key, schedule);
    }

    pub(crate) fn remove_schedule(&mut self, key: &ScheduleKey) -> Option<Schedule> {
        self.schedules.remove(key)
    }

    pub(crate) fn schedules(&self) -> impl Iterator<Item = (&ScheduleKey, &Schedule)> {
        self.schedules.iter()
    }

    pub(crate) fn session(&self, access_key: &str) -> Option<&RoleSession> {
        self.sessions.get(access_key)
    }

    pub(crate) fn add_session(&mut self, access_key: String, session: RoleSession) {
        self.sessions.insert(access_key, session);
    }
}
