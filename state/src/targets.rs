//! Findings about a firewall, beyond any one grant or lease.

use crate::{
    columns::{RowRef, seconds},
    damaged::{Damaged, one_row},
    error::StateError,
    routes::{self, read_key, read_target, target_columns},
    tx::Store,
};
use eg_model::{
    Timestamp,
    target::{Target, TargetKey},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// Findings about a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRecord {
    /// The account that owns it, once a call has told.
    pub account: Option<String>,
    /// Its partition (`aws`, `aws-cn`, …), once a call has told.
    pub partition: Option<String>,
    /// The first of the last readings that did not find it.
    pub missing_since: Option<Timestamp>,
    /// True if this installation has closed a rule there: then it has the right to, and need not ask beforehand.
    pub closed_once: bool,
}

impl Store {
    /// Every target that a grant, a lease or [`Store::change_target`] has named, with its findings.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn targets(&self) -> Result<BTreeMap<TargetKey, TargetRecord>, StateError> {
        self.read(|connection| Ok(all(connection, &self.damaged)?.into_iter().collect()))
    }

    /// The findings about one target, if it has been named.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn target(&self, key: &TargetKey) -> Result<Option<TargetRecord>, StateError> {
        self.read(|connection| Ok(find_record(connection, &self.damaged, key)?.map(|(_, record)| record)))
    }

    /// Every target on which a grant was applied, with the route of the newest one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn used_targets(&self) -> Result<BTreeMap<TargetKey, Target>, StateError> {
        self.read(|connection| {
            let sql = concat!(
                "SELECT t.id, ",
                target_columns!(),
                " FROM targets t JOIN grants r ON r.rowid = (SELECT max(rowid) FROM grants \
                 WHERE target = t.id AND applied_at IS NOT NULL) LEFT JOIN routes o ON o.id = r.route"
            );
            let read = |row: &Row<'_>| read_target(&RowRef::new("targets", row.get::<_, i64>("id")?, row));
            let targets = self.damaged.rows(connection, "targets", sql, params![], read)?;
            Ok(targets.into_iter().map(|target| (target.key.clone(), target)).collect())
        })
    }

    /// The newest name that a resource had for each of these targets.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn names_of<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k TargetKey>,
    ) -> Result<BTreeMap<&'k TargetKey, String>, StateError> {
        self.read(|connection| {
            let sql = "SELECT id, resource_name FROM grants WHERE target = ?1 ORDER BY rowid DESC LIMIT 1";
            let name = |row: &Row<'_>| RowRef::new("grants", row.get::<_, String>("id")?, row).get("resource_name");
            let mut names = BTreeMap::new();
            for key in keys {
                let Some(id) = find(connection, key)? else { continue };
                let name = self.damaged.rows(connection, "grants", sql, params![id], name)?.pop();
                names.extend(name.map(|name| (key, name)));
            }
            Ok(names)
        })
    }

    /// Changes the findings about a target. Those that another process has written meanwhile stay: the change is made to
    /// the record as it is then, in one transaction.
    ///
    /// # Errors
    /// The database cannot be written, or a row does not parse.
    pub fn change_target(&mut self, key: &TargetKey, to: impl FnOnce(&mut TargetRecord)) -> Result<(), StateError> {
        self.write_unflushed(|change| {
            let id = row_of(change.tx, key)?;
            let read = |row: &Row<'_>| read_record(&RowRef::new("targets", id, row));
            let sql = "SELECT * FROM targets WHERE id = ?1";
            let mut record = one_row(change.tx, "targets", sql, params![id], read)?.unwrap_or_default();
            to(&mut record);
            let sql =
                "UPDATE targets SET account = ?2, partition = ?3, missing_since = ?4, closed_once = ?5 WHERE id = ?1";
            let missing_since = seconds(record.missing_since);
            let values = params![id, record.account, record.partition, missing_since, record.closed_once];
            change.tx.prepare_cached(sql)?.execute(values)?;
            Ok(())
        })
    }

    /// Fills in account and partition where they are absent: in the target, its expiry schedules, and the leases and grants
    /// that are not over.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn learn_account(
        &mut self,
        key: &TargetKey,
        account: Option<&str>,
        partition: Option<&str>,
    ) -> Result<(), StateError> {
        self.write_unflushed(|change| {
            let id = row_of(change.tx, key)?;
            let sql = "UPDATE targets SET account = COALESCE(account, ?2), partition = COALESCE(partition, ?3) \
                       WHERE id = ?1";
            change.tx.prepare_cached(sql)?.execute(params![id, account, partition])?;
            for (table, open) in routes::USERS {
                learn_in(change.tx, table, open, id, (account, partition))?;
            }
            Ok(())
        })
    }
}

