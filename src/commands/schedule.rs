//! `eg schedule`: what closes sessions on time while no `eg` runs.

use crate::commands::context::Context;
use crate::{
    demo::is_inside,
    error::{CommandError, Exit, Kind},
    schedule::{
        install::{self, Installed, Scheduler},
        job::Job,
        launchd, variables,
    },
    text::escape_controls,
    ui::{json, warning::Code},
};
use eg_model::Timestamp;
use eg_state::{LastRuns, StateError, Store};
use serde_json::json;
use std::path::Path;

/// Where systemd notes whose services run without a login (loginctl(1), `enable-linger`).
const LINGER: &str = "/var/lib/systemd/linger";

/// Show what runs `eg reconcile` regularly, and what `install` would put in place
///
/// For the configuration and state file in use; every path and variable that the job needs is in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg schedule show --with launchd")]
pub struct ShowArgs {
    #[command(flatten)]
    with: With,
}

/// Have `eg reconcile` run every minute: a systemd user timer where there is one, else a line in the crontab
///
/// Doing it again changes nothing, or brings an older job up to date where it is. With another scheduler (`--with`) the job
/// moves there. Other lines of the crontab stay as they are. For launchd the text is printed, to be installed by hand.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Example: eg schedule install")]
pub struct InstallArgs {
    #[command(flatten)]
    with: With,
}

/// Take away what `install` put in place
///
/// Nothing closes a session on time then, unless something else runs `eg reconcile`. Without `--with` the job is removed from
/// every scheduler that has it. For launchd it says what to do, and does nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg schedule remove")]
pub struct ScheduleRemoveArgs {
    #[command(flatten)]
    with: With,
}

#[derive(Debug, Default, clap::Args)]
struct With {
    /// Which scheduler [default: the one that has the job, else what this machine has]
    #[arg(long, value_name = "SCHEDULER", value_enum)]
    with: Option<Scheduler>,
}

impl With {
    /// The scheduler that was asked for, else the one that has the job, else the one of this machine.
    fn scheduler(&self, context: &Context<'_>, job: &Job) -> Result<Scheduler, CommandError> {
        let nothing = || {
            CommandError::new(Kind::Schedule, "this machine has neither a systemd user manager nor a crontab command")
                .hint("keep this running instead: eg reconcile --watch")
                .hint("or see what a scheduler takes: eg schedule show --with systemd|cron|launchd")
        };
        let has_it = || install::find(context.env, job).map(|(scheduler, _)| scheduler);
        self.with.or_else(has_it).or_else(install::scheduler).ok_or_else(nothing)
    }
}

/// Shows what there is.
///
/// # Errors
/// There is no scheduler, or no place for what it takes.
pub fn show(context: &Context<'_>, args: &ShowArgs) -> Result<Exit, CommandError> {
    let place = JobPlace::new(context, &args.with)?;
    place.check()?;
    let installed = place.installed();
    let runs = context.store_for_reading()?.map(|store| store.last_runs()).transpose()?.unwrap_or_default();
    place.json(&runs, installed, false)?;
    let name = place.scheduler.as_str();
    let at = runs.scheduled_at.map(|at| context.zone.format(at));
    let seen = match at {
        Some(at) => format!("Last scheduled run: {at}\n"),
        None => "Never run.\n".to_owned(),
    };
    let state = match installed {
        Some(Installed::Current) => format!("Installed with {name}:\n"),
        Some(Installed::Outdated) => {
            format!("Installed with {name}, but not as it would be today (eg schedule install):\n")
        }
        Some(Installed::No) if place.only_printed() => format!("eg cannot install {name} jobs; do it yourself with:\n"),
        Some(Installed::No) => format!("Not installed. eg schedule install would add to {}:\n", place.where_to()),
        None => format!("Whether it is installed with {name} is not known; this would be:\n"),
    };
    context.printer.result(&format!("{seen}{state}\n"));
    place.print()?;
    Ok(Exit::Done)
}

/// Installs the job.
///
/// # Errors
/// There is no configuration to run it with and nothing to close, no scheduler, or it refuses.
pub fn install(context: &Context<'_>, args: &InstallArgs) -> Result<Exit, CommandError> {
    if is_inside(context.env, &context.state.path) {
        let message = "this is a sandbox: a job would outlive it, and fail every minute";
        return Err(
            CommandError::new(Kind::Refused, message).hint("install it outside of the sandbox, for your own state")
        );
    }
    if let Err(error) = configured(context) {
        // Closing takes the record alone.
        if !something_to_close(context)? {
            return Err(error);
        }
        let message = format!("{}; what is on record is closed all the same, and nothing is opened", error.message);
        context.printer.warn(Code::Error(error.kind.as_str()), &message, &error.hints);
    }
    let place = JobPlace::new(context, &args.with)?;
    if place.only_printed() {
        return place.by_hand();
    }
    let changed = install::install(context.env, place.scheduler, &place.job)?;
    // One job is enough. The new one is in place before the old one goes.
    let left = place.leave_others();
    note(context, changed, Store::note_schedule);
    let installed = install::installed(context.env, place.scheduler, &place.job)?;
    place.json(&LastRuns::default(), Some(installed), changed || !left.is_empty())?;
    let name = place.scheduler.as_str();
    context.printer.result(&if changed {
        format!("✓ Installed with {name}: `eg reconcile` runs every minute\n")
    } else {
        let nothing = if left.is_empty() { "; nothing was changed" } else { "" };
        format!("✓ Installed with {name} already{nothing}\n")
    });
    for other in left {
        context.printer.result(&format!("✓ Removed from {}: one job is enough\n", other.as_str()));
    }
    place.hint_at_linger();
    Ok(Exit::Done)
}

