//! The plan for one target, and the digest of several.

use crate::{
    Timestamp,
    auto_close::AutoCloseRoute,
    ids::RuleId,
    net::permission::Permission,
    plan::{
        note::{Note, NoteKind},
        step::{LedgerStep, Step},
    },
    session::record::Standing,
    target::TargetKey,
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The plan for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPlan {
    /// The target.
    pub target: TargetKey,
    /// Changes of the record that follow from the reading; they come first.
    pub ledger: Vec<LedgerStep>,
    /// Calls to the provider, in order.
    pub steps: Vec<Step>,
    /// Lines for the user, sorted.
    pub notes: Vec<Note>,
    /// The state of each wanted permission before the steps. Unknown ones are left out and keep their recorded state.
    pub standings: BTreeMap<Permission, Standing>,
    /// The latest time for the next pass.
    pub wake: Option<Timestamp>,
    /// A step is left out because its last attempt was refused lately; [`Self::wake`] is the time of the next one.
    pub deferred: bool,
    /// Rules whose expiry schedules the pass has to read before it plans again, with the route to each.
    pub unread: BTreeMap<RuleId, AutoCloseRoute>,
    /// The rows of the plan's tables that applied ([`rows`](super::rows)).
    pub rows: BTreeSet<&'static str>,
}

impl TargetPlan {
    /// A plan without steps and notes.
    #[must_use]
    pub fn empty(target: &TargetKey) -> Self {
        Self {
            target: target.clone(),
            ledger: Vec::new(),
            steps: Vec::new(),
            notes: Vec::new(),
            standings: BTreeMap::new(),
            wake: None,
            deferred: false,
            unread: BTreeMap::new(),
            rows: BTreeSet::new(),
        }
    }

    pub(super) fn note(&mut self, kind: NoteKind, message: String) {
        self.notes.push(Note::new(kind, message));
    }

    pub(super) fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |known| known.min(at)));
    }

    /// True if there is nothing to do, neither at the provider nor on record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.ledger.is_empty()
    }
}

/// A fingerprint of a set of plans, 16 hex digits: plans with equal digests do the same.
#[must_use]
pub fn digest<'a>(plans: impl IntoIterator<Item = &'a TargetPlan>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for plan in plans {
        let TargetKey { provider, kind, endpoint, region, id } = &plan.target;
        let target = format!("{provider} {kind} {} {region} {id}", endpoint.as_deref().unwrap_or("-"));
        lines.extend(plan.steps.iter().map(|step| format!("{target} {step} {}\n", step.fine_print())));
    }
    lines.sort();
    let sum = Sha256::digest(lines.concat().as_bytes());
    sum.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
