//! What is still watched, and looking again.

use super::{Impatient, TargetRun};
use crate::error::CommandError;
use eg_model::failure::FailureClass;
use eg_model::lease::Phase;
use eg_model::observation::Observation;
use eg_model::permission::Permission;
use std::collections::BTreeMap;

impl TargetRun<'_> {
    /// Keeps watching only what is still open: a wanted permission that is not held, a lease that is not closed.
    pub(super) fn still_watched(&mut self) -> Result<(), CommandError> {
        if self.watching.is_empty() {
            return Ok(());
        }
        let loaded = self.driver.load(self.now())?;
        let plan = self.plan(&loaded, Impatient::default());
        let confirming = |permission: &Permission| self.confirming.values().any(|(_, l)| l.permission == *permission);
        let open = |permission: &Permission| {
            let lease = loaded.leases.iter().find(|l| *l.target() == self.key && l.permission == *permission);
            match plan.standings.get(permission) {
                Some(standing) => !standing.is_held(),
                None => lease.is_some_and(|lease| lease.phase != Phase::Leaving || confirming(permission)),
            }
        };
        let watching = self.watching.iter().copied().filter(open).collect();
        self.watching = watching;
        Ok(())
    }

    pub(super) async fn reobserve(&mut self) -> bool {
        self.patience.before_reading_again().await && self.refresh().await
    }

    pub(super) fn throttled_reading(&self) -> bool {
        matches!(&self.look.observation, Observation::Unavailable(failure) if failure.class == FailureClass::Throttled)
    }

    /// Whether the reading failed for a reason that passes by itself: throttled, it is made again in any pass; after a
    /// server's or the network's failure, while a person waits.
    pub(super) fn unread_for_now(&self) -> bool {
        let Observation::Unavailable(failure) = &self.look.observation else { return false };
        let passes = failure.class.outcome_unknown() && self.request.interactive;
        (passes || self.throttled_reading()) && !self.request.dry_run && !self.halted()
    }

    pub(super) async fn pause(&mut self) -> bool {
        self.clean &= !self.patience.has_been_throttled_enough();
        self.patience.after_throttling().await
    }

    pub(super) async fn refresh(&mut self) -> bool {
        let targets = BTreeMap::from([(self.key.clone(), self.ways.clone())]);
        if let Some(look) = self.driver.look(&targets, false).await.remove(&self.key) {
            self.look = look;
            self.switches.clear();
        }
        true
    }
}