/// Whether this machine has a scheduler that `install` can use, and our job is not there yet.
pub(super) fn can_install(context: &Context<'_>) -> bool {
    let place = JobPlace::new(context, &With::default());
    let state = place.map(|place| (place.only_printed(), install::installed(context.env, place.scheduler, &place.job)));
    matches!(state, Ok((false, Ok(Installed::No | Installed::Outdated))))
}

/// Notes in an existing record that the job was installed or removed: later commands tell from it if the job works. The job
/// is in place all the same if the note cannot be written.
fn note(context: &Context<'_>, changed: bool, what: fn(&mut Store, Timestamp) -> Result<(), StateError>) {
    if !changed || !context.state.path.exists() {
        return;
    }
    let noted = context.store().and_then(|mut store| Ok(what(&mut store, context.env.now())?));
    if let Err(error) = noted {
        tracing::info!("the record does not know of it: {error}");
    }
}

/// Whether there is something that may be opened.
fn configured(context: &Context<'_>) -> Result<(), CommandError> {
    if context.settings()?.names_no_target() {
        return Err(context.no_resources("eg schedule install"));
    }
    Ok(())
}

fn something_to_close(context: &Context<'_>) -> Result<bool, CommandError> {
    let Some(store) = context.store_for_reading()? else { return Ok(false) };
    let sessions = !store.live_sessions()?.is_empty() || !store.unfinished_sessions()?.is_empty();
    Ok(sessions || !store.open_leases()?.is_empty())
}

