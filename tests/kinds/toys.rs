//! Hands at the toy firewalls.

use super::{
    conforms,
    hand::{ALL_FAULTS, Able, Call, Fault, Hand, Seen},
};
use chrono::{DateTime, TimeDelta, Utc};
use eg_providers::toy::{self, Scripted, ToyEntry, ToyFile};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

/// A toy firewall of the kind with this number in [`KINDS`].
pub struct Toy<const KIND: usize> {
    path: PathBuf,
    ahead: Arc<AtomicI64>,
}

const KINDS: [&str; 7] = ["rule-tags", "entry-text", "container", "container-value", "bare", "timed", "blind"];

const fn able(kind: usize) -> Able {
    let blind = kind == 6;
    Able {
        name: KINDS[kind],
        reads: !blind,
        marks: kind != 4 && !blind,
        edits: match kind {
            0 | 4 => Ok(()),
            _ => Err("an entry is its value: another value is another entry"),
        },
        closes_by_itself: kind == 5,
        clock: true,
        vanishes: if blind { Err("nothing tells that its entries went with it") } else { Ok(()) },
        faults: ALL_FAULTS,
        no_fault: "",
    }
}

impl<const KIND: usize> Toy<KIND> {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes the file, once its entries whose time has come are gone.
    pub fn change<T>(&self, change: impl FnOnce(&mut ToyFile) -> T) -> T {
        let now = DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::seconds(self.ahead.load(Ordering::SeqCst));
        let passed = |file: &mut ToyFile| {
            file.pass_time(now);
            change(file)
        };
        toy::edit(&self.path, passed).expect("the firewall's file")
    }

    fn change_entry(&self, seen: &Seen, change: impl Fn(&mut ToyEntry)) {
        self.change(|file| {
            let found = file.entries.iter_mut().find(|entry| entry.rule_id().0 == seen.id);
            change(found.expect("the entry"));
        });
    }
}

impl<const KIND: usize> Hand for Toy<KIND> {
    const ABLE: Able = able(KIND);

    fn new(dir: &Path, ahead: &Arc<AtomicI64>) -> Self {
        let path = dir.join("toy.json");
        fs::write(&path, "").expect("a file");
        let toy = Self { path, ahead: Arc::clone(ahead) };
        toy.change(|file| drop(file.tags.insert("Name".to_owned(), "theirs".to_owned())));
        toy
    }

    fn config(&self) -> String {
        let (kind, path) = (KINDS[KIND], self.path.display());
        format!(
            "[[resource]]\nname = \"it\"\nprovider = \"toy\"\nkind = \"{kind}\"\nfile = \"{path}\"\nports = [\"tcp/22\"]\n\
             families = [\"ipv4\"]\n"
        )
    }

    fn entries(&self) -> Vec<Seen> {
        let seen = |entry: &ToyEntry| Seen {
            network: entry.permission.cidr().to_string(),
            id: entry.rule_id().0,
            whole: format!("{entry:?}"),
        };
        self.change(|file| file.entries.iter().map(seen).collect())
    }

    fn rest(&self) -> String {
        self.change(|file| format!("{:?}", file.tags))
    }

    fn changes(&self) -> Option<usize> {
        Some(self.change(|file| file.log.iter().filter(|(call, _)| *call != toy::ToyCall::Read).count()))
    }

    fn make(&self, network: &str) {
        let permission = format!("tcp|22|22|{network}").parse().expect("a permission");
        self.change(|file| {
            let mut entry = ToyEntry::by_hand(permission, "theirs");
            if matches!(KIND, 0 | 4) {
                file.ids += 1;
                entry.id = Some(format!("rule-{}", file.ids));
            }
            if KIND == 3 {
                entry.text.clear();
            }
            file.entries.push(entry);
        });
    }

    fn delete(&self, entry: &Seen) {
        self.change(|file| file.entries.retain(|known| known.rule_id().0 != entry.id));
    }

    fn edit(&self, entry: &Seen) {
        self.change_entry(entry, |entry| {
            entry.permission = "tcp|2222|2222|203.0.113.42/32".parse().expect("a permission");
        });
    }

    fn strip(&self, entry: &Seen) {
        self.change(|file| file.tags.retain(|key, _| !key.starts_with("eg:")));
        self.change_entry(entry, |entry| {
            entry.tags.clear();
            if let Some((head, _)) = entry.text.rsplit_once('\t') {
                entry.text = format!("{head}\t{{}}");
            }
        });
    }

    fn vanish(&self) {
        fs::remove_file(&self.path).expect("the file goes");
    }

    fn fault(&self, call: Call, fault: Fault) {
        let on_container = matches!(KIND, 2 | 3);
        let call = match call {
            Call::Read => toy::ToyCall::Read,
            Call::Open => toy::ToyCall::Open,
            Call::Close => toy::ToyCall::Close,
            Call::Mark if on_container => toy::ToyCall::Mark,
            Call::Mark => toy::ToyCall::Tag,
        };
        let fault = match fault {
            Fault::LostBefore => toy::ToyFault::LostBefore,
            Fault::LostAfter => toy::ToyFault::LostAfter,
            Fault::Throttled => toy::ToyFault::Throttled,
            Fault::Conflict => toy::ToyFault::Conflict,
            Fault::Quota => toy::ToyFault::Quota,
            Fault::Unreadable => toy::ToyFault::Unreadable,
        };
        self.change(|file| file.faults.push(Scripted { call, fault }));
    }

    fn call_off(&self) {
        self.change(|file| file.faults.clear());
    }
}

conforms!(rule_tags, Toy<0>);
conforms!(entry_text, Toy<1>);
conforms!(container, Toy<2>);
conforms!(container_value, Toy<3>);
conforms!(bare, Toy<4>);
conforms!(timed, Toy<5>);
conforms!(blind, Toy<6>);
