//! Reading sessions. A fixed number of statements whatever the number of sessions.

use crate::{
    auto_close,
    columns::{RowRef, json_list},
    damaged::Damaged,
    error::StateError,
    routes::{read_target, target_columns, target_joins},
    tx::Store,
};
use eg_model::{
    Timestamp,
    failure::Failure,
    ids::{GrantId, RuleId, SessionId},
    plan::auto_close_unset,
    session::record::{Grant, GrantPermission, GrantStatus, Session, SessionStatus, Standing},
};
use rusqlite::{Connection, Row, params};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

/// The grants that sessions are read with. A session that has none of them is read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grants {
    All,
    /// Those that are not REMOVED: for every decision, so that a session does not pay for each address that it ever had.
    Kept,
    /// Those that people look for: of live sessions the kept ones, of others all.
    Shown,
}

/// The columns that [`read_grant`] reads.
macro_rules! select_grants {
    ($by:literal, $which:literal) => {
        concat!(
            "SELECT r.id, r.session, r.resource_name, r.address, r.status, r.applied_at, r.removed_at, ",
            target_columns!(),
            " FROM grants r",
            $by,
            target_joins!(),
            "WHERE r.session IN (SELECT value FROM json_each(?1)) ",
            $which,
            "ORDER BY r.session, r.position"
        )
    };
}

/// The columns that [`read_permission`] reads.
macro_rules! select_permissions {
    ($by:literal, $which:literal) => {
        concat!(
            "SELECT p.grant_id, p.permission, p.standing, p.detail FROM grants g",
            $by,
            " JOIN grant_permissions p ON p.grant_id = g.id WHERE g.session IN (SELECT value FROM json_each(?1))",
            $which
        )
    };
}

impl Store {
    /// One session.
    ///
    /// # Errors
    /// The database cannot be read, or the session does not parse.
    pub fn session(&self, id: SessionId) -> Result<Option<Session>, StateError> {
        self.read(|connection| one(connection, id))
    }

    /// The sessions that are live in the record, whatever the clock says; newest first, without REMOVED grants.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn live_sessions(&self) -> Result<Vec<Session>, StateError> {
        self.read(|connection| {
            let ids = newest_ids(connection, &self.damaged, &live_statuses(), -1)?;
            load_noting(connection, &self.damaged, ids, Grants::Kept)
        })
    }

    /// The live sessions with the ends of their time.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn live_expiries(&self) -> Result<BTreeSet<(SessionId, Timestamp)>, StateError> {
        self.read(|connection| {
            let sql = "SELECT id, expires_at FROM sessions WHERE status IN ('PENDING', 'ACTIVE', 'PARTIAL', 'FAILED')";
            let read = |row: &Row<'_>| {
                let row = RowRef::new("sessions", row.get::<_, String>("id")?, row);
                Ok((SessionId(row.parse("id")?), row.time("expires_at")?))
            };
            Ok(self.damaged.rows(connection, "sessions", sql, params![], read)?.into_iter().collect())
        })
    }

    /// The sessions that are ending: EXPIRING; newest first, without REMOVED grants.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn unfinished_sessions(&self) -> Result<Vec<Session>, StateError> {
        self.read(|connection| {
            let expiring = newest_ids(connection, &self.damaged, &[SessionStatus::Expiring], -1)?;
            load_noting(connection, &self.damaged, expiring, Grants::Kept)
        })
    }

    /// Live sessions without their REMOVED grants, then EXPIRING ones with them; newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn open_sessions(&self) -> Result<Vec<Session>, StateError> {
        self.read(|connection| {
            let mut ids = newest_ids(connection, &self.damaged, &live_statuses(), -1)?;
            ids.extend(newest_ids(connection, &self.damaged, &[SessionStatus::Expiring], -1)?);
            let mut sessions = load_noting(connection, &self.damaged, ids, Grants::Shown)?;
            sessions.sort_by_key(|session| !session.status.is_live());
            Ok(sessions)
        })
    }

    /// Records the provider's name for the caller in sessions.
    ///
    /// # Errors
    /// The database cannot be written, or there is no such session.
    pub fn add_caller(&mut self, sessions: &[SessionId], arn: &str) -> Result<(), StateError> {
        self.write_unflushed(|change| {
            let sql = "INSERT INTO callers (session, arn) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            for id in sessions {
                change.tx.prepare_cached(sql)?.execute(params![id.to_string(), arn])?;
            }
            Ok(())
        })
    }
}

