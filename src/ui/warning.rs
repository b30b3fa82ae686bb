//! The codes of warnings, for programs: part of the JSON contract (`docs/schema/v1/error.json`).

use eg_model::plan::NoteKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A session is open for an address that is no longer the user's.
    AddressChanged,
    Clock,
    /// A rule gets no cloud expiry, or one that may not close it.
    CloudExpiry,
    /// Credentials end too early, or are this shell's alone.
    Credentials,
    /// An endpoint that is not AWS's is used.
    Endpoint,
    /// A session was over before the command that it was opened for.
    Expired,
    /// One address family is not opened.
    FamilyLeftOut,
    /// The guard file beside the record cannot be written.
    Guard,
    /// A resource is removed that a session uses.
    InUse,
    /// The process that holds the lock makes no progress, or no lock can be had: closing goes on without it.
    Lock,
    /// The record was made anew, since the earlier one is gone.
    LostDatabase,
    /// A rule is not known to be closed.
    NotClosed,
    /// The command of `[notify]` did not run, or its run is not on record.
    NotNotified,
    NotOpen,
    /// A port is open by a rule that is not `eg`'s, which stays.
    NotOurs,
    NotRead,
    /// No scheduled job closes sessions.
    NotScheduled,
    /// The result of a finished command cannot be shown.
    NotShown,
    /// An IAM policy or template is wider or larger than expected, or for another account.
    Policy,
    /// Another record is there now.
    Replaced,
    /// The record is a restored backup.
    RestoredBackup,
    /// The sandbox left files or processes behind.
    Sandbox,
    /// The scheduler's jobs are not known, or not all of them are eg's.
    Schedule,
    State,
    /// The time zone is not known.
    TimeZone,
    /// A host was not reached through an open rule.
    Unreachable,
    /// The record cannot be written for now: closing goes on, and is recorded later.
    Unwritable,
    /// A note of a pass, with the note's own word.
    Note(NoteKind),
    /// An error that did not end the command, with the error's own word.
    Error(&'static str),
}

impl Code {
    /// Every code that is not a note's or an error's.
    #[cfg(test)]
    pub const OWN: [Self; 27] = [
        Self::AddressChanged,
        Self::Clock,
        Self::CloudExpiry,
        Self::Credentials,
        Self::Endpoint,
        Self::Expired,
        Self::FamilyLeftOut,
        Self::Guard,
        Self::InUse,
        Self::Lock,
        Self::LostDatabase,
        Self::NotClosed,
        Self::NotNotified,
        Self::NotOpen,
        Self::NotOurs,
        Self::NotRead,
        Self::NotScheduled,
        Self::NotShown,
        Self::Policy,
        Self::Replaced,
        Self::RestoredBackup,
        Self::Sandbox,
        Self::Schedule,
        Self::State,
        Self::TimeZone,
        Self::Unreachable,
        Self::Unwritable,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddressChanged => "address-changed",
            Self::Clock => "clock",
            Self::CloudExpiry => "cloud-expiry",
            Self::Credentials => "credentials",
            Self::Endpoint => "endpoint",
            Self::Expired => "expired",
            Self::FamilyLeftOut => "family-left-out",
            Self::Guard => "guard",
            Self::InUse => "in-use",
            Self::Lock => "lock",
            Self::LostDatabase => "lost-database",
            Self::NotClosed => "not-closed",
            Self::NotNotified => "not-notified",
            Self::NotOpen => "not-open",
            Self::NotOurs => "not-ours",
            Self::NotRead => "not-read",
            Self::NotScheduled => "not-scheduled",
            Self::NotShown => "not-shown",
            Self::Policy => "policy",
            Self::Replaced => "replaced",
            Self::RestoredBackup => "restored-backup",
            Self::Sandbox => "sandbox",
            Self::Schedule => "schedule",
            Self::State => "state",
            Self::TimeZone => "time-zone",
            Self::Unreachable => "unreachable",
            Self::Unwritable => "unwritable",
            Self::Note(kind) => kind.as_str(),
            Self::Error(kind) => kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_schema_names_every_code() {
        let schema: Value = serde_json::from_str(include_str!("../../docs/schema/v1/error.json")).unwrap();
        let named = &schema["oneOf"][0]["properties"]["warning"]["properties"]["code"]["examples"];
        assert_eq!(*named, serde_json::json!(Code::OWN.map(Code::as_str)));
    }
}
