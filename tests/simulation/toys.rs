//! Random lives with the other kinds of firewall: a toy firewall with entries of others, and two machines.
//!
//! What `docs/guarantees.md` names as weaker is left out: without marks, or where an entry is its value, nobody makes an
//! entry for the same address while `eg` has anything on record there; what is stripped is known by its id.

use crate::{
    Life,
    action::{Action, Weather, Who},
    eg_here::{Ended, Fate, Machine},
    world::{Count, SETTLED},
};
use chrono::{DateTime, TimeDelta};
use eg_model::net::permission::Permission;
use eg_providers::toy::{self, Call, Entry, Fault, Scripted, ToyFile};
use eg_sandbox::HandClock;
use std::{collections::BTreeMap, fs, path::PathBuf};
use tempfile::TempDir;

const ADDRESS: &str = "203.0.113.42";
const KINDS: [&str; 7] = ["container", "bare", "timed", "blind", "container-value", "entry-text", "rule-tags"];
const CALLS: [Call; 5] = [Call::Read, Call::Open, Call::Close, Call::Tag, Call::Mark];

pub struct ToyWorld {
    _dir: TempDir,
    clock: HandClock,
    path: PathBuf,
    kind: &'static str,
    machines: [Machine; 2],
    foreign: Vec<Entry>,
    twins: Vec<Entry>,
    tags: BTreeMap<String, String>,
    weather: Weather,
    lags: bool,
    dice: fastrand::Rng,
    commands: u64,
    crashes: u64,
}

impl ToyWorld {
    fn change<T>(&self, change: impl FnOnce(&mut ToyFile) -> T) -> T {
        let now = self.clock.now();
        let passed = |file: &mut ToyFile| {
            file.pass_time(now);
            change(file)
        };
        toy::edit(&self.path, passed).unwrap()
    }

    fn make(&mut self, permission: &str) -> Option<Entry> {
        let permission: Permission = permission.parse().unwrap();
        let (by_id, no_text) = (matches!(self.kind, "bare" | "rule-tags"), self.kind == "container-value");
        let made = self.change(|file| {
            let there = file.entries.iter().any(|entry| entry.permission == permission);
            let mut entry = Entry::by_hand(permission, if no_text { "" } else { "theirs" });
            if by_id {
                file.ids += 1;
                entry.id = Some(format!("rule-{}", file.ids));
            }
            (!there).then(|| {
                file.entries.push(entry.clone());
                entry
            })
        });
        self.foreign.extend(made.clone());
        made
    }

    fn ours(&self) -> Vec<Entry> {
        self.change(|file| file.entries.iter().filter(|entry| !self.foreign.contains(entry)).cloned().collect())
    }

    /// The ids of rules that an open lease knows.
    fn known(&self) -> Vec<String> {
        self.machines.iter().flat_map(Machine::known_rules).collect()
    }

    fn strip(&self, number: usize) {
        let (known, ours) = (self.known(), self.ours());
        if ours.is_empty() || !ours.iter().all(|entry| known.contains(&entry.rule_id().0)) {
            return;
        }
        let id = ours[number % ours.len()].rule_id();
        self.change(|file| {
            file.tags.retain(|key, _| !key.starts_with("eg:"));
            for entry in file.entries.iter_mut().filter(|entry| entry.rule_id() == id) {
                entry.tags.clear();
                if let Some((head, _)) = entry.text.rsplit_once('\t') {
                    entry.text = format!("{head}\t{{}}");
                }
            }
        });
    }

    /// Edits the n-th of `eg`'s rules, if an open lease knows its id and it can be edited in place.
    fn edit(&self, number: usize) {
        let known = self.known();
        let ours: Vec<Entry> = self.ours().into_iter().filter(|entry| known.contains(&entry.rule_id().0)).collect();
        if ours.is_empty() || !matches!(self.kind, "bare" | "rule-tags") {
            return;
        }
        let (id, port) = (ours[number % ours.len()].rule_id(), 9000 + self.commands);
        self.change(|file| {
            for entry in file.entries.iter_mut().filter(|entry| entry.rule_id() == id) {
                entry.permission = format!("tcp|{port}|{port}|192.0.2.1/32").parse().unwrap();
            }
        });
    }

