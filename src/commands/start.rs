//! `eg session start`.

use super::{Context, check_clock, exit_for};
use crate::{
    detect::{Detected, Families, FamilyOutcome, describe, detect},
    error::{CommandError, Exit, Kind},
    reconcile::{Driver, Looks},
    schedule::{cron_line, is_scheduled},
    settings::{Resource, Settings},
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    address::{IpVersion, parse_explicit},
    duration::{check_range, parse_duration},
    ids::{GrantId, SessionId},
    permission::Permission,
    session::{Grant, GrantPermission, GrantStatus, Session, SessionStatus, Standing},
    target::Reach,
};
use eg_providers::{Caller, CredentialsEnd};
use eg_state::{LastRuns, RunKind};
use futures_util::future::join;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Open the configured firewalls to your address
///
/// Finds your public address, records a session, and adds ingress rules for it to every configured resource. The
/// rules are closed when the session is stopped, or by `eg reconcile` once its time is over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg session start --duration 2h --only prod")]
pub struct StartArgs {
    /// How long: 8 (hours), 90m, 1h30m, 1d [default: default_duration of the configuration, else 8h]
    #[arg(long, value_name = "D")]
    duration: Option<String>,
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
    /// Only the resource of this name, and those with this label; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Record the session and return; `eg reconcile` opens the rules
    #[arg(long)]
    no_wait: bool,
}

/// Starts a session.
///
/// # Errors
/// Nothing was recorded, or the pass could not be made.
pub fn run(context: &Context<'_>, args: &StartArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    if settings.resources.is_empty() {
        return Err(no_resources(context, "eg session start"));
    }
    let usage = |error: String| CommandError::new(Kind::Usage, error);
    let resources = settings.select(&args.only).map_err(|error| usage(error.to_string()))?;
    let duration = duration(args, &settings).map_err(usage)?;
    let explicit = explicit(args).map_err(usage)?;
    let runtime = context.runtime()?;
    let started = Start { context, args, settings: &settings, resources, duration, explicit };
    let ended = runtime.block_on(started.run());
    runtime.shutdown_background();
    ended
}

/// Three lines that make a configuration.
pub(super) fn no_resources(context: &Context<'_>, command: &str) -> CommandError {
    let path = context.config.path.display();
    CommandError::new(Kind::Config, format!("no resource is configured in {path}"))
        .hint(format!("1. create {path}"))
        .hint("2. put into it: [[resource]] name = \"my-server\" id = \"sg-…\" region = \"eu-west-1\" ports = [\"tcp/22\"] (one key a line)")
        .hint(format!("3. run again: {command}"))
}

fn duration(args: &StartArgs, settings: &Settings) -> Result<TimeDelta, String> {
    let Some(text) = &args.duration else { return Ok(settings.session.default_duration) };
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    check_range(duration, settings.session.max_duration).map_err(|error| error.to_string())?;
    Ok(duration)
}

fn explicit(args: &StartArgs) -> Result<Vec<IpAddr>, String> {
    let wanted = [(&args.ipv4, IpVersion::V4), (&args.ipv6, IpVersion::V6)];
    let given = wanted.into_iter().filter_map(|(text, version)| text.as_ref().map(|text| (text, version)));
    given.map(|(text, version)| parse_explicit(text, version).map_err(|error| error.to_string())).collect()
}

struct Start<'a> {
    context: &'a Context<'a>,
    args: &'a StartArgs,
    settings: &'a Settings,
    resources: Vec<&'a Resource>,
    duration: TimeDelta,
    explicit: Vec<IpAddr>,
}

/// What closing a session on time depends on.
struct Closing<'a> {
    session: &'a Session,
    surroundings: &'a Surroundings,
    runs: &'a LastRuns,
}

/// What a first look at every target has told.
#[derive(Default)]
struct Surroundings {
    looks: Looks,
    callers: Vec<(Reach, Caller)>,
    ends: Vec<(String, CredentialsEnd)>,
}

