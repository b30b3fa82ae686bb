//! The marked rules of whole accounts, by region and group.

use eg_model::{
    failure::{Failure, FailureClass},
    observation::Reading,
    target::TargetKey,
};
use eg_providers::{Firewall, Kind, ReadResult};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A region of an account that was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountRegion {
    pub account: String,
    pub region: String,
    /// The profile whose credentials read it.
    pub profile: Option<String>,
}

/// An account, region or group that could not be read. It never counts as empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadRegion {
    pub profile: Option<String>,
    /// The account, if the provider told.
    pub account: Option<String>,
    /// The region; `None` if the account's regions are not known.
    pub region: Option<String>,
    /// The firewall, if the rest of the region could be read.
    pub group: Option<String>,
    /// The kind of all that could not be read, if other kinds of the region could.
    pub kind: Option<&'static Kind>,
    pub failure: Failure,
}

/// A group with marked rules.
pub struct SweepTarget {
    pub place: AccountRegion,
    pub target: TargetKey,
    pub reading: Reading,
    pub firewall: Arc<dyn Firewall>,
}

#[derive(Default)]
pub struct SweepReading {
    pub places: BTreeSet<AccountRegion>,
    pub unread: Vec<UnreadRegion>,
    /// Groups with marked rules, by place.
    pub groups: Vec<SweepTarget>,
}

impl AccountRegion {
    pub(super) fn unread(&self, group: Option<String>, failure: Failure) -> UnreadRegion {
        let Self { account, region, profile } = self.clone();
        UnreadRegion { profile, account: Some(account), region: Some(region), group, kind: None, failure }
    }
}

impl SweepReading {
    pub(super) fn add(
        &mut self,
        place: &AccountRegion,
        firewall: &Arc<dyn Firewall>,
        groups: BTreeMap<TargetKey, ReadResult>,
    ) {
        for (target, result) in groups {
            match result {
                ReadResult::Complete(reading) => {
                    let (place, firewall) = (place.clone(), Arc::clone(firewall));
                    self.groups.push(SweepTarget { place, target, reading, firewall });
                }
                // Nothing there is marked, so nothing there can be found.
                ReadResult::NoReadBack => {}
                ReadResult::Unavailable(failure) => self.unread.push(place.unread(Some(target.id), failure)),
                ReadResult::NotFound { caller } => {
                    let message = ReadResult::absent(&target, caller.as_ref());
                    self.unread.push(place.unread(Some(target.id), Failure::new(FailureClass::Gone, message)));
                }
            }
        }
    }
}