    /// True if an entry of others cannot be taken for `eg`'s.
    fn may_make_twin(&self) -> bool {
        let quiet = |world: &Self| {
            let leases = world.machines.iter().map(Machine::open_leases).sum::<u32>();
            leases == 0 && world.change(|file| file.tags == world.tags)
        };
        !matches!(self.kind, "bare" | "container-value") || quiet(self)
    }

    /// What may happen to the calls of the next command.
    fn script_faults(&mut self) {
        let mut faults = Vec::new();
        for call in CALLS {
            let mut chance = |percent: u8, fault: Fault| {
                if self.dice.u8(0..100) < percent {
                    faults.push(Scripted { call, fault });
                }
            };
            let reads = call == Call::Read;
            match self.weather {
                Weather::Fair => {}
                Weather::LostAnswers => chance(40, Fault::LostAfter),
                Weather::LostCalls | Weather::LateCalls => chance(40, Fault::LostBefore),
                Weather::ServerErrors if reads => chance(30, Fault::Unreadable),
                Weather::ServerErrors => chance(30, Fault::LostAfter),
                Weather::CutOff if reads => chance(40, Fault::Unreadable),
                Weather::CutOff => chance(20, Fault::Conflict),
                Weather::Throttled => chance(50, Fault::Throttled),
                Weather::Denied | Weather::ExpiredToken => chance(40, Fault::Denied),
                Weather::Storm => {
                    for fault in [
                        Fault::LostAfter,
                        Fault::LostBefore,
                        Fault::Throttled,
                        Fault::Denied,
                        Fault::Conflict,
                        Fault::Quota,
                    ] {
                        chance(8, fault);
                    }
                }
            }
        }
        if self.lags && self.dice.bool() {
            faults.push(Scripted { call: Call::Read, fault: Fault::Lag });
        }
        // A throttled or lost call is made again by the same command, and may be struck again.
        self.dice.shuffle(&mut faults);
        self.change(|file| file.faults = faults);
    }

    fn eg(&mut self, who: Who, args: &[&str]) -> Result<Ended, String> {
        self.script_faults();
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
        let now = self.change(|file| file.entries.clone());
        match self.foreign.iter().find(|entry| !now.contains(entry)) {
            Some(entry) => Err(format!("{}: an entry of others was touched: {entry:?}, {now:#?}", self.kind)),
            None => Ok(()),
        }
    }

    fn settles(&mut self) -> Result<(), String> {
        let mut last = Vec::new();
        for _ in 0..6 {
            self.clock.advance(TimeDelta::seconds(SETTLED));
            last = vec![self.eg(0, &["reconcile"])?, self.eg(1, &["reconcile"])?];
            if last.iter().all(|ended| ended.code == Some(0)) {
                return Ok(());
            }
        }
        Err(format!("{}: it does not settle: {last:#?}\n{:#?}", self.kind, self.ours()))
    }

    fn count(&mut self) -> Count {
        let log = self.change(|file| file.log.clone());
        let done = |wanted: Call| {
            let arrived = |fault: &Option<Fault>| matches!(fault, None | Some(Fault::LostAfter));
            log.iter().filter(|(call, fault)| *call == wanted && arrived(fault)).count() as u64
        };
        Count {
            scripts: 1,
            lives: self.machines.iter_mut().map(|machine| machine.sessions().len() as u64).sum(),
            commands: self.commands,
            crashes: self.crashes,
            calls: log.len() as u64,
            faults: log.iter().filter(|(_, fault)| fault.is_some()).count() as u64,
            opened: done(Call::Open),
            closed: done(Call::Close),
        }
    }
}

