//! `eg doctor`: checks everything that a session needs, and changes nothing. [`machine`] gathers the facts of this machine,
//! [`cloud`] those of the provider, [`hosts`] those about hosts; `checks::doctor` turns facts into findings.

pub mod cloud;
pub mod hosts;
pub mod machine;
pub mod shown;

use self::{cloud::CloudExamination, hosts::Hosts, shown::ShownFindings};
use crate::{
    checks::{
        doctor::{certificates, lock, policy},
        finding::{Finding, Level, summary},
    },
    commands::{
        context::{Context, block_on, listen},
        targets::Expanded,
    },
    error::{CommandError, Exit, Kind},
    host::lock::stalled_holder,
    targets::read::read_resources,
    ui::{style, table::Cell},
};
use eg_config::policy::read as read_policy;
use eg_providers::aws::trusted_certificates;
use serde_json::{Value, json};

/// Check the set-up and suggest fixes
///
/// Configuration, state file, schedule, addresses, credentials, groups, permissions (asked as dry runs), clock, and what is in
/// the way to hosts. Changes nothing. `✓` is well, `!` works but should be known, `✗` does not work. The exit status is 1 if any is `✗`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg doctor")]
pub struct DoctorArgs {}

pub fn run(context: &Context<'_>, _args: &DoctorArgs) -> Result<Exit, CommandError> {
    let shown = ShownFindings::new(context.printer);
    let stopped = block_on(async {
        let interrupt = listen()?;
        tokio::select! {
            () = examine(context, &shown) => Ok(None),
            () = interrupt.wait() => Ok(interrupt.asked()),
        }
    })?;
    if let Some(number) = stopped {
        return Err(CommandError::new(Kind::Signal(number), "stopped by a signal; not everything was checked"));
    }
    let findings = shown.into_findings();
    let well = findings.iter().all(|finding| finding.level != Level::Bad);
    context.printer.json(&json!({"ok": well, "checks": findings.iter().map(check_json).collect::<Vec<_>>()}));
    let mark = if well { Cell::styled("✓", style::GOOD) } else { Cell::styled("✗", style::BAD) };
    context.printer.result(&format!("\n{} {}\n", mark.render(), summary(&findings)));
    Ok(if well { Exit::Done } else { Exit::Failed })
}

async fn examine(context: &Context<'_>, shown: &ShownFindings<'_>) {
    let settings = context.settings();
    shown.add(machine::configuration(context, settings.as_ref()));
    let settings = settings.unwrap_or_default();
    shown.all(policy(&read_policy(&context.env.policy), &settings.detect));
    let (state, record) = machine::state(context);
    shown.add(state);
    let stalled = stalled_holder(context.env, &context.state.path).as_ref().map(lock);
    shown.all(stalled.map(|finding| Finding { message: context.zone.in_text(&finding.message), ..finding }));
    shown.add(machine::scheduled(context, &settings, &record));
    if machine::needs_https(context, &settings) {
        shown.add(certificates(&trusted_certificates()));
    }
    let own = {
        let _busy = context.printer.busy("finding your address");
        let (findings, own) = machine::detection(context, &settings).await;
        shown.all(findings);
        own
    };
    let _busy = context.printer.busy("asking AWS");
    let connect = context.env.connect();
    let configured = settings;
    let Expanded { settings, unknown, hosts } = context.expanded(&configured).await;
    for (name, error) in unknown {
        let names_host = configured.selections.iter().any(|one| one.like.name == name && one.meant.host().is_some());
        let check = if names_host { "host" } else { "group" };
        let finding = Finding { advice: error.hints, ..Finding::bad(check, error.message, "") };
        shown.add(Finding { resource: Some((name, String::new())), ..finding });
    }
    let readings = read_resources(&settings, connect.as_ref(), |resource| context.target(resource)).await;
    let connect = connect.as_ref();
    CloudExamination { context, settings: &settings, record: &record, connect, readings: &readings, shown }
        .examine()
        .await;
    let found = Hosts { context, settings: &configured, connect, shown };
    found.configured(&hosts, &own).await;
    found.opened().await;
}

/// A finding with the resource that it is about.
fn check_json(finding: &Finding) -> Value {
    let resource = finding.resource.as_ref();
    json!({
        "check": finding.check,
        "resourceName": resource.map(|(name, _)| name),
        "resourceId": resource.map(|(_, id)| id).filter(|id| !id.is_empty()),
        "level": finding.level,
        "message": finding.message,
        "advice": finding.advice,
    })
}
