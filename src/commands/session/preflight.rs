//! The preflight of `start`, `ensure` and `run`: the addresses to open to, the state of every target, and the caller. It
//! records nothing.

use crate::{
    address::{Detected, are_alike, detect, proxy_hint, reasons},
    commands::session::open::OpenRequest,
    error::{CommandError, Kind},
    reconcile::{driver::Driver, pass::requests_leave, reading::TargetReadings},
    ui::warning::Code,
};
use chrono::TimeDelta;
use eg_model::{
    net::{
        address::IpVersion,
        agree::{EchoAnswer, FamilyOutcome, describe},
    },
    tags::CLOCK_TOLERANCE,
    target::Target,
};
use eg_providers::{Caller, CredentialsEnd};
use eg_state::LastRuns;
use futures_util::future::{join, join_all, join4};
use std::{collections::BTreeMap, net::IpAddr};

/// The questions to the clouds before a session is recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PreflightDepth {
    Nothing,
    /// The rules of every target.
    Targets,
    /// The rules, the caller, and the end of the credentials.
    TargetsAndCallers,
}

/// The answers.
pub(super) struct Preflight {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) readings: TargetReadings,
    /// The caller for each route to the targets, as far as it is known.
    pub(super) callers: Vec<(Target, Caller)>,
    /// The end of the credentials that the session needs, each with its name.
    pub(super) credentials: Vec<(String, CredentialsEnd)>,
    /// The last passes, as they were before the session.
    pub(super) runs: LastRuns,
}

