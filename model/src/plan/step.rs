//! The steps of a plan: calls to the provider ([`Step`]), and changes of the record alone ([`LedgerStep`]).

use crate::{
    Timestamp,
    auto_close::AutoCloseRoute,
    ids::{LeaseId, RuleId, SessionId},
    net::permission::Permission,
    observation::OwnedRule,
};
use std::collections::BTreeMap;

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
        /// The expiry of that session.
        until: Timestamp,
    },
    /// Write all our tags again on a rule that is ours by id and lost some.
    Restore {
        /// The rule.
        rule: OwnedRule,
        /// The session with the latest expiry.
        session: SessionId,
        /// The expiry of that session.
        until: Timestamp,
        /// The value for `eg:session`: the session that the rule's description names.
        opener: String,
    },
    /// Open permissions in one call.
    Authorize {
        /// The session with the latest expiry.
        session: SessionId,
        /// The expiry of that session.
        until: Timestamp,
        /// The permissions, sorted.
        permissions: Vec<Permission>,
    },
    /// Rewrite our lease tag on rules that we hold, in one call.
    Retag {
        /// The new time in the tag.
        until: Timestamp,
        /// The rules, sorted.
        rules: Vec<OwnedRule>,
    },
    /// Delete our lease tag from a rule that others hold.
    Leave {
        /// The rule.
        rule: OwnedRule,
        /// The present value of our tag.
        value: String,
    },
    /// Close rules of ours, in one call, by id.
    Revoke {
        /// The rules, sorted.
        rules: Vec<OwnedRule>,
    },
    /// Close marked rules that no lease holds, in one call, by id.
    Collect {
        /// The rules, sorted.
        rules: Vec<OwnedRule>,
    },
    /// Take our marks off the container, where no rule of ours is left, in one call.
    Unmark {
        /// The permissions that they name, sorted.
        permissions: Vec<Permission>,
    },
    /// Close a permission of a firewall that cannot be read back, whether or not it is open.
    Undo {
        /// The permission.
        permission: Permission,
    },
    /// Make the provider close a rule by itself at the end of its latest lease.
    SetAutoClose {
        /// The rule.
        rule: OwnedRule,
        /// The time at which it fires.
        at: Timestamp,
        /// Its group and role.
        way: AutoCloseRoute,
    },
    /// Delete the expiry schedule of a rule that is gone.
    DropAutoClose {
        /// The rule that is gone.
        rule: RuleId,
        /// The permission that the rule was opened for.
        permission: Permission,
        /// Its group and role.
        way: AutoCloseRoute,
    },
}

impl Step {
    /// True if it opens or prolongs, rather than closes.
    #[must_use]
    pub fn opens(&self) -> bool {
        !matches!(
            self,
            Self::Leave { .. }
                | Self::Revoke { .. }
                | Self::Collect { .. }
                | Self::Unmark { .. }
                | Self::Undo { .. }
                | Self::DropAutoClose { .. }
        )
    }

    /// True if the provider's scheduler carries it out, not its firewall.
    #[must_use]
    pub fn is_of_auto_close(&self) -> bool {
        matches!(self, Self::SetAutoClose { .. } | Self::DropAutoClose { .. })
    }

    /// The observed rules that it changes. An authorize has none, nor has what closes by permission, and the rule of a
    /// dropped expiry schedule is gone.
    #[must_use]
    pub fn rules(&self) -> &[OwnedRule] {
        match self {
            Self::Authorize { .. } | Self::Unmark { .. } | Self::Undo { .. } | Self::DropAutoClose { .. } => &[],
            Self::MakeRoom { rule, .. }
            | Self::Join { rule, .. }
            | Self::Restore { rule, .. }
            | Self::Leave { rule, .. }
            | Self::SetAutoClose { rule, .. } => std::slice::from_ref(rule),
            Self::Retag { rules, .. } | Self::Revoke { rules } | Self::Collect { rules } => rules,
        }
    }
}

/// One change of the record alone, which follows from a reading.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::large_enum_variant, reason = "a plan holds a handful of these")]
pub enum LedgerStep {
    /// The reading shows our tag on a rule whose id the record lacks.
    Adopt {
        /// The permission.
        permission: Permission,
        /// The rule.
        rule: OwnedRule,
        /// The time in our tag, if it parses.
        until: Option<Timestamp>,
    },
    /// No rule of ours is left, and no call of ours can still land.
    Close {
        /// The lease.
        lease: LeaseId,
    },
    /// A rule's expiry schedule is right, and the record says otherwise.
    KnowAutoClose {
        /// The rule.
        rule: RuleId,
        /// The permission that the rule was opened for.
        permission: Permission,
        /// The time at which it fires.
        at: Timestamp,
        /// Its group and role.
        way: AutoCloseRoute,
    },
    /// The expiry schedule on record has fired, or its rule is left to others.
    ForgetAutoClose {
        /// The rule.
        rule: RuleId,
    },
}
