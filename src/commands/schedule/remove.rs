//! `eg schedule remove`.

use super::place::{JobPlace, SchedulerArg, warn_of_line_by_hand};
use crate::{
    commands::context::Context,
    error::{CommandError, Exit},
    schedule::{
        install::{self, Installed},
        job::Scheduler,
        launchd,
    },
};
use eg_state::{LastRuns, Store};

/// Take away what `install` put in place
///
/// Nothing closes a session on time then, unless something else runs `eg reconcile`. Without `--with` the job is removed from
/// every scheduler that has it. For launchd it says what to do, and does nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg schedule remove")]
pub struct ScheduleRemoveArgs {
    #[command(flatten)]
    with: SchedulerArg,
}

/// Removes the job from the scheduler that was asked for, or from every one that has it.
pub fn run(context: &Context<'_>, args: &ScheduleRemoveArgs) -> Result<Exit, CommandError> {
    let place = JobPlace::new(context, &args.with)?;
    if place.is_only_printed() {
        let error = install::only_printed(place.scheduler, "remove");
        return Err(launchd::removal(&place.job).into_iter().fold(error, CommandError::hint));
    }
    let mut schedulers = vec![place.scheduler];
    if args.with.scheduler.is_none() {
        schedulers.extend(place.others());
    }
    let removed = remove_from(&place, &schedulers)?;
    let states = schedulers.iter().filter_map(|scheduler| install::installed(context.env, *scheduler, &place.job).ok());
    let installed = states.into_iter().find(|state| *state != Installed::No).unwrap_or(Installed::No);
    place.json(&LastRuns::default(), Some(installed), !removed.is_empty())?;
    context.printer.result(&if removed.is_empty() {
        "Nothing to remove.\n".to_owned()
    } else {
        let names: Vec<&str> = removed.into_iter().map(Scheduler::as_str).collect();
        let closes = if installed == Installed::No { ": nothing closes a session on time now" } else { "" };
        format!("✓ Removed from {}{closes}\n", names.join(" and "))
    });
    if installed != Installed::No {
        warn_of_line_by_hand(context);
    }
    Ok(Exit::Done)
}

/// Removes the job from each of these, and returns those that had it. The first failure is reported after every one was tried.
fn remove_from(place: &JobPlace<'_>, schedulers: &[Scheduler]) -> Result<Vec<Scheduler>, CommandError> {
    let (mut removed, mut failed) = (Vec::new(), None);
    for scheduler in schedulers {
        match install::remove(place.context.env, *scheduler, &place.job) {
            Ok(true) => removed.push(*scheduler),
            Ok(false) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    place.note(!removed.is_empty(), Store::note_schedule_removed);
    Ok(removed)
}
