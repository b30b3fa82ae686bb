//! The one error that ends a command, the exit statuses, and the one table of advice.

use crate::config::{policy::NotAllowed, policy_file::PolicyError};
use eg_model::failure::{Failure, FailureClass};
use eg_state::StateError;
use std::{fmt, process::ExitCode};

/// The exit status of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// What was asked is in place.
    Done,
    Failed,
    Usage,
    /// Part is in place or not known yet, and `eg` keeps trying.
    Partial,
    /// The lock was not had in time; the intent is recorded.
    Locked,
    /// The signal that ended the command.
    Signal(u8),
    /// The status of the command that `eg sandbox` or `eg session run` ran.
    Command(u8),
}

impl Exit {
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Locked => 4,
            Self::Signal(number) => 128_u8.saturating_add(number),
            Self::Command(status) => status,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The kind of an error; its word is part of the JSON contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Usage,
    Config,
    /// The limits that this machine's administrator has set.
    Policy,
    State,
    Detection,
    /// No such session, or nothing to act on.
    NotFound,
    /// An id prefix that fits several sessions.
    Ambiguous,
    /// The session's status does not allow it.
    Refused,
    Clock,
    /// Another `eg` holds the lock.
    Locked,
    /// The watchdog ended a pass that made no progress.
    Stalled,
    Provider,
    /// A scheduler of this machine.
    Schedule,
    /// The sandbox, or what was shown in it.
    Sandbox,
    /// A host behind a firewall that was opened.
    Unreachable,
    /// A session that should be closed is not.
    StillOpen,
    /// The command that `eg` should run did not start; holds the status that a shell would give.
    Command(u8),
    Signal(u8),
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Policy => "policy",
            Self::State => "state",
            Self::Detection => "detection",
            Self::NotFound => "not-found",
            Self::Ambiguous => "ambiguous",
            Self::Refused => "refused",
            Self::Clock => "clock",
            Self::Locked => "locked",
            Self::Stalled => "stalled",
            Self::Provider => "provider",
            Self::Schedule => "schedule",
            Self::Sandbox => "sandbox",
            Self::Unreachable => "unreachable",
            Self::StillOpen => "still-open",
            Self::Command(_) => "command",
            Self::Signal(_) => "signal",
        }
    }

    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Self::Usage => Exit::Usage,
            Self::Locked => Exit::Locked,
            Self::StillOpen | Self::Stalled => Exit::Partial,
            Self::Signal(number) => Exit::Signal(number),
            Self::Command(status) => Exit::Command(status),
            _ => Exit::Failed,
        }
    }
}

/// The reason why a command did not do what was asked, and what to do next.
#[derive(Clone, Debug)]
pub struct CommandError {
    pub kind: Kind,
    /// The failure and its cause; a provider's or library's own words last.
    pub message: String,
    pub hints: Vec<String>,
}

impl CommandError {
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// A signal ended the command; `left` tells what stays or was done.
    #[must_use]
    pub fn stopped_by(number: u8, left: &str) -> Self {
        Self::new(Kind::Signal(number), format!("stopped by a signal; {left}"))
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CommandError {}

impl From<StateError> for CommandError {
    fn from(error: StateError) -> Self {
        let full = matches!(error, StateError::Full { .. });
        let free = || "free some space; nothing was opened, and what is open is still on record".to_owned();
        let advice = if full { Some(free()) } else { error.advice() };
        Self { kind: Kind::State, message: error.to_string(), hints: advice.into_iter().collect() }
    }
}

impl From<PolicyError> for CommandError {
    fn from(error: PolicyError) -> Self {
        let hint = error.advice();
        Self::new(Kind::Policy, format!("{error}; nothing is opened, and closing goes on")).hint(hint)
    }
}

impl From<NotAllowed> for CommandError {
    fn from(error: NotAllowed) -> Self {
        Self::new(Kind::Policy, error.to_string()).hint("whoever administers this machine has set that; see: eg doctor")
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::new(Kind::Provider, failure.to_string()).hint(advice(failure.class, Doing::Reconciling))
    }
}

/// The work that a provider's failure has kept from being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Reading, opening and closing for sessions: `eg reconcile` tries again by itself.
    Reconciling,
    /// Setting the expiry schedule of a rule: the resource is not at fault.
    SettingExpiry,
    /// Reading expiry schedules, for `eg doctor`.
    ReadingExpiry,
    /// Making roles and schedule groups, for `eg setup cloud-expiry`.
    PreparingExpiry,
    /// Asking for the caller, for `eg doctor`.
    AskingCaller,
    /// `eg sweep`, which no reconcile repeats.
    Sweeping,
}

/// The one table of advice: what the user should do next after a failure of this class. A row for each class and work whose
/// advice is not the common one, which the model keeps because its notes carry it.
#[must_use]
pub fn advice(class: FailureClass, doing: Doing) -> &'static str {
    use Doing::{AskingCaller, PreparingExpiry, ReadingExpiry, SettingExpiry, Sweeping};
    use FailureClass as Class;
    match (doing, class) {
        (_, Class::Local) | (Doing::Reconciling, _) => class.advice(),

        (SettingExpiry, Class::Gone) => "make the schedule group with: eg setup cloud-expiry --apply",
        (SettingExpiry, Class::Invalid) => {
            "see whether the role is there, and for the scheduler to take: eg setup cloud-expiry prints it (one that was made \
             just now takes a minute)"
        }
        (SettingExpiry, Class::Limit) => {
            "delete schedules that are no longer needed, or ask the provider for a higher quota"
        }
        (ReadingExpiry, Class::Denied) => "give the credentials the permissions that this prints: eg iam-policy",
        (ReadingExpiry, Class::Gone) => "make the schedule group, and the rest, with: eg setup cloud-expiry --apply",
        (AskingCaller, Class::Unknown | Class::Transient) => {
            "check the network, a proxy, and that the region exists; then: eg doctor"
        }
        (SettingExpiry | ReadingExpiry | AskingCaller, _) => class.advice(),

        (PreparingExpiry, Class::Invalid) => {
            "change it to what `eg setup cloud-expiry` prints (a stack: with --format cloudformation), or choose another \
             name with --role-name"
        }
        (PreparingExpiry, Class::Limit) => {
            "the same again changes nothing; where the role's policy is too long (IAM takes 10,240 characters), name fewer \
             groups with --only, or take those that are gone out of it; other quotas: Service Quotas"
        }
        (PreparingExpiry, _) => "run it again: it goes on where it stopped",

        (Sweeping, Class::Denied) => "give the credentials the permissions that `eg iam-policy --sweep` prints",
        (Sweeping, Class::Expired) => "log in again (for SSO: aws sso login), then run eg sweep again",
        (Sweeping, Class::Credentials) => "correct these credentials, then run eg sweep again",
        (Sweeping, Class::Gone | Class::Invalid | Class::Limit | Class::Barred | Class::NoProfile) => {
            "check the region and the profile, then run eg sweep again"
        }
        (Sweeping, Class::Throttled | Class::Transient | Class::Stale | Class::Unknown) => {
            "run eg sweep again: it finds out by itself"
        }
    }
}
