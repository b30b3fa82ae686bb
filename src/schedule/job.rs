//! What makes something else run `eg reconcile` every minute. A scheduler has none of the shell's environment, and a
//! reconcile on another database closes nothing, so a job names everything in full.
//!
//! | file | what |
//! |---|---|
//! | `crontab` | a crontab with or without our line; every other line stays as it is |
//! | `systemd` | a user's service and timer |
//! | `launchd` | launchd: text to install by hand |
//! | `variables` | the file of the variables that hold a password |
//! | `host` | what this machine has, asked through `crontab` and `systemctl` |
//! | `scheduled` | the scheduler's answer: what closes sessions on time |

use crate::schedule::install::Scheduler;
use crate::{
    error::{CommandError, Kind},
    host::{
        env::{Env, LOGIN_CACHE},
        paths::Located,
    },
    text::shell_quoted,
};
use chrono::TimeDelta;
use eg_model::{Timestamp, ids::short_digest};
use eg_state::LastRuns;
use std::path::{Path, PathBuf};

/// What a scheduled run needs of today's environment.
const KEPT: &[&str] = &[
    "EG_MACHINE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    LOGIN_CACHE,
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// The value that a variable has for a run that stands in another directory.
fn kept_value(env: &Env, name: &str) -> Option<String> {
    let absolute = |path: &str| env.absolute(Path::new(path)).to_string_lossy().into_owned();
    match name {
        "AWS_CONFIG_FILE" | "AWS_SHARED_CREDENTIALS_FILE" => env.aws_file(name),
        // The SDK takes a home at the beginning of these as it is written.
        "SSL_CERT_FILE" | LOGIN_CACHE => env.var(name).map(absolute),
        // Several, as in PATH.
        "SSL_CERT_DIR" => {
            let directories = env.var(name)?.split(':').filter(|path| !path.is_empty());
            Some(directories.map(absolute).collect::<Vec<_>>().join(":"))
        }
        _ => env.var(name).map(str::to_owned),
    }
}

/// A scheduler that was not heard of for this long is not there.
const HEARD: TimeDelta = TimeDelta::minutes(15);

/// True if a `--timer` run of any scheduler was seen lately. A run of a job that was removed since does not count.
#[must_use]
pub fn is_scheduled(runs: &LastRuns, now: Timestamp) -> bool {
    runs.timer_at.is_some_and(|at| now - at <= HEARD)
}

/// What is to be run, every minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Variables that it needs, of those that are set now, and that anybody may see.
    pub env: Vec<(String, String)>,
    /// Those that hold a password. A command line shows in the list of processes and in the log of cron, so the job reads
    /// them from a file.
    pub secrets: Vec<(String, String)>,
    /// The program and its arguments; every path is absolute.
    pub command: Vec<String>,
    /// The state file that it serves.
    pub state: String,
}

impl Job {
    /// The job of one configuration and state.
    ///
    /// # Errors
    /// A path is not UTF-8, and no scheduler is sure to give it back as it is.
    pub fn new(env: &Env, config: &Located, state: &Located) -> Result<Self, CommandError> {
        let text = |path: &Path| {
            let message = || format!("{} cannot be named in a scheduled job: it is not UTF-8", path.display());
            path.to_str().map(str::to_owned).ok_or_else(|| {
                CommandError::new(Kind::Schedule, message())
                    .hint("rename it, or keep this running: eg reconcile --watch")
            })
        };
        let (program, config, state) = (text(&env.program)?, text(&config.path)?, text(&state.path)?);
        let kept = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), kept_value(env, name)?)));
        let (secrets, plain) = kept.partition(|(name, value)| holds_password(name, value));
        let words = [&program, "--config", &config, "--state", &state, "reconcile", "--timer"];
        Ok(Self { env: plain, secrets, command: words.map(str::to_owned).to_vec(), state })
    }

    /// Tells the jobs of two state files apart: 8 hex digits.
    #[must_use]
    pub fn id(&self) -> String {
        short_digest(&self.state)
    }

    /// The file of the variables that hold a password, beside the state.
    #[must_use]
    pub fn variables_file(&self) -> PathBuf {
        PathBuf::from(format!("{}.env", self.state))
    }

    /// The program and all its arguments.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = self.command.clone();
        if !self.secrets.is_empty() {
            words.extend([
                crate::schedule::variables::OPTION.to_owned(),
                self.variables_file().to_string_lossy().into_owned(),
            ]);
        }
        words
    }

    /// As a shell takes it.
    #[must_use]
    pub fn shell(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", shell_quoted(value)));
        env.chain(self.words().iter().map(|word| shell_quoted(word))).collect::<Vec<_>>().join(" ")
    }

    /// Refuses what a scheduler would not give back as it is.
    ///
    /// # Errors
    /// It holds such a character.
    pub fn check_carried(&self, scheduler: Scheduler) -> Result<(), CommandError> {
        let texts = || self.env.iter().chain(&self.secrets).map(|(_, value)| value).chain(&self.command);
        let why = if texts().any(|text| text.contains(['\n', '\r'])) {
            "a line break"
        } else if texts().any(|text| text.contains(char::is_control)) {
            "a control character"
        } else if scheduler == Scheduler::Cron && crate::schedule::crontab::line(self).contains(r"\\") {
            r"a \ before a \ or a %, which some versions of cron take for one character"
        } else {
            return Ok(());
        };
        let message = format!("a path or a variable of the job holds {why}");
        Err(CommandError::new(Kind::Schedule, format!("not installed with {}: {message}", scheduler.as_str()))
            .hint("rename it, or keep this running instead: eg reconcile --watch"))
    }
}

