//! The options of `start`, `ensure` and `run`, and the request made from them: checked against the configuration and the
//! machine's policy before anything is read or recorded.

use crate::{
    address::{Families, check_asked, never_detected, of_interface, of_name},
    commands::context::Context,
    error::{CommandError, Kind},
    reconcile::driver::Driver,
    targets::host::HostFound,
};
use chrono::TimeDelta;
use eg_config::{
    policy::{KindName, PolicyRequest},
    settings::{Chosen, Resource, Selection, Settings},
};
use eg_model::{
    Timestamp,
    net::{
        address::{IpVersion, parse_explicit},
        host::Host,
        host_port::Endpoint,
        permission::PortSpec,
    },
    target::Target,
    time::{
        duration::Written,
        until::{UntilError, check_ahead, parse_until},
    },
};
use eg_providers::aws;
use eg_state::Store;
use std::{collections::BTreeSet, net::IpAddr};

/// Options of every command that opens a session.
#[derive(Clone, Debug, clap::Args)]
pub struct OpenArgs {
    /// How long: 8 (hours), 90m, 1h30m, 1d [default: default_duration of the configuration, else 8h]
    #[arg(long, value_name = "D")]
    duration: Option<Written>,
    /// Until when: 18:00 (the next time the clock here shows it), "2026-02-27 18:00", or RFC 3339
    #[arg(long, value_name = "T", conflicts_with = "duration")]
    until: Option<String>,
    /// Exactly this IPv4 address; nothing is detected. May be repeated
    #[arg(long, value_name = "A", value_parser = |text: &str| parse_explicit(text, IpVersion::V4))]
    ipv4: Vec<IpAddr>,
    /// Exactly this IPv6 address; nothing is detected. May be repeated
    #[arg(long, value_name = "A", value_parser = |text: &str| parse_explicit(text, IpVersion::V6))]
    ipv6: Vec<IpAddr>,
    /// The addresses that this name has now (home.example.org); nothing is detected. May be repeated; with --follow, the
    /// session moves when the name does
    #[arg(long, value_name = "NAME")]
    address_of: Vec<Host>,
    /// The addresses of this interface of this machine (wg0), for a peer of a VPN; nothing is detected. May be repeated
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,
    /// Detect IPv4 only
    #[arg(short = '4', conflicts_with_all = ["only_ipv6", "ipv4", "ipv6"])]
    only_ipv4: bool,
    /// Detect IPv6 only
    #[arg(short = '6', conflicts_with_all = ["ipv4", "ipv6"])]
    only_ipv6: bool,
    /// Only these resources: names or labels, patterns (prod-*), several with commas; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Not a configured resource, but the security group in front of this host (db.example.com:5432); may be repeated
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "only")]
    pub(super) host: Vec<Host>,
    /// The name or id of the group that --host means, where several are in front of it
    #[arg(long, value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// Only this port (tcp/5432, 22, ssh, or a part of a configured range), which every selected resource has to have;
    /// may be repeated
    #[arg(long, value_name = "PORT")]
    port: Vec<PortSpec>,
    /// Why: for the record, and for the description of every rule
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// When your address changes, or that of the name of --address-of, have `eg reconcile` move the session with it
    #[arg(long, conflicts_with_all = ["ipv4", "ipv6", "interface"])]
    pub(super) follow: bool,
    /// Then try to connect to this, and say what may be in the way if that fails; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) check: Vec<Endpoint>,
}

/// The length of the session that is asked for.
pub(super) enum Length {
    For(Written),
    Until { at: Timestamp, text: String },
}

impl Length {
    /// The text of `--until` needs the clock and the time zone, so it is not parsed with the other options.
    fn new(context: &Context<'_>, args: &OpenArgs, settings: &Settings) -> Result<Self, CommandError> {
        let max = &settings.session.max_duration;
        if let Some(text) = &args.until {
            let now = context.env.now();
            let at = parse_until(text, now, &|at| context.zone.offset(at)).map_err(usage)?;
            check_ahead(text, at, now, max).map_err(usage)?;
            return Ok(Self::Until { at, text: text.clone() });
        }
        let Some(duration) = &args.duration else { return Ok(Self::For(settings.session.default_duration.into())) };
        Ok(Self::For(duration.clone().within(max, "max_duration").map_err(usage)?))
    }

    /// The length of a session that begins at this time.
    fn counted_from(&self, start: Timestamp) -> TimeDelta {
        match self {
            Self::For(duration) => duration.length,
            Self::Until { at, .. } => *at - start,
        }
    }

    /// The duration as the user wrote it.
    fn written(&self) -> Option<Written> {
        match self {
            Self::For(duration) => Some(duration.clone()),
            Self::Until { .. } => None,
        }
    }

    /// # Errors
    /// The end was ahead when the command began, and has passed during the preflight.
    pub(super) fn end(&self, start: Timestamp) -> Result<Timestamp, UntilError> {
        match self {
            Self::For(duration) => Ok(start + duration.length),
            Self::Until { at, .. } if *at > start => Ok(*at),
            Self::Until { text, .. } => Err(UntilError::Passed { text: text.clone() }),
        }
    }
}

