//! The facts of this machine: configuration, record, schedule, addresses.

use crate::{
    address::{Families, survey},
    checks::{
        doctor::addresses,
        finding::{Finding, listed},
        schedule::{JobState, schedule},
    },
    commands::context::Context,
    error::CommandError,
    schedule::{
        install::{self, Installed},
        job::Job,
        scheduled::Scheduled,
    },
};
use eg_config::settings::{Resource, Settings};
use eg_model::{
    Timestamp,
    net::{address::IpVersion, agree::FamilyOutcome},
    target::{Expiry, Target, TargetKey},
};
use eg_state::{LastRuns, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Facts from the record; empty if it cannot be read.
#[derive(Default)]
pub(super) struct RecordFacts {
    pub(super) runs: LastRuns,
    /// The time since which there is a scheduled job.
    pub(super) since: Option<Timestamp>,
    /// Targets that were in use, with the newest route to each.
    pub(super) used: BTreeMap<TargetKey, Target>,
}

pub(super) fn configuration(context: &Context<'_>, settings: Result<&Settings, &CommandError>) -> Finding {
    let file = match context.config() {
        Ok(found) => &found.path,
        Err(error) => return Finding { advice: error.hints, ..Finding::bad("configuration", error.message, "") },
    };
    let path = file.display();
    match settings {
        Err(error) if error.hints.is_empty() => Finding::bad("configuration", &error.message, format!("edit {path}")),
        Err(error) => Finding { advice: error.hints.clone(), ..Finding::bad("configuration", &error.message, "") },
        Ok(settings) if settings.names_no_target() => Finding::bad(
            "configuration",
            format!("no resource is configured in {path}"),
            "create one from your AWS security groups: eg init",
        )
        .and("or add any kind of firewall by hand: eg resource add --help"),
        Ok(settings) => {
            let count = settings.resources.len() + settings.selections.len();
            let resources = if count == 1 { "1 resource".to_owned() } else { format!("{count} resources") };
            Finding::good("configuration", format!("{path}: {resources}"))
        }
    }
}

pub(super) fn state(context: &Context<'_>) -> (Finding, RecordFacts) {
    let path = &context.state.path;
    let shown = path.display();
    let machine = context.env.machine.as_deref();
    let finding = match Store::check(path, machine) {
        Err(error) => {
            let advice = error.advice().unwrap_or_else(|| "choose another file with --state".to_owned());
            Finding::bad("state", error.to_string(), advice)
        }
        Ok(_) if machine.is_none() => Finding::warning(
            "state",
            format!("{shown}: this machine has no stable id, so a copied file would not be noticed"),
            "set EG_MACHINE to a name that only this machine has",
        ),
        Ok(true) => Finding::good("state", format!("{shown}: healthy, writable, this machine's")),
        Ok(false) => Finding::good("state", format!("{shown}: can be made by the first session")),
    };
    let store = context.store_for_reading().ok().flatten();
    let record = store.and_then(|store| {
        let (runs, used) = (store.last_runs().ok()?, store.used_targets().ok()?);
        Some(RecordFacts { runs, since: store.scheduled_since().ok().flatten(), used })
    });
    (finding, record.unwrap_or_default())
}

pub(super) fn scheduled(context: &Context<'_>, settings: &Settings, record: &RecordFacts) -> Finding {
    let scheduled = Scheduled::ask(context.env, context.config().ok(), &context.state, &record.runs, record.since);
    let job = context.config().ok().and_then(|config| Job::new(context.env, config, &context.state).ok());
    let found = job.and_then(|job| install::find(context.env, &job));
    let outdated = found.filter(|(_, how)| *how == Installed::Outdated).map(|(scheduler, _)| scheduler);
    let last_run = match scheduled {
        // Only runs since the installation are the job's own.
        Scheduled::Job(_) => record.runs.timer_at.filter(|at| record.since.is_none_or(|since| *at >= since)),
        _ => record.runs.scheduled_at,
    };
    let besides = besides_the_job(settings);
    schedule(&JobState { scheduled, outdated, last_run, besides }, |at| context.zone.format(at))
}

/// What closes on time without the job. Cloud expiry counts even if it is not for every configured firewall: the account of
/// each is not known here.
fn besides_the_job(settings: &Settings) -> Option<&'static str> {
    let resources = || settings.resources.iter().chain(settings.selections.iter().map(|selection| &selection.like));
    if !settings.names_no_target() && resources().all(|resource| resource.kind.closes_by_itself()) {
        return Some("the firewall itself");
    }
    let scheduled = resources().any(|resource| resource.kind.expiry == Expiry::Schedule);
    settings.aws.cloud_expiry.as_ref().filter(|_| scheduled || settings.names_no_target()).map(|_| "cloud expiry")
}

/// True if AWS or an echo service is asked over https.
pub(super) fn needs_https(context: &Context<'_>, settings: &Settings) -> bool {
    let resources = settings.resources.iter().chain(settings.selections.iter().map(|selection| &selection.like));
    let is_plain = |endpoint: &String| endpoint.starts_with("http://");
    let in_clouds = resources.filter(|resource| resource.kind.cloud.is_some());
    let mut targets = in_clouds.map(|resource| context.target(resource));
    let mut services = [IpVersion::V4, IpVersion::V6].into_iter().flat_map(|version| settings.detect.services(version));
    targets.any(|target| !target.key.endpoint.as_ref().is_some_and(is_plain))
        || services.any(|url| url.scheme() == "https")
}

/// The findings, and the addresses that were found.
pub(super) async fn detection(context: &Context<'_>, settings: &Settings) -> (Vec<Finding>, BTreeSet<IpAddr>) {
    let none = settings.names_no_target();
    let wants = |version| none || settings.takes(version);
    let families = Families { v4: wants(IpVersion::V4), v6: wants(IpVersion::V6) };
    let found = survey(families, &settings.detect, context.env.address_rule.clone()).await;
    let names = |version| {
        let takes = |resource: &&Resource| resource.families.contains(&version);
        let named = settings.resources.iter().chain(settings.selections.iter().map(|one| &one.like)).filter(takes);
        match listed(&named.map(|resource| resource.name.as_str()).collect::<Vec<_>>()) {
            none if none.is_empty() => "the resource".to_owned(),
            names => names,
        }
    };
    let own = [&found.v4.outcome, &found.v6.outcome].into_iter().filter_map(|outcome| match outcome {
        FamilyOutcome::Agreed { address, .. } => Some(*address),
        _ => None,
    });
    (addresses(&found, families.v4, families.v6, names), own.collect())
}
