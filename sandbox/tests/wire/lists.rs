//! Prefix lists: versions, changes in progress, refusals, and what a person does to a list.

use crate::{
    Bench,
    support::{Element, fields},
};
use chrono::TimeDelta;
use eg_sandbox::{Fault, Rule, Stale, StaleSight};
use std::collections::BTreeMap;

const HOME: &str = "203.0.113.42/32";

/// A bench with a list for three entries.
struct Lists {
    bench: Bench,
    list: String,
}

impl Lists {
    fn new() -> Self {
        let bench = Bench::new();
        let list = bench.handle.create_prefix_list("people", false, 3).unwrap();
        Self { bench, list }
    }

    fn modify(&self, version: &str, more: &[(&str, &str)]) -> String {
        let call = [&[("PrefixListId", self.list.as_str()), ("CurrentVersion", version)], more].concat();
        self.bench.client.code("ModifyManagedPrefixList", &fields(&call))
    }

    fn described(&self) -> Element {
        let answer = self.bench.client.get("DescribeManagedPrefixLists", &fields(&[("PrefixListId.1", &self.list)]));
        answer.items("prefixListSet")[0].clone()
    }

    fn state(&self) -> (String, String) {
        let list = self.described();
        (list.text_of("state"), list.text_of("version"))
    }

    fn entries(&self, more: &[(&str, &str)]) -> Vec<String> {
        let call = [&[("PrefixListId", self.list.as_str())], more].concat();
        self.bench.client.get("GetManagedPrefixListEntries", &fields(&call)).each("entrySet", "cidr")
    }
}

fn state(state: &str, version: &str) -> (String, String) {
    (state.to_owned(), version.to_owned())
}

#[test]
fn a_change_makes_a_version_when_it_is_done() {
    let lists = Lists::new();
    assert_eq!(lists.state(), state("create-complete", "1"));
    lists.bench.handle.set(|settings| settings.list_changes_take = TimeDelta::minutes(1));
    assert_eq!(lists.modify("1", &[("AddEntry.1.Cidr", HOME)]), "OK");
    assert_eq!(lists.state(), state("modify-in-progress", "1"));
    assert!(lists.entries(&[]).is_empty());
    assert_eq!(lists.modify("1", &[("AddEntry.1.Cidr", "192.0.2.1/32")]), "IncorrectState");

    lists.bench.clock.advance(TimeDelta::minutes(1));
    assert_eq!(lists.state(), state("modify-complete", "2"));
    assert_eq!(lists.entries(&[]), [HOME]);
    assert!(lists.entries(&[("TargetVersion", "1")]).is_empty());
    assert_eq!(lists.modify("1", &[("AddEntry.1.Cidr", "192.0.2.1/32")]), "PrefixListVersionMismatch");
    assert_eq!(lists.bench.handle.prefix_list(&lists.list).unwrap().entries().len(), 1);
}

#[test]
fn a_change_that_fails_later() {
    let lists = Lists::new();
    lists.bench.handle.script([Rule::new(Fault::FailsLater("no room at sg-1".to_owned())).nth(1)]);
    assert_eq!(lists.modify("1", &[("AddEntry.1.Cidr", HOME)]), "OK");
    assert_eq!(lists.state(), state("modify-failed", "1"));
    assert_eq!(lists.described().text_of("stateMessage"), "no room at sg-1");
    assert_eq!(lists.modify("1", &[("AddEntry.1.Cidr", HOME)]), "OK");
    assert_eq!(lists.state(), state("modify-complete", "2"));
    assert_eq!(lists.described().text_of("stateMessage"), "");
}

