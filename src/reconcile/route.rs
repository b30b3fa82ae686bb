//! The work of a pass behind one route: credentials, endpoint and region.
//!
//! 1. The route's targets are read in one batch. Work on the targets that could be read begins at once, if the start of the
//!    pass is on record by then.
//! 2. Routes that could not be read for a passing reason (throttling; while a person waits, also a missing answer) are read
//!    again after a delay, in smaller batches each time: one refused page among many spoils a whole batch.
//! 3. The targets run side by side, as many at a time as there are places; targets with something to close come first.
//! 4. The accounts of targets are recorded, if they were not known.

use crate::{
    error::CommandError,
    reconcile::{
        apply::target::TargetRun,
        driver::Driver,
        lane::{CalledService, Lane},
        pass::{Begun, Go},
        reading::{ReadFirewalls, Routes, TargetReading, TargetReadings},
        report::{PassReport, TargetReport},
        request::Request,
        retry_budget::RetryBudget,
    },
};
use eg_model::{
    failure::FailureClass,
    observation::Observation,
    plan::digest,
    target::{Target, TargetKey},
};
use eg_providers::Firewall;
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, LocalBoxFuture, join, join_all, select},
    stream::FuturesUnordered,
};
use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};
use tokio::{sync::SetOnce, time::timeout};

/// The time that readings get after the work beside them is done.
const GRACE: Duration = Duration::from_secs(2);

/// The targets by the route of their first attempt.
fn by_route(targets: Routes) -> BTreeMap<Option<Target>, Routes> {
    let mut by_route: BTreeMap<Option<Target>, Routes> = BTreeMap::new();
    for (key, routes) in targets {
        by_route.entry(routes.first().map(Target::regional)).or_default().insert(key, routes);
    }
    by_route
}

/// The ends of all routes of a pass.
pub(super) struct RouteEnds(Vec<RouteEnd>);

/// One route in one pass.
struct RouteRun<'a> {
    driver: &'a Driver<'a>,
    request: &'a Request,
    may_open: bool,
    lane: Lane,
}

struct RouteEnd {
    targets: Vec<TargetReport>,
    /// The error of recording the targets' accounts.
    accounts: Result<(), CommandError>,
}

impl Driver<'_> {
    /// Observes targets while `beside` runs, each route by itself. Routes that are not read soon after its end are left out:
    /// the pass reads them again, while it works on the others.
    pub async fn observe_beside<T>(
        &self,
        targets: &Routes,
        dry_run: bool,
        beside: impl Future<Output = T>,
    ) -> (TargetReadings, T) {
        let routes: Vec<Routes> = by_route(targets.clone()).into_values().collect();
        let mut reads: FuturesUnordered<_> = routes.iter().map(|targets| self.observe(targets, dry_run)).collect();
        let mut readings = TargetReadings::new();
        let done = {
            let mut read = pin!(async {
                while let Some(more) = reads.next().await {
                    readings.extend(more);
                }
            });
            match select(pin!(beside), &mut read).await {
                Either::Left((done, _)) => {
                    timeout(GRACE, read).await.ok();
                    done
                }
                Either::Right(((), beside)) => beside.await,
            }
        };
        (readings, done)
    }

    /// Takes every target from its reading to rest, all routes side by side. `begin` records the start of the pass beside the
    /// first readings; no work begins before its end, or if it fails.
    pub(super) async fn observe_plan_apply(
        &self,
        request: &Request,
        targets: Routes,
        mut readings: TargetReadings,
        begin: impl Future<Output = Result<Begun, CommandError>>,
    ) -> (Result<Begun, CommandError>, RouteEnds) {
        readings.retain(|key, reading| targets.contains_key(key) && reading.is_recent(self.env.now()));
        for (key, reading) in &mut readings {
            // A reading that is older than the record's row does not know the account that the row knows.
            let known = targets.get(key).into_iter().flatten().filter(|target| target.route.account.is_some());
            if let Some(target) = known.into_iter().find(|target| target.route.same_way(&reading.target.route)) {
                reading.target = target.clone();
            }
        }
        let start = SetOnce::new();
        let runs = by_route(targets).into_values().map(|targets| {
            let readings = targets.keys().filter_map(|key| readings.remove_entry(key)).collect();
            RouteRun { driver: self, request, may_open: false, lane: Lane::new() }.run(targets, readings, &start)
        });
        let runs = join_all(runs.collect::<Vec<_>>());
        let begin = async {
            let begun = begin.await;
            // Set once, here.
            start.set(begun.as_ref().ok().map(|begun| begun.go.clone())).ok();
            begun
        };
        // The readings first: their requests leave before the disk is waited for.
        let (ends, begun) = join(runs, begin).await;
        (begun, RouteEnds(ends))
    }
}

impl RouteEnds {
    /// Adds the targets' reports to the pass's.
    pub(super) fn add_to(self, report: &mut PassReport) {
        let mut done = Vec::new();
        for end in self.0 {
            done.extend(end.targets);
            if let Err(error) = end.accounts {
                report.converged = false;
                report.state_errors.push(error.message);
            }
        }
        done.sort_by(|a, b| a.target.cmp(&b.target));
        report.digest = digest(done.iter().map(|target| &target.first_plan));
        done.into_iter().for_each(|target| report.add(target));
    }
}

