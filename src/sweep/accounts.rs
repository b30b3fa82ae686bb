//! The sweep of whole accounts. Each region of an account is read in one series of calls. Two profiles that lead to the same
//! account are two routes to the same regions. `eg_model::sweep::judge` decides, and [`super::group`] acts, group by group.

use super::{
    container::TagRow,
    group::{GroupRun, Outcome, SweepRow},
    reading::{AccountRegion, SweepReading, SweepTarget, UnreadRegion},
};
use crate::{
    host::{env::Env, signals::Interrupt},
    reconcile::{
        lane::{CONCURRENCY, PASS_LIMIT},
        retry_budget::RetryBudget,
    },
    targets::route::target_for,
};
use eg_model::{
    failure::{Failure, FailureClass},
    sweep::judge::SweepScope,
    target::{Target, TargetKey},
};
use eg_providers::{Caller, Connect, Kind};
use futures_util::{StreamExt, stream};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};
use tokio::time::Instant;

/// One set of credentials, and the regions to read with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepAccount {
    /// The route, with the endpoint and a region in which to ask for the caller, and without a group.
    pub target: Target,
    pub regions: Regions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Regions {
    /// Every region that is enabled for the account.
    All,
    Named(BTreeSet<String>),
}

pub struct Sweeper<'a> {
    pub env: &'a Env,
    pub connect: Arc<dyn Connect>,
    /// The kinds of firewall to look at; never none.
    pub kinds: Vec<&'static Kind>,
    /// Asks to stop between calls.
    pub interrupt: &'a Interrupt,
}

/// All that was swept.
#[derive(Default)]
pub struct SweepResult {
    pub rows: Vec<SweepRow>,
    pub tags: Vec<TagRow>,
    /// Containers whose tags could not be read.
    pub unread: Vec<UnreadRegion>,
}

impl SweepResult {
    /// What became of every action.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.rows.iter().filter_map(|row| row.outcome.as_ref()).chain(self.tags.iter().map(|tag| &tag.outcome))
    }
}

impl Sweeper<'_> {
    fn budget(&self) -> RetryBudget<'_> {
        RetryBudget::new(self.env, self.interrupt, Rc::new(Cell::new(Instant::now() + PASS_LIMIT)))
    }

    /// Reads the marked rules of every region of every account.
    pub async fn read(&self, accounts: &[SweepAccount]) -> SweepReading {
        let mut found = SweepReading::default();
        // Two profiles of the same account read the same rules.
        let mut routes: BTreeMap<(String, String), Vec<Target>> = BTreeMap::new();
        for account in accounts {
            match self.regions_of(account).await {
                Err(unread) => found.unread.push(*unread),
                Ok((caller, names)) => {
                    for region in names {
                        let mut target = account.target.clone();
                        target.key.region.clone_from(&region);
                        routes.entry((caller.account.clone(), region)).or_default().push(target);
                    }
                }
            }
        }
        let reads = routes.into_iter().map(|((account, region), targets)| self.read_region(account, region, targets));
        let read: Vec<SweepReading> = stream::iter(reads).buffered(CONCURRENCY).collect().await;
        for region in read {
            found.places.extend(region.places);
            found.unread.extend(region.unread);
            found.groups.extend(region.groups);
        }
        found
    }

    /// The caller behind the credentials, and the regions to read with them.
    async fn regions_of(&self, account: &SweepAccount) -> Result<(Caller, BTreeSet<String>), Box<UnreadRegion>> {
        let profile = account.target.route.profile.clone();
        let unread = |account: Option<String>, failure| {
            Box::new(UnreadRegion { profile: profile.clone(), account, region: None, group: None, kind: None, failure })
        };
        let firewall = self.connect.connect(&account.target).await.map_err(|failure| unread(None, failure))?;
        let caller = self.persist(async || firewall.caller().await).await.map_err(|failure| unread(None, failure))?;
        let names = match &account.regions {
            Regions::Named(names) => names.clone(),
            Regions::All => {
                let asked = self.persist(async || firewall.regions().await).await;
                asked.map_err(|failure| unread(Some(caller.account.clone()), failure))?
            }
        };
        Ok((caller, names))
    }

    /// Reads one region, kind by kind, each by the first route that leads there. A region whose first kind cannot be read
    /// is unread as a whole.
    async fn read_region(&self, account: String, region: String, targets: Vec<Target>) -> SweepReading {
        let (mut found, mut targets) = (SweepReading::default(), targets);
        for (number, kind) in self.kinds.iter().copied().enumerate() {
            match self.read_kind(kind, &account, &region, &targets, &mut found).await {
                // The other kinds take the route that has worked before they try another.
                Ok(route) => targets.swap(0, route),
                Err(unread) if number == 0 => {
                    found.unread.extend(unread);
                    break;
                }
                Err(unread) => {
                    found.unread.extend(unread.into_iter().map(|one| UnreadRegion { kind: Some(kind), ..one }));
                }
            }
        }
        found
    }

    /// Reads the firewalls of one kind; the result is the route that led there, or why none did.
    async fn read_kind(
        &self,
        kind: &'static Kind,
        account: &str,
        region: &str,
        targets: &[Target],
        found: &mut SweepReading,
    ) -> Result<usize, Vec<UnreadRegion>> {
        let mut unread = Vec::new();
        for (route, target) in targets.iter().enumerate() {
            let profile = target.route.profile.clone();
            let key = TargetKey::new(kind.provider, kind.name, region, "");
            let target = target_for(self.env, key, profile.clone());
            let place = AccountRegion { account: account.to_owned(), region: region.to_owned(), profile };
            let read = async {
                let firewall = self.connect.connect(&target).await?;
                let groups = self.persist(async || firewall.marked(&target.key).await).await?;
                Ok::<_, Failure>((firewall, groups))
            };
            match read.await {
                Err(failure) => unread.push(place.unread(None, failure)),
                Ok((firewall, groups)) => {
                    found.add(&place, &firewall, groups);
                    found.places.insert(place);
                    return Ok(route);
                }
            }
        }
        Err(unread)
    }

    /// Repeats a call that was throttled or had no usable answer: the next sweep may be hours away.
    async fn persist<T>(&self, call: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut budget = self.budget();
        loop {
            let failure = match call().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let again = match failure.class {
                FailureClass::Throttled => budget.after_throttling().await,
                class if class.outcome_unknown() => budget.before_reading_again().await,
                _ => false,
            };
            if !again {
                return Err(failure);
            }
        }
    }

    /// Carries out the action for each rule, then removes the dead tags of containers; with `show`, only plans both.
    pub async fn sweep(&self, groups: Vec<SweepTarget>, scope: &SweepScope, show: bool) -> SweepResult {
        let runs = groups.into_iter().map(|group| GroupRun::new(self.env, self.budget(), group, scope));
        let runs = runs.map(|mut run| async move {
            if show {
                run.plan();
            } else {
                run.run().await;
            }
            let tags = run.remove_tags(show).await;
            (run.rows(), tags)
        });
        let mut result = SweepResult::default();
        for (rows, tags) in stream::iter(runs).buffered(CONCURRENCY).collect::<Vec<_>>().await {
            result.rows.extend(rows);
            match tags {
                Ok(tags) => result.tags.extend(tags),
                Err(unread) => result.unread.push(*unread),
            }
        }
        result
    }
}
