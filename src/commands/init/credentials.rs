//! Step 1 of `eg init`: the AWS profile, and the check that its credentials work.

use super::dialog::Dialog;
use crate::{
    commands::resource::discover::any_group_in,
    error::{CommandError, Kind},
    ui::prompt::Unanswered,
};
use eg_model::text::{escape_controls, shell_quoted};
use eg_providers::aws::Profile;

/// A profile's name; `None`: the credentials that the SDK finds without a profile.
pub(super) type Credentials = Option<String>;

/// The credentials, if there is no choice: those of the option, those that the SDK prefers to all others, or the only ones.
pub(super) fn known(dialog: &Dialog<'_>, option: Option<&str>) -> Result<Option<Credentials>, CommandError> {
    let names: Vec<&str> = dialog.profiles.iter().map(|profile| profile.name.as_str()).collect();
    let keys = dialog.has_environment_keys();
    let named = option.or_else(|| dialog.context.env.var("AWS_PROFILE").filter(|_| !keys));
    match (named, names.as_slice()) {
        (Some(name), known) if known.contains(&name) => Ok(Some(Some(name.to_owned()))),
        (Some(name), known) => {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(CommandError::new(Kind::Usage, format!("there is no AWS profile \"{name}\"; known: {known}")))
        }
        (None, []) => Ok(Some(None)),
        (None, _) if keys => Ok(Some(None).filter(|_: &Credentials| dialog.questions.is_none())),
        (None, [only]) => Ok(Some(Some((*only).to_owned()))),
        (None, _) => Ok(None),
    }
}

/// The credentials that are known, else those that the user picks.
pub(super) fn choose(dialog: &Dialog<'_>, option: Option<&str>) -> Result<Credentials, CommandError> {
    if let Some(known) = known(dialog, option)? {
        if let Some(name) = &known {
            dialog.context.printer.progress(&format!("→ AWS profile {}", escape_controls(name)));
        }
        return Ok(known);
    }
    let questions = dialog.questions.as_ref().ok_or(Unanswered::Left)?;
    let shown = |profile: &Profile| match &profile.region {
        Some(region) => format!("{} ({region})", profile.name),
        None => profile.name.clone(),
    };
    let mut options: Vec<String> = dialog.profiles.iter().map(shown).collect();
    if dialog.has_environment_keys() {
        options.push("none: the keys in this shell's environment (a scheduled job does not have them)".to_owned());
    }
    let chosen = questions.one_of("AWS profile", &options)?;
    Ok(dialog.profiles.get(chosen).map(|profile| profile.name.clone()))
}

/// Asks AWS who is calling.
pub(super) fn check(dialog: &Dialog<'_>, profile: &Credentials, region: &str) -> Result<(), CommandError> {
    let context = dialog.context;
    context.printer.progress("→ Checking credentials...");
    let target = any_group_in(context, profile.clone(), region);
    let caller = async { context.env.connect().connect(&target).await?.caller().await };
    let caller = dialog.unless_stopped(caller)?.map_err(|failure| {
        let option = profile.as_ref().map(|name| format!(" --profile {}", shell_quoted(name))).unwrap_or_default();
        CommandError::from(failure).hint(format!("check with: aws sts get-caller-identity{option}"))
    })?;
    context.printer.progress(&format!("  {}", escape_controls(&caller.arn)));
    Ok(())
}
