//! Start, extend, stop and expire.

use crate::{
    damaged::Damaged,
    error::StateError,
    events::{Event, EventKind},
    routes,
    sessions::{
        ending::end,
        read::{self, standing_columns},
    },
    targets,
    tx::{Store, WriteTx},
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    ids::SessionId,
    session::{
        ensure::{Ensuring, ensure},
        record::{EndedReason, Grant, GrantStatus, Session, SessionStatus, Standing},
    },
};
use rusqlite::{Connection, params};

impl Store {
    /// Ends every live session whose time is over at `now`: EXPIRING, and EXPIRED at once if nothing was ever opened for it
    /// or another session holds its rules. A latch: a clock that steps back reopens nothing. Returns the sessions that
    /// this call ended.
    ///
    /// # Errors
    /// The database cannot be written, or a row does not parse.
    pub fn expire(&mut self, now: Timestamp) -> Result<Vec<SessionId>, StateError> {
        self.write(|change| {
            let due = due_ids(change.tx, now)?;
            end(change, &due, EndedReason::Expired, now, "its time is over")?;
            Ok(due)
        })
    }

    /// Records a session with its grants. This is the intent; nothing has been opened yet.
    ///
    /// # Errors
    /// [`StateError::Unfit`] for a session without grants, a grant without permissions, anything but PENDING and
    /// untried, or an expiry that is not after the start; or the database cannot be written.
    pub fn start(&mut self, session: &Session) -> Result<(), StateError> {
        check_fit(session)?;
        self.write(|change| begin(change, session))
    }

    /// Keeps a session like this one, prolongs one, or records this one, as [`eg_model::session::ensure`] decides. Expired
    /// sessions end first. All in one transaction, so that of many processes that want the same, one begins it.
    ///
    /// # Errors
    /// As [`Store::start`].
    pub fn ensure(&mut self, wanted: &Session, longest: TimeDelta) -> Result<Ensuring, StateError> {
        check_fit(wanted)?;
        let now = wanted.started_at;
        self.write(|change| {
            let due = due_ids(change.tx, now)?;
            end(change, &due, EndedReason::Expired, now, "its time is over")?;
            let ensuring = ensure(&read::live(change.tx)?, wanted, longest);
            match ensuring {
                Ensuring::Keep(_) => {}
                Ensuring::Prolong(id) => prolong(change, id, wanted.expires_at, now)?,
                Ensuring::Begin => begin(change, wanted)?,
            }
            Ok(ensuring)
        })
    }

    /// Moves a live session's expiry to a later time.
    ///
    /// # Errors
    /// [`StateError::NoSuchSession`], [`StateError::NotLive`], [`StateError::PastExpiry`] (also when nothing has
    /// noticed the expiry yet), [`StateError::NotLater`]; or the database cannot be written.
    pub fn extend(&mut self, id: SessionId, expires_at: Timestamp, now: Timestamp) -> Result<(), StateError> {
        self.write(|change| {
            let session = read::kept(change.tx, id)?.ok_or(StateError::NoSuchSession(id))?;
            if !session.status.is_live() {
                return Err(StateError::NotLive { id, status: session.status, ended_at: session.ended_at });
            }
            if now >= session.expires_at {
                return Err(StateError::PastExpiry { id, expired_at: session.expires_at });
            }
            if expires_at <= session.expires_at {
                return Err(StateError::NotLater { id, expires_at: session.expires_at });
            }
            prolong(change, id, expires_at, now)
        })
    }

    /// Ends a live session by hand; an EXPIRING one stays as it is. Returns the session as it is afterwards.
    ///
    /// # Errors
    /// [`StateError::NoSuchSession`]; [`StateError::AlreadyEnded`] with state and time; or the database cannot be
    /// written.
    pub fn stop(&mut self, id: SessionId, now: Timestamp) -> Result<Session, StateError> {
        self.write(|change| {
            let session = read::one(change.tx, id)?.ok_or(StateError::NoSuchSession(id))?;
            if session.status.is_ended() {
                return Err(StateError::AlreadyEnded { id, status: session.status, ended_at: session.ended_at });
            }
            if session.status == SessionStatus::Expiring {
                return Ok(session);
            }
            end(change, &[id], EndedReason::Manual, now, "stopped by the user")?;
            read::one(change.tx, id)?.ok_or(StateError::NoSuchSession(id))
        })
    }
}

