//! The end of sessions: their grants let go when nothing of this installation holds what they opened.

use crate::{
    damaged::Damaged,
    error::StateError,
    events::{Event, EventKind},
    leases,
    sessions::{parts, read},
    tx::WriteTx,
};
use eg_model::{
    Timestamp,
    ids::SessionId,
    lease::{Lease, has_let_go},
    net::permission::Permission,
    plan::wants,
    session::record::{EndedReason, Grant, GrantStatus, Session, SessionStatus, roll_up_ending},
    target::TargetKey,
};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// One permission of one target.
pub(crate) type Slot = (TargetKey, Permission);

/// A grant whose status changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantChange {
    /// Its session.
    pub session: SessionId,
    /// The grant as it is now.
    pub grant: Grant,
    /// The status it had.
    pub before: GrantStatus,
    /// True if only the address tells it from another one of its session.
    pub has_alike: bool,
}

/// Every live session.
pub(crate) fn live_ids(connection: &Connection) -> Result<Vec<SessionId>, StateError> {
    read::newest_ids(connection, &Damaged::default(), &read::live_statuses(), -1)
}

/// Ends live sessions, all of them before any grant is judged: otherwise a rule that two of them share would stay.
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

/// Moves every REMOVING grant that has let go to REMOVED, closes the claims that were never attempted and that no session
/// wants, and rolls the ending sessions up.
pub(crate) fn settle(change: &WriteTx<'_, '_>, now: Timestamp) -> Result<Vec<GrantChange>, StateError> {
    let wanted = wanted(&read::live(change.tx)?);
    let ignored = Damaged::default();
    let open = OwnClaims::of(leases::open(change.tx, &ignored)?);
    let mut changes = Vec::new();
    // Sessions that end, and sessions that live on at another address.
    let sql = "SELECT id FROM sessions WHERE status = 'EXPIRING' \
               OR id IN (SELECT session FROM grants WHERE status = 'REMOVING') ORDER BY started_at DESC, number DESC";
    for session in read::load(change.tx, read::ids(change.tx, &ignored, sql, params![])?)? {
        let (removed, statuses) = release(change, &session, &wanted, &open, now)?;
        changes.extend(removed);
        roll_up_ended(change, &session, &statuses, now)?;
    }
    open.close_untouched(change, &wanted, now)?;
    Ok(changes)
}

/// The same on one target: its grants, its claims, and the sessions that wait for it alone.
pub(crate) fn settle_target(
    change: &WriteTx<'_, '_>,
    target: i64,
    now: Timestamp,
) -> Result<Vec<GrantChange>, StateError> {
    let ignored = Damaged::default();
    let sessions = parts::on_target(change.tx, &ignored, target)?;
    let wanted = wanted(&sessions);
    let open = OwnClaims::of(leases::open_on_target(change.tx, &ignored, target)?);
    let mut changes = Vec::new();
    for session in sessions {
        let (removed, _) = release(change, &session, &wanted, &open, now)?;
        if !removed.is_empty() {
            roll_up_ended(change, &session, &read::grant_statuses(change.tx, session.id)?, now)?;
        }
        changes.extend(removed);
    }
    open.close_untouched(change, &wanted, now)?;
    Ok(changes)
}

/// The claims of this installation.
struct OwnClaims {
    open: BTreeMap<Slot, Lease>,
    /// The targets of claims that cannot be read.
    unreadable: BTreeSet<TargetKey>,
}

impl OwnClaims {
    fn of(leases: leases::Open) -> Self {
        let open = leases.leases.into_iter().map(|lease| ((lease.target.key.clone(), lease.permission), lease));
        let unreadable = leases.unreadable.into_iter().map(|target| target.key).collect();
        Self { open: open.collect(), unreadable }
    }

    /// Closes the claims that were never attempted and that no session wants.
    fn close_untouched(
        &self,
        change: &WriteTx<'_, '_>,
        wanted: &BTreeSet<Slot>,
        now: Timestamp,
    ) -> Result<(), StateError> {
        let unwanted = self.open.iter().filter(|(slot, lease)| !lease.attempted() && !wanted.contains(slot));
        for (_, lease) in unwanted {
            leases::update(change.tx, &lease.closed())?;
            let mut event = Event::new(now, EventKind::LeaseClosed, "never attempted, and wanted no more");
            event.target = Some(lease.target.key.clone());
            event.permission = Some(lease.permission);
            change.event(&event)?;
        }
        Ok(())
    }

    /// True if a session has let go of a grant.
    fn free(&self, grant: &Grant, wanted: &BTreeSet<Slot>) -> bool {
        !self.unreadable.contains(&grant.target.key)
            && slots(grant).all(|slot| has_let_go(self.open.get(&slot), wanted.contains(&slot)))
    }
}

/// The permissions that live sessions want, or keep for now.
fn wanted(sessions: &[Session]) -> BTreeSet<Slot> {
    let of_target = |(target, wants): (TargetKey, BTreeMap<Permission, _>)| {
        wants.into_keys().map(move |permission| (target.clone(), permission))
    };
    wants(sessions).into_iter().flat_map(of_target).collect()
}

fn slots(grant: &Grant) -> impl Iterator<Item = Slot> {
    grant.permissions.iter().map(|item| (grant.target.key.clone(), item.permission))
}

/// Lets go of a session's grants, as far as nothing of this installation holds them. Returns also the statuses of all.
fn release(
    change: &WriteTx<'_, '_>,
    session: &Session,
    wanted: &BTreeSet<Slot>,
    open: &OwnClaims,
    now: Timestamp,
) -> Result<(Vec<GrantChange>, Vec<GrantStatus>), StateError> {
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
        let has_alike = session.has_alike(grant);
        changes.push(GrantChange { session: session.id, grant: removed, before: grant.status, has_alike });
    }
    Ok((changes, statuses))
}

/// Ends a session whose every grant is REMOVED, unless it lives on at another address.
fn roll_up_ended(
    change: &WriteTx<'_, '_>,
    session: &Session,
    grants: &[GrantStatus],
    now: Timestamp,
) -> Result<(), StateError> {
    if session.status.is_live() {
        return Ok(());
    }
    let reason = session.ended_reason.ok_or_else(|| StateError::row("sessions", session.id, "no ended_reason"))?;
    let status = session.status.to(roll_up_ending(grants, reason))?;
    if status != session.status {
        write_status(change, session.id, status, now)?;
    }
    Ok(())
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
