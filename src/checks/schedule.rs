//! The job that closes sessions, as `eg doctor` and `eg status` tell of it.

use crate::{
    checks::finding::{Finding, Level},
    schedule::{job::Scheduler, scheduled::Scheduled},
};
use eg_model::Timestamp;

/// The state of the job that closes sessions.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobState {
    pub scheduled: Scheduled,
    /// The scheduler whose job is not as it would be installed today, or whose timer is stopped.
    pub outdated: Option<Scheduler>,
    /// The last run of a job or a watch.
    pub last_run: Option<Timestamp>,
    /// What closes rules on time too: a missing job is only a warning then.
    pub besides: Option<&'static str>,
}

/// The finding about the job.
pub fn schedule(job: &JobState, shown: impl Fn(Timestamp) -> String) -> Finding {
    match (scheduler(job, shown), job.besides) {
        (Finding { level: Level::Bad, message, advice, .. }, Some(closer)) => {
            let (what, _) = message.split_once(": ").unwrap_or((&message, ""));
            let message = format!("{what}: only {closer} closes rules on time");
            Finding { advice, ..Finding::warning("schedule", message, "") }
        }
        (finding, _) => finding,
    }
}

/// The first match counts: a job that does not run is worse than an outdated one.
fn scheduler(job: &JobState, shown: impl Fn(Timestamp) -> String) -> Finding {
    let check = "schedule";
    let last = job.last_run.map(|at| format!("the last run was {}", shown(at)));
    let update = "bring it up to date: eg schedule install";
    let outdated =
        |scheduler: Scheduler| format!("the job in {} is not as it would be installed today", scheduler.as_str());
    match (job.scheduled, job.outdated) {
        (Scheduled::InSandbox, _) => Finding::good(check, "not needed in the sandbox"),
        (Scheduled::Idle(_, since), Some(scheduler)) => {
            Finding::bad(check, format!("{}, and it has not run since {}", outdated(scheduler), shown(since)), update)
        }
        (Scheduled::Idle(scheduler, since), None) => Finding::bad(
            check,
            format!("installed with {}, but it has not run since {}", scheduler.as_str(), shown(since)),
            match scheduler {
                Scheduler::Systemd => "see: systemctl --user list-timers; without a login: loginctl enable-linger",
                _ => "is the cron service running? systemctl status cron",
            },
        ),
        (Scheduled::No, Some(scheduler)) => {
            Finding::bad(check, format!("{}, and it has never run", outdated(scheduler)), update)
        }
        (Scheduled::No | Scheduled::NotAsked, None) => Finding::bad(
            check,
            "nothing runs `eg reconcile`: a session is not closed on time",
            "run: eg schedule install",
        ),
        (_, Some(scheduler)) => Finding::warning(check, outdated(scheduler), update),
        (Scheduled::Watch, None) => {
            Finding::good(check, format!("eg reconcile --watch runs; {}", last.as_deref().unwrap_or("no run yet")))
        }
        (Scheduled::Job(scheduler), None) => match last {
            Some(last) => Finding::good(check, format!("installed with {}; {last}", scheduler.as_str())),
            None => Finding::warning(
                check,
                format!("installed with {}, and it has not run yet", scheduler.as_str()),
                "wait a minute, then: eg doctor",
            ),
        },
        (Scheduled::Heard, None) => Finding::good(check, last.unwrap_or_else(|| "runs regularly".to_owned())),
    }
}

/// The line of `eg status` about the job. `shown` writes a time; `last_run` is the last run of a job or a watch.
pub fn status_line(scheduled: Scheduled, last_run: Option<Timestamp>, shown: impl Fn(Timestamp) -> String) -> String {
    let last = last_run.map_or_else(|| "no run yet".to_owned(), |at| format!("last run {}", shown(at)));
    match scheduled {
        Scheduled::Job(scheduler) => format!("yes, with {}; {last}", scheduler.as_str()),
        Scheduled::Watch => format!("yes, by eg reconcile --watch; {last}"),
        Scheduled::Heard => format!("yes, {last}"),
        Scheduled::Idle(scheduler, since) => {
            let (name, since) = (scheduler.as_str(), shown(since));
            format!("installed with {name}, but it has not run since {since} (see: eg doctor)")
        }
        Scheduled::InSandbox => "not needed in the sandbox".to_owned(),
        Scheduled::No | Scheduled::NotAsked => {
            "not installed: sessions will not close when they expire (run: eg schedule install)".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        let at = |minute: u32| format!("2026-02-27T10:{minute:02}:00Z").parse::<Timestamp>().unwrap();
        let cron = Scheduler::Cron;
        for (scheduled, outdated, last_run, level, words) in [
            (Scheduled::InSandbox, None, None, Level::Good, "not needed in the sandbox"),
            (Scheduled::Watch, None, Some(0), Level::Good, "eg reconcile --watch runs; the last run was 10:00"),
            (Scheduled::Watch, None, None, Level::Good, "eg reconcile --watch runs; no run yet"),
            (Scheduled::Watch, Some(cron), Some(0), Level::Warning, "not as it would be installed today"),
            (Scheduled::Job(cron), None, Some(0), Level::Good, "installed with cron; the last run was 10:00"),
            (Scheduled::Job(cron), None, None, Level::Warning, "it has not run yet"),
            (Scheduled::Job(cron), Some(cron), Some(0), Level::Warning, "not as it would be installed today"),
            (Scheduled::Idle(cron, at(7)), None, Some(0), Level::Bad, "but it has not run since 10:07"),
            (Scheduled::Idle(cron, at(7)), Some(cron), None, Level::Bad, "today, and it has not run since 10:07"),
            (Scheduled::Heard, None, Some(0), Level::Good, "the last run was 10:00"),
            (Scheduled::No, Some(cron), None, Level::Bad, "today, and it has never run"),
            (Scheduled::No, None, Some(0), Level::Bad, "nothing runs `eg reconcile`"),
        ] {
            let job = JobState { scheduled, outdated, last_run: last_run.map(at), besides: None };
            let shown = |at: Timestamp| at.format("%H:%M").to_string();
            let found = schedule(&job, shown);
            assert_eq!(found.level, level, "{job:?}: {found:?}");
            assert!(found.message.contains(words), "{job:?}: {found:?}");
            // With cloud expiry a missing schedule is no reason not to open.
            let also = schedule(&JobState { besides: Some("cloud expiry"), ..job }, shown);
            let expected = if level == Level::Bad { Level::Warning } else { level };
            assert_eq!((also.level, also.advice), (expected, found.advice), "{job:?}");
        }
    }
}
