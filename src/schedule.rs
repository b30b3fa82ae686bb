//! What makes something else run `eg reconcile` every minute. A scheduler has none of the shell's environment, and a
//! reconcile on another database closes nothing, so a job names everything in full.
//!
//! | file | what |
//! |---|---|
//! | `crontab` | a crontab with or without our line; every other line stays as it is |
//! | `systemd` | a user's service and timer |
//! | `printed` | launchd and the Task Scheduler: text to install by hand |
//! | `host` | what this machine has, asked through `crontab` and `systemctl` |

pub mod crontab;
pub mod host;
pub mod printed;
pub mod systemd;

use crate::{
    env::{Env, LOGIN_CACHE},
    output::text::shell_quoted,
    paths::Located,
};
use chrono::TimeDelta;
use eg_model::{Timestamp, ids::short_digest};
use eg_state::LastRuns;

/// What a scheduled run needs of today's environment.
const KEPT: &[&str] = &[
    "EG_MACHINE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    LOGIN_CACHE,
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Those of them that name files: the run stands in another directory.
const FILES: &[&str] = &["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"];

/// A scheduler that was not heard of for this long is not there.
const HEARD: TimeDelta = TimeDelta::minutes(15);

/// Whether a `--timer` run or a `--watch` was seen lately.
#[must_use]
pub fn is_scheduled(runs: &LastRuns, now: Timestamp) -> bool {
    runs.scheduled_at.is_some_and(|at| now - at <= HEARD)
}

/// What is to be run, every minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Variables that it needs, of those that are set now.
    pub env: Vec<(String, String)>,
    /// The program and its arguments; every path is absolute.
    pub command: Vec<String>,
    /// The state file that it serves.
    pub state: String,
}

impl Job {
    /// The job of one configuration and state.
    #[must_use]
    pub fn new(env: &Env, config: &Located, state: &Located) -> Self {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let (config, state) = (text(&config.path), text(&state.path));
        let value = |name: &str| match name {
            // The SDK takes a home at its beginning as it is written.
            LOGIN_CACHE => env.var(name).map(|given| text(&env.absolute(given.as_ref()))),
            name if FILES.contains(&name) => env.aws_file(name),
            name => env.var(name).map(str::to_owned),
        };
        let kept = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?)));
        let words = [&text(&env.program), "--config", &config, "--state", &state, "reconcile", "--timer"];
        Self { env: kept.collect(), command: words.map(str::to_owned).to_vec(), state }
    }

    /// Tells the jobs of two state files apart: 8 hex digits.
    #[must_use]
    pub fn id(&self) -> String {
        short_digest(&self.state)
    }

    /// Whether a variable holds a password, as a proxy's URL may: nothing to show unasked.
    #[must_use]
    pub fn holds_password(&self) -> bool {
        // Clients take a proxy without a scheme too.
        let names_user = |value: &str| {
            let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
            rest.split('/').next().is_some_and(|authority| authority.contains('@'))
        };
        self.env.iter().any(|(name, value)| is_proxy(name) && names_user(value))
    }

    /// As a shell takes it.
    #[must_use]
    pub fn shell(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", shell_quoted(value)));
        let words = self.command.iter().map(|word| shell_quoted(word));
        env.chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// Whether a variable holds a proxy's address.
fn is_proxy(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("_proxy") && name != "no_proxy"
}

/// How somebody gets the crontab line that runs `eg reconcile` every minute: the line itself, or, where a password would
/// end up in a log or on a screen, what shows it.
#[must_use]
pub fn cron_hint(env: &Env, config: &Located, state: &Located) -> String {
    let job = Job::new(env, config, state);
    if job.holds_password() {
        return "or see what your crontab needs, with the password of your proxy: eg schedule show --with cron"
            .to_owned();
    }
    format!("or add a line to your crontab (crontab -e): {}", crontab::line(&job))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Paths and values that every scheduler has to quote.
    pub(crate) fn awkward() -> Job {
        let command =
            ["/opt/my eg/eg", "--config", "/c%d/it's.toml", "--state", "/s/$x \"q\".db", "reconcile", "--timer"];
        Job {
            env: vec![("HTTPS_PROXY".into(), "http://u:p%40@proxy:3128/?a&b<c>".into())],
            command: command.map(str::to_owned).to_vec(),
            state: "/s/$x \"q\".db".into(),
        }
    }

    #[test]
    fn passwords_of_proxies() {
        let named = |name: &str, value: &str| Job { env: vec![(name.into(), value.into())], ..awkward() };
        let holds = |value: &str| named("https_proxy", value).holds_password();
        assert!(awkward().holds_password() && holds("http://u@p:1") && holds("socks5://u:p@h"));
        assert!(holds("u:p@proxy:3128") && holds("u:p@proxy/?a") && named("ALL_PROXY", "u:p@h").holds_password());
        assert!(!holds("http://proxy:3128/?a@b") && !holds("proxy:3128/a@b") && !holds("proxy:3128") && !holds(""));
        for (name, value) in [("NO_PROXY", "localhost,a@b"), ("no_proxy", "a@b"), ("EG_MACHINE", "alice@desk")] {
            assert!(!named(name, value).holds_password(), "{name}");
        }
    }

    #[test]
    fn fifteen_minutes_without_a_run_is_not_scheduled() {
        let now: Timestamp = "2026-02-27T10:00:00Z".parse().unwrap();
        let runs = |minutes| LastRuns { scheduled_at: Some(now - TimeDelta::minutes(minutes)), ..LastRuns::default() };
        assert!(is_scheduled(&runs(15), now));
        assert!(!is_scheduled(&runs(16), now));
        assert!(!is_scheduled(&LastRuns::default(), now));
    }
}
