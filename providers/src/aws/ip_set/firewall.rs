//! WAF IP sets as a kind of firewall.

use super::kind::WAF_IP_SET;
use crate::{
    Answered, Authorize, Kind, ListedGroup, ReadResult, RulesSeen,
    aws::{address_list::AddressList, client::Client},
};
use async_trait::async_trait;
use eg_model::{failure::Failure, ids::RuleId, observation::ObservedRule, target::Identity};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The WAF IP sets of one endpoint, one set of credentials and one region.
pub struct IpSets {
    pub(in crate::aws) client: Arc<Client>,
}

#[async_trait]
impl AddressList for IpSets {
    fn kind(&self) -> &'static Kind {
        &WAF_IP_SET
    }

    fn identity(&self) -> Identity {
        Identity::Value
    }

    fn client(&self) -> &Client {
        &self.client
    }

    async fn observe_lists(&self, sets: &BTreeSet<String>) -> BTreeMap<String, ReadResult> {
        let mut seen = BTreeMap::new();
        for set in sets {
            seen.insert(set.clone(), self.observe_set(set).await);
        }
        seen
    }

    async fn observe_list(&self, set: &str) -> Result<RulesSeen, Failure> {
        let reading = self.read(set).await?;
        Ok(RulesSeen { rules: reading.rules, read_at: reading.read_at })
    }

    async fn open(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        self.add(call).await
    }

    async fn close(&self, set: &str, ids: BTreeSet<RuleId>) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        self.remove(set, ids).await
    }

    async fn own_lists(&self, tried: &str) -> Result<Vec<ListedGroup>, Failure> {
        self.list(tried).await
    }
}
