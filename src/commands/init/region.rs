//! Step 2 of `eg init`: the region.

use super::dialog::Dialog;
use crate::{
    commands::resource::discover::any_group_in,
    error::{CommandError, Kind},
    ui::prompt::Unanswered,
};

/// The region of the option, else that of the environment, else that of the profile: the AWS command line's order.
pub(super) fn known(dialog: &Dialog<'_>, option: Option<&str>, profile: Option<&str>) -> Option<String> {
    let usual = || dialog.usual_region(&any_group_in(dialog.context, profile.map(str::to_owned), "").route);
    option.map(str::to_owned).or_else(usual)
}

/// The user's answer, to which `known` is the proposal; without a question, `known`.
pub(super) fn choose(dialog: &Dialog<'_>, option: Option<&str>, known: Option<String>) -> Result<String, CommandError> {
    match dialog.questions.as_ref().filter(|_| option.is_none()) {
        Some(questions) => Ok(questions.text("Region", known.as_deref(), valid)?),
        None => Ok(known.ok_or(Unanswered::Left)?),
    }
}

pub(super) fn check(region: &str) -> Result<(), CommandError> {
    valid(region).map(drop).map_err(|error| CommandError::new(Kind::Usage, error))
}

fn valid(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(text.to_owned()) } else { Err(format!("\"{text}\" is not a region; one is eu-west-1")) }
}