/// The statuses that a session's grants have, each once, without REMOVED.
pub(crate) fn grant_statuses(connection: &Connection, id: SessionId) -> Result<Vec<GrantStatus>, StateError> {
    // A look into the index for each status: a session may have thousands of grants.
    let sql = "WITH known (status) AS (VALUES ('PENDING'), ('APPLIED'), ('FAILED'), ('REMOVING')) \
               SELECT status FROM known WHERE EXISTS (SELECT 1 FROM grants \
               WHERE session = ?1 AND grants.status = known.status AND grants.status <> 'REMOVED')";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id.to_string()])?;
    let mut statuses = Vec::new();
    while let Some(row) = rows.next()? {
        statuses.push(RowRef::new("grants", id, row).parse("status")?);
    }
    Ok(statuses)
}

/// The live statuses.
pub(crate) fn live_statuses() -> Vec<SessionStatus> {
    SessionStatus::ALL.iter().copied().filter(|status| status.is_live()).collect()
}

/// Every live session, without REMOVED grants.
pub(crate) fn live(connection: &Connection) -> Result<Vec<Session>, StateError> {
    let ids = newest_ids(connection, &Damaged::default(), &live_statuses(), -1)?;
    load(connection, ids)
}

/// One session, whole. Unlike in a list, one that cannot be read is an error.
pub(crate) fn one(connection: &Connection, id: SessionId) -> Result<Option<Session>, StateError> {
    one_with(connection, id, Grants::All)
}

/// The same without REMOVED grants.
pub(crate) fn kept(connection: &Connection, id: SessionId) -> Result<Option<Session>, StateError> {
    one_with(connection, id, Grants::Kept)
}

fn one_with(connection: &Connection, id: SessionId, grants: Grants) -> Result<Option<Session>, StateError> {
    let damaged = Damaged::default();
    let found = load_noting(connection, &damaged, [id], grants)?.pop();
    match damaged.errors().into_iter().next() {
        Some(error) if found.is_none() => Err(error),
        _ => Ok(found),
    }
}

/// The first position after those of a session's grants.
pub(crate) fn free_position(connection: &Connection, id: SessionId) -> Result<i64, StateError> {
    let sql = "SELECT coalesce(max(position) + 1, 0) FROM grants WHERE session = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([id.to_string()], |row| row.get(0))?)
}

/// Ids by status, newest first; a negative limit is none.
pub(crate) fn newest_ids(
    connection: &Connection,
    damaged: &Damaged,
    statuses: &[SessionStatus],
    limit: i64,
) -> Result<Vec<SessionId>, StateError> {
    // Those with a status that is none are damaged, and noted when they are loaded.
    if statuses.len() == SessionStatus::ALL.len() {
        let sql = "SELECT id FROM sessions ORDER BY started_at DESC, number DESC LIMIT ?1";
        return ids(connection, damaged, sql, params![limit]);
    }
    let newest = |row: &Row<'_>| {
        let id = session_id("sessions", row, "id")?;
        Ok((row.get::<_, i64>("started_at")?, row.get::<_, i64>("number")?, id))
    };
    let mut found = Vec::new();
    // One status at a time, so that the index gives the newest ones without reading the others.
    let sql = "SELECT id, started_at, number FROM sessions WHERE status = ?1 \
               ORDER BY started_at DESC, number DESC LIMIT ?2";
    for status in statuses {
        found.extend(damaged.rows(connection, "sessions", sql, params![status.as_str(), limit], newest)?);
    }
    found.sort_by_key(|(started_at, number, _)| Reverse((*started_at, *number)));
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found.into_iter().map(|(.., id)| id).collect())
}

