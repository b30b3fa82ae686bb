//! Hands at a managed prefix list and at a WAF IP set of the sandbox.

use super::{
    conforms,
    hand::{ALL_FAULTS, Able, Call, Fault, Hand, Seen},
};
use crate::harness::{REGION, sandboxed::ACCOUNT, says};
use chrono::{DateTime, TimeDelta, Utc};
use eg_model::net::permission::Permission;
use eg_sandbox::{Config, Fault as Struck, Handle, Rule, Sandbox, Script};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

/// A region and the faults in it.
struct Region {
    sandbox: Handle,
    faults: Mutex<Vec<Rule>>,
}

impl Region {
    fn new(ahead: &Arc<AtomicI64>) -> Self {
        let ahead = Arc::clone(ahead);
        let now = move || DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::seconds(ahead.load(Ordering::SeqCst));
        let sandbox = Sandbox::start(Config::new(42, Arc::new(now))).expect("the sandbox starts");
        Self { sandbox, faults: Mutex::default() }
    }

    fn changes(&self) -> usize {
        let reads = |action: &str| ["Describe", "Get", "List"].iter().any(|start| action.starts_with(start));
        self.sandbox.log().iter().filter(|call| !call.dry_run && !reads(&call.action)).count()
    }

    /// The next call of each action meets the fault.
    fn strike(&self, actions: &[&str], struck: &Struck) {
        let mut faults = self.faults.lock().expect("no test panicked with it");
        faults.extend(actions.iter().map(|action| Rule::new(struck.clone()).on(action).dry_run(false).times(1)));
        self.sandbox.script(faults.iter().cloned().collect::<Script>());
    }

    fn call_off(&self) {
        self.faults.lock().expect("no test panicked with it").clear();
        self.sandbox.script(Script::default());
    }
}

const ABLE: Able = Able {
    name: "",
    reads: true,
    marks: true,
    edits: Err("an entry is its address: another address is another entry"),
    closes_by_itself: false,
    clock: true,
    vanishes: Ok(()),
    faults: ALL_FAULTS,
    no_fault: "",
};

/// What AWS answers, with the service's own codes for a conflict and for a full firewall.
fn struck(fault: Fault, conflict: &str, quota: &str) -> Struck {
    let refuse = |code: &str| Struck::Refuse { code: code.to_owned(), message: "said so".to_owned(), status: 400 };
    match fault {
        Fault::LostBefore => Struck::ResetBefore,
        Fault::LostAfter => Struck::ResetAfter,
        Fault::Throttled => Struck::Throttle,
        Fault::Conflict => refuse(conflict),
        Fault::Quota => refuse(quota),
        Fault::Unreadable => Struck::Status(503),
    }
}

pub struct PrefixList {
    region: Region,
    list: String,
}

impl Hand for PrefixList {
    const ABLE: Able = Able { name: "prefix list", ..ABLE };

    fn new(_: &Path, ahead: &Arc<AtomicI64>) -> Self {
        let region = Region::new(ahead);
        let list = region.sandbox.create_prefix_list_in(ACCOUNT, REGION, "it", false, 20).expect("a list");
        region.sandbox.tag_by_hand(&list, &[("owner".to_owned(), "bob".to_owned())].into()).expect("a tag");
        Self { region, list }
    }

    fn endpoint(&self) -> Option<String> {
        Some(self.region.sandbox.endpoint())
    }

    fn config(&self) -> String {
        let list = &self.list;
        format!(
            "[[resource]]\nname = \"it\"\nkind = \"prefix-list\"\nid = \"{list}\"\nregion = \"{REGION}\"\nfamilies = [\"ipv4\"]\n"
        )
    }

    fn entries(&self) -> Vec<Seen> {
        let list = self.region.sandbox.prefix_list(&self.list);
        let entries = list.iter().flat_map(|list| list.entries());
        let seen = |entry: &eg_sandbox::PrefixListEntry| Seen {
            network: entry.cidr.to_string(),
            id: entry.description.clone().unwrap_or_default(),
            whole: format!("{entry:?}"),
        };
        entries.map(seen).collect()
    }

    fn rest(&self) -> String {
        let list = self.region.sandbox.prefix_list(&self.list);
        list.map(|list| format!("{} {} {:?}", list.name, list.max_entries, list.tags)).unwrap_or_default()
    }

    fn changes(&self) -> Option<usize> {
        Some(self.region.changes())
    }

    fn make(&self, network: &str) {
        self.region.sandbox.add_entry_by_hand(&self.list, network.parse().expect("a network"), "theirs");
    }

    fn delete(&self, entry: &Seen) {
        self.region.sandbox.remove_entry_by_hand(&self.list, entry.network.parse().expect("a network"));
    }

    fn edit(&self, _: &Seen) {
        unreachable!("an entry cannot be edited");
    }

    fn strip(&self, _: &Seen) {
        let mut tags = self.region.sandbox.prefix_list(&self.list).expect("the list").tags;
        tags.retain(|key, _| key.starts_with("eg:"));
        self.region.sandbox.untag_by_hand(&self.list, &tags).expect("tags go by hand");
    }

    fn vanish(&self) {
        self.region.sandbox.delete_prefix_list(&self.list);
    }

