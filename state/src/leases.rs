//! The claims on rules. Every write is guarded by the version that it started from: a comparison of contents would not
//! notice a change that was changed back.

use crate::{
    columns::{RowRef, failure_text, seconds},
    damaged::{Damaged, one_row},
    error::StateError,
    events::{Event, EventKind},
    routes::{self, read_key, read_target, target_columns, target_joins},
    sessions::parts,
    targets,
    tx::{RowOutcome, Store, WriteTx},
};
use eg_model::{
    Timestamp,
    damage::still_wants,
    ids::{LeaseId, RuleId, SessionId},
    lease::Lease,
    net::permission::Permission,
    target::{Target, TargetKey},
};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use std::collections::BTreeSet;

impl Store {
    /// Every lease that is not closed, by id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn open_leases(&self) -> Result<Vec<Lease>, StateError> {
        self.read(|connection| Ok(open(connection, &self.damaged)?.leases))
    }

    /// The routes to the targets of open leases that do not parse.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn unreadable_leases(&self) -> Result<BTreeSet<Target>, StateError> {
        self.read(|connection| Ok(open(connection, &self.damaged)?.unreadable))
    }

    /// The open leases on one target, by id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn open_leases_on(&self, key: &TargetKey) -> Result<Vec<Lease>, StateError> {
        self.read(|connection| match targets::find(connection, key)? {
            Some(target) => Ok(open_on_target(connection, &self.damaged, target)?.leases),
            None => Ok(Vec::new()),
        })
    }

    /// The open lease on a permission of a target, made if there is none. There is never more than one.
    ///
    /// # Errors
    /// The database cannot be written, or a row does not parse.
    pub fn claim(&mut self, target: &Target, permission: &Permission, now: Timestamp) -> Result<Lease, StateError> {
        self.write_unflushed(|change| {
            let row = targets::row_of(change.tx, &target.key)?;
            claim(change, row, target, permission, now)
        })
    }

    /// The same for several permissions, all or none.
    ///
    /// # Errors
    /// As [`Store::claim`].
    pub fn claim_all(
        &mut self,
        target: &Target,
        permissions: &[Permission],
        now: Timestamp,
    ) -> Result<Vec<Lease>, StateError> {
        self.write_unflushed(|change| {
            let row = targets::row_of(change.tx, &target.key)?;
            permissions.iter().map(|permission| claim(change, row, target, permission, now)).collect()
        })
    }

    /// Writes a lease with its event, if the lease still has version `expected`.
    ///
    /// # Errors
    /// As [`Store::write_leases`].
    pub fn write_lease(&mut self, new: &Lease, expected: u64, event: &Event) -> Result<RowOutcome, StateError> {
        self.write_leases(&[(new.clone(), expected)], std::slice::from_ref(event))
    }

    /// Writes leases with their events, all or nothing, if every one still has the version beside it. A lease's target and
    /// permission never change.
    ///
    /// # Errors
    /// The database cannot be written (nothing is recorded then); [`StateError::Lease`] for a lease that is not on record
    /// or whose new version is not higher.
    pub fn write_leases(&mut self, batch: &[(Lease, u64)], events: &[Event]) -> Result<RowOutcome, StateError> {
        self.begin_attempt(None, batch, events)
    }

    /// Records the intent before a provider call, which [`Store::flush`] must follow. As [`Store::write_leases`], and only
    /// if the given session is live in the record, is not past its expiry at the given time, and still wants the permissions, undamaged
    /// ([`eg_model::damage`]).
    ///
    /// # Errors
    /// As [`Store::write_leases`].
    pub fn begin_attempt(
        &mut self,
        session_must_live: Option<(SessionId, Timestamp)>,
        batch: &[(Lease, u64)],
        events: &[Event],
    ) -> Result<RowOutcome, StateError> {
        self.write_unflushed(|change| {
            if let Some((id, now)) = session_must_live
                && !is_wanted(change.tx, id, batch, now)?
            {
                return Ok(RowOutcome::NoLongerWanted);
            }
            guarded(change, batch, events)
        })
    }
}

