//! Looking at targets: in batches per route, falling back to another recorded way where one fails.

use super::lane::Lane;
use crate::error::CommandError;
use crate::reconcile::driver::Driver;
use eg_model::{
    SETTLE_WINDOW, Timestamp,
    failure::{Failure, FailureClass},
    ids::SessionId,
    observation::{Observation, absence_is_believed},
    session::record::Session,
    target::{Target, TargetKey},
};
use eg_providers::{Caller, Firewall, ReadResult};
use eg_state::TargetRecord;
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A revoke goes out only on a reading that is at most this old.
const FRESH: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// One look at one target.
#[derive(Clone)]
pub struct TargetReading {
    pub observation: Observation,
    /// Through what; absent where there was no way.
    pub firewall: Option<Arc<dyn Firewall>>,
    pub target: Target,
}

impl TargetReading {
    /// Whether it may still be acted on.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        match &self.observation {
            // Of what takes long to read, the last page may be recent and the first one not: what is to be changed is dated
            // rule by rule, and what is to be opened anew counts from the last page. A machine that slept between two pages
            // has an old reading all the same.
            Observation::Complete(reading) => {
                fresh(reading.last_page_at, now) && reading.last_page_at - reading.read_at <= SETTLE_WINDOW
            }
            Observation::Missing | Observation::Unavailable(_) => true,
        }
    }

    /// The provider's clock minus ours, where the reading told.
    #[must_use]
    pub fn provider_time(&self) -> Option<(Timestamp, Timestamp)> {
        match &self.observation {
            Observation::Complete(reading) => reading.provider_time.map(|provider| (provider, reading.read_at)),
            Observation::Missing | Observation::Unavailable(_) => None,
        }
    }
}

/// Whether a reading made at `read_at` may be acted on at `now`. A clock that stepped back makes it unknown.
pub(crate) fn fresh(read_at: Timestamp, now: Timestamp) -> bool {
    (now - read_at).abs() <= FRESH
}

/// One look at each of several targets.
pub type TargetReadings = BTreeMap<TargetKey, TargetReading>;

struct RouteReading {
    firewall: Option<Arc<dyn Firewall>>,
    sightings: BTreeMap<TargetKey, ReadResult>,
}

