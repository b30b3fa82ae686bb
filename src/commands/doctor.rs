//! `eg doctor`: looks at everything that a session needs, and changes nothing.

use crate::commands::context::Context;
use crate::{
    address::{Families, survey as survey_addresses},
    checks::doctor::{
        Elsewhere, Finding, JobState, Level, Used, addresses, certificates, clock, cloud_expiry, credentials, listed,
        lock, missing_group, permissions, policy, schedule, summary, unreadable_group,
    },
    config::settings::{Resource, Settings},
    error::{CommandError, Exit, Kind},
    host::lock::stalled_holder,
    schedule::{
        install::{self, Installed},
        job::Job,
        scheduled::Scheduled,
    },
    targets::read::{ResourceReading, survey},
    text::escape_controls,
    ui::{style, table::Cell},
};
use eg_model::{
    Timestamp,
    auto_close::AutoCloseSeen,
    ids::RuleId,
    net::{address::IpVersion, permission::Permission},
    target::{Reach, TargetKey},
};
use eg_providers::{Connect, Firewall, ReadResult, aws::trusted_certificates};
use eg_state::{LastRuns, Store};
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// Check the set-up and suggest fixes
///
/// Configuration, state file, schedule, addresses, credentials, groups, permissions (asked as dry runs) and clock.
/// Changes nothing. `✓` is well, `!` works but should be known, `✗` does not work. The exit status is 1 if any is `✗`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg doctor")]
pub struct DoctorArgs {}

/// What the record tells; empty where it cannot be read.
#[derive(Default)]
struct RecordFacts {
    runs: LastRuns,
    /// Since when there is a scheduled job.
    since: Option<Timestamp>,
    /// Targets that were in use, and how they were reached.
    used: BTreeMap<TargetKey, Reach>,
}

/// Looks at everything.
pub fn run(context: &Context<'_>, _args: &DoctorArgs) -> Result<Exit, CommandError> {
    let runtime = context.runtime()?;
    let told = ShownFindings { context, findings: RefCell::default() };
    let stopped = runtime.block_on(async {
        let interrupt = crate::commands::context::listen()?;
        tokio::select! {
            () = examine(context, &told) => Ok(None),
            () = interrupt.wait() => Ok::<_, CommandError>(interrupt.asked()),
        }
    });
    runtime.shutdown_background();
    if let Some(number) = stopped? {
        return Err(CommandError::new(Kind::Signal(number), "stopped by a signal; not everything was checked"));
    }
    let findings = told.findings.into_inner();
    let well = findings.iter().all(|finding| finding.level != Level::Bad);
    context.printer.json(&json!({"ok": well, "checks": findings.iter().map(check_json).collect::<Vec<_>>()}));
    let mark = if well { Cell::styled("✓", style::GOOD) } else { Cell::styled("✗", style::BAD) };
    context.printer.result(&format!("\n{} {}\n", mark.render(), summary(&findings)));
    Ok(if well { Exit::Done } else { Exit::Failed })
}

/// The findings, each shown as soon as it is known.
struct ShownFindings<'a> {
    context: &'a Context<'a>,
    findings: RefCell<Vec<Finding>>,
}

impl ShownFindings<'_> {
    fn add(&self, finding: Finding) {
        self.context.printer.result(&text(&finding));
        self.findings.borrow_mut().push(finding);
    }

    fn all(&self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }
}

/// A finding of doctor as the contract has it: with the resource that it is about.
fn check_json(finding: &Finding) -> Value {
    let resource = finding.resource.as_ref();
    json!({
        "check": finding.check,
        "resourceName": resource.map(|(name, _)| name),
        "resourceId": resource.map(|(_, id)| id).filter(|id| !id.is_empty()),
        "level": finding.level.as_str(),
        "message": finding.message,
        "advice": finding.advice,
    })
}

/// A finding as the contract has it.
pub(super) fn as_json(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "level": finding.level.as_str(),
        "message": finding.message,
        "advice": finding.advice,
    })
}

