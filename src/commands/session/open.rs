//! What `session start`, `ensure` and `run` share: the options, the look around, the session that they ask for, and what
//! is to be said about it.

use crate::commands::{
    context::{Context, check_clock, no_signals},
    reconcile::follow::refused as follow_refused,
    session::stop::end_own,
};
use crate::{
    address::{Detected, Families, FamilyOutcome, check_asked, describe, detect, never_detected, proxy_hint},
    config::{
        policy::PolicyRequest,
        settings::{Resource, Settings},
    },
    demo::is_inside,
    error::{CommandError, Kind},
    host::{reachability::probe, signals::Interrupt},
    reconcile::{driver::Driver, observe::TargetReadings, report::PassReport},
    schedule::{install, scheduled::Scheduled},
    ui::warning::Code,
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    ids::{GrantId, SessionId},
    net::{
        address::{IpVersion, parse_explicit},
        host_port::{Endpoint, advice},
        permission::{Permission, PortSpec},
    },
    session::{
        follow::{FoundAddress, Move, moves},
        record::{Grant, GrantPermission, GrantStatus, Session, SessionStatus, Standing},
    },
    target::{Route, Target},
    time::{
        duration::{Written, parse_within},
        until::{UntilError, check_ahead, parse_until},
    },
};
use eg_providers::{Caller, CredentialsEnd, aws};
use eg_state::{LastRuns, RunKind, Store};
use futures_util::future::{join, join_all};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};
use tokio::runtime::Runtime;

/// Options of every command that opens a session.
#[derive(Debug, clap::Args)]
pub struct OpenArgs {
    /// How long: 8 (hours), 90m, 1h30m, 1d [default: default_duration of the configuration, else 8h]
    #[arg(long, value_name = "D")]
    duration: Option<String>,
    /// Until when: 18:00 (the next time the clock here shows it), "2026-02-27 18:00", or RFC 3339
    #[arg(long, value_name = "T", conflicts_with = "duration")]
    until: Option<String>,
    /// Exactly this IPv4 address; nothing is detected
    #[arg(long, value_name = "A")]
    ipv4: Option<String>,
    /// Exactly this IPv6 address; nothing is detected
    #[arg(long, value_name = "A")]
    ipv6: Option<String>,
    /// Detect IPv4 only
    #[arg(short = '4', conflicts_with_all = ["only_ipv6", "ipv4", "ipv6"])]
    only_ipv4: bool,
    /// Detect IPv6 only
    #[arg(short = '6', conflicts_with_all = ["ipv4", "ipv6"])]
    only_ipv6: bool,
    /// Only these resources: names or labels, patterns (prod-*), several with commas; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only this port (tcp/5432, 22, ssh, or a part of a configured range), which every selected resource has to have;
    /// may be repeated
    #[arg(long, value_name = "PORT")]
    port: Vec<PortSpec>,
    /// Why: for the record, and for the description of every rule
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// When your address changes, have `eg reconcile` move the session with it
    #[arg(long, conflicts_with_all = ["ipv4", "ipv6"])]
    follow: bool,
    /// Then try to connect to this, and say what may be in the way if that fails; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    check: Vec<Endpoint>,
}

/// How somebody gets a configuration.
pub fn no_resources(context: &Context<'_>, command: &str) -> CommandError {
    let path = match context.config() {
        Ok(found) => &found.path,
        Err(error) => return error,
    };
    let message = match path.exists() {
        true => format!("no resource is configured in {}", path.display()),
        false => format!("no configuration yet ({})", path.display()),
    };
    CommandError::new(Kind::Config, message)
        .hint("create one from your AWS security groups: eg init")
        .hint("or add a security group by hand: eg resource add NAME --id sg-… --region … --port tcp/22")
        .hint(format!("then run again: {command}"))
}

/// How long a session is to last.
enum Length {
    For(Written),
    Until { at: Timestamp, text: String },
}

impl Length {
    /// What a session that begins now asks for.
    fn counted_from(&self, start: Timestamp) -> TimeDelta {
        match self {
            Self::For(duration) => duration.length,
            Self::Until { at, .. } => *at - start,
        }
    }

