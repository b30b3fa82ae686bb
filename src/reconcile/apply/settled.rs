//! A target at rest: the state of every permission, with the reason, goes on record.

use super::target::{Impatience, TargetRun};
use crate::{
    error::{CommandError, advice, with_advice},
    reconcile::loaded_record::LoadedTarget,
};
use eg_model::{
    Timestamp,
    failure::{Failure, FailureClass},
    ids::GrantId,
    net::{address::IpVersion, permission::Permission},
    observation::{Observation, ObservedRule},
    session::record::{Session, Standing},
    tags::Fit,
};
use eg_providers::kind_of;
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct SettledTarget {
    /// The latest time for the next pass.
    pub(super) wake: Option<Timestamp>,
    /// A session no longer wants a grant that it kept open.
    pub(super) freed: bool,
}

impl TargetRun<'_> {
    /// Records the state of every permission.
    pub(super) fn settle(&mut self) -> Result<SettledTarget, CommandError> {
        let now = self.now();
        let loaded = self.driver.load(&self.key, now)?;
        let plan = self.plan(&loaded, Impatience::default());
        self.converged &= plan.steps.is_empty() && !plan.deferred && plan.unread.is_empty();
        self.notes.extend(plan.notes.iter().map(with_advice));
        if self.request.dry_run {
            return Ok(SettledTarget { wake: plan.wake, freed: false });
        }
        let standings = plan.standings.into_iter().map(|(permission, standing)| {
            let standing = self.with_reason(&permission, standing, &loaded);
            (permission, standing)
        });
        let standings: BTreeMap<Permission, Standing> = standings.collect();
        self.converged &= standings.values().all(Standing::is_held);
        let latest = self.driver.latest(now);
        if !loaded.differs(&standings, latest) {
            return Ok(SettledTarget { wake: plan.wake, freed: false });
        }
        let changes = self.driver.store_of(&self.key).record_target(&self.key, &standings, now, latest)?;
        changes.iter().for_each(|change| self.driver.report_change(self.request, change));
        let kept = self.kept(&loaded);
        let freed = !kept.is_empty() && self.kept(&self.driver.load(&self.key, now)?) != kept;
        Ok(SettledTarget { wake: plan.wake, freed })
    }

    /// The grants on this target that sessions keep open for now, though they have moved on.
    fn kept(&self, loaded: &LoadedTarget) -> BTreeSet<GrantId> {
        let here = |session: &'_ Session| {
            let grants = session.grants.iter().filter(|grant| grant.target.key == self.key && session.keeps(grant));
            grants.map(|grant| grant.id).collect::<Vec<_>>()
        };
        loaded.sessions.iter().flat_map(here).collect()
    }

    /// A standing with the last failure of its lease, or of the reading, and the advice for it.
    fn with_reason(&self, permission: &Permission, standing: Standing, loaded: &LoadedTarget) -> Standing {
        let lease = loaded.rows.leases.iter().find(|lease| lease.permission == *permission);
        match lease.and_then(|lease| lease.last_failure.as_ref()) {
            Some(failure) if !standing.is_held() && failure.class.fails_grant() => {
                let room = self.room_taken(failure, permission.ip_version());
                Standing::Failed(format!("{failure} ({room}{})", advice(failure.class)))
            }
            _ => match (&self.reading.observation, standing) {
                (Observation::Unavailable(failure), Standing::Failed(why)) if why == failure.to_string() => {
                    Standing::Failed(format!("{why} ({})", advice(failure.class)))
                }
                (_, standing) => standing,
            },
        }
    }

    /// The use of a full quota, and the part of it that is ours.
    fn room_taken(&self, failure: &Failure, family: IpVersion) -> String {
        // Tags are counted apart.
        let rules_are_full = failure.class == FailureClass::Limit && !failure.code.ends_with("TagLimitExceeded");
        match &self.reading.observation {
            Observation::Complete(reading) if rules_are_full => {
                let marked = |rule: &&ObservedRule| rule.marks(&self.key.id).fit(false) == Some(Fit::Genuine);
                let ours = reading.rules.iter().filter(|rule| rule.permission.ip_version() == family).filter(marked);
                let (all, ours) = (reading.ingress_rules(family), ours.count());
                match kind_of(&self.key).filter(|kind| !kind.has_ports()) {
                    // A list shows every entry that counts. A group does not show what its rules refer to.
                    Some(list) => format!("it holds {}, {ours} of them eg's; ", list.entry.count(all)),
                    None => format!("the group has {all} or more {family} ingress rules, {ours} of them eg's; "),
                }
            }
            _ => String::new(),
        }
    }
}
