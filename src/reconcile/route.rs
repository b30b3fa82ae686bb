//! Everything that a pass does behind one route: credentials, endpoint and region.
//!
//! 1. The route's targets are read, in one batch. What is read is worked on at once.
//! 2. What could not be read for a reason that passes (too fast; while a person waits, also no usable answer) is read again
//!    after a delay, in smaller batches each time: one page among many that is refused spoils a whole batch.
//! 3. The targets run side by side, as many at a time as there are slots; those with something to close come first.
//! 4. Whose account the targets are of is recorded, where it was not known.

use super::lane::{CalledService, Lane};
use crate::error::CommandError;
use crate::reconcile::{
    apply::round::{TargetReport, TargetRun},
    driver::{Driver, Request},
    observe::{TargetReading, TargetReadings},
    report::PassReport,
    retry_budget::RetryBudget,
};
use eg_model::{
    failure::FailureClass,
    observation::Observation,
    plan::digest,
    target::{Target, TargetKey},
};
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, LocalBoxFuture, join, join_all, select},
    stream::FuturesUnordered,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::Duration,
};
use tokio::time::timeout;

/// How much longer readings may take than what they are made beside.
const GRACE: Duration = Duration::from_secs(2);

/// Targets, each with the ways to reach it, best first.
pub(super) type Targets = BTreeMap<TargetKey, Vec<Target>>;

/// By the route that each target is tried by first.
fn by_route(targets: Targets) -> BTreeMap<Option<Target>, Targets> {
    let mut routes: BTreeMap<Option<Target>, Targets> = BTreeMap::new();
    for (key, ways) in targets {
        routes.entry(ways.first().map(Target::regional)).or_default().insert(key, ways);
    }
    routes
}

/// One route in one pass.
struct RouteRun<'a> {
    driver: &'a Driver<'a>,
    request: &'a Request,
    may_open: bool,
    lane: Lane,
}

struct RouteEnd {
    targets: Vec<TargetReport>,
    /// What could not be recorded of the accounts.
    accounts: Result<(), CommandError>,
}

