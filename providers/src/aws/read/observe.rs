//! Readings of security groups: every page, or none.

use crate::{
    ReadResult, RulesSeen,
    aws::{
        action::Action,
        errors::failure::{of_call, unusable},
        read::{
            pages::{PAGE_SIZE, Pages},
            rule::{self, Read},
        },
        security_group::SecurityGroups,
        wire::clock::AnswerDate,
    },
};
use aws_sdk_ec2::types::{Filter, SecurityGroupRule};
use aws_types::request_id::RequestId;
use eg_model::{
    Timestamp,
    failure::{Failure, FailureClass},
    ids::RuleId,
    observation::{ObservedRule, Reading},
};
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};

/// Groups, or rules, per call: the most values that one filter takes (EC2 API reference, "List and filter": 200).
pub const FILTER_VALUES: usize = 200;

/// Batches that are read at the same time. AWS takes bursts of 100 such calls of an account and region, and 20 a second
/// after that (EC2 API reference, "Request throttling").
const BATCHES_AT_ONCE: usize = 8;

/// The times of a series: the request of its *first* page (the oldest), the `Date` of that page, and the request of its last
/// page. An early time takes others' leases rather for unexpired, and the two clocks are compared within one call.
#[derive(Clone, Copy)]
pub(super) struct ReadAt {
    local: Timestamp,
    last_page: Timestamp,
    provider: Option<Timestamp>,
}

/// One group in a series.
#[derive(Default)]
pub(super) struct GroupReading {
    rules: Vec<ObservedRule>,
    /// The rules of later pages, each with when its page was asked for.
    read_later: BTreeMap<RuleId, Timestamp>,
    other_ingress: usize,
    unreadable: Option<String>,
}

pub fn filter<'a>(name: &str, values: impl IntoIterator<Item = &'a String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().cloned().collect())).build()
}

fn group_filter<'a>(groups: impl IntoIterator<Item = &'a String>) -> Filter {
    filter("group-id", groups)
}

/// "sg-1", "sg-1 and 3 more".
fn name_of(groups: &BTreeSet<String>) -> String {
    match (groups.first(), groups.len()) {
        (Some(first), 1) => first.clone(),
        (Some(first), count) => format!("{first} and {} more", count - 1),
        (None, _) => "nothing".to_owned(),
    }
}

impl SecurityGroups {
    /// Reads groups. Every one has an entry in the answer.
    pub async fn observe_groups(&self, groups: &BTreeSet<String>) -> BTreeMap<String, ReadResult> {
        let all: Vec<&String> = groups.iter().collect();
        let batches =
            all.chunks(FILTER_VALUES).map(|batch| batch.iter().copied().cloned().collect::<BTreeSet<String>>());
        let reads: Vec<_> = batches.map(|batch| async move { self.observe_batch(&batch).await }).collect();
        let reads: Vec<_> = stream::iter(reads).buffer_unordered(BATCHES_AT_ONCE).collect().await;
        reads.into_iter().flatten().collect()
    }

    async fn observe_batch(&self, batch: &BTreeSet<String>) -> BTreeMap<String, ReadResult> {
        match self.read_rules(batch).await {
            Ok((groups, read_at)) => self.conclude(batch, groups, read_at).await,
            // An endpoint that refuses the whole batch for one missing group: ask which are there, then read those.
            Err(failure) if failure.class == FailureClass::Gone => match self.read_existing(batch).await {
                Ok(existing) => {
                    let (there, gone): (BTreeSet<String>, BTreeSet<String>) =
                        batch.iter().cloned().partition(|group| existing.contains(group));
                    let mut seen = self.not_found(&gone).await;
                    if there.len() == batch.len() {
                        seen.extend(unavailable(&there, &failure));
                    } else if !there.is_empty() {
                        seen.extend(match self.read_rules(&there).await {
                            Ok((groups, read_at)) => self.conclude(&there, groups, read_at).await,
                            Err(failure) => unavailable(&there, &failure),
                        });
                    }
                    seen
                }
                Err(failure) => unavailable(batch, &failure),
            },
            Err(failure) => unavailable(batch, &failure),
        }
    }

