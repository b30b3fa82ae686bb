//! Refuses a session that cannot work until the user does something. Once recorded, `eg` would retry it for hours, beside
//! the session that the user starts after the repair.

use crate::{
    commands::session::{
        open::{ChosenResource, OpenRequest},
        preflight::Preflight,
    },
    error::{CommandError, Kind, advice},
    reconcile::{driver::Driver, reading::TargetReading, rights::wanted},
};
use eg_config::settings::Resource;
use eg_model::{
    failure::{Failure, FailureClass},
    net::{address::IpVersion, permission::Permission},
    observation::Observation,
    session::{
        preflight::{Outlook, full_families, is_hopeless, outlook},
        record::Session,
    },
    target::TargetKey,
};
use eg_providers::kind_of;
use std::collections::BTreeSet;

/// The most problems that are shown, and the most resources of each: the whole refusal fits in eight lines.
const SHOWN: usize = 3;

/// A reason, and the selected resources that cannot work because of it.
type Problem<'a> = (&'a Failure, Vec<&'a Resource>);

impl OpenRequest<'_> {
    /// # Errors
    /// Nothing of the session could be opened; or the record cannot be read.
    pub(super) async fn refuse_hopeless(&self, driver: &Driver<'_>, preflight: &Preflight) -> Result<(), CommandError> {
        let session = self.build(&preflight.addresses, &preflight.callers, &preflight.readings)?;
        if session.grants.is_empty() {
            return Err(self.of_other_families(preflight));
        }
        if preflight.readings.is_empty() {
            return self.refuse(&self.connected(driver).await);
        }
        // The readings may be reason enough: then no more dry runs are sent.
        self.refuse(&self.outlooks(driver, preflight, &session)?)?;
        driver.ask_rights(&preflight.readings, &session).await?;
        self.refuse(&self.outlooks(driver, preflight, &session)?)
    }

    /// No target takes any of the addresses.
    fn of_other_families(&self, preflight: &Preflight) -> CommandError {
        let only = |chosen: &ChosenResource| {
            let family = preflight.readings.get(&chosen.target.key)?.only_family()?;
            Some(format!("{} takes {family} addresses only", chosen.resource.name))
        };
        let mut reasons: Vec<String> = self.chosen.iter().filter_map(only).collect();
        reasons.dedup();
        let addresses: Vec<String> = preflight.addresses.iter().map(ToString::to_string).collect();
        let message = format!("nothing was opened to {}: {}", addresses.join(" and "), reasons.join("; "));
        CommandError::new(Kind::Provider, message).hint("name an address of that family with --ipv4 or --ipv6")
    }

    /// Connects to each target without sending a call (`--no-wait`): an unknown profile is found all the same.
    async fn connected(&self, driver: &Driver<'_>) -> Vec<Outlook> {
        let mut outlooks = Vec::new();
        for chosen in &self.chosen {
            let failed = driver.connect.connect(&chosen.target).await.err();
            let cannot = failed.filter(|failure| failure.class.fails_grant());
            outlooks.push(cannot.map_or(Outlook::NotKnown, Outlook::Cannot));
        }
        outlooks
    }

    /// The outlook of each chosen resource, in their order.
    pub(super) fn outlooks(
        &self,
        driver: &Driver<'_>,
        preflight: &Preflight,
        session: &Session,
    ) -> Result<Vec<Outlook>, CommandError> {
        let wanted = wanted(session);
        let live = driver.live_wants()?;
        let none = BTreeSet::new();
        let of = |key: &TargetKey| {
            let Some(look) = preflight.readings.get(key) else { return Outlook::NotKnown };
            let wanted = wanted.get(key).unwrap_or(&none);
            let full = self.full(driver, look, key, wanted, live.get(key).unwrap_or(&none));
            match outlook(&look.observation, driver.rights.denied(key).as_ref(), full) {
                Outlook::Cannot(failure) if look.observation == Observation::Missing => {
                    Outlook::Cannot(Failure { message: format!("{key} no longer exists"), ..failure })
                }
                outlook => outlook,
            }
        };
        Ok(self.chosen.iter().map(|chosen| of(&chosen.target.key)).collect())
    }

    fn full(
        &self,
        driver: &Driver<'_>,
        look: &TargetReading,
        key: &TargetKey,
        wanted: &BTreeSet<Permission>,
        live: &BTreeSet<Permission>,
    ) -> Option<Failure> {
        let Observation::Complete(reading) = &look.observation else { return None };
        let kind = kind_of(key)?;
        let quota = kind.quota?;
        let me = driver.store().installation().clone();
        let full = full_families(reading, &key.id, wanted, live, quota, &me);
        let families: BTreeSet<IpVersion> = wanted.iter().map(Permission::ip_version).collect();
        let names: Vec<String> = full.iter().map(ToString::to_string).collect();
        let message = format!("{key} has {quota} of {quota} {} {}", names.join(" and "), kind.entry.many);
        (!full.is_empty() && full == families).then(|| Failure::new(FailureClass::Limit, message))
    }

    fn refuse(&self, outlooks: &[Outlook]) -> Result<(), CommandError> {
        if !is_hopeless(outlooks) {
            return Ok(());
        }
        let resources = self.chosen.iter().map(|chosen| &chosen.resource);
        Err(refusal(resources.zip(outlooks).filter_map(|(resource, outlook)| match outlook {
            Outlook::Cannot(failure) => Some((resource, failure)),
            _ => None,
        })))
    }
}

