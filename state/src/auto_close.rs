//! What was sent about the expiry schedules of rules: a row for each rule whose expiry schedule this installation has touched.

use crate::{
    StateError, Store,
    columns::{RowRef, permission_text, read_target, seconds, services_endpoint, target_columns},
    damaged::{Damaged, of_its_row},
    events::Event,
    leases::Written,
    store::WriteTx,
    targets,
};
use eg_model::{
    auto_close::{AutoClose, AutoCloseRoute},
    failure::Failure,
    ids::RuleId,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// The columns of an expiry schedule, as [`read`] expects them.
macro_rules! select_auto_closes {
    ($which:literal) => {
        concat!(
            "SELECT r.rule_id, r.permission, r.switch_role, r.switch_group, r.fires_at, r.confirmed, r.version, \
             r.refusals, r.next_try_at, r.last_failure, ",
            target_columns!(),
            " FROM switches r JOIN targets t ON t.id = r.target ",
            $which
        )
    };
}

impl Store {
    /// Every switch on record, by rule.
    ///
    /// # Errors
    /// The database cannot be read, or a row does not parse.
    pub fn auto_closes(&self) -> Result<Vec<AutoClose>, StateError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(select_auto_closes!("ORDER BY r.rule_id"))?;
            let mut rows = statement.query([])?;
            let mut auto_closes = Vec::new();
            while let Some(row) = rows.next()? {
                auto_closes.extend(self.damaged.skip_in("switches", read(row))?);
            }
            Ok(auto_closes)
        })
    }

    /// Writes an expiry schedule with its event where it still has version `expected`; `None`: where it is not on record yet.
    ///
    /// # Errors
    /// The database cannot be written, or the expiry schedule is on record in a row that does not parse, which nobody sees; nothing
    /// is recorded then.
    pub fn write_auto_close(
        &mut self,
        auto_close: &AutoClose,
        expected: Option<u64>,
        event: Option<&Event>,
    ) -> Result<Written, StateError> {
        self.write(|change| {
            let known = version_of(change.tx, &auto_close.rule)?;
            if known != expected.map(|version| number(auto_close, version)).transpose()? {
                readable(change.tx, &auto_close.rule)?;
                return Ok(Written::Raced);
            }
            replace(change, auto_close)?;
            event.map_or(Ok(()), |event| change.event(event))?;
            Ok(Written::Done)
        })
    }

    /// Forgets an expiry schedule, with its event.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn forget_auto_close(&mut self, rule: &RuleId, event: Option<&Event>) -> Result<(), StateError> {
        self.write(|change| {
            change.tx.prepare_cached("DELETE FROM switches WHERE rule_id = ?1")?.execute([&rule.0])?;
            event.map_or(Ok(()), |event| change.event(event))
        })
    }
}

/// Why expiry schedules could not be set, by rule.
pub(crate) fn failures(connection: &Connection, damaged: &Damaged) -> Result<BTreeMap<RuleId, Failure>, StateError> {
    let sql = "SELECT rule_id, last_failure FROM switches WHERE last_failure IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut failures = BTreeMap::new();
    while let Some(row) = rows.next()? {
        failures.extend(damaged.skip_in("switches", read_refusal(row))?);
    }
    Ok(failures)
}

fn read_refusal(row: &Row<'_>) -> Result<(RuleId, Failure), StateError> {
    let rule: String = row.get(0)?;
    let failure = read_failure(RowRef { table: "switches", row: &rule }, &row.get::<_, String>(1)?)?;
    Ok((RuleId(rule), failure))
}

fn read_failure(place: RowRef<'_>, json: &str) -> Result<Failure, StateError> {
    serde_json::from_str(json).map_err(|why| place.bad("last_failure", why))
}

fn number(auto_close: &AutoClose, version: u64) -> Result<i64, StateError> {
    i64::try_from(version).map_err(|_| StateError::row("switches", &auto_close.rule, "version: beyond 2^63"))
}

fn version_of(connection: &Connection, rule: &RuleId) -> Result<Option<i64>, StateError> {
    let sql = "SELECT version FROM switches WHERE rule_id = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([&rule.0], |row| row.get(0)).optional()?)
}

/// An error where the row of a rule's expiry schedule does not parse.
fn readable(connection: &Connection, rule: &RuleId) -> Result<(), StateError> {
    let mut statement = connection.prepare_cached(select_auto_closes!("WHERE r.rule_id = ?1"))?;
    let mut rows = statement.query([&rule.0])?;
    let found = rows.next()?.map(read).transpose();
    found.map(drop).map_err(|error| of_its_row("switches", error))
}

fn replace(change: &WriteTx<'_, '_>, auto_close: &AutoClose) -> Result<(), StateError> {
    let target = targets::row_of(change.tx, &auto_close.target.key)?;
    let sql = "INSERT OR REPLACE INTO switches (rule_id, target, permission, account, partition, profile, role_arn, \
               external_id, config_file, credentials_file, switch_role, switch_group, fires_at, confirmed, version, \
               refusals, next_try_at, last_failure, services_endpoint) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
    let route = &auto_close.target.route;
    change.tx.prepare_cached(sql)?.execute(params![
        auto_close.rule.0,
        target,
        permission_text(&auto_close.permission),
        route.account,
        route.partition,
        route.profile,
        route.role_arn,
        route.external_id,
        route.config_file,
        route.credentials_file,
        auto_close.way.role_arn,
        auto_close.way.group,
        auto_close.at.timestamp(),
        auto_close.confirmed,
        number(auto_close, auto_close.version)?,
        i64::from(auto_close.refusals),
        seconds(auto_close.next_try_at),
        auto_close.last_failure.as_ref().map(|failure| serde_json::json!(failure).to_string()),
        services_endpoint(route),
    ])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<AutoClose, StateError> {
    let rule: String = row.get(0)?;
    let place = RowRef { table: "switches", row: &rule };
    let failure: Option<String> = row.get(9)?;
    Ok(AutoClose {
        permission: place.parse("permission", &row.get::<_, String>(1)?)?,
        way: AutoCloseRoute { role_arn: row.get(2)?, group: row.get(3)? },
        at: place.time("fires_at", row.get(4)?)?,
        confirmed: row.get(5)?,
        version: place.count("version", row.get(6)?)?,
        refusals: place.count("refusals", row.get(7)?)?,
        next_try_at: place.maybe_time("next_try_at", row.get(8)?)?,
        last_failure: failure.map(|json| read_failure(place, &json)).transpose()?,
        target: read_target(row, 10)?,
        rule: RuleId(rule.clone()),
    })
}
