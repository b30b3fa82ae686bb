//! Start, extend, stop and expire; and how the grants of an ending session let go.

use crate::{
    GrantChange, StateError, Store,
    columns::{permission_text, services_endpoint},
    damaged::Damaged,
    events::{Event, EventKind},
    leases,
    sessions::read::{self, standing_columns},
    store::WriteTx,
    targets,
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    ids::SessionId,
    lease::{Lease, has_let_go},
    net::permission::Permission,
    plan::wants,
    session::{
        ensure::{Ensuring, ensure},
        record::{EndedReason, Grant, GrantStatus, Session, SessionStatus, Standing, roll_up_ending},
    },
    target::TargetKey,
};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// One permission of one target.
pub(crate) type Slot = (TargetKey, Permission);

impl Store {
    /// Ends every live session whose time is over at `now`: EXPIRING, and further at once where nothing was ever
    /// opened for it or another session of ours holds what it held. A latch: a clock that steps back reopens
    /// nothing. Returns the sessions that this call ended.
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

    /// Sees to it that a session like this one lives, as [`eg_model::session::ensure`] decides: keeps one, prolongs one, or
    /// records this one. All in one transaction, so that of many processes that want the same, one begins it. Ends
    /// what is over first.
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
            let session = read::one(change.tx, id)?.ok_or(StateError::NoSuchSession(id))?;
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