/// Refers the rows of a target to routes that know its account and partition. Other targets keep the routes that were
/// shared with this one: their account is not known yet.
fn learn_in(
    connection: &Connection,
    table: &str,
    open: &str,
    target: i64,
    (account, partition): (Option<&str>, Option<&str>),
) -> Result<(), StateError> {
    let sql = format!(
        "SELECT DISTINCT o.id FROM {table} r JOIN routes o ON o.id = r.route WHERE r.target = ?1 AND {open} \
         AND ((o.account IS NULL AND ?2 IS NOT NULL) OR (o.partition IS NULL AND ?3 IS NOT NULL))"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let routes: Vec<i64> =
        statement.query_map(params![target, account, partition], |row| row.get(0))?.collect::<Result<_, _>>()?;
    // By the target, not by the route, which all that is over may have.
    let sql = format!("UPDATE {table} SET route = ?3 WHERE target = ?1 AND +route = ?2 AND {open}");
    for route in routes {
        let learnt = routes::learn(connection, route, account, partition)?;
        connection.prepare_cached(&sql)?.execute(params![target, route, learnt])?;
    }
    Ok(())
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

pub(crate) fn all(connection: &Connection, damaged: &Damaged) -> Result<Vec<(TargetKey, TargetRecord)>, StateError> {
    let both = |row: &Row<'_>| {
        let row = RowRef::new("targets", row.get::<_, i64>("id")?, row);
        Ok((read_key(&row)?, read_record(&row)?))
    };
    damaged.rows(connection, "targets", "SELECT * FROM targets", params![], both)
}

/// The targets where sessions that have ended wait for a grant to be let go.
pub(crate) fn of_ending(connection: &Connection, damaged: &Damaged) -> Result<Vec<TargetKey>, StateError> {
    let sql = "SELECT * FROM targets WHERE id IN (SELECT target FROM grants WHERE status <> 'REMOVED' \
               AND session IN (SELECT id FROM sessions WHERE status = 'EXPIRING'))";
    let read = |row: &Row<'_>| read_key(&RowRef::new("targets", row.get::<_, i64>("id")?, row));
    damaged.rows(connection, "targets", sql, params![], read)
}

/// The row of a target, with its findings.
pub(crate) fn find_record(
    connection: &Connection,
    damaged: &Damaged,
    key: &TargetKey,
) -> Result<Option<(i64, TargetRecord)>, StateError> {
    let Some(id) = find(connection, key)? else { return Ok(None) };
    let read = |row: &Row<'_>| read_record(&RowRef::new("targets", id, row));
    let record = damaged.rows(connection, "targets", "SELECT * FROM targets WHERE id = ?1", params![id], read)?.pop();
    Ok(Some((id, record.unwrap_or_default())))
}

pub(crate) fn find(connection: &Connection, key: &TargetKey) -> Result<Option<i64>, StateError> {
    let sql = "SELECT id FROM targets WHERE provider = ?1 AND kind = ?2 AND endpoint IS ?3 AND region = ?4 \
               AND name = ?5 AND COALESCE(endpoint, '') = COALESCE(?3, '')";
    let values = params![key.provider, key.kind, key.endpoint, key.region, key.id];
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?)
}

fn read_record(row: &RowRef<'_, '_>) -> Result<TargetRecord, StateError> {
    Ok(TargetRecord {
        account: row.get("account")?,
        partition: row.get("partition")?,
        missing_since: row.maybe_time("missing_since")?,
        closed_once: row.get("closed_once")?,
    })
}