fn until(at: Timestamp) -> String {
    format!("until {}", at.format("%Y-%m-%dT%H:%M:%SZ"))
}

fn check_fit(session: &Session) -> Result<(), StateError> {
    unfit(session).map_or(Ok(()), |why| Err(StateError::Unfit { id: session.id, why }))
}

fn begin(change: &WriteTx<'_, '_>, session: &Session) -> Result<(), StateError> {
    insert_session(change.tx, session)?;
    for (position, grant) in (0..).zip(&session.grants) {
        insert_grant(change.tx, session.id, position, grant)?;
    }
    change.event(&Event {
        session: Some(session.id),
        detail: session.reason.clone(),
        ..Event::new(session.started_at, EventKind::SessionStarted, until(session.expires_at))
    })
}

fn prolong(change: &WriteTx<'_, '_>, id: SessionId, expires_at: Timestamp, now: Timestamp) -> Result<(), StateError> {
    let sql = "UPDATE sessions SET expires_at = ?2 WHERE id = ?1";
    change.tx.execute(sql, params![id.to_string(), expires_at.timestamp()])?;
    change.event(&Event { session: Some(id), ..Event::new(now, EventKind::SessionExtended, until(expires_at)) })
}

/// The reason why a session cannot be recorded.
fn unfit(session: &Session) -> Option<&'static str> {
    let untried = |grant: &Grant| grant.permissions.iter().all(|item| item.standing == Standing::Untried);
    if session.grants.is_empty() {
        Some("it opens nothing: select at least one resource")
    } else if session.grants.iter().any(|grant| grant.permissions.is_empty()) {
        Some("a resource has no ports: give it at least one in the configuration")
    } else if session.expires_at <= session.started_at {
        Some("it would end before it starts")
    } else if session.status != SessionStatus::Pending || session.ended_at.is_some() || session.ended_reason.is_some() {
        Some("a new session is PENDING")
    } else if !session.grants.iter().all(|grant| grant.status == GrantStatus::Pending && untried(grant)) {
        Some("a new grant is PENDING and untried")
    } else {
        None
    }
}

fn insert_session(connection: &Connection, session: &Session) -> Result<(), StateError> {
    let sql = "INSERT INTO sessions (id, user_name, user_email, reason, status, started_at, expires_at, follow, \
               followed_name) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let id = session.id.to_string();
    connection.execute(
        sql,
        params![
            id,
            session.user_name,
            session.user_email,
            session.reason,
            session.status.as_str(),
            session.started_at.timestamp(),
            session.expires_at.timestamp(),
            session.follow,
            session.followed_name,
        ],
    )?;
    for arn in &session.caller_arns {
        connection.execute("INSERT INTO callers (session, arn) VALUES (?1, ?2)", params![id, arn])?;
    }
    Ok(())
}

/// A new grant of a session, at a position that none of its grants has.
pub(crate) fn insert_grant(
    connection: &Connection,
    session: SessionId,
    position: i64,
    grant: &Grant,
) -> Result<(), StateError> {
    let sql = "INSERT INTO grants (id, session, position, resource_name, address, status, target, route) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        grant.id.to_string(),
        session.to_string(),
        position,
        grant.resource_name,
        grant.address.to_string(),
        grant.status.as_str(),
        targets::row_of(connection, &grant.target.key)?,
        routes::row_of(connection, &grant.target.route)?,
    ])?;
    let sql = "INSERT INTO grant_permissions (grant_id, permission, standing, detail) VALUES (?1, ?2, ?3, ?4)";
    for item in &grant.permissions {
        let (word, detail) = standing_columns(&item.standing);
        let values = params![grant.id.to_string(), item.permission.to_string(), word, detail];
        connection.prepare_cached(sql)?.execute(values)?;
    }
    Ok(())
}

fn due_ids(connection: &Connection, now: Timestamp) -> Result<Vec<SessionId>, StateError> {
    let sql = "SELECT id FROM sessions WHERE status IN ('PENDING', 'ACTIVE', 'PARTIAL', 'FAILED') \
               AND expires_at <= ?1 ORDER BY id";
    read::ids(connection, &Damaged::default(), sql, params![now.timestamp()])
}
