//! The ledger. Every write is guarded by the version that it started from: comparing contents would fall for ABA.

use crate::{
    StateError, Store,
    columns::{RowRef, permission_text, read_target, seconds, services_endpoint, target_columns},
    damaged::{Damaged, of_its_row},
    events::{Event, EventKind, target_text},
    sessions::read,
    store::WriteTx,
    targets,
};
use eg_model::{
    Timestamp,
    damage::still_wants,
    ids::{LeaseId, RuleId, SessionId},
    lease::{Lease, Phase},
    net::permission::Permission,
    target::{Target, TargetKey},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::{BTreeMap, BTreeSet};

/// What came of a guarded write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// All of it is recorded.
    Done,
    /// Somebody else wrote one of the leases since it was read: nothing was recorded, read again.
    Raced,
    /// The session that the attempt was for is over: nothing was recorded, open nothing.
    NoLongerWanted,
}

impl Store {
    /// Every lease that is not closed, by id.
    ///
    /// # Errors
    /// The database cannot be read, or a row does not parse.
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

    /// The rules whose revoke was confirmed at or after `since`, each with the last time.
    ///
    /// # Errors
    /// The database cannot be read, or a row does not parse.
    pub fn revoked_rules(&self, since: Timestamp) -> Result<BTreeMap<RuleId, Timestamp>, StateError> {
        self.read(|connection| {
            let sql = "SELECT rule_id, max(at) FROM events \
                       WHERE kind = 'revoked' AND at >= ?1 AND rule_id IS NOT NULL GROUP BY rule_id";
            times(connection, &self.damaged, sql, params![since.timestamp()])
        })
    }

    /// The rules that were opened, joined, or recognised by our tag, at or after `since` and whose revoke is not
    /// confirmed, each with the permission that it was opened for.
    ///
    /// # Errors
    /// The database cannot be read, or a row does not parse.
    pub fn opened_rules(&self, since: Timestamp) -> Result<BTreeMap<RuleId, Permission>, StateError> {
        self.read(|connection| {
            let sql = "SELECT rule_id, permission FROM events \
                       WHERE kind IN ('authorized', 'joined', 'lease-adopted') AND at >= ?1 \
                         AND rule_id IS NOT NULL AND permission IS NOT NULL \
                         AND rule_id NOT IN (SELECT rule_id FROM events \
                                             WHERE kind = 'revoked' AND at >= ?1 AND rule_id IS NOT NULL)";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([since.timestamp()])?;
            let mut opened = BTreeMap::new();
            while let Some(row) = rows.next()? {
                opened.extend(self.damaged.skip_in("events", read_opened(row))?);
            }
            Ok(opened)
        })
    }

    /// The rules that were opened for a permission of a target, joined, or recognised by our tag, at or after `since` and
    /// whose revoke is not confirmed, each with the last time.
    ///
    /// # Errors
    /// The database cannot be read, or a row does not parse.
    pub fn opened_on(
        &self,
        target: &TargetKey,
        permission: &Permission,
        since: Timestamp,
    ) -> Result<BTreeMap<RuleId, Timestamp>, StateError> {
        self.read(|connection| {
            let sql = "SELECT rule_id, max(at) FROM events \
                       WHERE kind IN ('authorized', 'joined', 'lease-adopted') AND at >= ?1 \
                         AND target = ?2 AND permission = ?3 AND rule_id IS NOT NULL \
                         AND rule_id NOT IN (SELECT rule_id FROM events \
                                             WHERE kind = 'revoked' AND at >= ?1 AND rule_id IS NOT NULL) \
                       GROUP BY rule_id";
            let which = params![since.timestamp(), target_text(target), permission_text(permission)];
            times(connection, &self.damaged, sql, which)
        })
    }

    /// The open lease on a permission of a target, made where there is none; there is never more than one.
    ///
    /// # Errors
    /// The database cannot be written, or a row does not parse.
    pub fn claim(&mut self, target: &Target, permission: &Permission, now: Timestamp) -> Result<Lease, StateError> {
        self.write(|change| {
            let target_row = targets::row_of(change.tx, &target.key)?;
            if let Some(lease) = open_on(change.tx, target_row, permission)? {
                return Ok(lease);
            }
            let lease = insert(change.tx, target_row, target, permission, now)?;
            let mut event = Event::new(now, EventKind::Claimed, "claimed");
            event.target = Some(target.key.clone());
            event.permission = Some(*permission);
            change.event(&event)?;
            Ok(lease)
        })
    }

    /// Writes a lease with its event, where the lease still has version `expected`.
    ///
    /// # Errors
    /// As [`Store::write_leases`].
    pub fn write_lease(&mut self, new: &Lease, expected: u64, event: &Event) -> Result<Written, StateError> {
        self.write_leases(&[(new.clone(), expected)], std::slice::from_ref(event))
    }

