//! The trouble of a pass: its failures and warnings, each with a key by which [`super::news`] tells old trouble from new, and
//! the texts for people.

use crate::{error::CommandError, reconcile::report::PassReport};
use eg_model::{
    failure::FailureClass,
    ids::SessionId,
    plan::NoteKind,
    session::record::{Grant, GrantStatus, Session},
    target::TargetKey,
    text::escape_controls,
};
use eg_state::Store;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The kind of trouble that has no reason of its own: the pass has not done everything.
pub(super) const UNSETTLED: &str = "unsettled";
/// The kind of trouble with the record.
pub(super) const RECORD: &str = "record";
/// Begins the line that says why a pass has not done everything.
const PENDING: &str = "Still pending: ";
const KEEPS_TRYING: &str = "not everything is as recorded yet; eg keeps trying";
/// The refused revoke of an expired rule of others. Together with notes on strange rules, only a collection pass finds it on a
/// target that no session needs.
const COLLECT: &str = "collect";

/// The identity of a trouble, whatever its text says: a provider's words name other groups in each pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct TroubleKey {
    /// A note's kind, the action of a refused step, or a word of this module.
    pub(super) kind: String,
    /// Absent for trouble of the whole pass or of the record.
    pub(super) target: Option<TargetKey>,
    pub(super) class: Option<FailureClass>,
    /// The session, or the text itself where it names a rule and holds no words of a provider.
    pub(super) subject: Option<String>,
}

impl TroubleKey {
    pub(super) fn of(kind: &str) -> Self {
        Self { kind: kind.to_owned(), target: None, class: None, subject: None }
    }

    pub(super) fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// True if this pass would have met the trouble if it were still there. Otherwise its absence proves nothing: the target
    /// was not looked at, could not be read, or a step waits for its next attempt.
    pub(super) fn was_in_sight(&self, report: &PassReport) -> bool {
        let Some(target) = &self.target else {
            return self.kind != NoteKind::ClockSkew.as_str() || report.plans.len() > report.unread.len();
        };
        match report.plans.iter().find(|plan| plan.target == *target) {
            Some(plan) => !plan.deferred && !report.unread.contains(target),
            None => report.collected || !self.is_found_by_collecting(),
        }
    }

    fn is_found_by_collecting(&self) -> bool {
        let strange = [NoteKind::Misfit, NoteKind::Unledgered, NoteKind::OddLease, NoteKind::Edited];
        self.kind == COLLECT || strange.iter().any(|kind| kind.as_str() == self.kind)
    }
}

/// One thing that is wrong after a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PassTrouble {
    pub(super) key: TroubleKey,
    /// True if because of it not everything is as recorded; false for a warning.
    pub(super) fails: bool,
    pub(super) text: String,
    /// True if the text is one of the warnings that every pass can print.
    pub(super) is_warning: bool,
}

/// Everything that is wrong after a pass, each thing once.
pub(super) fn troubles(store: &Store, report: &PassReport) -> Result<Vec<PassTrouble>, CommandError> {
    let warning = |key, fails, text: &str| PassTrouble { key, fails, text: text.to_owned(), is_warning: true };
    let failure = |key, text| PassTrouble { key, fails: true, text, is_warning: false };
    let mut all: Vec<PassTrouble> = Vec::new();
    for found in &report.warnings {
        all.push(warning(TroubleKey::of("lock").about(&found.message), false, &found.message));
    }
    all.extend(report.state_errors.iter().map(|error| warning(TroubleKey::of(RECORD).about(error), true, error)));
    for (id, grant, why) in failed_grants(store, &report.failed_sessions)? {
        let key = TroubleKey::of("failed").about(format!("{id} {} {}", grant.ip_version(), grant.resource_name));
        all.push(failure(key, failed_line(id, &grant, &why)));
    }
    for (session, grant) in kept_open(store, report)? {
        let key = TroubleKey::of("still-open").about(format!("{} {}", session.id, grant.id.0));
        all.push(failure(key, unclosed(&session, &grant)));
    }
    for item in &report.notes {
        let (kind, message) = (item.note.kind, escape_controls(&item.note.message));
        let target = Some(item.target.clone()).filter(|_| kind != NoteKind::ClockSkew);
        let subject = Some(message.clone()).filter(|_| names_a_rule(kind));
        let key = TroubleKey { kind: kind.as_str().to_owned(), target, class: item.note.class, subject };
        match kind {
            _ if kind.is_warning() => all.push(warning(key, kind.unconverged(), &message)),
            _ if kind.unconverged() => all.push(failure(key, format!("{PENDING}{message}"))),
            _ => {}
        }
    }
    for step in report.steps.iter().filter(|_| !report.converged) {
        let Some(error) = &step.error else { continue };
        let kind = step.step.action().to_owned();
        let key = TroubleKey { kind, target: Some(step.target.clone()), class: step.class, subject: None };
        all.push(failure(key, format!("{PENDING}{}", escape_controls(error))));
    }
    let mut seen = BTreeSet::new();
    all.retain(|trouble| seen.insert(trouble.key.clone()));
    Ok(all)
}

