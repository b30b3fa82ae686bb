//! The facts about hosts: those of the configuration, and those that a session has opened. Is the host found, is the group
//! that is open in front of it, and does anything else keep connections away?

use super::shown::ShownFindings;
use crate::{
    checks::finding::{Finding, Level},
    commands::context::Context,
    targets::{
        host::HostFound,
        obstacles::{Obstacles, OpenedGroups, obstacles},
    },
};
use eg_config::settings::{Resource, Settings};
use eg_model::{
    ids::SessionId,
    net::{
        host::Host,
        permission::{PortSpec, Protocol},
    },
    session::record::{Grant, Session},
};
use eg_providers::{Connect, aws::SECURITY_GROUP};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

pub(super) struct Hosts<'a> {
    pub(super) context: &'a Context<'a>,
    /// As configured: hosts that are not looked up yet.
    pub(super) settings: &'a Settings,
    pub(super) connect: &'a dyn Connect,
    pub(super) shown: &'a ShownFindings<'a>,
}

/// The grants of a session for one host.
type OpenedHosts<'s> = BTreeMap<(SessionId, Host), Vec<&'s Grant>>;

impl Hosts<'_> {
    /// The configured hosts that were found. `own` are the user's addresses, as far as they are known.
    pub(super) async fn configured(&self, hosts: &[(Resource, HostFound)], own: &BTreeSet<IpAddr>) {
        for (resource, found) in hosts {
            let name = &resource.name;
            let add = |finding: Finding| self.shown.add(finding.about(resource));
            add(Finding::good("host", format!("{name}: {}", found.in_words())));
            let ports = resource.ports.iter().filter_map(|port| match port {
                PortSpec::Tcp(first, _) => Some(*first),
                PortSpec::Udp(..) | PortSpec::Icmp | PortSpec::All => None,
            });
            let at = every(found.front.addresses.iter().copied(), &ports.collect());
            let open = OpenedGroups { targets: [&found.target].into(), from: own.clone() };
            let all = obstacles(self.connect, &open, &at).await;
            let unread = all.unread.into_iter().map(|(sentence, _)| sentence);
            for sentence in found.remarks().into_iter().chain(all.sentences).chain(unread) {
                add(told(format!("{name}: {sentence}")));
            }
        }
    }

    /// The hosts that live sessions have opened, as they are now.
    pub(super) async fn opened(&self) {
        let store = self.context.store_for_reading().ok().flatten();
        let sessions = store.and_then(|store| store.live_sessions().ok()).unwrap_or_default();
        for ((session, host), grants) in self.hosts_of(&sessions) {
            let what = format!("session {}, {host}", session.short());
            let addresses = match self.context.env.network.resolve(host.name(), 0).await {
                Ok(found) => found.into_iter().map(|to| to.ip().to_canonical()),
                Err(error) => {
                    self.shown.add(told(format!("{what}: the name cannot be resolved: {error}")));
                    continue;
                }
            };
            let permissions = grants.iter().flat_map(|grant| &grant.permissions).map(|item| item.permission);
            let tcp = permissions.filter(|permission| permission.protocol() == Protocol::Tcp);
            let ports = tcp.filter_map(|permission| u16::try_from(permission.from_port()).ok()).collect();
            let at = every(addresses, &ports);
            if at.is_empty() {
                continue;
            }
            let open = OpenedGroups::by(grants.into_iter());
            self.shown.all(findings(&what, &at, &obstacles(self.connect, &open, &at).await));
        }
    }

    /// A grant is for a host if its resource is configured as one, or is named by no configuration and has a host's name,
    /// as those of `eg open HOST` have.
    fn hosts_of<'s>(&self, sessions: &'s [Session]) -> OpenedHosts<'s> {
        let Settings { resources, selections, .. } = self.settings;
        let mut opened = OpenedHosts::new();
        for session in sessions {
            for grant in session.current() {
                let name = &grant.resource_name;
                let configured = selections.iter().find(|selection| selection.like.name == *name);
                let host = match configured {
                    Some(selection) => selection.meant.host().map(|meant| meant.host.clone()),
                    None if resources.iter().any(|resource| resource.name == *name) => None,
                    None if grant.target.key.kind != SECURITY_GROUP.name => None,
                    None => name.parse().ok().filter(|host: &Host| host.port().is_some() || name.contains('.')),
                };
                if let Some(host) = host {
                    opened.entry((session.id, host)).or_default().push(grant);
                }
            }
        }
        opened
    }
}

fn findings(what: &str, at: &[SocketAddr], all: &Obstacles) -> Vec<Finding> {
    let sentences = all.sentences.iter().chain(all.unread.iter().map(|(sentence, _)| sentence));
    let mut findings: Vec<Finding> = sentences.map(|sentence| told(format!("{what}: {sentence}"))).collect();
    if !all.found && findings.is_empty() {
        let addresses = at.iter().map(|to| to.ip().to_string()).collect::<BTreeSet<_>>();
        let addresses = addresses.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!("{what}: its address is {addresses} now, which no network interface there has");
        findings
            .push(Finding { advice: vec!["to open what it is now: eg open HOST:PORT".to_owned()], ..told(message) });
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            "host",
            format!("{what}: the open group is in front of it, and nothing is in the way"),
        ));
    }
    findings
}

/// A finding that only the owner of the network can do something about.
fn told(message: String) -> Finding {
    Finding { level: Level::Warning, ..Finding::good("host", message) }
}

fn every(addresses: impl Iterator<Item = IpAddr>, ports: &BTreeSet<u16>) -> Vec<SocketAddr> {
    addresses.flat_map(|address| ports.iter().map(move |port| SocketAddr::new(address, *port))).collect()
}
