//! Readings of prefix lists: the version and the tags of a list, and every entry of that very version, or none.
//!
//! A version never changes. So a reading is of one moment, that of the description, however long its pages take.

use super::{entry::ListEntry, firewall::PrefixLists};
use crate::{
    ReadResult, RulesSeen,
    aws::{
        action::Action,
        errors::failure::{of_call, unusable},
        read::{
            observe::{FILTER_VALUES, filter},
            pages::Pages,
            rule::tags_of,
        },
        wire::clock::AnswerDate,
    },
};
use aws_sdk_ec2::types::{Filter, ManagedPrefixList, PrefixListState};
use aws_types::request_id::RequestId;
use eg_model::{
    Timestamp,
    container_mark::loose_marks,
    failure::{Failure, FailureClass},
    net::address::IpVersion,
    observation::Reading,
};
use std::collections::{BTreeMap, BTreeSet};

/// Lists, or entries, per page, the most that both calls allow (EC2 API reference, `MaxResults`).
const PAGE_SIZE: i32 = 100;

/// The owner of the lists that AWS keeps.
const AWS: &str = "AWS";

/// The state of a list, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChangeState {
    /// Nothing is in progress.
    Ready,
    /// Somebody's change is.
    InProgress,
    /// The last change failed, with this message.
    Failed(String),
    Deleted,
}

impl ChangeState {
    fn read(list: &ManagedPrefixList) -> Self {
        use PrefixListState as P;
        match list.state() {
            Some(P::CreateInProgress | P::ModifyInProgress | P::RestoreInProgress | P::DeleteInProgress) => {
                Self::InProgress
            }
            Some(P::ModifyFailed | P::RestoreFailed | P::DeleteFailed | P::CreateFailed) => {
                Self::Failed(list.state_message().unwrap_or("AWS gives no reason").to_owned())
            }
            Some(P::DeleteComplete) => Self::Deleted,
            _ => Self::Ready,
        }
    }
}

/// A list without its entries, as one answer describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListDescription {
    pub id: String,
    pub name: String,
    pub version: i64,
    pub state: ChangeState,
    pub max_entries: usize,
    pub family: IpVersion,
    pub owner: String,
    /// IPAM keeps the entries.
    pub ipam: bool,
    pub tags: BTreeMap<String, String>,
    /// The local time of the request.
    pub read_at: Timestamp,
    /// The `Date` of the answer.
    pub provider_time: Option<Timestamp>,
}

impl ListDescription {
    /// `None`: the description lacks something that every list has. Lists of AWS have neither version nor size.
    pub fn read(list: &ManagedPrefixList, read_at: Timestamp, provider_time: Option<Timestamp>) -> Option<Self> {
        let owner = list.owner_id()?.to_owned();
        let (version, max_entries) = match owner.as_str() {
            AWS => (list.version().unwrap_or_default(), list.max_entries().unwrap_or_default()),
            _ => (list.version()?, list.max_entries()?),
        };
        Some(Self {
            id: list.prefix_list_id().filter(|id| !id.is_empty())?.to_owned(),
            name: list.prefix_list_name().unwrap_or_default().to_owned(),
            version,
            state: ChangeState::read(list),
            max_entries: usize::try_from(max_entries).ok()?,
            family: match list.address_family()? {
                "IPv4" => IpVersion::V4,
                "IPv6" => IpVersion::V6,
                _ => return None,
            },
            owner,
            ipam: list.ipam_prefix_list_resolver_target_id().is_some_and(|id| !id.is_empty())
                || list.ipam_prefix_list_resolver_sync_enabled() == Some(true),
            tags: tags_of(list.tags()),
            read_at,
            provider_time,
        })
    }

    /// The time of the provider at the reading, as far as it is known.
    pub fn now(&self) -> Timestamp {
        self.provider_time.unwrap_or(self.read_at)
    }

    /// Refuses lists whose entries are not the caller's to change.
    pub fn check(&self, tried: &str, account: &str) -> Result<(), Failure> {
        let owner = &self.owner;
        let why = match () {
            () if owner == AWS => "AWS keeps this list, and nobody else can change it".to_owned(),
            () if owner != account => {
                format!("the list belongs to account {owner}, and only its owner can change it; use its credentials")
            }
            () if self.ipam => {
                "IPAM keeps the entries of this list; use a list that is not synchronised with IPAM".to_owned()
            }
            () => return Ok(()),
        };
        Err(Failure::new(FailureClass::Invalid, format!("{tried}: {why}")))
    }

    fn complete(&self, entries: &[ListEntry]) -> Reading {
        let rules: Vec<_> = entries.iter().map(|entry| entry.observed(&self.id, &self.tags, self.now())).collect();
        Reading {
            other_ingress: 0,
            read_at: self.read_at,
            last_page_at: self.read_at,
            read_later: BTreeMap::new(),
            provider_time: self.provider_time,
            loose_marks: loose_marks(&self.id, &rules, &self.tags),
            family: Some(self.family),
            rules,
        }
    }
}

/// The entries of one version.
pub(super) struct Entries {
    pub entries: Vec<ListEntry>,
    pages: usize,
}

