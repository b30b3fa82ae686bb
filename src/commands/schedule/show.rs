//! `eg schedule show`.

use super::place::{JobPlace, SchedulerArg};
use crate::{
    commands::context::Context,
    error::{CommandError, Exit},
    schedule::install::{Installed, check_carried},
    ui::warning::Code,
};

/// Show what runs `eg reconcile` regularly, and what `install` would put in place
///
/// For the configuration and state file in use. The text names every path and variable that the job needs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg schedule show --with launchd")]
pub struct ShowArgs {
    #[command(flatten)]
    with: SchedulerArg,
}

/// Shows the state of the job and the text that a scheduler takes.
pub fn run(context: &Context<'_>, args: &ShowArgs) -> Result<Exit, CommandError> {
    let place = JobPlace::new(context, &args.with)?;
    if !place.is_only_printed() {
        // A text that could not be installed must not be shown as if it could.
        check_carried(&place.job, place.scheduler)?;
    }
    let installed = installed(&place);
    let runs = context.store_for_reading()?.map(|store| store.last_runs()).transpose()?.unwrap_or_default();
    place.json(&runs, installed, false)?;
    let last_run = match runs.scheduled_at {
        Some(at) => format!("Last scheduled run: {}\n", context.zone.format(at)),
        None => "Never run.\n".to_owned(),
    };
    context.printer.result(&format!("{last_run}{}\n", heading(&place, installed)));
    place.print()?;
    Ok(Exit::Done)
}

/// The state of the job. If the scheduler does not answer, its text is still worth showing: the user may install it by hand.
fn installed(place: &JobPlace<'_>) -> Option<Installed> {
    let warn = |error: &CommandError| place.context.printer.warn(Code::Schedule, &error.message, &[]);
    place.installed().inspect_err(warn).ok()
}

fn heading(place: &JobPlace<'_>, installed: Option<Installed>) -> String {
    let name = place.scheduler.as_str();
    match installed {
        Some(Installed::Current) => format!("Installed with {name}:\n"),
        Some(Installed::Outdated) => {
            format!("Installed with {name}, but not as it would be today (eg schedule install):\n")
        }
        Some(Installed::No) if place.is_only_printed() => {
            format!("eg cannot install {name} jobs; do it yourself with:\n")
        }
        Some(Installed::No) => {
            format!("Not installed. eg schedule install would add to {}:\n", place.where_to())
        }
        None => format!("Whether it is installed with {name} is not known; this would be:\n"),
    }
}
