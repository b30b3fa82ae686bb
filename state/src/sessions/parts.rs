//! Sessions without the grants that they have let go of: all live ones, or the parts of sessions on one target.

use crate::{
    auto_close,
    damaged::Damaged,
    error::StateError,
    routes::{target_columns, target_joins},
    sessions::read::{read_grant, read_permission, read_session, session_id, without_auto_close},
};
use eg_model::{
    ids::{GrantId, SessionId},
    session::record::{Grant, GrantPermission, Session},
    target::TargetKey,
};
use rusqlite::{Connection, Row, ToSql, params};
use std::collections::HashMap;

macro_rules! select_sessions {
    ($which:literal) => {
        concat!("SELECT * FROM sessions WHERE ", $which, " ORDER BY started_at DESC, number DESC")
    };
}

/// The index has no REMOVED grant in it; SQLite itself would choose one that has, for its order.
macro_rules! select_grants {
    ($index:literal, $which:literal) => {
        concat!(
            "SELECT r.id, r.session, r.resource_name, r.address, r.status, r.applied_at, r.removed_at, ",
            target_columns!(),
            " FROM grants r INDEXED BY ",
            $index,
            target_joins!(),
            "WHERE r.status <> 'REMOVED' AND ",
            $which,
            " ORDER BY r.session, r.position"
        )
    };
}

macro_rules! select_permissions {
    ($which:literal) => {
        concat!(
            "SELECT p.grant_id, p.permission, p.standing, p.detail FROM grants g \
             JOIN grant_permissions p ON p.grant_id = g.id WHERE g.status <> 'REMOVED' AND ",
            $which
        )
    };
}

/// Every live session, newest first, without its REMOVED grants.
pub(crate) fn everywhere(connection: &Connection, damaged: &Damaged) -> Result<Vec<Session>, StateError> {
    let statements = Statements {
        sessions: select_sessions!("status IN ('PENDING', 'ACTIVE', 'PARTIAL', 'FAILED')"),
        grants: select_grants!(
            "grants_kept",
            "r.session IN (SELECT id FROM sessions WHERE status IN ('PENDING', 'ACTIVE', 'PARTIAL', 'FAILED'))"
        ),
        permissions: select_permissions!(
            "g.session IN (SELECT id FROM sessions WHERE status IN ('PENDING', 'ACTIVE', 'PARTIAL', 'FAILED'))"
        ),
    };
    let failures = auto_close::failures(connection, damaged)?;
    statements.load(connection, damaged, params![], &failures)
}

/// The sessions with grants on a target that are not REMOVED, with these grants alone; newest first.
pub(crate) fn on_target(connection: &Connection, damaged: &Damaged, target: i64) -> Result<Vec<Session>, StateError> {
    let statements = Statements {
        sessions: select_sessions!("id IN (SELECT session FROM grants WHERE target = ?1 AND status <> 'REMOVED')"),
        grants: select_grants!("grants_open", "r.target = ?1"),
        permissions: select_permissions!("g.target = ?1"),
    };
    let failures = auto_close::failures_on(connection, damaged, target)?;
    statements.load(connection, damaged, params![target], &failures)
}

/// The statements that read some sessions with some of their grants.
struct Statements {
    sessions: &'static str,
    grants: &'static str,
    permissions: &'static str,
}

impl Statements {
    fn load(
        &self,
        connection: &Connection,
        damaged: &Damaged,
        values: &[&dyn ToSql],
        failures: &auto_close::Failures,
    ) -> Result<Vec<Session>, StateError> {
        let mut permissions: HashMap<GrantId, Vec<GrantPermission>> = HashMap::new();
        for (id, item) in damaged.rows(connection, "grant_permissions", self.permissions, values, read_permission)? {
            permissions.entry(id).or_default().push(item);
        }
        let of_session = |row: &Row<'_>| Ok((session_id("grants", row, "session")?, read_grant(row)?));
        let mut grants: HashMap<SessionId, Vec<Grant>> = HashMap::new();
        for (session, mut grant) in damaged.rows(connection, "grants", self.grants, values, of_session)? {
            grant.permissions = permissions.remove(&grant.id).unwrap_or_default();
            grant.permissions.sort_by_key(|item| item.permission);
            // A reader of the whole session tells of a grant without permissions.
            if !grant.permissions.is_empty() {
                grant.without_auto_close = without_auto_close(&grant, failures);
                grants.entry(session).or_default().push(grant);
            }
        }
        let mut sessions = damaged.rows(connection, "sessions", self.sessions, values, read_session)?;
        for session in &mut sessions {
            session.grants = grants.remove(&session.id).unwrap_or_default();
            session.grants.sort_by(|a, b| (&a.resource_name, a.ip_version()).cmp(&(&b.resource_name, b.ip_version())));
        }
        sessions.retain(|session| !session.grants.is_empty());
        Ok(sessions)
    }
}

/// A session's part on each of its targets.
pub(crate) fn by_target(mut session: Session) -> HashMap<TargetKey, Session> {
    let mut parts: HashMap<TargetKey, Session> = HashMap::new();
    for grant in std::mem::take(&mut session.grants) {
        // Most parts have one grant. A first push would make room for four.
        let new = || Session { grants: Vec::with_capacity(1), ..session.clone() };
        let part = parts.entry(grant.target.key.clone()).or_insert_with(new);
        part.grants.push(grant);
    }
    parts
}
