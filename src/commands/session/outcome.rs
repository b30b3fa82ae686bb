//! The state of a session after a pass: its exit status, its grants that are not open, and its rules whose tags are behind.

use crate::{
    error::{CommandError, Exit},
    reconcile::report::PassReport,
};
use eg_model::{
    lease::{Lease, Phase},
    plan::NoteKind,
    session::record::{Grant, GrantStatus, Session, SessionStatus},
    target::TargetKey,
};
use eg_state::Store;

/// The exit status for a live session: of its status, and `Partial` if a rule lacks its expiry schedule.
fn exit_for(session: &Session) -> Exit {
    let without_auto_close = session.grants.iter().any(|grant| grant.without_auto_close.is_some());
    match session.status {
        SessionStatus::Active if without_auto_close => Exit::Partial,
        SessionStatus::Active => Exit::Done,
        SessionStatus::Pending | SessionStatus::Partial | SessionStatus::Expiring => Exit::Partial,
        SessionStatus::Failed | SessionStatus::Cancelled | SessionStatus::Expired => Exit::Failed,
    }
}

/// Like `exit_for`, but `Partial` too if the pass could not learn a target's account and therefore could not pick the role
/// for its expiry schedule.
pub(super) fn exit_after(session: &Session, report: &PassReport) -> Exit {
    let unset = |target: &TargetKey| {
        report.notes.iter().any(|item| item.target == *target && item.note.kind == NoteKind::AutoCloseUnset)
    };
    let unknown_account = |grant: &Grant| grant.target.route.account.is_none() && unset(&grant.target.key);
    match exit_for(session) {
        Exit::Done if session.current().any(unknown_account) => Exit::Partial,
        exit => exit,
    }
}

/// The grants that are not open, and why.
pub(super) fn not_open(session: &Session) -> String {
    let missing = session.current().filter(|grant| grant.status != GrantStatus::Applied);
    let why = |grant: &Grant| {
        let why = grant.error_message().unwrap_or_else(|| grant.status.as_str().to_owned());
        format!("{} {}: {why}", grant.resource_name, grant.ip_version())
    };
    missing.map(why).collect::<Vec<_>>().join("; ")
}

/// True if a rule of a session still carries a tag with an earlier expiry: another installation could close it too early.
/// Where rules carry no marks, no installation closes another's.
pub(super) fn tags_are_behind(store: &Store, session: &Session, report: &PassReport) -> Result<bool, CommandError> {
    let marked = |lease: &&Lease| !report.unmarked.contains(&lease.target.key);
    let early = |lease: &&Lease| marked(lease) && lease.tagged_until.is_none_or(|until| until < session.expires_at);
    let leases = store.open_leases()?;
    let mut held = leases.iter().filter(|lease| lease.phase == Phase::Held && concerns(lease, session));
    Ok(held.any(|lease| early(&lease)))
}

/// True if a lease is about something that a session asked for and has not moved away from.
pub(super) fn concerns(lease: &Lease, session: &Session) -> bool {
    let left = |grant: &Grant| session.status.is_live() && grant.status == GrantStatus::Removed;
    session.grants.iter().filter(|grant| !left(grant)).any(|grant| {
        grant.target.key == lease.target.key && grant.permissions.iter().any(|item| item.permission == lease.permission)
    })
}
