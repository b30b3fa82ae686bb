//! A host in the place of a group, picked in step 3 of `eg init`.

use super::dialog::Dialog;
use crate::{
    error::CommandError,
    targets::host::{HostQuery, find},
    ui::warning::Code,
};
use eg_model::{net::host::Host, target::Target};
use std::collections::BTreeSet;

/// The line under the groups.
pub(super) const OFFER: &str = "a host, as db.example.com:5432: the group in front of it";

/// The user's host. The group in front of it is looked up at each start; now it is only shown, or why there is none.
pub(super) fn ask(dialog: &Dialog<'_>, target: &Target) -> Result<Option<Host>, CommandError> {
    let Some(questions) = &dialog.questions else { return Ok(None) };
    let host: Host = questions.text("Host and port to open (db.example.com:5432)", None, with_port)?;
    let question =
        HostQuery { places: vec![target.regional()], widen: false, configured: BTreeSet::new(), group: None };
    let env = dialog.context.env;
    match dialog.unless_stopped(find(env, env.connect().as_ref(), &host, &question))? {
        Ok(found) => dialog.context.printer.remark(&format!("→ {}", found.in_words())),
        Err(why) => {
            let hints = [why.hints, vec!["each session looks it up again; to leave it out, press Escape".to_owned()]];
            dialog.context.printer.warn(Code::Host, &why.message, &hints.concat());
        }
    }
    Ok(Some(host))
}

fn with_port(text: &str) -> Result<Host, String> {
    let host: Host = text.trim().parse().map_err(|error: eg_model::net::host::HostError| error.to_string())?;
    match host.port() {
        Some(_) => Ok(host),
        None => Err(format!("name its port too, as in {host}:5432")),
    }
}
