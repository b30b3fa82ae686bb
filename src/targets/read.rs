//! One reading of every configured target, for commands that look and change nothing.

use crate::config::settings::{Resource, Settings};
use eg_model::{
    failure::{Failure, FailureClass},
    target::{Reach, TargetKey},
};
use eg_providers::{Connect, Firewall, ReadResult};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A configured resource and what one look at it came to.
pub struct ResourceReading<'a> {
    pub resource: &'a Resource,
    pub reach: Reach,
    pub sighting: ReadResult,
    /// Through what; absent where there was no way.
    pub firewall: Option<Arc<dyn Firewall>>,
}

/// Looks once at every configured resource, one call series per way, in the configuration's order.
pub async fn survey<'a>(
    settings: &'a Settings,
    connect: &dyn Connect,
    reach: impl Fn(&Resource) -> Reach,
) -> Vec<ResourceReading<'a>> {
    let mut ways: BTreeMap<Reach, Vec<(&Resource, Reach)>> = BTreeMap::new();
    for resource in &settings.resources {
        let to = reach(resource);
        let mut way = to.clone();
        way.target.id.clear();
        ways.entry(way).or_default().push((resource, to));
    }
    let looks = ways.into_values().map(|resources| look(connect, resources));
    let mut seen: Vec<ResourceReading<'_>> = join_all(looks).await.into_iter().flatten().collect();
    let place = |one: &ResourceReading<'_>| settings.resources.iter().position(|known| known.name == one.resource.name);
    seen.sort_by_key(place);
    seen
}

async fn look<'a>(connect: &dyn Connect, resources: Vec<(&'a Resource, Reach)>) -> Vec<ResourceReading<'a>> {
    let keys: BTreeSet<TargetKey> = resources.iter().map(|(_, reach)| reach.target.clone()).collect();
    let Some((_, first)) = resources.first() else { return Vec::new() };
    let (firewall, sightings) = match connect.connect(first).await {
        Ok(firewall) => {
            let sightings = firewall.observe(&keys).await;
            (Some(firewall), sightings)
        }
        Err(failure) => (None, keys.into_iter().map(|key| (key, ReadResult::Unavailable(failure.clone()))).collect()),
    };
    let nothing = || ReadResult::Unavailable(Failure::new(FailureClass::Unknown, "the answer leaves it out"));
    let surveyed = |(resource, reach): (&'a Resource, Reach)| ResourceReading {
        resource,
        sighting: sightings.get(&reach.target).cloned().unwrap_or_else(nothing),
        reach,
        firewall: firewall.clone(),
    };
    resources.into_iter().map(surveyed).collect()
}
