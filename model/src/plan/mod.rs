//! The plan: what takes an observation to what is wanted. Pure, sorted, silent.
//!
//! [`plan_target`] looks at one target; a pass plans every target, each by itself. Wants are always computed from
//! *all* live sessions, so one session's end never takes a rule that another still needs.
//!
//! # Wanted permissions
//!
//! | observed rule for it | step |
//! |---|---|
//! | none | [`Step::Authorize`], one call per (session, expiry) |
//! | ours: the ledger holds its id, or it carries our fitting lease tag | keep; [`LedgerStep::Adopt`] if the ledger lacks the id, or we are joining it; [`Step::Retag`] if our tag differs from the latest expiry |
//! | the same, our tag says a later time that we have not written, and a copy of this record is in use ([`PlanContext::twin`]) | keep: the later time stands, or each would write its own for ever |
//! | ours by id, tags stripped, or `eg:session` names another session than its description | [`Step::Restore`], once a reading is settled; reported |
//! | ours by id, permission edited | [`Step::Revoke`], then authorized anew by the next plan |
//! | ours by id for another permission, edited into this one | wait for that lease to revoke it |
//! | our tag, or marked and the id that the ledger holds is from an answer, but that id is another and the reading is not settled | keep the known id |
//! | ours, but we had left it | [`Step::Join`] |
//! | marked, without our lease (held by others, expired, or by nobody) | [`Step::Join`], after [`Step::MakeRoom`] if its tags are full; held only once seen with our tag, ours by id from then on |
//! | anything else | covered: nothing to do, never touched |
//!
//! What a session only keeps until it is open at its new address ([`Session::keeps`]) is held like any other wanted
//! permission while its rule is there, and is treated as wanted no more when it is not: nothing opens it anew.
//!
//! # Leases that nobody wants any more
//!
//! | observed | step |
//! |---|---|
//! | never attempted | [`LedgerStep::Close`] |
//! | no rule of ours, reading settled | [`LedgerStep::Close`] |
//! | our tag, unexpired, on a rule that has lost its marks | wait: an installation that knows the rule may mark it again |
//! | our tag on a rule that no marks can make `eg`'s | as if it were not there |
//! | no rule of ours, not settled | wait: a delayed call can still land, or the reading is stale |
//! | the same, and every call that was to open it was refused | wait, and say nothing: no session waits for it |
//! | our tag on another rule than the known one, which is seen too, or the reading is not settled | [`Step::Collect`] for that rule, first; the lease stays open |
//! | the same, seen both, and others hold that rule | [`LedgerStep::Adopt`] it: the known one is displaced, and closed first |
//! | its rule, which we were joining, without marks, not settled | wait: its tags may not show yet |
//! | its rule, which we were joining, held by another without our tag, settled | [`LedgerStep::Close`] |
//! | its rule, held by another installation's unexpired lease | [`Step::Leave`] |
//! | its rule, held by nobody else | [`Step::Revoke`] |
//! | left: held by another without our tag, settled | [`LedgerStep::Close`] |
//! | left: our tag still there, settled | [`Step::Leave`] again |
//! | left: held by nobody | [`Step::Revoke`], or two that leave at once would orphan it |
//! | left: not seen, not settled | wait, and say nothing: nobody waits for it |
//! | target gone (confirmed) | [`LedgerStep::Close`] |
//!
//! # Rules that are in nobody's way
//!
//! | observed | step |
//! |---|---|
//! | our lease tag, no row in the ledger, unexpired | left and reported: it closes by its own tag |
//! | marks fit, every lease expired, or none left, and not wanted | [`Step::Collect`], if allowed |
//! | once proved ours, not wanted, its lease cannot be read, and no lease of others is left on it | [`Step::Collect`], by its id, allowed or not |
//! | once proved ours, edited by hand, and its lease knows another rule by now | [`Step::Collect`], before that other rule is closed; until then its lease stays open |
//! | marked, and the marks do not fit: see [`Misfit`](crate::tags::Misfit) | never touched, always reported |
//! | not marked | not ours; not even looked at |
//!
//! *Marked* is a rule whose marks [`Marks::fit`](crate::tags::Marks::fit) calls genuine: where the record does not hold
//! its id, its description has to name the session of its tag, and its network has to be one that `eg` can open. The
//! same holds for our lease tag on a rule that the record does not know: somebody else may have put it there.
//!
//! "Left" is a lease in phase [`Leaving`](crate::lease::Phase::Leaving), whether its rule was left to others or was
//! hidden when the one opened in its place was closed ([`hidden_rule`](crate::lease::hidden_rule)).
//!
//! # Expiry schedules
//!
//! Only where the kind has them, and where one is configured for the target's account or still on record.
//!
//! | rule | its expiry schedule | step |
//! |---|---|---|
//! | held by us and wanted, or just left to others | not read yet | read it ([`TargetPlan::unread`]), then plan again |
//! | the same | fires at the end of the rule's latest unexpired lease, ours, others' and a twin's | keep; [`LedgerStep::KnowAutoClose`] if the record says otherwise |
//! | the same, without its marks | fires later than that | keep: it may be there for others, whose leases do not show |
//! | the same | absent, at another time, or not as it should be | [`Step::SetAutoClose`] |
//! | the same | cannot be read, and the record does not say that it is right | [`Step::SetAutoClose`] |
//! | known to no lease of ours any more | on record, must have fired | [`LedgerStep::ForgetAutoClose`] |
//! | the same, another was opened in its place, not settled | on record | wait: it may be gone and show, or be hidden |
//! | the same, and gone | on record | [`Step::DropAutoClose`]; once more after the settle window where an attempt to set it may still land ([`AutoClose::may_still_land`]) |
//! | the same, and held by others | on record | [`LedgerStep::ForgetAutoClose`]: it is its holders' |
//! | the same, and held by nobody | on record | wait: it is to be closed, by the expiry schedule if by nobody else |
//!
//! They come after everything else, so that closing never waits for them.
//!
//! A rule whose revoke was confirmed within the settle window and that still shows is a stale reading, and is
//! looked through: rule ids are never reused.

