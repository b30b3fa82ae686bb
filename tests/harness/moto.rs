//! The provider: `moto`, in a virtual environment that the first test makes under the target directory.

use serde_json::{Value, json};
use std::{
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// A running server.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    port: u16,
    control: PathBuf,
    /// Closing this ends the server, whatever became of the test.
    _stdin: ChildStdin,
}

/// One call that reached the provider.
#[derive(Clone, Debug)]
pub struct Call {
    /// `AuthorizeSecurityGroupIngress`, …
    pub action: String,
    /// Group ids that it names, in parameters or filters.
    pub groups: Vec<String>,
    /// Rule ids that it names.
    pub rules: Vec<String>,
    /// CIDRs that it names.
    pub cidrs: Vec<String>,
    /// Whether it only asked.
    pub dry_run: bool,
    /// `200`, the error code, or the mode of the fault that it met.
    pub answer: String,
    /// Whose credentials signed it.
    pub access_key: String,
    /// Every form field, as it came.
    pub fields: Value,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dry = if self.dry_run { " (DryRun)" } else { "" };
        let named = [&self.groups, &self.rules, &self.cidrs].map(|list| list.join(","));
        write!(f, "{}{dry} [{}] → {}", self.action, named.join("|"), self.answer)
    }
}

/// Something that goes wrong at the provider. Built from [`Fault::refuse`] and its like, then narrowed.
#[derive(Clone, Debug)]
pub struct Fault(Value);

impl Fault {
    fn new(action: &str, mode: &str, mut more: Value) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = json!({"id": id, "action": action, "mode": mode, "skip": 0, "times": 1_000_000, "dryRun": null, "contains": null, "held": false});
        for (key, value) in base.as_object().expect("an object") {
            more[key] = value.clone();
        }
        Self(more)
    }

    /// The action is refused with an error code; nothing is done.
    pub fn refuse(action: &str, status: u16, code: &str, message: &str) -> Self {
        Self::new(action, "refuse", json!({"status": status, "code": code, "message": message}))
    }

    /// The caller may not do this: a policy without the action.
    pub fn deny(action: &str) -> Self {
        Self::refuse(action, 403, "UnauthorizedOperation", "You are not authorized to perform this operation.")
    }

    /// The connection closes before anything is done.
    pub fn lose_request(action: &str) -> Self {
        Self::new(action, "lose-request", json!({}))
    }

    /// It is done, and the connection closes before the answer.
    pub fn lose_answer(action: &str) -> Self {
        Self::new(action, "lose-answer", json!({}))
    }

    /// It is done, late.
    pub fn delay(action: &str, seconds: f64) -> Self {
        Self::new(action, "delay", json!({"seconds": seconds}))
    }

    /// It is done once a test has taken this fault away.
    pub fn hold(action: &str) -> Self {
        Self::new(action, "hold", json!({}))
    }

    /// Of what is lost: the connection closes only once a test has taken this fault away.
    pub fn held(mut self) -> Self {
        self.0["held"] = true.into();
        self
    }

    /// Only the first `times` matching calls (default: all).
    pub fn times(mut self, times: u64) -> Self {
        self.0["times"] = times.into();
        self
    }

    /// Not the first `skip` matching calls.
    pub fn skip(mut self, skip: u64) -> Self {
        self.0["skip"] = skip.into();
        self
    }

    /// Only calls with (or without) `DryRun`.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.0["dryRun"] = dry_run.into();
        self
    }

    /// Only calls of which some form field holds this text.
    pub fn containing(mut self, text: &str) -> Self {
        self.0["contains"] = text.into();
        self
    }
}

