//! One reading of every configured target, for commands that change nothing.

use eg_config::settings::{Resource, Settings};
use eg_model::target::Target;
use eg_providers::{Connect, Firewall, ReadResult, read_batch};
use futures_util::future::join_all;
use std::{collections::BTreeMap, sync::Arc};

/// A configured resource and the result of one reading.
pub struct ResourceReading<'a> {
    pub resource: &'a Resource,
    pub target: Target,
    pub result: ReadResult,
    /// The connection; `None` if the route leads nowhere.
    pub firewall: Option<Arc<dyn Firewall>>,
}

/// The resources behind one route, each with its place in the configuration, and their targets.
type Batch<'a> = (Vec<(usize, &'a Resource)>, Vec<Target>);

/// Reads every configured resource once, one series of calls per route, in the configuration's order.
pub async fn read_resources<'a>(
    settings: &'a Settings,
    connect: &dyn Connect,
    target: impl Fn(&Resource) -> Target,
) -> Vec<ResourceReading<'a>> {
    let mut batches: BTreeMap<Target, Batch<'_>> = BTreeMap::new();
    for (place, resource) in settings.resources.iter().enumerate() {
        let target = target(resource);
        let (resources, targets) = batches.entry(target.regional()).or_default();
        resources.push((place, resource));
        targets.push(target);
    }
    let reads = batches.into_values().map(async |(resources, targets)| {
        let batch = read_batch(connect, &targets).await;
        let reading = |((place, resource), target): ((usize, &'a Resource), Target)| {
            let result = batch.result(&target.key);
            (place, ResourceReading { resource, target, result, firewall: batch.firewall.clone() })
        };
        resources.into_iter().zip(targets).map(reading).collect::<Vec<_>>()
    });
    let mut readings: Vec<_> = join_all(reads).await.into_iter().flatten().collect();
    readings.sort_by_key(|(place, _)| *place);
    readings.into_iter().map(|(_, reading)| reading).collect()
}