pub mod auto_close;
pub mod describe;
pub mod target;
pub mod wants;

pub use crate::plan::auto_close::auto_close_unset;
pub use target::{plan_target, standing_without_rule};
pub use wants::{Want, Wants, wants};

use crate::{
    Timestamp,
    auto_close::{AutoClose, AutoCloseRoute, AutoCloseSeen},
    ids::{InstallationId, LeaseId, RuleId, SessionId},
    lease::Lease,
    net::permission::Permission,
    observation::{Observation, OwnedRule},
    session::record::{Session, Standing},
    target::{Capabilities, TargetKey},
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What the plan may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanPolicy {
    /// Open anything new. False with a bad configuration: closing goes on from the record alone.
    pub open: bool,
    /// Revoke marked rules whose every lease has expired, whoever opened them.
    pub collect: bool,
    /// Look past [`Lease::next_try_at`]: a person started this pass.
    pub ignore_delays: bool,
}

/// Everything that is the same for all targets of a pass.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    /// The local clock.
    pub now: Timestamp,
    /// Who we are.
    pub installation: &'a InstallationId,
    /// Every live session.
    pub sessions: &'a [Session],
    /// Every open lease.
    pub leases: &'a [Lease],
    /// Rules whose revoke was confirmed lately, and when.
    pub revoked: &'a BTreeMap<RuleId, Timestamp>,
    /// Rules that an answer, our tag or a join once proved to be ours, each with what it was opened for, and whose
    /// revoke is not confirmed. An open lease may know another rule by now.
    pub opened: &'a BTreeMap<RuleId, Permission>,
    /// Another `eg` with this installation's id is at work: a copy of this record, on a machine that cannot be told from
    /// this one. It has written other times into our tags again and again ([`crate::twin`]).
    pub twin: bool,
    /// What may be done.
    pub policy: PlanPolicy,
}

/// One target as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct TargetView<'a> {
    /// Which.
    pub key: &'a TargetKey,
    /// What its kind can do.
    pub capabilities: Capabilities,
    /// What was seen.
    pub observation: &'a Observation,
    /// The record has a lease here that cannot be read: what it holds is known from [`PlanContext::opened`] alone.
    pub unreadable: bool,
    /// Expiry schedules; `None` where they are of no concern.
    pub auto_closes: Option<AutoCloseView<'a>>,
}