    /// As the user wrote it; the end of a session is no length.
    fn written(&self) -> Option<Written> {
        match self {
            Self::For(duration) => Some(duration.clone()),
            Self::Until { .. } => None,
        }
    }

    /// # Errors
    /// It lay ahead when the command began, and the look around took longer.
    fn end(&self, start: Timestamp) -> Result<Timestamp, UntilError> {
        match self {
            Self::For(duration) => Ok(start + duration.length),
            Self::Until { at, .. } if *at > start => Ok(*at),
            Self::Until { text, .. } => Err(UntilError::Passed { text: text.clone() }),
        }
    }
}

/// What each resource opens: its ports, or those of them that are asked for.
fn ports(resources: &[Resource], asked: &[PortSpec]) -> Result<Vec<Vec<PortSpec>>, CommandError> {
    let narrowed = resources.iter().map(|resource| resource.narrowed(asked)).collect::<Result<_, _>>();
    narrowed.map_err(|error| {
        let hint = "name a port of every resource, or choose resources with --only";
        CommandError::new(Kind::Usage, error.to_string()).hint(hint)
    })
}

fn length(context: &Context<'_>, args: &OpenArgs, settings: &Settings) -> Result<Length, String> {
    let max = &settings.session.max_duration;
    if let Some(text) = &args.until {
        let now = context.env.now();
        let at = parse_until(text, now, &|at| context.zone.offset(at)).map_err(|error| error.to_string())?;
        check_ahead(text, at, now, max).map_err(|error| error.to_string())?;
        return Ok(Length::Until { at, text: text.clone() });
    }
    let Some(text) = &args.duration else { return Ok(Length::For(settings.session.default_duration.into())) };
    let duration = parse_within(text, max, "max_duration").map_err(|error| error.to_string())?;
    Ok(Length::For(duration))
}

fn explicit(args: &OpenArgs) -> Result<Vec<IpAddr>, String> {
    let wanted = [(&args.ipv4, IpVersion::V4), (&args.ipv6, IpVersion::V6)];
    let given = wanted.into_iter().filter_map(|(text, version)| text.as_ref().map(|text| (text, version)));
    given.map(|(text, version)| parse_explicit(text, version).map_err(|error| error.to_string())).collect()
}

/// What is to be opened, checked before anything is done.
pub(super) struct OpenRequest<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) settings: &'a Settings,
    args: &'a OpenArgs,
    /// Each with an id: what is named by name or tags was looked up, and is kept.
    pub(super) resources: Vec<Resource>,
    /// What to open on each of them.
    ports: Vec<Vec<PortSpec>>,
    pub(super) targets: Vec<Target>,
    length: Length,
    /// The longest that a session may last here, extensions included.
    pub(super) longest: TimeDelta,
    explicit: Vec<IpAddr>,
    /// True for `--dry-run`: even the time at which a target was first missing is not recorded.
    pub(super) dry_run: bool,
}

/// What is asked of the clouds before a session is recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PreflightDepth {
    Nothing,
    /// What is open on every target.
    Targets,
    /// That, and who we are, and until when.
    TargetsAndCallers,
}

/// What the look around has told.
pub(super) struct Preflight {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) looks: TargetReadings,
    pub(super) callers: Callers,
}

/// Who we are for each way to the targets, and until when.
#[derive(Default)]
pub(super) struct Callers {
    known: Vec<(Target, Caller)>,
    ends: Vec<(String, CredentialsEnd)>,
}

/// What a session remembers has to lead somewhere: a variable of this shell would fail it until it ends.
fn check_endpoints(targets: &[Target]) -> Result<(), CommandError> {
    targets.iter().try_for_each(aws::check_endpoints).map_err(|failure| {
        CommandError::new(Kind::Usage, failure.message)
            .hint("see AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_EC2 in the environment")
    })
}