impl Moto {
    /// The server of this test process. It ends with the process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Moto> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of one's own, killed when dropped.
    pub fn start() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let python = environment();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let control = temporary().join(format!("moto-{}-{number}", std::process::id()));
        fs::create_dir_all(&control).expect("a control directory");
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/moto_serve.py"))
            .arg(&control)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONPATH")
            .env_remove("MOTO_ACCOUNT_ID")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the provider starts");
        let stdin = child.stdin.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("the provider says its port");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("the provider did not start; it said: {line:?}"));
        Self { child, port, control, _stdin: stdin }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The access key of an account. Several kinds of credentials of one account differ in `variant`.
    pub fn access_key(account: &str, variant: &str) -> String {
        format!("AKIAEG{account}{variant}")
    }

    /// Makes room for what a test says and asks about an account.
    pub fn make_account(&self, account: &str) {
        fs::create_dir_all(self.control.join(account)).expect("a control directory");
    }

    /// Moves the `Date` of every answer to this account.
    pub fn set_offset(&self, account: &str, seconds: i64) {
        self.write(account, "offset", &seconds.to_string());
    }

    /// Sets what goes wrong for this account.
    pub fn set_faults(&self, account: &str, faults: &[Fault]) {
        let list: Vec<_> = faults.iter().map(|fault| fault.0.clone()).collect();
        self.write(account, "faults.json", &Value::from(list).to_string());
    }

    /// The calls of this account, without those of [`super::Cloud`].
    pub fn calls(&self, account: &str) -> Vec<Call> {
        let text = fs::read_to_string(self.control.join(account).join("calls.log")).unwrap_or_default();
        let by_hand = Self::access_key(account, super::cloud::VARIANT);
        let list = |value: &Value| value.as_array().into_iter().flatten().map(text_of).collect();
        // The server may be writing the last line.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let calls = whole.lines().map(|line| {
            let value: Value = serde_json::from_str(line).expect("a line of the call log");
            Call {
                action: text_of(&value["action"]),
                groups: list(&value["groups"]),
                rules: list(&value["rules"]),
                cidrs: list(&value["cidrs"]),
                dry_run: value["dryRun"] == true,
                answer: text_of(&value["answer"]),
                access_key: text_of(&value["accessKey"]),
                fields: value["fields"].clone(),
            }
        });
        calls.filter(|call| call.access_key != by_hand).collect()
    }

    /// Empties the log of this account.
    pub fn forget_calls(&self, account: &str) {
        self.write(account, "calls.log", "");
        self.write(account, "waiting.log", "");
    }

    /// The actions of the calls that are delayed or held, or were.
    pub fn delayed(&self, account: &str) -> Vec<String> {
        let text = fs::read_to_string(self.control.join(account).join("waiting.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Whole or not at all: the server reads at any moment.
    fn write(&self, account: &str, name: &str, text: &str) {
        let path = self.control.join(account).join(name);
        let draft = path.with_extension("draft");
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).expect("the control directory takes a file");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.control).ok();
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn temporary() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A program that the environment holds beside its Python.
pub fn tool(name: &str) -> PathBuf {
    environment().with_file_name(name)
}

/// The Python of the virtual environment, which is made once and made anew when the pins change. Parallel tests and
/// test processes wait for the one that makes it.
pub fn environment() -> PathBuf {
    fs::create_dir_all(temporary()).expect("the target directory is writable");
    let lock = File::create(temporary().join("moto-venv.lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let home = temporary().join("moto-venv");
    let python = home.join("bin").join("python");
    let marker = home.join("complete");
    if fs::read_to_string(&marker).is_ok_and(|pins| pins == REQUIREMENTS) {
        return python;
    }
    eprintln!("making a virtual environment for the tests' provider in {}", home.display());
    fs::remove_dir_all(&home).ok();
    let venv = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home).output();
    match venv {
        Err(error) => panic!("{}", advice(&format!("`python3` does not start ({error})"))),
        Ok(output) if !output.status.success() => panic!("{}", advice("`python3 -m venv` failed")),
        Ok(_) => {}
    }
    let pins = temporary().join("moto-requirements.txt");
    fs::write(&pins, REQUIREMENTS).expect("the target directory is writable");
    let install = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&pins)
        .output()
        .expect("the environment's Python starts");
    assert!(
        install.status.success(),
        "pip could not install the tests' provider (tests/requirements.txt):\n{}",
        String::from_utf8_lossy(&install.stderr)
    );
    fs::write(&marker, REQUIREMENTS).expect("the marker");
    python
}

fn advice(what: &str) -> String {
    format!(
        "{what}: the end-to-end tests need Python 3.10 or later with its venv module; install it \
         (Debian and Ubuntu: apt-get install python3 python3-venv) and run the tests again"
    )
}
