//! Reading a target again, and the outcomes that a reading still has to show.

use super::target::{Impatience, TargetRun};
use crate::{
    error::CommandError,
    reconcile::{lane::CalledService, reading::is_recent},
};
use eg_model::{failure::FailureClass, ids::RuleId, lease::Phase, net::permission::Permission, plan::Step};
use std::mem::take;

/// The most rules of a group that is read whole rather than by the rules' ids.
const SMALL: usize = 100;

impl TargetRun<'_> {
    /// Keeps watching what is still open: a wanted permission that is not held, a lease that is not closed.
    pub(super) fn still_watched(&mut self) -> Result<(), CommandError> {
        if self.watching.is_empty() {
            return Ok(());
        }
        let loaded = self.driver.load(&self.key, self.now())?;
        let plan = self.plan(&loaded, Impatience::default());
        let mut watching = take(&mut self.watching);
        watching.retain(|permission| match plan.standings.get(permission) {
            Some(standing) => !standing.is_held(),
            None => loaded
                .rows
                .leases
                .iter()
                .find(|lease| lease.permission == *permission)
                .is_some_and(|lease| lease.phase != Phase::Leaving || self.is_confirming(permission)),
        });
        self.watching = watching;
        Ok(())
    }

    fn is_confirming(&self, permission: &Permission) -> bool {
        self.confirming.values().any(|(_, lease)| lease.permission == *permission)
    }

    /// Takes a place or slot for work with this service, and gives the other one back.
    pub(super) async fn take_slot(&mut self, service: CalledService) {
        if self.slot.as_ref().is_none_or(|slot| slot.service != service) {
            self.slot = None;
            self.slot = self.lane.slot(service).await;
        }
    }

    /// Reads again after a wait. False if no more readings may be made.
    pub(super) async fn reobserve(&mut self) -> bool {
        self.slot = None;
        self.budget.before_reading_again().await && self.refresh().await
    }

    /// Waits after a throttled call. False if it may not be sent again.
    pub(super) async fn pause(&mut self) -> bool {
        self.converged &= !self.budget.has_been_throttled_enough();
        self.slot = None;
        self.budget.after_throttling().await
    }

    /// The rules of a step that were read too long ago to be changed.
    pub(super) fn old_rules(&self, step: &Step) -> Vec<RuleId> {
        let now = self.now();
        let old = step.rules().iter().filter(|rule| !is_recent(rule.read_at(), now));
        old.map(|rule| rule.id().clone()).collect()
    }

    pub(super) fn was_read_recently(&self, step: &Step) -> bool {
        self.old_rules(step).is_empty()
    }

    /// Reads again the rules that were read too long ago: in a large group by their ids, else with the whole group, because
    /// one call reads many small groups.
    pub(super) async fn read_old_again(&mut self) -> bool {
        let asked = take(&mut self.too_old);
        if self.rules_read().is_some_and(|reading| reading.rules.len() <= SMALL) {
            return self.refresh().await;
        }
        let Some(firewall) = self.reading.firewall.clone().filter(|_| !asked.is_empty()) else {
            return self.refresh().await;
        };
        self.take_slot(CalledService::Firewall).await;
        let seen = {
            let _turn = self.lane.turn().await;
            firewall.observe_rules(&self.key, &asked).await
        };
        match seen {
            Ok(seen) => {
                if let Some(reading) = self.rules_read() {
                    reading.read_again(&asked, seen.rules, seen.read_at);
                }
                true
            }
            // The next plan finds them old again.
            Err(failure) if failure.class == FailureClass::Throttled => self.pause().await,
            Err(failure) => {
                tracing::info!("{}: some rules could not be read again by their ids: {failure}", self.key);
                self.refresh().await
            }
        }
    }

    /// Reads the whole target again.
    async fn refresh(&mut self) -> bool {
        self.take_slot(CalledService::Firewall).await;
        if let Some(reading) = self.lane.read_again(self.driver, &self.key, &self.routes).await {
            self.reading = reading;
            self.expiry.seen.clear();
        }
        true
    }
}