pub(super) fn usage(error: impl ToString) -> CommandError {
    CommandError::new(Kind::Usage, error.to_string())
}

/// The hosts of `--host`, each with its ports.
fn hosts(args: &OpenArgs, settings: &Settings) -> Result<Vec<Selection>, CommandError> {
    let selection = |host: &Host| {
        let ports = match host.port() {
            Some(port) if args.port.is_empty() => vec![PortSpec::Tcp(port, port)],
            _ => args.port.clone(),
        };
        if ports.is_empty() {
            let error = usage(format!("no port of {host} is named"));
            return Err(error.hint(format!("name one: {host}:5432, or --port tcp/5432")));
        }
        Ok(settings.selection_of(host, args.group.as_deref(), ports))
    };
    if args.group.is_some() && args.host.is_empty() {
        return Err(usage("--group chooses among the groups in front of a host, and no host is named"));
    }
    let mut seen = BTreeSet::new();
    args.host.iter().filter(|host| seen.insert(*host)).map(selection).collect()
}

/// A selected resource, the ports to open on it, and the way there.
pub(super) struct ChosenResource {
    pub(super) resource: Resource,
    pub(super) ports: Vec<PortSpec>,
    pub(super) target: Target,
}

impl ChosenResource {
    /// # Errors
    /// The resource does not have a port that is asked for; or a variable of this shell names an endpoint that would fail
    /// the session until it ends.
    fn new(context: &Context<'_>, resource: Resource, asked: &[PortSpec]) -> Result<Self, CommandError> {
        let ports = resource
            .narrowed(asked)
            .map_err(|error| usage(error).hint("name a port of every resource, or choose resources with --only"))?;
        let target = context.target(&resource);
        aws::check_endpoints(&target).map_err(|failure| {
            let own = resource.kind.cloud.as_ref().map_or("", |cloud| cloud.endpoint_variable);
            usage(failure.message).hint(format!("see AWS_ENDPOINT_URL and {own} in the environment"))
        })?;
        Ok(Self { resource, ports, target })
    }

    pub(super) fn takes(&self, version: IpVersion) -> bool {
        self.resource.families.contains(&version)
    }
}

/// A session that is asked for, checked as far as that takes no network.
pub(super) struct OpenRequest<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) settings: &'a Settings,
    pub(super) args: &'a OpenArgs,
    pub(super) chosen: Vec<ChosenResource>,
    /// The hosts among these, to be named before they are opened.
    pub(super) hosts: Vec<HostFound>,
    pub(super) length: Length,
    /// The longest that a session may last here, extensions included.
    pub(super) longest: TimeDelta,
    /// The addresses that the user named; nothing is detected then.
    pub(super) explicit: Vec<IpAddr>,
    /// When names began to be resolved to these addresses.
    pub(super) resolved_at: Timestamp,
    /// True for `--dry-run`, which does not even record the time at which a target was first missing.
    pub(super) dry_run: bool,
}

impl<'a> OpenRequest<'a> {
    /// # Errors
    /// The options do not fit the configuration or the machine's policy; or groups that are named by name or tags could not
    /// be looked up.
    pub(super) async fn new(
        context: &'a Context<'a>,
        args: &'a OpenArgs,
        settings: &'a Settings,
        command: &str,
    ) -> Result<Self, CommandError> {
        if settings.names_no_target() && args.host.is_empty() {
            let error = context.no_resources(command);
            return Err(error.hint("or without a configuration, by host: eg open db.example.com:5432"));
        }
        let hosts = hosts(args, settings)?;
        let selected = match hosts.is_empty() {
            true => settings.select(&args.only).map_err(usage)?,
            false => Chosen { resources: Vec::new(), selections: hosts.iter().collect() },
        };
        let site = context.site_policy()?;
        site.check_hosts(selected.selections.iter().filter_map(|one| Some(&one.meant.host()?.host)))?;
        let length = Length::new(context, args, settings)?;
        let (resources, found) = context.resolved(&selected, settings).await?;
        // The ports of a host are those that were asked for.
        let asked = if hosts.is_empty() { args.port.as_slice() } else { &[] };
        let choose = |resource| ChosenResource::new(context, resource, asked);
        let chosen = resources.into_iter().map(choose).collect::<Result<_, _>>()?;
        let request = Self {
            context,
            settings,
            args,
            chosen,
            hosts: found,
            length,
            longest: site.longest(settings.session.max_duration.length),
            explicit: Vec::new(),
            resolved_at: context.env.now(),
            dry_run: false,
        };
        let explicit = request.given().await?;
        let request = Self { explicit, ..request };
        request.check_families()?;
        site.check(&request.asked())?;
        Ok(request)
    }

