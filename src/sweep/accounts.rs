//! The work of `eg sweep`: whole accounts, with credentials alone. No record, no lock, no configuration.
//!
//! A *place* is a region as one set of credentials sees it. Every place is read in one series; what cannot be read is
//! listed and never counts as empty. Two profiles that lead to the same account are two ways to one place. What to do
//! is `eg_model::sweep::judge`'s to say; `group` does it, group by group.

pub use crate::sweep::group::{Outcome, SweepRow};

use crate::sweep::group::GroupRun;
use crate::{
    host::{env::Env, signals::Interrupt},
    reconcile::{
        driver::{CONCURRENCY, PASS_LIMIT},
        retry_budget::RetryBudget,
    },
};
use eg_model::{
    failure::{Failure, FailureClass},
    observation::Reading,
    sweep::judge::SweepScope,
    target::{Target, TargetKey},
};
use eg_providers::{Caller, Connect, Firewall, ReadResult};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::time::Instant;

/// One set of credentials, and where to look with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepAccount {
    /// The way there; its target names the endpoint, a region to ask who is calling, and no group.
    pub target: Target,
    pub regions: Regions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Regions {
    /// Every one that is enabled for the account.
    All,
    Named(BTreeSet<String>),
}

/// A region of an account that was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountRegion {
    pub account: String,
    pub region: String,
    /// The profile that led there.
    pub profile: Option<String>,
}

/// What could not be read: nothing is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadRegion {
    pub profile: Option<String>,
    /// The account, where the provider told.
    pub account: Option<String>,
    /// The region; `None`: not even which regions there are is known.
    pub region: Option<String>,
    /// The group, where it is one alone.
    pub group: Option<String>,
    pub failure: Failure,
}

/// A group with marked rules.
pub struct SweepTarget {
    pub place: AccountRegion,
    pub target: TargetKey,
    pub reading: Reading,
    pub firewall: Arc<dyn Firewall>,
}

#[derive(Default)]
pub struct SweepReading {
    pub places: BTreeSet<AccountRegion>,
    pub unread: Vec<UnreadRegion>,
    /// Groups with marked rules, by place.
    pub groups: Vec<SweepTarget>,
}

pub struct Sweeper<'a> {
    pub env: &'a Env,
    /// The way to the clouds.
    pub connect: Arc<dyn Connect>,
    /// Asks to stop between calls.
    pub interrupt: &'a Interrupt,
}

impl Sweeper<'_> {
    fn patience(&self) -> RetryBudget<'_> {
        RetryBudget::new(self.env, self.interrupt, Instant::now() + PASS_LIMIT)
    }

    /// Reads the marked rules of every region of every account.
    pub async fn read(&self, accounts: &[SweepAccount]) -> SweepReading {
        let mut found = SweepReading::default();
        // Two profiles of the same account see the same rules.
        let mut ways: BTreeMap<(String, String), Vec<Target>> = BTreeMap::new();
        for account in accounts {
            match self.regions_of(account).await {
                Err(unread) => found.unread.push(*unread),
                Ok((caller, names)) => {
                    for region in names {
                        let mut target = account.target.clone();
                        target.key.region.clone_from(&region);
                        ways.entry((caller.account.clone(), region)).or_default().push(target);
                    }
                }
            }
        }
        let looks = ways.into_iter().map(|((account, region), targets)| self.look(account, region, targets));
        let looks: Vec<SweepReading> = stream::iter(looks).buffered(CONCURRENCY).collect().await;
        for look in looks {
            found.places.extend(look.places);
            found.unread.extend(look.unread);
            found.groups.extend(look.groups);
        }
        found
    }

    /// Who the credentials are, and the regions to look at with them.
    async fn regions_of(&self, account: &SweepAccount) -> Result<(Caller, BTreeSet<String>), Box<UnreadRegion>> {
        let profile = account.target.route.profile.clone();
        let unread = |account: Option<String>, failure| {
            Box::new(UnreadRegion { profile: profile.clone(), account, region: None, group: None, failure })
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

    /// One place, by the first way that leads there.
    async fn look(&self, account: String, region: String, targets: Vec<Target>) -> SweepReading {
        let mut found = SweepReading::default();
        for target in targets {
            let place = AccountRegion {
                account: account.clone(),
                region: region.clone(),
                profile: target.route.profile.clone(),
            };
            let read = async {
                let firewall = self.connect.connect(&target).await?;
                let groups = self.persist(async || firewall.marked(&target.key).await).await?;
                Ok::<_, Failure>((firewall, groups))
            };
            match read.await {
                Err(failure) => found.unread.push(place.unread(None, failure)),
                Ok((firewall, groups)) => {
                    found.unread.clear();
                    found.add(&place, &firewall, groups);
                    found.places.insert(place);
                    break;
                }
            }
        }
        found
    }

    /// Asks again where it was too fast, or no usable answer came: there may be no next pass for hours.
    async fn persist<T>(&self, call: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut patience = self.patience();
        loop {
            let failure = match call().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let again = match failure.class {
                FailureClass::Throttled => patience.after_throttling().await,
                class if class.outcome_unknown() => patience.before_reading_again().await,
                _ => false,
            };
            if !again {
                return Err(failure);
            }
        }
    }

    /// Does what is to be done about each rule, or with `show` says what that is.
    pub async fn sweep(&self, groups: Vec<SweepTarget>, wish: &SweepScope, show: bool) -> Vec<SweepRow> {
        let runs = groups.into_iter().map(|group| GroupRun::new(self.env, self.patience(), group, wish));
        let runs = runs.map(|run| async move { if show { run.shown() } else { run.run().await } });
        stream::iter(runs).buffered(CONCURRENCY).collect::<Vec<_>>().await.into_iter().flatten().collect()
    }
}

impl AccountRegion {
    fn unread(&self, group: Option<String>, failure: Failure) -> UnreadRegion {
        let Self { account, region, profile } = self.clone();
        UnreadRegion { profile, account: Some(account), region: Some(region), group, failure }
    }
}

impl SweepReading {
    fn add(&mut self, place: &AccountRegion, firewall: &Arc<dyn Firewall>, groups: BTreeMap<TargetKey, ReadResult>) {
        for (target, sighting) in groups {
            match sighting {
                ReadResult::Complete(reading) => {
                    let (place, firewall) = (place.clone(), Arc::clone(firewall));
                    self.groups.push(SweepTarget { place, target, reading, firewall });
                }
                ReadResult::Unavailable(failure) => self.unread.push(place.unread(Some(target.id), failure)),
                ReadResult::NotFound { caller } => {
                    let message = format!("account {} has no {target}", caller.account);
                    self.unread.push(place.unread(Some(target.id), Failure::new(FailureClass::Gone, message)));
                }
            }
        }
    }
}
