//! What a target at rest leaves on record: what every permission has come to, and why.

use crate::error::CommandError;
use crate::reconcile::{
    apply::round::{Impatient, TargetRun},
    driver::LoadedRecord,
};
use eg_model::Timestamp;
use eg_model::failure::FailureClass;
use eg_model::ids::GrantId;
use eg_model::net::address::IpVersion;
use eg_model::net::permission::Permission;
use eg_model::observation::{Observation, ObservedRule};
use eg_model::session::record::{Session, Standing};
use eg_model::tags::Fit;
use std::collections::{BTreeMap, BTreeSet};

/// What a target at rest leaves.
pub(super) struct SettledTarget {
    /// When to look again at the latest.
    pub(super) wake: Option<Timestamp>,
    /// Something that was kept is wanted no more.
    pub(super) freed: bool,
}

impl TargetRun<'_> {
    /// SettledTarget: what every permission has come to goes on record.
    pub(super) fn rest(&mut self) -> Result<SettledTarget, CommandError> {
        let now = self.now();
        let loaded = self.driver.load(now)?;
        let plan = self.plan(&loaded, Impatient::default());
        self.clean &= plan.steps.is_empty() && !plan.deferred && plan.unread.is_empty();
        self.notes.extend(plan.notes.iter().map(crate::error::with_advice));
        if self.request.dry_run {
            return Ok(SettledTarget { wake: plan.wake, freed: false });
        }
        let standings = plan.standings.into_iter().map(|(permission, standing)| {
            let standing = self.refusal(&permission, standing, &loaded);
            ((self.key.clone(), permission), standing)
        });
        let standings: BTreeMap<_, _> = standings.collect();
        self.clean &= standings.values().all(Standing::is_held);
        let changes = self.driver.store.borrow_mut().record_standings(&standings, now, self.driver.latest(now))?;
        changes.iter().for_each(|change| self.driver.tell(self.request, change));
        let kept = self.kept(&loaded);
        let freed = !kept.is_empty() && self.kept(&*self.driver.load(now)?) != kept;
        Ok(SettledTarget { wake: plan.wake, freed })
    }

    /// The grants on this target that sessions keep open for now, though they have moved on.
    fn kept(&self, loaded: &LoadedRecord) -> BTreeSet<GrantId> {
        let here = |session: &'_ Session| {
            let grants = session.grants.iter().filter(|grant| grant.target.key == self.key && session.keeps(grant));
            grants.map(|grant| grant.id).collect::<Vec<_>>()
        };
        loaded.sessions.iter().flat_map(here).collect()
    }

    /// A missing permission of the caller's stands for every port that it keeps shut.
    fn refusal(&self, permission: &Permission, standing: Standing, loaded: &LoadedRecord) -> Standing {
        let lease = loaded.leases.iter().find(|lease| lease.target.key == self.key && lease.permission == *permission);
        match lease.and_then(|lease| lease.last_failure.as_ref()) {
            Some(failure) if !standing.is_held() && failure.class.fails_grant() => {
                let room = self.room_taken(failure.class, permission.ip_version());
                Standing::Failed(format!("{failure} ({room}{})", crate::error::advice(failure.class)))
            }
            _ => match (&self.look.observation, standing) {
                (Observation::Unavailable(failure), Standing::Failed(why)) if why == failure.to_string() => {
                    Standing::Failed(format!("{why} ({})", crate::error::advice(failure.class)))
                }
                (_, standing) => standing,
            },
        }
    }

    /// For a full quota: how full, and how much of it is ours.
    fn room_taken(&self, class: FailureClass, family: IpVersion) -> String {
        match &self.look.observation {
            Observation::Complete(reading) if class == FailureClass::Limit => {
                let marked = |rule: &&ObservedRule| rule.marks(&self.key.id).fit(false) == Some(Fit::Genuine);
                let ours = reading.rules.iter().filter(|rule| rule.permission.ip_version() == family).filter(marked);
                let (all, ours) = (reading.ingress_rules(family), ours.count());
                format!("the group has {all} or more {family} ingress rules, {ours} of them eg's; ")
            }
            _ => String::new(),
        }
    }
}
