//! A network namespace of a test's own, which ends with the test. In it, `nft` can be made to fail.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};

/// A namespace lives as long as a process is in it. This one ends by itself if the test does not end it.
const SECONDS: &str = "900";
/// Where `eg` looks for `nft`.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/bin/nft"];

/// `nft`, but for the faults that a test has asked for: a file `CALL.FAULT` each, which the call takes away.
const NFT: &str = r##"#!/bin/sh
here="HERE"
fault=
strikes() {
  for file in "$here/faults/$1".*; do
    test -e "$file" || return 1
    fault=${file##*.}
    rm "$file"
    return 0
  done
}
real() { "$here/nft" "$@"; }
if test "$*" != "-f -"; then
  if test "$2 $3" = "list table" && strikes Read; then
    case "$fault" in Lost*) kill -9 $$ ;; esac
    echo "netlink: Error: cache initialization failed: Device or resource busy" >&2
    exit 1
  fi
  real "$@"
  exit
fi
text=$(cat)
opens=$(printf '%s\n' "$text" | grep -c '^create element inet [a-z]* v[46]')
closes=$(printf '%s\n' "$text" | grep -c '^delete element inet [a-z]* v[46]')
call=Open
test "$closes" -gt 0 && call=Close
test "$opens" -gt 0 && test "$closes" -gt 0 && call=Mark
if strikes "$call"; then
  case "$fault" in
    LostBefore) kill -9 $$ ;;
    LostAfter) printf '%s\n' "$text" | real -f -; kill -9 $$ ;;
    Quota) echo "/dev/stdin:9:1-9: Error: Could not process rule: Too many open files in system" >&2; exit 1 ;;
    Conflict)
      # Another eg has written since this one has read.
      real add set inet eg version '{ type mark; }'
      real flush set inet eg version
      real add element inet eg version '{ 0x0badcafe }'
      ;;
  esac
fi
printf '%s\n' "$text" | real -f -
"##;

/// Writes a program. Another process makes the file: one that is open for writing cannot be run, and whatever another
/// test starts at this moment would hold it open.
pub fn write_program(path: &Path, text: &str) {
    let mut install = Command::new("install");
    let mut installing =
        install.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped()).spawn().expect("it runs");
    installing.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("the whole text");
    assert!(installing.wait().expect("its end").success(), "{}", path.display());
}

/// Runs a test anew in a network namespace of its own, with all that it starts: the sandbox, and `eg`. True in there;
/// elsewhere the test is over. On a machine without namespaces it says so, and checks nothing.
#[track_caller]
pub fn is_inside(test: &str) -> bool {
    const INSIDE: &str = "EG_TEST_IS_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if let Some(why) = Namespace::missing() {
        eprintln!("SKIPPED: {test}: {why}");
        return false;
    }
    let this = std::env::current_exe().expect("the tests");
    let mut anew = Command::new("unshare");
    anew.args(["-n", "sh", "-c", r#"ip link set lo up && exec "$@""#, "sh"]).arg(this);
    let ran = anew.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().expect("unshare");
    let [out, err] = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(ran.status.success() && out.contains(" 1 passed"), "{out}\n{err}");
    false
}

pub struct Namespace {
    holder: Child,
    dir: PathBuf,
}

impl Namespace {
    /// Why this machine has no namespaces with `nft` in them; `None` if it has.
    pub fn missing() -> Option<String> {
        static MISSING: OnceLock<Option<String>> = OnceLock::new();
        let try_it = || {
            let dir = tempfile::tempdir().expect("a directory");
            Self::try_new(dir.path()).err()
        };
        MISSING.get_or_init(try_it).clone()
    }

    /// A new one, whose files lie in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self::try_new(dir).expect("a network namespace")
    }

    fn try_new(dir: &Path) -> Result<Self, String> {
        let place = PLACES.iter().find(|place| Path::new(place).exists()).ok_or("nft is not installed")?;
        let dir = dir.join("namespace");
        fs::create_dir_all(dir.join("faults")).expect("a directory");
        let (real, fake) = (dir.join("nft"), dir.join("nft-with-faults"));
        let copied = Command::new("cp").arg(place).arg(&real).status().expect("cp runs");
        assert!(copied.success(), "a copy of nft");
        write_program(&fake, &NFT.replace("HERE", dir.to_str().expect("a plain path")));
        let enter = r#"mount --bind "$1" "$2" && ip link set lo up && echo ready && exec sleep "$3""#;
        let mut holder = Command::new("unshare")
            .args(["-n", "-m", "sh", "-c", enter, "sh", fake.to_str().expect("a plain path"), place, SECONDS])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        if line == "ready\n" {
            return Ok(Self { holder, dir });
        }
        let said = holder.wait_with_output().expect("its end");
        Err(format!("network namespaces: {}", String::from_utf8_lossy(&said.stderr).trim()))
    }

    /// What runs a program in it.
    pub fn inside(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        ["nsenter", "-t", &pid, "-n", "-m", "--"].map(str::to_owned).to_vec()
    }

    /// A program that is about to run in it.
    pub fn command(&self, program: &str) -> Command {
        let words = self.inside();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program);
        command
    }

    /// Runs a program in it, which has to succeed; what it prints.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(program).args(args).output().expect("it runs");
        assert!(status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).expect("text")
    }

    /// Runs commands of `nft` by hand, past all faults.
    #[track_caller]
    pub fn nft(&self, commands: &str) -> String {
        self.run(self.dir.join("nft").to_str().expect("a plain path"), &[commands])
    }

    /// The same for a listing as JSON.
    pub fn nft_json(&self, command: &str) -> Option<serde_json::Value> {
        let nft = self.dir.join("nft");
        let ran = self.command(nft.to_str().expect("a plain path")).args(["-j", command]).output().expect("it runs");
        ran.status.success().then(|| serde_json::from_slice(&ran.stdout).expect("JSON"))
    }

    /// The next call of this sort meets the fault; both are names in [`NFT`].
    pub fn fault(&self, call: &str, fault: &str) {
        fs::write(self.dir.join("faults").join(format!("{call}.{fault}")), "").expect("a file");
    }

    pub fn call_off(&self) {
        for file in fs::read_dir(self.dir.join("faults")).expect("a directory").flatten() {
            fs::remove_file(file.path()).expect("it goes");
        }
    }

    /// Connects it with another one: a pair of interfaces, each with addresses of its own.
    pub fn connect(&self, here: &[&str], other: &Self, there: &[&str]) {
        let pid = other.holder.id().to_string();
        self.run("ip", &["link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", &pid]);
        for (side, addresses) in [(self, here), (other, there)] {
            // Without `nodad` an IPv6 address is of no use for a second.
            for address in addresses {
                let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
                side.run("ip", &[&["addr", "add", address, "dev", "link0"], nodad].concat());
            }
            side.run("ip", &["link", "set", "link0", "up"]);
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
