//! The answer to "does something close sessions on time?". It comes from the scheduler rather than from the time of the
//! last run: a laptop that slept all night still has its job, and a job that was removed a minute ago has a recent run.

use crate::{
    demo,
    host::{env::Env, paths::Located, watch_lock},
    schedule::{
        install::{self, Installed},
        job::{Job, Scheduler},
    },
};
use chrono::TimeDelta;
use eg_model::Timestamp;
use eg_state::LastRuns;

/// A job that has not run this long after it was first seen does not work.
const WORKS_WITHIN: TimeDelta = TimeDelta::minutes(15);

/// A `--timer` run older than this proves nothing about a scheduler.
const HEARD: TimeDelta = TimeDelta::minutes(15);

/// True if a `--timer` run of any scheduler was seen lately. A run of a job that was removed since does not count.
fn was_heard(runs: &LastRuns, now: Timestamp) -> bool {
    runs.timer_at.is_some_and(|at| now - at <= HEARD)
}

/// The thing that closes sessions on time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduled {
    /// The command did not ask.
    #[default]
    NotAsked,
    /// Nothing has to close there: a sandbox ends with its sessions.
    InSandbox,
    Watch,
    Job(Scheduler),
    /// A job is installed, but has not run since this time.
    Idle(Scheduler, Timestamp),
    /// `--timer` runs were seen, of a job that `eg` did not install.
    Heard,
    No,
}

impl Scheduled {
    /// Asks the schedulers of this machine. `since`: when a job that had not run yet was first seen.
    pub fn ask(
        env: &Env,
        config: Option<&Located>,
        state: &Located,
        runs: &LastRuns,
        since: Option<Timestamp>,
    ) -> Self {
        if demo::is_inside(env, &state.path) {
            return Self::InSandbox;
        }
        let job = config.and_then(|config| install::find(env, &Job::new(env, config, state).ok()?));
        evaluate(watch_lock::is_held(&state.path), job, runs, since, env.now())
    }

    /// True if something closes sessions on time.
    pub fn closes(self) -> bool {
        matches!(self, Self::Watch | Self::Job(_) | Self::Heard)
    }
}

/// The first row that matches:
///
/// | a watch runs | a job is installed | `--timer` runs | |
/// |---|---|---|---|
/// | yes | any | any | watch |
/// | no | yes | none since the job was first seen, 15 minutes ago or earlier | idle |
/// | no | yes, but outdated, or its timer is stopped | none in the last 15 minutes | idle, or no if it never ran |
/// | no | yes | any | job |
/// | no | no, or the scheduler does not answer | one in the last 15 minutes, since eg's own job was removed | heard |
/// | no | no | else | no |
fn evaluate(
    watch: bool,
    job: Option<(Scheduler, Installed)>,
    runs: &LastRuns,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Scheduled {
    let idle = since.filter(|since| runs.timer_at.is_none_or(|at| at < *since) && now - *since >= WORKS_WITHIN);
    match (job, idle) {
        _ if watch => Scheduled::Watch,
        (Some((scheduler, _)), Some(since)) => Scheduled::Idle(scheduler, since),
        (Some((scheduler, Installed::Outdated)), None) if !was_heard(runs, now) => {
            runs.timer_at.or(since).map_or(Scheduled::No, |at| Scheduled::Idle(scheduler, at))
        }
        (Some((scheduler, _)), None) => Scheduled::Job(scheduler),
        (None, _) if was_heard(runs, now) => Scheduled::Heard,
        (None, _) => Scheduled::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_its_rows() {
        let now: Timestamp = "2026-02-27T10:00:00Z".parse().unwrap();
        let ago = |minutes| Some(now - TimeDelta::minutes(minutes));
        let runs = |timer_at| LastRuns { timer_at, ..LastRuns::default() };
        let cron = Some((Scheduler::Cron, Installed::Current));
        let outdated = Some((Scheduler::Cron, Installed::Outdated));
        let job = Scheduled::Job(Scheduler::Cron);
        for (watch, installed, timer_at, since, expected) in [
            (true, cron, None, ago(600), Scheduled::Watch),
            (false, cron, None, None, job),
            (false, cron, None, ago(14), job),
            (false, cron, None, ago(15), Scheduled::Idle(Scheduler::Cron, now - TimeDelta::minutes(15))),
            (false, cron, ago(30), ago(20), Scheduled::Idle(Scheduler::Cron, now - TimeDelta::minutes(20))),
            // A night's sleep.
            (false, cron, ago(600), ago(700), job),
            // What the job runs may be gone, or its timer was stopped.
            (false, outdated, ago(14), ago(700), job),
            (false, outdated, ago(600), ago(700), Scheduled::Idle(Scheduler::Cron, now - TimeDelta::minutes(600))),
            (false, outdated, None, None, Scheduled::No),
            (false, None, ago(14), None, Scheduled::Heard),
            (false, None, ago(16), None, Scheduled::No),
            (false, None, None, ago(600), Scheduled::No),
        ] {
            assert_eq!(
                evaluate(watch, installed, &runs(timer_at), since, now),
                expected,
                "{watch} {timer_at:?} {since:?}"
            );
        }
    }

    #[test]
    fn fifteen_minutes_without_a_run_is_not_scheduled() {
        let now: Timestamp = "2026-02-27T10:00:00Z".parse().unwrap();
        let runs = |minutes| LastRuns { timer_at: Some(now - TimeDelta::minutes(minutes)), ..LastRuns::default() };
        assert!(was_heard(&runs(15), now));
        assert!(!was_heard(&runs(16), now));
        assert!(!was_heard(&LastRuns::default(), now));
    }
}
