//! The world of one test: a cloud account of its own, echo services, and machines that run `eg`.

pub mod auto_closes;
pub mod boundaries;
pub mod cloud;
pub mod echo;
pub mod eg;
pub mod moto;
pub mod namespace;
pub mod sandboxed;
pub mod terminal;
pub mod tls;

pub use auto_closes::Schedule;
pub use cloud::Cloud;
pub use echo::Echo;
pub use eg::{Installation, Outcome, says, says_not};
pub use moto::{Fault, Moto};
pub use namespace::Namespace;
pub use sandboxed::Sandboxed;
pub use tls::Tls;

use eg::Names;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};
use tempfile::TempDir;

/// The address that the echo services answer unless a test says otherwise (RFC 5737, documentation).
pub const IPV4: &str = "203.0.113.42";
/// The same for IPv6 (RFC 3849, documentation).
pub const IPV6: &str = "2001:db8:42::1";
/// The region of the groups that [`World::new`] makes.
pub const REGION: &str = "eu-west-1";

/// What every installation of a world shares.
#[derive(Debug)]
pub struct Shared {
    /// Everything of this world lies in here and goes with it.
    pub dir: TempDir,
    /// Where the provider listens: `AWS_ENDPOINT_URL`.
    pub endpoint: String,
    /// The account of this world.
    pub account: String,
    /// How far both clocks are ahead, in seconds.
    pub clock: Arc<AtomicI64>,
    /// How far this machine's clock is ahead of the provider's.
    pub skew: AtomicI64,
    /// Stable names for what differs from run to run.
    pub names: Mutex<Names>,
    /// What runs `eg`, with its arguments: `nsenter`, to run it in a namespace. Empty: nothing.
    pub inside: Vec<String>,
}

impl Shared {
    /// A directory and a clock alone: whoever makes it brings the firewall.
    pub fn alone() -> Self {
        Self {
            dir: tempfile::Builder::new().prefix("eg-e2e-").tempdir().expect("a directory for the test"),
            endpoint: String::new(),
            account: sandboxed::ACCOUNT.to_owned(),
            clock: Arc::default(),
            skew: AtomicI64::new(0),
            names: Mutex::default(),
            inside: Vec::new(),
        }
    }
}

/// One test's world.
#[derive(Debug)]
pub struct World {
    shared: Arc<Shared>,
    /// The provider; one server for the whole test process, one account for each world.
    moto: &'static Moto,
    /// The installation that [`World::eg`] runs.
    pub here: Installation,
    /// The provider, by hand.
    pub cloud: Cloud,
    /// The echo services for IPv4; three, so that two can agree.
    pub echo4: Vec<Echo>,
    /// The echo services for IPv6; none until [`World::with_ipv6`].
    pub echo6: Vec<Echo>,
    groups: BTreeMap<String, String>,
}

/// The resources that [`World::new`] makes: name, ports, labels.
const RESOURCES: [(&str, &[&str], &str); 3] = [
    ("prod-api-sg", &["tcp/22"], "prod"),
    ("prod-db-sg", &["tcp/5432"], "prod"),
    ("dev-web-sg", &["tcp/22", "tcp/443", "tcp/8000-8080"], "dev"),
];

impl World {
    /// Three groups, three IPv4 echo services that agree on [`IPV4`], and a configuration that names them all.
    pub fn new() -> Self {
        let mut world = Self::bare();
        for (name, _, _) in RESOURCES {
            world.make_group(name);
        }
        world.write_config(&world.default_config());
        world
    }

