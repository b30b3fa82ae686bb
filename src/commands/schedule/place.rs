//! The job with its scheduler: the choice of the scheduler, and what `show`, `install` and `remove` print in common.

use crate::{
    commands::context::Context,
    error::{CommandError, Kind},
    schedule::{
        install::{self, Installed},
        job::{Job, Scheduler},
        variables,
    },
    ui::{json, warning::Code},
};
use eg_model::{Timestamp, text::escape_controls};
use eg_state::{LastRuns, StateError, Store};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Default, clap::Args)]
pub(super) struct SchedulerArg {
    /// Which scheduler [default: the one that has the job, else what this machine has]
    #[arg(id = "with", long = "with", value_name = "SCHEDULER", value_enum)]
    pub(super) scheduler: Option<Scheduler>,
}

/// A job and the scheduler that is to run it.
pub(super) struct JobPlace<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) scheduler: Scheduler,
    pub(super) job: Job,
}

impl<'a> JobPlace<'a> {
    /// With the scheduler that was asked for, else the one that has the job, else the one of this machine.
    pub(super) fn new(context: &'a Context<'a>, asked: &SchedulerArg) -> Result<Self, CommandError> {
        let job = Job::new(context.env, context.config()?, &context.state)?;
        let has_it = || install::find(context.env, &job).map(|(scheduler, _)| scheduler);
        let scheduler = asked.scheduler.or_else(has_it).or_else(install::scheduler).ok_or_else(|| {
            CommandError::new(Kind::Schedule, "this machine has neither a systemd user manager nor a crontab command")
                .hint("keep this running instead: eg reconcile --watch")
                .hint("or see what a scheduler takes: eg schedule show --with systemd|cron|launchd")
        })?;
        Ok(Self { context, scheduler, job })
    }

    /// True for a scheduler whose text `eg` prints and the user installs.
    pub(super) fn is_only_printed(&self) -> bool {
        self.scheduler == Scheduler::Launchd
    }

    pub(super) fn installed(&self) -> Result<Installed, CommandError> {
        install::installed(self.context.env, self.scheduler, &self.job)
    }

    /// The other schedulers that hold some part of this job.
    pub(super) fn others(&self) -> impl Iterator<Item = Scheduler> {
        let others = [Scheduler::Systemd, Scheduler::Cron].into_iter().filter(|other| *other != self.scheduler);
        others.filter(|other| install::holds(self.context.env, *other, &self.job))
    }

    pub(super) fn where_to(&self) -> &'static str {
        match self.scheduler {
            Scheduler::Cron => "your crontab",
            Scheduler::Systemd => "your systemd user units",
            Scheduler::Launchd => self.scheduler.as_str(),
        }
    }

    /// Notes in an existing record that the job was installed or removed, from which later commands tell if the job works. A
    /// note that cannot be written does not undo the job.
    pub(super) fn note(&self, changed: bool, note: fn(&mut Store, Timestamp) -> Result<(), StateError>) {
        if !changed || !self.context.state.path.exists() {
            return;
        }
        let noted = self.context.store().and_then(|mut store| Ok(note(&mut store, self.context.env.now())?));
        if let Err(error) = noted {
            tracing::info!("the record does not know of it: {error}");
        }
    }

    /// Prints the scheduler's text, and how to make the file that it reads.
    pub(super) fn print(&self) -> Result<(), CommandError> {
        for (path, text) in install::text(self.context.env, self.scheduler, &self.job)? {
            if let Some(path) = path {
                self.context.printer.result(&format!("# {}\n", path.display()));
            }
            self.context.printer.result(&format!("{text}\n"));
        }
        if let Some(file) = self.secrets_file() {
            let names: Vec<&str> = self.job.secrets.iter().map(|(name, _)| name.as_str()).collect();
            let who = if self.is_only_printed() {
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

    pub(super) fn json(
        &self,
        runs: &LastRuns,
        installed: Option<Installed>,
        changed: bool,
    ) -> Result<(), CommandError> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let parts = install::text(self.context.env, self.scheduler, &self.job)?;
        let parts = parts.iter().map(|(file, text)| json!({"path": file.as_ref().map(path), "text": text}));
        self.context.printer.json(&json!({
            "scheduler": self.scheduler.as_str(),
            "installed": installed.map(|state| state != Installed::No),
            "current": installed.map(|state| state == Installed::Current),
            "changed": changed,
            "lastRunAt": runs.scheduled_at.map(json::time),
            "variablesFile": self.secrets_file().as_ref().map(path),
            "parts": parts.collect::<Vec<_>>(),
        }));
        Ok(())
    }

    /// The file of the job's passwords, if it has any.
    fn secrets_file(&self) -> Option<PathBuf> {
        (!self.job.secrets.is_empty()).then(|| self.job.variables_file())
    }
}

/// Warns of a crontab line that `eg` has not written, and therefore does not remove.
pub(super) fn warn_of_line_by_hand(context: &Context<'_>) {
    let message = "a crontab line that was written by hand still runs it; eg leaves that alone";
    context.printer.warn(Code::Schedule, message, &["edit it yourself: crontab -e".to_owned()]);
}
