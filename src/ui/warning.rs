//! The codes of warnings, for programs: part of the JSON contract (`docs/schema/v1/error.json`).

use eg_model::plan::NoteKind;
use serde::{Serialize, Serializer};

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Not all of a host's addresses are reached through the group that is opened.
    Host,
    /// A resource is removed that a session uses.
    InUse,
    /// The process that holds the lock makes no progress, or no lock can be had: closing goes on without it.
    Lock,
    /// The record was made anew, since the earlier one is gone.
    LostDatabase,
    /// What is opened has no effect: something else on the way decides.
    NoEffect,
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
    #[serde(untagged)]
    Note(#[serde(serialize_with = "word")] NoteKind),
    /// An error that did not end the command, with the error's own word.
    #[serde(untagged)]
    Error(&'static str),
}

fn word<S: Serializer>(kind: &NoteKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Every code that is not a note's or an error's.
    const OWN: [Code; 29] = [
        Code::AddressChanged,
        Code::Clock,
        Code::CloudExpiry,
        Code::Credentials,
        Code::Endpoint,
        Code::Expired,
        Code::FamilyLeftOut,
        Code::Guard,
        Code::Host,
        Code::InUse,
        Code::Lock,
        Code::LostDatabase,
        Code::NoEffect,
        Code::NotClosed,
        Code::NotNotified,
        Code::NotOpen,
        Code::NotOurs,
        Code::NotRead,
        Code::NotScheduled,
        Code::NotShown,
        Code::Policy,
        Code::Replaced,
        Code::RestoredBackup,
        Code::Sandbox,
        Code::Schedule,
        Code::State,
        Code::TimeZone,
        Code::Unreachable,
        Code::Unwritable,
    ];

    #[test]
    fn the_schema_names_every_code() {
        let schema: Value = serde_json::from_str(include_str!("../../docs/schema/v1/error.json")).unwrap();
        let named = &schema["oneOf"][0]["properties"]["warning"]["properties"]["code"]["examples"];
        assert_eq!(*named, json!(OWN));
    }
    #[test]
    fn notes_and_errors_have_their_own_words() {
        assert_eq!(json!([Code::Note(NoteKind::Damaged), Code::Error("config")]), json!(["damaged", "config"]));
    }
}
