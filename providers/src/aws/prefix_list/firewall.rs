//! Managed prefix lists as a kind of firewall.

use crate::{
    Answered, Authorize, CallerAccess, ContainerMarking, Discovery, Firewall, ReadResult, RulesSeen,
    aws::client::Client,
};
use async_trait::async_trait;
use eg_model::{
    SETTLE_WINDOW,
    container_mark::LEASES_MAX,
    failure::{Failure, FailureClass},
    ids::RuleId,
    observation::{ObservedRule, OwnedRule},
    target::{Capabilities, Expiry, Identity, MarkPlace, TargetKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The managed prefix lists of one endpoint, one set of credentials and one region.
pub struct PrefixLists {
    pub(in crate::aws) client: Arc<Client>,
}

#[async_trait]
impl Firewall for PrefixLists {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            identity: Identity::Id,
            marks: MarkPlace::Container { leases: LEASES_MAX },
            // One request takes 100 entries. An installation can mark no more than this many.
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
        let Some(first) = rules.first() else { return Ok(Answered { value: BTreeSet::new(), request_id: None }) };
        if rules.iter().any(|rule| rule.target() != first.target()) {
            let message = "close entries: the entries of one call must be of one prefix list";
            return Err(Failure::new(FailureClass::Invalid, message));
        }
        self.close(&first.target().id, rules.iter().map(|rule| rule.id().clone()).collect()).await
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
