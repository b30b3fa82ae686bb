//! Observing targets: in batches per route, with the next recorded route if one fails.

use crate::{
    error::CommandError,
    reconcile::{
        driver::Driver,
        lane::Lane,
        reading::{ReadFirewalls, Routes, TargetReading, TargetReadings},
    },
};
use eg_model::{
    failure::{Failure, FailureClass},
    ids::SessionId,
    observation::{Observation, absence_is_believed},
    session::record::Session,
    target::{Target, TargetKey},
};
use eg_providers::{Caller, Firewall, ReadResult, read_batch};
use eg_state::{StateError, TargetRecord};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl Driver<'_> {
    /// Reads each target by its first route, and by its next one as long as that fails.
    pub async fn observe(&self, targets: &Routes, dry_run: bool) -> TargetReadings {
        let mut readings = TargetReadings::new();
        let records = self.target_records(targets);
        let records = records.map_err(|error| tracing::warn!("the record of targets cannot be read: {error}"));
        let records = records.unwrap_or_default();
        for attempt in 0.. {
            let batches = batches(targets, &readings, attempt);
            if batches.is_empty() {
                break;
            }
            let reads = join_all(batches.values().map(|batch| read_batch(self.connect.as_ref(), batch))).await;
            for (batch, read) in batches.into_values().zip(reads) {
                for target in batch {
                    let record = records.get(&target.key).cloned().unwrap_or_default();
                    let observation = self.evaluate(&target, read.result(&target.key), record, dry_run);
                    let good = !matches!(observation, Observation::Unavailable(_));
                    if good || !readings.contains_key(&target.key) {
                        let (key, firewall) = (target.key.clone(), read.firewall.clone());
                        let reading = TargetReading { observation, firewall, target };
                        self.note_clock(&reading);
                        readings.insert(key, reading);
                    }
                }
            }
        }
        readings
    }

    fn target_records(&self, targets: &Routes) -> Result<BTreeMap<TargetKey, TargetRecord>, StateError> {
        let mut keys = targets.keys();
        match (keys.next(), keys.next()) {
            (Some(only), None) => {
                Ok(self.store().target(only)?.map(|record| (only.clone(), record)).into_iter().collect())
            }
            _ => self.store().targets(),
        }
    }

    /// Turns a result into an observation. "Not found" becomes "missing" only when it is believed. The time of the first
    /// "not found" is recorded, and cleared once the target shows again.
    fn evaluate(&self, target: &Target, result: ReadResult, record: TargetRecord, dry_run: bool) -> Observation {
        let caller = match result {
            ReadResult::Unavailable(failure) => return Observation::Unavailable(failure),
            ReadResult::NotFound { caller } => caller,
            there @ (ReadResult::Complete(_) | ReadResult::NoReadBack) => {
                if record.missing_since.is_some() && !dry_run {
                    self.change_target(&target.key, |record| record.missing_since = None);
                }
                return if let ReadResult::Complete(reading) = there {
                    Observation::Complete(reading)
                } else {
                    Observation::NoReadBack
                };
            }
        };
        let now = self.env.now();
        let known = record.account.clone().or_else(|| target.route.account.clone());
        let first = record.missing_since;
        // Where there are no accounts, every caller sees the same.
        let same_account = caller.as_ref().is_none_or(|caller| known.as_ref() == Some(&caller.account));
        if absence_is_believed(same_account, first, now) {
            return Observation::Missing;
        }
        if same_account && first.is_none() && !dry_run {
            self.change_target(&target.key, |record| record.missing_since = record.missing_since.or(Some(now)));
        }
        Observation::Unavailable(not_found(target, caller.as_ref(), known.as_deref()))
    }

    fn change_target(&self, key: &TargetKey, change: impl FnOnce(&mut TargetRecord)) {
        if let Err(error) = self.store_of(key).change_target(key, change) {
            tracing::warn!("the record of {key} cannot be written: {error}");
        }
    }

    /// Records the accounts of targets that were read for the first time: "not found" is believed later only from that
    /// account. One call per route, and none once all accounts are known.
    pub(super) async fn learn_accounts(&self, read: &ReadFirewalls, lane: &Lane) -> Result<(), CommandError> {
        let sessions = self.store().live_sessions()?;
        let grants = sessions.iter().flat_map(|session| &session.grants);
        let unknown = grants.filter(|grant| grant.target.route.account.is_none());
        let unknown: BTreeSet<&TargetKey> = unknown.map(|grant| &grant.target.key).collect();
        let mut regions: BTreeMap<Target, Vec<&(Target, Arc<dyn Firewall>)>> = BTreeMap::new();
        for way in read.iter().filter(|(target, _)| unknown.contains(&target.key)) {
            regions.entry(way.0.regional()).or_default().push(way);
        }
        for ways in regions.into_values() {
            let Some((target, firewall)) = ways.first() else { continue };
            match lane.caller(target, firewall.as_ref()).await {
                Ok(caller) => {
                    self.record_caller(ways.iter().map(|(target, _)| &target.key).collect(), &caller, &sessions)?
                }
                Err(failure) => tracing::info!("the account of the credentials is not known: {failure}"),
            }
        }
        Ok(())
    }

    fn record_caller(
        &self,
        targets: BTreeSet<&TargetKey>,
        caller: &Caller,
        sessions: &[Session],
    ) -> Result<(), CommandError> {
        let mut store = self.store_mut();
        for target in &targets {
            store.learn_account(target, Some(&caller.account), Some(&caller.partition))?;
        }
        let theirs = |session: &&Session| session.grants.iter().any(|grant| targets.contains(&grant.target.key));
        let ids: Vec<SessionId> = sessions.iter().filter(theirs).map(|session| session.id).collect();
        Ok(store.add_caller(&ids, &caller.arn)?)
    }
}

fn not_found(target: &Target, caller: Option<&Caller>, known: Option<&str>) -> Failure {
    let wrong = known.filter(|known| caller.is_some_and(|caller| caller.account != *known));
    let wrong = wrong.map(|known| format!(", but it belongs to account {known}")).unwrap_or_default();
    Failure::new(FailureClass::Gone, ReadResult::absent(&target.key, caller) + &wrong)
}

/// The targets that have no good reading yet and have another route, batched by that route.
fn batches(targets: &Routes, readings: &TargetReadings, attempt: usize) -> BTreeMap<Target, Vec<Target>> {
    let mut batches: BTreeMap<Target, Vec<Target>> = BTreeMap::new();
    for (key, routes) in targets {
        let read = readings.get(key).is_some_and(|one| !matches!(one.observation, Observation::Unavailable(_)));
        if let Some(target) = routes.get(attempt).filter(|_| !read) {
            batches.entry(target.regional()).or_default().push(target.clone());
        }
    }
    batches
}
