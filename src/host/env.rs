//! All input of the program that is neither a file nor a socket: clock, ids, randomness, environment variables, terminal,
//! user and machine. It is collected here once, so that tests can fix all of it.

use crate::host::{
    clock::{Clock, Pause, wall_clock},
    failpoints::{AtCalls, AtWrites, FailpointSettings, Failpoints},
    progress::{Progress, STALL_LIMIT},
    reachability::{Network, Tcp},
};
use chrono::TimeDelta;
use eg_config::policy::PolicyFile;
use eg_model::{Timestamp, ids::machine_fingerprint, net::address::is_globally_routable};
use eg_providers::{
    Connect, Registry,
    aws::{Aws, Options},
};
use eg_state::Watch;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::IsTerminal,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use uuid::Uuid;

/// Names the directory where `aws login` keeps its tokens (AWS SDKs and Tools reference guide, "Login credentials provider").
pub const LOGIN_CACHE: &str = "AWS_LOGIN_CACHE_DIRECTORY";

/// True for a detected address that may be opened.
pub type AddressRule = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

pub type Ids = Arc<dyn Fn() -> Uuid + Send + Sync>;

#[derive(Clone)]
pub struct Env {
    vars: BTreeMap<String, String>,
    /// Variables whose value is not UTF-8: they are set, but cannot be used.
    garbled: BTreeSet<String>,
    clock: Clock,
    /// The source of ids, and of all randomness.
    pub ids: Ids,
    /// The wait before a pass repeats a reading or a throttled call.
    pub pause: Pause,
    /// Connects to hosts behind the firewalls.
    pub network: Arc<dyn Network>,
    /// Set by tests alone.
    pub failpoints: Option<Arc<dyn Failpoints>>,
    /// The progress of this process while it holds the lock of a state file.
    pub progress: Progress,
    /// The watchdog ends a pass that makes no progress for so long.
    pub stall_limit: Duration,
    /// The command line, the program's own name first.
    pub args: Vec<OsString>,
    pub address_rule: AddressRule,
    pub stdin_is_terminal: bool,
    pub stdout_is_terminal: bool,
    /// The width of the terminal, if stdout is one that reports it.
    pub stdout_columns: Option<usize>,
    pub stderr_is_terminal: bool,
    /// This program, as an absolute path.
    pub program: PathBuf,
    pub user: String,
    pub host: String,
    /// A fingerprint of this machine's stable id, if it has one.
    pub machine: Option<String>,
    /// The limits set by the machine's administrator.
    pub policy: PolicyFile,
}

