//! Managed prefix lists: versions of their entries, and changes that take a while (VPC User Guide, "Work with
//! customer-managed prefix lists").

use crate::tag_history::{Tags, retag};
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};

/// The states of a list (EC2 API reference, `ManagedPrefixList`, `state`), as far as the sandbox has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListState {
    CreateInProgress,
    CreateComplete,
    ModifyInProgress,
    ModifyComplete,
    ModifyFailed,
}

impl ListState {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateInProgress => "create-in-progress",
            Self::CreateComplete => "create-complete",
            Self::ModifyInProgress => "modify-in-progress",
            Self::ModifyComplete => "modify-complete",
            Self::ModifyFailed => "modify-failed",
        }
    }

    pub(crate) fn in_progress(self) -> bool {
        matches!(self, Self::CreateInProgress | Self::ModifyInProgress)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixListEntry {
    /// Without host bits.
    pub cidr: IpNet,
    pub description: Option<String>,
}

/// A change that was accepted and is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListChange {
    pub(crate) due: DateTime<Utc>,
    /// The next version's entries, or the message of a change that fails.
    pub(crate) result: Result<Vec<PrefixListEntry>, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixList {
    /// `pl-…`.
    pub id: String,
    pub name: String,
    pub account: String,
    pub region: String,
    pub ipv6: bool,
    pub max_entries: usize,
    pub version: i64,
    pub state: ListState,
    pub state_message: Option<String>,
    pub tags: Tags,
    /// Other accounts that see the list (Resource Access Manager).
    pub shared_with: BTreeSet<String>,
    pub(crate) earlier_tags: Vec<(DateTime<Utc>, Tags)>,
    pub(crate) change: Option<ListChange>,
    /// The entries of each version.
    pub(crate) versions: BTreeMap<i64, Vec<PrefixListEntry>>,
    /// The version before each change, oldest first, with the time of the change.
    pub(crate) earlier_versions: Vec<(DateTime<Utc>, i64)>,
}

impl PrefixList {
    /// The entries of the current version.
    pub fn entries(&self) -> &[PrefixListEntry] {
        self.versions.get(&self.version).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn is_seen_by(&self, account: &str) -> bool {
        self.account == account || self.account == "AWS" || self.shared_with.contains(account)
    }

    /// Replaces the tags and keeps what they were.
    pub(crate) fn retag(&mut self, tags: Tags, now: DateTime<Utc>) {
        retag(&mut self.tags, &mut self.earlier_tags, tags, now);
    }

    /// Ends a change whose time has come.
    pub(crate) fn settle(&mut self, now: DateTime<Utc>) {
        let Some(change) = self.change.take_if(|change| change.due <= now) else { return };
        match (change.result, self.state) {
            (Ok(_), ListState::CreateInProgress) => self.state = ListState::CreateComplete,
            (Ok(entries), _) => self.begin_version(entries, change.due),
            (Err(message), _) => {
                self.state = ListState::ModifyFailed;
                self.state_message = Some(message);
            }
        }
    }

    fn begin_version(&mut self, entries: Vec<PrefixListEntry>, now: DateTime<Utc>) {
        self.earlier_versions.push((now, self.version));
        self.version += 1;
        self.versions.insert(self.version, entries);
        self.state = ListState::ModifyComplete;
        self.state_message = None;
    }

    /// Changes the entries at once, whatever is in progress, as a change by somebody else that came first would have.
    pub(crate) fn edit_at_once(&mut self, now: DateTime<Utc>, edit: impl FnOnce(&mut Vec<PrefixListEntry>)) {
        self.settle(DateTime::<Utc>::MAX_UTC);
        let mut entries = self.entries().to_vec();
        edit(&mut entries);
        self.begin_version(entries, now);
    }
}
