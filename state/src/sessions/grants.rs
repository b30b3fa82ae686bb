//! The findings of the reconciler about grants.

use crate::{
    damaged::Damaged,
    error::StateError,
    sessions::{
        ending::{GrantChange, Slot, settle, settle_target, write_grant, write_status},
        parts,
        read::{self, standing_columns},
    },
    targets,
    tx::{Store, WriteTx},
};
use eg_model::{
    Timestamp,
    damage::{damage, damage_at},
    ids::GrantId,
    net::permission::Permission,
    session::record::{Grant, GrantPermission, GrantStatus, Session, Standing, roll_up_grant, roll_up_live},
    target::TargetKey,
};
use rusqlite::params;
use std::collections::BTreeMap;

impl Store {
    /// Records the standings of permissions for every live session that wants them (permissions that the map does not name
    /// stay as they are), lets go of grants that ending sessions no longer hold, and rolls grants and sessions up; all in
    /// one transaction. Returns the grants whose status changed. Standings stay after removal. `latest` is the later of
    /// this machine's clock and the provider's, if known: a session that ends too far ahead of both is damaged.
    ///
    /// # Errors
    /// The database cannot be written, or a row does not parse.
    pub fn record_standings(
        &mut self,
        standings: &BTreeMap<Slot, Standing>,
        now: Timestamp,
        latest: Option<Timestamp>,
    ) -> Result<Vec<GrantChange>, StateError> {
        self.write_unflushed(|change| {
            let mut changes = Vec::new();
            for session in read::live(change.tx)? {
                let (changed, statuses) = update_grants(change, &session, standings, (now, latest))?;
                changes.extend(changed);
                roll_up(change, &session, &statuses, now)?;
            }
            changes.extend(settle(change, now)?);
            Ok(changes)
        })
    }

    /// The same for one target alone, at a cost that does not depend on other targets.
    ///
    /// # Errors
    /// As [`Store::record_standings`].
    pub fn record_target(
        &mut self,
        key: &TargetKey,
        standings: &BTreeMap<Permission, Standing>,
        now: Timestamp,
        latest: Option<Timestamp>,
    ) -> Result<Vec<GrantChange>, StateError> {
        let slots = standings.iter().map(|(permission, standing)| ((key.clone(), *permission), standing.clone()));
        let standings = &slots.collect();
        self.write_unflushed(|change| {
            let mut changes = Vec::new();
            let Some(target) = targets::find(change.tx, key)? else { return Ok(changes) };
            let sessions = parts::on_target(change.tx, &Damaged::default(), target)?;
            for session in sessions.iter().filter(|session| session.status.is_live()) {
                let (changed, _) = update_grants(change, session, standings, (now, latest))?;
                if !changed.is_empty() {
                    let mut statuses = read::grant_statuses(change.tx, session.id)?;
                    statuses.retain(|status| !status.lets_go());
                    roll_up(change, session, &statuses, now)?;
                }
                changes.extend(changed);
            }
            changes.extend(settle_target(change, target, now)?);
            Ok(changes)
        })
    }
}

/// Writes the standings of a session's grants. Returns the grants whose status changed, and the statuses of all.
fn update_grants(
    change: &WriteTx<'_, '_>,
    session: &Session,
    standings: &BTreeMap<Slot, Standing>,
    at: (Timestamp, Option<Timestamp>),
) -> Result<(Vec<GrantChange>, Vec<GrantStatus>), StateError> {
    let mut changes = Vec::new();
    let mut statuses = Vec::new();
    for before in session.current() {
        let grant = update_grant(change, session, before, standings, at)?;
        statuses.push(grant.status);
        if grant.status != before.status {
            let has_alike = session.has_alike(before);
            changes.push(GrantChange { session: session.id, grant, before: before.status, has_alike });
        }
    }
    Ok((changes, statuses))
}

fn roll_up(
    change: &WriteTx<'_, '_>,
    session: &Session,
    grants: &[GrantStatus],
    now: Timestamp,
) -> Result<(), StateError> {
    let status = session.status.to(roll_up_live(grants))?;
    if status != session.status {
        write_status(change, session.id, status, now)?;
    }
    Ok(())
}

fn update_grant(
    change: &WriteTx<'_, '_>,
    session: &Session,
    before: &Grant,
    standings: &BTreeMap<Slot, Standing>,
    (now, latest): (Timestamp, Option<Timestamp>),
) -> Result<Grant, StateError> {
    let mut grant = before.clone();
    // A damaged grant opens nothing, and must not be shown with the rule of another session.
    let damage = latest.map_or_else(|| damage(session, before), |latest| damage_at(session, before, latest));
    let damage = damage.map(|why| Standing::Failed(format!("the record is damaged: {why}")));
    for item in &mut grant.permissions {
        let known = standings.get(&(before.target.key.clone(), item.permission));
        let Some(standing) = damage.as_ref().or(known) else { continue };
        if item.standing != *standing {
            item.standing = standing.clone();
            write_standing(change, before.id, item)?;
        }
    }
    grant.status = before.status.to(roll_up_grant(grant.permissions.iter().map(|item| &item.standing)))?;
    if grant.status == GrantStatus::Applied && before.status != GrantStatus::Applied {
        grant.applied_at = Some(now);
    }
    write_grant(change, session.id, &grant, before.status, now)?;
    Ok(grant)
}

fn write_standing(change: &WriteTx<'_, '_>, grant: GrantId, item: &GrantPermission) -> Result<(), StateError> {
    let (word, detail) = standing_columns(&item.standing);
    let sql = "UPDATE grant_permissions SET standing = ?3, detail = ?4 WHERE grant_id = ?1 AND permission = ?2";
    let values = params![grant.to_string(), item.permission.to_string(), word, detail];
    change.tx.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