impl Env {
    pub fn from_process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
        let (vars, garbled) = sorted(std::env::vars_os());
        let named = vars.get("EG_MACHINE").cloned().filter(|name| !name.is_empty());
        let machine = named.or_else(|| machine_uid::get().ok()).map(|id| machine_fingerprint(&id));
        Self {
            #[expect(clippy::disallowed_methods, reason = "the one place where the arguments are read")]
            args: std::env::args_os().collect(),
            failpoints: Some(&vars).filter(|_| cfg!(debug_assertions)).and_then(FailpointSettings::by),
            stall_limit: stall_limit(&vars),
            address_rule: address_rule(&vars),
            network: Arc::new(Tcp { names: host_names(&vars) }),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stdout_columns: columns(std::io::stdout().is_terminal()),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("eg")),
            user: whoami::username().unwrap_or_else(|_| "unknown".to_owned()),
            host: whoami::hostname().unwrap_or_else(|_| "unknown".to_owned()),
            machine,
            policy: policy_file(&vars),
            garbled,
            ..Self::apart(vars.clone(), wall_clock(test_offset(&vars)))
        }
    }

    /// An environment with these variables and this clock, and nothing of the process: no arguments, no terminal, no user
    /// name. Ids are random, and waits are real.
    pub fn apart(vars: BTreeMap<String, String>, clock: Clock) -> Self {
        Self {
            vars,
            garbled: BTreeSet::new(),
            clock,
            ids: Arc::new(random_id),
            pause: Arc::new(|wait| Box::pin(tokio::time::sleep(wait))),
            network: Arc::new(Tcp::default()),
            failpoints: None,
            progress: Progress::default(),
            stall_limit: STALL_LIMIT,
            args: Vec::new(),
            address_rule: Arc::new(is_globally_routable),
            stdin_is_terminal: false,
            stdout_is_terminal: false,
            stdout_columns: None,
            stderr_is_terminal: false,
            program: PathBuf::from("eg"),
            user: "unknown".to_owned(),
            host: "unknown".to_owned(),
            machine: None,
            policy: PolicyFile::default(),
        }
    }

    /// The connector to every kind of firewall, made anew for each command and each pass of `--watch`.
    pub fn connect(&self) -> Arc<dyn Connect> {
        Arc::new(Registry::new(self.aws_options()))
    }

    /// The connector to AWS, for what AWS alone has.
    pub fn aws(&self) -> Aws {
        Aws::new(self.aws_options())
    }

    fn aws_options(&self) -> Options {
        let mut options = Options::new(self.clock(), &self.user);
        options.home = self.var("HOME").map(PathBuf::from);
        options.login_cache = self.var(LOGIN_CACHE).map(PathBuf::from);
        options.observer = Arc::new(AtCalls { sentry: self.failpoints.clone(), progress: self.progress.clone() });
        options
    }

    /// The observer of the record's writes: the fail points, if there are any.
    pub fn watch(&self) -> Watch {
        let observe = |failpoints: &Arc<dyn Failpoints>| Watch::by(Arc::new(AtWrites(Arc::clone(failpoints))));
        self.failpoints.as_ref().map(observe).unwrap_or_default()
    }

    /// An environment variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// True if a variable is set to a value that is not UTF-8. If `eg` took it for unset, it would use another file.
    pub fn is_garbled(&self, name: &str) -> bool {
        self.garbled.contains(name)
    }

    /// A variable as it is set, empty included: an empty `TZ` means UTC, an unset one the machine's own zone.
    pub fn var_as_set(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// A variable that names a file of the AWS SDK, as an absolute path; a leading `~` becomes the user's home.
    pub fn aws_file(&self, name: &str) -> Option<String> {
        let given = self.var(name)?;
        let path = Path::new(given);
        let in_home = path.strip_prefix("~").ok().zip(self.var("HOME"));
        let path = in_home.map_or_else(|| path.to_owned(), |(rest, home)| Path::new(home).join(rest));
        Some(self.absolute(&path).to_str().unwrap_or(given).to_owned())
    }

    /// The names of all variables that begin with this prefix.
    pub fn names(&self, prefix: &'static str) -> impl Iterator<Item = &str> {
        self.vars.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }

    /// The wall clock, in whole seconds.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The clock itself, for callers that read it more than once.
    pub fn clock(&self) -> Clock {
        Arc::clone(&self.clock)
    }

    pub fn uuid(&self) -> Uuid {
        (self.ids)()
    }

    /// A random number from 0 up to, but not including, 1: for jitter.
    pub fn random(&self) -> f64 {
        let bits = u32::try_from(self.uuid().as_u128() >> 96).unwrap_or(0);
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }

    /// Eight random hex digits.
    pub fn nonce(&self) -> String {
        format!("{:08x}", self.uuid().as_u128() >> 96)
    }

    pub fn temp_dir(&self) -> PathBuf {
        self.absolute(Path::new(self.var("TMPDIR").unwrap_or("/tmp")))
    }

    /// The absolute path: other processes have other working directories.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }
}

/// The variables, and the names of those whose value is not UTF-8. A name that is not UTF-8 is left out: `eg` knows none.
fn sorted(all: impl Iterator<Item = (OsString, OsString)>) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let mut vars = BTreeMap::new();
    let mut garbled = BTreeSet::new();
    for (name, value) in all.filter_map(|(name, value)| Some((name.into_string().ok()?, value))) {
        match value.into_string() {
            Ok(value) => drop(vars.insert(name, value)),
            Err(_) => drop(garbled.insert(name)),
        }
    }
    (vars, garbled)
}

fn columns(terminal: bool) -> Option<usize> {
    let (columns, _) = terminal.then(ratatui::crossterm::terminal::size)?.ok()?;
    (columns > 0).then_some(columns.into())
}

fn random_id() -> Uuid {
    #[expect(clippy::disallowed_methods, reason = "the one place where ids are drawn")]
    Uuid::new_v4()
}