/// Whether a variable holds a password, as a proxy's URL may: nothing to show unasked.
fn holds_password(name: &str, value: &str) -> bool {
    // Clients take a proxy without a scheme too.
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    is_proxy(name) && rest.split('/').next().is_some_and(|authority| authority.contains('@'))
}

/// Whether a variable holds a proxy's address.
pub fn is_proxy(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("_proxy") && name != "no_proxy"
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Paths and values that every scheduler has to quote.
    pub(crate) fn awkward() -> Job {
        let command =
            ["/opt/my eg/eg", "--config", "/c%d/it's.toml", "--state", "/s/$x \"q\".db", "reconcile", "--timer"];
        Job {
            env: vec![("HTTPS_PROXY".into(), "http://proxy:3128/%40?a&b<c>".into())],
            secrets: Vec::new(),
            command: command.map(str::to_owned).to_vec(),
            state: "/s/$x \"q\".db".into(),
        }
    }

    #[test]
    fn passwords_of_proxies() {
        let holds = |value: &str| holds_password("https_proxy", value);
        assert!(holds("http://u@p:1") && holds("socks5://u:p@h") && holds("http://u:p%40@proxy:3128/?a&b<c>"));
        assert!(holds("u:p@proxy:3128") && holds("u:p@proxy/?a") && holds_password("ALL_PROXY", "u:p@h"));
        assert!(!holds("http://proxy:3128/?a@b") && !holds("proxy:3128/a@b") && !holds("proxy:3128") && !holds(""));
        for (name, value) in [("NO_PROXY", "localhost,a@b"), ("no_proxy", "a@b"), ("EG_MACHINE", "alice@desk")] {
            assert!(!holds_password(name, value), "{name}");
        }
    }

    #[test]
    fn passwords_stay_out_of_the_command() {
        let job = Job { secrets: vec![("HTTPS_PROXY".into(), "http://u:secret@p:1".into())], ..awkward() };
        assert!(job.shell().ends_with(" reconcile --timer --env-file '/s/$x \"q\".db.env'"), "{}", job.shell());
        assert!(!job.shell().contains("secret") && !awkward().shell().contains("--env-file"));
    }

    #[test]
    fn what_schedulers_cannot_carry() {
        let with = |path: &str| Job { command: vec!["/eg".into(), path.into()], ..awkward() };
        for scheduler in [Scheduler::Cron, Scheduler::Systemd] {
            awkward().check_carried(scheduler).unwrap();
            with(r"/a\b/it's é 漢").check_carried(scheduler).unwrap();
            for (path, why) in [("/a\nb", "line break"), ("/a\rb", "line break"), ("/a\u{1b}b", "control character")] {
                let error = with(path).check_carried(scheduler).unwrap_err();
                assert!(error.message.contains(why), "{error}");
            }
        }
        for path in [r"/a\\b", r"/a\%b"] {
            with(path).check_carried(Scheduler::Systemd).unwrap();
            let error = with(path).check_carried(Scheduler::Cron).unwrap_err();
            assert!(error.message.contains("some versions of cron"), "{error}");
        }
        let value = Job { env: vec![("NO_PROXY".into(), "a\rb".into())], ..awkward() };
        assert!(value.check_carried(Scheduler::Systemd).is_err());
    }

    #[test]
    fn fifteen_minutes_without_a_run_is_not_scheduled() {
        let now: Timestamp = "2026-02-27T10:00:00Z".parse().unwrap();
        let runs = |minutes| LastRuns { timer_at: Some(now - TimeDelta::minutes(minutes)), ..LastRuns::default() };
        assert!(is_scheduled(&runs(15), now));
        assert!(!is_scheduled(&runs(16), now));
        assert!(!is_scheduled(&LastRuns::default(), now));
    }
}
