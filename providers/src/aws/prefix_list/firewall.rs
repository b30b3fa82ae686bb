//! Managed prefix lists as a kind of firewall.

use super::kind::PREFIX_LIST;
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

/// The managed prefix lists of one endpoint, one set of credentials and one region.
pub struct PrefixLists {
    pub(in crate::aws) client: Arc<Client>,
}

#[async_trait]
impl AddressList for PrefixLists {
    fn kind(&self) -> &'static Kind {
        &PREFIX_LIST
    }

    fn identity(&self) -> Identity {
        Identity::Id
    }

    fn client(&self) -> &Client {
        &self.client
    }

    async fn observe_lists(&self, lists: &BTreeSet<String>) -> BTreeMap<String, ReadResult> {
        self.read_lists(lists).await
    }

    async fn observe_list(&self, list: &str) -> Result<RulesSeen, Failure> {
        self.read_list(list).await
    }

    async fn open(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        self.add(call).await
    }

    async fn close(&self, list: &str, ids: BTreeSet<RuleId>) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        self.remove(list, ids).await
    }

    async fn own_lists(&self, tried: &str) -> Result<Vec<ListedGroup>, Failure> {
        self.list(tried).await
    }
}
