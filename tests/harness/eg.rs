//! The real binary, in an environment that holds nothing of the machine that runs the tests.

use super::{
    Shared,
    moto::{Call, Moto},
    terminal::OnTerminal,
};
use regex::{Captures, Regex};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Read,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, LazyLock, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A run that takes longer is killed, and the test fails. Far more than any machine needs, twelve at once included.
const PATIENCE: Duration = Duration::from_secs(180);

/// One machine's (or user's) `eg`: a home, a configuration and a state of its own.
#[derive(Debug)]
pub struct Installation {
    shared: Arc<Shared>,
    machine: String,
    home: PathBuf,
}

impl Installation {
    pub fn new(shared: Arc<Shared>, machine: &str) -> Self {
        let home = shared.dir.path().join(machine);
        fs::create_dir_all(home.join("tmp")).expect("a home");
        Self { shared, machine: machine.to_owned(), home }
    }

    /// Its home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its default configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.home.join("config/eg/config.toml")
    }

    /// Its default state file.
    pub fn state_path(&self) -> PathBuf {
        self.home.join("state/eg/state.db")
    }

    /// Replaces its configuration.
    pub fn write_config(&self, text: &str) -> PathBuf {
        let path = self.config_path();
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, text).expect("a configuration file");
        path
    }

    /// Runs `eg` to its end.
    pub fn eg(&self, args: &[&str]) -> Outcome {
        self.command(args).run()
    }

    /// `eg`, about to run; its environment can still be changed.
    pub fn command(&self, args: &[&str]) -> EgCommand {
        let mut words = self.shared.inside.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_eg")]);
        let mut command = Command::new(words.next().expect("eg at least"));
        command.args(words);
        let offset = self.shared.clock.load(Ordering::SeqCst) + self.shared.skew.load(Ordering::SeqCst);
        let inside = |name: &str| self.home.join(name);
        command
            .args(args)
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("USER", "alice")
            .env("LOGNAME", "alice")
            .env("HOME", &self.home)
            .env("TMPDIR", inside("tmp"))
            .env("XDG_CONFIG_HOME", inside("config"))
            .env("XDG_STATE_HOME", inside("state"))
            .env("XDG_DATA_HOME", inside("data"))
            .env("XDG_CACHE_HOME", inside("cache"))
            .env("XDG_RUNTIME_DIR", inside("run"))
            .env("AWS_ACCESS_KEY_ID", Moto::access_key(&self.shared.account, "ENV"))
            .env("AWS_SECRET_ACCESS_KEY", "testing")
            .env("AWS_ENDPOINT_URL", &self.shared.endpoint)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("EG_MACHINE", &self.machine)
            .env("EG_TEST_CLOCK_OFFSET", offset.to_string())
            .env("EG_TEST_ADDRESSES", "documentation")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        EgCommand { command, shared: Arc::clone(&self.shared) }
    }

    /// Writes `~/.aws/config` with profiles: name and the variant of its access key.
    pub fn write_profiles(&self, profiles: &[(&str, &str)]) {
        let mut text = String::new();
        for (name, variant) in profiles {
            let key = Moto::access_key(&self.shared.account, variant);
            text += &format!("[profile {name}]\naws_access_key_id = {key}\naws_secret_access_key = testing\n\n");
        }
        fs::create_dir_all(self.home.join(".aws")).expect("a directory");
        fs::write(self.home.join(".aws/config"), text).expect("profiles");
    }
}

/// `eg`, about to run.
#[derive(Debug)]
pub struct EgCommand {
    command: Command,
    shared: Arc<Shared>,
}

impl EgCommand {
    /// Sets a variable.
    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Adds an argument, which need not be text.
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Takes a variable away.
    pub fn without(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    /// Takes away what cron would not have of the shell's AWS environment.
    pub fn like_cron(mut self) -> Self {
        for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED"] {
            self = self.without(key);
        }
        for key in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
            self = self.without(key);
        }
        self
    }

    /// The same on a terminal of its own, which `keys` are typed on: each once the text before it has appeared. What the
    /// terminal shows comes as stdout.
    pub fn on_a_terminal(self, keys: &[(&str, &str)]) -> Outcome {
        let mut command = self.command;
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm");
        }
        let left = OnTerminal::run(&command, 40, 120, keys).wait();
        let status = ExitStatus::from_raw(left.code.expect("it ends by itself") << 8);
        let stdout = String::from_utf8_lossy(&left.bytes).into_owned();
        Outcome { stdout, stderr: String::new(), status, shared: self.shared }
    }

    /// Starts it and comes back.
    pub fn spawn(mut self) -> Running {
        let mut child = self.command.spawn().expect("eg starts");
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        Running { child, stdout, stderr, shared: self.shared }
    }

    /// Starts it with a stdout whose reader has gone, as `| head -0` does.
    pub fn spawn_with_closed_stdout(mut self) -> Running {
        let mut child = self.command.spawn().expect("eg starts");
        drop(child.stdout.take());
        let stderr = child.stderr.take().map(collect);
        Running { child, stdout: None, stderr, shared: self.shared }
    }

    /// Starts it with a stdout that goes to a file, to be read while it runs.
    pub fn spawn_into(mut self, file: &Path) -> Running {
        self.command.stdout(fs::File::create(file).expect("a file"));
        self.spawn()
    }

    /// The same surroundings for a line of bash.
    pub fn in_bash(self, line: &str) -> Self {
        let mut bash = Command::new("bash");
        bash.args(["-c", line]).env_clear();
        bash.envs(self.command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        bash.current_dir(self.command.get_current_dir().expect("a directory"));
        bash.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command: bash, shared: self.shared }
    }

    /// Starts it on a terminal of this size.
    pub fn on_terminal(self, rows: u16, columns: u16) -> OnTerminal {
        OnTerminal::run(&self.command, rows, columns, &[])
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }
}

