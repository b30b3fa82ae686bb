//! Step 5 of `eg init`: shows the configuration, writes it, and offers to install the job that closes sessions.

use super::{backup::backup, dialog::Dialog, ports::Picked};
use crate::{
    commands::schedule,
    error::{CommandError, Kind},
    ui::{prompt::Unanswered, warning::Code},
};
use eg_config::{
    edit::{self, NewResource},
    file::{FileChange, Over},
};
use eg_model::{
    net::{host::Host, permission::PortSpec},
    text::escape_controls,
};
use eg_providers::kinds;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const HEAD: &str = "# Created by eg init. All settings: eg man config, or docs/configuration.md\n";

/// The configuration's text. A resource is named for its group, with the id if two groups have the same name, or for its host.
pub(super) fn text(
    picked: &[Picked<'_>],
    host: Option<&Host>,
    profile: Option<&str>,
    region: &str,
) -> Result<String, CommandError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for Picked { group, .. } in picked {
        *counts.entry(group.name.as_str()).or_default() += 1;
    }
    let entry = |name: String, target: Vec<(&'static str, String)>, ports: &[PortSpec]| NewResource {
        name,
        target,
        region: Some(region.to_owned()),
        profile: profile.map(str::to_owned),
        ports: ports.iter().map(ToString::to_string).collect(),
        ..NewResource::default()
    };
    let of_group = |Picked { group, ports }: &Picked<'_>| {
        let name = match counts.get(group.name.as_str()) {
            Some(1) if !group.name.is_empty() => group.name.clone(),
            _ => format!("{} {}", group.name, group.id).trim().to_owned(),
        };
        // The first kind is that of a section without the key.
        let is_first = kinds().next() == Some(group.kind);
        let kind = (!is_first).then(|| group.kind.name.to_owned());
        NewResource { kind, ..entry(name, group.kind.target_of(&group.id), ports) }
    };
    let of_host = host.map(|host| entry(host.name().to_owned(), vec![("host", host.to_string())], &[]));
    picked.iter().map(of_group).chain(of_host).try_fold(HEAD.to_owned(), |text, entry| {
        edit::add(&text, &entry).map_err(|error| CommandError::new(Kind::Config, error.to_string()))
    })
}

/// Shows the text, and asks for consent unless `--yes` gives it.
pub(super) fn confirm(dialog: &Dialog<'_>, path: &Path, text: &str, yes: bool) -> Result<(), CommandError> {
    let shown: Vec<String> = text.lines().map(escape_controls).collect();
    let shown = format!("\n{}\n", shown.join("\n"));
    let Some(questions) = dialog.questions.as_ref().filter(|_| !yes) else {
        dialog.context.printer.progress(&shown);
        return Ok(());
    };
    // Even with --quiet: the user has to see the text to consent to it.
    dialog.context.printer.remark(&shown);
    if questions.agreed(&format!("Write this to {}?", path.display()))? { Ok(()) } else { Err(Unanswered::Left.into()) }
}

/// Writes the file. With `force` a file that is there is kept as a backup, whose path is the result. `before`: the text of that
/// file when the command began; a file that has changed since is not replaced.
pub(super) fn write(
    path: &Path,
    text: &str,
    before: Option<&str>,
    force: bool,
) -> Result<Option<PathBuf>, CommandError> {
    let over = match before {
        Some(before) => Over::Text(before),
        None if force => Over::Anything,
        None => Over::Nothing,
    };
    let backup = if force { backup(path)? } else { None };
    if let Err(error) = (FileChange { main: path, file: path, text, over }).make() {
        // The file is still in its place, so the backup is superfluous.
        backup.iter().for_each(|kept| {
            fs::remove_file(kept).ok();
        });
        return Err(error.into());
    }
    Ok(backup)
}

/// Warns of keys in the environment: a scheduled job does not have them.
pub(super) fn warn_of_environment_keys(dialog: &Dialog<'_>) {
    let hint = "use a profile, so that a scheduled `eg reconcile` can close sessions: eg init --force --profile P";
    let message = "the credentials are those of this shell's environment alone";
    dialog.context.printer.warn(Code::Credentials, message, &[hint.to_owned()]);
}

/// Offers to install the job that closes sessions, if there is a user to ask and this machine can run one. True if it is
/// installed now. The configuration is written, so a failure here is only a warning.
pub(super) fn offer_schedule(dialog: &Dialog<'_>, yes: bool) -> bool {
    let context = dialog.context;
    let Some(questions) = dialog.questions.as_ref().filter(|_| !yes) else { return false };
    if !schedule::install::can_install(context) {
        return false;
    }
    // A user who leaves at this question has a configuration all the same.
    let wanted = questions.agreed("Install the job that closes sessions when they expire (eg schedule install)?");
    wanted.unwrap_or(false)
        && schedule::install::run(context, &schedule::install::InstallArgs::default())
            .inspect_err(|error| context.printer.warn(Code::Error(error.kind.as_str()), &error.message, &error.hints))
            .is_ok()
}
