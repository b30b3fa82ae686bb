//! A group at the sandbox with rules of others, two machines, and what may never happen to them.

use crate::{
    Life,
    action::{Action, Weather, Who},
    eg_here::{Ended, Fate, Machine},
};
use chrono::{DateTime, TimeDelta, Utc};
use eg_sandbox::{
    Call, Config, Fault, HandClock, HandRule, Handle, RegionSettings, Rule, Sandbox, Script, SecurityGroupRule, Stale,
    StaleSight,
};
use std::{collections::BTreeMap, fmt, ops::AddAssign};
use tempfile::TempDir;

const ADDRESS: &str = "203.0.113.42";
/// Longer than the settle window, in seconds.
pub const SETTLED: i64 = eg_model::SETTLE_WINDOW.num_seconds() + 5;
const ACCOUNT: &str = "200000000001";

/// What was lived through, by the sandbox's own log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub scripts: u64,
    /// Sessions that came to the record.
    pub lives: u64,
    pub commands: u64,
    pub crashes: u64,
    pub calls: u64,
    /// Calls that something happened to.
    pub faults: u64,
    /// Rules that `eg` opened, and rules that it closed.
    pub opened: u64,
    pub closed: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.scripts += other.scripts;
        self.lives += other.lives;
        self.commands += other.commands;
        self.crashes += other.crashes;
        self.calls += other.calls;
        self.faults += other.faults;
        self.opened += other.opened;
        self.closed += other.closed;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} scripts, {} sessions, {} commands ({} of them died), {} calls ({} struck by a fault), \
             {} rules opened and {} closed by eg; 0 foreign rules touched, 0 rules left over",
            self.scripts, self.lives, self.commands, self.crashes, self.calls, self.faults, self.opened, self.closed
        )
    }
}

pub struct World {
    _dir: TempDir,
    clock: HandClock,
    region: Handle,
    group: String,
    machines: [Machine; 2],
    foreign: BTreeMap<String, SecurityGroupRule>,
    twins: Vec<String>,
    /// Whether rules get expiry schedules in the cloud.
    auto_closing: bool,
    /// Whether what is asked of the scheduler may land late.
    late_auto_closes: bool,
    commands: u64,
    crashes: u64,
}

impl Life for World {
    fn begin(seed: u64) -> Self {
        Self::new(seed)
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        Self::act(self, action)
    }

    fn ends(self) -> Result<Count, String> {
        Self::ends(self)
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("eg-lives-").tempdir().unwrap();
        let clock = HandClock::at(DateTime::from_timestamp(1_900_000_000, 0).unwrap());
        let region = Sandbox::start(Config::new(seed, clock.clock())).unwrap();
        let group = region.create_group_in(ACCOUNT, "eu-west-1", "api").unwrap();
        // Half of all lives are lived with expiry schedules in the cloud.
        let role = format!("\n[aws.cloud_expiry]\nrole_arn = \"arn:aws:iam::{ACCOUNT}:role/eg-cloud-expiry\"\n");
        let auto_closing = seed.is_multiple_of(2);
        let expiry = if auto_closing { role.as_str() } else { "" };
        let config = format!(
            "[[resource]]\nname = \"api\"\nid = \"{group}\"\nregion = \"eu-west-1\"\nprofile = \"sandbox\"\n\
             ports = [\"tcp/22\", \"tcp/443\"]\n{expiry}"
        );
        let machine =
            |name: &str, salt: u64| Machine::new(dir.path(), name, seed ^ salt, &clock, &region.endpoint(), &config);
        let machines = [machine("alice", 0xa11ce), machine("bob", 0xb0b)];
        let mut world = Self {
            machines,
            clock,
            region,
            group,
            foreign: BTreeMap::new(),
            twins: Vec::new(),
            auto_closing,
            late_auto_closes: seed % 4 == 2,
            commands: 0,
            crashes: 0,
            _dir: dir,
        };
        for (ports, cidr) in
            [("tcp/22", "198.51.100.7/32"), ("tcp/3389", "203.0.113.42/32"), ("tcp/22", "203.0.113.0/24")]
        {
            world.foreign_rule(ports, cidr).unwrap();
        }
        world
    }

