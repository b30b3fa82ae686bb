//! One reading of the firewalls behind one route.

use crate::{Connect, Firewall, ReadResult};
use eg_model::{
    failure::{Failure, FailureClass},
    target::{Target, TargetKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub struct BatchReading {
    /// The connection; `None` if the route leads nowhere.
    pub firewall: Option<Arc<dyn Firewall>>,
    results: BTreeMap<TargetKey, ReadResult>,
}

impl BatchReading {
    pub fn result(&self, key: &TargetKey) -> ReadResult {
        let left_out = || ReadResult::Unavailable(Failure::new(FailureClass::Unknown, "the answer leaves it out"));
        self.results.get(key).cloned().unwrap_or_else(left_out)
    }
}

/// Reads targets that one client serves ([`Target::regional`]), in one series of calls.
pub async fn read_batch(connect: &dyn Connect, batch: &[Target]) -> BatchReading {
    let keys: BTreeSet<TargetKey> = batch.iter().map(|target| target.key.clone()).collect();
    let Some(first) = batch.first() else { return BatchReading { firewall: None, results: BTreeMap::new() } };
    match connect.connect(first).await {
        Ok(firewall) => {
            let results = firewall.observe(&keys).await;
            BatchReading { firewall: Some(firewall), results }
        }
        Err(failure) => {
            let unread = |key| (key, ReadResult::Unavailable(failure.clone()));
            BatchReading { firewall: None, results: keys.into_iter().map(unread).collect() }
        }
    }
}
