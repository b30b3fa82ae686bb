//! Events in words that people know; programs get the record's own.

use eg_state::{Event, EventKind};

/// Whether an event tells of something that people see happen. The rest is bookkeeping, for `eg log -v`.
#[must_use]
pub fn is_telling(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Claimed | EventKind::Intent | EventKind::LeaseClosed)
}

#[must_use]
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

/// More about it: what fits into a cell, and what went wrong.
///
/// | event | cell | trouble |
/// |---|---|---|
/// | no, or no answer | nothing | outcome and detail |
/// | a status | nothing: its word says it, and the detail is for programs | nothing |
/// | the state file was made, or taken over | whose it is | nothing |
/// | what its word says already | the detail | nothing |
/// | anything else | outcome and detail | nothing |
#[must_use]
pub fn detail(event: &Event) -> (Option<String>, Option<String>) {
    let both = || match &event.detail {
        Some(detail) => format!("{}: {detail}", event.outcome),
        None => event.outcome.clone(),
    };
    match event.kind {
        EventKind::Refused | EventKind::Unanswered => (None, Some(both())),
        EventKind::SessionStatus | EventKind::GrantStatus => (None, None),
        EventKind::Created => (Some(format!("for installation {}", start_of_id(&event.outcome))), None),
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

/// As many digits of an installation's id as people need to tell two apart; `--output json` has them all.
fn start_of_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
