//! The warnings about a session that is opened: resources, accounts and addresses left out, everything that would keep it
//! from being closed on time, and rules that stay open after it.

use crate::{
    commands::{
        context::Context,
        session::{
            open::{ChosenResource, OpenRequest},
            preflight::Preflight,
        },
    },
    demo::is_inside,
    error::CommandError,
    reconcile::driver::Driver,
    schedule::{install, scheduled::Scheduled},
    ui::{
        opening::{opening, ports},
        warning::Code,
    },
};
use eg_model::{
    Timestamp,
    net::address::IpVersion,
    observation::Observation,
    session::{
        preflight::open_anyway,
        record::{Grant, Session, Standing},
    },
    target::{Expiry, Target},
    text::escape_controls,
};
use eg_providers::{Caller, CredentialsEnd, Kind, kind_of};
use eg_state::LastRuns;
use std::{collections::BTreeSet, net::IpAddr};

/// The process that will close a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Closer {
    Schedule,
    /// The command that opens it.
    ThisProcess,
}

impl OpenRequest<'_> {
    /// Warns of everything that a session does not get: families of resources, and expiry schedules of accounts.
    pub(super) fn warn_of_gaps(&self, preflight: &Preflight) {
        self.warn_of_families_left_out(preflight);
        self.warn_of_accounts_without_role(&preflight.callers);
    }

    /// Warns of selected resources that do not take the family of an address: by the configuration, if the user named the
    /// address, or because their firewall takes one family only.
    pub(super) fn warn_of_families_left_out(&self, preflight: &Preflight) {
        self.warn_of_targets_of_one_family(preflight);
        for address in &self.explicit {
            let version = IpVersion::of(*address);
            let without = self.chosen.iter().map(|chosen| &chosen.resource);
            let without = without.filter(|resource| !resource.families.contains(&version));
            let names: Vec<&str> = without.map(|resource| resource.name.as_str()).collect();
            if !names.is_empty() {
                let message = format!("{address} is not opened on {}: no {version} there", names.join(", "));
                let hint = "see `families` in the configuration".to_owned();
                self.context.printer.warn(Code::FamilyLeftOut, &message, &[hint]);
            }
        }
    }

    fn warn_of_targets_of_one_family(&self, preflight: &Preflight) {
        let one_family = |chosen: &'_ ChosenResource| preflight.readings.get(&chosen.target.key)?.only_family();
        for address in &preflight.addresses {
            let version = IpVersion::of(*address);
            // Who has left the family out of the configuration knows.
            let meant = self.chosen.iter().filter(|chosen| chosen.resource.families.contains(&version));
            let other = meant.filter_map(|chosen| Some((one_family(chosen).filter(|only| *only != version)?, chosen)));
            let other: Vec<(IpVersion, &str)> =
                other.map(|(only, chosen)| (only, chosen.resource.name.as_str())).collect();
            if let Some((only, _)) = other.first() {
                let names = other.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
                let message = format!("{address} is not opened on {names}: only {only} there");
                self.context.printer.warn(Code::FamilyLeftOut, &message, &[]);
            }
        }
    }

    /// Warns of accounts whose rules get no expiry schedule because no role is of that account.
    fn warn_of_accounts_without_role(&self, callers: &[(Target, Caller)]) {
        let Some(expiry) = &self.settings.aws.cloud_expiry else { return };
        let scheduled = |target: &Target| kind_of(&target.key).is_some_and(|kind| kind.expiry == Expiry::Schedule);
        let callers = callers.iter().filter(|(target, _)| scheduled(target));
        let accounts: BTreeSet<&String> = callers.map(|(_, caller)| &caller.account).collect();
        for account in accounts.into_iter().filter(|account| expiry.way(account).is_none()) {
            let message = format!("[aws.cloud_expiry] has no role of account {account}: its rules close by eg only");
            let hint = "make one with `eg setup cloud-expiry`, and add it to role_arn";
            self.context.printer.warn(Code::CloudExpiry, &message, &[hint.to_owned()]);
        }
    }

    /// Warns of live sessions for an address that the user no longer has.
    pub(super) fn warn_of_earlier_addresses(
        &self,
        driver: &Driver<'_>,
        addresses: &[IpAddr],
    ) -> Result<(), CommandError> {
        if !self.explicit.is_empty() {
            return Ok(());
        }
        // The next reconcile moves sessions that follow.
        for session in driver.store().live_sessions()?.into_iter().filter(|session| !session.follow) {
            let outside = |now: &&IpAddr| session.cidr(IpVersion::of(**now)).is_some() && !session.is_for(**now);
            let then = |now: &IpAddr| session.address(IpVersion::of(*now));
            if let Some(then) = addresses.iter().find(outside).and_then(then) {
                let short = session.id.short();
                let message = format!("session {short} is still open for {then}; your address has changed since");
                let hint = format!("close it with: eg session stop {short}");
                self.context.printer.warn(Code::AddressChanged, &message, &[hint]);
            }
        }
        Ok(())
    }

    /// True if every rule of a session closes without this machine: by an expiry schedule, or by its firewall.
    pub(super) fn is_auto_closing(&self, session: &Session) -> bool {
        let has_role = |account: &String| self.settings.aws.cloud_expiry.as_ref()?.way(account);
        session.grants.iter().all(|grant| match kind_of(&grant.target.key).map(|kind| kind.expiry) {
            Some(Expiry::Native) => true,
            Some(Expiry::Schedule) => grant.target.route.account.as_ref().and_then(has_role).is_some(),
            Some(Expiry::None) | None => false,
        })
    }

    /// Warns of everything that would keep this machine from closing a session.
    pub(super) fn warn_of_closing(&self, driver: &Driver<'_>, preflight: &Preflight, session: &Session) {
        self.warn_of_credentials(preflight, session, Closer::Schedule);
        let closes_by_itself = |grant: &Grant| kind_of(&grant.target.key).is_some_and(Kind::closes_by_itself);
        if !session.current().all(closes_by_itself) {
            self.warn_of_no_schedule(driver, &preflight.runs);
        }
    }

    /// Warns when nothing would close a session on time.
    fn warn_of_no_schedule(&self, driver: &Driver<'_>, runs: &LastRuns) {
        let Context { env, printer, zone, .. } = self.context;
        let mut store = driver.store_mut();
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
            // Notes when the job was first seen, so that later commands can tell for how long it has not run.
            Scheduled::Job(_) if runs.timer_at.is_none() => {
                if let Ok(None) = store.scheduled_since()
                    && let Err(error) = store.note_schedule(env.now())
                {
                    tracing::info!("the job cannot be noted: {error}");
                }
            }
            _ => {}
        }
    }

    /// Warns of credentials that will not be there when the session is to be closed.
    pub(super) fn warn_of_credentials(&self, preflight: &Preflight, session: &Session, closer: Closer) {
        if is_inside(self.context.env, &self.context.state.path) {
            return;
        }
        let mut warned = BTreeSet::new();
        for (name, end) in &preflight.credentials {
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

    /// Warns of rules that are not `eg`'s: those that cover a permission of the session, and those that open
    /// the same port to more addresses. The end
    /// of the session closes none of them.
    pub(super) fn warn_of_open_anyway(&self, session: &Session, wider: &[String]) {
        let covered = session.current().flat_map(|grant| {
            grant.permissions.iter().filter_map(move |item| match &item.standing {
                Standing::Foreign(rule) => Some(format!(
                    "already open: {} on {} by {rule}, not eg's: stop will not close it",
                    opening(&grant.target.key, &item.permission),
                    escape_controls(&grant.resource_name)
                )),
                _ => None,
            })
        });
        for line in covered.chain(wider.iter().cloned()) {
            self.context.printer.warn(Code::NotOurs, &line, &[]);
        }
    }

    /// The rules that let in more than a session asks for, in words.
    pub(super) fn wider_rules(&self, session: &Session, preflight: &Preflight) -> Vec<String> {
        let mut lines = Vec::new();
        for grant in session.current() {
            let key = &grant.target.key;
            let Some(Observation::Complete(reading)) = preflight.readings.get(key).map(|read| &read.observation) else {
                continue;
            };
            for item in &grant.permissions {
                let Some(rule) = open_anyway(reading, &key.id, &item.permission) else { continue };
                let to = match rule.permission.is_for_everybody() {
                    true => "the whole world".to_owned(),
                    false => rule.permission.cidr().to_string(),
                };
                let what = if kind_of(key).is_none_or(Kind::has_ports) {
                    format!("{} on {}", item.permission.ports(), escape_controls(&grant.resource_name))
                } else {
                    escape_controls(&grant.resource_name)
                };
                let by = ports(key, &rule.permission);
                lines.push(format!("{what} is open to {to} anyway, by {} ({by}), not eg's", rule.id));
            }
        }
        lines
    }
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