/// `EG_TEST_CLOCK_OFFSET` (seconds) moves the clock, in debug builds only: end-to-end tests need to see a session
/// expire, and no variable may change the time of a release.
fn test_offset(vars: &BTreeMap<String, String>) -> TimeDelta {
    let offset = vars.get("EG_TEST_CLOCK_OFFSET").filter(|_| cfg!(debug_assertions));
    TimeDelta::seconds(offset.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// `EG_TEST_STALL_LIMIT` (seconds) ends a stalled pass earlier, in debug builds only: tests do not wait for minutes.
fn stall_limit(vars: &BTreeMap<String, String>) -> Duration {
    let limit = vars.get("EG_TEST_STALL_LIMIT").filter(|_| cfg!(debug_assertions));
    limit.and_then(|text| text.parse().ok()).map_or(STALL_LIMIT, Duration::from_secs)
}

/// `EG_TEST_ADDRESSES=documentation` accepts every detected address as routable, in debug builds only: tests use
/// documentation addresses, which a release refuses.
fn address_rule(vars: &BTreeMap<String, String>) -> AddressRule {
    let any = cfg!(debug_assertions) && vars.get("EG_TEST_ADDRESSES").is_some_and(|value| value == "documentation");
    if any { Arc::new(|_| true) } else { Arc::new(is_globally_routable) }
}

/// `EG_TEST_HOSTS` (`name=address name=address`) names hosts, in debug builds only: tests have no DNS of their own.
fn host_names(vars: &BTreeMap<String, String>) -> BTreeMap<String, Vec<IpAddr>> {
    let mut names: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    let set = vars.get("EG_TEST_HOSTS").filter(|_| cfg!(debug_assertions));
    for (name, address) in set.into_iter().flat_map(|text| text.split(' ')).filter_map(|pair| pair.split_once('=')) {
        if let Ok(address) = address.parse() {
            names.entry(name.to_owned()).or_default().push(address);
        }
    }
    names
}

/// `EG_TEST_POLICY` (a path) and `EG_TEST_POLICY_OWNER` (a user id) name another policy, in debug builds only: tests
/// cannot write root's files, and no user of a release may choose the policy.
fn policy_file(vars: &BTreeMap<String, String>) -> PolicyFile {
    let standard = PolicyFile::default();
    let set = |name: &str| vars.get(name).filter(|_| cfg!(debug_assertions));
    PolicyFile {
        path: set("EG_TEST_POLICY").map_or(standard.path, PathBuf::from),
        owner: set("EG_TEST_POLICY_OWNER").and_then(|text| text.parse().ok()).unwrap_or(standard.owner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &[(&str, &str)]) -> Env {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Env::apart(vars, Arc::new(Timestamp::default))
    }

    #[test]
    fn set_to_nothing() {
        let env = env(&[("TZ", ""), ("HOME", "")]);
        assert_eq!((env.var_as_set("TZ"), env.var_as_set("LANG"), env.var("HOME")), (Some(""), None, None));
    }

    #[test]
    fn files_of_the_sdk() {
        let here = env(&[]).absolute(Path::new("."));
        let inside = |path: &str| here.join(path).to_str().unwrap().to_owned();
        for (given, expected) in [
            ("/etc/aws", "/etc/aws".to_owned()),
            ("~/aws", "/home/alice/aws".to_owned()),
            ("aws/config", inside("aws/config")),
            ("~aws/config", inside("~aws/config")),
            ("./~/config", inside("~/config")),
        ] {
            let env = env(&[("AWS_CONFIG_FILE", given), ("HOME", "/home/alice")]);
            assert_eq!(env.aws_file("AWS_CONFIG_FILE"), Some(expected), "{given}");
        }
        assert_eq!(env(&[("AWS_CONFIG_FILE", "")]).aws_file("AWS_CONFIG_FILE"), None);
        assert_eq!(env(&[("AWS_CONFIG_FILE", "~/aws")]).aws_file("AWS_CONFIG_FILE"), Some(inside("~/aws")));
    }

    #[test]
    fn variables_that_are_not_utf_8_are_not_absent() {
        use std::os::unix::ffi::OsStringExt;
        let garbled = || OsString::from_vec(vec![b'/', 0xff]);
        let all = [("EG_STATE".into(), garbled()), (garbled(), "x".into()), ("HOME".into(), "/h".into())];
        let (vars, names) = sorted(all.into_iter());
        assert_eq!(vars, BTreeMap::from([("HOME".to_owned(), "/h".to_owned())]));
        assert_eq!(names, BTreeSet::from(["EG_STATE".to_owned()]));
    }
}
