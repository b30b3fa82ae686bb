//! From a host that the user names to the security group in front of it: the host's addresses, the network interfaces that
//! have them, and the groups of these.

use crate::{
    checks::finding::listed,
    error::{CommandError, Kind, advice},
    host::env::Env,
};
use eg_model::{
    failure::{Failure, FailureClass},
    interface::{InFront, NetworkInterface, NotInFront, in_front, owner_by_name},
    net::host::Host,
    target::{Target, TargetKey},
};
use eg_providers::{Connect, Firewall, Interfaces, ReadResult};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// What is known beforehand about the group that is looked for.
pub struct HostQuery<'a> {
    /// Regions and credentials to look in ([`Target::regional`]), the preferred ones first; if nothing is found there and
    /// `widen` is set, every region that is enabled for the same credentials.
    pub places: Vec<Target>,
    pub widen: bool,
    /// Ids of groups that are configured.
    pub configured: BTreeSet<String>,
    /// The name or id of the group, if the user says it.
    pub group: Option<&'a str>,
}

/// A host, and the group in front of it.
#[derive(Debug)]
pub struct HostFound {
    pub host: Host,
    pub front: InFront,
    /// The group, and the credentials with which it was found.
    pub target: Target,
    /// The places that could not be read.
    unread: BTreeSet<String>,
}

/// One place that was asked.
struct LookedIn {
    target: Target,
    answer: Result<FoundThere, Failure>,
}

struct FoundThere {
    firewall: Arc<dyn Firewall>,
    interfaces: Vec<NetworkInterface>,
}

impl HostFound {
    /// Host, addresses, interfaces and group, in a line.
    pub fn in_words(&self) -> String {
        let InFront { group, region, interfaces, addresses, .. } = &self.front;
        let interface = |one: &NetworkInterface| match one.description.is_empty() {
            true => one.id.clone(),
            false => format!("{} ({})", one.id, one.description),
        };
        let behind = interfaces.values().map(interface).collect::<Vec<_>>().join(", ");
        let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("{} is {addresses} on {behind}, behind {group} in {region}", self.host)
    }

    /// What the user should know before relying on it.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if !self.front.elsewhere.is_empty() {
            let others = self.front.elsewhere.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let name = self.host.name();
            remarks.push(format!("{name} is also {others}, which no network interface here has"));
        }
        if self.front.interfaces.values().all(|one| one.public.is_empty()) {
            remarks.push(format!(
                "{} has private addresses only: it is reached from inside its network, over a VPN for example",
                self.host.name()
            ));
            // A public address belongs to one interface in the world. A private one may belong to others, too.
            if !self.unread.is_empty() {
                let places: Vec<&str> = self.unread.iter().map(String::as_str).collect();
                remarks.push(format!(
                    "{} could not be read: the private address may be that of another interface there",
                    listed(&places)
                ));
            }
        }
        remarks
    }
}

/// Finds the group in front of a host.
///
/// # Errors
/// The name does not resolve; no place could be read; or no group, or not exactly one, is in front of it.
pub async fn find(
    env: &Env,
    connect: &dyn Connect,
    host: &Host,
    question: &HostQuery<'_>,
) -> Result<HostFound, CommandError> {
    let addresses = addresses(env, host).await?;
    let mut asked = ask(connect, question.places.iter().cloned(), &addresses).await;
    let found = |asked: &[LookedIn]| asked.iter().any(|place| place.interfaces().next().is_some());
    if question.widen && !found(&asked) {
        let wider = wider(&asked).await;
        asked.extend(ask(connect, wider.into_iter(), &addresses).await);
    }
    let interfaces: BTreeMap<&String, &NetworkInterface> =
        asked.iter().flat_map(LookedIn::interfaces).map(|one| (&one.id, one)).collect();
    let interfaces: Vec<NetworkInterface> = interfaces.into_values().cloned().collect();
    match in_front(&addresses, &interfaces, &question.configured, question.group) {
        Ok(front) => {
            let place = asked.iter().find(|place| place.interfaces().any(|one| front.interfaces.contains_key(&one.id)));
            let gone = || CommandError::new(Kind::NotFound, format!("no place has the interfaces of {host}"));
            let target = &place.ok_or_else(gone)?.target;
            let key = TargetKey { id: front.group.id.clone(), ..target.key.clone() };
            let target = Target { key, ..target.clone() };
            let unread = asked.iter().filter(|place| place.answer.is_err()).map(|place| place_name(&place.target));
            Ok(HostFound { host: host.clone(), target, front, unread: unread.collect() })
        }
        Err(why) => Err(refusal(host, &why, &asked).await),
    }
}

impl LookedIn {
    fn interfaces(&self) -> impl Iterator<Item = &NetworkInterface> {
        self.answer.iter().flat_map(|answer| &answer.interfaces)
    }
}

/// The addresses of a host.
async fn addresses(env: &Env, host: &Host) -> Result<BTreeSet<IpAddr>, CommandError> {
    let unresolved = |why: String| {
        CommandError::new(Kind::NotFound, format!("{} cannot be resolved: {why}", host.name()))
            .hint("check the name; a private one resolves only inside its network")
    };
    let resolved = env.network.resolve(host.name(), host.port().unwrap_or_default()).await;
    let resolved = resolved.map_err(|error| unresolved(error.to_string()))?;
    // An IPv4 address may come in the form of IPv6, and is looked for in its own.
    let found: BTreeSet<IpAddr> = resolved.iter().map(|to| to.ip().to_canonical()).collect();
    if found.is_empty() {
        return Err(unresolved("it has no address".to_owned()));
    }
    let here = |address: &&IpAddr| address.is_loopback() || address.is_unspecified();
    if let Some(own) = found.iter().find(here) {
        let message = format!("{} is {own}: that is this machine", host.name());
        return Err(CommandError::new(Kind::NotFound, message).hint("check /etc/hosts and the name"));
    }
    Ok(found)
}