/// The trouble of a pass that has not done everything, for no reason that is known.
pub(super) fn unsettled() -> PassTrouble {
    PassTrouble { key: TroubleKey::of(UNSETTLED), fails: true, text: KEEPS_TRYING.to_owned(), is_warning: false }
}

/// The lines that the pass's warnings do not tell yet, each reason once.
pub(super) fn untold_lines(troubles: &[PassTrouble]) -> Vec<&str> {
    let mut told: Vec<&str> = troubles.iter().filter(|one| one.is_warning).map(|one| one.text.as_str()).collect();
    let warnings = told.len();
    for text in troubles.iter().filter(|one| !one.is_warning).map(|one| one.text.as_str()) {
        let why = text.strip_prefix(PENDING).unwrap_or(text);
        if !told.iter().any(|line| line.contains(why)) {
            told.push(text);
        }
    }
    told.split_off(warnings)
}

/// True for notes that are known by their text: it names a rule or a session, and holds no words of a provider, no time and no
/// number that changes from pass to pass.
fn names_a_rule(kind: NoteKind) -> bool {
    use NoteKind::{AutoCloseUnset, ClockSkew, Closing, TagBehind, Unavailable};
    !matches!(kind, Unavailable | AutoCloseUnset | ClockSkew | Closing | TagBehind)
}

/// For a person, the first that applies: the failed grants; the summary of the pass; `open_ends`; else that eg keeps trying.
/// Empty if everything is as recorded.
pub(super) fn failure_text(store: &Store, report: &PassReport, open_ends: &[String]) -> Result<String, CommandError> {
    if report.converged && report.state_errors.is_empty() {
        return Ok(String::new());
    }
    let failed = failed_grants(store, &report.failed_sessions)?;
    let mut lines: Vec<String> = failed.iter().map(|(id, grant, why)| failed_line(*id, grant, why)).collect();
    if lines.is_empty() {
        lines.extend(report.summary().map(|summary| format!("{PENDING}{}", escape_controls(&summary))));
    }
    if lines.is_empty() {
        lines.extend(open_ends.iter().cloned());
    }
    if lines.is_empty() {
        lines.push(KEEPS_TRYING.to_owned());
    }
    lines.sort();
    lines.dedup();
    Ok(lines.join("\n"))
}

/// True if the pass has something to warn of.
pub(super) fn has_warnings(report: &PassReport) -> bool {
    !report.warnings.is_empty() || report.notes.iter().any(|item| item.note.kind.is_warning())
}

/// The grants of these sessions that are not open, each with the reason.
fn failed_grants(store: &Store, sessions: &[SessionId]) -> Result<Vec<(SessionId, Grant, String)>, CommandError> {
    let mut failed = Vec::new();
    for id in sessions {
        for grant in store.session(*id)?.into_iter().flat_map(|session| session.grants) {
            if let Some(why) = grant.error_message() {
                failed.push((*id, grant, why));
            }
        }
    }
    Ok(failed)
}

fn failed_line(id: SessionId, grant: &Grant, why: &str) -> String {
    format!("session {} on {}: {}", id.short(), escape_controls(&grant.resource_name), escape_controls(why))
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

/// The grants that cannot be closed because a target cannot be read. That they stay open is news of its own, even if the
/// reason was reported before.
fn kept_open(store: &Store, report: &PassReport) -> Result<Vec<(Session, Grant)>, CommandError> {
    if !report.notes.iter().any(|item| item.note.kind == NoteKind::Unavailable) {
        return Ok(Vec::new());
    }
    let sessions = store.unfinished_sessions()?;
    let grants = sessions.iter().flat_map(|session| session.grants.iter().map(move |grant| (session, grant)));
    let removing = grants.filter(|(_, grant)| grant.status == GrantStatus::Removing);
    Ok(removing.map(|(session, grant)| (session.clone(), grant.clone())).collect())
}

fn unclosed(session: &Session, grant: &Grant) -> String {
    let (short, name) = (session.id.short(), escape_controls(&grant.resource_name));
    format!("session {short} on {name} {}: not confirmed closed yet", grant.ip_version())
}