    fn foreign_rule(&mut self, ports: &str, cidr: &str) -> Option<String> {
        let rule = HandRule { description: "theirs".to_owned(), ..HandRule::new(ports, cidr) };
        let id = self.region.authorize_by_hand(&self.group, &rule).ok()?;
        let made = self.region.rules(&self.group).into_iter().find(|known| known.id == id)?;
        self.foreign.insert(id.clone(), made);
        Some(id)
    }

    fn ours(&self) -> Vec<SecurityGroupRule> {
        let rules = self.region.rules(&self.group).into_iter();
        rules.filter(|rule| !self.foreign.contains_key(&rule.id)).collect()
    }

    /// Of our rules, one whose id some open lease knows. (What is edited or stripped before is not covered: see
    /// `docs/guarantees.md`.)
    fn known(&self, number: usize) -> Option<String> {
        let known: Vec<String> = self.machines.iter().flat_map(Machine::known_rules).collect();
        let mut ids: Vec<String> =
            self.ours().into_iter().map(|rule| rule.id).filter(|id| known.contains(id)).collect();
        (!ids.is_empty()).then(|| ids.remove(number % ids.len()))
    }

    pub fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Start(who, hours) => {
                let duration = format!("{hours}h");
                self.eg(*who, &["session", "start", "--ipv4", ADDRESS, "--duration", &duration])?;
            }
            Action::Stop(who, number) => {
                let live = self.machines[*who].live();
                if let Some(id) = live.get(number % live.len().max(1)) {
                    self.eg(*who, &["session", "stop", id])?;
                }
            }
            Action::Extend(who, number) => {
                let live = self.machines[*who].live();
                if let Some(id) = live.get(number % live.len().max(1)) {
                    self.eg(*who, &["session", "extend", id, "--hours", "1"])?;
                }
            }
            Action::Reconcile(who) => drop(self.eg(*who, &["reconcile"])?),
            Action::Advance(seconds) => self.clock.advance(TimeDelta::seconds(*seconds)),
            Action::ForeignTwin(port) => {
                let made = self.foreign_rule(&format!("tcp/{port}"), &format!("{ADDRESS}/32"));
                self.twins.extend(made);
            }
            Action::ForeignTwinGoes(number) => {
                if !self.twins.is_empty() {
                    let id = self.twins.remove(number % self.twins.len());
                    self.region.revoke_by_hand(&self.group, &id).unwrap();
                    self.foreign.remove(&id);
                }
            }
            Action::Deleted(number) => {
                let ours = self.ours();
                if let Some(rule) = ours.get(number % ours.len().max(1)) {
                    self.region.revoke_by_hand(&self.group, &rule.id).unwrap();
                }
            }
            Action::Edited(number) => {
                if let Some(id) = self.known(*number) {
                    let port = 9000 + self.commands;
                    let new = HandRule::new(&format!("tcp/{port}"), "192.0.2.1/32");
                    self.region.modify_by_hand(&self.group, &id, &new).ok();
                }
            }
            Action::Stripped(number) => {
                if let Some(id) = self.known(*number) {
                    self.region.untag_by_hand(&id, &BTreeMap::new()).unwrap();
                }
            }
            Action::Weather(weather) => self.region.script(faults(*weather, self.late_auto_closes)),
            Action::Lag(seconds) => self.lag(*seconds),
            Action::Crash(who, at) => self.machines[*who].fate = Fate { dies_at: Some(*at), full_from: None },
            Action::FullDisk(who, from) => self.machines[*who].fate = Fate { dies_at: None, full_from: Some(*from) },
        }
        self.foreign_rules_stand()
    }

    fn lag(&self, seconds: i64) {
        use StaleSight::{NewMissing, RevokedPresent, TagsMissing};
        let sights = [NewMissing, RevokedPresent, TagsMissing];
        let stale = Stale { chance: 0.5, ..Stale::new(TimeDelta::seconds(seconds), sights) };
        self.region.set(|settings| settings.stale = (seconds > 0).then_some(stale));
    }

    /// Runs a command. It may fail, and it may die; it may not panic, nor be at a loss for an exit status.
    fn eg(&mut self, who: Who, args: &[&str]) -> Result<Ended, String> {
        let machine = &mut self.machines[who];
        let run = std::panic::AssertUnwindSafe(|| machine.eg(args));
        let ended = std::panic::catch_unwind(run).map_err(|_| format!("eg {args:?} panicked"))?;
        self.commands += 1;
        self.crashes += u64::from(ended.code.is_none());
        match ended.code {
            None | Some(0 | 1 | 3) => Ok(ended),
            Some(code) => Err(format!("exit status {code}: {ended:?}")),
        }
    }

    /// Times of writes included: what was changed and changed back would show.
    fn foreign_rules_stand(&self) -> Result<(), String> {
        let rules = self.region.rules(&self.group).into_iter();
        let now: BTreeMap<_, _> =
            rules.filter(|rule| self.foreign.contains_key(&rule.id)).map(|rule| (rule.id.clone(), rule)).collect();
        if now == self.foreign {
            Ok(())
        } else {
            Err(format!("a foreign rule was touched: {now:#?}\n{:#?}", self.foreign))
        }
    }

    /// The weather is good again, everything is stopped, the settle window passes.
    pub fn ends(mut self) -> Result<Count, String> {
        self.region.script(Script::default());
        self.region.set(|settings| *settings = RegionSettings::default());
        for machine in &mut self.machines {
            machine.fate = Fate::default();
        }
        if self.auto_closing {
            self.settles()?;
            self.auto_closes_are_right()?;
        }
        for who in 0..2 {
            if !self.machines[who].live().is_empty() {
                self.eg(who, &["session", "stop", "--all"])?;
            }
        }
        self.settles()?;
        for machine in &mut self.machines {
            let open: Vec<_> = machine
                .sessions()
                .into_iter()
                .filter(|s| s["status"] != "CANCELLED" && s["status"] != "EXPIRED")
                .collect();
            if !open.is_empty() {
                return Err(format!("sessions without an end: {open:#?}"));
            }
        }
        let left = self.ours();
        if !left.is_empty() {
            return Err(format!("left over: {left:#?}"));
        }
        let auto_closes = self.region.schedules();
        if !auto_closes.is_empty() {
            return Err(format!("switches left over: {auto_closes:#?}"));
        }
        self.foreign_rules_stand()?;
        self.no_foreign_rule_was_named()?;
        let calls = self.region.log().len();
        self.pass()?;
        match self.region.log().iter().skip(calls).find(|call| changes(call)) {
            Some(call) => Err(format!("it does not rest: {call:#?}")),
            None => Ok(self.count()),
        }
    }

    /// Every rule that somebody holds has an expiry schedule, which fires when the last of its holders lets go: not before, and not
    /// after.
    fn auto_closes_are_right(&self) -> Result<(), String> {
        let auto_closes: BTreeMap<String, _> =
            self.region.schedules().into_iter().map(|(key, schedule)| (key.name, schedule.at())).collect();
        for rule in self.ours() {
            let leases = rule.tags.iter().filter(|(key, _)| key.starts_with("eg:lease:"));
            let until = leases.filter_map(|(_, value)| value.parse::<DateTime<Utc>>().ok()).max();
            let at = auto_closes.get(&format!("eg-{}", rule.id)).copied().flatten();
            if at != until && until.is_some_and(|until| until > self.clock.now() + TimeDelta::minutes(2)) {
                return Err(format!("the switch of {rule:#?} fires at {at:?}"));
            }
        }
        Ok(())
    }

    /// Both reconcile; how it went.
    fn pass(&mut self) -> Result<[Ended; 2], String> {
        Ok([self.eg(0, &["reconcile"])?, self.eg(1, &["reconcile"])?])
    }

    fn settles(&mut self) -> Result<(), String> {
        let mut last = None;
        for _ in 0..6 {
            self.clock.advance(TimeDelta::seconds(SETTLED));
            let ended = self.pass()?;
            if ended.iter().all(|ended| ended.code == Some(0)) {
                return Ok(());
            }
            last = Some(ended);
        }
        Err(format!("it does not settle: {last:#?}\n{:#?}", self.ours()))
    }

    fn no_foreign_rule_was_named(&self) -> Result<(), String> {
        for call in self.region.log().iter().filter(|call| changes(call)) {
            if call.rules.iter().any(|id| self.foreign.contains_key(id)) {
                return Err(format!("a foreign rule was named: {call:#?}"));
            }
            let by_permission = call.fields.keys().any(|key| key.starts_with("IpPermissions"));
            if call.action == "RevokeSecurityGroupIngress" && by_permission {
                return Err(format!("revoked, and not by id: {call:#?}"));
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Count {
        let log = self.region.log();
        let rules = |action: &str| -> u64 {
            log.iter().filter(|call| call.action == action && call.effect).map(|call| call.rules.len() as u64).sum()
        };
        Count {
            scripts: 1,
            lives: self.machines.iter_mut().map(|machine| machine.sessions().len() as u64).sum(),
            commands: self.commands,
            crashes: self.crashes,
            calls: log.len() as u64,
            faults: log.iter().filter(|call| call.fault.is_some()).count() as u64,
            opened: rules("AuthorizeSecurityGroupIngress"),
            closed: rules("RevokeSecurityGroupIngress"),
        }
    }
}

/// Whether a call was meant to change something.
fn changes(call: &Call) -> bool {
    !call.dry_run && !call.action.starts_with("Describe") && !call.action.starts_with("Get")
}

/// The script of a weather. Late calls land within the settle window: later than that, AWS is not believed to act.
fn faults(weather: Weather, late_auto_closes: bool) -> Script {
    let late = |seconds| Fault::LandLate(TimeDelta::seconds(seconds));
    let changing = ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress", "CreateTags", "DeleteTags"];
    let scheduling = ["CreateSchedule", "UpdateSchedule", "DeleteSchedule"].into_iter().filter(|_| late_auto_closes);
    let lates = |chance: f64| {
        let on = move |action: &str, seconds| Rule::new(late(seconds)).on(action).dry_run(false).chance(chance);
        let all = changing.into_iter().chain(scheduling.clone());
        all.flat_map(move |action| [on(action, 40), on(action, 200)]).collect::<Vec<_>>()
    };
    let any = |fault: Fault, chance| vec![Rule::new(fault).chance(chance)];
    let rules = match weather {
        Weather::Fair => Vec::new(),
        Weather::LostAnswers => any(Fault::ResetAfter, 0.4),
        Weather::LostCalls => any(Fault::ResetBefore, 0.4),
        Weather::LateCalls => lates(0.3),
        Weather::ServerErrors => [any(Fault::Status(500), 0.3), any(Fault::StatusAfter(503), 0.3)].concat(),
        Weather::CutOff => any(Fault::TruncatedPage, 0.4),
        Weather::Throttled => any(Fault::Throttle, 0.5),
        Weather::Denied => any(Fault::Deny, 0.4),
        Weather::ExpiredToken => any(Fault::ExpiredToken, 0.4),
        Weather::Storm => [
            Fault::ResetAfter,
            Fault::ResetBefore,
            Fault::StatusAfter(500),
            Fault::TruncatedPage,
            Fault::Throttle,
            Fault::Deny,
        ]
        .into_iter()
        .map(|fault| Rule::new(fault).chance(0.08))
        .chain(lates(0.06))
        .collect(),
    };
    rules.into_iter().collect()
}