impl PrefixLists {
    /// Reads lists. Every one has an entry in the answer.
    pub(super) async fn read_lists(&self, lists: &BTreeSet<String>) -> BTreeMap<String, ReadResult> {
        let mut seen = BTreeMap::new();
        let all: Vec<&String> = lists.iter().collect();
        for batch in all.chunks(FILTER_VALUES) {
            let (tried, by_id) =
                (format!("read {}", name_of(batch)), [filter("prefix-list-id", batch.iter().copied())]);
            let described = self.describe(&tried, &by_id);
            let (described, caller) = tokio::join!(described, self.client.known_caller());
            let described = match described {
                Ok(described) => described,
                Err(failure) => {
                    seen.extend(batch.iter().map(|list| ((*list).clone(), ReadResult::Unavailable(failure.clone()))));
                    continue;
                }
            };
            for list in batch {
                let result = match (&caller, described.get(*list).filter(|list| list.state != ChangeState::Deleted)) {
                    // Without knowing the caller, neither "not there" nor "another account's" can be told.
                    (Err(failure), _) => ReadResult::Unavailable(failure.clone()),
                    (Ok(caller), None) => ReadResult::NotFound { caller: Some((*caller).clone()) },
                    (Ok(caller), Some(found)) => {
                        self.observe_entries(found, &caller.account).await.unwrap_or_else(ReadResult::Unavailable)
                    }
                };
                seen.insert((*list).clone(), result);
            }
        }
        seen
    }

    async fn observe_entries(&self, list: &ListDescription, account: &str) -> Result<ReadResult, Failure> {
        let tried = format!("read {}", list.id);
        list.check(&tried, account)?;
        let entries = self.entries(&tried, &list.id, list.version).await?;
        Ok(ReadResult::Complete(list.complete(&entries.entries)))
    }

    /// Reads one list. One whose pages take long is described once more: if it still has the version that was read, the
    /// reading is as young as that description.
    pub(super) async fn read_list(&self, list: &str) -> Result<RulesSeen, Failure> {
        let tried = format!("read {list}");
        let first = self.describe_one(&tried, list).await?;
        first.check(&tried, &self.client.known_caller().await?.account)?;
        let entries = self.entries(&tried, list, first.version).await?;
        let described = match entries.pages {
            0 | 1 => first,
            _ => Some(self.describe_one(&tried, list).await?)
                .filter(|again| again.version == first.version)
                .unwrap_or(first),
        };
        let reading = described.complete(&entries.entries);
        Ok(RulesSeen { rules: reading.rules, read_at: reading.read_at })
    }

    /// One list.
    ///
    /// # Errors
    /// It is not there ([`FailureClass::Gone`]), or could not be described.
    pub(super) async fn describe_one(&self, tried: &str, list: &str) -> Result<ListDescription, Failure> {
        let by_id = [filter("prefix-list-id", [&list.to_owned()])];
        let found = self.describe(tried, &by_id).await?.remove(list).filter(|list| list.state != ChangeState::Deleted);
        found.ok_or_else(|| Failure::new(FailureClass::Gone, format!("{tried}: the prefix list is not there")))
    }

    /// Every page of `DescribeManagedPrefixLists`, by id. By filter: asked for by id, one that is gone fails the call.
    pub(super) async fn describe(
        &self,
        tried: &str,
        filters: &[Filter],
    ) -> Result<BTreeMap<String, ListDescription>, Failure> {
        let mut lists = BTreeMap::new();
        let mut pages = Pages::default();
        let mut token = None;
        // Dated before it is asked: a machine that sleeps in between must not take an old reading for a new one.
        let mut first = None;
        loop {
            let (asked, date) = ((self.client.now)(), AnswerDate::default());
            let call = self
                .client
                .ec2
                .describe_managed_prefix_lists()
                .set_filters((!filters.is_empty()).then(|| filters.to_vec()))
                .max_results(PAGE_SIZE)
                .set_next_token(token);
            let send = || call.clone().customize().interceptor(date.clone()).send();
            let answer = self.client.call(Action::DescribeManagedPrefixLists, "-", send).await;
            let answer = answer.map_err(|error| of_call(tried, &error))?;
            let (read_at, provider_time) = *first.get_or_insert_with(|| (asked, date.get()));
            for list in answer.prefix_lists() {
                let read = ListDescription::read(list, read_at, provider_time);
                let read = read.ok_or_else(|| unusable(tried, "a list is not described whole", answer.request_id()))?;
                lists.insert(read.id.clone(), read);
            }
            token = pages.next(tried, answer.next_token(), answer.request_id())?;
            if token.is_none() {
                return Ok(lists);
            }
        }
    }

    /// Every page of `GetManagedPrefixListEntries` for one version.
    pub(super) async fn entries(&self, tried: &str, list: &str, version: i64) -> Result<Entries, Failure> {
        let mut seen = Entries { entries: Vec::new(), pages: 0 };
        let mut pages = Pages::default();
        let mut token = None;
        loop {
            let call = self
                .client
                .ec2
                .get_managed_prefix_list_entries()
                .prefix_list_id(list)
                .target_version(version)
                .max_results(PAGE_SIZE)
                .set_next_token(token);
            let answer = self.client.call(Action::GetManagedPrefixListEntries, list, || call.clone().send()).await;
            let answer = answer.map_err(|error| of_call(tried, &error))?;
            for entry in answer.entries() {
                let cidr = entry.cidr().unwrap_or_default();
                let parsed = cidr.parse().map_err(|_| {
                    unusable(tried, &format!("\"{cidr}\" is not an address range"), answer.request_id())
                })?;
                seen.entries.push(ListEntry { cidr: parsed, description: entry.description().map(str::to_owned) });
            }
            seen.pages += 1;
            token = pages.next(tried, answer.next_token(), answer.request_id())?;
            if token.is_none() {
                return Ok(seen);
            }
        }
    }
}

/// "pl-1", "pl-1 and 3 more".
fn name_of(lists: &[&String]) -> String {
    match lists {
        [] => "nothing".to_owned(),
        [one] => (*one).clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}
