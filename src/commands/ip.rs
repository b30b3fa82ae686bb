//! `eg ip`: the detected addresses, and the answer of each service.

use crate::{
    address::{Families, FamilySurvey, Survey, are_alike, check_asked, never_detected, proxy_hint, reasons, survey},
    commands::context::{Context, block_on},
    error::{CommandError, Exit},
    ui::{style, table::Cell},
};
use eg_model::{
    net::{address::IpVersion, agree::FamilyOutcome},
    text::escape_controls,
};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Show your public addresses, and which services agree on them
///
/// Asks every service of the configuration and waits for all of them. `eg session start` opens to an address that
/// enough of them agree on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg ip --output json | jq -r .ipv4Address")]
pub struct IpArgs {
    /// IPv4 only
    #[arg(short = '4', conflicts_with = "only_ipv6")]
    only_ipv4: bool,
    /// IPv6 only
    #[arg(short = '6')]
    only_ipv6: bool,
}

pub fn run(context: &Context<'_>, args: &IpArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    check_asked([args.only_ipv4, args.only_ipv6], |version| never_detected(&settings.detect, version))?;
    let families = Families { v4: !args.only_ipv6, v6: !args.only_ipv4 };
    let acceptable = context.env.address_rule.clone();
    let found = block_on(async { Ok(survey(families, &settings.detect, acceptable).await) })?;
    let Survey { v4, v6 } = &found;
    context.printer.json(&json!({
        "ipv4Address": address(v4),
        "ipv6Address": address(v6),
        "families": [family_json(IpVersion::V4, v4), family_json(IpVersion::V6, v6)],
    }));
    let each = context.global.verbose > 0;
    context.printer.result(&(family(IpVersion::V4, v4, each) + &family(IpVersion::V6, v6, each)));
    let exit = exit(&found);
    let proxy = proxy_hint(context.env, &settings.detect).filter(|_| exit != Exit::Done);
    if let Some(hint) = proxy {
        context.printer.progress(&format!("hint: {hint}"));
    }
    Ok(exit)
}

/// `Done` if `session start` would open: one family is enough, unless the services disagree about the other.
fn exit(found: &Survey) -> Exit {
    let outcomes = [&found.v4.outcome, &found.v6.outcome];
    let refused = outcomes.iter().any(|outcome| matches!(outcome, FamilyOutcome::Disagree { .. }));
    let any = outcomes.iter().any(|outcome| matches!(outcome, FamilyOutcome::Agreed { .. }));
    if any && !refused { Exit::Done } else { Exit::Failed }
}

fn address(family: &FamilySurvey) -> Option<IpAddr> {
    match family.outcome {
        FamilyOutcome::Agreed { address, .. } => Some(address),
        _ => None,
    }
}

/// True if this service's answer agrees with the address.
fn agrees(family: &FamilySurvey, service: &str) -> bool {
    match &family.outcome {
        FamilyOutcome::Agreed { by, .. } | FamilyOutcome::NotRoutable { by, .. } => by.iter().any(|one| one == service),
        _ => false,
    }
}

/// A line for each service; if all of them failed alike, these come with `each` only.
fn family(version: IpVersion, family: &FamilySurvey, each: bool) -> String {
    let said = family.answers.len();
    let headline = match &family.outcome {
        FamilyOutcome::NotAsked => return String::new(),
        FamilyOutcome::Agreed { address, by } => format!("{address} ({} of {said} services agree)", by.len()),
        FamilyOutcome::NotRoutable { message, .. } => format!("not usable: {message}"),
        FamilyOutcome::Disagree { .. } => "not known: the services do not agree".to_owned(),
        FamilyOutcome::NotAgreed { answers } if !each && are_alike(answers) => {
            return format!("{version}: not found: {}\n", escape_controls(&reasons(answers)));
        }
        FamilyOutcome::NotAgreed { .. } => "not found".to_owned(),
    };
    let line = |(service, answer): &(String, Result<IpAddr, String>)| {
        let mark =
            if agrees(family, service) { Cell::styled("✓", style::GOOD) } else { Cell::styled("✗", style::BAD) };
        let text = answer.as_ref().map_or_else(Clone::clone, ToString::to_string);
        format!("  {} {}: {}\n", mark.render(), escape_controls(service), escape_controls(&text))
    };
    format!("{version}: {headline}\n") + &family.answers.iter().map(line).collect::<String>()
}

fn family_json(version: IpVersion, family: &FamilySurvey) -> Value {
    let (outcome, message) = match &family.outcome {
        FamilyOutcome::NotAsked => ("not-asked", None),
        FamilyOutcome::Agreed { .. } => ("agreed", None),
        FamilyOutcome::NotRoutable { message, .. } => ("not-routable", Some(message.as_str())),
        FamilyOutcome::Disagree { .. } => ("disagree", Some("the services do not agree")),
        FamilyOutcome::NotAgreed { .. } => ("not-agreed", Some("too few services gave an address")),
    };
    let answer = |(service, answer): &(String, Result<IpAddr, String>)| {
        json!({
            "service": service,
            "address": answer.as_ref().ok(),
            "error": answer.as_ref().err(),
            "agrees": agrees(family, service),
        })
    };
    json!({
        "ipVersion": version.number(),
        "address": address(family),
        "outcome": outcome,
        "message": message,
        "answers": family.answers.iter().map(answer).collect::<Vec<_>>(),
    })
}
