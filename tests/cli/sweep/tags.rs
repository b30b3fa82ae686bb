//! Tags of installations that never come back, on a prefix list and on a WAF IP set.

use super::*;
use crate::harness::sandboxed::ACCOUNT;
use eg_model::{container_mark::ContainerMark, net::permission::Permission};
use std::time::Duration;

/// A list and a set, with an entry and a tag of others in each.
struct Lists {
    world: Sandboxed,
    list: String,
    set: String,
}

impl Lists {
    fn new() -> Self {
        let world = Sandboxed::with(&[("api", &["tcp/22"])]);
        let list = world.region.create_prefix_list_in(ACCOUNT, REGION, "office", false, 20).unwrap();
        let set = world.region.create_ip_set_in(ACCOUNT, REGION, "web", false).unwrap();
        let lists = Self { world, list, set };
        lists.world.region.add_entry_by_hand(&lists.list, "198.51.100.0/24".parse().unwrap(), "theirs");
        lists.world.region.edit_ip_set_by_hand(&lists.set, |addresses| addresses.push("198.51.100.0/24".to_owned()));
        lists.tag("Name", "theirs");
        lists
    }

    /// Writes a tag on both.
    fn tag(&self, key: &str, value: &str) {
        let tag = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        self.world.region.tag_by_hand(&self.list, &tag).unwrap();
        self.world.region.tag_ip_set_by_hand(&self.set, |tags| tags.extend(tag));
    }

    /// Entries and tags of both.
    fn all(&self) -> String {
        let (list, set) =
            (self.world.region.prefix_list(&self.list).unwrap(), self.world.region.ip_set(&self.set).unwrap());
        format!("{:#?}\n{:#?}\n{:#?}\n{:#?}", list.entries(), list.tags, set.addresses, set.tags)
    }

    /// Another machine opens both for an hour, and never comes back.
    fn left_behind(&self) {
        let parts: Vec<&str> = self.set.split('/').collect();
        let gone = self.world.installation("gone");
        gone.write_config(&format!(
            "[[resource]]\nname = \"office\"\nkind = \"prefix-list\"\nid = \"{}\"\nregion = \"{REGION}\"\n\
             [[resource]]\nname = \"web\"\nkind = \"waf-ip-set\"\nscope = \"{}\"\nset_name = \"{}\"\nid = \"{}\"\n\
             region = \"{REGION}\"\n",
            self.list, parts[0], parts[1], parts[2],
        ));
        gone.eg(&["session", "start", "--ipv4", IPV4, "--duration", "1h"]).expect_code(0);
    }

    /// The value of a tag that names leases which end so many seconds from now.
    fn value(&self, ends: &[i64]) -> String {
        let digest = |number: usize| {
            let permission: Permission = format!("-1|-1|-1|203.0.113.{number}/32").parse().unwrap();
            permission.digest(&self.list)
        };
        let lease = |(number, end): (usize, &i64)| (digest(number), self.world.in_seconds(*end));
        ContainerMark::write(&(100..).zip(ends).map(lease).collect()).unwrap()
    }
}

fn outcomes(document: &Value) -> Vec<(String, String)> {
    let text = |tag: &Value, key: &str| tag[key].as_str().unwrap_or("-").to_owned();
    document["tags"].as_array().unwrap().iter().map(|tag| (text(tag, "kind"), text(tag, "outcome"))).collect()
}

fn both(outcome: &str) -> Vec<(String, String)> {
    ["prefix-list", "waf-ip-set"].map(|kind| (kind.to_owned(), outcome.to_owned())).to_vec()
}

#[test]
fn the_tags_of_a_dead_installation_go_with_its_entries() {
    let lists = Lists::new();
    let (before, here) = (lists.all(), stranger(&lists.world));
    lists.left_behind();
    let held = lists.all();
    let living = swept(&here, &[], 0);
    assert_eq!((outcomes(&living), lists.all()), (vec![], held.clone()), "a live installation keeps all");

    lists.world.advance(2 * HOUR);
    let planned = swept(&here, &["--dry-run"], 3);
    assert_eq!((outcomes(&planned), lists.all()), (both("planned"), held));
    let shown = sweep(&here, &["--dry-run"], 3);
    assert!(
        shown.stdout.contains("to remove") && shown.stdout.contains("; 2 expired tags would be removed"),
        "{shown}"
    );
    assert_eq!(outcomes(&swept(&here, &["--dry-run", "--older-than", "2h"], 0)), []);
    assert_eq!(outcomes(&swept(&here, &["--dry-run", "--kind", "prefix-list"], 3)), both("planned")[..1]);

    let done = swept(&here, &[], 0);
    assert_eq!((outcomes(&done), lists.all()), (both("done"), before.clone()));
    assert_eq!(outcomes(&swept(&here, &[], 0)), []);

    // Nothing of it comes back with the installation.
    lists.world.advance(SETTLED);
    let gone = lists.world.installation("gone-again");
    gone.eg(&["sweep", "--region", REGION]).expect_code(0);
    assert_eq!(lists.all(), before);
    lists.world.ends();
}