impl Driver<'_> {
    /// TargetReadings at targets beside something else, each route by itself. Routes that are not read soon after that is done are
    /// left out: the pass reads them, and those that are read go on without them.
    pub async fn look_beside<T>(
        &self,
        targets: &Targets,
        dry_run: bool,
        beside: impl Future<Output = T>,
    ) -> (TargetReadings, T) {
        let routes: Vec<Targets> = by_route(targets.clone()).into_values().collect();
        let mut reads: FuturesUnordered<_> = routes.iter().map(|targets| self.look(targets, dry_run)).collect();
        let mut looks = TargetReadings::new();
        let done = {
            let mut read = pin!(async {
                while let Some(more) = reads.next().await {
                    looks.extend(more);
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
        (looks, done)
    }

    /// Works on every target, all routes side by side, and adds to the report what came of it.
    pub(super) async fn drive(
        &self,
        request: &Request,
        targets: Targets,
        mut looks: TargetReadings,
        may_open: bool,
        report: &mut PassReport,
    ) {
        looks.retain(|key, look| targets.contains_key(key) && look.is_fresh(self.env.now()));
        for (key, look) in &mut looks {
            // A look from before the record was written does not know the account that the record knows.
            let ways = targets.get(key).into_iter().flatten();
            if let Some(way) =
                ways.into_iter().find(|way| way.route.account.is_some() && way.route.same_way(&look.target.route))
            {
                look.target = way.clone();
            }
        }
        let runs = by_route(targets).into_values().map(|targets| {
            let looks = targets.keys().filter_map(|key| looks.remove_entry(key)).collect();
            RouteRun { driver: self, request, may_open, lane: Lane::new() }.run(targets, looks)
        });
        let ends = join_all(runs.collect::<Vec<_>>()).await;
        let mut done = Vec::new();
        for end in ends {
            done.extend(end.targets);
            if let Err(error) = end.accounts {
                report.converged = false;
                report.state_errors.push(error.message);
            }
        }
        done.sort_by(|a, b| a.target.cmp(&b.target));
        report.digest = digest(done.iter().map(|run| &run.first_plan));
        for run in done {
            report.add(run);
        }
    }
}

impl RouteRun<'_> {
    async fn run(self, targets: Targets, mut looks: TargetReadings) -> RouteEnd {
        let unseen = targets.iter().filter(|(key, _)| !looks.contains_key(*key));
        let unseen = unseen.map(|(key, ways)| (key.clone(), ways.clone())).collect();
        looks.extend(self.driver.look(&unseen, self.request.dry_run).await);
        self.lane.begin();
        let mut seen = TargetReadings::new();
        let patience = RetryBudget::new(self.driver.env, &self.driver.interrupt, self.lane.deadline());
        let targets = self.work(patience, targets, looks, 0, &mut seen).await;
        let accounts = if self.request.dry_run { Ok(()) } else { self.driver.learn_accounts(&seen, &self.lane).await };
        RouteEnd { targets, accounts }
    }

    /// Works on what was read, and meanwhile reads the rest again.
    fn work<'s>(
        &'s self,
        mut patience: RetryBudget<'s>,
        mut targets: Targets,
        looks: TargetReadings,
        tries: u32,
        seen: &'s mut TargetReadings,
    ) -> LocalBoxFuture<'s, Vec<TargetReport>> {
        let (unread, read): (TargetReadings, TargetReadings) =
            looks.into_iter().partition(|(_, look)| self.is_read_again(look));
        seen.extend(read.iter().chain(&unread).map(|(key, look)| (key.clone(), look.clone())));
        let rest: Targets = unread.keys().filter_map(|key| targets.remove_entry(key)).collect();
        let now = self.run_all(targets, read);
        let later = async move {
            if unread.is_empty() {
                return Vec::new();
            }
            let too_fast = unread.values().any(is_throttled);
            let again =
                if too_fast { patience.after_throttling().await } else { patience.before_reading_again().await };
            if !again {
                return self.run_all(rest, unread).await;
            }
            let looks = self.read_in_parts(&rest, tries + 1).await;
            self.work(patience, rest, looks, tries + 1, seen).await
        };
        join(now, later).map(|(now, later)| now.into_iter().chain(later).collect()).boxed_local()
    }

    /// Twice as many batches each time.
    async fn read_in_parts(&self, targets: &Targets, tries: u32) -> TargetReadings {
        let parts = 1_usize.checked_shl(tries).unwrap_or(usize::MAX).min(targets.len()).max(1);
        let all: Vec<_> = targets.iter().map(|(key, ways)| (key.clone(), ways.clone())).collect();
        let read = |part: &[(TargetKey, Vec<Target>)]| {
            let part = part.iter().cloned().collect();
            async move {
                let _turn = self.lane.turn(CalledService::Firewall).await;
                self.driver.look(&part, self.request.dry_run).await
            }
        };
        join_all(all.chunks(all.len().div_ceil(parts).max(1)).map(read)).await.into_iter().flatten().collect()
    }

    /// Whether the reading failed for a reason that passes by itself: throttled, it is made again in any pass; after a
    /// server's or the network's failure, while a person waits.
    fn is_read_again(&self, look: &TargetReading) -> bool {
        let Observation::Unavailable(failure) = &look.observation else { return false };
        let passes = failure.class.outcome_unknown() && self.request.interactive;
        (passes || is_throttled(look)) && !self.request.dry_run
    }

    /// Those with something to close come first: slots are given out in this order.
    async fn run_all(&self, mut targets: Targets, looks: TargetReadings) -> Vec<TargetReport> {
        let closing = self.closing();
        let mut looks: Vec<_> = looks.into_iter().collect();
        looks.sort_by_key(|(key, _)| !closing.contains(key));
        let runs = looks.into_iter().map(|(key, look)| {
            let ways = targets.remove(&key).unwrap_or_default();
            let run = TargetRun::new(self.driver, self.request, &self.lane, key, ways, look, self.may_open).run();
            async {
                let done = run.await;
                self.driver.env.progress.note();
                done
            }
        });
        join_all(runs.collect::<Vec<_>>()).await
    }

    /// The targets on which a lease is open that nobody wants any more.
    fn closing(&self) -> BTreeSet<TargetKey> {
        let Ok(loaded) = self.driver.load(self.driver.env.now()) else { return BTreeSet::new() };
        let wanted = |target: &TargetKey, permission| {
            loaded.wants.get(target).is_some_and(|wants| wants.contains_key(permission))
        };
        let unwanted = loaded.leases.iter().filter(|lease| !wanted(&lease.target.key, &lease.permission));
        unwanted.map(|lease| lease.target.key.clone()).collect()
    }
}

fn is_throttled(look: &TargetReading) -> bool {
    matches!(&look.observation, Observation::Unavailable(failure) if failure.class == FailureClass::Throttled)
}
