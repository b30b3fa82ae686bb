//! Discovery: what an account has, beyond the configured targets. `init`, `resource discover`, targets that are named by
//! name or tags, and `sweep` need it.

use crate::{kind::Kind, types::ReadResult};
use async_trait::async_trait;
use eg_model::{failure::Failure, net::permission::Permission, selector::Selector, target::TargetKey};
use std::collections::{BTreeMap, BTreeSet};

/// A target that the caller can see, from a list of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    pub kind: &'static Kind,
    pub id: String,
    /// The name at the provider, unique in its network only.
    pub name: String,
    /// The network of the target (AWS: the VPC).
    pub network: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// The ingress from CIDRs.
    pub permissions: Vec<Permission>,
    /// The number of further ingress sources: groups, prefix lists, and sources that cannot be read.
    pub other_ingress: usize,
}

impl ListedGroup {
    /// One of which no more than this is known.
    pub fn bare(kind: &'static Kind, id: String, name: String, tags: BTreeMap<String, String>) -> Self {
        Self { kind, id, name, network: None, tags, permissions: Vec::new(), other_ingress: 0 }
    }
}

#[async_trait]
pub trait Discovery: Send + Sync {
    /// Lists the targets that the caller can see, or those of them that `meant` selects, by name, then id.
    ///
    /// # Errors
    /// They could not be listed whole, or the provider listed others than those asked for.
    async fn groups(&self, meant: Option<&Selector>) -> Result<Vec<ListedGroup>, Failure>;

    /// Lists the regions that are enabled for the account; never none.
    ///
    /// # Errors
    /// The provider did not say.
    async fn regions(&self) -> Result<BTreeSet<String>, Failure>;

    /// Reads every target of the account and region that has a rule tagged as `eg`'s, with these rules alone. The keys
    /// are like `like` in everything but the id.
    ///
    /// # Errors
    /// The rules could not be read whole: nothing is known of any target.
    async fn marked(&self, like: &TargetKey) -> Result<BTreeMap<TargetKey, ReadResult>, Failure>;
}
