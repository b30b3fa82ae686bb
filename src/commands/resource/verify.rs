//! `eg resource verify`: checks that a session on a resource would work. Changes nothing.

use crate::{
    checks::{
        finding::{Finding, Level},
        resource::{absent_advice, firewall_check, open_to_all, rights, slots, there},
    },
    commands::{
        context::{Context, block_on},
        findings::{finding_json, finding_text},
    },
    error::{CommandError, Exit, Kind, advice},
    targets::read::{ResourceReading, read_resources},
    ui::json,
};
use eg_config::settings::{AwsSettings, Chosen, Resource, Settings};
use eg_model::{
    net::{address::IpVersion, permission::Permission},
    target::TargetKey,
    text::escape_controls,
};
use eg_providers::ReadResult;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Check that a session on a resource would work: firewall, permissions, room for rules
///
/// Checks that the firewall is there, that the credentials may open, tag and close (asked as dry runs where there are
/// any), how many rules still fit, and if a port is open to everybody anyway. Changes nothing. The exit status is 1 if
/// anything is `✗`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg resource verify prod-api")]
pub struct VerifyArgs {
    /// Only the resources of this name, or with this label [default: all]
    name: Vec<String>,
}

/// One resource and its findings.
struct Verified {
    name: String,
    target: Option<TargetKey>,
    findings: Vec<Finding>,
}

pub fn run(context: &Context<'_>, args: &VerifyArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    if settings.names_no_target() {
        return Err(context.no_resources("eg resource verify"));
    }
    let chosen = settings.select(&args.name).map_err(|error| CommandError::new(Kind::Usage, error.to_string()))?;
    let verified = block_on(async { Ok(examine(context, &chosen, &settings.aws).await) })?;
    let well = verified.iter().flat_map(|one| &one.findings).all(|finding| finding.level != Level::Bad);
    context.printer.json(&json!({"ok": well, "resources": verified.iter().map(verified_json).collect::<Vec<_>>()}));
    for (number, one) in verified.iter().enumerate() {
        context.printer.result(&format!("{}{}\n", if number == 0 { "" } else { "\n" }, title(one)));
        for finding in &one.findings {
            context.printer.result(&finding_text(finding));
        }
    }
    Ok(if well { Exit::Done } else { Exit::Failed })
}

fn title(one: &Verified) -> String {
    let place = one.target.as_ref().map(|target| format!(": {target}")).unwrap_or_default();
    escape_controls(&format!("{}{place}", one.name))
}

fn verified_json(one: &Verified) -> Value {
    json!({
        "resourceName": one.name,
        "resourceId": one.target.as_ref().map(|target| &target.id),
        "region": one.target.as_ref().and_then(json::region),
        "checks": one.findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

async fn examine(context: &Context<'_>, chosen: &Chosen<'_>, aws: &AwsSettings) -> Vec<Verified> {
    let narrowed = Settings {
        resources: chosen.resources.iter().copied().cloned().collect(),
        selections: chosen.selections.iter().copied().cloned().collect(),
        ..Settings::default()
    };
    let (settings, unknown) = context.expanded(&narrowed).await;
    let connect = context.env.connect();
    let mut verified = Vec::new();
    for one in read_resources(&settings, connect.as_ref(), |resource| context.target(resource)).await {
        let findings = findings(&one, aws).await;
        verified.push(Verified { name: one.resource.name.clone(), target: Some(one.target.key), findings });
    }
    verified.extend(unknown.into_iter().map(|(name, error)| {
        let finding = Finding { advice: error.hints, ..Finding::bad("group", error.message, "") };
        Verified { name, target: None, findings: vec![finding] }
    }));
    verified
}

async fn findings(one: &ResourceReading<'_>, aws: &AwsSettings) -> Vec<Finding> {
    let (resource, target) = (one.resource, &one.target.key);
    let check = firewall_check(resource.kind);
    let reading = match &one.result {
        ReadResult::Complete(reading) => reading,
        ReadResult::NotFound { caller } => {
            return vec![Finding::bad(
                check,
                ReadResult::absent(target, caller.as_ref()),
                absent_advice(resource.kind),
            )];
        }
        ReadResult::NoReadBack => {
            let message =
                format!("{target} is there; what is open is not read back, and is known from the record alone");
            return vec![Finding::good(check, message)];
        }
        ReadResult::Unavailable(failure) => {
            return vec![Finding::bad(check, failure.to_string(), advice(failure.class))];
        }
    };
    let mut findings = vec![Finding::good(check, there(resource.kind, target, reading))];
    if let (Some(firewall), Some(probe)) = (&one.firewall, probe(resource))
        && firewall.access().is_some()
    {
        let asked = firewall.rights(&target.id, &probe, &aws.extra_tags).await;
        findings.extend(rights(&resource.entry, &asked));
    }
    if let Some(quota) = resource.kind.quota {
        findings.extend(resource.families.iter().map(|family| slots(quota, reading, *family, resource.ports.len())));
    }
    findings.extend(open_to_all(resource.kind, reading, &resource.ports, &resource.families));
    findings
}

/// A permission to ask with. The provider looks at its family only.
pub fn probe(resource: &Resource) -> Option<Permission> {
    let v4 = resource.families.contains(&IpVersion::V4);
    let host: IpAddr = if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    Some(Permission::for_host(*resource.ports.first()?, host))
}
