//! `eg schedule install`.

use super::place::{JobPlace, SchedulerArg, warn_of_line_by_hand};
use crate::{
    commands::context::Context,
    demo::is_inside,
    error::{CommandError, Exit, Kind},
    schedule::{
        install::{self, Installed},
        job::Scheduler,
        launchd,
    },
    ui::warning::Code,
};
use eg_state::{LastRuns, Store};
use std::path::Path;

/// systemd notes here whose services run without a login (loginctl(1), `enable-linger`).
const LINGER: &str = "/var/lib/systemd/linger";

/// Have `eg reconcile` run every minute: a systemd user timer where there is one, else a line in the crontab
///
/// Doing it again changes nothing, or brings an older job up to date where it is. With another scheduler (`--with`) the job
/// moves there. Other lines of the crontab stay as they are. For launchd the text is printed, to be installed by hand.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Example: eg schedule install")]
pub struct InstallArgs {
    #[command(flatten)]
    with: SchedulerArg,
}

/// Installs the job with one scheduler, and removes it from the others.
pub fn run(context: &Context<'_>, args: &InstallArgs) -> Result<Exit, CommandError> {
    check_worthwhile(context)?;
    let place = JobPlace::new(context, &args.with)?;
    if place.is_only_printed() {
        return Err(by_hand(&place)?);
    }
    let changed = install::install(context.env, place.scheduler, &place.job)?;
    // The new job is in place before the old one goes.
    let removed = remove_from_others(&place);
    place.note(changed, Store::note_schedule);
    let installed = place.installed()?;
    place.json(&LastRuns::default(), Some(installed), changed || !removed.is_empty())?;
    let name = place.scheduler.as_str();
    context.printer.result(&if changed {
        format!("✓ Installed with {name}: `eg reconcile` runs every minute\n")
    } else {
        let nothing = if removed.is_empty() { "; nothing was changed" } else { "" };
        format!("✓ Installed with {name} already{nothing}\n")
    });
    for other in removed {
        context.printer.result(&format!("✓ Removed from {}: one job is enough\n", other.as_str()));
    }
    hint_at_linger(&place);
    Ok(Exit::Done)
}

/// True if this machine has a scheduler that `install` can use, and the job is not in it yet or outdated.
pub fn can_install(context: &Context<'_>) -> bool {
    JobPlace::new(context, &SchedulerArg::default()).is_ok_and(|place| {
        !place.is_only_printed() && matches!(place.installed(), Ok(Installed::No | Installed::Outdated))
    })
}

/// Refuses in a sandbox, and if there is nothing to open and nothing to close.
fn check_worthwhile(context: &Context<'_>) -> Result<(), CommandError> {
    if is_inside(context.env, &context.state.path) {
        let message = "this is a sandbox: a job would outlive it, and fail every minute";
        return Err(
            CommandError::new(Kind::Refused, message).hint("install it outside of the sandbox, for your own state")
        );
    }
    if let Err(error) = has_resources(context) {
        // Closing needs only the record.
        if !has_something_to_close(context)? {
            return Err(error);
        }
        let message = format!("{}; what is on record is closed all the same, and nothing is opened", error.message);
        context.printer.warn(Code::Error(error.kind.as_str()), &message, &error.hints);
    }
    Ok(())
}

fn has_resources(context: &Context<'_>) -> Result<(), CommandError> {
    if context.settings()?.names_no_target() {
        return Err(context.no_resources("eg schedule install"));
    }
    Ok(())
}

fn has_something_to_close(context: &Context<'_>) -> Result<bool, CommandError> {
    let Some(store) = context.store_for_reading()? else { return Ok(false) };
    let sessions = !store.live_sessions()?.is_empty() || !store.unfinished_sessions()?.is_empty();
    Ok(sessions || !store.open_leases()?.is_empty())
}

/// Prints the text for the user to install. The result is an error all the same: the job is not in place.
fn by_hand(place: &JobPlace<'_>) -> Result<CommandError, CommandError> {
    place.json(&LastRuns::default(), Some(Installed::No), false)?;
    place.print()?;
    let error = install::only_printed(place.scheduler, "install");
    Ok(launchd::steps(&place.job).into_iter().fold(error, CommandError::hint))
}

/// Removes the job from every other scheduler, and returns those that had it. A failure is only a warning: the new job is in
/// place.
fn remove_from_others(place: &JobPlace<'_>) -> Vec<Scheduler> {
    let mut removed = Vec::new();
    for other in place.others() {
        match install::remove(place.context.env, other, &place.job) {
            Ok(true) => removed.push(other),
            Ok(false) => {}
            Err(error) => {
                let message = format!("the job is in {} too, and cannot be removed: {error}", other.as_str());
                place.context.printer.warn(Code::Schedule, &message, &[]);
                continue;
            }
        }
        if install::holds(place.context.env, other, &place.job) {
            warn_of_line_by_hand(place.context);
        }
    }
    removed
}

/// A user's timers stop at logout, unless the user lingers.
fn hint_at_linger(place: &JobPlace<'_>) {
    if place.scheduler == Scheduler::Systemd && !Path::new(LINGER).join(&place.context.env.user).exists() {
        place.context.printer.progress("hint: it runs while you are logged in; for always: loginctl enable-linger");
    }
}