    /// From a whole series to results. A group without rules in it may be empty or not there; that is asked.
    async fn conclude(
        &self,
        batch: &BTreeSet<String>,
        mut groups: BTreeMap<String, GroupReading>,
        read_at: ReadAt,
    ) -> BTreeMap<String, ReadResult> {
        let mut seen = BTreeMap::new();
        let mut silent = BTreeSet::new();
        for id in batch {
            let Some(group) = groups.remove(id) else {
                silent.insert(id.clone());
                continue;
            };
            seen.insert(id.clone(), read_result(id, group, read_at));
        }
        if silent.is_empty() {
            return seen;
        }
        match self.read_existing(&silent).await {
            Ok(existing) => {
                let (there, gone): (BTreeSet<String>, BTreeSet<String>) =
                    silent.into_iter().partition(|group| existing.contains(group));
                seen.extend(there.into_iter().map(|id| (id, complete(GroupReading::default(), read_at))));
                seen.extend(self.not_found(&gone).await);
            }
            Err(failure) => seen.extend(unavailable(&silent, &failure)),
        }
        seen
    }

    /// Groups that are not there for this caller. Without knowing the caller, "not there" means nothing.
    async fn not_found(&self, gone: &BTreeSet<String>) -> BTreeMap<String, ReadResult> {
        if gone.is_empty() {
            return BTreeMap::new();
        }
        match self.client.known_caller().await {
            Ok(caller) => {
                gone.iter().map(|id| (id.clone(), ReadResult::NotFound { caller: Some(caller.clone()) })).collect()
            }
            Err(failure) => unavailable(gone, &failure),
        }
    }

    /// Every page of `DescribeSecurityGroupRules` for a batch.
    async fn read_rules(&self, batch: &BTreeSet<String>) -> Result<(BTreeMap<String, GroupReading>, ReadAt), Failure> {
        self.read_series(&name_of(batch), &[group_filter(batch)]).await
    }