    /// Ends a live session by hand; one that is EXPIRING stays as it is. Returns it as it is afterwards.
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
    for (position, grant) in session.grants.iter().enumerate() {
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

/// Why a session cannot be recorded.
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
    let sql = "INSERT INTO sessions (id, user_name, user_email, reason, status, started_at, expires_at, follow) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
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
    position: usize,
    grant: &Grant,
) -> Result<(), StateError> {
    let sql = "INSERT INTO grants (id, session, position, resource_name, address, status, target, account, partition, \
               profile, role_arn, external_id, config_file, credentials_file, services_endpoint) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    let route = &grant.target.route;
    connection.prepare_cached(sql)?.execute(params![
        grant.id.to_string(),
        session.to_string(),
        i64::try_from(position).unwrap_or(i64::MAX),
        grant.resource_name,
        grant.address.to_string(),
        grant.status.as_str(),
        targets::row_of(connection, &grant.target.key)?,
        route.account,
        route.partition,
        route.profile,
        route.role_arn,
        route.external_id,
        route.config_file,
        route.credentials_file,
        services_endpoint(route),
    ])?;
    let sql = "INSERT INTO grant_permissions (grant_id, permission, standing, detail) VALUES (?1, ?2, ?3, ?4)";
    for item in &grant.permissions {
        let (word, detail) = standing_columns(&item.standing);
        let values = params![grant.id.to_string(), permission_text(&item.permission), word, detail];
        connection.prepare_cached(sql)?.execute(values)?;
    }
    Ok(())
}

/// Every live session.
pub(crate) fn live_ids(connection: &Connection) -> Result<Vec<SessionId>, StateError> {
    read::newest_ids(connection, &Damaged::default(), &read::live_statuses(), -1)
}

fn due_ids(connection: &Connection, now: Timestamp) -> Result<Vec<SessionId>, StateError> {
    let sql = "SELECT id FROM sessions WHERE status IN ('PENDING', 'ACTIVE', 'PARTIAL', 'FAILED') \
               AND expires_at <= ?1 ORDER BY id";
    read::ids(connection, &Damaged::default(), sql, params![now.timestamp()])
}

/// Ends live sessions, all of them before any grant is judged: what two of them shared is wanted by neither.
pub(crate) fn end(
    change: &WriteTx<'_, '_>,
    ids: &[SessionId],
    reason: EndedReason,
    now: Timestamp,
    cause: &str,
) -> Result<(), StateError> {
    if ids.is_empty() {
        return Ok(());
    }
    for session in read::load(change.tx, ids.iter().copied())? {
        let status = session.status.to(SessionStatus::Expiring)?;
        let sql = "UPDATE sessions SET status = ?2, ended_at = ?3, ended_reason = ?4 WHERE id = ?1";
        let id = session.id.to_string();
        change.tx.execute(sql, params![id, status.as_str(), now.timestamp(), reason.as_str()])?;
        let mut event =
            Event { session: Some(session.id), ..Event::new(now, EventKind::SessionEnded, reason.as_str()) };
        event.detail = Some(cause.to_owned());
        change.event(&event)?;
        tell_session(change, session.id, status, now)?;
        for grant in session.current() {
            let next = grant.status.to(GrantStatus::Removing)?;
            write_grant(change, session.id, &Grant { status: next, ..grant.clone() }, grant.status, now)?;
        }
    }
    settle(change, now)?;
    Ok(())
}

/// Moves every REMOVING grant that has let go to REMOVED, closes the claims that were never attempted and that
/// nobody wants, and rolls the ending sessions up.
pub(crate) fn settle(change: &WriteTx<'_, '_>, now: Timestamp) -> Result<Vec<GrantChange>, StateError> {
    let wanted = wanted(change.tx)?;
    let ignored = Damaged::default();
    let leases::Open { leases, unreadable } = leases::open(change.tx, &ignored)?;
    let leases = leases.into_iter().map(|lease| ((lease.target.key.clone(), lease.permission), lease));
    let unreadable = unreadable.into_iter().map(|target| target.key).collect();
    let open = OwnClaims { open: leases.collect(), unreadable };
    let mut changes = Vec::new();
    // Those that end, and those that live on at another address.
    let sql = "SELECT id FROM sessions WHERE status = 'EXPIRING' \
               OR id IN (SELECT session FROM grants WHERE status = 'REMOVING') ORDER BY started_at DESC, number DESC";
    for session in read::load(change.tx, read::ids(change.tx, &ignored, sql, params![])?)? {
        changes.extend(let_go(change, &session, &wanted, &open, now)?);
    }
    for (slot, lease) in &open.open {
        if !lease.attempted() && !wanted.contains(slot) {
            close_untouched(change, lease, now)?;
        }
    }
    Ok(changes)
}

/// What this installation claims.
struct OwnClaims {
    open: BTreeMap<Slot, Lease>,
    /// Where it claims something that cannot be read.
    unreadable: BTreeSet<TargetKey>,
}

impl OwnClaims {
    /// Whether a session has let go of a grant.
    fn free(&self, grant: &Grant, wanted: &BTreeSet<Slot>) -> bool {
        !self.unreadable.contains(&grant.target.key)
            && slots(grant).all(|slot| has_let_go(self.open.get(&slot), wanted.contains(&slot)))
    }
}

/// What live sessions want, or keep for now.
fn wanted(connection: &Connection) -> Result<BTreeSet<Slot>, StateError> {
    let wants = wants(&read::live(connection)?);
    let of_target = |(target, wants): (TargetKey, BTreeMap<Permission, _>)| {
        wants.into_keys().map(move |permission| (target.clone(), permission))
    };
    Ok(wants.into_iter().flat_map(of_target).collect())
}

fn slots(grant: &Grant) -> impl Iterator<Item = Slot> {
    grant.permissions.iter().map(|item| (grant.target.key.clone(), item.permission))
}

/// The grants that a session lets go of; then, if it ends, the session itself.
fn let_go(
    change: &WriteTx<'_, '_>,
    session: &Session,
    wanted: &BTreeSet<Slot>,
    open: &OwnClaims,
    now: Timestamp,
) -> Result<Vec<GrantChange>, StateError> {
    let mut changes = Vec::new();
    let mut statuses = Vec::new();
    for grant in &session.grants {
        if grant.status != GrantStatus::Removing || session.keeps(grant) || !open.free(grant, wanted) {
            statuses.push(grant.status);
            continue;
        }
        let status = grant.status.to(GrantStatus::Removed)?;
        let removed = Grant { status, removed_at: Some(now), ..grant.clone() };
        write_grant(change, session.id, &removed, grant.status, now)?;
        statuses.push(status);
        changes.push(GrantChange { session: session.id, grant: removed, before: grant.status });
    }
    if session.status.is_live() {
        return Ok(changes);
    }
    let reason = session.ended_reason.ok_or_else(|| StateError::row("sessions", session.id, "no ended_reason"))?;
    let status = session.status.to(roll_up_ending(&statuses, reason))?;
    if status != session.status {
        write_status(change, session.id, status, now)?;
    }
    Ok(changes)
}

fn close_untouched(change: &WriteTx<'_, '_>, lease: &Lease, now: Timestamp) -> Result<(), StateError> {
    leases::update(change.tx, &lease.closed())?;
    let mut event = Event::new(now, EventKind::LeaseClosed, "never attempted, and wanted no more");
    event.target = Some(lease.target.key.clone());
    event.permission = Some(lease.permission);
    change.event(&event)
}

/// Writes a grant's status and times, with an event when the status changed.
pub(crate) fn write_grant(
    change: &WriteTx<'_, '_>,
    session: SessionId,
    grant: &Grant,
    before: GrantStatus,
    now: Timestamp,
) -> Result<(), StateError> {
    if grant.status == before {
        return Ok(());
    }
    let sql = "UPDATE grants SET status = ?2, applied_at = ?3, removed_at = ?4 WHERE id = ?1";
    let (applied_at, removed_at) =
        (grant.applied_at.map(|at| at.timestamp()), grant.removed_at.map(|at| at.timestamp()));
    let id = grant.id.to_string();
    change.tx.prepare_cached(sql)?.execute(params![id, grant.status.as_str(), applied_at, removed_at])?;
    let mut event = Event::new(now, EventKind::GrantStatus, grant.status.as_str());
    event.session = Some(session);
    event.target = Some(grant.target.key.clone());
    event.detail = Some(format!("grant {id} for {} was {before}", grant.address));
    change.event(&event)
}

/// Writes a session's status, with its event.
pub(crate) fn write_status(
    change: &WriteTx<'_, '_>,
    id: SessionId,
    status: SessionStatus,
    now: Timestamp,
) -> Result<(), StateError> {
    let sql = "UPDATE sessions SET status = ?2 WHERE id = ?1";
    change.tx.prepare_cached(sql)?.execute(params![id.to_string(), status.as_str()])?;
    tell_session(change, id, status, now)
}

fn tell_session(
    change: &WriteTx<'_, '_>,
    id: SessionId,
    status: SessionStatus,
    now: Timestamp,
) -> Result<(), StateError> {
    change.event(&Event { session: Some(id), ..Event::new(now, EventKind::SessionStatus, status.as_str()) })
}