impl RouteRun<'_> {
    async fn run(mut self, mut targets: Routes, mut readings: TargetReadings, start: &SetOnce<Option<Go>>) -> RouteEnd {
        let unread = targets.iter().filter(|(key, _)| !readings.contains_key(*key));
        let unread = unread.map(|(key, routes)| (key.clone(), routes.clone())).collect();
        readings.extend(self.driver.observe(&unread, self.request.dry_run).await);
        let Some(go) = start.wait().await else { return RouteEnd { targets: Vec::new(), accounts: Ok(()) } };
        self.may_open = go.may_open;
        targets.retain(|key, _| go.targets.contains(key));
        readings.retain(|key, _| go.targets.contains(key));
        self.lane.start_clock();
        let mut read = ReadFirewalls::new();
        let budget = RetryBudget::new(self.driver.env, &self.driver.interrupt, self.lane.deadline());
        let targets = self.work(budget, targets, readings, 0, &mut read).await;
        let accounts = if self.request.dry_run { Ok(()) } else { self.driver.learn_accounts(&read, &self.lane).await };
        RouteEnd { targets, accounts }
    }

    /// Works on the targets that could be read, and meanwhile reads the others again. The firewalls that answered go to `all`.
    fn work<'s>(
        &'s self,
        mut budget: RetryBudget<'s>,
        mut targets: Routes,
        readings: TargetReadings,
        tries: u32,
        all: &'s mut ReadFirewalls,
    ) -> LocalBoxFuture<'s, Vec<TargetReport>> {
        let (unread, read): (TargetReadings, TargetReadings) =
            readings.into_iter().partition(|(_, reading)| self.is_read_again(reading));
        all.extend(read.values().filter_map(answered));
        let rest: Routes = unread.keys().filter_map(|key| targets.remove_entry(key)).collect();
        let now = self.run_all(targets, read);
        let later = async move {
            if unread.is_empty() {
                return Vec::new();
            }
            let throttled = unread.values().any(is_throttled);
            let again = if throttled { budget.after_throttling().await } else { budget.before_reading_again().await };
            if !again {
                return self.run_all(rest, unread).await;
            }
            let readings = self.read_in_parts(&rest, tries + 1).await;
            self.work(budget, rest, readings, tries + 1, all).await
        };
        join(now, later).map(|(now, later)| now.into_iter().chain(later).collect()).boxed_local()
    }

    /// Reads targets in batches, twice as many with each try.
    async fn read_in_parts(&self, targets: &Routes, tries: u32) -> TargetReadings {
        let parts = 1_usize.checked_shl(tries).unwrap_or(usize::MAX).min(targets.len()).max(1);
        let all: Vec<_> = targets.iter().map(|(key, routes)| (key.clone(), routes.clone())).collect();
        let read = |part: &[(TargetKey, Vec<Target>)]| {
            let part = part.iter().cloned().collect();
            async move {
                let _turn = self.lane.turn().await;
                self.driver.observe(&part, self.request.dry_run).await
            }
        };
        join_all(all.chunks(all.len().div_ceil(parts).max(1)).map(read)).await.into_iter().flatten().collect()
    }

    /// True if the reading failed for a passing reason. A throttled reading is repeated in any pass; one that failed at the
    /// server or on the network only while a person waits.
    fn is_read_again(&self, reading: &TargetReading) -> bool {
        let Observation::Unavailable(failure) = &reading.observation else { return false };
        let passing = failure.class.outcome_unknown() && self.request.interactive;
        (passing || is_throttled(reading)) && !self.request.dry_run
    }

    /// Runs all targets. Those with something to close come first: places are given out in this order.
    async fn run_all(&self, mut targets: Routes, readings: TargetReadings) -> Vec<TargetReport> {
        let now = self.driver.env.now();
        let closes = |key: &TargetKey| self.driver.load(key, now).is_ok_and(|loaded| loaded.has_to_close());
        let mut readings: Vec<_> = readings.into_iter().collect();
        readings.sort_by_cached_key(|(key, _)| !closes(key));
        let runs = readings.into_iter().map(|(key, reading)| {
            let routes = targets.remove(&key).unwrap_or_default();
            async move {
                let place = self.lane.slot(CalledService::Firewall).await;
                // Made when its turn has come, and gone when it is done: a run is large, and thousands may wait.
                let run = TargetRun::new(self.driver, self.request, &self.lane, place, routes, reading, self.may_open);
                let done = run.run().boxed_local().await;
                self.driver.env.progress.note();
                done
            }
        });
        join_all(runs.collect::<Vec<_>>()).await
    }
}

/// The firewall of a target that was read whole.
fn answered(reading: &TargetReading) -> Option<(Target, Arc<dyn Firewall>)> {
    let firewall = reading.firewall.clone()?;
    matches!(reading.observation, Observation::Complete(_)).then(|| (reading.target.clone(), firewall))
}

fn is_throttled(reading: &TargetReading) -> bool {
    matches!(&reading.observation, Observation::Unavailable(failure) if failure.class == FailureClass::Throttled)
}