/// The last question before something is recorded: a session of a command that was stopped would be opened by the next
/// reconcile.
///
/// # Errors
/// A signal came.
pub(super) fn not_interrupted(driver: &Driver<'_>) -> Result<(), CommandError> {
    match driver.interrupt.asked() {
        Some(number) => Err(CommandError::new(Kind::Signal(number), "stopped by a signal; nothing was recorded")),
        None => Ok(()),
    }
}

/// Who is to close a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Closer {
    Schedule,
    /// The command that begins it.
    ThisProcess,
}

impl<'a> OpenRequest<'a> {
    /// # Errors
    /// The options do not fit the configuration, or groups that are named by name or tags are not to be had.
    pub(super) fn new(
        context: &'a Context<'a>,
        runtime: &Runtime,
        args: &'a OpenArgs,
        settings: &'a Settings,
        command: &str,
    ) -> Result<Self, CommandError> {
        if settings.names_no_target() {
            return Err(no_resources(context, command));
        }
        let usage = |error: String| CommandError::new(Kind::Usage, error);
        let chosen = settings.select(&args.only).map_err(|error| usage(error.to_string()))?;
        let length = length(context, args, settings).map_err(usage)?;
        let explicit = explicit(args).map_err(usage)?;
        let resources = runtime.block_on(context.resolved(&chosen))?;
        let ports = ports(&resources, &args.port)?;
        let targets: Vec<Target> = resources.iter().map(|resource| context.target(resource)).collect();
        check_endpoints(&targets)?;
        let site = context.site_policy()?;
        let longest = site.longest(settings.session.max_duration.length);
        let opening =
            Self { context, settings, args, resources, ports, targets, length, longest, explicit, dry_run: false };
        opening.check_families()?;
        site.check(&opening.asked())?;
        Ok(opening)
    }

    fn takes(&self, version: IpVersion) -> bool {
        self.resources.iter().any(|resource| resource.families.contains(&version))
    }

    /// Every address that is named has to be of use, and where none is, there has to be something to detect.
    fn check_families(&self) -> Result<(), CommandError> {
        let untaken = |address: &&IpAddr| !self.takes(IpVersion::of(**address));
        if let Some(address) = self.explicit.iter().find(untaken) {
            let message = format!("no selected resource takes the family of {address}");
            let hint = "see `families` in the configuration, or leave that address out";
            return Err(CommandError::new(Kind::Usage, message).hint(hint));
        }
        if !self.explicit.is_empty() {
            return Ok(());
        }
        check_asked([self.args.only_ipv4, self.args.only_ipv6], |version| match self.takes(version) {
            false => Some(format!("no selected resource takes {version}")),
            true => never_detected(&self.settings.detect, version),
        })
    }

    /// Warns of selected resources that do not take the family of an address that was named.
    pub(super) fn warn_of_families_left_out(&self) {
        for address in &self.explicit {
            let version = IpVersion::of(*address);
            let without = self.resources.iter().filter(|resource| !resource.families.contains(&version));
            let names: Vec<&str> = without.map(|resource| resource.name.as_str()).collect();
            if !names.is_empty() {
                let message = format!("{address} is not opened on {}: no {version} there", names.join(", "));
                self.context.printer.warn(
                    Code::FamilyLeftOut,
                    &message,
                    &["see `families` in the configuration".to_owned()],
                );
            }
        }
    }

    /// What the machine's policy has to allow.
    fn asked(&self) -> PolicyRequest {
        let Families { v4, v6 } = self.families();
        let given = |version| self.explicit.iter().any(|address| IpVersion::of(*address) == version);
        let opens = |(version, detected)| if self.explicit.is_empty() { detected } else { given(version) };
        let families = [(IpVersion::V4, v4), (IpVersion::V6, v6)].into_iter().filter(|family| opens(*family));
        let lengths = self.settings.session.prefix_lengths;
        let ports = self.resources.iter().zip(&self.ports);
        let now = self.context.env.now();
        PolicyRequest {
            duration: self.length.counted_from(now),
            written: self.length.written(),
            ports: ports
                .flat_map(|(resource, ports)| ports.iter().map(|port| (resource.name.clone(), *port)))
                .collect(),
            prefixes: families.map(|(version, _)| (version, lengths.of(version))).collect(),
            reason: self.args.reason.clone(),
            explicit: self.explicit.clone(),
            services: self.settings.detect.of_the_user(),
        }
    }

