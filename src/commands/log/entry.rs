//! An event of the audit trail with the names that belong to it.

use crate::ui::{json, opening::opening};
use eg_model::{Timestamp, session::record::Session};
use eg_state::{Event, RunKind};
use serde_json::{Value, json};

pub(super) struct LogEntry {
    pub(super) event: Event,
    /// Name and e-mail address of the session's user.
    pub(super) user: Option<(String, Option<String>)>,
    pub(super) resource: Option<String>,
    pub(super) command: Option<RunKind>,
}

impl LogEntry {
    pub(super) fn permission(&self) -> Option<String> {
        Some(opening(self.event.target.as_ref()?, self.event.permission.as_ref()?))
    }
}

/// True if the event names the session. An event without a session (a rule may serve several) concerns every session that
/// held its permission at that time.
pub(super) fn concerns(event: &Event, session: &Session) -> bool {
    if let Some(id) = event.session {
        return id == session.id;
    }
    let during = |until: Option<Timestamp>| event.at >= session.started_at && until.is_none_or(|end| event.at <= end);
    session.grants.iter().any(|grant| {
        Some(&grant.target.key) == event.target.as_ref()
            && during(grant.removed_at)
            && grant.permissions.iter().any(|item| Some(item.permission) == event.permission)
    })
}

pub(super) fn entry_json(entry: &LogEntry) -> Value {
    let event = &entry.event;
    json!({
        "at": json::time(event.at),
        "userName": entry.user.as_ref().map(|(name, _)| name),
        "userEmail": entry.user.as_ref().and_then(|(_, email)| email.as_ref()),
        "event": event.kind.as_str(),
        "command": entry.command.map(RunKind::as_str),
        "sessionId": event.session.map(|id| id.to_string()),
        "resourceName": entry.resource,
        "resourceId": event.target.as_ref().map(|target| &target.id),
        "region": event.target.as_ref().and_then(json::region),
        "permission": event.permission.as_ref().map(json::permission),
        "ruleId": event.rule_id.as_ref().map(|rule| &rule.0),
        "requestId": event.request_id,
        "outcome": event.outcome,
        "detail": event.detail,
    })
}