/// A finding, and under it what to do.
pub(super) fn text(finding: &Finding) -> String {
    let style = match finding.level {
        Level::Good => style::GOOD,
        Level::Warning => style::UNDER_WAY,
        Level::Bad => style::BAD,
    };
    let mark = Cell::styled(finding.level.mark(), style).render();
    let line = format!("{mark} {}: {}\n", finding.check, escape_controls(&finding.message));
    finding.advice.iter().fold(line, |text, advice| text + &format!("    {}\n", escape_controls(advice)))
}

async fn examine(context: &Context<'_>, told: &ShownFindings<'_>) {
    let settings = context.settings();
    told.add(configuration(context, settings.as_ref()));
    let settings = settings.unwrap_or_default();
    told.all(policy(&crate::config::policy_file::read(&context.env.policy), &settings.detect));
    let (state, record) = state(context);
    told.add(state);
    let stalled = stalled_holder(context.env, &context.state.path).as_ref().map(lock);
    told.all(stalled.map(|finding| Finding { message: context.zone.in_text(&finding.message), ..finding }));
    told.add(scheduled(context, &settings, &record));
    if takes_https(context, &settings) {
        told.add(certificates(&trusted_certificates()));
    }
    {
        let _busy = context.printer.busy("finding your address");
        told.all(detection(context, &settings).await);
    }
    let _busy = context.printer.busy("asking AWS");
    let aws = context.env.connect();
    let (settings, unknown) = context.expanded(&settings).await;
    for (name, error) in unknown {
        let finding = Finding { advice: error.hints, ..Finding::bad("group", error.message, "") };
        told.add(Finding { resource: Some((name, String::new())), ..finding });
    }
    let seen = survey(&settings, aws.as_ref(), |resource| context.reach(resource)).await;
    let cloud = Cloud { context, settings: &settings, record: &record, aws: aws.as_ref(), seen: &seen, told };
    cloud.examine().await;
}

fn configuration(context: &Context<'_>, settings: Result<&Settings, &CommandError>) -> Finding {
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
        ),
        Ok(settings) => {
            let count = settings.resources.len() + settings.selections.len();
            let resources = if count == 1 { "1 resource".to_owned() } else { format!("{count} resources") };
            Finding::good("configuration", format!("{path}: {resources}"))
        }
    }
}

fn state(context: &Context<'_>) -> (Finding, RecordFacts) {
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
        let (runs, used) = (store.last_runs().ok()?, context.used_targets(&store).ok()?);
        Some(RecordFacts { runs, since: store.scheduled_since().ok().flatten(), used })
    });
    (finding, record.unwrap_or_default())
}

fn counted(rules: usize) -> String {
    if rules == 1 { "1 rule".to_owned() } else { format!("{rules} rules") }
}

fn scheduled(context: &Context<'_>, settings: &Settings, record: &RecordFacts) -> Finding {
    let scheduled = Scheduled::ask(context.env, context.config().ok(), &context.state, &record.runs, record.since);
    let job = context.config().ok().and_then(|config| Job::new(context.env, config, &context.state).ok());
    let found = job.and_then(|job| install::find(context.env, &job));
    let outdated = found.filter(|(_, how)| *how == Installed::Outdated).map(|(scheduler, _)| scheduler);
    let last_run = match scheduled {
        // The job's own runs, since it was installed.
        Scheduled::Job(_) => record.runs.timer_at.filter(|at| record.since.is_none_or(|since| *at >= since)),
        _ => record.runs.scheduled_at,
    };
    let cloud_expiry = settings.aws.cloud_expiry.is_some();
    schedule(&JobState { scheduled, outdated, last_run, cloud_expiry }, |at| context.zone.format(at))
}