    /// The same without groups and without a configuration file.
    pub fn bare() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let account = format!("{:012}", 200_000_000_000 + NEXT.fetch_add(1, Ordering::Relaxed));
        let moto = Moto::shared();
        moto.make_account(&account);
        let shared = Arc::new(Shared {
            dir: tempfile::Builder::new().prefix("eg-e2e-").tempdir().expect("a directory for the test"),
            endpoint: moto.endpoint(),
            account: account.clone(),
            clock: Arc::default(),
            skew: AtomicI64::new(0),
            names: Mutex::default(),
            inside: Vec::new(),
        });
        Self {
            here: Installation::new(Arc::clone(&shared), "test-machine"),
            cloud: Cloud::new(moto.port(), &account, REGION),
            echo4: (0..3).map(|_| Echo::v4(IPV4)).collect(),
            echo6: Vec::new(),
            groups: BTreeMap::new(),
            moto,
            shared,
        }
    }

    /// Adds three IPv6 echo services and writes the configuration anew. `None` on a machine without IPv6 loopback.
    pub fn with_ipv6(mut self) -> Option<Self> {
        self.echo6 = (0..3).map(|_| Echo::v6(IPV6)).collect::<Option<_>>()?;
        self.write_config(&self.default_config());
        Some(self)
    }

    /// Makes one more group at the provider; its id.
    pub fn make_group(&mut self, name: &str) -> String {
        let id = self.cloud.create_group(name);
        self.groups.insert(name.to_owned(), id.clone());
        id
    }

    /// The id of a group by its name.
    pub fn group(&self, name: &str) -> &str {
        self.groups.get(name).unwrap_or_else(|| panic!("the test made no group {name}"))
    }

    /// The account of this world.
    pub fn account(&self) -> &str {
        &self.shared.account
    }

    /// A directory for the test's own files.
    pub fn dir(&self) -> &Path {
        self.shared.dir.path()
    }

    /// The configuration of [`World::new`].
    pub fn default_config(&self) -> String {
        let mut text = self.config_head();
        for (name, ports, label) in RESOURCES {
            text += &Self::resource(name, self.group(name), REGION, ports, &format!("groups = [\"{label}\"]\n"));
        }
        text
    }

    /// Everything of a configuration above its resources.
    pub fn config_head(&self) -> String {
        let list = |all: &[Echo]| all.iter().map(|echo| format!("\"{}\"", echo.url())).collect::<Vec<_>>().join(", ");
        let (ipv4, ipv6) = (list(&self.echo4), list(&self.echo6));
        format!(
            "[user]\nname = \"Alice Smith\"\nemail = \"alice@example.com\"\n\n[detect]\ntimeout = \"5s\"\nipv4 = [{ipv4}]\nipv6 = [{ipv6}]\n\n"
        )
    }

    /// One resource; `more` holds further lines.
    pub fn resource(name: &str, id: &str, region: &str, ports: &[&str], more: &str) -> String {
        let ports = ports.iter().map(|port| format!("\"{port}\"")).collect::<Vec<_>>().join(", ");
        format!("[[resource]]\nname = \"{name}\"\nid = \"{id}\"\nregion = \"{region}\"\nports = [{ports}]\n{more}\n")
    }

    /// Replaces the configuration of [`World::here`].
    pub fn write_config(&self, text: &str) -> PathBuf {
        self.here.write_config(text)
    }

    /// Another machine (or user) with the same cloud account and, to begin with, the same configuration.
    pub fn installation(&self, machine: &str) -> Installation {
        let other = Installation::new(Arc::clone(&self.shared), machine);
        if let Ok(text) = fs::read_to_string(self.here.config_path()) {
            other.write_config(&text);
        }
        other
    }

    /// Runs `eg` to its end.
    pub fn eg(&self, args: &[&str]) -> Outcome {
        self.here.eg(args)
    }

    /// Moves both clocks: `eg`'s and the provider's `Date`.
    pub fn advance(&self, seconds: i64) {
        let ahead = self.shared.clock.fetch_add(seconds, Ordering::SeqCst) + seconds;
        self.moto.set_offset(&self.shared.account, ahead);
    }

    /// Moves only this machine's clock; the provider's stays right.
    pub fn skew(&self, seconds: i64) {
        self.shared.skew.store(seconds, Ordering::SeqCst);
    }

    /// Every EC2 and STS call so far, oldest first. Those made by [`World::cloud`] are left out.
    pub fn calls(&self) -> Vec<moto::Call> {
        self.moto.calls(&self.shared.account)
    }

    /// The calls so far as `2×DescribeSecurityGroupRules 1×…`, for comparing histories.
    pub fn call_counts(&self) -> String {
        let mut counts = BTreeMap::<String, usize>::new();
        for call in self.calls() {
            *counts.entry(call.action + if call.dry_run { "(DryRun)" } else { "" }).or_default() += 1;
        }
        let mut text = String::new();
        for (action, count) in counts {
            let gap = if text.is_empty() { "" } else { " " };
            write!(text, "{gap}{count}×{action}").expect("a string takes everything");
        }
        text
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.moto.forget_calls(&self.shared.account);
    }

    /// Makes the provider misbehave from now on; an empty list makes it well again.
    pub fn faults(&self, faults: &[Fault]) {
        self.moto.set_faults(&self.shared.account, faults);
    }
}