    /// Writes leases with their events, all or nothing, where every one still has the version that stands beside
    /// it. A lease's target and permission never change.
    ///
    /// # Errors
    /// The database cannot be written (nothing is recorded then); [`StateError::Lease`] for a lease that is not in
    /// the ledger or whose new version is not higher.
    pub fn write_leases(&mut self, batch: &[(Lease, u64)], events: &[Event]) -> Result<Written, StateError> {
        self.begin_attempt(None, batch, events)
    }

    /// Records the intent before a provider call: as [`Store::write_leases`], and only while the given session is
    /// live in the record, is not past its expiry at the given time, and still says what is to be opened, soundly
    /// ([`eg_model::damage`]).
    ///
    /// # Errors
    /// As [`Store::write_leases`].
    pub fn begin_attempt(
        &mut self,
        session_must_live: Option<(SessionId, Timestamp)>,
        batch: &[(Lease, u64)],
        events: &[Event],
    ) -> Result<Written, StateError> {
        self.write(|change| {
            if let Some((id, now)) = session_must_live
                && !is_wanted(change.tx, id, batch, now)?
            {
                return Ok(Written::NoLongerWanted);
            }
            guarded(change, batch, events)
        })
    }
}

/// Rules, each with a time.
fn times(
    connection: &Connection,
    damaged: &Damaged,
    sql: &str,
    which: &[&dyn rusqlite::ToSql],
) -> Result<BTreeMap<RuleId, Timestamp>, StateError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(which)?;
    let mut times = BTreeMap::new();
    while let Some(row) = rows.next()? {
        times.extend(damaged.skip_in("events", read_time(row))?);
    }
    Ok(times)
}

fn read_time(row: &Row<'_>) -> Result<(RuleId, Timestamp), StateError> {
    let rule: String = row.get(0)?;
    let at = RowRef { table: "events", row: &rule }.time("at", row.get(1)?)?;
    Ok((RuleId(rule), at))
}

fn read_opened(row: &Row<'_>) -> Result<(RuleId, Permission), StateError> {
    let (rule, permission): (String, String) = (row.get(0)?, row.get(1)?);
    let permission = RowRef { table: "events", row: &rule }.parse("permission", &permission)?;
    Ok((RuleId(rule), permission))
}

fn is_wanted(
    connection: &Connection,
    id: SessionId,
    batch: &[(Lease, u64)],
    now: Timestamp,
) -> Result<bool, StateError> {
    let Some(session) = read::one(connection, id)? else { return Ok(false) };
    Ok(batch.iter().all(|(lease, _)| still_wants(&session, &lease.target.key, &lease.permission, now)))
}

/// Checks every version before the first write; the transaction holds the write lock, so they stay.
fn guarded(change: &WriteTx<'_, '_>, batch: &[(Lease, u64)], events: &[Event]) -> Result<Written, StateError> {
    for (lease, expected) in batch {
        if lease.version <= *expected {
            return Err(StateError::Lease { id: lease.id, why: "was to be written without a higher version" });
        }
        if version_of(change.tx, lease.id)? != Some(number(lease.id, *expected)?) {
            return Ok(Written::Raced);
        }
    }
    for (lease, _) in batch {
        update(change.tx, lease)?;
    }
    for event in events {
        change.event(event)?;
    }
    Ok(Written::Done)
}

fn version_of(connection: &Connection, id: LeaseId) -> Result<Option<i64>, StateError> {
    let sql = "SELECT version FROM leases WHERE id = ?1";
    let found = connection.prepare_cached(sql)?.query_row([id.0], |row| row.get(0)).optional()?;
    found.map(Some).ok_or(StateError::Lease { id, why: "is not in the ledger" })
}

fn number(id: LeaseId, version: u64) -> Result<i64, StateError> {
    i64::try_from(version).map_err(|_| StateError::Lease { id, why: "has a version beyond 2^63" })
}

/// The columns of a lease, as [`read`] expects them.
macro_rules! select_leases {
    ($which:literal) => {
        concat!(
            "SELECT r.id, r.permission, r.phase, r.shared, r.rule_id, r.tagged_until, r.version, r.last_sent_at, \
             r.in_flight, r.last_unknown_at, r.refusals, r.next_try_at, r.last_failure, r.vanished, ",
            target_columns!(),
            " FROM leases r JOIN targets t ON t.id = r.target WHERE ",
            $which,
            " ORDER BY r.id"
        )
    };
}

/// The open leases, by id.
#[derive(Default)]
pub(crate) struct Open {
    pub(crate) leases: Vec<Lease>,
    /// The routes to the targets of leases that do not parse: what these hold is not known, so nothing there counts as let
    /// go, and a pass looks there for what the events say that `eg` opened.
    pub(crate) unreadable: BTreeSet<Target>,
}