impl Life for ToyWorld {
    fn begin(seed: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("eg-toys-").tempdir().unwrap();
        let clock = HandClock::at(DateTime::from_timestamp(1_900_000_000, 0).unwrap());
        let path = dir.path().join("toy.json");
        fs::write(&path, "").unwrap();
        let kind = KINDS[(seed % 7) as usize];
        let config = format!(
            "[[resource]]\nname = \"it\"\nprovider = \"toy\"\nkind = \"{kind}\"\nfile = \"{}\"\n\
             ports = [\"tcp/22\", \"tcp/443\"]\n",
            path.display()
        );
        let machine = |name: &str, salt: u64| Machine::new(dir.path(), name, seed ^ salt, &clock, "", &config);
        let mut world = Self {
            machines: [machine("alice", 0xa11ce), machine("bob", 0xb0b)],
            path,
            kind,
            clock,
            foreign: Vec::new(),
            twins: Vec::new(),
            tags: BTreeMap::from([("Name".to_owned(), "theirs".to_owned())]),
            weather: Weather::Fair,
            lags: false,
            dice: fastrand::Rng::with_seed(seed ^ 0xfa_175),
            commands: 0,
            crashes: 0,
            _dir: dir,
        };
        let tags = world.tags.clone();
        world.change(|file| file.tags = tags);
        for permission in ["tcp|22|22|198.51.100.7/32", "tcp|3389|3389|203.0.113.42/32", "tcp|22|22|203.0.113.0/24"] {
            world.make(permission).unwrap();
        }
        world
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Start(who, hours) => {
                let duration = format!("{hours}h");
                self.eg(*who, &["session", "start", "--ipv4", ADDRESS, "--duration", &duration])?;
            }
            Action::Stop(who, number) => self.of_live(*who, *number, ["session", "stop"], &[])?,
            Action::Extend(who, number) => self.of_live(*who, *number, ["session", "extend"], &["--hours", "1"])?,
            Action::Reconcile(who) => drop(self.eg(*who, &["reconcile"])?),
            Action::Advance(seconds) => self.clock.advance(TimeDelta::seconds(*seconds)),
            Action::ForeignTwin(port) if self.may_make_twin() => {
                let made = self.make(&format!("tcp|{port}|{port}|{ADDRESS}/32"));
                self.twins.extend(made);
            }
            Action::ForeignTwinGoes(number) if !self.twins.is_empty() => {
                let twin = self.twins.remove(number % self.twins.len());
                self.foreign.retain(|entry| *entry != twin);
                self.change(|file| file.entries.retain(|entry| *entry != twin));
            }
            Action::Deleted(number) => {
                let ours = self.ours();
                if let Some(gone) = ours.get(number % ours.len().max(1)) {
                    self.change(|file| file.entries.retain(|entry| entry != gone));
                }
            }
            Action::Edited(number) => self.edit(*number),
            Action::Stripped(number) => self.strip(*number),
            Action::Weather(weather) => self.weather = *weather,
            Action::Lag(seconds) => self.lags = *seconds > 0,
            Action::Crash(who, at) => self.machines[*who].fate = Fate { dies_at: Some(*at), full_from: None },
            Action::FullDisk(who, from) => self.machines[*who].fate = Fate { dies_at: None, full_from: Some(*from) },
            Action::ForeignTwin(_) | Action::ForeignTwinGoes(_) => {}
        }
        self.others_stand()
    }

    fn ends(mut self) -> Result<Count, String> {
        (self.weather, self.lags) = (Weather::Fair, false);
        self.machines.iter_mut().for_each(|machine| machine.fate = Fate::default());
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
                return Err(format!("{}: sessions without an end: {open:#?}", self.kind));
            }
        }
        let (left, tags) = (self.ours(), self.change(|file| file.tags.clone()));
        if !left.is_empty() || tags != self.tags {
            return Err(format!("{}: left over: {left:#?} {tags:?}", self.kind));
        }
        self.others_stand()?;
        let changes =
            |world: &Self| world.change(|file| file.log.iter().filter(|(call, _)| *call != Call::Read).count());
        let before = changes(&self);
        let last = [self.eg(0, &["reconcile"])?, self.eg(1, &["reconcile"])?];
        if changes(&self) != before || last.iter().any(|ended| ended.code != Some(0)) {
            return Err(format!("{}: it does not rest: {last:#?}", self.kind));
        }
        Ok(self.count())
    }
}
