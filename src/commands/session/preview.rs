//! `eg session start --dry-run`: shows the rules that `start` would open. It reads the groups, refuses what `start` would
//! refuse, and records nothing.

use crate::{
    commands::session::{
        open::OpenRequest,
        preflight::{Preflight, PreflightDepth},
    },
    error::{CommandError, Exit},
    ui::{json, opening::opening, warning::Code},
};
use eg_model::{
    ids::InstallationId,
    net::{address::IpVersion, permission::Permission},
    observation::Observation,
    session::{
        preflight::{Outlook, Would, would},
        record::{Grant, Session},
    },
    text::escape_controls,
};
use eg_state::Store;
use serde_json::{Value, json};

/// Shows the rules that `start` would open.
///
/// # Errors
/// `start` would refuse it.
pub(super) async fn preview(mut request: OpenRequest<'_>) -> Result<Exit, CommandError> {
    request.dry_run = true;
    let context = request.context;
    let store = match context.store_for_reading()? {
        Some(store) => store,
        None => Store::empty(&context.state.path, InstallationId::from_uuid(context.env.uuid()))?,
    };
    let driver = request.driver(store)?;
    let preflight = request.preflight(&driver, PreflightDepth::Targets).await?;
    let session = request.build(&preflight.addresses, &preflight.callers, &preflight.readings)?;
    let outlooks = request.outlooks(&driver, &preflight, &session)?;
    request.warn_of_families_left_out(&preflight);
    let shown = PreviewPrinter { request: &request, preflight: &preflight, session: &session, outlooks: &outlooks };
    context.printer.json(&shown.json());
    context.printer.result(&shown.text());
    for line in request.wider_rules(&session, &preflight) {
        context.printer.warn(Code::NotOurs, &line, &[]);
    }
    let works = outlooks.iter().all(|outlook| matches!(outlook, Outlook::Works));
    Ok(if works { Exit::Done } else { Exit::Partial })
}

struct PreviewPrinter<'a> {
    request: &'a OpenRequest<'a>,
    preflight: &'a Preflight,
    session: &'a Session,
    outlooks: &'a [Outlook],
}

impl PreviewPrinter<'_> {
    /// Why nothing can be opened on a grant's target.
    fn obstacle(&self, grant: &Grant) -> Option<String> {
        let mut outlooks = self.request.chosen.iter().zip(self.outlooks);
        let (_, outlook) = outlooks.find(|(chosen, _)| chosen.target.key == grant.target.key)?;
        match (outlook, self.preflight.readings.get(&grant.target.key).map(|read| &read.observation)) {
            (Outlook::Cannot(failure), _) => Some(failure.message.clone()),
            (Outlook::NotKnown, Some(Observation::Unavailable(failure))) => Some(failure.to_string()),
            _ => None,
        }
    }

    fn would(&self, grant: &Grant, permission: &Permission) -> Would {
        let read = self.preflight.readings.get(&grant.target.key);
        would(read.map(|read| &read.observation), &grant.target.key.id, permission)
    }

    fn text(&self) -> String {
        let zone = &self.request.context.zone;
        let expires = zone.format(self.session.expires_at);
        let mut text = format!("Would open until {expires}; nothing was recorded or changed:\n");
        for grant in self.session.current() {
            let name = escape_controls(&grant.resource_name);
            if let Some(why) = self.obstacle(grant) {
                text += &format!("  ! {name} {}: {}\n", grant.ip_version(), escape_controls(&why));
                continue;
            }
            for item in &grant.permissions {
                let what = format!("{name} {}", opening(&grant.target.key, &item.permission));
                text += &match self.would(grant, &item.permission) {
                    Would::Open => format!("  + {what}\n"),
                    Would::Keep(rule) => format!("  = {what} ({rule}, eg's)\n"),
                    Would::BeCovered(rule) => format!("  = {what} ({rule}, not eg's: stop will not close it)\n"),
                    Would::NotKnown => format!("  ? {what} (it cannot be read back)\n"),
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
                "region": json::region(&grant.target.key),
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
            "followedName": self.session.followed_name,
            "grants": self.session.current().map(grant).collect::<Vec<_>>(),
        })
    }
}
