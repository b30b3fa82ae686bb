//! Toy firewalls, which have the abilities of the other kinds.
//!
//! What `docs/guarantees.md` names as weaker is left out: without marks, or where an entry is its value, nobody makes an
//! entry for the same address while `eg` has anything on record there; what is stripped is known by its id.

use crate::{
    action::Weather,
    site::{Calls, Site},
};
use eg_model::net::permission::Permission;
use eg_providers::toy::{self, Scripted, ToyCall, ToyEntry, ToyFault, ToyFile};
use eg_sandbox::HandClock;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const KINDS: [&str; 7] = ["container", "bare", "timed", "blind", "container-value", "entry-text", "rule-tags"];
const CALLS: [ToyCall; 5] = [ToyCall::Read, ToyCall::Open, ToyCall::Close, ToyCall::Tag, ToyCall::Mark];

pub struct ToySite {
    clock: HandClock,
    path: PathBuf,
    kind: &'static str,
    tags: BTreeMap<String, String>,
    weather: Weather,
    lags: bool,
    dice: fastrand::Rng,
}

impl ToySite {
    fn change<T>(&self, change: impl FnOnce(&mut ToyFile) -> T) -> T {
        let now = self.clock.now();
        let passed = |file: &mut ToyFile| {
            file.pass_time(now);
            change(file)
        };
        toy::edit(&self.path, passed).unwrap()
    }

    /// True if an entry has an id of its own, and can be edited in place.
    fn has_ids(&self) -> bool {
        matches!(self.kind, "bare" | "rule-tags")
    }
}

impl Site for ToySite {
    type Entry = ToyEntry;

    fn new(seed: u64, dir: &Path, clock: &HandClock) -> Self {
        let path = dir.join("toy.json");
        fs::write(&path, "").unwrap();
        let site = Self {
            clock: clock.clone(),
            path,
            kind: KINDS[(seed % 7) as usize],
            tags: BTreeMap::from([("Name".to_owned(), "theirs".to_owned())]),
            weather: Weather::Fair,
            lags: false,
            dice: fastrand::Rng::with_seed(seed ^ 0xfa_175),
        };
        site.change(|file| file.tags.clone_from(&site.tags));
        site
    }

    fn endpoint(&self) -> String {
        String::new()
    }

    fn config(&self) -> String {
        format!(
            "[[resource]]\nname = \"it\"\nprovider = \"toy\"\nkind = \"{}\"\nfile = \"{}\"\n\
             ports = [\"tcp/22\", \"tcp/443\"]\n",
            self.kind,
            self.path.display()
        )
    }

    fn entries(&self) -> Vec<ToyEntry> {
        self.change(|file| file.entries.clone())
    }

    fn id(entry: &ToyEntry) -> String {
        entry.rule_id().0
    }

    fn make(&mut self, ports: &str, cidr: &str) -> Option<ToyEntry> {
        let port = ports.trim_start_matches("tcp/");
        let permission: Permission = format!("tcp|{port}|{port}|{cidr}").parse().unwrap();
        let text = if self.kind == "container-value" { "" } else { "theirs" };
        self.change(|file| {
            let there = file.entries.iter().any(|entry| entry.permission == permission);
            let mut entry = ToyEntry::by_hand(permission, text);
            if self.has_ids() {
                file.ids += 1;
                entry.id = Some(format!("rule-{}", file.ids));
            }
            (!there).then(|| {
                file.entries.push(entry.clone());
                entry
            })
        })
    }

    fn may_make_twin(&self, open_leases: u32) -> bool {
        let unmarked = matches!(self.kind, "bare" | "container-value");
        !unmarked || (open_leases == 0 && self.change(|file| file.tags == self.tags))
    }

    fn remove(&mut self, gone: &ToyEntry) {
        self.change(|file| file.entries.retain(|entry| entry != gone));
    }

    fn edit(&mut self, edited: &ToyEntry, number: u64) -> Option<ToyEntry> {
        if self.has_ids() {
            let permission = format!("tcp|{0}|{0}|192.0.2.1/32", 9000 + number).parse().unwrap();
            self.change(|file| {
                for entry in file.entries.iter_mut().filter(|entry| entry.rule_id() == edited.rule_id()) {
                    entry.permission = permission;
                }
            });
        }
        None
    }

    fn strip(&mut self, stripped: &ToyEntry) {
        self.change(|file| {
            file.tags.retain(|key, _| !key.starts_with("eg:"));
            for entry in file.entries.iter_mut().filter(|entry| entry.rule_id() == stripped.rule_id()) {
                entry.tags.clear();
                if let Some((head, _)) = entry.text.rsplit_once('\t') {
                    entry.text = format!("{head}\t{{}}");
                }
            }
        });
    }

    fn strips_all(&self) -> bool {
        true
    }

    fn weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    fn lag(&mut self, seconds: i64) {
        self.lags = seconds > 0;
    }

    /// Scripts what may happen to its calls.
    fn before_command(&mut self) {
        let mut faults = Vec::new();
        for call in CALLS {
            let mut chance = |percent: u8, fault: ToyFault| {
                if self.dice.u8(0..100) < percent {
                    faults.push(Scripted { call, fault });
                }
            };
            let reads = call == ToyCall::Read;
            match self.weather {
                Weather::Fair => {}
                Weather::LostAnswers => chance(40, ToyFault::LostAfter),
                Weather::LostCalls | Weather::LateCalls => chance(40, ToyFault::LostBefore),
                Weather::ServerErrors if reads => chance(30, ToyFault::Unreadable),
                Weather::ServerErrors => chance(30, ToyFault::LostAfter),
                Weather::CutOff if reads => chance(40, ToyFault::Unreadable),
                Weather::CutOff => chance(20, ToyFault::Conflict),
                Weather::Throttled => chance(50, ToyFault::Throttled),
                Weather::Denied | Weather::ExpiredToken => chance(40, ToyFault::Denied),
                Weather::Storm => {
                    for fault in [
                        ToyFault::LostAfter,
                        ToyFault::LostBefore,
                        ToyFault::Throttled,
                        ToyFault::Denied,
                        ToyFault::Conflict,
                        ToyFault::Quota,
                    ] {
                        chance(8, fault);
                    }
                }
            }
        }
        if self.lags && self.dice.bool() {
            faults.push(Scripted { call: ToyCall::Read, fault: ToyFault::Lag });
        }
        // A throttled or lost call is made again by the same command, and may be struck again.
        self.dice.shuffle(&mut faults);
        self.change(|file| file.faults = faults);
    }

    fn in_the_end(&self, _: &[ToyEntry]) -> Result<(), String> {
        let tags = self.change(|file| file.tags.clone());
        if tags == self.tags { Ok(()) } else { Err(format!("{}: tags left over: {tags:?}", self.kind)) }
    }

    fn changes(&self) -> Vec<String> {
        self.change(|file| file.log.clone())
            .iter()
            .filter(|(call, _)| *call != ToyCall::Read)
            .map(|it| format!("{it:?}"))
            .collect()
    }

    fn calls(&self) -> Calls {
        let log = self.change(|file| file.log.clone());
        let done = |wanted: ToyCall| {
            let arrived = |fault: &Option<ToyFault>| matches!(fault, None | Some(ToyFault::LostAfter));
            log.iter().filter(|(call, fault)| *call == wanted && arrived(fault)).count() as u64
        };
        Calls {
            all: log.len() as u64,
            struck: log.iter().filter(|(_, fault)| fault.is_some()).count() as u64,
            opened: done(ToyCall::Open),
            closed: done(ToyCall::Close),
        }
    }
}
