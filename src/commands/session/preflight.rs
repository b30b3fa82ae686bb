//! The preflight of `start`, `ensure` and `run`: it refuses a session that cannot work until the user does something. If it
//! were recorded, `eg` would try it again for hours, beside the session that the user starts after mending the mistake.

use crate::commands::session::open::{OpenRequest, Preflight};
use crate::{
    checks::resource::RULES_PER_GROUP,
    config::settings::Resource,
    error::{CommandError, Kind},
    reconcile::{driver::Driver, observe::TargetReading, rights::wanted},
    text::escape_controls,
    ui::warning::Code,
};
use eg_model::{
    failure::{Failure, FailureClass},
    net::{address::IpVersion, permission::Permission},
    observation::Observation,
    session::{
        preflight::{Outlook, full_families, is_hopeless, open_anyway, outlook},
        record::{Session, Standing},
    },
    target::{Target, TargetKey},
};
use std::collections::BTreeSet;

/// How many problems are shown, and how many resources that have one. The whole refusal fits in eight lines.
const SHOWN: usize = 3;

/// A selected resource that cannot work.
struct Problem<'a> {
    resource: &'a Resource,
    failure: Failure,
}

impl OpenRequest<'_> {
    /// Refuses a session of which nothing could be opened.
    ///
    /// # Errors
    /// Nothing of it could be; or the record cannot be read.
    pub(super) async fn preflight(&self, driver: &Driver<'_>, surroundings: &Preflight) -> Result<(), CommandError> {
        let session = self.session(surroundings)?;
        if surroundings.looks.is_empty() {
            return self.refuse_hopeless(&self.connected(driver).await);
        }
        let seen: Vec<Outlook> = self.outlooks(driver, surroundings, &session)?;
        // Dry runs are not sent if the readings are reason enough.
        self.refuse_hopeless(&seen)?;
        driver.ask_rights(&surroundings.looks, &session).await?;
        self.refuse_hopeless(&self.outlooks(driver, surroundings, &session)?)
    }

    /// Connects to each target without sending a call (`--no-wait`): an unknown profile is found all the same.
    async fn connected(&self, driver: &Driver<'_>) -> Vec<Outlook> {
        let mut outlooks = Vec::new();
        for target in &self.targets {
            let failed = driver.connect.connect(target).await.err();
            let cannot = failed.filter(|failure| failure.class.fails_grant());
            outlooks.push(cannot.map_or(Outlook::NotKnown, Outlook::Cannot));
        }
        outlooks
    }

    /// One for each resource, in their order.
    pub(super) fn outlooks(
        &self,
        driver: &Driver<'_>,
        surroundings: &Preflight,
        session: &Session,
    ) -> Result<Vec<Outlook>, CommandError> {
        let wanted = wanted(session);
        let live = driver.live_wants()?;
        let none = BTreeSet::new();
        let of = |target: &Target| {
            let key = &target.key;
            let Some(look) = surroundings.looks.get(key) else { return Outlook::NotKnown };
            let wanted = wanted.get(key).unwrap_or(&none);
            let full = self.full(driver, look, key, wanted, live.get(key).unwrap_or(&none));
            match outlook(&look.observation, driver.rights.denied(key).as_ref(), full) {
                Outlook::Cannot(failure) if look.observation == Observation::Missing => {
                    Outlook::Cannot(Failure { message: format!("{key} no longer exists"), ..failure })
                }
                outlook => outlook,
            }
        };
        Ok(self.targets.iter().map(of).collect())
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
        let me = driver.store.borrow().installation().clone();
        let full = full_families(reading, &key.id, wanted, live, RULES_PER_GROUP, &me);
        let families: BTreeSet<IpVersion> = wanted.iter().map(Permission::ip_version).collect();
        let names: Vec<String> = full.iter().map(ToString::to_string).collect();
        let message = format!("{key} has {RULES_PER_GROUP} of {RULES_PER_GROUP} {} rules", names.join(" and "));
        (!full.is_empty() && full == families).then(|| Failure::new(FailureClass::Limit, message))
    }

    fn refuse_hopeless(&self, outlooks: &[Outlook]) -> Result<(), CommandError> {
        if !is_hopeless(outlooks) {
            return Ok(());
        }
        let mut problems = Vec::new();
        for (resource, outlook) in self.resources.iter().zip(outlooks) {
            if let Outlook::Cannot(failure) = outlook {
                problems.push(Problem { resource, failure: failure.clone() });
            }
        }
        Err(refusal(&problems))
    }

    /// Warns of rules that are not `eg`'s: those that cover a permission of the session, and those that let in more. The end
    /// of the session closes none of them.
    pub(super) fn warn_of_open_anyway(&self, session: &Session, wider: &[String]) {
        let covered = session.current().flat_map(|grant| {
            grant.permissions.iter().filter_map(move |item| match &item.standing {
                Standing::Foreign(rule) => Some(format!(
                    "already open: {} from {} on {} by {rule}, not eg's: stop will not close it",
                    item.permission.ports(),
                    item.permission.cidr(),
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
    pub(super) fn wider_rules(&self, session: &Session, surroundings: &Preflight) -> Vec<String> {
        let mut lines = Vec::new();
        for grant in session.current() {
            let key = &grant.target.key;
            let Some(Observation::Complete(reading)) = surroundings.looks.get(key).map(|look| &look.observation) else {
                continue;
            };
            for item in &grant.permissions {
                let Some(rule) = open_anyway(reading, &key.id, &item.permission) else { continue };
                let to = match rule.permission.is_for_everybody() {
                    true => "the whole world".to_owned(),
                    false => rule.permission.cidr().to_string(),
                };
                lines.push(format!(
                    "{} on {} is open to {to} anyway, by {} ({}), not eg's",
                    item.permission.ports(),
                    escape_controls(&grant.resource_name),
                    rule.id,
                    rule.permission.ports(),
                ));
            }
        }
        lines
    }
}

/// The refusal as one block: each problem, its resources with their lines in the configuration, and the advice.
fn refusal(problems: &[Problem<'_>]) -> CommandError {
    let mut kinds: Vec<(&Failure, Vec<&Resource>)> = Vec::new();
    for problem in problems {
        match kinds.iter_mut().find(|(failure, _)| failure.message == problem.failure.message) {
            Some((_, resources)) => resources.push(problem.resource),
            None => kinds.push((&problem.failure, vec![problem.resource])),
        }
    }
    let mut hints: Vec<String> = Vec::new();
    for (failure, _) in &kinds {
        let advice = failure.class.advice().to_owned();
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
            let line = |(failure, resources): &(&Failure, Vec<&Resource>)| {
                format!("  {}: {}", named(resources), failure.message)
            };
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
    use crate::config::settings::Settings;
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
        let problems: Vec<Problem<'_>> =
            (0..).zip(&settings.resources).map(|(n, resource)| Problem { resource, failure: failure(n) }).collect();
        let error = refusal(&problems);
        error.hints.iter().fold(error.message, |text, hint| format!("{text}\nhint: {hint}"))
    }

    #[test]
    fn one_reason_is_said_once() {
        let missing = |_| Failure::new(FailureClass::NoProfile, "AWS profile \"wrok\" does not exist");
        let advice = FailureClass::NoProfile.advice();
        assert_eq!(
            shown(&settings(1), missing),
            format!(
                "nothing was opened: AWS profile \"wrok\" does not exist\n  resource r0 (c.toml:2)\nhint: {advice}"
            )
        );
        assert_eq!(
            shown(&settings(5), missing),
            format!(
                "nothing was opened: AWS profile \"wrok\" does not exist\n  resources r0 (c.toml:2), r1 (c.toml:7), r2 (c.toml:12) \
                 and 2 more\nhint: {advice}"
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
                FailureClass::Gone.advice()
            )
        );
    }

    #[test]
    fn a_higher_quota_has_a_way_past() {
        let text = shown(&settings(1), |_| Failure::new(FailureClass::Limit, "sg-1 has 60 of 60 IPv4 rules"));
        assert!(text.lines().count() == 4 && text.ends_with("eg session start --no-wait"), "{text}");
    }
}
