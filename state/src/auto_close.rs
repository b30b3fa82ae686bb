//! The table `auto_closes`: a row for each rule whose expiry schedule this installation has touched.

use crate::{
    columns::{RowRef, failure_text, seconds},
    damaged::{Damaged, one_row},
    error::StateError,
    events::Event,
    routes::{self, read_target, target_columns, target_joins},
    targets,
    tx::{RowOutcome, Store, WriteTx},
};
use eg_model::{
    auto_close::{AutoClose, AutoCloseRoute},
    failure::Failure,
    ids::RuleId,
};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use std::collections::BTreeMap;

const TABLE: &str = "auto_closes";

/// The columns that [`read`] reads.
macro_rules! select_auto_closes {
    ($which:literal) => {
        concat!(
            "SELECT r.rule_id, r.permission, r.schedule_role, r.schedule_group, r.fires_at, r.confirmed, r.version, \
             r.refusals, r.next_try_at, r.last_failure, ",
            target_columns!(),
            " FROM auto_closes r",
            target_joins!(),
            $which
        )
    };
}

impl Store {
    /// Every expiry schedule on record, by rule.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn auto_closes(&self) -> Result<Vec<AutoClose>, StateError> {
        self.read(|connection| all(connection, &self.damaged))
    }

    /// Writes an expiry schedule with its event if its version is still `expected`. `None` expects that it
    /// is not on record yet.
    ///
    /// # Errors
    /// The database cannot be written, or the expiry schedule is on record in a row that does not parse, which no
    /// reader sees. Nothing is recorded then.
    pub fn write_auto_close(
        &mut self,
        auto_close: &AutoClose,
        expected: Option<u64>,
        event: Option<&Event>,
    ) -> Result<RowOutcome, StateError> {
        self.write_unflushed(|change| {
            let rule = &auto_close.rule.0;
            let sql = "SELECT version FROM auto_closes WHERE rule_id = ?1";
            let known = change.tx.prepare_cached(sql)?.query_row([rule], |row| row.get(0)).optional()?;
            if known != expected.map(|version| number(auto_close, version)).transpose()? {
                one_row(change.tx, TABLE, select_auto_closes!("WHERE r.rule_id = ?1"), params![rule], read)?;
                return Ok(RowOutcome::Raced);
            }
            replace(change, auto_close)?;
            event.map_or(Ok(()), |event| change.event(event))?;
            Ok(RowOutcome::Done)
        })
    }

    /// Forgets an expiry schedule, with its event.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn forget_auto_close(&mut self, rule: &RuleId, event: Option<&Event>) -> Result<(), StateError> {
        self.write_unflushed(|change| {
            change.tx.prepare_cached("DELETE FROM auto_closes WHERE rule_id = ?1")?.execute([&rule.0])?;
            event.map_or(Ok(()), |event| change.event(event))
        })
    }
}

pub(crate) fn all(connection: &Connection, damaged: &Damaged) -> Result<Vec<AutoClose>, StateError> {
    damaged.rows(connection, TABLE, select_auto_closes!("ORDER BY r.rule_id"), params![], read)
}

pub(crate) fn on_target(connection: &Connection, damaged: &Damaged, target: i64) -> Result<Vec<AutoClose>, StateError> {
    let sql = select_auto_closes!("WHERE r.target = ?1 ORDER BY r.rule_id");
    damaged.rows(connection, TABLE, sql, params![target], read)
}

/// The reasons why expiry schedules could not be set, by rule.
pub(crate) type Failures = BTreeMap<RuleId, Failure>;

/// Those of all targets.
pub(crate) fn failures(connection: &Connection, damaged: &Damaged) -> Result<Failures, StateError> {
    let sql = "SELECT rule_id, last_failure FROM auto_closes WHERE last_failure IS NOT NULL";
    read_failures(connection, damaged, sql, params![])
}

/// The same for one target.
pub(crate) fn failures_on(connection: &Connection, damaged: &Damaged, target: i64) -> Result<Failures, StateError> {
    let sql = "SELECT rule_id, last_failure FROM auto_closes WHERE last_failure IS NOT NULL AND target = ?1";
    read_failures(connection, damaged, sql, params![target])
}

fn read_failures(
    connection: &Connection,
    damaged: &Damaged,
    sql: &str,
    values: &[&dyn ToSql],
) -> Result<Failures, StateError> {
    let read = |row: &Row<'_>| {
        let rule: String = row.get("rule_id")?;
        let failure = RowRef::new(TABLE, &rule, row).json("last_failure")?;
        Ok(failure.map(|failure| (RuleId(rule), failure)))
    };
    Ok(damaged.rows(connection, TABLE, sql, values, read)?.into_iter().flatten().collect())
}

fn number(auto_close: &AutoClose, version: u64) -> Result<i64, StateError> {
    i64::try_from(version).map_err(|_| StateError::row(TABLE, &auto_close.rule, "version: beyond 2^63"))
}

fn replace(change: &WriteTx<'_, '_>, auto_close: &AutoClose) -> Result<(), StateError> {
    let sql = "INSERT OR REPLACE INTO auto_closes (rule_id, target, route, permission, schedule_role, schedule_group, \
               fires_at, confirmed, version, refusals, next_try_at, last_failure) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    change.tx.prepare_cached(sql)?.execute(params![
        auto_close.rule.0,
        targets::row_of(change.tx, &auto_close.target.key)?,
        routes::row_of(change.tx, &auto_close.target.route)?,
        auto_close.permission.to_string(),
        auto_close.way.role_arn,
        auto_close.way.group,
        auto_close.at.timestamp(),
        auto_close.confirmed,
        number(auto_close, auto_close.version)?,
        auto_close.refusals,
        seconds(auto_close.next_try_at),
        failure_text(auto_close.last_failure.as_ref()),
    ])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<AutoClose, StateError> {
    let rule: String = row.get("rule_id")?;
    let row = RowRef::new(TABLE, &rule, row);
    Ok(AutoClose {
        target: read_target(&row)?,
        permission: row.parse("permission")?,
        way: AutoCloseRoute { role_arn: row.get("schedule_role")?, group: row.get("schedule_group")? },
        at: row.time("fires_at")?,
        confirmed: row.get("confirmed")?,
        version: row.count("version")?,
        refusals: row.count("refusals")?,
        next_try_at: row.maybe_time("next_try_at")?,
        last_failure: row.json("last_failure")?,
        rule: RuleId(rule),
    })
}
