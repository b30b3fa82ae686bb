//! Lines that make something else run `eg reconcile`. cron has none of the shell's environment, and a reconcile on
//! another database closes nothing, so such a line names everything in full.

use crate::{env::Env, output::text::shell_quoted, paths::Located};
use chrono::TimeDelta;
use eg_model::Timestamp;
use eg_state::LastRuns;

/// What a scheduled run needs of today's environment.
const KEPT: &[&str] = &[
    "EG_MACHINE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// A scheduler that was not heard of for this long is not there.
const HEARD: TimeDelta = TimeDelta::minutes(15);

/// Whether a `--timer` run or a `--watch` was seen lately.
#[must_use]
pub fn is_scheduled(runs: &LastRuns, now: Timestamp) -> bool {
    runs.scheduled_at.is_some_and(|at| now - at <= HEARD)
}

/// A crontab line that runs `eg reconcile` every minute. In a crontab `%` is a newline, hence `\%`.
#[must_use]
pub fn cron_line(env: &Env, config: &Located, state: &Located) -> String {
    let kept = KEPT.iter().filter_map(|name| env.var(name).map(|value| format!("{name}={} ", shell_quoted(value))));
    let path = |path: &std::path::Path| shell_quoted(&path.to_string_lossy());
    let command = format!(
        "{}{} --config {} --state {} reconcile --timer",
        kept.collect::<String>(),
        path(&env.program),
        path(&config.path),
        path(&state.path),
    );
    format!("* * * * * {}", command.replace('%', r"\%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_minutes_without_a_run_is_not_scheduled() {
        let now: Timestamp = "2026-02-27T10:00:00Z".parse().unwrap();
        let runs = |minutes| LastRuns { scheduled_at: Some(now - TimeDelta::minutes(minutes)), ..LastRuns::default() };
        assert!(is_scheduled(&runs(15), now));
        assert!(!is_scheduled(&runs(16), now));
        assert!(!is_scheduled(&LastRuns::default(), now));
    }
}