async fn ask(
    connect: &dyn Connect,
    places: impl Iterator<Item = Target>,
    addresses: &BTreeSet<IpAddr>,
) -> Vec<LookedIn> {
    let one = async |target: Target| {
        let answer = async {
            let firewall = connect.connect(&target).await?;
            let interfaces = network(firewall.as_ref())?.interfaces(addresses).await?;
            Ok(FoundThere { firewall, interfaces })
        };
        let answer = answer.await;
        LookedIn { target, answer }
    };
    join_all(places.map(one)).await
}

fn network(firewall: &dyn Firewall) -> Result<&dyn Interfaces, Failure> {
    let none = || Failure::new(FailureClass::Invalid, "this kind of firewall knows no hosts");
    firewall.network().ok_or_else(none)
}

/// Every other region that is enabled for the credentials that could be used.
async fn wider(asked: &[LookedIn]) -> BTreeSet<Target> {
    let known: BTreeSet<&Target> = asked.iter().map(|place| &place.target).collect();
    let mut routes: BTreeMap<_, &LookedIn> = BTreeMap::new();
    for place in asked.iter().filter(|place| place.answer.is_ok()) {
        routes.entry((&place.target.key.endpoint, &place.target.route)).or_insert(place);
    }
    let regions = join_all(routes.into_values().map(async |place| {
        let Ok(answer) = &place.answer else { return Vec::new() };
        let regions = answer.firewall.regions().await;
        let regions = regions.inspect_err(|failure| tracing::info!("the enabled regions are not known: {failure}"));
        let at = |region| Target { key: TargetKey { region, ..place.target.key.clone() }, ..place.target.clone() };
        regions.unwrap_or_default().into_iter().map(at).collect()
    }));
    regions.await.into_iter().flatten().filter(|target| !known.contains(target)).collect()
}

/// The error, with what to do about it.
async fn refusal(host: &Host, why: &NotInFront, asked: &[LookedIn]) -> CommandError {
    let failures = asked.iter().filter_map(|place| Some((&place.target, place.answer.as_ref().err()?)));
    let failures: Vec<(&Target, &Failure)> = failures.collect();
    let unread =
        failures.iter().map(|(target, failure)| format!("{} could not be read: {failure}", place_name(target)));
    let nothing_found = matches!(why, NotInFront::NoInterface(_));
    if let Some((_, failure)) = failures.first().filter(|_| nothing_found && failures.len() == asked.len()) {
        let message = format!("the security group in front of {host} is not known: {failure}");
        let denied = failure.class == FailureClass::Denied;
        let hint =
            if denied { "hosts need permissions of their own: eg iam-policy --hosts" } else { advice(failure.class) };
        return CommandError::new(Kind::Provider, message).hint(hint);
    }
    let kind = if nothing_found { Kind::NotFound } else { Kind::Refused };
    let mut error = CommandError::new(kind, format!("no security group for {host}: {why}"));
    match why {
        NotInFront::NoInterface(_) => {
            let looked = asked.iter().map(|place| place_name(&place.target)).collect::<BTreeSet<_>>();
            let looked: Vec<&str> = looked.iter().map(String::as_str).collect();
            error = error.hint(format!("looked in: {}", listed(&looked)));
            error = error.hint(match owner_by_name(host.name()) {
                Some(owner) => format!("the name is one of {owner}"),
                None => {
                    "it may belong to another account or region, to CloudFront or Global Accelerator, or lie outside \
                         of AWS"
                        .to_owned()
                }
            });
        }
        NotInFront::Several(groups) => {
            for line in opens(groups.iter().map(|group| group.id.clone()).collect(), asked).await {
                error = error.hint(line);
            }
            error = error.hint("name the one that is meant: --group ID, or group = \"ID\" in the configuration");
        }
        NotInFront::NoGroup(..) => {
            error = error.hint("what lies behind it has the groups: name that host, or its group by id");
        }
        NotInFront::NotThere { .. } => error = error.hint("name one of these, or leave the group out"),
        NotInFront::SeveralNetworks(..) => {
            error = error.hint(
                "name the group in the network that you reach: --group ID, or group = \"ID\" in the configuration",
            );
        }
        NotInFront::NothingInCommon(_) | NotInFront::SeveralRegions(_) => {
            error = error.hint("name one of its addresses in place of the name");
        }
    }
    unread.fold(error, CommandError::hint)
}

fn place_name(target: &Target) -> String {
    match &target.route.profile {
        Some(profile) => format!("{} (profile {profile})", target.key.region),
        None => target.key.region.clone(),
    }
}

/// What each of these groups opens, in a line each; nothing for those that cannot be read.
async fn opens(groups: BTreeSet<String>, asked: &[LookedIn]) -> Vec<String> {
    let Some((place, answer)) = asked
        .iter()
        .find_map(|place| Some((place, place.answer.as_ref().ok().filter(|one| !one.interfaces.is_empty())?)))
    else {
        return Vec::new();
    };
    let key = |id: String| TargetKey { id, ..place.target.key.clone() };
    let readings = answer.firewall.observe(&groups.into_iter().map(key).collect()).await;
    let line = |(key, result): (TargetKey, ReadResult)| {
        let ReadResult::Complete(reading) = result else { return None };
        let ports: BTreeSet<String> = reading.rules.iter().map(|rule| rule.permission.ports()).collect();
        let ports =
            if ports.is_empty() { "nothing".to_owned() } else { ports.into_iter().collect::<Vec<_>>().join(", ") };
        Some(format!("{} opens {ports}", key.id))
    };
    readings.into_iter().filter_map(line).collect()
}