    fn fault(&self, call: Call, fault: Fault) {
        let actions: &[&str] = match call {
            Call::Read => &["DescribeManagedPrefixLists"],
            Call::Open | Call::Close => &["ModifyManagedPrefixList"],
            Call::Mark => &["CreateTags", "DeleteTags"],
        };
        let struck = struck(fault, "PrefixListVersionMismatch", "PrefixListMaxEntriesExceeded");
        self.region.strike(actions, &struck);
    }

    fn call_off(&self) {
        self.region.call_off();
    }
}

pub struct IpSet {
    region: Region,
    set: String,
}

impl Hand for IpSet {
    const ABLE: Able = Able { name: "WAF IP set", ..ABLE };

    fn new(_: &Path, ahead: &Arc<AtomicI64>) -> Self {
        let region = Region::new(ahead);
        let set = region.sandbox.create_ip_set_in(ACCOUNT, REGION, "it", false).expect("a set");
        region.sandbox.tag_ip_set_by_hand(&set, |tags| drop(tags.insert("owner".to_owned(), "bob".to_owned())));
        Self { region, set }
    }

    fn endpoint(&self) -> Option<String> {
        Some(self.region.sandbox.endpoint())
    }

    fn config(&self) -> String {
        let id = self.set.rsplit('/').next().expect("an id");
        format!(
            "[[resource]]\nname = \"it\"\nkind = \"waf-ip-set\"\nscope = \"regional\"\nset_name = \"it\"\nid = \"{id}\"\n\
             region = \"{REGION}\"\nfamilies = [\"ipv4\"]\n"
        )
    }

    fn entries(&self) -> Vec<Seen> {
        let set = self.region.sandbox.ip_set(&self.set);
        let seen = |address: String| Seen { network: address.clone(), id: address.clone(), whole: address };
        set.into_iter().flat_map(|set| set.addresses).map(seen).collect()
    }

    fn rest(&self) -> String {
        let set = self.region.sandbox.ip_set(&self.set);
        set.map(|set| format!("{:?} {:?}", set.description, set.tags)).unwrap_or_default()
    }

    fn changes(&self) -> Option<usize> {
        Some(self.region.changes())
    }

    fn make(&self, network: &str) {
        self.region.sandbox.edit_ip_set_by_hand(&self.set, |addresses| addresses.push(network.to_owned()));
    }

    fn delete(&self, entry: &Seen) {
        self.region
            .sandbox
            .edit_ip_set_by_hand(&self.set, |addresses| addresses.retain(|known| *known != entry.network));
    }

    fn edit(&self, _: &Seen) {
        unreachable!("an address cannot be edited");
    }

    fn strip(&self, _: &Seen) {
        self.region.sandbox.tag_ip_set_by_hand(&self.set, |tags| tags.retain(|key, _| !key.starts_with("eg:")));
    }

    fn vanish(&self) {
        self.region.sandbox.delete_ip_set(&self.set);
    }

    fn fault(&self, call: Call, fault: Fault) {
        let actions: &[&str] = match call {
            Call::Read => &["GetIPSet"],
            Call::Open | Call::Close => &["UpdateIPSet"],
            Call::Mark => &["TagResource", "UntagResource"],
        };
        self.region.strike(actions, &struck(fault, "WAFOptimisticLockException", "WAFLimitsExceededException"));
    }

    fn call_off(&self) {
        self.region.call_off();
    }
}

/// A full list is told in its own words, and opens nothing.
#[test]
fn a_full_list_says_so() {
    let bench = super::bench::Bench::<PrefixList>::new();
    for last in 1..=18 {
        bench.make(&format!("192.0.2.{last}/32"));
    }
    let outcome = bench.start(&bench.here);
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    says(&outcome, "the list holds 20 of at most 20 entries (it holds 20 entries, 0 of them eg's; ");
    bench.nothing_of_ours();
    bench.ends(&[]);
}

/// Machines that never came back have left their marks on a list until no more tags fit: those marks would lock out
/// everybody. The mark of an entry that is still there stays, since it tells whose the entry is.
#[test]
fn marks_that_were_left_behind_make_room() {
    let bench = super::bench::Bench::<PrefixList>::new();
    let digest = |network: &str| {
        let permission: Permission = format!("-1|-1|-1|{network}").parse().expect("a permission");
        permission.digest(&bench.hand.list)
    };
    let key = |n: usize| format!("eg:lease:{n:032x}");
    let ended = |n: usize, digest: &str| (key(n), format!("{digest}:rz{n:04}"));
    // The oldest of all is of an entry that is there.
    let mut tags: BTreeMap<String, String> = (2..50).map(|n| ended(n, "deadbeef")).collect();
    tags.extend([ended(1, &digest("203.0.113.0/25"))]);
    bench.hand.region.sandbox.tag_by_hand(&bench.hand.list, &tags).expect("tags");
    bench.start(&bench.here).expect_code(0);
    bench.our_entry();
    let tags_of = || bench.hand.region.sandbox.prefix_list(&bench.hand.list).expect("the list").tags;
    let left: BTreeSet<String> = tags_of().into_keys().filter(|key| tags.contains_key(key)).collect();
    assert_eq!(left, tags.into_keys().filter(|known| *known != key(2)).collect(), "the one that ended first is gone");
    bench.eg(&["session", "stop"]).expect_code(0);
    bench.nothing_of_ours();
    bench.others_are_untouched();
}

conforms!(prefix_list, PrefixList);
conforms!(ip_set, IpSet);
