//! Texts for the trouble of a pass: its failures and warnings. They stay the same while the trouble lasts (no times, no counts),
//! so that [`super::news`] can tell old trouble from new.

use crate::{error::CommandError, reconcile::report::PassReport};
use eg_model::{
    ids::SessionId,
    plan::NoteKind,
    session::record::{Grant, GrantStatus, Session},
    text::escape_controls,
};
use eg_state::Store;
use std::collections::BTreeSet;

/// Begins the line that says why a pass has not done everything.
const PENDING: &str = "Still pending: ";

/// The first that applies: the failed grants; the summary of the pass; `open_ends`; else that eg keeps trying. Empty if
/// everything is as recorded.
pub(super) fn failure_text(store: &Store, report: &PassReport, open_ends: &[String]) -> Result<String, CommandError> {
    if report.converged && report.state_errors.is_empty() {
        return Ok(String::new());
    }
    let mut lines = failed_grants(store, &report.failed_sessions)?;
    if lines.is_empty() {
        lines.extend(report.summary().map(|summary| format!("{PENDING}{}", escape_controls(&summary))));
    }
    if lines.is_empty() {
        lines.extend(open_ends.iter().cloned());
    }
    if lines.is_empty() {
        lines.push("not everything is as recorded yet; eg keeps trying".to_owned());
    }
    lines.sort();
    lines.dedup();
    Ok(lines.join("\n"))
}

fn failed_grants(store: &Store, sessions: &[SessionId]) -> Result<Vec<String>, CommandError> {
    let mut lines = Vec::new();
    for id in sessions {
        for grant in store.session(*id)?.iter().flat_map(|session| &session.grants) {
            if let Some(why) = grant.error_message() {
                let name = escape_controls(&grant.resource_name);
                lines.push(format!("session {} on {name}: {}", id.short(), escape_controls(&why)));
            }
        }
    }
    Ok(lines)
}

/// The warnings of a pass, sorted. A clock's difference changes all the time, so only its kind is named.
pub(super) fn warning_text(report: &PassReport) -> String {
    let notes = report.notes.iter().filter(|item| item.note.kind.is_warning()).map(|item| match item.note.kind {
        NoteKind::ClockSkew => item.note.kind.as_str().to_owned(),
        _ => item.note.message.clone(),
    });
    let of_lock = report.warnings.iter().map(|warning| warning.message.clone());
    let warnings: BTreeSet<String> = notes.chain(of_lock).collect();
    warnings.into_iter().collect::<Vec<_>>().join("\n")
}

/// True for a line of [`failure_text`] whose reason is one of the pass's warnings.
pub(super) fn repeats_a_warning(report: &PassReport, line: &str) -> bool {
    let why = line.strip_prefix(PENDING).unwrap_or(line);
    report.notes.iter().any(|item| item.note.kind.is_warning() && escape_controls(&item.note.message) == why)
}

/// The grants on record that are not as their sessions want them, a line each.
pub(super) fn open_ends(store: &Store) -> Result<Vec<String>, CommandError> {
    let mut sessions = store.live_sessions()?;
    sessions.extend(store.unfinished_sessions()?);
    let done = |session: &Session, grant: &Grant| match session.status.is_live() {
        true => grant.status == GrantStatus::Applied || grant.status == GrantStatus::Removed,
        false => grant.status == GrantStatus::Removed,
    };
    let mut lines = Vec::new();
    for session in &sessions {
        for grant in session.grants.iter().filter(|grant| !done(session, grant)) {
            let (short, name) = (session.id.short(), escape_controls(&grant.resource_name));
            let family = grant.ip_version();
            let why = grant.error_message().map(|why| format!(": {}", escape_controls(&why))).unwrap_or_default();
            lines.push(match grant.status {
                GrantStatus::Removing => unclosed(session, grant),
                status => format!("session {short} on {name} {family} is {status}{why}"),
            });
        }
    }
    Ok(lines)
}

/// The grants that cannot be closed because a target cannot be read, a line each. That they stay open is news of its own, even
/// if the reason was reported before.
pub(super) fn kept_open(store: &Store, report: &PassReport) -> Result<Vec<String>, CommandError> {
    if !report.notes.iter().any(|item| item.note.kind == NoteKind::Unavailable) {
        return Ok(Vec::new());
    }
    let sessions = store.unfinished_sessions()?;
    let grants = sessions.iter().flat_map(|session| session.grants.iter().map(move |grant| (session, grant)));
    let removing = grants.filter(|(_, grant)| grant.status == GrantStatus::Removing);
    Ok(removing.map(|(session, grant)| unclosed(session, grant)).collect())
}

fn unclosed(session: &Session, grant: &Grant) -> String {
    let (short, name) = (session.id.short(), escape_controls(&grant.resource_name));
    format!("session {short} on {name} {}: not confirmed closed yet", grant.ip_version())
}
