//! Failed calls to a provider: their classes, and the reaction of the reconciler to each.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The meaning of a provider's error for the reconciler. Each provider maps its codes to classes by a table of its own;
/// [`FailureClass::reaction`] maps classes to actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// A definite "no, too fast". Nothing happened.
    Throttled,
    /// A failure of the server that the answer itself calls temporary. The call may have taken effect.
    Transient,
    /// The reading was out of date: the rule is there already, or gone already. Nothing happened.
    Stale,
    /// The target itself is not there (for these credentials).
    Gone,
    /// A quota. Nothing happened.
    Limit,
    /// The caller may not do this. Nothing happened.
    Denied,
    /// The credentials are missing or not valid. Nothing happened.
    Credentials,
    /// The login or the token has expired. Nothing happened.
    Expired,
    /// The profile that is named does not exist. Nothing happened.
    NoProfile,
    /// The request is wrong in itself. Nothing happened.
    Invalid,
    /// This machine's policy forbids it: nothing was sent.
    Barred,
    /// This machine cannot send it, for lack of CA certificates. Nothing happened.
    Local,
    /// A program, a right or a file of this host is not as the firewall needs it. Nothing happened.
    Host,
    /// No answer, or an unintelligible one. The call may take effect, now or later.
    Unknown,
}

/// The reaction of the reconciler to a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Send it again in this pass, after a short delay.
    RetryNow,
    /// Read the target again and plan anew.
    Reobserve,
    /// Record it and try again in a later pass.
    RetryLater,
    /// Nothing more can be done with these credentials in this pass.
    Stop,
}

impl FailureClass {
    /// The one table from class to action.
    ///
    /// | class | action | did it perhaps happen? |
    /// |---|---|---|
    /// | Throttled | retry now | no |
    /// | Transient, Unknown | re-observe | perhaps |
    /// | Stale | re-observe | no |
    /// | Gone, Limit, Denied, Invalid, Barred, Host | retry later | no |
    /// | Credentials, Expired, NoProfile, Local | stop | no |
    pub fn reaction(self) -> Reaction {
        match self {
            Self::Throttled => Reaction::RetryNow,
            Self::Transient | Self::Unknown | Self::Stale => Reaction::Reobserve,
            Self::Gone | Self::Limit | Self::Denied | Self::Invalid | Self::Barred | Self::Host => Reaction::RetryLater,
            Self::Credentials | Self::Expired | Self::NoProfile | Self::Local => Reaction::Stop,
        }
    }

    /// True if the call may have taken effect, now or later.
    pub fn outcome_unknown(self) -> bool {
        matches!(self, Self::Transient | Self::Unknown)
    }

    /// True if a batch refused with this class is sent again one item a call: one item is at fault, not the caller or
    /// the service.
    pub fn splits_batch(self) -> bool {
        matches!(self, Self::Stale | Self::Limit | Self::Invalid | Self::Gone | Self::Barred)
    }

    /// True if a grant with this failure is FAILED (the user has to act) rather than PENDING (it passes).
    pub fn fails_grant(self) -> bool {
        matches!(
            self,
            Self::Gone
                | Self::Limit
                | Self::Denied
                | Self::Credentials
                | Self::Expired
                | Self::NoProfile
                | Self::Invalid
                | Self::Barred
                | Self::Local
                | Self::Host
        )
    }

    /// True if the credentials are at fault.
    pub fn is_of_credentials(self) -> bool {
        matches!(self, Self::Credentials | Self::Expired | Self::NoProfile)
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Throttled => "throttled",
            Self::Transient => "temporary failure",
            Self::Stale => "changed meanwhile",
            Self::Gone => "not found",
            Self::Limit => "quota reached",
            Self::Denied => "not permitted",
            Self::Credentials | Self::Expired | Self::NoProfile => "credentials not usable",
            Self::Invalid => "refused as invalid",
            Self::Barred => "not allowed on this machine",
            Self::Local => "not sent",
            Self::Host => "not possible on this host",
            Self::Unknown => "no usable answer",
        })
    }
}

/// One failed call, classified, with the provider's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub class: FailureClass,
    /// The provider's error code (`RulesPerSecurityGroupLimitExceeded`), empty when there was no answer.
    pub code: String,
    /// The attempted call, and the provider's words last.
    pub message: String,
    /// The provider's request id, if the answer had one.
    pub request_id: Option<String>,
    /// The purpose of the call, if the reconciler made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
}

/// The purpose of a call. A lease keeps its last refusal, of a call of any purpose. Only a refusal to tag explains a
/// tag that is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    Open,
    /// Change a rule's tags, except to let go of it.
    Tag,
    /// Close a rule, or let go of it.
    Close,
}

impl Failure {
    /// A failure without a provider's code or request id.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, code: String::new(), message: message.into(), request_id: None, purpose: None }
    }

    /// Sets the purpose of the call.
    #[must_use]
    pub fn of(self, purpose: Purpose) -> Self {
        Self { purpose: Some(purpose), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.message)
    }
}

impl std::error::Error for Failure {}
