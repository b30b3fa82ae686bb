//! The facts of the provider: credentials, groups, permissions, cloud expiry, clock.

use super::{machine::RecordFacts, shown::ShownFindings};
use crate::{
    checks::{
        doctor::{Elsewhere, Used, clock, cloud_expiry, credentials, missing_group, permissions, unreadable_group},
        finding::{Finding, Level, listed},
        resource::{absent_advice, firewall_check},
    },
    commands::{context::Context, resource::verify::probe},
    demo::is_inside,
    targets::read::ResourceReading,
};
use chrono::TimeDelta;
use eg_config::settings::Settings;
use eg_model::{
    Timestamp,
    auto_close::AutoCloseSeen,
    ids::RuleId,
    target::{Expiry, Target},
};
use eg_providers::{Connect, CredentialsEnd, Firewall, Hindrance, ReadResult, aws::SECURITY_GROUP};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(super) struct CloudExamination<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) settings: &'a Settings,
    pub(super) record: &'a RecordFacts,
    pub(super) connect: &'a dyn Connect,
    pub(super) readings: &'a [ResourceReading<'a>],
    pub(super) shown: &'a ShownFindings<'a>,
}

impl CloudExamination<'_> {
    pub(super) async fn examine(&self) {
        // True for credentials that work.
        let mut checked: BTreeMap<Target, bool> = BTreeMap::new();
        let mut regions: BTreeSet<Target> = BTreeSet::new();
        for one in self.readings {
            if one.resource.kind.cloud.is_none() {
                self.shown.all(self.group(one).await);
                continue;
            }
            let credentials = credentials_of(&one.target);
            let new_region = regions.insert(one.target.regional());
            let works = match checked.get(&credentials) {
                Some(works) => *works,
                None => {
                    let finding = self.caller(one, &credentials).await;
                    let works = finding.level != Level::Bad;
                    self.shown.add(finding);
                    checked.insert(credentials, works);
                    works
                }
            };
            // With credentials that do not work, every further call would fail for the same reason.
            if works {
                self.shown.all(self.group(one).await);
                if new_region {
                    self.shown.all(self.cloud_expiry(one).await);
                }
            }
        }
        self.shown.all(clock(&self.skews()));
    }

    async fn caller(&self, one: &ResourceReading<'_>, of: &Target) -> Finding {
        let Some(firewall) = &one.firewall else {
            return match &one.result {
                ReadResult::Unavailable(failure) => unreadable_group(&one.resource.name, failure).about(one.resource),
                _ => Finding::bad("credentials", "there is no way to the provider", "check the configuration"),
            };
        };
        let now = self.context.env.now();
        let name = match (&of.route.profile, &of.route.role_arn) {
            (_, Some(role)) => format!("role {role}"),
            (Some(profile), None) => format!("profile {profile}"),
            (None, None) => "default credentials".to_owned(),
        };
        let resources = self.readings.iter().filter(|other| credentials_of(&other.target) == *of);
        let resources = listed(&resources.map(|other| other.resource.name.as_str()).collect::<Vec<_>>());
        let used = Used { name, profile: of.route.profile.as_deref(), resources };
        let (caller, end) = (firewall.caller().await, firewall.credentials_end().await);
        // In a sandbox there is no scheduled job that could lack them.
        let end = match end {
            CredentialsEnd::ShellOnly if is_inside(self.context.env, &self.context.state.path) => {
                CredentialsEnd::Lasting
            }
            end => end,
        };
        let usual = self.settings.session.default_duration;
        credentials(&used, &caller, &end, now, usual, |at: Timestamp| self.context.zone.format(at))
    }

    async fn group(&self, one: &ResourceReading<'_>) -> Vec<Finding> {
        let (name, kind, target) = (&one.resource.name, one.resource.kind, &one.target.key);
        let check = firewall_check(kind);
        match &one.result {
            ReadResult::Unavailable(failure) => {
                vec![Finding { check, ..unreadable_group(name, failure) }.about(one.resource)]
            }
            ReadResult::NotFound { caller } if *kind != SECURITY_GROUP => {
                let message = format!("{name}: {}", ReadResult::absent(target, caller.as_ref()));
                vec![Finding::bad(check, message, absent_advice(kind)).about(one.resource)]
            }
            ReadResult::NotFound { caller } => {
                let elsewhere = self.elsewhere(&one.target).await;
                let account = caller.as_ref().map_or("", |caller| caller.account.as_str());
                vec![missing_group(name, &target.id, &target.region, account, &elsewhere).about(one.resource)]
            }
            ReadResult::NoReadBack => {
                vec![Finding::good(check, format!("{name}: {target}, which is not read back")).about(one.resource)]
            }
            ReadResult::Complete(reading) => {
                let rules = reading.rules.len() + reading.other_ingress;
                let found = Finding::good(check, format!("{name}: {target}, {}", kind.entry.count(rules)));
                let mut findings = vec![found.about(one.resource)];
                if let Some(firewall) = &one.firewall {
                    let effect = firewall.hindrance(target).await;
                    let warning = |found: Hindrance| {
                        Finding::warning("effect", format!("{name}: {}", found.message), found.advice)
                    };
                    findings.extend(effect.map(|found| warning(found).about(one.resource)));
                    findings.extend(self.permissions(one, firewall).await);
                }
                findings
            }
        }
    }

    /// Asks for the expiry schedule of a rule that does not exist: the answer "absent" proves the permission to read.
    async fn cloud_expiry(&self, one: &ResourceReading<'_>) -> Option<Finding> {
        let expiry =
            self.settings.aws.cloud_expiry.as_ref().filter(|_| one.resource.kind.expiry == Expiry::Schedule)?;
        let firewall = one.firewall.as_ref()?;
        let account = firewall.caller().await.ok()?.account;
        let place = format!("account {account} in {}", one.target.key.region);
        let Some(way) = expiry.way(&account) else { return Some(cloud_expiry(&place, None, Ok(()))) };
        let no_rule = RuleId("sgr-00000000000000000".to_owned());
        let seen = firewall.read_auto_close(&one.target.key.id, &no_rule, &way).await;
        let read = match &seen {
            AutoCloseSeen::Unreadable(failure) => Err(failure),
            AutoCloseSeen::Absent | AutoCloseSeen::Set(_) | AutoCloseSeen::Wrong => Ok(()),
        };
        Some(cloud_expiry(&place, Some(&way), read))
    }

    async fn permissions(&self, one: &ResourceReading<'_>, firewall: &Arc<dyn Firewall>) -> Vec<Finding> {
        let Some(probe) = probe(one.resource).filter(|_| firewall.access().is_some()) else { return Vec::new() };
        let rights = firewall.rights(&one.target.key.id, &probe, &self.settings.aws.extra_tags).await;
        permissions(one.resource, rights)
    }

    /// Looks for a missing group in the other regions that the configuration, the record and the environment name.
    async fn elsewhere(&self, target: &Target) -> Elsewhere {
        let configured = self.settings.resources.iter().map(|resource| resource.region.clone());
        let recorded = self.record.used.keys().map(|target| target.region.clone());
        let env = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter_map(|name| self.context.env.var(name));
        let regions: BTreeSet<String> = configured.chain(recorded).chain(env.map(str::to_owned)).collect();
        let account = self.record.used.get(&target.key).and_then(|known| known.route.account.clone());
        for region in regions.into_iter().filter(|region| *region != target.key.region) {
            let mut there = target.clone();
            there.key.region.clone_from(&region);
            let Ok(firewall) = self.connect.connect(&there).await else { continue };
            let seen = firewall.observe(&BTreeSet::from([there.key.clone()])).await;
            if matches!(seen.get(&there.key), Some(ReadResult::Complete(_))) {
                return Elsewhere { account, region: Some(region) };
            }
        }
        Elsewhere { account, region: None }
    }

    fn skews(&self) -> Vec<TimeDelta> {
        let skew = |one: &ResourceReading<'_>| match &one.result {
            ReadResult::Complete(reading) => Some(reading.read_at - reading.provider_time?),
            ReadResult::NotFound { .. } | ReadResult::NoReadBack | ReadResult::Unavailable(_) => None,
        };
        self.readings.iter().filter_map(skew).collect()
    }
}

/// A target without group, kind and region: the same for everything that one set of credentials reaches.
fn credentials_of(target: &Target) -> Target {
    let mut credentials = target.regional();
    credentials.key.kind.clear();
    credentials.key.region.clear();
    credentials
}
