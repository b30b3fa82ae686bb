//! A managed prefix list of the sandbox: versions, changes that take a while or fail later, marks in tags of the list.
//!
//! The list has no ports, and one entry for each network. So a person who edits the entry of `eg` makes it an entry of
//! others: its description was all that told whose it is.

use crate::{
    action::Weather,
    site::{ACCOUNT, ADDRESS, Calls, Site, changes_in, faults, lag_behind, set},
};
use chrono::TimeDelta;
use eg_sandbox::{Call, Config, Fault, HandClock, Handle, PrefixListEntry, Rule, Sandbox, StaleSight};
use std::{collections::BTreeMap, path::Path, sync::Arc};

const CHANGE: &str = "ModifyManagedPrefixList";

pub struct ListSite {
    region: Handle,
    list: String,
    tags: BTreeMap<String, String>,
}

impl Site for ListSite {
    type Entry = PrefixListEntry;

    /// None is for the address of the two machines: it would cover every session.
    const STRANGERS: [(&'static str, &'static str); 3] =
        [("", "198.51.100.7/32"), ("", "203.0.113.43/32"), ("", "203.0.113.0/24")];

    fn new(seed: u64, _: &Path, clock: &HandClock) -> Self {
        // A change takes a while, so time passes while `eg` asks for its end.
        let (reads, moves) = (clock.clock(), clock.clone());
        let ticking = move || {
            moves.advance(TimeDelta::milliseconds(500));
            reads()
        };
        let region = Sandbox::start(Config::new(seed, Arc::new(ticking))).unwrap();
        // In every third life it takes none: the answer is the end.
        let takes = TimeDelta::milliseconds(if seed.is_multiple_of(3) { 0 } else { 1_200 });
        region.set(|settings| settings.list_changes_take = takes);
        let list = region.create_prefix_list_in(ACCOUNT, "eu-west-1", "people", false, 10).unwrap();
        let tags = BTreeMap::from([("Name".to_owned(), "theirs".to_owned())]);
        region.tag_by_hand(&list, &tags).unwrap();
        Self { region, list, tags }
    }

    fn endpoint(&self) -> String {
        self.region.endpoint()
    }

    fn config(&self) -> String {
        format!(
            "[[resource]]\nname = \"people\"\nkind = \"prefix-list\"\nid = \"{}\"\nregion = \"eu-west-1\"\n\
             profile = \"sandbox\"\n",
            self.list
        )
    }

    fn entries(&self) -> Vec<PrefixListEntry> {
        self.region.prefix_list(&self.list).unwrap().entries().to_vec()
    }

    /// As `eg` reads it from the description.
    fn id(entry: &PrefixListEntry) -> String {
        let origin = entry.description.as_deref().and_then(|text| text.rsplit_once(" ("));
        let nonce = origin.and_then(|(_, origin)| origin.split_once(' '));
        nonce.map_or_else(|| entry.cidr.to_string(), |(nonce, _)| format!("{}#{nonce}", entry.cidr))
    }

    fn make(&mut self, _: &str, cidr: &str) -> Option<PrefixListEntry> {
        let made = PrefixListEntry { cidr: cidr.parse().unwrap(), description: Some("theirs".to_owned()) };
        let there = self.entries().iter().any(|known| known.cidr == made.cidr);
        (!there).then(|| {
            self.region.add_entry_by_hand(&self.list, made.cidr, "theirs");
            made
        })
    }

    fn remove(&mut self, entry: &PrefixListEntry) {
        self.region.remove_entry_by_hand(&self.list, entry.cidr);
    }

    fn edit(&mut self, entry: &PrefixListEntry, number: u64) -> Option<PrefixListEntry> {
        let description = format!("theirs since {number}");
        self.region.add_entry_by_hand(&self.list, entry.cidr, &description);
        Some(PrefixListEntry { cidr: entry.cidr, description: Some(description) })
    }

    fn strip(&mut self, _: &PrefixListEntry) {
        self.region.untag_by_hand(&self.list, &BTreeMap::new()).unwrap();
        self.region.tag_by_hand(&self.list, &self.tags).unwrap();
    }

    fn strips_all(&self) -> bool {
        true
    }

    fn weather(&mut self, weather: Weather) {
        let on_change = |fault, chance| Rule::new(fault).on(CHANGE).dry_run(false).chance(chance);
        let mut rules = faults(weather, &[CHANGE, "CreateTags", "DeleteTags"]);
        match weather {
            Weather::ServerErrors => rules.push(on_change(Fault::FailsLater("try again".to_owned()), 0.3)),
            Weather::Storm => {
                rules.push(on_change(Fault::FailsLater("try again".to_owned()), 0.1));
                // The wait for its end is real time.
                rules.push(on_change(Fault::StaysInProgress(TimeDelta::seconds(6)), 0.02));
            }
            _ => {}
        }
        set(&self.region, rules);
    }

    fn lag(&mut self, seconds: i64) {
        lag_behind(&self.region, seconds, &[StaleSight::OldVersion, StaleSight::TagsMissing]);
    }

    fn in_the_end(&self, _: &[PrefixListEntry]) -> Result<(), String> {
        let list = self.region.prefix_list(&self.list).unwrap();
        if list.tags != self.tags {
            return Err(format!("tags left over: {:?}", list.tags));
        }
        for call in changes_in(&self.region).iter().filter(|call| call.action == CHANGE) {
            let ours = format!("{ADDRESS}/32");
            if ["AddEntry", "RemoveEntry"].iter().any(|part| cidrs(call, part).any(|cidr| *cidr != ours)) {
                return Err(format!("a foreign entry was named: {call:#?}"));
            }
            if !call.fields.contains_key("CurrentVersion") {
                return Err(format!("changed without a version: {call:#?}"));
            }
        }
        Ok(())
    }

    fn changes(&self) -> Vec<String> {
        changes_in(&self.region).iter().map(|call| format!("{call:#?}")).collect()
    }

    fn calls(&self) -> Calls {
        let log = self.region.log();
        let changed = |part: fn(&Call) -> usize| -> u64 {
            log.iter().filter(|call| call.action == CHANGE && call.effect).map(|call| part(call) as u64).sum()
        };
        Calls {
            all: log.len() as u64,
            struck: log.iter().filter(|call| call.fault.is_some()).count() as u64,
            opened: changed(|call| cidrs(call, "AddEntry").count()),
            closed: changed(|call| cidrs(call, "RemoveEntry").count()),
        }
    }
}

fn cidrs<'c>(call: &'c Call, part: &str) -> impl Iterator<Item = &'c String> {
    let start = format!("{part}.");
    call.fields.iter().filter(move |(key, _)| key.starts_with(&start) && key.ends_with(".Cidr")).map(|(_, cidr)| cidr)
}
