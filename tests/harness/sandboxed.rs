//! The world of one test against the sandbox: a provider that misbehaves on demand, rules of others in every group,
//! and machines that run `eg`. What may never happen, whatever goes wrong, is checked at the end of every test by
//! [`Sandboxed::ends`].

use super::{IPV4, Installation, Outcome, REGION, Shared, World};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use eg_model::{
    ids::{InstallationId, SessionId},
    net::permission::Permission,
    tags::{description, tags_for},
};
use eg_sandbox::{Call, Config, HandRule, Handle, RegionSettings, Sandbox, Script, SecurityGroupRule};
use serde_json::Value;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};
use uuid::Uuid;

/// The account of every sandbox; each has only one.
pub const ACCOUNT: &str = "200000000001";
/// A region apart; its targets come before those of [`REGION`] in every order.
pub const FAR: &str = "ap-south-1";
/// More than the settle window, in seconds.
pub const SETTLED: i64 = eg_model::SETTLE_WINDOW.num_seconds() + 5;
/// Ids, and what is left to chance, follow from it.
const SEED: u64 = 42;
/// A call that has not come by then never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// One test's world.
pub struct Sandboxed {
    shared: Arc<Shared>,
    /// The region, by hand.
    pub region: Handle,
    /// The installation that [`Sandboxed::eg`] runs.
    pub here: Installation,
    machines: RefCell<Vec<String>>,
    groups: BTreeMap<String, String>,
    foreign: RefCell<BTreeMap<String, SecurityGroupRule>>,
    /// How much of the log is from before the last [`Sandboxed::forget_calls`].
    forgotten: Cell<usize>,
    ended: Cell<bool>,
}

impl Sandboxed {
    /// `api` with two ports and `db` with one.
    pub fn new() -> Self {
        Self::with(&[("api", &["tcp/22", "tcp/443"]), ("db", &["tcp/5432"])])
    }

    /// Resources by name with their ports, each with a group of its own.
    pub fn with(resources: &[(&str, &[&str])]) -> Self {
        Self::seeded(SEED, resources)
    }

    /// The same where chance has its part.
    pub fn seeded(seed: u64, resources: &[(&str, &[&str])]) -> Self {
        let clock = Arc::default();
        let region = Sandbox::start(Config::new(seed, ticking(&clock))).expect("the sandbox starts");
        let shared = Arc::new(Shared {
            dir: tempfile::Builder::new().prefix("eg-e2e-").tempdir().expect("a directory for the test"),
            endpoint: region.endpoint(),
            account: ACCOUNT.to_owned(),
            clock,
            skew: Default::default(),
            names: Default::default(),
            inside: Vec::new(),
        });
        let group = |name: &str| region.create_group_in(ACCOUNT, REGION, name).expect("a group");
        let groups = resources.iter().map(|(name, _)| ((*name).to_owned(), group(name))).collect();
        let world = Self {
            here: Installation::new(Arc::clone(&shared), "test-machine"),
            machines: RefCell::new(vec!["test-machine".to_owned()]),
            foreign: RefCell::default(),
            forgotten: Cell::default(),
            ended: Cell::default(),
            shared,
            region,
            groups,
        };
        let entry = |(name, ports): &(&str, &[&str])| World::resource(name, world.group(name), REGION, ports, "");
        world.here.write_config(&resources.iter().map(entry).collect::<String>());
        for id in world.groups.values() {
            world.people_open(id);
        }
        world
    }

    /// Rules of others, close to what `eg` opens: the same port for another address, the same address on another
    /// port, a wider range of another tool's, and a rule that another installation holds for weeks.
    fn people_open(&self, group: &str) {
        let tags = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mine = format!("{IPV4}/32");
        for (ports, cidr, tags) in [
            ("tcp/22", "198.51.100.7/32", tags(&[("owner", "bob")])),
            ("tcp/3389", &mine, BTreeMap::new()),
            ("tcp/22", "203.0.113.0/24", tags(&[("eg:managed-by", "terraform")])),
        ] {
            let rule = HandRule { tags, description: "theirs".to_owned(), ..HandRule::new(ports, cidr) };
            self.foreign_rule(group, &rule);
        }
        self.foreign_rule(group, &self.rule_of_another(group, 8443, self.in_seconds(20 * 86_400)));
    }

    /// So many groups in [`FAR`], configured under the label `far` with one port each; their ids.
    pub fn far_groups(&self, count: usize) -> Vec<String> {
        let mut config = std::fs::read_to_string(self.here.config_path()).expect("a configuration");
        let mut ids = Vec::new();
        for number in 0..count {
            let name = format!("far-{number}");
            let id = self.region.create_group_in(ACCOUNT, FAR, &name).expect("a group");
            config += &World::resource(&name, &id, FAR, &["tcp/22"], "groups = [\"far\"]\n");
            ids.push(id);
        }
        self.here.write_config(&config);
        ids
    }