/// Whether anything is asked over https: AWS itself, or an echo service.
fn takes_https(context: &Context<'_>, settings: &Settings) -> bool {
    let resources = settings.resources.iter().chain(settings.selections.iter().map(|selection| &selection.like));
    let is_plain = |endpoint: &String| endpoint.starts_with("http://");
    let mut reaches = resources.map(|resource| context.reach(resource));
    let mut services = [IpVersion::V4, IpVersion::V6].into_iter().flat_map(|version| settings.detect.services(version));
    reaches.any(|reach| !reach.target.endpoint.as_ref().is_some_and(is_plain))
        || services.any(|url| url.scheme() == "https")
}

async fn detection(context: &Context<'_>, settings: &Settings) -> Vec<Finding> {
    let none = settings.names_no_target();
    let wants = |version| none || settings.takes(version);
    let families = Families { v4: wants(IpVersion::V4), v6: wants(IpVersion::V6) };
    let found = survey_addresses(families, &settings.detect, context.env.address_rule.clone()).await;
    let names = |version| {
        let takes = |resource: &&Resource| resource.families.contains(&version);
        let named = settings.resources.iter().chain(settings.selections.iter().map(|one| &one.like)).filter(takes);
        match listed(&named.map(|resource| resource.name.as_str()).collect::<Vec<_>>()) {
            none if none.is_empty() => "the resource".to_owned(),
            names => names,
        }
    };
    addresses(&found, families.v4, families.v6, names)
}

/// Everything that is asked of the provider.
struct Cloud<'a> {
    context: &'a Context<'a>,
    settings: &'a Settings,
    record: &'a RecordFacts,
    aws: &'a dyn Connect,
    seen: &'a [ResourceReading<'a>],
    told: &'a ShownFindings<'a>,
}