/// A running `eg`; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    shared: Arc<Shared>,
}

impl Running {
    /// Sends a signal by name: `INT`, `TERM`, `HUP`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "could not send {name}");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether its main thread waits in the kernel inside a function of such a name; anywhere where that is not told.
    pub fn sleeps_in(&self, function: &str) -> bool {
        let wait = fs::read_to_string(format!("/proc/{0}/task/{0}/wchan", self.pid())).unwrap_or_default();
        wait.is_empty() || wait == "0" || wait.contains(function)
    }

    /// Waits until the log of [`Moto`] holds a call that `wanted` accepts.
    pub fn wait_for_call(&self, wanted: impl Fn(&Call) -> bool) {
        let begin = Instant::now();
        while !Moto::shared().calls(&self.shared.account).iter().any(&wanted) {
            assert!(begin.elapsed() < PATIENCE, "the call never came");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the process has heard of the signals that it was sent, and sleeps again: while a call of its is
    /// held, it writes to the record, and then has nothing else to do.
    pub fn hears(&self) {
        let path = format!("/proc/{}/status", self.child.id());
        let heard = |status: &str| {
            let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
            let pending = ["SigPnd:", "ShdPnd:"].iter().any(|name| value(name).contains(|digit| digit != '0'));
            !pending && value("State:").starts_with('S')
        };
        let begin = Instant::now();
        let mut times = 0;
        while times < 3 {
            assert!(begin.elapsed() < PATIENCE, "it does not come to rest");
            thread::sleep(Duration::from_millis(20));
            match fs::read_to_string(&path) {
                Ok(status) if heard(&status) => times += 1,
                Ok(_) => times = 0,
                // Another system than Linux.
                Err(_) => return thread::sleep(Duration::from_secs(1)),
            }
        }
    }

    /// Waits until a call of this action has come to a [`super::Fault::hold`] or [`super::Fault::delay`].
    pub fn wait_for_delayed(&self, action: &str) {
        let begin = Instant::now();
        while !Moto::shared().delayed(&self.shared.account).iter().any(|delayed| delayed == action) {
            assert!(begin.elapsed() < PATIENCE, "the call never came");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal again and again: two that come at once are one.
    pub fn signal_until_it_ends(mut self, name: &str) -> Outcome {
        while self.child.try_wait().expect("the child can be waited for").is_none() {
            self.signal(name);
            thread::sleep(Duration::from_millis(100));
        }
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Outcome {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                break status;
            }
            if begin.elapsed() > PATIENCE {
                self.child.kill().ok();
                let text = text_of(self.stderr.take());
                panic!("eg did not end within {} s; stderr so far:\n{text}", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(5));
        };
        Outcome {
            stdout: text_of(self.stdout.take()),
            stderr: text_of(self.stderr.take()),
            status,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).ok();
        bytes
    })
}

fn text_of(thread: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = thread.map(|thread| thread.join().expect("the reader ends")).unwrap_or_default();
    String::from_utf8(bytes).expect("eg writes UTF-8")
}

/// Fails unless the value fits `docs/schema/v1/<schema>.json`, formats included.
#[track_caller]
pub fn assert_valid(schema: &str, value: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schema/v1/{schema}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut schema = serde_json::from_str(&text).expect("a schema is JSON");
    close(&mut schema);
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a valid schema");
    let errors: Vec<_> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{}\n{value:#}", errors.join("\n"));
}

/// The published schemas let keys come that are not there yet; what is printed today is all in them.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("properties").is_some_and(Value::is_object) {
                object.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

/// What a run came to. Prints all three parts, for snapshots.
#[derive(Debug)]
pub struct Outcome {
    /// As it came.
    pub stdout: String,
    /// As it came.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
    shared: Arc<Shared>,
}

impl Outcome {
    /// The exit status; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Itself, when the exit status is this one.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{self}"))
    }

    /// The same, valid against one of the published schemas.
    #[track_caller]
    pub fn json_as(&self, schema: &str) -> Value {
        let value = self.json();
        assert_valid(schema, &value);
        value
    }

    /// Standard error as JSON Lines, each valid against the published schema, at most one error, last.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{self}"));
        let lines: Vec<Value> = self.stderr.lines().map(parse).collect();
        lines.iter().for_each(|line| assert_valid("error", line));
        let early = lines.iter().rev().skip(1).any(|line| line.get("error").is_some());
        assert!(!early, "an error that is not last:\n{self}");
        lines
    }

    /// Names all that this holds but rules: JSON lists them by their ids, which are random, and a snapshot names them in
    /// the order in which it shows them.
    pub fn name_all_but_rules(&self) {
        let text = self.to_string();
        self.shared.names.lock().expect("the names").normalise(&RULE.replace_all(&text, "-"));
    }

    /// The same text with a placeholder, of the same width, for everything that differs from run to run.
    pub fn normalised(&self) -> String {
        let text = self.to_string().replace(&*self.shared.dir.path().to_string_lossy(), "[TEMP]");
        self.shared.names.lock().expect("the names").normalise(&text)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.code().map_or_else(|| self.status.to_string(), |code| format!("exit status: {code}"));
        write!(f, "{status}\n----- stdout -----\n{}----- stderr -----\n{}", self.stdout, self.stderr)
    }
}

/// The outcome holds this text, on either stream.
#[track_caller]
pub fn says(outcome: &Outcome, text: &str) {
    assert!(outcome.to_string().contains(text), "it does not say {text:?}:\n{outcome}");
}

/// The outcome does not hold this text, on neither stream.
#[track_caller]
pub fn says_not(outcome: &Outcome, text: &str) {
    assert!(!outcome.to_string().contains(text), "it says {text:?}:\n{outcome}");
}

/// Numbers for ids in the order of their first appearance in this world, so that one id has one name in all of its
/// snapshots.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, usize>);

impl Names {
    fn number(&mut self, kind: &str, id: &str) -> usize {
        let next = 1 + self.0.keys().filter(|known| known.starts_with(kind)).count();
        *self.0.entry(format!("{kind} {}", id.to_ascii_lowercase())).or_insert(next)
    }

    /// | what | becomes |
    /// |---|---|
    /// | a UUID | `id000001-xxxx-xxxx-xxxx-xxxxxxxxxxxx` |
    /// | the first 8 digits of a UUID seen before, or now | `id000001` |
    /// | an installation's id (32 digits) | `installation0000000000000000001x` |
    /// | `sgr-…` and `sg-…` | `sgr-rule0000000000001`, `sg-group000000000001` |
    /// | a time | `YYYY-MM-DD HH:MM:SS`, `YYYY-MM-DDTHH:MM:SSZ`, `HH:MM` |
    /// | a loopback port | `127.0.0.1:PORT`, `[::1]:PORT` |
    /// | the world's account | `ACCOUNT00001` |
    pub fn normalise(&mut self, text: &str) -> String {
        static UUID: LazyLock<Regex> =
            LazyLock::new(|| regex(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"));
        static SIMPLE: LazyLock<Regex> = LazyLock::new(|| regex(r"\b[0-9a-f]{32}\b"));
        static SHORT: LazyLock<Regex> = LazyLock::new(|| regex(r"\b[0-9a-f]{8}\b"));
        static GROUP: LazyLock<Regex> = LazyLock::new(|| regex(r"\bsg-[0-9a-f]{17}\b"));
        static TIME: LazyLock<Regex> = LazyLock::new(|| regex(r"\b\d{4}-\d{2}-\d{2}([ T])\d{2}:\d{2}:\d{2}(Z?)"));
        static HOUR: LazyLock<Regex> = LazyLock::new(|| regex(r"\b\d{2}:\d{2}\b"));
        static PORT: LazyLock<Regex> = LazyLock::new(|| regex(r"(127\.0\.0\.1|\[::1\]):\d+"));
        static ACCOUNT: LazyLock<Regex> = LazyLock::new(|| regex(r"\b2000000\d{5}\b"));

        for found in UUID.find_iter(text) {
            let number = self.number("uuid", found.as_str());
            self.0.insert(format!("short {}", found.as_str().get(..8).unwrap_or_default()), number);
        }
        let known = self.0.clone();
        let text = UUID.replace_all(text, |c: &Captures<'_>| {
            format!("id{:06}-xxxx-xxxx-xxxx-xxxxxxxxxxxx", self.number("uuid", &c[0]))
        });
        let text = SIMPLE
            .replace_all(&text, |c: &Captures<'_>| format!("installation{:019}x", self.number("installation", &c[0])));
        let text = SHORT.replace_all(&text, |c: &Captures<'_>| {
            known.get(&format!("short {}", &c[0])).map_or_else(|| c[0].to_owned(), |number| format!("id{number:06}"))
        });
        let text = RULE.replace_all(&text, |c: &Captures<'_>| format!("sgr-rule{:013}", self.number("rule", &c[0])));
        let text = GROUP.replace_all(&text, |c: &Captures<'_>| format!("sg-group{:012}", self.number("group", &c[0])));
        let text = TIME.replace_all(&text, "YYYY-MM-DD${1}HH:MM:SS${2}");
        let text = PORT.replace_all(&text, "${1}:PORT");
        let text = HOUR.replace_all(&text, "HH:MM");
        ACCOUNT.replace_all(&text, "ACCOUNT00001").into_owned()
    }
}

static RULE: LazyLock<Regex> = LazyLock::new(|| regex(r"\bsgr-[0-9a-f]{17}\b"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of our own")
}
