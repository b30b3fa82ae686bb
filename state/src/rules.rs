//! The rules that were opened and revoked lately, by the events: what a reading may not show yet.

use crate::{columns::RowRef, damaged::Damaged, error::StateError, routes::read_key, targets, tx::Store};
use eg_model::{Timestamp, ids::RuleId, net::permission::Permission, target::TargetKey};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

/// The condition that no revoke of the rule was confirmed at or after `?1`, only before it was opened or seen again.
macro_rules! and_not_revoked {
    () => {
        " AND NOT EXISTS (SELECT 1 FROM events WHERE kind = 'revoked' AND rule_id = o.rule_id AND events.at >= ?1)"
    };
}

impl Store {
    /// The rules whose revoke was confirmed at or after `since`, each with the last time.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn revoked_rules(&self, since: Timestamp) -> Result<BTreeMap<RuleId, Timestamp>, StateError> {
        self.read(|connection| {
            // By the rule's index, SQLite would read every revoke.
            let sql = "SELECT rule_id, max(at) AS at FROM events INDEXED BY events_revoked \
                       WHERE kind = 'revoked' AND at >= ?1 AND rule_id IS NOT NULL GROUP BY rule_id";
            times(connection, &self.damaged, sql, params![since.timestamp()])
        })
    }

    /// The rules that were opened, joined, or recognised by this installation's tag at or after `since` and whose revoke is
    /// not confirmed, each with its permission.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn opened_rules(&self, since: Timestamp) -> Result<BTreeMap<RuleId, Permission>, StateError> {
        self.read(|connection| {
            let sql = concat!("SELECT rule_id, permission FROM opened_rules o WHERE at >= ?1", and_not_revoked!());
            let opened = self.damaged.rows(connection, "opened_rules", sql, params![since.timestamp()], read_opened)?;
            Ok(opened.into_iter().collect())
        })
    }

    /// The same for one permission of a target, each with the last time.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn opened_on(
        &self,
        target: &TargetKey,
        permission: &Permission,
        since: Timestamp,
    ) -> Result<BTreeMap<RuleId, Timestamp>, StateError> {
        self.read(|connection| {
            let Some(target) = targets::find(connection, target)? else { return Ok(BTreeMap::new()) };
            let sql = concat!(
                "SELECT rule_id, at FROM opened_rules o WHERE at >= ?1 AND target = ?2 AND permission = ?3",
                and_not_revoked!()
            );
            let which = params![since.timestamp(), target, permission.to_string()];
            times(connection, &self.damaged, sql, which)
        })
    }
}

/// As [`Store::opened_rules`], each with its target.
pub(crate) fn opened(
    connection: &Connection,
    damaged: &Damaged,
    since: Timestamp,
) -> Result<Vec<(TargetKey, RuleId, Permission)>, StateError> {
    let sql = concat!(
        "SELECT o.rule_id, o.permission, t.provider, t.kind, t.endpoint, t.region, t.name \
         FROM opened_rules o LEFT JOIN targets t ON t.id = o.target WHERE o.at >= ?1",
        and_not_revoked!()
    );
    let read = |row: &Row<'_>| {
        let rule: String = row.get("rule_id")?;
        let row = RowRef::new("opened_rules", &rule, row);
        let permission = row.parse("permission")?;
        Ok((read_key(&row)?, RuleId(rule.clone()), permission))
    };
    damaged.rows(connection, "opened_rules", sql, params![since.timestamp()], read)
}

/// As [`Store::opened_rules`] for one target.
pub(crate) fn opened_on_target(
    connection: &Connection,
    damaged: &Damaged,
    target: i64,
    since: Timestamp,
) -> Result<BTreeMap<RuleId, Permission>, StateError> {
    let sql =
        concat!("SELECT rule_id, permission FROM opened_rules o WHERE at >= ?1 AND target = ?2", and_not_revoked!());
    let opened = damaged.rows(connection, "opened_rules", sql, params![since.timestamp(), target], read_opened)?;
    Ok(opened.into_iter().collect())
}

fn read_opened(row: &Row<'_>) -> Result<(RuleId, Permission), StateError> {
    let rule: String = row.get("rule_id")?;
    let permission = RowRef::new("opened_rules", &rule, row).parse("permission")?;
    Ok((RuleId(rule), permission))
}

/// As [`Store::revoked_rules`], each with its target.
pub(crate) fn revoked(
    connection: &Connection,
    damaged: &Damaged,
    since: Timestamp,
) -> Result<Vec<(TargetKey, RuleId, Timestamp)>, StateError> {
    let sql = "SELECT rule_id, target, max(at) AS at FROM events \
               WHERE kind = 'revoked' AND at >= ?1 AND rule_id IS NOT NULL AND target IS NOT NULL \
               GROUP BY rule_id, target";
    let read = |row: &Row<'_>| {
        let rule: String = row.get("rule_id")?;
        let row = RowRef::new("events", &rule, row);
        Ok((row.json("target")?, RuleId(rule.clone()), row.time("at")?))
    };
    let revoked = damaged.rows(connection, "events", sql, params![since.timestamp()], read)?;
    Ok(revoked.into_iter().filter_map(|(target, rule, at)| Some((target?, rule, at))).collect())
}

/// As [`Store::revoked_rules`] for one target.
pub(crate) fn revoked_on_target(
    connection: &Connection,
    damaged: &Damaged,
    target: &str,
    since: Timestamp,
) -> Result<BTreeMap<RuleId, Timestamp>, StateError> {
    let sql = "SELECT rule_id, max(at) AS at FROM events \
               WHERE kind = 'revoked' AND at >= ?1 AND target = ?2 AND rule_id IS NOT NULL GROUP BY rule_id";
    times(connection, damaged, sql, params![since.timestamp(), target])
}

/// Rules, each with a time.
fn times(
    connection: &Connection,
    damaged: &Damaged,
    sql: &str,
    which: &[&dyn rusqlite::ToSql],
) -> Result<BTreeMap<RuleId, Timestamp>, StateError> {
    let read = |row: &Row<'_>| {
        let rule: String = row.get("rule_id")?;
        let at = RowRef::new("events", &rule, row).time("at")?;
        Ok((RuleId(rule), at))
    };
    Ok(damaged.rows(connection, "events", sql, which, read)?.into_iter().collect())
}