/// The refusal as one block: each problem, its resources with their lines in the configuration, and the advice.
fn refusal<'a>(failures: impl Iterator<Item = (&'a Resource, &'a Failure)>) -> CommandError {
    let mut kinds: Vec<Problem<'a>> = Vec::new();
    for (resource, failure) in failures {
        match kinds.iter_mut().find(|(known, _)| known.message == failure.message) {
            Some((_, resources)) => resources.push(resource),
            None => kinds.push((failure, vec![resource])),
        }
    }
    let mut hints: Vec<String> = Vec::new();
    for (failure, _) in &kinds {
        let advice = advice(failure.class).to_owned();
        if !hints.contains(&advice) {
            hints.push(advice);
        }
    }
    let message = match kinds.as_slice() {
        [(failure, resources)] => {
            if failure.class == FailureClass::Limit {
                hints.push("where the quota is higher than that: eg session start --no-wait".to_owned());
            }
            let noun = if resources.len() == 1 { "resource" } else { "resources" };
            format!("nothing was opened: {}\n  {noun} {}", failure.message, named(resources))
        }
        many => {
            hints.truncate(1);
            let mut lines = vec!["nothing was opened".to_owned()];
            let line = |(failure, resources): &Problem<'_>| format!("  {}: {}", named(resources), failure.message);
            lines.extend(many.iter().take(SHOWN).map(line));
            if let Some(more) = many.len().checked_sub(SHOWN).filter(|more| *more > 0) {
                lines.push(format!("  and {more} more"));
            }
            lines.join("\n")
        }
    };
    hints.into_iter().fold(CommandError::new(Kind::Provider, message), CommandError::hint)
}

/// Resources with the lines of the configuration that name them.
fn named(resources: &[&Resource]) -> String {
    let one = |resource: &&Resource| {
        let place = resource.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        format!("{}{place}", resource.name)
    };
    let mut names = resources.iter().take(SHOWN).map(one).collect::<Vec<_>>().join(", ");
    if let Some(more) = resources.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        names += &format!(" and {more} more");
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use eg_config::settings::Settings;
    use std::path::Path;

    fn settings(count: usize) -> Settings {
        let one = |n: usize| {
            format!(
                "[[resource]]\nname = \"r{n}\"\nid = \"sg-0123456{n}\"\nregion = \"eu-west-1\"\nports = [\"tcp/22\"]\n"
            )
        };
        Settings::parse(&(0..count).map(one).collect::<String>(), Path::new("c.toml")).unwrap()
    }

    fn shown(settings: &Settings, failure: impl Fn(usize) -> Failure) -> String {
        let failures: Vec<Failure> = (0..settings.resources.len()).map(failure).collect();
        let error = refusal(settings.resources.iter().zip(&failures));
        error.hints.iter().fold(error.message, |text, hint| format!("{text}\nhint: {hint}"))
    }

    #[test]
    fn one_reason_is_said_once() {
        let missing = |_| Failure::new(FailureClass::NoProfile, "AWS profile \"wrok\" does not exist");
        let next = advice(FailureClass::NoProfile);
        assert_eq!(
            shown(&settings(1), missing),
            format!("nothing was opened: AWS profile \"wrok\" does not exist\n  resource r0 (c.toml:2)\nhint: {next}")
        );
        assert_eq!(
            shown(&settings(5), missing),
            format!(
                "nothing was opened: AWS profile \"wrok\" does not exist\n  resources r0 (c.toml:2), r1 (c.toml:7), r2 (c.toml:12) \
                 and 2 more\nhint: {next}"
            )
        );
    }

    #[test]
    fn many_reasons_fit_in_six_lines() {
        let text = shown(&settings(6), |n| Failure::new(FailureClass::Gone, format!("no group {n}")));
        assert_eq!(
            text,
            format!(
                "nothing was opened\n  r0 (c.toml:2): no group 0\n  r1 (c.toml:7): no group 1\n  r2 (c.toml:12): no group \
                 2\n  and 3 more\nhint: {}",
                advice(FailureClass::Gone)
            )
        );
    }

    #[test]
    fn a_higher_quota_has_a_way_past() {
        let text = shown(&settings(1), |_| Failure::new(FailureClass::Limit, "sg-1 has 60 of 60 IPv4 rules"));
        assert!(text.lines().count() == 4 && text.ends_with("eg session start --no-wait"), "{text}");
    }
}