fn is_wanted(
    connection: &Connection,
    id: SessionId,
    batch: &[(Lease, u64)],
    now: Timestamp,
) -> Result<bool, StateError> {
    let Some((first, _)) = batch.first() else { return Ok(true) };
    let Some(target) = targets::find(connection, &first.target.key)? else { return Ok(false) };
    let on_target = parts::on_target(connection, &Damaged::default(), target)?;
    let Some(session) = on_target.iter().find(|session| session.id == id) else { return Ok(false) };
    Ok(batch.iter().all(|(lease, _)| still_wants(session, &lease.target.key, &lease.permission, now)))
}

fn claim(
    change: &WriteTx<'_, '_>,
    row: i64,
    target: &Target,
    permission: &Permission,
    now: Timestamp,
) -> Result<Lease, StateError> {
    if let Some(lease) = open_on(change.tx, row, permission)? {
        return Ok(lease);
    }
    let lease = insert(change.tx, row, target, permission, now)?;
    let mut event = Event::new(now, EventKind::Claimed, "claimed");
    event.target = Some(target.key.clone());
    event.permission = Some(*permission);
    change.event(&event)?;
    Ok(lease)
}

/// Checks every version before the first write. The transaction holds the write lock, so none changes in between.
fn guarded(change: &WriteTx<'_, '_>, batch: &[(Lease, u64)], events: &[Event]) -> Result<RowOutcome, StateError> {
    for (lease, expected) in batch {
        if lease.version <= *expected {
            return Err(StateError::Lease { id: lease.id, why: "was to be written without a higher version" });
        }
        if version_of(change.tx, lease.id)? != Some(number(lease.id, *expected)?) {
            return Ok(RowOutcome::Raced);
        }
    }
    for (lease, _) in batch {
        update(change.tx, lease)?;
    }
    for event in events {
        change.event(event)?;
    }
    Ok(RowOutcome::Done)
}

fn version_of(connection: &Connection, id: LeaseId) -> Result<Option<i64>, StateError> {
    let sql = "SELECT version FROM leases WHERE id = ?1";
    let found = connection.prepare_cached(sql)?.query_row([id.0], |row| row.get(0)).optional()?;
    found.map(Some).ok_or(StateError::Lease { id, why: "is not on record" })
}

fn number(id: LeaseId, version: u64) -> Result<i64, StateError> {
    i64::try_from(version).map_err(|_| StateError::Lease { id, why: "has a version beyond 2^63" })
}

/// The columns that [`read`] reads, of open leases.
macro_rules! select_leases {
    ($which:literal) => {
        concat!(
            "SELECT r.id, r.permission, r.phase, r.shared, r.rule_id, r.tagged_until, r.version, r.last_sent_at, \
             r.in_flight, r.last_unknown_at, r.refusals, r.next_try_at, r.last_failure, r.vanished, ",
            target_columns!(),
            // By the index of the open ones: with the order of the ids in mind, SQLite would read all that ever were.
            " FROM leases r INDEXED BY leases_open",
            target_joins!(),
            "WHERE r.phase <> 'closed'",
            $which,
            " ORDER BY r.id"
        )
    };
}

/// The open leases, by id.
pub(crate) struct Open {
    pub(crate) leases: Vec<Lease>,
    /// The targets of leases that do not parse. What these hold is not known, so no grant there counts as let go, and a
    /// pass looks there for the rules that `eg` opened by the events.
    pub(crate) unreadable: BTreeSet<Target>,
}

/// Every open lease.
pub(crate) fn open(connection: &Connection, damaged: &Damaged) -> Result<Open, StateError> {
    open_by(connection, damaged, select_leases!(""), params![])
}

/// The open leases on one target.
pub(crate) fn open_on_target(connection: &Connection, damaged: &Damaged, target: i64) -> Result<Open, StateError> {
    open_by(connection, damaged, select_leases!(" AND r.target = ?1"), params![target])
}

fn open_by(connection: &Connection, damaged: &Damaged, sql: &str, values: &[&dyn ToSql]) -> Result<Open, StateError> {
    let mut unreadable = BTreeSet::new();
    let read = |row: &Row<'_>| {
        let lease = read(row, damaged);
        if lease.is_err() {
            unreadable.extend(target_at_least(row));
        }
        lease
    };
    let leases = damaged.rows(connection, "leases", sql, values, read)?;
    Ok(Open { leases, unreadable })
}