    /// Fills a group with rules that are not to be touched.
    pub fn crowd(&self, name: &str, count: usize) {
        self.region.set(|settings| settings.rules_per_group = 2 * count);
        let group = self.group(name);
        for number in 0..count {
            let rule = HandRule::new("tcp/443", &format!("10.{}.{}.0/24", number / 256, number % 256));
            self.region.authorize_by_hand(group, &rule).expect("a rule by hand");
        }
        let all = self.region.rules(group).into_iter().map(|rule| (rule.id.clone(), rule));
        self.foreign.borrow_mut().extend(all);
    }

    /// From now on rules get expiry schedules in the cloud.
    pub fn with_auto_closes(self) -> Self {
        let config = std::fs::read_to_string(self.here.config_path()).expect("a configuration");
        let role = format!("arn:aws:iam::{ACCOUNT}:role/eg-cloud-expiry");
        self.here.write_config(&format!("{config}\n[aws.cloud_expiry]\nrole_arn = \"{role}\"\n"));
        self
    }

    /// A rule that is not to be touched. Its id.
    pub fn foreign_rule(&self, group: &str, rule: &HandRule) -> String {
        let id = self.region.authorize_by_hand(group, rule).expect("a rule by hand");
        let made = self.region.rules(group).into_iter().find(|known| known.id == id).expect("the rule");
        self.foreign.borrow_mut().insert(id.clone(), made);
        id
    }

    /// Takes a foreign rule away by hand.
    pub fn foreign_rule_goes(&self, group: &str, id: &str) {
        self.region.revoke_by_hand(group, id).expect("a revoke by hand");
        self.foreign.borrow_mut().remove(id);
    }

    /// The foreign rules of a group that is no more went with it.
    pub fn group_is_gone(&self, name: &str) {
        assert!(self.region.groups().iter().all(|group| group.id != self.group(name)), "{name} is still there");
        self.foreign.borrow_mut().retain(|_, rule| rule.group != self.group(name));
    }

    /// A rule for [`IPV4`] as another installation opens it.
    pub fn rule_of_another(&self, group: &str, port: u16, until: DateTime<Utc>) -> HandRule {
        rule_of(&InstallationId::from_uuid(Uuid::from_u128(7)), group, port, until)
    }

    /// The id of a group by its resource's name.
    pub fn group(&self, name: &str) -> &str {
        self.groups.get(name).unwrap_or_else(|| panic!("the test made no group {name}"))
    }

    /// Another machine with the same cloud account and configuration.
    pub fn installation(&self, machine: &str) -> Installation {
        self.machines.borrow_mut().push(machine.to_owned());
        let other = Installation::new(Arc::clone(&self.shared), machine);
        other.write_config(&std::fs::read_to_string(self.here.config_path()).expect("a configuration"));
        other
    }

    /// Runs `eg` to its end.
    pub fn eg(&self, args: &[&str]) -> Outcome {
        self.here.eg(args)
    }

    /// Moves both clocks: `eg`'s and the sandbox's.
    pub fn advance(&self, seconds: i64) {
        self.shared.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Sets how far `eg`'s clock is ahead of the sandbox's.
    pub fn step_clock(&self, seconds: i64) {
        self.shared.skew.store(seconds, Ordering::SeqCst);
    }

    /// A time on both clocks.
    pub fn in_seconds(&self, seconds: i64) -> DateTime<Utc> {
        ticking(&self.shared.clock)() + TimeDelta::seconds(seconds)
    }

    /// The same as `eg` writes it.
    pub fn in_seconds_text(&self, seconds: i64) -> String {
        self.in_seconds(seconds).to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// Makes the provider misbehave from now on; an empty script makes it well again.
    pub fn faults(&self, script: impl Into<Script>) {
        self.region.script(script);
    }

    /// Every call since [`Sandboxed::forget_calls`], oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.region.log().split_off(self.forgotten.get())
    }

    /// The calls with this action that were more than a question.
    pub fn sent(&self, action: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.action == action && !call.dry_run).collect()
    }

    /// What became of those.
    pub fn outcomes(&self, action: &str) -> Vec<String> {
        self.sent(action).into_iter().map(|call| call.outcome).collect()
    }

    /// The actions of the calls that would change something.
    pub fn changes(&self) -> Vec<String> {
        let reads = |action: &str| ["Describe", "Get", "List"].iter().any(|start| action.starts_with(start));
        let changing = self.calls().into_iter().filter(|call| !call.dry_run && !reads(&call.action));
        changing.map(|call| call.action).collect()
    }

    /// Counts from here. The check at the end sees everything all the same.
    pub fn forget_calls(&self) {
        self.forgotten.set(self.region.log().len());
    }

