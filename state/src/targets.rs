//! What is known of a firewall beyond any one grant or lease.

use crate::{
    StateError, Store,
    columns::{RowRef, seconds},
};
use eg_model::{Timestamp, target::TargetKey};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// What is known of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRecord {
    /// The account it belongs to, once a call has told.
    pub account: Option<String>,
    /// Its partition (`aws`, `aws-cn`, …), once a call has told.
    pub partition: Option<String>,
    /// Since when readings say that it is not there.
    pub missing_since: Option<Timestamp>,
    /// Whether this installation has ever closed a rule on it: then it may, and need not be asked beforehand.
    pub closed_once: bool,
    /// When a collection pass last read it.
    pub collected_at: Option<Timestamp>,
}

/// The columns of a target, as [`read_key`] and [`read_record`] expect them.
macro_rules! select_targets {
    ($which:literal) => {
        concat!(
            "SELECT provider, kind, endpoint, region, name, account, partition, missing_since, closed_once, \
             collected_at, id FROM targets",
            $which
        )
    };
}

impl Store {
    /// Every target that a grant, a lease or [`Store::change_target`] has named, with what is known of it.
    ///
    /// # Errors
    /// The database cannot be read, or a row does not parse.
    pub fn targets(&self) -> Result<BTreeMap<TargetKey, TargetRecord>, StateError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(select_targets!(""))?;
            let mut rows = statement.query([])?;
            let mut targets = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let both = |row| Ok((read_key(row, 0)?, read_record(row)?));
                targets.extend(self.damaged.skip_in("targets", both(row))?);
            }
            Ok(targets)
        })
    }

    /// Changes what is known of a target. What others have found out meanwhile stays: the change is made to the record
    /// as it is then, in one transaction.
    ///
    /// # Errors
    /// The database cannot be written, or a row does not parse.
    pub fn change_target(&mut self, key: &TargetKey, to: impl FnOnce(&mut TargetRecord)) -> Result<(), StateError> {
        self.write(|change| {
            let id = row_of(change.tx, key)?;
            let mut record = record_of(change.tx, id)?;
            to(&mut record);
            let sql = "UPDATE targets SET account = ?2, partition = ?3, missing_since = ?4, closed_once = ?5, \
                       collected_at = ?6 WHERE id = ?1";
            change.tx.prepare_cached(sql)?.execute(params![
                id,
                record.account,
                record.partition,
                seconds(record.missing_since),
                record.closed_once,
                seconds(record.collected_at),
            ])?;
            Ok(())
        })
    }

    /// Fills in account and partition where they are absent: in the target, its leases, expiry schedules and grants.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn learn_account(
        &mut self,
        key: &TargetKey,
        account: Option<&str>,
        partition: Option<&str>,
    ) -> Result<(), StateError> {
        self.write(|change| {
            let id = row_of(change.tx, key)?;
            for (table, column) in
                [("targets", "id"), ("grants", "target"), ("leases", "target"), ("switches", "target")]
            {
                let sql = format!(
                    "UPDATE {table} SET account = COALESCE(account, ?2), partition = COALESCE(partition, ?3) \
                     WHERE {column} = ?1 AND ((account IS NULL AND ?2 IS NOT NULL) \
                     OR (partition IS NULL AND ?3 IS NOT NULL))"
                );
                change.tx.execute(&sql, params![id, account, partition])?;
            }
            Ok(())
        })
    }
}

fn record_of(connection: &Connection, id: i64) -> Result<TargetRecord, StateError> {
    let mut statement = connection.prepare_cached(select_targets!(" WHERE id = ?1"))?;
    let mut rows = statement.query([id])?;
    rows.next()?.map_or(Ok(TargetRecord::default()), read_record)
}

/// The row of a target, made where it is missing.
pub(crate) fn row_of(connection: &Connection, key: &TargetKey) -> Result<i64, StateError> {
    if let Some(id) = find(connection, key)? {
        return Ok(id);
    }
    let sql = "INSERT INTO targets (provider, kind, endpoint, region, name) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.execute(sql, params![key.provider, key.kind, key.endpoint, key.region, key.id])?;
    Ok(connection.last_insert_rowid())
}

fn find(connection: &Connection, key: &TargetKey) -> Result<Option<i64>, StateError> {
    let sql = "SELECT id FROM targets WHERE provider = ?1 AND kind = ?2 AND endpoint IS ?3 AND region = ?4 \
               AND name = ?5 AND COALESCE(endpoint, '') = COALESCE(?3, '')";
    let values = params![key.provider, key.kind, key.endpoint, key.region, key.id];
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?)
}

/// Reads provider, kind, endpoint, region and id from five columns.
pub(crate) fn read_key(row: &Row<'_>, first: usize) -> Result<TargetKey, StateError> {
    Ok(TargetKey {
        provider: row.get(first)?,
        kind: row.get(first + 1)?,
        endpoint: row.get(first + 2)?,
        region: row.get(first + 3)?,
        id: row.get(first + 4)?,
    })
}

fn read_record(row: &Row<'_>) -> Result<TargetRecord, StateError> {
    let id = row.get::<_, i64>(10)?.to_string();
    let place = RowRef { table: "targets", row: &id };
    Ok(TargetRecord {
        account: row.get(5)?,
        partition: row.get(6)?,
        missing_since: place.maybe_time("missing_since", row.get(7)?)?,
        closed_once: row.get(8)?,
        collected_at: place.maybe_time("collected_at", row.get(9)?)?,
    })
}
