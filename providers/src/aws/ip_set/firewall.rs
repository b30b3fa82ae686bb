//! WAF IP sets as a kind of firewall.

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

/// The WAF IP sets of one endpoint, one set of credentials and one region.
pub struct IpSets {
    pub(in crate::aws) client: Arc<Client>,
}

#[async_trait]
impl Firewall for IpSets {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            // An address has no text and no id of its own.
            identity: Identity::Value,
            marks: MarkPlace::Container { leases: LEASES_MAX },
            // A request replaces the whole set. An installation can mark no more than this many.
            batch: LEASES_MAX,
            expiry: Expiry::None,
            settle: SETTLE_WINDOW,
        }
    }

    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult> {
        let mut seen = BTreeMap::new();
        for target in targets {
            seen.insert(target.clone(), self.observe_set(&target.id).await);
        }
        seen
    }

    async fn observe_rules(&self, target: &TargetKey, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure> {
        let reading = self.read(&target.id).await?;
        let rules = reading.rules.into_iter().filter(|rule| rules.contains(&rule.id)).collect();
        Ok(RulesSeen { rules, read_at: reading.read_at })
    }

    async fn authorize(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        self.open(call).await
    }

    async fn revoke(&self, rules: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        let Some(first) = rules.first() else { return Ok(Answered { value: BTreeSet::new(), request_id: None }) };
        if rules.iter().any(|rule| rule.target() != first.target()) {
            let message = "close addresses: the addresses of one call must be of one IP set";
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