    /// Waits until a call with this action has been carried out or lost.
    pub fn wait_for(&self, action: &str) {
        let begin = Instant::now();
        while self.sent(action).is_empty() {
            assert!(begin.elapsed() < PATIENCE, "{action} never came");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The truth: what is open in a group apart from what others opened.
    pub fn ours(&self, name: &str) -> Vec<SecurityGroupRule> {
        let rules = self.region.rules(self.group(name)).into_iter();
        rules.filter(|rule| !self.foreign.borrow().contains_key(&rule.id)).collect()
    }

    /// Every session of an installation as JSON, newest first.
    pub fn sessions_of(&self, at: &Installation) -> Vec<Value> {
        let list = at.eg(&["--output", "json", "session", "list", "--limit", "0"]).expect_code(0).json_as("sessions");
        list.as_array().expect("a list").clone()
    }

    /// The check that every test ends with. The provider is well again, everything is stopped, the settle window
    /// passes: nothing of ours is left over, and nothing of others was ever touched.
    #[track_caller]
    pub fn ends(&self) {
        self.ended.set(true);
        self.faults(Script::default());
        self.region.set(|settings| *settings = RegionSettings::default());
        let machines: Vec<_> =
            self.machines.borrow().iter().map(|name| Installation::new(Arc::clone(&self.shared), name)).collect();
        let open = |session: &Value| session["status"] != "CANCELLED" && session["status"] != "EXPIRED";
        for machine in &machines {
            if self.sessions_of(machine).iter().any(open) {
                let stopped = machine.eg(&["session", "stop", "--all"]);
                assert!(matches!(stopped.code(), Some(0 | 3)), "{stopped}");
            }
        }
        self.settle(&machines);
        for machine in &machines {
            assert!(!self.sessions_of(machine).iter().any(open), "{:#?}", self.sessions_of(machine));
        }
        self.assert_only_foreign_rules();
        self.assert_foreign_rules_untouched();
        assert_eq!(self.region.schedules(), [], "a switch is left over");
        self.forget_calls();
        machines.iter().for_each(|machine| drop(machine.eg(&["reconcile"]).expect_code(0)));
        assert_eq!(self.changes(), Vec::<String>::new(), "and there it stays");
    }

    #[track_caller]
    fn settle(&self, machines: &[Installation]) {
        let mut last = Vec::new();
        for _ in 0..4 {
            self.advance(SETTLED);
            last = machines.iter().map(|machine| machine.eg(&["reconcile"])).collect();
            if last.iter().all(|outcome| outcome.code() == Some(0)) {
                return;
            }
        }
        panic!("it does not settle: {last:#?}");
    }

    #[track_caller]
    fn assert_only_foreign_rules(&self) {
        let rules = self.groups.values().flat_map(|group| self.region.rules(group));
        let rules: BTreeMap<_, _> = rules.map(|rule| (rule.id.clone(), rule)).collect();
        // Times of writes included: what was changed and changed back would show.
        assert_eq!(rules, *self.foreign.borrow());
    }

    #[track_caller]
    fn assert_foreign_rules_untouched(&self) {
        let foreign = self.foreign.borrow();
        let reads = |call: &Call| call.dry_run || call.action.starts_with("Describe");
        for call in self.region.log().iter().filter(|call| !reads(call)) {
            assert!(!call.rules.iter().any(|id| foreign.contains_key(id)), "a foreign rule was named: {call:#?}");
            let by_permission = call.fields.keys().any(|key| key.starts_with("IpPermissions"));
            assert!(call.action != "RevokeSecurityGroupIngress" || !by_permission, "not by id: {call:#?}");
        }
    }
}

/// A rule for [`IPV4`] as this installation opens it: tags, and a description that bears them out.
pub fn rule_of(installation: &InstallationId, group: &str, port: u16, until: DateTime<Utc>) -> HandRule {
    let permission: Permission = format!("tcp|{port}|{port}|{IPV4}/32").parse().expect("a permission");
    let session = SessionId(Uuid::from_u128(7));
    HandRule {
        tags: tags_for(group, &[permission], session, installation, until),
        description: description(Some("bob@desk"), session, None),
        ..HandRule::new(&format!("tcp/{port}"), &format!("{IPV4}/32"))
    }
}

impl Drop for Sandboxed {
    fn drop(&mut self) {
        assert!(self.ended.get() || thread::panicking(), "a test of the sandbox ends with `ends`");
    }
}

/// The wall clock and what was added to it: what `eg` sees.
fn ticking(ahead: &Arc<std::sync::atomic::AtomicI64>) -> eg_sandbox::SandboxClock {
    let ahead = Arc::clone(ahead);
    Arc::new(move || DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::seconds(ahead.load(Ordering::SeqCst)))
}
