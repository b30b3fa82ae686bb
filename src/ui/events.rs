//! The words for events, as users see them; programs get the record's own.

use crate::ui::holder::short_installation;
use eg_state::{Event, EventKind};

/// True for events with an effect that users see. The rest is bookkeeping, for `eg log -v`.
pub fn is_telling(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Claimed | EventKind::Intent | EventKind::LeaseClosed)
}

pub fn word(event: &Event) -> &'static str {
    match event.kind {
        EventKind::Created => "state file created",
        EventKind::Adopted => "state file adopted",
        EventKind::BackupRestored => "backup restored",
        EventKind::SessionStarted => "started",
        EventKind::SessionExtended => "extended",
        EventKind::AddressChanged => "address changed",
        EventKind::SessionEnded if event.outcome == "EXPIRED" => "expired",
        EventKind::SessionEnded => "stopped",
        EventKind::SessionStatus => session_word(&event.outcome),
        EventKind::GrantStatus => grant_word(&event.outcome),
        EventKind::Claimed => "planned",
        EventKind::Intent => "asking",
        EventKind::Authorized => "opened",
        EventKind::Joined => "shared",
        EventKind::LeaseAdopted => "recognised",
        EventKind::Retagged => "tag updated",
        EventKind::Left => "left to others",
        EventKind::Revoked => "closed",
        EventKind::Refused => "refused",
        EventKind::Unanswered => "no answer",
        EventKind::AutoCloseSet => "cloud expiry set",
        EventKind::AutoCloseDropped => "cloud expiry removed",
        EventKind::LeaseClosed => "done",
    }
}

fn session_word(status: &str) -> &'static str {
    match status {
        "PENDING" => "session not open yet",
        "ACTIVE" => "session open",
        "PARTIAL" => "session partly open",
        "FAILED" => "session not open",
        "EXPIRING" => "session closing",
        "EXPIRED" => "session expired",
        "CANCELLED" => "session stopped",
        _ => "session changed",
    }
}

fn grant_word(status: &str) -> &'static str {
    match status {
        "PENDING" => "access not open yet",
        "APPLIED" => "access open",
        "FAILED" => "access not open",
        "REMOVING" => "access closing",
        "REMOVED" => "access ended",
        _ => "access changed",
    }
}

/// The text of an event's cell, and the trouble that it tells of.
///
/// | event | cell | trouble |
/// |---|---|---|
/// | refused, or no answer | none | outcome and detail |
/// | a status | none: the word says it, and the detail is for programs | none |
/// | the state file was created or adopted | the installation | none |
/// | an event whose word says its outcome | the detail | none |
/// | any other | outcome and detail | none |
pub fn detail(event: &Event) -> (Option<String>, Option<String>) {
    let both = || match &event.detail {
        Some(detail) => format!("{}: {detail}", event.outcome),
        None => event.outcome.clone(),
    };
    match event.kind {
        EventKind::Refused | EventKind::Unanswered => (None, Some(both())),
        EventKind::SessionStatus | EventKind::GrantStatus => (None, None),
        EventKind::Created => (Some(format!("for installation {}", short_installation(&event.outcome))), None),
        EventKind::Adopted => (Some(format!("by {}", event.outcome)), None),
        EventKind::SessionEnded
        | EventKind::Authorized
        | EventKind::Revoked
        | EventKind::Retagged
        | EventKind::Claimed
        | EventKind::LeaseClosed => (event.detail.clone(), None),
        EventKind::SessionStarted => {
            let reason = event.detail.iter().map(|reason| format!("; {reason}")).collect::<String>();
            (Some(event.outcome.clone() + &reason), None)
        }
        _ => (Some(both()), None),
    }
}
