//! `CreateTags`, `DeleteTags`.

use crate::{
    Bench,
    support::{permissions, tagged, tags},
};
use std::collections::BTreeMap;

/// A group with two rules that carry one tag; their ids.
fn two_rules(bench: &Bench) -> (String, Vec<String>) {
    let group = bench.group();
    let list = [("tcp", "1", "1", "10.0.0.0/8"), ("tcp", "2", "2", "10.0.0.0/8")];
    let made = bench.client.get("AuthorizeSecurityGroupIngress", &tagged(permissions(&group, &list), &[("a", "1")]));
    let ids = made.each("securityGroupRuleSet", "securityGroupRuleId");
    (group, ids)
}

fn tags_of(bench: &Bench, group: &str, id: &str) -> BTreeMap<String, String> {
    bench.handle.rules(group).into_iter().find(|rule| rule.id == id).unwrap().tags
}

fn map(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn create_adds_and_overwrites() {
    let bench = Bench::new();
    let (group, ids) = two_rules(&bench);
    let call = tags(&[&ids[0], &ids[1]], &[("a", Some("2")), ("b", Some(""))]);
    assert_eq!(bench.client.code("CreateTags", &call), "OK");
    for id in &ids {
        assert_eq!(tags_of(&bench, &group, id), map(&[("a", "2"), ("b", "")]));
    }
    assert_eq!(bench.client.rules(&group)[0].tags(), map(&[("a", "2"), ("b", "")]));
    assert_eq!(bench.client.code("CreateTags", &tags(&[&group], &[("x", Some("y"))])), "OK");
    assert_eq!(bench.handle.groups()[0].tags, map(&[("x", "y")]));
}

#[test]
fn one_unknown_id_refuses_the_whole_call() {
    let bench = Bench::new();
    let (group, ids) = two_rules(&bench);
    for (unknown, code) in [
        ("sgr-0123456789abcdef0", "InvalidSecurityGroupRuleId.NotFound"),
        ("sg-0123456789abcdef0", "InvalidGroup.NotFound"),
        ("i-0123456789abcdef0", "InvalidID"),
    ] {
        let named = [ids[0].as_str(), unknown];
        assert_eq!(bench.client.code("CreateTags", &tags(&named, &[("b", Some("2"))])), code);
        assert_eq!(bench.client.code("DeleteTags", &tags(&named, &[("a", None)])), code);
    }
    assert_eq!(tags_of(&bench, &group, &ids[0]), map(&[("a", "1")]));
}

#[test]
fn the_51st_tag() {
    let bench = Bench::new();
    let (group, ids) = two_rules(&bench);
    let keys: Vec<String> = (1..=49).map(|number| format!("key {number}")).collect();
    let full: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("v"))).collect();
    assert_eq!(bench.client.code("CreateTags", &tags(&[&ids[0]], &full)), "OK");
    let one_more = tags(&[&ids[1], &ids[0]], &[("one more", Some("v"))]);
    assert_eq!(bench.client.code("CreateTags", &one_more), "TagLimitExceeded");
    assert_eq!(tags_of(&bench, &group, &ids[1]).len(), 1);
    assert_eq!(bench.client.code("CreateTags", &tags(&[&ids[0]], &[("a", Some("new"))])), "OK");
    assert_eq!(bench.client.code("DeleteTags", &tags(&[&ids[0]], &[("a", None)])), "OK");
    assert_eq!(bench.client.code("CreateTags", &one_more), "OK");
    let too_many: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).chain([("x", ""), ("y", "")]).collect();
    let call = tagged(permissions(&group, &[("tcp", "3", "3", "10.0.0.0/8")]), &too_many);
    assert_eq!(bench.client.code("AuthorizeSecurityGroupIngress", &call), "TagLimitExceeded");
}

#[test]
fn what_create_refuses() {
    let bench = Bench::new();
    let (_, ids) = two_rules(&bench);
    let code = |list: &[(&str, Option<&str>)]| bench.client.code("CreateTags", &tags(&[&ids[0]], list));
    assert_eq!(code(&[]), "MissingParameter");
    assert_eq!(code(&[("aws:x", Some("y"))]), "InvalidParameterValue");
    assert_eq!(code(&[("AWS:x", Some("y"))]), "InvalidParameterValue");
    assert_eq!(code(&[("x", Some("y")), ("x", Some("z"))]), "InvalidParameterValue");
    assert_eq!(code(&[(&"k".repeat(129), None)]), "InvalidParameterValue");
    assert_eq!(code(&[("k", Some(&"v".repeat(257)))]), "InvalidParameterValue");
    assert_eq!(code(&[(&"k".repeat(128), Some(&"v".repeat(256)))]), "OK");
    assert_eq!(bench.client.code("CreateTags", &tags(&[], &[("k", None)])), "MissingParameter");
}

#[test]
fn delete_by_key_and_value() {
    let bench = Bench::new();
    let (group, ids) = two_rules(&bench);
    let delete = |list: &[(&str, Option<&str>)]| {
        assert_eq!(bench.client.code("DeleteTags", &tags(&[&ids[0]], list)), "OK");
        bench.handle.log().pop().unwrap().effect
    };
    assert!(!delete(&[("a", Some("other"))]));
    assert!(!delete(&[("a", Some(""))]));
    assert!(!delete(&[("b", None)]));
    assert_eq!(tags_of(&bench, &group, &ids[0]), map(&[("a", "1")]));
    assert!(delete(&[("a", Some("1"))]));
    assert_eq!(tags_of(&bench, &group, &ids[0]), map(&[]));
    bench.handle.tag_by_hand(&ids[0], &map(&[("x", "1"), ("y", "2"), ("z", "")])).unwrap();
    assert!(delete(&[("x", None), ("z", Some(""))]));
    assert_eq!(tags_of(&bench, &group, &ids[0]), map(&[("y", "2")]));
    assert_eq!(bench.client.code("DeleteTags", &tags(&[&ids[0]], &[("aws:x", None)])), "InvalidParameterValue");
    assert!(delete(&[]));
    assert_eq!(tags_of(&bench, &group, &ids[0]), map(&[]));
    assert_eq!(tags_of(&bench, &group, &ids[1]), map(&[("a", "1")]));
}
