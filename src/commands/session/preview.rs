//! `eg session start --dry-run`: shows the rules that `start` would open. It reads the groups, refuses what `start` would
//! refuse, and records nothing.

use crate::commands::session::open::{OpenRequest, Preflight, PreflightDepth};
use crate::{
    error::{CommandError, Exit},
    text::escape_controls,
    ui::{json, warning::Code},
};
use eg_model::{
    ids::{InstallationId, RuleId},
    net::{address::IpVersion, permission::Permission},
    observation::Observation,
    session::{
        preflight::{Outlook, is_marked},
        record::{Grant, Session},
    },
};
use eg_state::Store;
use serde_json::{Value, json};

/// The outcome for one permission.
enum Would {
    Open,
    /// A rule of `eg`'s is there, this installation's or another's.
    Keep(RuleId),
    /// A rule that is not `eg`'s lets it in.
    BeCovered(RuleId),
    /// Its target could not be read.
    NotKnown,
}

impl Would {
    fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Keep(_) => "keep",
            Self::BeCovered(_) => "covered",
            Self::NotKnown => "unknown",
        }
    }

    fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::Keep(rule) | Self::BeCovered(rule) => Some(rule),
            Self::Open | Self::NotKnown => None,
        }
    }
}

/// Shows the rules that `start` would open.
///
/// # Errors
/// `start` would refuse it.
pub(super) async fn preview(opening: &OpenRequest<'_>) -> Result<Exit, CommandError> {
    let context = opening.context;
    let store = match context.store_for_reading()? {
        Some(store) => store,
        None => Store::empty(&context.state.path, InstallationId::from_uuid(context.env.uuid()))?,
    };
    let driver = opening.driver_on(store)?;
    let surroundings = opening.look_around(&driver, PreflightDepth::Targets).await?;
    opening.preflight(&driver, &surroundings).await?;
    let session = opening.session(&surroundings)?;
    let outlooks = opening.outlooks(&driver, &surroundings, &session)?;
    opening.warn_of_families_left_out();
    let shown = PreviewPrinter { opening, surroundings: &surroundings, session: &session, outlooks: &outlooks };
    context.printer.json(&shown.json());
    context.printer.result(&shown.text());
    for line in opening.wider_rules(&session, &surroundings) {
        context.printer.warn(Code::NotOurs, &line, &[]);
    }
    let works = outlooks.iter().all(|outlook| matches!(outlook, Outlook::Works));
    Ok(if works { Exit::Done } else { Exit::Partial })
}

struct PreviewPrinter<'a> {
    opening: &'a OpenRequest<'a>,
    surroundings: &'a Preflight,
    session: &'a Session,
    outlooks: &'a [Outlook],
}

impl PreviewPrinter<'_> {
    /// Why nothing can be opened on a grant's target.
    fn obstacle(&self, grant: &Grant) -> Option<String> {
        let mut outlooks = self.opening.targets.iter().zip(self.outlooks);
        let (_, outlook) = outlooks.find(|(target, _)| target.key == grant.target.key)?;
        match (outlook, self.surroundings.looks.get(&grant.target.key).map(|look| &look.observation)) {
            (Outlook::Cannot(failure), _) => Some(failure.message.clone()),
            (Outlook::NotKnown, Some(Observation::Unavailable(failure))) => Some(failure.to_string()),
            _ => None,
        }
    }

    fn would(&self, grant: &Grant, permission: &Permission) -> Would {
        let group = &grant.target.key.id;
        let look = self.surroundings.looks.get(&grant.target.key);
        let Some(Observation::Complete(reading)) = look.map(|look| &look.observation) else { return Would::NotKnown };
        match reading.rules.iter().find(|rule| rule.permission == *permission) {
            None => Would::Open,
            Some(rule) if is_marked(rule, group) => Would::Keep(rule.id.clone()),
            Some(rule) => Would::BeCovered(rule.id.clone()),
        }
    }

    fn text(&self) -> String {
        let zone = &self.opening.context.zone;
        let expires = zone.format(self.session.expires_at);
        let mut text = format!("Would open until {expires}; nothing was recorded or changed:\n");
        for grant in self.session.current() {
            let name = escape_controls(&grant.resource_name);
            if let Some(why) = self.obstacle(grant) {
                text += &format!("  ! {name} {}: {}\n", grant.ip_version(), escape_controls(&why));
                continue;
            }
            for item in &grant.permissions {
                let what = format!("{name} {} from {}", item.permission.ports(), item.permission.cidr());
                text += &match self.would(grant, &item.permission) {
                    Would::Open => format!("  + {what}\n"),
                    Would::Keep(rule) => format!("  = {what} ({rule}, eg's)\n"),
                    Would::BeCovered(rule) => format!("  = {what} ({rule}, not eg's: stop will not close it)\n"),
                    Would::NotKnown => format!("  ? {what}\n"),
                };
            }
        }
        text
    }

    fn json(&self) -> Value {
        let permission = |grant: &Grant, permission: &Permission| {
            let would = self.would(grant, permission);
            json!({"permission": json::permission(permission), "action": would.word(), "ruleId": would.rule()})
        };
        let grant = |grant: &Grant| {
            json!({
                "resourceName": grant.resource_name,
                "resourceId": grant.target.key.id,
                "region": grant.target.key.region,
                "ipVersion": grant.ip_version().number(),
                "ipAddress": grant.address,
                "permissions": grant.permissions.iter().map(|item| permission(grant, &item.permission)).collect::<Vec<_>>(),
                "error": self.obstacle(grant),
            })
        };
        json!({
            "ipv4Address": self.session.address(IpVersion::V4),
            "ipv6Address": self.session.address(IpVersion::V6),
            "expiresAt": json::time(self.session.expires_at),
            "reason": self.session.reason,
            "follow": self.session.follow,
            "grants": self.session.current().map(grant).collect::<Vec<_>>(),
        })
    }
}