    fn families(&self) -> Families {
        Families {
            v4: !self.args.only_ipv6 && self.takes(IpVersion::V4),
            v6: !self.args.only_ipv4 && self.takes(IpVersion::V6),
        }
    }

    /// The driver, on the record.
    pub(super) fn driver(&self) -> Result<Driver<'a>, CommandError> {
        self.driver_on(self.context.store()?)
    }

    pub(super) fn driver_on(&self, store: Store) -> Result<Driver<'a>, CommandError> {
        self.context.name_endpoints(self.targets.iter());
        self.context.driver(store, Some(self.settings))
    }

    /// TargetReadings around, before anything is recorded.
    ///
    /// # Errors
    /// There is no address to open to, the clock is plainly wrong, or a signal came.
    pub(super) async fn look_around(
        &self,
        driver: &Driver<'_>,
        ask: PreflightDepth,
    ) -> Result<Preflight, CommandError> {
        let clouds = async {
            let looks = if ask == PreflightDepth::Nothing { TargetReadings::new() } else { self.look(driver).await };
            let callers =
                if ask == PreflightDepth::TargetsAndCallers { self.callers(&looks).await } else { Callers::default() };
            (looks, callers)
        };
        let (addresses, (looks, callers)) = join(self.addresses(), clouds).await;
        let addresses = addresses?;
        check_clock(&looks)?;
        not_interrupted(driver)?;
        Ok(Preflight { addresses, looks, callers })
    }

    /// The addresses to open to: exactly those given, else those detected.
    async fn addresses(&self) -> Result<Vec<IpAddr>, CommandError> {
        if !self.explicit.is_empty() {
            return Ok(self.explicit.clone());
        }
        let detected = detect(self.families(), &self.settings.detect, self.context.env.address_rule.clone()).await;
        self.judge(detected)
    }

    fn judge(&self, detected: Detected) -> Result<Vec<IpAddr>, CommandError> {
        let mut addresses = Vec::new();
        let mut left_out = Vec::new();
        let hint = "name the address yourself with --ipv4 or --ipv6";
        for (version, outcome) in [(IpVersion::V4, detected.v4), (IpVersion::V6, detected.v6)] {
            match outcome {
                FamilyOutcome::NotAsked => {}
                FamilyOutcome::Agreed { address, .. } => addresses.push(address),
                FamilyOutcome::NotRoutable { message, .. } => left_out.push((version, true, message)),
                FamilyOutcome::NotAgreed { reasons } => {
                    left_out.push((version, version == IpVersion::V4, reasons.join("; ")));
                }
                FamilyOutcome::Disagree { answers } => {
                    let lines: Vec<String> = answers.iter().map(describe).collect();
                    let message = format!("the services do not agree on your {version} address: {}", lines.join("; "));
                    return Err(CommandError::new(Kind::Detection, message).hint(hint));
                }
            }
        }
        if addresses.is_empty() {
            let lines: Vec<String> = left_out.iter().map(|(version, _, why)| format!("{version}: {why}")).collect();
            let message = format!("your public address could not be found ({})", lines.join("; "));
            let error = CommandError::new(Kind::Detection, message).hint(hint);
            let proxy = proxy_hint(self.context.env, &self.settings.detect);
            return Err(proxy.into_iter().fold(error, CommandError::hint));
        }
        for (version, odd, why) in left_out {
            self.tell_left_out(version, odd, &why);
        }
        Ok(addresses)
    }

    /// A network without IPv6 is nothing to warn of: half a line says what is opened, `eg ip` says why.
    fn tell_left_out(&self, version: IpVersion, odd: bool, why: &str) {
        let printer = self.context.printer;
        if odd {
            return printer.warn(
                Code::FamilyLeftOut,
                &format!("no {version} address was found, so {version} is left out: {why}"),
                &[],
            );
        }
        tracing::info!("no {version} address was found: {why}");
        printer.progress("IPv6: not available here; opening IPv4 only");
    }

    async fn look(&self, driver: &Driver<'_>) -> TargetReadings {
        let targets = self.targets.iter().map(|target| (target.key.clone(), vec![target.clone()])).collect();
        driver.look(&targets, self.dry_run).await
    }

    /// Who we are, and until when, per way.
    pub(super) async fn callers(&self, looks: &TargetReadings) -> Callers {
        let mut ways: BTreeMap<Target, Target> = BTreeMap::new();
        for target in &self.targets {
            ways.entry(target.regional()).or_insert_with(|| target.clone());
        }
        let mut callers = Callers::default();
        for target in ways.into_values() {
            let Some(firewall) = looks.get(&target.key).and_then(|look| look.firewall.clone()) else { continue };
            match firewall.caller().await {
                Ok(caller) => callers.known.push((target.clone(), caller)),
                Err(failure) => tracing::info!("who is calling is not known: {failure}"),
            }
            let end = firewall.credentials_end(self.context.env.now()).await;
            let name = target
                .route
                .profile
                .clone()
                .map_or_else(|| "the credentials".to_owned(), |name| format!("the credentials of profile {name}"));
            callers.ends.push((name, end));
        }
        callers
    }

    /// A live session for an address that is no longer ours serves nobody who is here.
    pub(super) fn warn_of_earlier_addresses(
        &self,
        driver: &Driver<'_>,
        addresses: &[IpAddr],
    ) -> Result<(), CommandError> {
        if !self.explicit.is_empty() {
            return Ok(());
        }
        // Those that follow are moved by the next reconcile.
        for session in driver.store.borrow().live_sessions()?.into_iter().filter(|session| !session.follow) {
            // What is open for a whole network is open for every address in it.
            let changed = |now: &&IpAddr| session.cidr(IpVersion::of(**now)).is_some_and(|open| !open.contains(*now));
            let then = |now: &IpAddr| session.address(IpVersion::of(*now));
            if let Some(then) = addresses.iter().find(changed).and_then(then) {
                let short = session.id.short();
                let message = format!("session {short} is still open for {then}; your address has changed since");
                self.context.printer.warn(
                    Code::AddressChanged,
                    &message,
                    &[format!("close it with: eg session stop {short}")],
                );
            }
        }
        Ok(())
    }

    /// The session that is asked for, as of now.
    ///
    /// # Errors
    /// It would end before it begins.
    pub(super) fn session(&self, surroundings: &Preflight) -> Result<Session, CommandError> {
        let env = self.context.env;
        let now = env.now();
        let expires_at = self.length.end(now).map_err(|error| CommandError::new(Kind::Usage, error.to_string()))?;
        let (addresses, callers) = (&surroundings.addresses, &surroundings.callers.known);
        let mut session = Session {
            id: SessionId(env.uuid()),
            user_name: self.settings.user.name.clone().unwrap_or_else(|| format!("{}@{}", env.user, env.host)),
            user_email: self.settings.user.email.clone(),
            reason: self.args.reason.clone(),
            follow: self.args.follow,
            status: SessionStatus::Pending,
            started_at: now,
            expires_at,
            ended_at: None,
            ended_reason: None,
            caller_arns: callers.iter().map(|(_, caller)| caller.arn.clone()).collect(),
            grants: Vec::new(),
        };
        for ((resource, ports), target) in self.resources.iter().zip(&self.ports).zip(&self.targets) {
            let caller = callers.iter().find(|(way, _)| way.regional() == target.regional());
            let route = Route {
                account: caller.map(|(_, caller)| caller.account.clone()),
                partition: caller.map(|(_, caller)| caller.partition.clone()),
                ..target.route.clone()
            };
            let target = Target { route, ..target.clone() };
            let wanted = addresses.iter().filter(|address| resource.families.contains(&IpVersion::of(**address)));
            session.grants.extend(wanted.map(|address| self.grant(resource, ports, &target, *address)));
        }
        session.grants.sort_by(|a, b| (&a.resource_name, a.ip_version()).cmp(&(&b.resource_name, b.ip_version())));
        Ok(session)
    }

    fn grant(&self, resource: &Resource, ports: &[PortSpec], target: &Target, address: IpAddr) -> Grant {
        let cidr = self.settings.session.prefix_lengths.around(address);
        let permissions: BTreeSet<Permission> = ports.iter().map(|port| Permission::for_network(*port, cidr)).collect();
        let untried = |permission| GrantPermission { permission, standing: Standing::Untried };
        Grant {
            id: GrantId(self.context.env.uuid()),
            resource_name: resource.name.clone(),
            target: target.clone(),
            address,
            status: GrantStatus::Pending,
            permissions: permissions.into_iter().map(untried).collect(),
            applied_at: None,
            removed_at: None,
            without_auto_close: None,
        }
    }

    /// The intent, in one transaction, before the lock and before any change.
    pub(super) fn begin(&self, driver: &Driver<'_>, surroundings: &Preflight) -> Result<Session, CommandError> {
        not_interrupted(driver)?;
        let session = self.session(surroundings)?;
        let mut store = driver.store.borrow_mut();
        store.expire(session.started_at)?;
        store.start(&session)?;
        Ok(session)
    }

    /// Where a session that follows its user goes, now that the user's addresses are known.
    pub(super) fn moves(&self, session: &Session, addresses: &[IpAddr]) -> Result<Vec<Move>, CommandError> {
        let found = |version| {
            let address = addresses.iter().find(|address| IpVersion::of(**address) == version);
            address.map_or(FoundAddress::Unknown, |address| FoundAddress::Agreed(*address))
        };
        let (v4, v6) = (found(IpVersion::V4), found(IpVersion::V6));
        let site = self.context.site_policy()?;
        let mut moves = moves(session, v4, v6, self.context.env.now());
        moves.retain(|step| match follow_refused(&site, self.settings, session, step) {
            None => true,
            Some(note) => {
                self.context.printer.warn(Code::Note(note.note.kind), &note.note.message, &[]);
                false
            }
        });
        Ok(moves)
    }

    /// Whether a reason was given, and this session has another one, or none.
    pub(super) fn has_another_reason(&self, session: &Session) -> bool {
        self.args.reason.is_some() && self.args.reason != session.reason
    }

    /// The block about a session that was just recorded.
    pub(super) fn began(&self, session: &Session, runs: LastRuns) -> String {
        format!("✓ Session started\n{}", self.context.view(runs).started(session))
    }

    /// What a session that was not opened whole has come to.
    pub(super) fn closing_line(&self, session: &Session) -> String {
        let short = session.id.short();
        let until = self.context.zone.clock(session.expires_at);
        match session.status {
            SessionStatus::Active => "✓ Session is ACTIVE\n".to_owned(),
            SessionStatus::Failed => {
                format!(
                    "✗ Nothing could be opened. eg reconcile keeps trying until {until}; to give up: eg session stop {short}\n"
                )
            }
            status => format!("! Session is {status}\n"),
        }
    }

    /// Opens everything, and reaches what is to be reached; or closes everything again. The driver comes back with the
    /// session open, and with what the pass found.
    ///
    /// # Errors
    /// What kept it from being opened. The session has ended then, or it is said that it has not
    /// ([`Kind::StillOpen`]).
    pub(super) async fn all_or_nothing<'d>(
        &self,
        driver: Driver<'d>,
        id: SessionId,
        looks: TargetReadings,
    ) -> Result<(Driver<'d>, PassReport), CommandError> {
        let cause = match self.open_whole(&driver, id, looks).await {
            Ok(report) => return Ok((driver, report)),
            Err(cause) => cause,
        };
        driver.interrupt.dismiss();
        drop(driver);
        self.context.printer.progress(&format!("→ Closing session {} again...", id.short()));
        Err(match self.close(id).await {
            Ok(_) => closed_again(cause),
            Err(still) => CommandError { message: format!("{}; {}", cause.message, still.message), ..still },
        })
    }

    /// Closes a session to its end: of the signals, only the second one is heeded, and leaves at once.
    ///
    /// # Errors
    /// [`Kind::StillOpen`].
    pub(super) async fn close(&self, id: SessionId) -> Result<Session, CommandError> {
        let interrupt = Interrupt::listen_patiently().map_err(no_signals)?;
        end_own(self.context, self.settings, id, interrupt).await
    }

    async fn open_whole(
        &self,
        driver: &Driver<'_>,
        id: SessionId,
        looks: TargetReadings,
    ) -> Result<PassReport, CommandError> {
        let report = self.context.scoped_pass(driver, RunKind::Start, &[id], looks).await?;
        let session = self.context.again(&driver.store.borrow(), id)?;
        if session.status != SessionStatus::Active {
            let message = format!("not everything could be opened ({})", not_open(&session));
            return Err(CommandError::new(Kind::Provider, message));
        }
        if !self.reaches_all(&session, &driver.interrupt).await? {
            return Err(CommandError::new(Kind::Unreachable, "what --check names was not reached"));
        }
        Ok(report)
    }

    /// Tries to reach what is to be reached. Whether all of it was; of the rest, what may be in the way is said.
    ///
    /// # Errors
    /// A signal came.
    pub(super) async fn reaches_all(&self, session: &Session, interrupt: &Interrupt) -> Result<bool, CommandError> {
        let Context { env, printer, .. } = self.context;
        let families: Vec<IpVersion> = session.current().map(Grant::ip_version).collect();
        let tried = self.args.check.iter().map(async |endpoint| {
            printer.progress(&format!("→ Connecting to {endpoint}..."));
            (endpoint, probe(&*env.network, &env.pause, endpoint, &families).await)
        });
        let ended = tokio::select! {
            ended = join_all(tried) => ended,
            () = interrupt.wait() => {
                let number = interrupt.asked().unwrap_or_default();
                return Err(CommandError::new(Kind::Signal(number), "stopped by a signal; what was asked stays on record"));
            }
        };
        let mut all = true;
        for (endpoint, ended) in ended {
            match ended {
                Ok(()) => printer.progress(&format!("  {endpoint}: reached")),
                Err(why) => {
                    all = false;
                    let message = format!("{endpoint} was not reached, although the rules are open: {why}");
                    printer.warn(Code::Unreachable, &message, &advice(endpoint, &why, session));
                }
            }
        }
        Ok(all)
    }

    /// Whether every rule of a session gets an expiry schedule in the cloud.
    pub(super) fn is_auto_closing(&self, session: &Session) -> bool {
        let Some(expiry) = &self.settings.aws.cloud_expiry else { return false };
        let has_role = |account: &String| expiry.way(account).is_some();
        session.grants.iter().all(|grant| grant.target.route.account.as_ref().is_some_and(has_role))
    }

    /// Warns of accounts whose rules get no expiry schedule, where others do.
    pub(super) fn warn_of_accounts_without_role(&self, callers: &Callers) {
        let Some(expiry) = &self.settings.aws.cloud_expiry else { return };
        let accounts: BTreeSet<&String> = callers.known.iter().map(|(_, caller)| &caller.account).collect();
        for account in accounts.into_iter().filter(|account| expiry.way(account).is_none()) {
            let message = format!("[aws.cloud_expiry] has no role of account {account}: its rules close by eg only");
            let hint = "make one with `eg setup cloud-expiry`, and add it to role_arn";
            self.context.printer.warn(Code::CloudExpiry, &message, &[hint.to_owned()]);
        }
    }

    /// Warns of whatever would keep this machine from closing a session.
    pub(super) fn warn_of_closing(&self, driver: &Driver<'_>, callers: &Callers, session: &Session, runs: &LastRuns) {
        self.warn_of_credentials(callers, session, Closer::Schedule);
        self.warn_of_no_schedule(driver, runs);
    }

    /// Warns when nothing would close a session on time.
    fn warn_of_no_schedule(&self, driver: &Driver<'_>, runs: &LastRuns) {
        let Context { env, printer, zone, .. } = self.context;
        let mut store = driver.store.borrow_mut();
        match self.context.scheduled(Some(&*store), runs) {
            Scheduled::No => {
                let hint = if install::scheduler().is_some() {
                    "run: eg schedule install"
                } else {
                    "have something run this every minute: eg reconcile --timer (the whole line: eg schedule show --with cron)"
                };
                let message = "no scheduled job is installed, so nothing will close this session when it expires";
                printer.warn(Code::NotScheduled, message, &[hint.to_owned()]);
            }
            Scheduled::Idle(scheduler, since) => {
                let (name, since) = (scheduler.as_str(), zone.format(since));
                let message = format!(
                    "the job in {name} has not run since {since}: nothing may close this session when it expires"
                );
                printer.warn(Code::NotScheduled, &message, &["see what is wrong: eg doctor".to_owned()]);
            }
            // From now on it is known for how long it has not run.
            Scheduled::Job(_) if runs.timer_at.is_none() => {
                if let Ok(None) = store.scheduled_since()
                    && let Err(error) = store.note_schedule(env.now())
                {
                    tracing::info!("that there is a job cannot be noted: {error}");
                }
            }
            _ => {}
        }
    }

    /// Warns of credentials that nobody has any more when the session is to be closed.
    pub(super) fn warn_of_credentials(&self, callers: &Callers, session: &Session, closer: Closer) {
        if is_inside(self.context.env, &self.context.state.path) {
            return;
        }
        let mut warned = BTreeSet::new();
        for (name, end) in &callers.ends {
            if let Some(warning) = self.credentials_warning(end, session.expires_at, closer) {
                warned.insert((format!("{name} {warning}"), credentials_hint(end)));
            }
        }
        for (message, hint) in warned {
            self.context.printer.warn(Code::Credentials, &message, &[hint]);
        }
    }

    fn credentials_warning(&self, end: &CredentialsEnd, expires: Timestamp, closer: Closer) -> Option<String> {
        match end {
            CredentialsEnd::Renewing | CredentialsEnd::Lasting | CredentialsEnd::Unknown => None,
            CredentialsEnd::ShellOnly if closer == Closer::ThisProcess => None,
            CredentialsEnd::At(at) | CredentialsEnd::Login { until: at, .. } if *at >= expires => None,
            CredentialsEnd::At(at) | CredentialsEnd::Login { until: at, .. } => {
                let at = self.context.zone.format(*at);
                Some(format!("end at {at}, before the session does: nothing can close it after that"))
            }
            CredentialsEnd::ShellOnly => {
                Some("come from this shell's environment: a scheduled `eg reconcile` does not have them".to_owned())
            }
        }
    }
}