/// Ids that a statement selects.
pub(crate) fn ids(
    connection: &Connection,
    damaged: &Damaged,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<Vec<SessionId>, StateError> {
    damaged.rows(connection, "sessions", sql, values, |row| session_id("sessions", row, "id"))
}

pub(crate) fn session_id(table: &'static str, row: &Row<'_>, column: &str) -> Result<SessionId, StateError> {
    RowRef::new(table, row.get::<_, String>(column)?, row).parse(column).map(SessionId)
}

/// Loads sessions without REMOVED grants, newest first, without what does not parse.
pub(crate) fn load(
    connection: &Connection,
    ids: impl IntoIterator<Item = SessionId>,
) -> Result<Vec<Session>, StateError> {
    load_noting(connection, &Damaged::default(), ids, Grants::Kept)
}

/// The same with the grants that the caller asks for; skipped rows are remembered.
pub(crate) fn load_noting(
    connection: &Connection,
    damaged: &Damaged,
    ids: impl IntoIterator<Item = SessionId>,
    grants: Grants,
) -> Result<Vec<Session>, StateError> {
    let list = json_list(ids);
    let sql = "SELECT * FROM sessions WHERE id IN (SELECT value FROM json_each(?1)) \
               ORDER BY started_at DESC, number DESC";
    let mut sessions = damaged.rows(connection, "sessions", sql, params![list], read_session)?;
    let mut callers = load_callers(connection, damaged, &list)?;
    let failures = auto_close::failures(connection, damaged)?;
    let kept = |session: &Session| match grants {
        Grants::All => false,
        Grants::Kept => true,
        Grants::Shown => session.status.is_live(),
    };
    let mut found = load_grants(connection, damaged, sessions.iter().filter(|one| kept(one)), true, &failures)?;
    let rest = sessions.iter().filter(|session| !found.contains_key(&session.id));
    found.extend(load_grants(connection, damaged, rest, false, &failures)?);
    for session in &mut sessions {
        session.caller_arns = callers.remove(&session.id).unwrap_or_default();
        session.grants = found.remove(&session.id).unwrap_or_default();
        if session.grants.is_empty() {
            damaged.note("sessions", &session.id.to_string(), "it has no grants that can be read".to_owned());
        }
    }
    sessions.retain(|session| !session.grants.is_empty());
    Ok(sessions)
}

pub(crate) fn read_session(row: &Row<'_>) -> Result<Session, StateError> {
    let row = RowRef::new("sessions", row.get::<_, String>("id")?, row);
    Ok(Session {
        id: SessionId(row.parse("id")?),
        user_name: row.get("user_name")?,
        user_email: row.get("user_email")?,
        reason: row.get("reason")?,
        follow: row.get("follow")?,
        followed_name: row.get("followed_name")?,
        status: row.parse("status")?,
        started_at: row.time("started_at")?,
        expires_at: row.time("expires_at")?,
        ended_at: row.maybe_time("ended_at")?,
        ended_reason: row.maybe_parse("ended_reason")?,
        caller_arns: BTreeSet::new(),
        grants: Vec::new(),
    })
}

fn load_callers(
    connection: &Connection,
    damaged: &Damaged,
    list: &str,
) -> Result<BTreeMap<SessionId, BTreeSet<String>>, StateError> {
    let sql = "SELECT session, arn FROM callers WHERE session IN (SELECT value FROM json_each(?1))";
    let caller = |row: &Row<'_>| Ok((session_id("callers", row, "session")?, row.get("arn")?));
    let mut callers: BTreeMap<SessionId, BTreeSet<String>> = BTreeMap::new();
    for (id, arn) in damaged.rows(connection, "callers", sql, params![list], caller)? {
        callers.entry(id).or_default().insert(arn);
    }
    Ok(callers)
}

/// The grants of sessions: all, or only the `kept` ones.
fn load_grants<'a>(
    connection: &Connection,
    damaged: &Damaged,
    sessions: impl Iterator<Item = &'a Session>,
    kept: bool,
    failures: &BTreeMap<RuleId, Failure>,
) -> Result<HashMap<SessionId, Vec<Grant>>, StateError> {
    let mut sessions = sessions.peekable();
    if sessions.peek().is_none() {
        return Ok(HashMap::new());
    }
    let list = json_list(sessions.map(|session| session.id));
    let mut permissions = load_permissions(connection, damaged, &list, kept)?;
    let sql = if kept {
        select_grants!(" INDEXED BY grants_kept", "AND r.status <> 'REMOVED' ")
    } else {
        select_grants!("", "")
    };
    let of_session = |row: &Row<'_>| Ok((session_id("grants", row, "session")?, read_grant(row)?));
    let mut grants: HashMap<SessionId, Vec<Grant>> = HashMap::new();
    for (session, mut grant) in damaged.rows(connection, "grants", sql, params![list], of_session)? {
        grant.permissions = permissions.remove(&grant.id).unwrap_or_default();
        if grant.permissions.is_empty() {
            damaged.note("grants", &grant.id.to_string(), "it has no permissions that can be read".to_owned());
            continue;
        }
        grant.without_auto_close = without_auto_close(&grant, failures);
        grants.entry(session).or_default().push(grant);
    }
    for list in grants.values_mut() {
        // Stable: of one resource and family, the oldest first.
        list.sort_by(|a, b| (&a.resource_name, a.ip_version()).cmp(&(&b.resource_name, b.ip_version())));
    }
    Ok(grants)
}

