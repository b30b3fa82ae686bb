//! A firewall with entries of others, two machines, and what may never happen to them.

use crate::{
    action::{Action, Weather, Who},
    eg_here::{Ended, Fate, Machine},
    site::{ADDRESS, Site},
};
use chrono::{DateTime, TimeDelta};
use eg_sandbox::HandClock;
use std::{fmt, ops::AddAssign};
use tempfile::TempDir;

/// Longer than the settle window, in seconds.
pub const SETTLED: i64 = eg_model::SETTLE_WINDOW.num_seconds() + 5;

/// What was lived through, by the firewall's own log.
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
    /// Entries that `eg` opened, and entries that it closed.
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
             {} entries opened and {} closed by eg; 0 foreign entries touched, 0 left over",
            self.scripts, self.lives, self.commands, self.crashes, self.calls, self.faults, self.opened, self.closed
        )
    }
}

pub struct World<S: Site> {
    clock: HandClock,
    site: S,
    machines: [Machine; 2],
    foreign: Vec<S::Entry>,
    twins: Vec<S::Entry>,
    commands: u64,
    crashes: u64,
    _dir: TempDir,
}

impl<S: Site> World<S> {
    pub fn new(seed: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("eg-lives-").tempdir().unwrap();
        let clock = HandClock::at(DateTime::from_timestamp(1_900_000_000, 0).unwrap());
        let mut site = S::new(seed, dir.path(), &clock);
        let (endpoint, config) = (site.endpoint(), site.config());
        let machine = |name: &str, salt: u64| Machine::new(dir.path(), name, seed ^ salt, &clock, &endpoint, &config);
        let machines = [machine("alice", 0xa11ce), machine("bob", 0xb0b)];
        let foreign = S::STRANGERS.iter().map(|(ports, cidr)| site.make(ports, cidr).unwrap()).collect();
        Self { machines, clock, site, foreign, twins: Vec::new(), commands: 0, crashes: 0, _dir: dir }
    }

    fn ours(&self) -> Vec<S::Entry> {
        self.site.entries().into_iter().filter(|entry| !self.foreign.contains(entry)).collect()
    }

    /// Of our entries, one whose id some open lease knows. (What is edited or stripped before is not covered: see
    /// `docs/guarantees.md`.) With `all`, only if every one is known so.
    fn known(&self, number: usize, all: bool) -> Option<S::Entry> {
        let known: Vec<String> = self.machines.iter().flat_map(Machine::known_rules).collect();
        let ours = self.ours();
        let count = ours.len();
        let mut ours: Vec<S::Entry> = ours.into_iter().filter(|entry| known.contains(&S::id(entry))).collect();
        (!ours.is_empty() && (!all || ours.len() == count)).then(|| ours.swap_remove(number % ours.len()))
    }

    pub fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Start(who, hours) => {
                let duration = format!("{hours}h");
                self.eg(*who, &["session", "start", "--ipv4", ADDRESS, "--duration", &duration])?;
            }
            Action::Stop(who, number) => self.of_live(*who, *number, ["session", "stop"], &[])?,
            Action::Extend(who, number) => self.of_live(*who, *number, ["session", "extend"], &["--hours", "1"])?,
            Action::Reconcile(who) => drop(self.eg(*who, &["reconcile"])?),
            Action::Advance(seconds) => self.clock.advance(TimeDelta::seconds(*seconds)),
            Action::ForeignTwin(port) => {
                if self.site.may_make_twin(self.machines.iter().map(Machine::open_leases).sum()) {
                    let made = self.site.make(&format!("tcp/{port}"), &format!("{ADDRESS}/32"));
                    self.foreign.extend(made.clone());
                    self.twins.extend(made);
                }
            }
            Action::ForeignTwinGoes(number) => {
                if !self.twins.is_empty() {
                    let twin = self.twins.remove(number % self.twins.len());
                    self.foreign.retain(|entry| *entry != twin);
                    self.site.remove(&twin);
                }
            }
            Action::Deleted(number) => {
                let ours = self.ours();
                if let Some(entry) = ours.get(number % ours.len().max(1)) {
                    self.site.remove(entry);
                }
            }
            Action::Edited(number) => {
                if let Some(entry) = self.known(*number, false) {
                    let theirs = self.site.edit(&entry, self.commands);
                    self.foreign.extend(theirs.clone());
                    self.twins.extend(theirs);
                }
            }
            Action::Stripped(number) => {
                if let Some(entry) = self.known(*number, self.site.strips_all()) {
                    self.site.strip(&entry);
                }
            }
            Action::Weather(weather) => self.site.weather(*weather),
            Action::Lag(seconds) => self.site.lag(*seconds),
            Action::Crash(who, at) => self.machines[*who].fate = Fate { dies_at: Some(*at), full_from: None },
            Action::FullDisk(who, from) => self.machines[*who].fate = Fate { dies_at: None, full_from: Some(*from) },
        }
        self.others_stand()
    }

    /// Runs a command. It may fail, and it may die; it may not panic, nor be at a loss for an exit status.
    fn eg(&mut self, who: Who, args: &[&str]) -> Result<Ended, String> {
        self.site.before_command();
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

    fn of_live(&mut self, who: Who, number: usize, args: [&str; 2], more: &[&str]) -> Result<(), String> {
        let live = self.machines[who].live();
        let Some(id) = live.get(number % live.len().max(1)) else { return Ok(()) };
        let args = [&args[..], &[id.as_str()], more].concat();
        self.eg(who, &args).map(drop)
    }

    fn others_stand(&self) -> Result<(), String> {
        let now = self.site.entries();
        match self.foreign.iter().find(|entry| !now.contains(entry)) {
            Some(entry) => Err(format!("an entry of others was touched: {entry:#?}\n{now:#?}")),
            None => Ok(()),
        }
    }

    /// The weather is good again, everything is stopped, the settle window passes.
    pub fn ends(mut self) -> Result<Count, String> {
        self.site.weather(Weather::Fair);
        self.site.lag(0);
        self.machines.iter_mut().for_each(|machine| machine.fate = Fate::default());
        if self.site.while_open(&[]).is_some() {
            self.settles()?;
            self.site.while_open(&self.ours()).unwrap_or(Ok(()))?;
        }
        for who in 0..2 {
            if !self.machines[who].live().is_empty() {
                self.eg(who, &["session", "stop", "--all"])?;
            }
        }
        self.settles()?;
        for machine in &mut self.machines {
            let ended = |status: &str| status == "CANCELLED" || status == "EXPIRED";
            let mut sessions = machine.sessions();
            sessions.retain(|session| !session["status"].as_str().is_some_and(ended));
            if !sessions.is_empty() {
                return Err(format!("sessions without an end: {sessions:#?}"));
            }
        }
        let left = self.ours();
        if !left.is_empty() {
            return Err(format!("left over: {left:#?}"));
        }
        self.others_stand()?;
        self.site.in_the_end(&self.foreign)?;
        let before = self.site.changes().len();
        let last = self.pass()?;
        match (self.site.changes().get(before), last.iter().find(|ended| ended.code != Some(0))) {
            (None, None) => Ok(self.count()),
            (change, ended) => Err(format!("it does not rest: {change:?} {ended:#?}")),
        }
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

    fn count(&mut self) -> Count {
        let calls = self.site.calls();
        Count {
            scripts: 1,
            lives: self.machines.iter_mut().map(|machine| machine.sessions().len() as u64).sum(),
            commands: self.commands,
            crashes: self.crashes,
            calls: calls.all,
            faults: calls.struck,
            opened: calls.opened,
            closed: calls.closed,
        }
    }
}