/// What is known of a target's expiry schedules.
#[derive(Clone, Copy, Debug)]
pub struct AutoCloseView<'a> {
    /// Where new ones are set; `None`: none is configured for the target's account.
    pub way: Option<&'a AutoCloseRoute>,
    /// What is on record, of any target.
    pub rows: &'a [AutoClose],
    /// Set what lacks its expiry schedule, whatever [`AutoClose::next_try_at`] says: a person started this pass, and none was tried in
    /// it yet.
    pub ignore_delays: bool,
    /// What the provider shows, as far as it was read.
    pub seen: &'a BTreeMap<RuleId, AutoCloseSeen>,
}

/// One change at a provider. The order of the variants is the order of execution on a target: open before close.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Delete others' expired lease tags, so that ours fits.
    MakeRoom {
        /// The rule.
        rule: OwnedRule,
        /// Keys and values, oldest first.
        tags: BTreeMap<String, String>,
    },
    /// Add our lease tag to a marked rule.
    Join {
        /// The rule.
        rule: OwnedRule,
        /// The session with the latest expiry.
        session: SessionId,
        /// Until when.
        until: Timestamp,
    },
    /// Write all our tags again on a rule that is ours by id and lost some.
    Restore {
        /// The rule.
        rule: OwnedRule,
        /// The session with the latest expiry.
        session: SessionId,
        /// Until when.
        until: Timestamp,
        /// What `eg:session` says: the session that the rule's description names.
        opener: String,
    },
    /// Open permissions in one call.
    Authorize {
        /// The session with the latest expiry.
        session: SessionId,
        /// Until when.
        until: Timestamp,
        /// What, sorted.
        permissions: Vec<Permission>,
    },
    /// Rewrite our lease tag on rules that we hold, in one call.
    Retag {
        /// Until when.
        until: Timestamp,
        /// The rules, sorted.
        rules: Vec<OwnedRule>,
    },
    /// Delete our lease tag from a rule that others hold.
    Leave {
        /// The rule.
        rule: OwnedRule,
        /// What our tag says now.
        value: String,
    },
    /// Close rules of ours, in one call, by id.
    Revoke {
        /// The rules, sorted.
        rules: Vec<OwnedRule>,
    },
    /// Close marked rules that nobody holds, in one call, by id.
    Collect {
        /// The rules, sorted.
        rules: Vec<OwnedRule>,
    },
    /// Make the provider close a rule by itself at the end of its latest lease.
    SetAutoClose {
        /// The rule.
        rule: OwnedRule,
        /// When.
        at: Timestamp,
        /// Where it is kept, and as whom it acts.
        way: AutoCloseRoute,
    },
    /// Delete the expiry schedule of a rule that is gone.
    DropAutoClose {
        /// The rule that was.
        rule: RuleId,
        /// What it was opened for.
        permission: Permission,
        /// Where it is kept.
        way: AutoCloseRoute,
    },
}

impl Step {
    /// Whether it opens or prolongs, rather than closes.
    #[must_use]
    pub fn opens(&self) -> bool {
        !matches!(self, Self::Leave { .. } | Self::Revoke { .. } | Self::Collect { .. } | Self::DropAutoClose { .. })
    }

    /// Whether it is the scheduler that carries it out.
    #[must_use]
    pub fn is_of_auto_close(&self) -> bool {
        matches!(self, Self::SetAutoClose { .. } | Self::DropAutoClose { .. })
    }

    /// The rules that it changes; none for an authorize.
    #[must_use]
    pub fn rules(&self) -> &[OwnedRule] {
        match self {
            Self::Authorize { .. } | Self::DropAutoClose { .. } => &[],
            Self::MakeRoom { rule, .. }
            | Self::Join { rule, .. }
            | Self::Restore { rule, .. }
            | Self::Leave { rule, .. }
            | Self::SetAutoClose { rule, .. } => std::slice::from_ref(rule),
            Self::Retag { rules, .. } | Self::Revoke { rules } | Self::Collect { rules } => rules,
        }
    }
}

