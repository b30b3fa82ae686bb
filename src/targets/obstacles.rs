//! What keeps a connection away from a host although its rules are open, as far as AWS tells.

use eg_model::{
    in_the_way::{FailedConnection, in_the_way},
    interface::NetworkInterface,
    net::address::IpVersion,
    session::record::{Grant, Session},
    target::Target,
};
use eg_providers::{Connect, Firewall};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// One sentence for each obstacle between the session's addresses and a host at these addresses. Empty where nothing is
/// found, be it that no interface of the session's accounts and regions has the addresses.
pub async fn obstacles(connect: &dyn Connect, session: &Session, at: &[SocketAddr]) -> Vec<String> {
    let addresses: BTreeSet<IpAddr> = at.iter().map(|to| to.ip().to_canonical()).collect();
    let mut places: BTreeMap<Target, &Target> = BTreeMap::new();
    for grant in session.current() {
        places.entry(grant.target.regional()).or_insert(&grant.target);
    }
    let opened: BTreeSet<String> = session.current().map(|grant| grant.target.key.id.clone()).collect();
    let found = join_all(places.into_values().map(|target| behind(connect, target, &addresses)));
    let mut sentences = Vec::new();
    for (firewall, interface) in found.await.into_iter().flatten() {
        let Some(network) = firewall.network() else { continue };
        let around = network.surroundings(&interface).await;
        for attempt in attempts(session, &interface, at, &opened) {
            sentences.extend(in_the_way(&attempt, &interface, &around));
        }
    }
    let mut seen = BTreeSet::new();
    sentences.retain(|sentence| seen.insert(sentence.clone()));
    sentences
}

/// The interfaces of one place that have one of the addresses.
async fn behind(
    connect: &dyn Connect,
    target: &Target,
    addresses: &BTreeSet<IpAddr>,
) -> Vec<(Arc<dyn Firewall>, NetworkInterface)> {
    let Ok(firewall) = connect.connect(target).await else { return Vec::new() };
    let Some(network) = firewall.network() else { return Vec::new() };
    match network.interfaces(addresses).await {
        Ok(found) => found.into_iter().map(|one| (Arc::clone(&firewall), one)).collect(),
        Err(failure) => {
            tracing::info!("the network interfaces in {} are not known: {failure}", target.key.region);
            Vec::new()
        }
    }
}

/// From each of the session's addresses to each address of the interface that is of its family.
fn attempts<'a>(
    session: &Session,
    interface: &NetworkInterface,
    at: &[SocketAddr],
    opened: &'a BTreeSet<String>,
) -> Vec<FailedConnection<'a>> {
    let from: BTreeSet<IpAddr> = session.current().map(|grant: &Grant| grant.address).collect();
    let theirs = at.iter().map(|to| (to.ip().to_canonical(), to.port()));
    let theirs = theirs.filter(|(to, _)| interface.addresses.contains(to));
    theirs
        .flat_map(|(to, port)| {
            let alike = from.iter().filter(move |from| IpVersion::of(**from) == IpVersion::of(to));
            alike.map(move |from| FailedConnection { from: *from, to, port, opened })
        })
        .collect()
}