impl OpenRequest<'_> {
    /// Asks everything, and refuses a session that cannot work.
    pub(super) async fn preflight(
        &self,
        driver: &Driver<'_>,
        depth: PreflightDepth,
    ) -> Result<Preflight, CommandError> {
        let preflight = self.ask(driver, depth).await?;
        self.refuse_hopeless(driver, &preflight).await?;
        self.warn_of_hindrances(&preflight.readings).await;
        Ok(preflight)
    }

    /// # Errors
    /// No address was found, the clock is plainly wrong, or a signal came.
    pub(super) async fn ask(&self, driver: &Driver<'_>, depth: PreflightDepth) -> Result<Preflight, CommandError> {
        let readings =
            async { if depth == PreflightDepth::Nothing { TargetReadings::new() } else { self.read(driver).await } };
        let callers = async {
            if depth == PreflightDepth::TargetsAndCallers { self.callers(driver).await } else { Default::default() }
        };
        // What needs no reading does not wait for one.
        let addresses = async {
            let addresses = self.addresses().await?;
            if depth == PreflightDepth::TargetsAndCallers {
                driver.ask_rights_unread(&self.build(&addresses, &[], &TargetReadings::new())?).await?;
            }
            Ok::<_, CommandError>(addresses)
        };
        let log = async {
            requests_leave().await;
            if self.dry_run || depth == PreflightDepth::Nothing {
                return;
            }
            // The session itself is recorded later, and tells why that fails.
            if let Err(error) = driver.store_mut().make_log() {
                tracing::info!("no log is made yet: {error}");
            }
        };
        // The reading comes first: it loads the credentials, and tells why that fails. The log comes last, and waits for the
        // disk while the answers are on their way.
        let (readings, (callers, credentials), addresses, ()) = join4(readings, callers, addresses, log).await;
        let addresses = addresses?;
        check_clock(&readings)?;
        not_interrupted(driver)?;
        let runs = driver.store().last_runs()?;
        Ok(Preflight { addresses, readings, callers, credentials, runs })
    }

    async fn read(&self, driver: &Driver<'_>) -> TargetReadings {
        let targets = self.chosen.iter().map(|chosen| &chosen.target);
        let targets = targets.map(|target| (target.key.clone(), vec![target.clone()])).collect();
        driver.observe(&targets, self.dry_run).await
    }

    /// The caller and the end of the credentials, for each route.
    pub(super) async fn callers(&self, driver: &Driver<'_>) -> (Vec<(Target, Caller)>, Vec<(String, CredentialsEnd)>) {
        let routes: BTreeMap<Target, &Target> =
            self.chosen.iter().rev().map(|chosen| (chosen.target.regional(), &chosen.target)).collect();
        let asked = routes.into_values().map(async |target| {
            // The reading fails for the same reason, and tells it.
            let firewall = driver.connect.connect(target).await.ok()?;
            let (caller, end) = join(firewall.caller(), firewall.credentials_end()).await;
            let caller = caller.map_err(|failure| tracing::info!("the caller is not known: {failure}")).ok();
            let of_profile = target.route.profile.as_ref().map(|name| format!("the credentials of profile {name}"));
            let name = of_profile.unwrap_or_else(|| "the credentials".to_owned());
            Some((caller.map(|caller| (target.clone(), caller)), (name, end)))
        });
        let (callers, credentials): (Vec<_>, Vec<_>) = join_all(asked).await.into_iter().flatten().unzip();
        (callers.into_iter().flatten().collect(), credentials)
    }

    /// The addresses to open to: exactly those given, else those detected.
    async fn addresses(&self) -> Result<Vec<IpAddr>, CommandError> {
        if !self.explicit.is_empty() {
            return Ok(self.explicit.clone());
        }
        let detected = detect(self.families(), &self.settings.detect, self.context.env.address_rule.clone()).await;
        self.agreed(detected)
    }

    /// The detected addresses. A family without one is left out; without any address, or if the services disagree, nothing
    /// is opened.
    fn agreed(&self, detected: Detected) -> Result<Vec<IpAddr>, CommandError> {
        let mut addresses = Vec::new();
        let mut left_out = Vec::new();
        let mut unusable: Vec<EchoAnswer> = Vec::new();
        let hint = "name the address yourself with --ipv4 or --ipv6";
        for (version, outcome) in [(IpVersion::V4, detected.v4), (IpVersion::V6, detected.v6)] {
            match outcome {
                FamilyOutcome::NotAsked => {}
                FamilyOutcome::Agreed { address, .. } => addresses.push(address),
                FamilyOutcome::NotRoutable { message, .. } => left_out.push((version, true, message)),
                FamilyOutcome::NotAgreed { answers } => {
                    answers.iter().for_each(|answer| tracing::info!("{}", describe(answer)));
                    left_out.push((version, version == IpVersion::V4, reasons(&answers)));
                    unusable.extend(answers);
                }
                FamilyOutcome::Disagree { answers } => {
                    let lines: Vec<String> = answers.iter().map(describe).collect();
                    let message = format!("the services do not agree on your {version} address: {}", lines.join("; "));
                    return Err(CommandError::new(Kind::Detection, message).hint(hint));
                }
            }
        }
        if addresses.is_empty() {
            let by_family = || left_out.iter().map(|(version, _, why)| format!("{version}: {why}")).collect::<Vec<_>>();
            // Without a network every service of both families fails alike.
            let why = if are_alike(&unusable) { reasons(&unusable) } else { by_family().join("; ") };
            let message = format!("your public address could not be found ({why})");
            let error = CommandError::new(Kind::Detection, message).hint(hint);
            let proxy = proxy_hint(self.context.env, &self.settings.detect);
            return Err(proxy.into_iter().fold(error, CommandError::hint));
        }
        for (version, odd, why) in left_out {
            self.tell_left_out(version, odd, &why);
        }
        Ok(addresses)
    }

    /// Many networks have no IPv6, so that is no warning: half a line says what is opened, and `eg ip` says why.
    fn tell_left_out(&self, version: IpVersion, odd: bool, why: &str) {
        let printer = self.context.printer;
        if odd {
            let message = format!("no {version} address was found, so {version} is left out: {why}");
            return printer.warn(Code::FamilyLeftOut, &message, &[]);
        }
        tracing::info!("no {version} address was found: {why}");
        printer.progress("IPv6: not available here; opening IPv4 only");
    }
}

/// Refuses to open or extend if this machine's clock is plainly wrong: the rules would close at the wrong time.
pub(super) fn check_clock(readings: &TargetReadings) -> Result<(), CommandError> {
    let skews = readings.values().filter_map(|read| read.provider_time()).map(|(provider, local)| local - provider);
    match skews.max_by_key(TimeDelta::abs).filter(|skew| skew.abs() > CLOCK_TOLERANCE) {
        None => Ok(()),
        Some(skew) => {
            let (minutes, way) = (skew.num_minutes().abs(), if skew.num_seconds() > 0 { "ahead of" } else { "behind" });
            let message =
                format!("the clock of this machine is {minutes} minutes {way} the provider's; nothing was changed");
            Err(CommandError::new(Kind::Clock, message).hint("set the clock, then try again"))
        }
    }
}

/// Refuses to record anything once a signal came: the next reconcile would open the session of a command that was stopped.
pub(super) fn not_interrupted(driver: &Driver<'_>) -> Result<(), CommandError> {
    match driver.interrupt.asked() {
        Some(number) => Err(CommandError::stopped_by(number, "nothing was recorded")),
        None => Ok(()),
    }
}
