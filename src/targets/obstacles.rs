//! What keeps a connection away from a host although its rules are open, as far as AWS tells.

use eg_model::{
    failure::Failure,
    in_the_way::{FailedConnection, in_the_way},
    interface::NetworkInterface,
    net::address::IpVersion,
    session::record::Grant,
    target::Target,
};
use eg_providers::{Connect, Firewall};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Groups that are open to some addresses.
#[derive(Default)]
pub struct OpenedGroups<'a> {
    pub targets: BTreeSet<&'a Target>,
    pub from: BTreeSet<IpAddr>,
}

impl<'a> OpenedGroups<'a> {
    pub fn by(grants: impl Iterator<Item = &'a Grant>) -> Self {
        let mut opened = Self::default();
        for grant in grants {
            opened.targets.insert(&grant.target);
            opened.from.insert(grant.address);
        }
        opened
    }
}

/// The obstacles that were found.
#[derive(Default)]
pub struct Obstacles {
    /// A sentence for each.
    pub sentences: Vec<String>,
    /// Regions whose interfaces could not be read.
    pub unread: Vec<(String, Failure)>,
    /// True if an interface of the accounts and regions of the groups has one of the host's addresses.
    pub found: bool,
}

/// One sentence for each obstacle between the addresses that are let in and a host at these addresses.
pub async fn obstacles(connect: &dyn Connect, open: &OpenedGroups<'_>, at: &[SocketAddr]) -> Obstacles {
    let addresses: BTreeSet<IpAddr> = at.iter().map(|to| to.ip().to_canonical()).collect();
    let mut places: BTreeMap<Target, &Target> = BTreeMap::new();
    for target in &open.targets {
        places.entry(target.regional()).or_insert(target);
    }
    let ids: BTreeSet<String> = open.targets.iter().map(|target| target.key.id.clone()).collect();
    let reads = places.into_values().map(async |target| (target, behind(connect, target, &addresses).await));
    let mut all = Obstacles::default();
    for (target, read) in join_all(reads).await {
        let region = &target.key.region;
        let (firewall, interfaces) = match read {
            Ok(read) => read,
            Err(failure) => {
                all.unread.push((format!("the network interfaces in {region} could not be read: {failure}"), failure));
                continue;
            }
        };
        all.found |= !interfaces.is_empty();
        let Some(network) = firewall.network() else { continue };
        for interface in &interfaces {
            let around = network.surroundings(interface).await;
            let attempts = attempts(&open.from, interface, at, &ids);
            if attempts.is_empty() {
                let id = &interface.id;
                all.sentences.push(format!("none of the opened addresses is of a family that {id} has for this name"));
            }
            for attempt in attempts {
                all.sentences.extend(in_the_way(&attempt, interface, &around));
            }
        }
    }
    let mut seen = BTreeSet::new();
    all.sentences.retain(|sentence| seen.insert(sentence.clone()));
    all
}

/// The interfaces of one place that have one of the addresses; none where firewalls have no interfaces.
async fn behind(
    connect: &dyn Connect,
    target: &Target,
    addresses: &BTreeSet<IpAddr>,
) -> Result<(Arc<dyn Firewall>, Vec<NetworkInterface>), Failure> {
    let firewall = connect.connect(target).await?;
    let interfaces = match firewall.network() {
        Some(network) => network.interfaces(addresses).await?,
        None => Vec::new(),
    };
    Ok((firewall, interfaces))
}

/// From each address that is let in to each address of the interface that is of its family.
fn attempts<'a>(
    from: &BTreeSet<IpAddr>,
    interface: &NetworkInterface,
    at: &[SocketAddr],
    opened: &'a BTreeSet<String>,
) -> Vec<FailedConnection<'a>> {
    let theirs = at.iter().map(|to| (to.ip().to_canonical(), to.port()));
    let theirs = theirs.filter(|(to, _)| interface.addresses.contains(to));
    theirs
        .flat_map(|(to, port)| {
            let alike = from.iter().filter(move |from| IpVersion::of(**from) == IpVersion::of(to));
            alike.map(move |from| FailedConnection { from: *from, to, port, opened })
        })
        .collect()
}