    /// The addresses that the user names, each once. Of a name and of an interface, only those of the families that are
    /// asked for and taken.
    async fn given(&self) -> Result<Vec<IpAddr>, CommandError> {
        let OpenArgs { ipv4, ipv6, address_of, interface, .. } = self.args;
        let env = self.context.env;
        if self.args.follow && address_of.len() > 1 {
            return Err(usage("--follow follows one name of --address-of").hint("start a session for each name"));
        }
        let mut named = Vec::new();
        for host in address_of {
            named.extend(of_name(env, host.name()).await?);
        }
        for name in interface {
            named.extend(of_interface(env, name)?);
        }
        let Families { v4, v6 } = self.families();
        let wanted = |address: &IpAddr| if address.is_ipv4() { v4 } else { v6 };
        if let Some(first) = named.first().filter(|_| !named.iter().any(wanted)) {
            let message = format!("{first} is not of a family that is asked for and that a selected resource takes");
            return Err(usage(message).hint("see -4, -6 and `families` in the configuration"));
        }
        named.retain(wanted);
        self.check_followed(&named)?;
        let mut all: Vec<IpAddr> = Vec::new();
        for address in ipv4.iter().chain(ipv6).copied().chain(named) {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        Ok(all)
    }

    /// The name that the session is to follow, if it is not its user.
    pub(super) fn followed_name(&self) -> Option<&Host> {
        self.args.address_of.first().filter(|_| self.args.follow)
    }

    /// Refuses to follow a name with several addresses of a family: which one to go to is not known.
    fn check_followed(&self, addresses: &[IpAddr]) -> Result<(), CommandError> {
        let Some(name) = self.followed_name().map(Host::name) else { return Ok(()) };
        let of = |version: IpVersion| addresses.iter().filter(move |address| IpVersion::of(**address) == version);
        let several = [IpVersion::V4, IpVersion::V6].into_iter().find(|version| of(*version).count() > 1);
        let Some(version) = several else { return Ok(()) };
        let all = of(version).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message = format!("{name} has several {version} addresses ({all}), and --follow takes one of each family");
        Err(usage(message).hint("without --follow, the session is open to all of them"))
    }

    fn takes(&self, version: IpVersion) -> bool {
        self.chosen.iter().any(|chosen| chosen.takes(version))
    }

    /// Refuses an address that no resource takes; without an address, refuses if there is nothing to detect.
    fn check_families(&self) -> Result<(), CommandError> {
        let untaken = |address: &&IpAddr| !self.takes(IpVersion::of(**address));
        if let Some(address) = self.explicit.iter().find(untaken) {
            let message = format!("no selected resource takes the family of {address}");
            return Err(usage(message).hint("see `families` in the configuration, or leave that address out"));
        }
        if !self.explicit.is_empty() {
            return Ok(());
        }
        check_asked([self.args.only_ipv4, self.args.only_ipv6], |version| match self.takes(version) {
            false => Some(format!("no selected resource takes {version}")),
            true => never_detected(&self.settings.detect, version),
        })
    }

    /// The request as the machine's policy judges it.
    fn asked(&self) -> PolicyRequest {
        let Families { v4, v6 } = self.families();
        let given = |version| self.explicit.iter().any(|address| IpVersion::of(*address) == version);
        let opens = |(version, detected)| if self.explicit.is_empty() { detected } else { given(version) };
        let families = [(IpVersion::V4, v4), (IpVersion::V6, v6)].into_iter().filter(|family| opens(*family));
        let lengths = self.settings.session.prefix_lengths;
        let with_ports = self.chosen.iter().filter(|chosen| chosen.resource.kind.has_ports());
        let ports = with_ports.flat_map(|chosen| {
            let name = &chosen.resource.name;
            chosen.ports.iter().map(move |port| (name.clone(), *port))
        });
        let kind = |chosen: &ChosenResource| (chosen.resource.name.clone(), KindName::of(&chosen.target.key));
        PolicyRequest {
            duration: self.length.counted_from(self.context.env.now()),
            written: self.length.written(),
            kinds: self.chosen.iter().map(kind).collect(),
            ports: ports.collect(),
            prefixes: families.map(|(version, _)| (version, lengths.of(version))).collect(),
            reason: self.args.reason.clone(),
            explicit: self.explicit.clone(),
            services: self.settings.detect.of_the_user(),
        }
    }

    /// The families to detect.
    pub(super) fn families(&self) -> Families {
        Families {
            v4: !self.args.only_ipv6 && self.takes(IpVersion::V4),
            v6: !self.args.only_ipv4 && self.takes(IpVersion::V6),
        }
    }

    pub(super) fn driver(&self, store: Store) -> Result<Driver<'a>, CommandError> {
        self.context.name_endpoints(self.chosen.iter().map(|chosen| &chosen.target));
        self.context.driver(store, Some(self.settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_has_passed_meanwhile() {
        let now: Timestamp = "2026-02-27T10:00:00Z".parse().unwrap();
        let until = |at| Length::Until { at, text: "10:00".to_owned() };
        let passed = Err(UntilError::Passed { text: "10:00".to_owned() });
        assert_eq!(until(now + TimeDelta::seconds(1)).end(now), Ok(now + TimeDelta::seconds(1)));
        assert_eq!(until(now).end(now), passed);
        assert_eq!(until(now - TimeDelta::seconds(1)).end(now), passed);
        assert_eq!(Length::For(TimeDelta::hours(8).into()).end(now), Ok(now + TimeDelta::hours(8)));
    }
}
