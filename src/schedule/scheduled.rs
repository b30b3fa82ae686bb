//! The answer to "does something close sessions on time?". The scheduler gives it, not the time of the last run: a laptop
//! that slept all night still has its job, and a machine whose job was removed a minute ago has none.

use crate::schedule::{
    install::{self, Installed, Scheduler},
    job::{Job, is_scheduled},
};
use crate::{
    demo,
    host::{env::Env, paths::Located, watch_lock},
};
use chrono::TimeDelta;
use eg_model::Timestamp;
use eg_state::LastRuns;

/// A job that has not run this long after it was first seen does not work.
const WORKS_WITHIN: TimeDelta = TimeDelta::minutes(15);

/// The thing that closes sessions on time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduled {
    /// The command did not ask.
    #[default]
    NotAsked,
    /// A sandbox ends with its sessions.
    InSandbox,
    Watch,
    Job(Scheduler),
    /// A job is installed, and has never run since this time.
    Idle(Scheduler, Timestamp),
    /// `--timer` runs are seen; `eg` has not installed what makes them.
    Heard,
    No,
}

impl Scheduled {
    /// Asks the schedulers of this machine. `since`: when a job that had not run yet was first seen.
    #[must_use]
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
        judge(watch_lock::is_held(&state.path), job, runs, since, env.now())
    }

    /// True if something closes sessions on time.
    #[must_use]
    pub fn closes(self) -> bool {
        matches!(self, Self::Watch | Self::Job(_) | Self::Heard)
    }
}

/// First match.
///
/// | a watch runs | a job is installed | `--timer` runs | |
/// |---|---|---|---|
/// | yes | any | any | watch |
/// | no | yes | none since it was first seen, 15 minutes ago or earlier | idle |
/// | no | yes, but it runs something else than it would today, or its timer is stopped | none in the last 15 minutes | idle, or no if it never ran |
/// | no | yes | any | job |
/// | no | no, or it cannot be asked | one in the last 15 minutes, since eg's own job was removed | heard |
/// | no | no | else | no |
fn judge(
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
        (Some((scheduler, Installed::Outdated)), None) if !is_scheduled(runs, now) => {
            runs.timer_at.or(since).map_or(Scheduled::No, |at| Scheduled::Idle(scheduler, at))
        }
        (Some((scheduler, _)), None) => Scheduled::Job(scheduler),
        (None, _) if is_scheduled(runs, now) => Scheduled::Heard,
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
                judge(watch, installed, &runs(timer_at), since, now),
                expected,
                "{watch} {timer_at:?} {since:?}"
            );
        }
    }
}