/// Removes the job.
///
/// # Errors
/// There is no scheduler, it refuses, or is one for which `eg` only prints.
pub fn remove(context: &Context<'_>, args: &ScheduleRemoveArgs) -> Result<Exit, CommandError> {
    let place = JobPlace::new(context, &args.with)?;
    if place.only_printed() {
        return Err(place.removed_by_hand());
    }
    let others: Vec<Scheduler> = if args.with.with.is_some() { Vec::new() } else { place.others().collect() };
    let all = || [place.scheduler].into_iter().chain(others.iter().copied());
    let (mut removed, mut failed) = (Vec::new(), None);
    for scheduler in all() {
        match install::remove(context.env, scheduler, &place.job) {
            Ok(true) => removed.push(scheduler),
            Ok(false) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    note(context, !removed.is_empty() && failed.is_none(), Store::note_schedule_removed);
    if let Some(error) = failed {
        return Err(error);
    }
    let left = all().filter_map(|scheduler| install::installed(context.env, scheduler, &place.job).ok());
    let installed = left.into_iter().find(|how| *how != Installed::No).unwrap_or(Installed::No);
    place.json(&LastRuns::default(), Some(installed), !removed.is_empty())?;
    context.printer.result(&if removed.is_empty() {
        "Nothing to remove.\n".to_owned()
    } else {
        let names: Vec<&str> = removed.into_iter().map(Scheduler::as_str).collect();
        let closes = if installed == Installed::No { ": nothing closes a session on time now" } else { "" };
        format!("✓ Removed from {}{closes}\n", names.join(" and "))
    });
    if installed != Installed::No {
        warn_by_hand(context);
    }
    Ok(Exit::Done)
}

/// Warns of a line of the crontab that `eg` has not written.
fn warn_by_hand(context: &Context<'_>) {
    let hint = "edit it yourself: crontab -e".to_owned();
    let message = "a line that somebody wrote by hand still runs it; eg leaves that alone";
    context.printer.warn(Code::Schedule, message, &[hint]);
}

/// A job and who is to run it.
struct JobPlace<'a> {
    context: &'a Context<'a>,
    scheduler: Scheduler,
    job: Job,
}

impl<'a> JobPlace<'a> {
    fn new(context: &'a Context<'a>, with: &With) -> Result<Self, CommandError> {
        let job = Job::new(context.env, context.config()?, &context.state)?;
        Ok(Self { context, scheduler: with.scheduler(context, &job)?, job })
    }

    fn only_printed(&self) -> bool {
        self.scheduler == Scheduler::Launchd
    }

    /// The other schedulers that hold something of this job.
    fn others(&self) -> impl Iterator<Item = Scheduler> {
        let others = [Scheduler::Systemd, Scheduler::Cron].into_iter().filter(|other| *other != self.scheduler);
        others.filter(|other| install::holds(self.context.env, *other, &self.job))
    }

    /// Removes the job from every other scheduler, and says from which. What cannot be removed is told, and is no reason to
    /// call the job that is in place not installed.
    fn leave_others(&self) -> Vec<Scheduler> {
        let mut left = Vec::new();
        for other in self.others() {
            match install::remove(self.context.env, other, &self.job) {
                Ok(true) => left.push(other),
                Ok(false) => {}
                Err(error) => {
                    let message = format!("the job is in {} too, and cannot be removed: {error}", other.as_str());
                    self.context.printer.warn(Code::Schedule, &message, &[]);
                    continue;
                }
            }
            if install::holds(self.context.env, other, &self.job) {
                warn_by_hand(self.context);
            }
        }
        left
    }

    fn where_to(&self) -> &'static str {
        match self.scheduler {
            Scheduler::Cron => "your crontab",
            Scheduler::Systemd => "your systemd user units",
            Scheduler::Launchd => self.scheduler.as_str(),
        }
    }

    fn print(&self) -> Result<(), CommandError> {
        for (path, text) in install::text(self.context.env, self.scheduler, &self.job)? {
            if let Some(path) = path {
                self.context.printer.result(&format!("# {}\n", path.display()));
            }
            self.context.printer.result(&format!("{text}\n"));
        }
        if self.reads_a_file() {
            let (file, names) = (self.job.variables_file(), &self.job.secrets);
            let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
            let who = if self.only_printed() {
                "Make that file by hand"
            } else {
                "`eg schedule install` writes that file; by hand"
            };
            self.context.printer.result(&format!(
                "It reads {}, which may hold a password, from {} (mode 0600). {who}:\n{}\n",
                names.join(", "),
                escape_controls(&file.to_string_lossy()),
                escape_controls(&variables::by_hand(&self.job)),
            ));
        }
        Ok(())
    }

    /// Whether the job reads variables with a password from a file of their own.
    fn reads_a_file(&self) -> bool {
        !self.job.secrets.is_empty()
    }

    /// Refuses to show what could not be installed as it is shown.
    fn check(&self) -> Result<(), CommandError> {
        if self.only_printed() { Ok(()) } else { self.job.check_carried(self.scheduler) }
    }

    /// Printed, not installed: what was asked is not in place.
    fn by_hand(&self) -> Result<Exit, CommandError> {
        self.json(&LastRuns::default(), Some(Installed::No), false)?;
        self.print()?;
        let error = install::only_printed(self.scheduler, "install");
        Err(launchd::steps(&self.job).into_iter().fold(error, CommandError::hint))
    }

    /// What was installed by hand is removed by hand; whether it is there was not asked.
    fn removed_by_hand(&self) -> CommandError {
        let error = install::only_printed(self.scheduler, "remove");
        launchd::removal(&self.job).into_iter().fold(error, CommandError::hint)
    }

    /// How the job stands. Where that cannot be found out, what would be installed is still worth showing: it is what
    /// somebody installs by hand then.
    fn installed(&self) -> Option<Installed> {
        match install::installed(self.context.env, self.scheduler, &self.job) {
            Ok(installed) => Some(installed),
            Err(error) => {
                self.context.printer.warn(Code::Schedule, &error.message, &[]);
                None
            }
        }
    }

    /// A user's timers stop when the user logs out, unless told otherwise.
    fn hint_at_linger(&self) {
        if self.scheduler == Scheduler::Systemd && !Path::new(LINGER).join(&self.context.env.user).exists() {
            self.context.printer.progress("hint: it runs while you are logged in; for always: loginctl enable-linger");
        }
    }

    fn json(&self, runs: &LastRuns, installed: Option<Installed>, changed: bool) -> Result<(), CommandError> {
        let parts = install::text(self.context.env, self.scheduler, &self.job)?;
        let part = |(path, text): &(Option<std::path::PathBuf>, String)| json!({"path": path.as_ref().map(|path| path.to_string_lossy()), "text": text});
        self.context.printer.json(&json!({
            "scheduler": self.scheduler.as_str(),
            "installed": installed.map(|how| how != Installed::No),
            "current": installed.map(|how| how == Installed::Current),
            "changed": changed,
            "lastRunAt": runs.scheduled_at.map(json::time),
            "variablesFile": self.reads_a_file().then(|| self.job.variables_file().to_string_lossy().into_owned()),
            "parts": parts.iter().map(part).collect::<Vec<_>>(),
        }));
        Ok(())
    }
}