    /// Rules of one group by their ids. By filter: asked for by `SecurityGroupRuleIds`, one that is gone fails the call, and
    /// pages have no size.
    pub async fn observe_by_id(&self, group: &str, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure> {
        let mut seen = RulesSeen { rules: Vec::new(), read_at: (self.client.now)() };
        let ids: Vec<&String> = rules.iter().map(|rule| &rule.0).collect();
        for ids in ids.chunks(FILTER_VALUES) {
            let by_id = filter("security-group-rule-id", ids.iter().copied());
            let filters = [group_filter([&group.to_owned()]), by_id];
            let (mut groups, read_at) = self.read_series(group, &filters).await?;
            match groups.remove(group).map(|found| read_result(group, found, read_at)) {
                Some(ReadResult::Complete(reading)) => seen.rules.extend(reading.rules),
                Some(ReadResult::Unavailable(failure)) => return Err(failure),
                Some(ReadResult::NotFound { .. } | ReadResult::NoReadBack) | None => {}
            }
        }
        Ok(seen)
    }

    /// Every page of `DescribeSecurityGroupRules` for what filters select; `of` names it for people.
    pub(super) async fn read_series(
        &self,
        of: &str,
        filters: &[Filter],
    ) -> Result<(BTreeMap<String, GroupReading>, ReadAt), Failure> {
        let tried = format!("read the rules of {of}");
        let mut groups: BTreeMap<String, GroupReading> = BTreeMap::new();
        let mut pages = Pages::default();
        let mut token = None;
        // Dated before it is asked: a machine that sleeps in between must not take an old reading for a new one.
        let mut first = None;
        loop {
            let (asked, date) = ((self.client.now)(), AnswerDate::default());
            let call = self
                .client
                .ec2
                .describe_security_group_rules()
                .set_filters(Some(filters.to_vec()))
                .max_results(PAGE_SIZE)
                .set_next_token(token);
            let send = || call.clone().customize().interceptor(date.clone()).send();
            let answer = self.client.call(Action::DescribeSecurityGroupRules, of, send).await;
            let answer = answer.map_err(|error| of_call(&tried, &error))?;
            let later = first.is_some().then_some(asked);
            let read_at: &mut ReadAt =
                first.get_or_insert_with(|| ReadAt { local: asked, last_page: asked, provider: date.get() });
            read_at.last_page = asked;
            for rule in answer.security_group_rules() {
                sort_in(&mut groups, rule, later).map_err(|why| unusable(&tried, why, answer.request_id()))?;
            }
            token = pages.next(&tried, answer.next_token(), answer.request_id())?;
            if token.is_none() {
                return Ok((groups, *read_at));
            }
        }
    }

    /// The groups that are there. By filter: by id, one missing group fails the call.
    async fn read_existing(&self, batch: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
        match self.read_existing_at_once(batch).await {
            Err(failure) if failure.class == FailureClass::Gone => {}
            answer => return answer,
        }
        // An endpoint that treats the filter like ids: one at a time.
        let mut existing = BTreeSet::new();
        for group in batch {
            match self.read_existing_at_once(&BTreeSet::from([group.clone()])).await {
                Ok(found) => existing.extend(found),
                Err(failure) if failure.class == FailureClass::Gone => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(existing)
    }

    async fn read_existing_at_once(&self, batch: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
        let tried = format!("look for {}", name_of(batch));
        let mut existing = BTreeSet::new();
        let mut pages = Pages::default();
        let mut token = None;
        loop {
            let call = self
                .client
                .ec2
                .describe_security_groups()
                .filters(group_filter(batch))
                .max_results(PAGE_SIZE)
                .set_next_token(token);
            let answer = self.client.call(Action::DescribeSecurityGroups, name_of(batch), || call.clone().send()).await;
            let answer = answer.map_err(|error| of_call(&tried, &error))?;
            for group in answer.security_groups() {
                let id =
                    group.group_id().ok_or_else(|| unusable(&tried, "a group without an id", answer.request_id()))?;
                existing.insert(id.to_owned());
            }
            token = pages.next(&tried, answer.next_token(), answer.request_id())?;
            if token.is_none() {
                return Ok(existing);
            }
        }
    }
}

/// Puts one rule of a page where it belongs; `later`: when that page was asked for, if it is not the first one. A rule of
/// no group spoils the series: it may be of any.
fn sort_in(
    groups: &mut BTreeMap<String, GroupReading>,
    rule: &SecurityGroupRule,
    later: Option<Timestamp>,
) -> Result<(), &'static str> {
    let id = rule.group_id().filter(|id| !id.is_empty()).ok_or("a rule without a group")?;
    let group = groups.entry(id.to_owned()).or_default();
    let read = rule::read(rule);
    if let (Read::Rule(rule), Some(later)) = (&read, later) {
        group.read_later.insert(rule.id.clone(), later);
    }
    match read {
        Read::Rule(rule) if group.rules.iter().any(|known| known.id == rule.id) => {
            // Pages that overlap, because rules changed between them: the reading is not of one moment anyway.
            group.rules.retain(|known| known.id != rule.id);
            group.rules.push(rule);
        }
        Read::Rule(rule) => group.rules.push(rule),
        Read::Egress => {}
        Read::Other => group.other_ingress += 1,
        Read::Unreadable(why) => group.unreadable = Some(why),
    }
    Ok(())
}

/// The result for a group that is in a series.
pub(super) fn read_result(id: &str, group: GroupReading, read_at: ReadAt) -> ReadResult {
    match group.unreadable {
        Some(why) => ReadResult::Unavailable(unusable(&format!("read the rules of {id}"), &why, None)),
        None => complete(group, read_at),
    }
}

fn complete(group: GroupReading, read_at: ReadAt) -> ReadResult {
    ReadResult::Complete(Reading {
        rules: group.rules,
        other_ingress: group.other_ingress,
        read_at: read_at.local,
        last_page_at: read_at.last_page,
        read_later: group.read_later,
        provider_time: read_at.provider,
        loose_marks: BTreeSet::new(),
        family: None,
    })
}

fn unavailable(groups: &BTreeSet<String>, failure: &Failure) -> BTreeMap<String, ReadResult> {
    groups.iter().map(|id| (id.clone(), ReadResult::Unavailable(failure.clone()))).collect()
}