/// Every open lease.
pub(crate) fn open(connection: &Connection, damaged: &Damaged) -> Result<Open, StateError> {
    let mut statement = connection.prepare_cached(select_leases!("r.phase <> 'closed'"))?;
    let mut rows = statement.query([])?;
    let mut open = Open::default();
    while let Some(row) = rows.next()? {
        match damaged.skip_in("leases", read(row, damaged))? {
            Some(lease) => open.leases.push(lease),
            None => open.unreadable.extend(read_target(row, TARGET).ok()),
        }
    }
    Ok(open)
}

fn open_on(connection: &Connection, target: i64, permission: &Permission) -> Result<Option<Lease>, StateError> {
    let sql = select_leases!("r.phase <> 'closed' AND r.target = ?1 AND r.permission = ?2");
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![target, permission_text(permission)])?;
    let found = rows.next()?.map(|row| read(row, &Damaged::default())).transpose();
    found.map_err(|error| of_its_row("leases", error))
}

/// The column where a lease's target begins.
const TARGET: usize = 14;

/// What only says when to try again, and why, is not worth losing a claim for: it is told, and left out.
fn read(row: &Row<'_>, damaged: &Damaged) -> Result<Lease, StateError> {
    let id: i64 = row.get(0)?;
    let text = id.to_string();
    let place = RowRef { table: "leases", row: &text };
    let failure: Option<String> = row.get(12)?;
    let failure = failure.map(|json| serde_json::from_str(&json).map_err(|why| place.bad("last_failure", why)));
    Ok(Lease {
        id: LeaseId(id),
        target: read_target(row, TARGET)?,
        permission: place.parse("permission", &row.get::<_, String>(1)?)?,
        phase: place.word("phase", &row.get::<_, String>(2)?, Phase::from_word)?,
        shared: row.get(3)?,
        rule_id: row.get::<_, Option<String>>(4)?.map(RuleId),
        tagged_until: damaged.skip(place.maybe_time("tagged_until", row.get(5)?))?.flatten(),
        version: place.count("version", row.get(6)?)?,
        last_sent_at: place.maybe_time("last_sent_at", row.get(7)?)?,
        in_flight: place.maybe_time("in_flight", row.get(8)?)?,
        last_unknown_at: place.maybe_time("last_unknown_at", row.get(9)?)?,
        refusals: damaged.skip(place.count("refusals", row.get(10)?))?.unwrap_or_default(),
        next_try_at: damaged.skip(place.maybe_time("next_try_at", row.get(11)?))?.flatten(),
        last_failure: damaged.skip(failure.transpose())?.flatten(),
        vanished: damaged.skip(place.count("vanished", row.get(13)?))?.unwrap_or_default(),
    })
}

fn insert(
    connection: &Connection,
    target_row: i64,
    target: &Target,
    permission: &Permission,
    now: Timestamp,
) -> Result<Lease, StateError> {
    let sql = "INSERT INTO leases (target, permission, phase, shared, version, refusals, vanished, created_at) \
               VALUES (?1, ?2, 'claimed', 0, 0, 0, 0, ?3)";
    connection.prepare_cached(sql)?.execute(params![target_row, permission_text(permission), now.timestamp()])?;
    let lease = Lease::claim(LeaseId(connection.last_insert_rowid()), target.clone(), *permission);
    write_route(connection, &lease)?;
    Ok(lease)
}

fn write_route(connection: &Connection, lease: &Lease) -> Result<(), StateError> {
    // What was learnt meanwhile is not unlearnt by a lease that was read before, or that goes another way now.
    let sql = "UPDATE leases SET account = COALESCE(account, ?2), partition = COALESCE(partition, ?3), \
               profile = ?4, role_arn = ?5, external_id = ?6, config_file = ?7, credentials_file = ?8, \
               services_endpoint = ?9 WHERE id = ?1";
    let route = &lease.target.route;
    connection.prepare_cached(sql)?.execute(params![
        lease.id.0,
        route.account,
        route.partition,
        route.profile,
        route.role_arn,
        route.external_id,
        route.config_file,
        route.credentials_file,
        services_endpoint(route),
    ])?;
    Ok(())
}

/// Writes everything of a lease that can change.
pub(crate) fn update(connection: &Connection, lease: &Lease) -> Result<(), StateError> {
    write_route(connection, lease)?;
    let sql = "UPDATE leases SET phase = ?2, shared = ?3, rule_id = ?4, tagged_until = ?5, version = ?6, \
               last_sent_at = ?7, in_flight = ?8, last_unknown_at = ?9, refusals = ?10, next_try_at = ?11, \
               last_failure = ?12, vanished = ?13 WHERE id = ?1";
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
        i64::from(lease.refusals),
        seconds(lease.next_try_at),
        lease.last_failure.as_ref().map(|failure| serde_json::json!(failure).to_string()),
        i64::from(lease.vanished),
    ])?;
    Ok(())
}
