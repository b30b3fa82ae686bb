//! The one error that ends a command, the exit statuses, and the one table of advice.

use crate::{
    host::{child::NotRun, lock::LockError, paths::PathError},
    ui::{printer::ErrorText, prompt::Unanswered},
};
use eg_config::{
    file::ConfigError,
    policy::{NotAllowed, PolicyError},
    trusted_file::ReadError,
};
use eg_model::{
    failure::{Failure, FailureClass},
    plan::{Note, NoteKind, Step},
};
use eg_state::StateError;
use std::{fmt, process::ExitCode};

/// The exit status of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// The request is carried out.
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

    /// After a reading of several places, some of which could not be read.
    pub fn after_reading(unread: usize, all: usize) -> Self {
        match unread {
            0 => Self::Done,
            _ if unread == all => Self::Failed,
            _ => Self::Partial,
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
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// A signal ended the command; `left` tells what stays or was done.
    pub fn stopped_by(number: u8, left: &str) -> Self {
        Self::new(Kind::Signal(number), format!("stopped by a signal; {left}"))
    }

    /// Adds a hint.
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

impl<'e> From<&'e CommandError> for ErrorText<'e> {
    fn from(error: &'e CommandError) -> Self {
        Self { kind: error.kind.as_str(), message: &error.message, hints: &error.hints }
    }
}

impl From<Unanswered> for CommandError {
    fn from(reason: Unanswered) -> Self {
        let kind = match reason {
            Unanswered::Signals(_) => Kind::State,
            Unanswered::Stopped(number) => Kind::Signal(number),
            Unanswered::Left => Kind::Refused,
            Unanswered::Unreadable(_) | Unanswered::Unfit(_) => Kind::Usage,
        };
        let error = Self::new(kind, reason.to_string());
        if matches!(reason, Unanswered::Unreadable(_)) {
            return error.hint("give every answer as a flag: see --help");
        }
        error
    }
}

impl From<StateError> for CommandError {
    fn from(error: StateError) -> Self {
        let full = matches!(error, StateError::Full { .. });
        let free = || "free some space; nothing was opened, and what is open is still on record".to_owned();
        let advice = if full { Some(free()) } else { error.advice() };
        Self { kind: Kind::State, message: error.to_string(), hints: advice.into_iter().collect() }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        let new = Self::new(Kind::Config, error.to_string());
        match error {
            ConfigError::Unreadable { error: ReadError::Untrusted(untrusted), .. } => new.hint(untrusted.mend),
            ConfigError::Unreadable { error, .. } => {
                let new = new.hint("name another with --config or EG_CONFIG");
                if error == ReadError::Absent { new.hint("or create it: eg init") } else { new }
            }
            ConfigError::Malformed(error) => error.mend.into_iter().fold(new, Self::hint),
            ConfigError::Unfit(error) => {
                let accepted = if error.accepted.is_empty() { "a valid configuration" } else { &error.accepted };
                let accepted = format!("accepted: {accepted}; nothing was changed");
                error.mend.into_iter().chain([accepted]).fold(new, Self::hint)
            }
            ConfigError::Exists(_) | ConfigError::Unwritable { .. } => new,
        }
    }
}

impl From<PathError> for CommandError {
    fn from(error: PathError) -> Self {
        let hint = match &error {
            PathError::Garbled { name, .. } => format!("set {name} to a path that is UTF-8"),
            PathError::NoHome { xdg, var, .. } => format!("set HOME, {xdg} or {var}"),
        };
        Self::new(Kind::State, error.to_string()).hint(hint)
    }
}

impl From<LockError> for CommandError {
    fn from(error: LockError) -> Self {
        let kind = match error {
            LockError::Unusable { .. } => Kind::State,
            LockError::Busy(_) | LockError::Stalled(_) => Kind::Locked,
            LockError::Signal(number) => Kind::Signal(number),
            LockError::NoProgress { .. } => Kind::Stalled,
        };
        Self { kind, message: error.to_string(), hints: error.remedy() }
    }
}

impl From<NotRun> for CommandError {
    fn from(error: NotRun) -> Self {
        Self::new(Kind::Command(error.status), error.to_string())
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
        Self::new(Kind::Policy, error.to_string()).hint(advice(FailureClass::Barred))
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::new(Kind::Provider, failure.to_string()).hint(advice(failure.class))
    }
}

/// The next thing for the user to do after a failed call, in one sentence.
pub fn advice(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Throttled => "the provider limits the rate of calls; `eg reconcile` tries again by itself",
        FailureClass::Transient => "the provider failed; try again later (`eg reconcile` does so by itself)",
        FailureClass::Stale => {
            "somebody else changes this target at the same time; `eg reconcile` tries again by itself"
        }
        FailureClass::Gone => "check the resource's id, region and profile in the configuration",
        FailureClass::Limit => "remove rules that are no longer needed, or ask the provider for a higher quota",
        FailureClass::Denied => "give the credentials the permissions that `eg iam-policy` prints",
        FailureClass::Credentials => {
            "correct these credentials, or use others: `profile` on the resource, or AWS_PROFILE"
        }
        FailureClass::Expired => "log in again (for SSO: aws sso login)",
        FailureClass::NoProfile => "correct the name: `profile` on the resource, or AWS_PROFILE",
        FailureClass::Invalid => "check the resource's ports and id in the configuration",
        FailureClass::Barred => "the machine's administrator has set that; see: eg doctor",
        FailureClass::Local => "install the package ca-certificates, or set SSL_CERT_FILE to a file of CA certificates",
        FailureClass::Host => "mend that on this host: docs/firewalls.md says what eg needs there",
        FailureClass::Unknown => "try again later (`eg reconcile` does so by itself, and finds out what has happened)",
    }
}

