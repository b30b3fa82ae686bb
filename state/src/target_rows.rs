//! The record target by target, as a pass needs it: the live sessions, the claims, and the rules opened and closed lately.
//! A pass reads all targets once, and after a change of its own only the target that was changed.

use crate::{
    auto_close,
    damaged::Damaged,
    error::StateError,
    events::target_text,
    leases,
    routes::{target_columns, target_joins},
    sessions::read::{self, read_grant, read_permission, read_session, session_id, without_auto_close},
    targets,
    tx::Store,
};
use eg_model::{
    Timestamp,
    auto_close::AutoClose,
    ids::{GrantId, RuleId, SessionId},
    lease::Lease,
    net::permission::Permission,
    session::record::{Grant, GrantPermission, Session},
    target::TargetKey,
};
use rusqlite::{Connection, Row, ToSql, params};
use std::collections::{BTreeMap, HashMap};

/// The record of one target.
#[derive(Clone, Debug, Default)]
pub struct TargetRows {
    /// The live sessions with grants here, newest first, each with its grants on this target alone, without REMOVED ones.
    pub sessions: Vec<Session>,
    /// True if a session that has ended waits here for a grant to be let go.
    pub ending: bool,
    /// The open leases, by id.
    pub leases: Vec<Lease>,
    /// True if an open lease here does not parse.
    pub unreadable: bool,
    /// The expiry schedules, by rule.
    pub auto_closes: Vec<AutoClose>,
    /// As [`Store::opened_rules`].
    pub opened: BTreeMap<RuleId, Permission>,
    /// As [`Store::revoked_rules`].
    pub revoked: BTreeMap<RuleId, Timestamp>,
    /// True if this installation has closed a rule here.
    pub closed_once: bool,
}

/// The times from which on a pass needs the history.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// For [`TargetRows::opened`].
    pub opened: Timestamp,
    /// For [`TargetRows::revoked`].
    pub revoked: Timestamp,
}

impl Store {
    /// The record of every target that has anything on record.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn rows_by_target(&self, since: Since) -> Result<HashMap<TargetKey, TargetRows>, StateError> {
        self.read(|connection| {
            let damaged = &self.damaged;
            let mut rows: HashMap<TargetKey, TargetRows> = HashMap::new();
            for session in everywhere(connection, damaged)? {
                for (key, part) in by_target(session) {
                    rows.entry(key).or_default().sessions.push(part);
                }
            }
            for key in targets::of_ending(connection, damaged)? {
                of(&mut rows, &key).ending = true;
            }
            let open = leases::open(connection, damaged)?;
            for lease in open.leases {
                of(&mut rows, &lease.target.key).leases.push(lease);
            }
            for target in open.unreadable {
                of(&mut rows, &target.key).unreadable = true;
            }
            for auto_close in auto_close::all(connection, damaged)? {
                of(&mut rows, &auto_close.target.key).auto_closes.push(auto_close);
            }
            for (key, rule, permission) in leases::opened(connection, damaged, since.opened)? {
                of(&mut rows, &key).opened.insert(rule, permission);
            }
            for (key, rule, at) in leases::revoked(connection, damaged, since.revoked)? {
                of(&mut rows, &key).revoked.insert(rule, at);
            }
            for (key, record) in targets::all(connection, damaged)? {
                if record.closed_once {
                    of(&mut rows, &key).closed_once = true;
                }
            }
            Ok(rows)
        })
    }

    /// The record of one target.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn rows_of(&self, key: &TargetKey, since: Since) -> Result<TargetRows, StateError> {
        self.read(|connection| {
            let damaged = &self.damaged;
            let Some((target, record)) = targets::find_record(connection, damaged, key)? else {
                return Ok(TargetRows::default());
            };
            let sessions = on_target(connection, damaged, target)?;
            let (sessions, ending): (_, Vec<_>) = sessions.into_iter().partition(|session| session.status.is_live());
            let open = leases::open_on_target(connection, damaged, target)?;
            let text = target_text(key);
            Ok(TargetRows {
                sessions,
                ending: !ending.is_empty(),
                leases: open.leases,
                unreadable: !open.unreadable.is_empty(),
                auto_closes: auto_close::on_target(connection, damaged, target)?,
                opened: leases::opened_on_target(connection, damaged, target, since.opened)?,
                revoked: leases::revoked_on_target(connection, damaged, &text, since.revoked)?,
                closed_once: record.closed_once,
            })
        })
    }
}

fn of<'r>(rows: &'r mut HashMap<TargetKey, TargetRows>, key: &TargetKey) -> &'r mut TargetRows {
    if !rows.contains_key(key) {
        rows.insert(key.clone(), TargetRows::default());
    }
    rows.entry(key.clone()).or_default()
}

/// A session's part on each of its targets.
fn by_target(mut session: Session) -> HashMap<TargetKey, Session> {
    let mut parts: HashMap<TargetKey, Session> = HashMap::new();
    for grant in std::mem::take(&mut session.grants) {
        let part = parts.entry(grant.target.key.clone()).or_insert_with(|| session.clone());
        part.grants.push(grant);
    }
    parts
}

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
fn everywhere(connection: &Connection, damaged: &Damaged) -> Result<Vec<Session>, StateError> {
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
        failures: &read::Failures,
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