/// What is due is decided by the first reading. A lease whose grace ends after it still holds its entry, and so its tag.
#[test]
fn a_lease_that_ends_during_the_sweep_keeps_its_tag() {
    let lists = Lists::new();
    let (before, here) = (lists.all(), stranger(&lists.world));
    lists.left_behind();
    let held = lists.all();
    lists.world.advance(HOUR + 10 * MINUTE - 2);
    let entries = "GetManagedPrefixListEntries";
    lists.world.region.script([on(entries, Fault::Slow(Duration::from_secs(2))).times(1)]);
    lists.world.forget_calls();
    let done = thread::scope(|scope| {
        let run = scope.spawn(|| swept(&here, &["--kind", "prefix-list"], 0));
        lists.world.wait_for(entries);
        lists.world.advance(5);
        run.join().unwrap()
    });
    assert_eq!((outcomes(&done), lists.all()), (vec![], held));
    lists.world.advance(MINUTE);
    swept(&here, &[], 0);
    assert_eq!(lists.all(), before);
    lists.world.ends();
}

/// What an installation needs still, or what no `eg` of today wrote, stays to the letter.
#[test]
fn what_is_not_dead_stays() {
    let lists = Lists::new();
    let here = stranger(&lists.world);
    for (number, value) in [
        (1, lists.value(&[-HOUR, HOUR])),
        (2, lists.value(&[-5 * MINUTE])),
        (3, lists.value(&[-HOUR]) + " v2:later"),
        (4, "soon".to_owned()),
        (5, lists.value(&[40 * 24 * HOUR])),
    ] {
        lists.tag(&lease_key(&installation(number)), &value);
    }
    lists.tag("eg:leases", &lists.value(&[-HOUR]));
    let before = lists.all();
    assert_eq!((outcomes(&swept(&here, &[], 0)), lists.all()), (vec![], before));
    // No entry is left: the tag alone is found.
    lists.tag(&lease_key(&installation(2)), &lists.value(&[-HOUR]));
    let shown = sweep(&here, &["--kind", "prefix-list", "--kind", "waf-ip-set"], 0);
    assert!(shown.stdout.contains("No rules managed by eg; 2 expired tags removed"), "{shown}");
    lists.world.ends();
}

/// A tag is the proof of its entries: it stays while one of them may be open. What is refused is told.
#[test]
fn what_is_refused() {
    let lists = Lists::new();
    let (before, here) = (lists.all(), stranger(&lists.world));
    lists.left_behind();
    let held = lists.all();
    lists.world.advance(2 * HOUR);
    lists.world.region.script([on("ModifyManagedPrefixList", Fault::Deny), on("UpdateIPSet", Fault::Deny)]);
    let kept = swept(&here, &[], 1);
    assert_eq!((outcomes(&kept), lists.all()), (vec![], held));
    // An address of a set has no text, so none is shown.
    let texts = |kind: &str| {
        let rules = kept["rules"].as_array().unwrap().iter().filter(|rule| rule["kind"] == kind);
        rules.map(|rule| rule["description"].is_string()).collect::<Vec<_>>()
    };
    assert_eq!([texts("prefix-list"), texts("waf-ip-set")], [vec![true], vec![false]]);

    lists.world.region.script([on("DeleteTags", Fault::Deny), on("UntagResource", Fault::Deny)]);
    let refused = sweep(&here, &[], 3);
    assert!(refused.stderr.contains("2 tags are not known to be removed: not permitted"), "{refused}");
    let again = sweep(&here, &[], 1);
    assert!(again.stdout.contains("refused"), "{again}");

    // A call that nobody answers, and one that is too fast, are made again.
    lists
        .world
        .region
        .script([on("DeleteTags", Fault::ResetAfter).times(1), on("UntagResource", Fault::Throttle).times(1)]);
    assert_eq!((outcomes(&swept(&here, &[], 0)), lists.all()), (both("done"), before));
    lists.world.ends();
}