/// One change in the ledger alone: what an observation has taught us.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::large_enum_variant, reason = "a plan holds a handful of these")]
pub enum LedgerStep {
    /// Our tag was seen on a rule whose id the ledger lacks.
    Adopt {
        /// The permission.
        permission: Permission,
        /// The rule.
        rule: OwnedRule,
        /// What our tag says, where it can be read.
        until: Option<Timestamp>,
    },
    /// Nothing of ours is there any more, and nothing can still land.
    Close {
        /// The lease.
        lease: LeaseId,
    },
    /// A rule's expiry schedule is as it should be, and the record does not say so.
    KnowAutoClose {
        /// The rule.
        rule: RuleId,
        /// What it was opened for.
        permission: Permission,
        /// When it fires.
        at: Timestamp,
        /// Where it is kept, and as whom it acts.
        way: AutoCloseRoute,
    },
    /// The switch on record is spent, or its rule is left to others.
    ForgetAutoClose {
        /// The rule.
        rule: RuleId,
    },
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// The target could not be read.
    Unavailable,
    /// The target is gone.
    Missing,
    /// Our rule was found without its tags.
    Stripped,
    /// Our rule was found edited.
    Edited,
    /// Our tag without a row in the ledger.
    Unledgered,
    /// Marks that do not fit their rule.
    Misfit,
    /// A lease value that cannot be believed.
    OddLease,
    /// The local clock is off.
    ClockSkew,
    /// Something else keeps deleting our rule.
    Contested,
    /// A close that cannot be confirmed yet.
    Closing,
    /// A rule has no room for our tag.
    TagsFull,
    /// A tag of ours still says another time, and rewriting it waits.
    TagBehind,
    /// A rule stays open for somebody else.
    StaysOpen,
    /// A rule would not close by itself: its expiry schedule could not be set.
    AutoCloseUnset,
    /// The user's address has changed, and a session may not follow.
    NotFollowed,
    /// The record says of a session what `eg` cannot have recorded.
    Damaged,
}

impl NoteKind {
    /// The word for JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Missing => "missing",
            Self::Stripped => "stripped",
            Self::Edited => "edited",
            Self::Unledgered => "unledgered",
            Self::Misfit => "misfit",
            Self::OddLease => "odd-lease",
            Self::ClockSkew => "clock-skew",
            Self::Contested => "contested",
            Self::Closing => "closing",
            Self::TagsFull => "tags-full",
            Self::TagBehind => "tag-behind",
            Self::StaysOpen => "stays-open",
            Self::AutoCloseUnset => "switch-unset",
            Self::NotFollowed => "not-followed",
            Self::Damaged => "damaged",
        }
    }

    /// Whether it keeps the pass from being a clean one (exit status 3).
    #[must_use]
    pub fn unconverged(self) -> bool {
        matches!(
            self,
            Self::Unavailable
                | Self::Stripped
                | Self::Edited
                | Self::Closing
                | Self::TagsFull
                | Self::TagBehind
                | Self::AutoCloseUnset
                | Self::Damaged
        )
    }

    /// Whether it is told although a step of the same pass mends it, so that no later plan knows of it.
    #[must_use]
    pub fn outlives_mending(self) -> bool {
        matches!(self, Self::Stripped | Self::Edited | Self::Contested | Self::OddLease)
    }

    /// Whether people should see it without asking (`-v`).
    #[must_use]
    pub fn is_warning(self) -> bool {
        !matches!(self, Self::Closing | Self::TagBehind | Self::StaysOpen)
    }
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// What about.
    pub kind: NoteKind,
    /// In words.
    pub message: String,
}

/// The plan for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPlan {
    /// Which.
    pub target: TargetKey,
    /// What the observation teaches the ledger; first.
    pub ledger: Vec<LedgerStep>,
    /// What to change, in order.
    pub steps: Vec<Step>,
    /// What to tell.
    pub notes: Vec<Note>,
    /// What each wanted permission has come to, before the steps. Those that are not known are left out: what was
    /// recorded stays.
    pub standings: BTreeMap<Permission, Standing>,
    /// When to look again at the latest.
    pub wake: Option<Timestamp>,
    /// Something is wrong that no step mends yet: it was refused lately, and is tried again at [`Self::wake`].
    pub deferred: bool,
    /// Rules whose expiry schedules have to be read before this plan is whole, and where those are kept.
    pub unread: BTreeMap<RuleId, AutoCloseRoute>,
}

impl TargetPlan {
    /// Nothing to do and nothing to say.
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
        }
    }

    /// Nothing to do, neither at the provider nor in the ledger.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.ledger.is_empty()
    }
}

/// A fingerprint of what a set of plans would do: equal digests do the same. 16 hex digits.
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

#[cfg(test)]
mod tests;
