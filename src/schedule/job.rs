//! The job that runs `eg reconcile` every minute, as data. A scheduler does not pass on the shell's environment, and a
//! reconcile on another record closes nothing: so a job names every path and variable in full.

use crate::{
    error::{CommandError, Kind},
    host::{
        env::{Env, LOGIN_CACHE},
        paths::Located,
    },
};
use eg_model::{ids::short_digest, text::shell_quoted};
use std::path::{Path, PathBuf};

/// The option of `eg reconcile` that names the file with the job's secret variables.
pub const ENV_FILE_OPTION: &str = "--env-file";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheduler {
    /// A timer of the user's systemd.
    Systemd,
    /// A line in the user's crontab.
    Cron,
    /// macOS; printed, not installed.
    Launchd,
}

impl Scheduler {
    /// The word for JSON and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Cron => "cron",
            Self::Launchd => "launchd",
        }
    }
}

/// Variables of today's environment that a scheduled run needs.
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

/// The value of a variable for a run in another directory: relative paths become absolute.
fn kept_value(env: &Env, name: &str) -> Option<String> {
    let absolute = |path: &str| env.absolute(Path::new(path)).to_string_lossy().into_owned();
    match name {
        "AWS_CONFIG_FILE" | "AWS_SHARED_CREDENTIALS_FILE" => env.aws_file(name),
        // The SDK does not expand a leading `~` in these.
        "SSL_CERT_FILE" | LOGIN_CACHE => env.var(name).map(absolute),
        // A list of directories, as in PATH.
        "SSL_CERT_DIR" => {
            let directories = env.var(name)?.split(':').filter(|path| !path.is_empty());
            Some(directories.map(absolute).collect::<Vec<_>>().join(":"))
        }
        _ => env.var(name).map(str::to_owned),
    }
}

/// The command that runs every minute, and its variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Variables without a password: they stand in the scheduler's own text.
    pub env: Vec<(String, String)>,
    /// Variables with a password. The job reads them from a file, because command lines show in the list of processes and
    /// in cron's log.
    pub secrets: Vec<(String, String)>,
    /// The program and its arguments; every path is absolute.
    pub command: Vec<String>,
    /// The state file that it serves.
    pub state: String,
}

impl Job {
    /// The job of one configuration and state.
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

    /// 8 hex digits that differ between the jobs of two state files.
    pub fn id(&self) -> String {
        short_digest(&self.state)
    }

    /// The file of [`Job::secrets`], in the folder of the state file.
    pub fn variables_file(&self) -> PathBuf {
        PathBuf::from(format!("{}.env", self.state))
    }

    /// The program and all its arguments.
    pub fn words(&self) -> Vec<String> {
        let mut words = self.command.clone();
        if !self.secrets.is_empty() {
            words.extend([ENV_FILE_OPTION.to_owned(), self.variables_file().to_string_lossy().into_owned()]);
        }
        words
    }

    /// The command line for a shell.
    pub fn shell(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", shell_quoted(value)));
        env.chain(self.words().iter().map(|word| shell_quoted(word))).collect::<Vec<_>>().join(" ")
    }
}

/// True if a variable is a proxy's URL with user or password, which must not be shown.
fn holds_password(name: &str, value: &str) -> bool {
    // Clients accept a proxy without a scheme too.
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    is_proxy(name) && rest.split('/').next().is_some_and(|authority| authority.contains('@'))
}

/// True for `HTTPS_PROXY` and its like, which hold a proxy's URL; `NO_PROXY` does not.
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
}
