//! `eg resource remove`. No network.

use crate::{
    commands::{context::Context, resource::change_json::change_json},
    error::{CommandError, Exit, Kind},
    ui::warning::Code,
};
use eg_config::{
    edit,
    file::{ConfigError, ConfigFiles, FileChange, Over},
};
use eg_model::{
    session::record::{GrantStatus, Session},
    text::escape_controls,
};
use std::path::Path;

/// Take a resource out of the configuration
///
/// Removes its `[[resource]]` with the comment above it, and leaves the rest of the file as it is. A session keeps what
/// it has opened until it ends, whatever the configuration says: while one uses the resource, this asks for --force.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg resource remove prod-api")]
pub struct ResourceRemoveArgs {
    /// Resource to remove
    name: String,
    /// Also while a session uses it
    #[arg(long)]
    force: bool,
}

pub fn run(context: &Context<'_>, args: &ResourceRemoveArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    let name = &args.name;
    let Some(file) = settings.files.get(name) else {
        let known: Vec<&str> = settings.files.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("no resource is named \"{name}\"; known: {known}");
        return Err(CommandError::new(Kind::NotFound, message));
    };
    let users = users(context, name)?;
    if let (Some(first), false) = (users.first(), args.force) {
        let (short, until) = (first.id.short(), context.zone.format(first.expires_at));
        return Err(CommandError::new(Kind::Refused, format!("session {short} uses {name} until {until}"))
            .hint(format!("stop it first: eg session stop {short}"))
            .hint("or take it out all the same, with --force: the session keeps what it has opened until it ends"));
    }
    take_out(&context.config()?.path, file, name)?;
    let ids: Vec<_> = users.iter().map(|session| session.id).collect();
    context.printer.json(&change_json("removed", name, file, &ids));
    context.printer.result(&format!("✓ Removed {} from {}\n", escape_controls(name), file.display()));
    for session in users {
        let until = context.zone.format(session.expires_at);
        let message = format!("session {} keeps what it has opened there until {until}", session.id.short());
        context.printer.warn(Code::InUse, &message, &[]);
    }
    Ok(Exit::Done)
}

/// The live sessions that have something open on the resource. Fails if the record cannot be read: it may hold some.
fn users(context: &Context<'_>, name: &str) -> Result<Vec<Session>, CommandError> {
    let Some(store) = context.store_for_reading()? else { return Ok(Vec::new()) };
    let is_of_it = |known: &str| known == name || known.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
    let uses = |session: &Session| {
        session.grants.iter().any(|grant| is_of_it(&grant.resource_name) && grant.status != GrantStatus::Removed)
    };
    Ok(store.live_sessions()?.into_iter().filter(uses).collect())
}

fn take_out(main: &Path, file: &Path, name: &str) -> Result<(), CommandError> {
    let failed = |error: String| CommandError::new(Kind::Config, format!("{}: {error}", file.display()));
    let source = ConfigFiles::begin().read(file).map_err(|error| ConfigError::unreadable(file, error))?;
    let text = edit::remove(&source.text, name).map_err(|error| failed(error.to_string()))?;
    let text = text.ok_or_else(|| failed(format!("{name} is no longer there")))?;
    Ok(FileChange { main, file, text: &text, over: Over::Text(&source.text) }.make()?)
}