impl Start<'_> {
    async fn run(self) -> Result<Exit, CommandError> {
        let printer = self.context.printer;
        printer.progress("→ Starting session...");
        let reaches: Vec<Reach> = self.resources.iter().map(|resource| self.context.reach(resource)).collect();
        self.context.name_endpoints(reaches.iter());
        let driver = self.context.driver(self.context.store()?, Some(self.settings))?;
        let (addresses, surroundings) = join(self.addresses(), self.surroundings(&driver, &reaches)).await;
        let addresses = addresses?;
        check_clock(&surroundings.looks)?;
        if let Some(number) = driver.interrupt.asked() {
            return Err(CommandError::new(Kind::Signal(number), "stopped by a signal; nothing was recorded"));
        }
        if self.explicit.is_empty() {
            self.warn_of_earlier_addresses(&driver, &addresses)?;
        }
        let session = self.record(&driver, &addresses, &reaches, &surroundings)?;
        let runs = driver.store.borrow().last_runs()?;
        printer.result("✓ Session started\n");
        printer.result(&self.context.view(runs.clone()).started(&session));
        self.warn_of_accounts_without_role(&surroundings);
        let closing = Closing { session: &session, surroundings: &surroundings, runs: &runs };
        // What the cloud closes by itself needs neither this machine nor its credentials on time.
        let switched = self.is_switched(&session) && !self.args.no_wait;
        if !switched {
            self.warn_of_closing(&closing);
        }
        if self.args.no_wait {
            printer.json(&self.context.session_json(&driver.store.borrow(), &session)?);
            return Ok(Exit::Done);
        }
        self.open(&driver, &closing, switched).await
    }

    async fn open(&self, driver: &Driver<'_>, closing: &Closing<'_>, switched: bool) -> Result<Exit, CommandError> {
        let (id, looks) = (closing.session.id, closing.surroundings.looks.clone());
        let passed = self.context.scoped_pass(driver, RunKind::Start, &[id], looks).await;
        let session = self.context.again(&driver.store.borrow(), id)?;
        if switched && (passed.is_err() || session.grants.iter().any(|grant| grant.unswitched.is_some())) {
            self.warn_of_closing(closing);
        }
        self.context.printer.json(&self.context.session_json(&driver.store.borrow(), &session)?);
        let short = id.short();
        match passed {
            Err(error) => {
                Err(error.hint(format!("session {short} is on record; stop it with: eg session stop {short}")))
            }
            Ok(_) => {
                self.context.printer.result(&self.closing_line(&session));
                Ok(exit_for(&session))
            }
        }
    }

    fn closing_line(&self, session: &Session) -> String {
        let short = session.id.short();
        let until = self.context.zone.clock(session.expires_at);
        match session.status {
            SessionStatus::Active => "✓ Session is ACTIVE\n".to_owned(),
            SessionStatus::Failed => {
                format!("✗ Session is FAILED: still trying until {until}; give up with: eg session stop {short}\n")
            }
            status => format!("! Session is {status}\n"),
        }
    }

    /// The addresses to open to: exactly those given, else those detected.
    async fn addresses(&self) -> Result<Vec<IpAddr>, CommandError> {
        if !self.explicit.is_empty() {
            return Ok(self.explicit.clone());
        }
        let wanted = |version| self.resources.iter().any(|resource| resource.families.contains(&version));
        let families = Families {
            v4: !self.args.only_ipv6 && wanted(IpVersion::V4),
            v6: !self.args.only_ipv4 && wanted(IpVersion::V6),
        };
        let detected = detect(families, &self.settings.detect, self.context.env.address_rule.clone()).await;
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
                FamilyOutcome::NotRoutable { message, .. } => left_out.push((version, message)),
                FamilyOutcome::NotAgreed { reasons } => left_out.push((version, reasons.join("; "))),
                FamilyOutcome::Disagree { answers } => {
                    let lines: Vec<String> = answers.iter().map(describe).collect();
                    let message = format!("the services do not agree on your {version} address: {}", lines.join("; "));
                    return Err(CommandError::new(Kind::Detection, message).hint(hint));
                }
            }
        }
        if addresses.is_empty() {
            let lines: Vec<String> = left_out.iter().map(|(version, why)| format!("{version}: {why}")).collect();
            let message = format!("your public address could not be found ({})", lines.join("; "));
            return Err(CommandError::new(Kind::Detection, message).hint(hint));
        }
        for (version, why) in left_out {
            self.context.printer.warn(&format!("no {version} address was found, so {version} is left out: {why}"), &[]);
        }
        Ok(addresses)
    }

    /// One observation round, beside detection; and who we are, and until when, per way.
    async fn surroundings(&self, driver: &Driver<'_>, reaches: &[Reach]) -> Surroundings {
        if self.args.no_wait {
            return Surroundings::default();
        }
        let targets = reaches.iter().map(|reach| (reach.target.clone(), vec![reach.clone()])).collect();
        let looks = driver.look(&targets, false).await;
        let mut ways: BTreeMap<Reach, Reach> = BTreeMap::new();
        for reach in reaches {
            let mut way = reach.clone();
            way.target.id.clear();
            ways.entry(way).or_insert_with(|| reach.clone());
        }
        let mut surroundings = Surroundings { looks, ..Surroundings::default() };
        for reach in ways.into_values() {
            let Some(firewall) = surroundings.looks.get(&reach.target).and_then(|look| look.firewall.clone()) else {
                continue;
            };
            match firewall.caller().await {
                Ok(caller) => surroundings.callers.push((reach.clone(), caller)),
                Err(failure) => tracing::info!("who is calling is not known: {failure}"),
            }
            let end = firewall.credentials_end(self.context.env.now()).await;
            let name = reach
                .profile
                .clone()
                .map_or_else(|| "the credentials".to_owned(), |name| format!("the credentials of profile {name}"));
            surroundings.ends.push((name, end));
        }
        surroundings
    }

    /// Whether every rule of a session gets a switch in the cloud.
    fn is_switched(&self, session: &Session) -> bool {
        let Some(expiry) = &self.settings.aws.cloud_expiry else { return false };
        let has_role = |account: &String| expiry.way(account).is_some();
        session.grants.iter().all(|grant| grant.reach.account.as_ref().is_some_and(has_role))
    }

    fn warn_of_accounts_without_role(&self, surroundings: &Surroundings) {
        let Some(expiry) = &self.settings.aws.cloud_expiry else { return };
        let accounts: BTreeSet<&String> = surroundings.callers.iter().map(|(_, caller)| &caller.account).collect();
        for account in accounts.into_iter().filter(|account| expiry.way(account).is_none()) {
            let message =
                format!("[aws.cloud_expiry] has no role of account {account}: its rules close by eg reconcile only");
            let hint = "make one with `eg setup cloud-expiry`, and add it to role_arn";
            self.context.printer.warn(&message, &[hint.to_owned()]);
        }
    }

    /// What would keep this machine from closing the session on time.
    fn warn_of_closing(&self, closing: &Closing<'_>) {
        self.warn_of_credentials(closing.surroundings, closing.session);
        if !is_scheduled(closing.runs, self.context.env.now()) {
            let line = cron_line(self.context.env, &self.context.config, &self.context.state);
            let hint = format!("close it on time with a line in your crontab (crontab -e): {line}");
            let message = "nothing runs `eg reconcile` regularly: nothing would close this session on time";
            self.context.printer.warn(message, &[hint]);
        }
    }

    fn warn_of_credentials(&self, surroundings: &Surroundings, session: &Session) {
        let warned: BTreeSet<(String, String)> = surroundings
            .ends
            .iter()
            .filter_map(|(name, end)| {
                Some((
                    format!("{name} {}", self.credentials_warning(end, session.expires_at)?),
                    credentials_hint(end).to_owned(),
                ))
            })
            .collect();
        for (message, hint) in warned {
            self.context.printer.warn(&message, &[hint]);
        }
    }

    fn credentials_warning(&self, end: &CredentialsEnd, expires: Timestamp) -> Option<String> {
        match end {
            CredentialsEnd::Renewing | CredentialsEnd::Unknown => None,
            CredentialsEnd::At(at) if *at >= expires => None,
            CredentialsEnd::At(at) => {
                let at = self.context.zone.format(*at);
                Some(format!("end at {at}, before the session does: nothing can close it after that"))
            }
            CredentialsEnd::ShellOnly => {
                Some("come from this shell's environment: a scheduled `eg reconcile` does not have them".to_owned())
            }
        }
    }

    /// A live session for an address that is no longer ours serves nobody who is here.
    fn warn_of_earlier_addresses(&self, driver: &Driver<'_>, addresses: &[IpAddr]) -> Result<(), CommandError> {
        for session in driver.store.borrow().live_sessions()? {
            let changed = |now: &IpAddr| session.address(IpVersion::of(*now)).filter(|then| then != now);
            if let Some(then) = addresses.iter().find_map(changed) {
                let short = session.id.short();
                let message = format!("session {short} is still open for {then}; your address has changed since");
                self.context.printer.warn(&message, &[format!("close it with: eg session stop {short}")]);
            }
        }
        Ok(())
    }

    /// The intent, in one transaction, before the lock and before any change.
    fn record(
        &self,
        driver: &Driver<'_>,
        addresses: &[IpAddr],
        reaches: &[Reach],
        surroundings: &Surroundings,
    ) -> Result<Session, CommandError> {
        let env = self.context.env;
        let now = env.now();
        let mut session = Session {
            id: SessionId(env.uuid()),
            user_name: self.settings.user.name.clone().unwrap_or_else(|| format!("{}@{}", env.user, env.host)),
            user_email: self.settings.user.email.clone(),
            reason: self.args.reason.clone(),
            status: SessionStatus::Pending,
            started_at: now,
            expires_at: now + self.duration,
            ended_at: None,
            ended_reason: None,
            caller_arns: surroundings.callers.iter().map(|(_, caller)| caller.arn.clone()).collect(),
            grants: Vec::new(),
        };
        for (resource, reach) in self.resources.iter().zip(reaches) {
            let caller = surroundings.callers.iter().find(|(way, _)| same_credentials(way, reach));
            let reach = Reach {
                account: caller.map(|(_, caller)| caller.account.clone()),
                partition: caller.map(|(_, caller)| caller.partition.clone()),
                ..reach.clone()
            };
            let wanted = addresses.iter().filter(|address| resource.families.contains(&IpVersion::of(**address)));
            session.grants.extend(wanted.map(|address| self.grant(resource, &reach, *address)));
        }
        if session.grants.is_empty() {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let message = format!("no selected resource takes the family of {}", list.join(", "));
            return Err(CommandError::new(Kind::Usage, message).hint("see `families` in the configuration"));
        }
        session.grants.sort_by(|a, b| (&a.resource_name, a.ip_version()).cmp(&(&b.resource_name, b.ip_version())));
        let mut store = driver.store.borrow_mut();
        store.expire(now)?;
        store.start(&session)?;
        Ok(session)
    }

    fn grant(&self, resource: &Resource, reach: &Reach, address: IpAddr) -> Grant {
        let permissions: BTreeSet<Permission> =
            resource.ports.iter().map(|port| Permission::for_host(*port, address)).collect();
        let untried = |permission| GrantPermission { permission, standing: Standing::Untried };
        Grant {
            id: GrantId(self.context.env.uuid()),
            resource_name: resource.name.clone(),
            reach: reach.clone(),
            address,
            status: GrantStatus::Pending,
            permissions: permissions.into_iter().map(untried).collect(),
            applied_at: None,
            removed_at: None,
            unswitched: None,
        }
    }
}

/// Whether two ways lead through the same credentials and region, whichever group they lead to.
fn same_credentials(a: &Reach, b: &Reach) -> bool {
    let mut other = b.clone();
    other.target.id.clone_from(&a.target.id);
    a.same_way(&other)
}

fn credentials_hint(end: &CredentialsEnd) -> &'static str {
    match end {
        CredentialsEnd::ShellOnly => "use a profile (`profile = \"…\"` on the resource, or AWS_PROFILE)",
        _ => "log in again before then, or use credentials that renew themselves",
    }
}