impl Cloud<'_> {
    async fn examine(&self) {
        let mut ways: BTreeSet<Reach> = BTreeSet::new();
        let mut barred: BTreeSet<Reach> = BTreeSet::new();
        let mut places: BTreeSet<Reach> = BTreeSet::new();
        for one in self.seen {
            let way = credentials_of(&one.reach);
            let place = Reach { target: TargetKey { id: String::new(), ..one.reach.target.clone() }, ..way.clone() };
            let new_place = places.insert(place);
            if ways.insert(way.clone()) {
                let finding = self.caller(one, &way).await;
                if finding.level == Level::Bad {
                    barred.insert(way.clone());
                }
                self.told.add(finding);
            }
            // Without usable credentials every call would say the same again.
            if !barred.contains(&way) {
                self.told.all(self.group(one).await);
                if new_place {
                    self.told.all(self.cloud_expiry(one).await);
                }
            }
        }
        self.told.all(clock(&self.skews()));
    }

    async fn caller(&self, one: &ResourceReading<'_>, way: &Reach) -> Finding {
        let Some(firewall) = &one.firewall else {
            return match &one.sighting {
                ReadResult::Unavailable(failure) => unreadable_group(&one.resource.name, failure).about(one.resource),
                _ => Finding::bad("credentials", "there is no way to the provider", "check the configuration"),
            };
        };
        let now = self.context.env.now();
        let name = match (&way.profile, &way.role_arn) {
            (_, Some(role)) => format!("role {role}"),
            (Some(profile), None) => format!("profile {profile}"),
            (None, None) => "default credentials".to_owned(),
        };
        let resources = self.seen.iter().filter(|other| credentials_of(&other.reach) == *way);
        let resources = listed(&resources.map(|other| other.resource.name.as_str()).collect::<Vec<_>>());
        let used = Used { name, profile: way.profile.as_deref(), resources };
        let (caller, end) = (firewall.caller().await, firewall.credentials_end(now).await);
        let usual = self.settings.session.default_duration;
        credentials(&used, &caller, &end, now, usual, |at: Timestamp| self.context.zone.format(at))
    }

    async fn group(&self, one: &ResourceReading<'_>) -> Vec<Finding> {
        let (name, target) = (&one.resource.name, &one.reach.target);
        match &one.sighting {
            ReadResult::Unavailable(failure) => vec![unreadable_group(name, failure).about(one.resource)],
            ReadResult::NotFound { caller } => {
                let elsewhere = self.elsewhere(&one.reach).await;
                vec![missing_group(name, &target.id, &target.region, &caller.account, &elsewhere).about(one.resource)]
            }
            ReadResult::Complete(reading) => {
                let rules = reading.rules.len() + reading.other_ingress;
                let found = Finding::good("group", format!("{name}: {target}, {}", counted(rules)));
                let mut findings = vec![found.about(one.resource)];
                if let Some(firewall) = &one.firewall {
                    findings.extend(self.permissions(one, firewall).await);
                }
                findings
            }
        }
    }

    /// An expiry schedule that no rule has is asked for: that it is absent is as good an answer as any.
    async fn cloud_expiry(&self, one: &ResourceReading<'_>) -> Option<Finding> {
        let expiry = self.settings.aws.cloud_expiry.as_ref()?;
        let firewall = one.firewall.as_ref()?;
        let account = firewall.caller().await.ok()?.account;
        let place = format!("account {account} in {}", one.reach.target.region);
        let Some(way) = expiry.way(&account) else { return Some(cloud_expiry(&place, None, Ok(()))) };
        let nobody = RuleId("sgr-00000000000000000".to_owned());
        let seen = firewall.read_auto_close(&one.reach.target.id, &nobody, &way).await;
        let read = match &seen {
            AutoCloseSeen::Unreadable(failure) => Err(failure),
            AutoCloseSeen::Absent | AutoCloseSeen::Set(_) | AutoCloseSeen::Wrong => Ok(()),
        };
        Some(cloud_expiry(&place, Some(&way), read))
    }

    async fn permissions(&self, one: &ResourceReading<'_>, firewall: &Arc<dyn Firewall>) -> Vec<Finding> {
        let v6_only = !one.resource.families.contains(&IpVersion::V4);
        // Which address does not matter: only the family is asked with (see `Firewall::rights`).
        let host: IpAddr = if v6_only { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let Some(port) = one.resource.ports.first() else { return Vec::new() };
        let (probe, tags) = (Permission::for_host(*port, host), &self.settings.aws.extra_tags);
        let rights = firewall.rights(&one.reach.target.id, &probe, tags).await;
        permissions(one.resource, &rights.denied())
    }

    /// Where else a group may be: the regions that this configuration, the record and the environment know.
    async fn elsewhere(&self, reach: &Reach) -> Elsewhere {
        let configured = self.settings.resources.iter().map(|resource| resource.region.clone());
        let recorded = self.record.used.keys().map(|target| target.region.clone());
        let env = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter_map(|name| self.context.env.var(name));
        let regions: BTreeSet<String> = configured.chain(recorded).chain(env.map(str::to_owned)).collect();
        let account = self.record.used.get(&reach.target).and_then(|known| known.account.clone());
        for region in regions.into_iter().filter(|region| *region != reach.target.region) {
            let mut there = reach.clone();
            there.target.region.clone_from(&region);
            let Ok(firewall) = self.aws.connect(&there).await else { continue };
            let seen = firewall.observe(&BTreeSet::from([there.target.clone()])).await;
            if matches!(seen.get(&there.target), Some(ReadResult::Complete(_))) {
                return Elsewhere { account, region: Some(region) };
            }
        }
        Elsewhere { account, region: None }
    }

    fn skews(&self) -> Vec<chrono::TimeDelta> {
        let skew = |one: &ResourceReading<'_>| match &one.sighting {
            ReadResult::Complete(reading) => Some(reading.read_at - reading.provider_time?),
            ReadResult::NotFound { .. } | ReadResult::Unavailable(_) => None,
        };
        self.seen.iter().filter_map(skew).collect()
    }
}

/// A way without where it ends: what the same credentials have in common, in any region.
fn credentials_of(reach: &Reach) -> Reach {
    let mut way = reach.clone();
    way.target.id.clear();
    way.target.region.clear();
    way
}