/// The target of a damaged lease; by the standard route if its own cannot be read.
fn target_at_least(row: &Row<'_>) -> Option<Target> {
    let row = RowRef::new("leases", "", row);
    read_target(&row).or_else(|_| read_key(&row).map(Target::new)).ok()
}

fn open_on(connection: &Connection, target: i64, permission: &Permission) -> Result<Option<Lease>, StateError> {
    let sql = select_leases!(" AND r.target = ?1 AND r.permission = ?2");
    let values = params![target, permission.to_string()];
    one_row(connection, "leases", sql, values, |row| read(row, &Damaged::default()))
}

/// The columns that only say when to try again, and why, are not worth losing a claim for: a damaged one is told, and
/// left out.
fn read(row: &Row<'_>, damaged: &Damaged) -> Result<Lease, StateError> {
    let id: i64 = row.get("id")?;
    let row = RowRef::new("leases", id, row);
    Ok(Lease {
        id: LeaseId(id),
        target: read_target(&row)?,
        permission: row.parse("permission")?,
        phase: row.word("phase", |word| word.parse().ok())?,
        shared: row.get("shared")?,
        rule_id: row.get::<Option<String>>("rule_id")?.map(RuleId),
        tagged_until: damaged.skip(row.maybe_time("tagged_until"))?.flatten(),
        version: row.count("version")?,
        last_sent_at: row.maybe_time("last_sent_at")?,
        in_flight: row.maybe_time("in_flight")?,
        last_unknown_at: row.maybe_time("last_unknown_at")?,
        refusals: damaged.skip(row.count("refusals"))?.unwrap_or_default(),
        next_try_at: damaged.skip(row.maybe_time("next_try_at"))?.flatten(),
        last_failure: damaged.skip(row.json("last_failure"))?.flatten(),
        vanished: damaged.skip(row.count("vanished"))?.unwrap_or_default(),
    })
}

fn insert(
    connection: &Connection,
    target_row: i64,
    target: &Target,
    permission: &Permission,
    now: Timestamp,
) -> Result<Lease, StateError> {
    let sql = "INSERT INTO leases (target, route, permission, phase, shared, version, refusals, vanished, created_at) \
               VALUES (?1, ?2, ?3, 'claimed', 0, 0, 0, 0, ?4)";
    let route = routes::row_of(connection, &target.route)?;
    let values = params![target_row, route, permission.to_string(), now.timestamp()];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(Lease::claim(LeaseId(connection.last_insert_rowid()), target.clone(), *permission))
}

/// The route that a lease is to have. A lease that was read before an account was learnt, or that takes another route
/// now, must not unlearn the account.
fn route_of(connection: &Connection, lease: &Lease) -> Result<i64, StateError> {
    let sql = "SELECT o.account, o.partition FROM leases r JOIN routes o ON o.id = r.route WHERE r.id = ?1";
    let known = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let known = connection.prepare_cached(sql)?.query_row([lease.id.0], known).optional()?;
    let (account, partition): (Option<String>, Option<String>) = known.unwrap_or_default();
    let mut route = lease.target.route.clone();
    (route.account, route.partition) = (account.or(route.account), partition.or(route.partition));
    routes::row_of(connection, &route)
}

/// Writes everything of a lease that can change.
pub(crate) fn update(connection: &Connection, lease: &Lease) -> Result<(), StateError> {
    let sql = "UPDATE leases SET phase = ?2, shared = ?3, rule_id = ?4, tagged_until = ?5, version = ?6, \
               last_sent_at = ?7, in_flight = ?8, last_unknown_at = ?9, refusals = ?10, next_try_at = ?11, \
               last_failure = ?12, vanished = ?13, route = ?14 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        lease.id.0,
        lease.phase.as_str(),
        lease.shared,
        lease.rule_id.as_ref().map(|rule| &rule.0),
        seconds(lease.tagged_until),
        number(lease.id, lease.version)?,
        seconds(lease.last_sent_at),
        seconds(lease.in_flight),
        seconds(lease.last_unknown_at),
        lease.refusals,
        seconds(lease.next_try_at),
        failure_text(lease.last_failure.as_ref()),
        lease.vanished,
        route_of(connection, lease)?,
    ])?;
    Ok(())
}