impl Driver<'_> {
    /// TargetReadings at targets; each entry names the ways to reach it, best first.
    pub async fn look(&self, targets: &BTreeMap<TargetKey, Vec<Target>>, dry_run: bool) -> TargetReadings {
        let mut looks = TargetReadings::new();
        let mut turn = 0;
        let records = self.store.borrow().targets();
        let records = records.map_err(|error| tracing::warn!("what is known of targets cannot be read: {error}"));
        let records = records.unwrap_or_default();
        loop {
            let batches = batches(targets, &looks, turn);
            if batches.is_empty() {
                return looks;
            }
            let seen = join_all(batches.values().map(|batch| self.see(batch))).await;
            for (batch, seen) in batches.values().zip(seen) {
                for target in batch {
                    let sighting = seen.sightings.get(&target.key).cloned().unwrap_or_else(|| {
                        ReadResult::Unavailable(Failure::new(FailureClass::Unknown, "the answer leaves it out"))
                    });
                    let record = records.get(&target.key).cloned().unwrap_or_default();
                    let observation = self.judge(target, sighting, record, dry_run);
                    let better = matches!(observation, Observation::Complete(_) | Observation::Missing);
                    if better || !looks.contains_key(&target.key) {
                        let firewall = seen.firewall.clone();
                        let look = TargetReading { observation, firewall, target: target.clone() };
                        self.hear(&look);
                        looks.insert(target.key.clone(), look);
                    }
                }
            }
            turn += 1;
        }
    }

    /// What a reading tells of the provider's clock.
    pub(super) fn hear(&self, look: &TargetReading) {
        let ahead = look.provider_time().map(|(provider, read_at)| provider - read_at);
        self.ahead.set(self.ahead.get().max(ahead));
    }

    async fn see(&self, targets: &[Target]) -> RouteReading {
        let keys: BTreeSet<TargetKey> = targets.iter().map(|target| target.key.clone()).collect();
        let Some(first) = targets.first() else {
            return RouteReading { firewall: None, sightings: BTreeMap::new() };
        };
        match self.connect.connect(first).await {
            Ok(firewall) => {
                let sightings = firewall.observe(&keys).await;
                RouteReading { firewall: Some(firewall), sightings }
            }
            Err(failure) => {
                let all = |key| (key, ReadResult::Unavailable(failure.clone()));
                RouteReading { firewall: None, sightings: keys.into_iter().map(all).collect() }
            }
        }
    }

    /// What is concluded from a sighting. "Not found" becomes "missing" only when it is believed; the first time it
    /// was seen is recorded, and forgotten when the target shows again.
    fn judge(&self, target: &Target, sighting: ReadResult, record: TargetRecord, dry_run: bool) -> Observation {
        let caller = match sighting {
            ReadResult::Unavailable(failure) => return Observation::Unavailable(failure),
            ReadResult::Complete(reading) => {
                if record.missing_since.is_some() && !dry_run {
                    self.remember(&target.key, |record| record.missing_since = None);
                }
                return Observation::Complete(reading);
            }
            ReadResult::NotFound { caller } => caller,
        };
        let now = self.env.now();
        let known = record.account.clone().or_else(|| target.route.account.clone());
        let first = record.missing_since;
        if absence_is_believed(known.as_deref(), Some(&caller.account), first, now) {
            return Observation::Missing;
        }
        if known.as_deref() == Some(&caller.account) && first.is_none() && !dry_run {
            self.remember(&target.key, |record| record.missing_since = record.missing_since.or(Some(now)));
        }
        Observation::Unavailable(not_found(target, &caller, known.as_deref()))
    }

    fn remember(&self, key: &TargetKey, since_when: impl FnOnce(&mut TargetRecord)) {
        if let Err(error) = self.store.borrow_mut().change_target(key, since_when) {
            tracing::warn!("whether {key} is there cannot be recorded: {error}");
        }
    }

    /// Who owns the targets that were seen for the first time: "not found" is believed later only from that account.
    /// One call per route, and none once all are known.
    pub(super) async fn learn_accounts(&self, looks: &TargetReadings, lane: &Lane) -> Result<(), CommandError> {
        let sessions = self.store.borrow().live_sessions()?;
        let mut ways: BTreeMap<Target, Vec<&TargetReading>> = BTreeMap::new();
        for look in looks.values().filter(|look| matches!(look.observation, Observation::Complete(_))) {
            let target = &look.target.key;
            let mut grants = sessions.iter().flat_map(|session| &session.grants);
            if grants.any(|grant| grant.target.key == *target && grant.target.route.account.is_none()) {
                ways.entry(look.target.regional()).or_default().push(look);
            }
        }
        for looks in ways.into_values() {
            let first = looks.first().and_then(|look| Some((&look.target, look.firewall.as_ref()?)));
            let Some((target, firewall)) = first else { continue };
            match lane.caller(target, firewall.as_ref()).await {
                Ok(caller) => self.record_caller(&looks, &caller, &sessions)?,
                Err(failure) => tracing::info!("who is calling is not known: {failure}"),
            }
        }
        Ok(())
    }

    fn record_caller(
        &self,
        looks: &[&TargetReading],
        caller: &Caller,
        sessions: &[Session],
    ) -> Result<(), CommandError> {
        let mut store = self.store.borrow_mut();
        for look in looks {
            store.learn_account(&look.target.key, Some(&caller.account), Some(&caller.partition))?;
        }
        let targets: BTreeSet<&TargetKey> = looks.iter().map(|look| &look.target.key).collect();
        let theirs = |session: &&Session| session.grants.iter().any(|grant| targets.contains(&grant.target.key));
        let ids: Vec<SessionId> = sessions.iter().filter(theirs).map(|session| session.id).collect();
        Ok(store.add_caller(&ids, &caller.arn)?)
    }
}

fn not_found(target: &Target, caller: &Caller, known: Option<&str>) -> Failure {
    let wrong = known.filter(|known| *known != caller.account);
    let wrong = wrong.map(|known| format!(", but it belongs to account {known}")).unwrap_or_default();
    let message = format!("account {} has no {}{wrong}", caller.account, target.key);
    Failure::new(FailureClass::Gone, message)
}

/// The targets that still have no good look and have a `turn`-th way, by way.
fn batches(
    targets: &BTreeMap<TargetKey, Vec<Target>>,
    looks: &TargetReadings,
    turn: usize,
) -> BTreeMap<Target, Vec<Target>> {
    let mut batches: BTreeMap<Target, Vec<Target>> = BTreeMap::new();
    for (key, ways) in targets {
        let good = looks.get(key).is_some_and(|look| !matches!(look.observation, Observation::Unavailable(_)));
        if let Some(target) = ways.get(turn).filter(|_| !good) {
            batches.entry(target.regional()).or_default().push(target.clone());
        }
    }
    batches
}