/// The reason why some rule of a grant would not close by itself.
pub(crate) fn without_auto_close(grant: &Grant, failures: &auto_close::Failures) -> Option<String> {
    let lives = !matches!(grant.status, GrantStatus::Removing | GrantStatus::Removed);
    let mut rules = grant.permissions.iter().filter_map(|item| item.standing.rule()).filter(|_| lives);
    rules.find_map(|rule| failures.get(rule)).map(auto_close_unset)
}

pub(crate) fn read_grant(row: &Row<'_>) -> Result<Grant, StateError> {
    let row = RowRef::new("grants", row.get::<_, String>("id")?, row);
    Ok(Grant {
        id: GrantId(row.parse("id")?),
        resource_name: row.get("resource_name")?,
        target: read_target(&row)?,
        address: row.parse("address")?,
        status: row.parse("status")?,
        permissions: Vec::new(),
        applied_at: row.maybe_time("applied_at")?,
        removed_at: row.maybe_time("removed_at")?,
        without_auto_close: None,
    })
}

fn load_permissions(
    connection: &Connection,
    damaged: &Damaged,
    list: &str,
    kept: bool,
) -> Result<HashMap<GrantId, Vec<GrantPermission>>, StateError> {
    let sql = if kept {
        select_permissions!(" INDEXED BY grants_kept", " AND g.status <> 'REMOVED'")
    } else {
        select_permissions!("", "")
    };
    let mut permissions: HashMap<GrantId, Vec<GrantPermission>> = HashMap::new();
    for (id, item) in damaged.rows(connection, "grant_permissions", sql, params![list], read_permission)? {
        permissions.entry(id).or_default().push(item);
    }
    for list in permissions.values_mut() {
        list.sort_by_key(|item| item.permission);
    }
    Ok(permissions)
}

pub(crate) fn read_permission(row: &Row<'_>) -> Result<(GrantId, GrantPermission), StateError> {
    let row = RowRef::new("grant_permissions", row.get::<_, String>("grant_id")?, row);
    let item = GrantPermission { permission: row.parse("permission")?, standing: read_standing(&row)? };
    Ok((GrantId(row.parse("grant_id")?), item))
}

fn read_standing(row: &RowRef<'_, '_>) -> Result<Standing, StateError> {
    match (row.get::<String>("standing")?.as_str(), row.get("detail")?) {
        ("untried", None) => Ok(Standing::Untried),
        ("own", Some(rule)) => Ok(Standing::Own(RuleId(rule))),
        ("shared", Some(rule)) => Ok(Standing::Shared(RuleId(rule))),
        ("foreign", Some(rule)) => Ok(Standing::Foreign(RuleId(rule))),
        ("pending", Some(why)) => Ok(Standing::Pending(why)),
        ("failed", Some(why)) => Ok(Standing::Failed(why)),
        (other, _) => Err(row.bad("standing", format_args!("\"{other}\" with this detail is not known"))),
    }
}

/// A standing's two columns.
pub(crate) fn standing_columns(standing: &Standing) -> (&'static str, Option<&str>) {
    match standing {
        Standing::Untried => ("untried", None),
        Standing::Own(rule) => ("own", Some(&rule.0)),
        Standing::Shared(rule) => ("shared", Some(&rule.0)),
        Standing::Foreign(rule) => ("foreign", Some(&rule.0)),
        Standing::Pending(why) => ("pending", Some(why)),
        Standing::Failed(why) => ("failed", Some(why)),
    }
}
