//! What is still watched, and looking again.

use crate::error::CommandError;
use crate::reconcile::apply::round::{Impatient, TargetRun};
use crate::reconcile::lane::CalledService;
use crate::reconcile::observe::fresh;
use eg_model::failure::FailureClass;
use eg_model::ids::RuleId;
use eg_model::lease::Phase;
use eg_model::net::permission::Permission;
use eg_model::plan::Step;
use std::collections::BTreeMap;
use std::mem::take;

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
            let lease = loaded.leases.iter().find(|l| l.target.key == self.key && l.permission == *permission);
            match plan.standings.get(permission) {
                Some(standing) => !standing.is_held(),
                None => lease.is_some_and(|lease| lease.phase != Phase::Leaving || confirming(permission)),
            }
        };
        let watching = self.watching.iter().copied().filter(open).collect();
        self.watching = watching;
        Ok(())
    }

    /// Takes a slot for calls of this service, and gives the other one back.
    pub(super) async fn take_turn(&mut self, service: CalledService) {
        if self.turn.as_ref().is_none_or(|turn| turn.service != service) {
            self.turn = None;
            self.turn = self.lane.turn(service).await;
        }
    }

    pub(super) async fn reobserve(&mut self) -> bool {
        self.turn = None;
        self.patience.before_reading_again().await && self.refresh().await
    }

    pub(super) async fn pause(&mut self) -> bool {
        self.clean &= !self.patience.has_been_throttled_enough();
        self.turn = None;
        self.patience.after_throttling().await
    }

    /// The rules of a step that were read too long ago to be changed.
    pub(super) fn old_rules(&self, step: &Step) -> Vec<RuleId> {
        let now = self.now();
        let old = step.rules().iter().filter(|rule| !fresh(rule.read_at(), now));
        old.map(|rule| rule.id().clone()).collect()
    }

    pub(super) fn is_recent(&self, step: &Step) -> bool {
        self.old_rules(step).is_empty()
    }

    /// Reads again what is too old to be acted on: rules that are to be changed by their ids, else the whole target.
    pub(super) async fn read_old_again(&mut self) -> bool {
        let asked = take(&mut self.too_old);
        let Some(firewall) = self.look.firewall.clone().filter(|_| !asked.is_empty()) else {
            return self.refresh().await;
        };
        self.take_turn(CalledService::Firewall).await;
        match firewall.observe_rules(&self.key, &asked).await {
            Ok(seen) => {
                if let Some(reading) = self.reading() {
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
    pub(super) async fn refresh(&mut self) -> bool {
        self.take_turn(CalledService::Firewall).await;
        let targets = BTreeMap::from([(self.key.clone(), self.ways.clone())]);
        if let Some(look) = self.driver.look(&targets, false).await.remove(&self.key) {
            self.look = look;
            self.auto_closes.clear();
        }
        true
    }
}