/// Work with advice of its own, beside that of reading, opening and closing for sessions, which `eg reconcile` repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Setting the expiry schedule of a rule: the resource is not at fault.
    SettingExpiry,
    /// Planning without an expiry schedule, since one could not be set before.
    MissingExpiry,
    /// Tagging a rule that has lost its marks.
    Restoring,
    /// Reading expiry schedules, for `eg doctor`.
    ReadingExpiry,
    /// Making roles and schedule groups, for `eg setup cloud-expiry`.
    PreparingExpiry,
    /// Asking for the caller, for `eg doctor`.
    AskingCaller,
    /// `eg sweep`, which no reconcile repeats.
    Sweeping,
}

/// [`advice`] after a call for this work: the one table of work x class.
pub fn advice_for(work: Work, class: FailureClass) -> &'static str {
    use FailureClass as Class;
    match (work, class) {
        (_, Class::Local) => advice(class),

        (Work::SettingExpiry, Class::Gone) => "make the schedule group with: eg setup cloud-expiry --apply",
        (Work::SettingExpiry, Class::Invalid) => {
            "check that the role exists and that the scheduler may assume it: eg setup cloud-expiry prints it (a new role \
             needs a minute)"
        }
        (Work::MissingExpiry, Class::Denied | Class::Gone | Class::Invalid) => {
            "`eg setup cloud-expiry` prints what this needs"
        }
        (Work::SettingExpiry | Work::MissingExpiry, Class::Limit) => {
            "delete schedules that are no longer needed, or ask the provider for a higher quota"
        }
        (Work::ReadingExpiry, Class::Denied) => "give the credentials the permissions that this prints: eg iam-policy",
        (Work::ReadingExpiry, Class::Gone) => {
            "make the schedule group, and the rest, with: eg setup cloud-expiry --apply"
        }
        (Work::Restoring, Class::Denied) => {
            "to let eg tag such rules again, add the statement that `eg iam-policy --restore` prints"
        }
        (Work::AskingCaller, Class::Unknown | Class::Transient) => {
            "check the network, a proxy, and that the region exists; then: eg doctor"
        }
        (Work::PreparingExpiry, Class::Invalid) => {
            "change it to what `eg setup cloud-expiry` prints (a stack: with --format cloudformation), or choose another \
             name with --role-name"
        }
        (Work::PreparingExpiry, Class::Limit) => {
            "running it again will not help: if the role's policy is too long (IAM allows 10,240 characters), name fewer \
             groups with --only, or remove groups that are gone; for other quotas see Service Quotas"
        }
        (Work::PreparingExpiry, _) => "run it again: it continues where it stopped",

        (Work::Sweeping, Class::Denied) => "give the credentials the permissions that `eg iam-policy --sweep` prints",
        (Work::Sweeping, Class::Expired) => "log in again (for SSO: aws sso login), then run eg sweep again",
        (Work::Sweeping, Class::Credentials) => "correct these credentials, then run eg sweep again",
        (Work::Sweeping, Class::Gone | Class::Invalid | Class::Limit | Class::Barred | Class::NoProfile) => {
            "check the region and the profile, then run eg sweep again"
        }
        (Work::Sweeping, _) => "run eg sweep again: it reads everything anew",

        (_, class) => advice(class),
    }
}

/// [`advice`] after a refused step.
pub fn step_advice(step: &Step, class: FailureClass) -> &'static str {
    if matches!(step, Step::Restore { .. }) { advice_for(Work::Restoring, class) } else { advice(class) }
}

/// A note of a plan with the advice for its failure. The class stays: it tells the same failure in other words from a new one.
pub fn with_advice(note: &Note) -> Note {
    let advice = note.class.map(|class| match note.kind {
        NoteKind::AutoCloseUnset => advice_for(Work::MissingExpiry, class),
        _ => advice(class),
    });
    let advice = advice.map(|advice| format!(" ({advice})")).unwrap_or_default();
    Note { message: format!("{}{advice}", note.message), ..note.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_ends_with_the_advice_for_its_failure() {
        let note = |kind, class, text: &str| Note { class, ..Note::new(kind, text.to_owned()) };
        for (kind, class, text) in [
            (NoteKind::AutoCloseUnset, Some(FailureClass::Denied), "`eg setup cloud-expiry` prints what this needs"),
            (NoteKind::AutoCloseUnset, Some(FailureClass::Transient), advice(FailureClass::Transient)),
            (NoteKind::Unavailable, Some(FailureClass::Denied), advice(FailureClass::Denied)),
        ] {
            assert_eq!(with_advice(&note(kind, class, "it failed")), note(kind, class, &format!("it failed ({text})")));
        }
        let plain = note(NoteKind::Misfit, None, "it is left alone");
        assert_eq!(with_advice(&plain), plain);
    }
}