/// What an attempt came to that left nothing behind.
fn closed_again(cause: CommandError) -> CommandError {
    let CommandError { kind, message, hints } = cause;
    match kind {
        Kind::Signal(_) => CommandError::new(kind, "stopped by a signal; the session was closed again"),
        // What was to be done about an intent on record is of no use any more.
        Kind::Locked => CommandError::new(kind, format!("{message}; the session was taken back")),
        _ => CommandError { kind, message: format!("{message}; the session was closed again"), hints },
    }
}

/// The grants that are not what was asked for, and why.
pub(super) fn not_open(session: &Session) -> String {
    let missing = session.current().filter(|grant| grant.status != GrantStatus::Applied);
    let why = |grant: &Grant| {
        let why = grant.error_message().unwrap_or_else(|| grant.status.as_str().to_owned());
        format!("{} {}: {why}", grant.resource_name, grant.ip_version())
    };
    missing.map(why).collect::<Vec<_>>().join("; ")
}

fn credentials_hint(end: &CredentialsEnd) -> String {
    match end {
        CredentialsEnd::ShellOnly => {
            "use a profile: `profile = \"…\"` on the resource, or AWS_PROFILE with AWS_ACCESS_KEY_ID unset".to_owned()
        }
        CredentialsEnd::Login { command, .. } => format!("log in again before then: {command}"),
        _ => "log in again before then, or use credentials that renew themselves".to_owned(),
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
