//! One reading of every configured target, for commands that look and change nothing.

use crate::config::settings::{Resource, Settings};
use eg_model::{
    failure::{Failure, FailureClass},
    target::{Target, TargetKey},
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
    pub target: Target,
    pub sighting: ReadResult,
    /// Through what; absent where there was no way.
    pub firewall: Option<Arc<dyn Firewall>>,
}

/// Looks once at every configured resource, one call series per way, in the configuration's order.
pub async fn survey<'a>(
    settings: &'a Settings,
    connect: &dyn Connect,
    target: impl Fn(&Resource) -> Target,
) -> Vec<ResourceReading<'a>> {
    let mut ways: BTreeMap<Target, Vec<(&Resource, Target)>> = BTreeMap::new();
    for resource in &settings.resources {
        let to = target(resource);
        ways.entry(to.regional()).or_default().push((resource, to));
    }
    let looks = ways.into_values().map(|resources| look(connect, resources));
    let mut seen: Vec<ResourceReading<'_>> = join_all(looks).await.into_iter().flatten().collect();
    let place = |one: &ResourceReading<'_>| settings.resources.iter().position(|known| known.name == one.resource.name);
    seen.sort_by_key(place);
    seen
}

async fn look<'a>(connect: &dyn Connect, resources: Vec<(&'a Resource, Target)>) -> Vec<ResourceReading<'a>> {
    let keys: BTreeSet<TargetKey> = resources.iter().map(|(_, target)| target.key.clone()).collect();
    let Some((_, first)) = resources.first() else { return Vec::new() };
    let (firewall, sightings) = match connect.connect(first).await {
        Ok(firewall) => {
            let sightings = firewall.observe(&keys).await;
            (Some(firewall), sightings)
        }
        Err(failure) => (None, keys.into_iter().map(|key| (key, ReadResult::Unavailable(failure.clone()))).collect()),
    };
    let nothing = || ReadResult::Unavailable(Failure::new(FailureClass::Unknown, "the answer leaves it out"));
    let surveyed = |(resource, target): (&'a Resource, Target)| ResourceReading {
        resource,
        sighting: sightings.get(&target.key).cloned().unwrap_or_else(nothing),
        target,
        firewall: firewall.clone(),
    };
    resources.into_iter().map(surveyed).collect()
}
