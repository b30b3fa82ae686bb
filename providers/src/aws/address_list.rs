//! Lists of addresses whose marks are tags of the list: the parts of the trait that managed prefix lists and WAF IP sets
//! have in common.

use super::client::Client;
use crate::{
    Answered, Authorize, CallerAccess, ContainerMarking, Discovery, Firewall, Kind, ListedGroup, ReadResult, RulesSeen,
    firewall::one_target,
};
use async_trait::async_trait;
use eg_model::{
    SETTLE_WINDOW,
    container_mark::LEASES_MAX,
    failure::{Failure, FailureClass},
    ids::RuleId,
    observation::{ObservedRule, OwnedRule},
    selector::Selector,
    tags::LEASE_PREFIX,
    target::{Capabilities, Expiry, Identity, MarkPlace, TargetKey},
};
use std::collections::{BTreeMap, BTreeSet};

/// One kind of such lists.
#[async_trait]
pub trait AddressList: ContainerMarking + CallerAccess {
    fn kind(&self) -> &'static Kind;

    /// Where an address has no text and no id of its own, it is its value.
    fn identity(&self) -> Identity;

    fn client(&self) -> &Client;

    /// Reads lists by their ids. The answer has an entry for each of them.
    async fn observe_lists(&self, lists: &BTreeSet<String>) -> BTreeMap<String, ReadResult>;

    /// Reads one list.
    async fn observe_list(&self, list: &str) -> Result<RulesSeen, Failure>;

    /// Adds an entry for each permission of a call.
    async fn open(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure>;

    /// Removes entries by their ids.
    async fn close(&self, list: &str, ids: BTreeSet<RuleId>) -> Result<Answered<BTreeSet<RuleId>>, Failure>;

    /// The lists of the caller's account and region that it can change.
    async fn own_lists(&self, tried: &str) -> Result<Vec<ListedGroup>, Failure>;
}

/// Refuses to write a tag that is not that of a lease.
pub(super) fn check_key(tried: &str, key: &str) -> Result<(), Failure> {
    let is_lease = key.starts_with(LEASE_PREFIX);
    let refused = || Failure::new(FailureClass::Invalid, format!("{tried}: {key} is not a tag of a lease"));
    is_lease.then_some(()).ok_or_else(refused)
}

#[async_trait]
impl<T: AddressList> Firewall for T {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            identity: self.identity(),
            marks: MarkPlace::Container { leases: LEASES_MAX },
            // One request takes more than an installation can mark.
            batch: LEASES_MAX,
            expiry: Expiry::None,
            settle: SETTLE_WINDOW,
        }
    }

    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult> {
        let lists: BTreeSet<String> = targets.iter().map(|target| target.id.clone()).collect();
        let mut seen = self.observe_lists(&lists).await;
        let mut answer = |target: &TargetKey| {
            let nothing =
                || ReadResult::Unavailable(Failure::new(FailureClass::Unknown, format!("read {target}: no answer")));
            (target.clone(), seen.remove(&target.id).unwrap_or_else(nothing))
        };
        targets.iter().map(&mut answer).collect()
    }

    async fn observe_rules(&self, target: &TargetKey, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure> {
        let mut seen = self.observe_list(&target.id).await?;
        seen.rules.retain(|rule| rules.contains(&rule.id));
        Ok(seen)
    }

    async fn authorize(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        self.open(call).await
    }

    async fn revoke(&self, rules: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        match one_target(rules)? {
            Some(target) => self.close(&target.id, rules.iter().map(|rule| rule.id().clone()).collect()).await,
            None => Ok(Answered { value: BTreeSet::new(), request_id: None }),
        }
    }

    fn container_marking(&self) -> Option<&dyn ContainerMarking> {
        Some(self)
    }

    fn discovery(&self) -> Option<&dyn Discovery> {
        Some(self)
    }

    fn access(&self) -> Option<&dyn CallerAccess> {
        Some(self)
    }
}

#[async_trait]
impl<T: AddressList> Discovery for T {
    async fn groups(&self, meant: Option<&Selector>) -> Result<Vec<ListedGroup>, Failure> {
        let mut lists = self.own_lists(&format!("list the {}", self.kind().noun.many)).await?;
        lists.retain(|list| meant.is_none_or(|meant| meant.fits(&list.name, &list.tags)));
        lists.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(lists)
    }

    async fn regions(&self) -> Result<BTreeSet<String>, Failure> {
        self.client().enabled_regions().await
    }

    async fn marked(&self, like: &TargetKey) -> Result<BTreeMap<TargetKey, ReadResult>, Failure> {
        let is_marked = |list: &ListedGroup| list.tags.keys().any(|key| key.starts_with(LEASE_PREFIX));
        let tried = format!("look for the marks of eg on {}", self.kind().noun.many);
        let lists = self.own_lists(&tried).await?.into_iter().filter(is_marked);
        let mut read = self.observe_lists(&lists.map(|list| list.id).collect()).await;
        for (id, result) in &mut read {
            if let ReadResult::Complete(reading) = result {
                reading.rules.retain(|rule| rule.marks(id).managed);
            }
        }
        Ok(read.into_iter().map(|(id, result)| (TargetKey { id, ..like.clone() }, result)).collect())
    }
}