#[test]
fn refusals_change_nothing() {
    let lists = Lists::new();
    assert_eq!(lists.modify("1", &[("AddEntry.1.Cidr", HOME), ("AddEntry.1.Description", "home")]), "OK");
    let before = lists.bench.handle.prefix_list(&lists.list);
    for (more, code) in [
        (&[("AddEntry.1.Cidr", HOME), ("AddEntry.1.Description", "home")][..], "InvalidPrefixListModification"),
        (&[("RemoveEntry.1.Cidr", "192.0.2.1/32")], "InvalidPrefixListModification"),
        (&[("AddEntry.1.Cidr", HOME), ("RemoveEntry.1.Cidr", HOME)], "InvalidParameterValue"),
        (&[("AddEntry.1.Cidr", "192.0.2.1/32"), ("AddEntry.2.Cidr", "192.0.2.1/32")], "InvalidParameterValue"),
        (&[("AddEntry.1.Cidr", "2001:db8::/64")], "InvalidParameterValue"),
        (&[("AddEntry.1.Cidr", "home")], "InvalidParameterValue"),
        (&[("AddEntry.1.Cidr", "192.0.2.1/32"), ("MaxEntries", "9")], "InvalidParameterCombination"),
        (&[("MaxEntries", "1001")], "InvalidParameterValue"),
        (&[("PrefixListName", "com.amazonaws.mine")], "InvalidParameterValue"),
        (&[("AddEntry.1.Cidr", "192.0.2.1/32"), ("DryRun", "true")], "DryRunOperation"),
        (
            &[
                ("AddEntry.1.Cidr", "192.0.2.1/32"),
                ("AddEntry.2.Cidr", "192.0.2.2/32"),
                ("AddEntry.3.Cidr", "192.0.2.3/32"),
            ],
            "PrefixListMaxEntriesExceeded",
        ),
    ] {
        assert_eq!(lists.modify("2", more), code, "{more:?}");
    }
    let many: Vec<(String, String)> =
        (1..=101).map(|n| (format!("AddEntry.{n}.Cidr"), format!("192.0.2.{n}/32"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(lists.modify("2", &many), "InvalidParameterValue");
    assert_eq!(lists.bench.handle.prefix_list(&lists.list), before);
}

/// An entry with another description takes the place of the one with the same network.
#[test]
fn another_description_replaces_the_entry() {
    let lists = Lists::new();
    lists.bench.handle.add_entry_by_hand(&lists.list, HOME.parse().unwrap(), "bob");
    assert_eq!(lists.modify("2", &[("AddEntry.1.Cidr", HOME), ("AddEntry.1.Description", "home")]), "OK");
    let entries = lists.bench.handle.prefix_list(&lists.list).unwrap();
    let described: Vec<_> = entries.entries().iter().map(|entry| entry.description.as_deref()).collect();
    assert_eq!(described, [Some("home")]);
}

#[test]
fn whose_list_it_is() {
    let lists = Lists::new();
    let stranger = lists.bench.client.with_key("AKIAEG222222222222ME");
    let call = fields(&[("PrefixListId.1", &lists.list)]);
    assert_eq!(stranger.code("DescribeManagedPrefixLists", &call), "InvalidPrefixListID.NotFound");
    lists.bench.handle.share_prefix_list(&lists.list, "222222222222");
    let shared = stranger.get("DescribeManagedPrefixLists", &call);
    assert_eq!(shared.each("prefixListSet", "ownerId"), ["123456789012"]);
    let change = fields(&[("PrefixListId", &lists.list), ("CurrentVersion", "1"), ("AddEntry.1.Cidr", HOME)]);
    assert_eq!(stranger.code("ModifyManagedPrefixList", &change), "UnsupportedOperation");
    let all = lists.bench.client.get("DescribeManagedPrefixLists", &[]);
    let mut owners = all.each("prefixListSet", "ownerId");
    owners.sort();
    assert_eq!(owners, ["123456789012", "AWS"], "AWS keeps lists in every region");
    let aws = all.items("prefixListSet").into_iter().find(|list| list.text_of("ownerId") == "AWS").unwrap();
    assert_eq!((aws.text_of("version"), aws.text_of("maxEntries")), (String::new(), String::new()));
}

#[test]
fn tags_pages_and_deletion() {
    let lists = Lists::new();
    let tags = |value: &str| BTreeMap::from([("owner".to_owned(), value.to_owned())]);
    lists.bench.handle.tag_by_hand(&lists.list, &tags("bob")).unwrap();
    assert_eq!(lists.described().tags(), tags("bob"));
    for cidr in ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"] {
        lists.bench.handle.add_entry_by_hand(&lists.list, cidr.parse().unwrap(), "");
    }
    let call = |more: &[(&str, &str)]| fields(&[&[("PrefixListId", lists.list.as_str())], more].concat());
    let first = lists.bench.client.get("GetManagedPrefixListEntries", &call(&[("MaxResults", "2")]));
    let token = first.text_of("nextToken");
    let second = [("MaxResults", "2"), ("NextToken", token.as_str())];
    assert_eq!((first.items("entrySet").len(), lists.entries(&second)), (2, vec!["192.0.2.3/32".to_owned()]));
    let code = |more: &[(&str, &str)]| lists.bench.client.code("GetManagedPrefixListEntries", &call(more));
    assert_eq!(code(&[("MaxResults", "101")]), "InvalidParameterValue");
    assert_eq!(lists.bench.client.code("DeleteManagedPrefixList", &call(&[])), "OK");
    assert_eq!(code(&[]), "InvalidPrefixListID.NotFound");
}

#[test]
fn reads_that_lag() {
    let lists = Lists::new();
    lists.bench.clock.advance(TimeDelta::hours(1));
    lists.bench.handle.add_entry_by_hand(&lists.list, HOME.parse().unwrap(), "");
    lists.bench.handle.tag_by_hand(&lists.list, &BTreeMap::from([("a".to_owned(), "1".to_owned())])).unwrap();
    let sights = [StaleSight::OldVersion, StaleSight::TagsMissing];
    lists.bench.handle.set(|settings| settings.stale = Some(Stale::new(TimeDelta::minutes(5), sights)));
    assert_eq!((lists.state().1.as_str(), lists.described().tags().len()), ("1", 0));
    assert!(lists.entries(&[]).is_empty());
    lists.bench.clock.advance(TimeDelta::minutes(5));
    assert_eq!((lists.state().1.as_str(), lists.described().tags().len()), ("2", 1));
}
