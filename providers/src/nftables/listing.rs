//! The JSON of `nft -j list table`, read (libnftables-json(5)).

use super::{
    entry::{ElementText, foreign_rule},
    place::{Place, SetName},
};
use eg_model::{net::permission::Permission, observation::ObservedRule};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The set whose one element changes with every write of `eg`.
pub const VERSION: &str = "version";

/// A table as `nft` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableListing {
    /// The elements of the set `version`; `None` if there is no such set.
    pub versions: Option<Vec<u64>>,
    /// The sets that are named as `eg`'s.
    pub sets: BTreeMap<SetName, Set>,
    /// The names of the sets that a rule of the table looks into.
    looked_into: BTreeSet<String>,
    /// A chain of the table is called for packets.
    hooked: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// True if it was made by hand with other properties than `eg`'s: `eg` does not write into it.
    pub odd: bool,
    /// Its elements that are one address, with their comments.
    pub elements: BTreeMap<IpAddr, Option<String>>,
}

/// An element that is in force, as a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub place: Place,
    pub rule: ObservedRule,
    /// The text of an element of `eg`.
    pub entry: Option<ElementText>,
}

impl TableListing {
    /// Reads the answer of `nft`; `None` if it is not what libnftables writes.
    pub fn read(answer: &[u8]) -> Option<Self> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let mut listing = Self::default();
        for object in answer.get("nftables")?.as_array()? {
            if let Some(set) = object.get("set") {
                listing.add_set(set)?;
            } else if let Some(rule) = object.get("rule") {
                add_sets_named(rule.get("expr")?, &mut listing.looked_into);
            } else if let Some(chain) = object.get("chain") {
                listing.hooked |= chain.get("hook").is_some();
            }
        }
        Some(listing)
    }

    fn add_set(&mut self, set: &Value) -> Option<()> {
        let name = set.get("name")?.as_str()?;
        let elements =
            set.get("elem").map(|elements| elements.as_array().cloned()).unwrap_or_else(|| Some(Vec::new()))?;
        if name == VERSION {
            self.versions = Some(elements.iter().map(|element| number(value(element))).collect::<Option<_>>()?);
        } else if let Ok(name) = name.parse::<SetName>() {
            let read = |element: &Value| {
                let comment = element.get("elem").and_then(|element| element.get("comment")).and_then(Value::as_str);
                Some((value(element).as_str()?.parse().ok()?, comment.map(str::to_owned)))
            };
            // A range is an element of a set that was made by hand, and none that `eg` knows.
            let known: BTreeMap<_, _> = elements.iter().filter_map(read).collect();
            let flags = set.get("flags").map(words).unwrap_or_default();
            let plain = set.get("type").and_then(Value::as_str) == Some(name.element_type()) && flags == ["timeout"];
            let odd = !plain || known.len() < elements.len();
            self.sets.insert(name, Set { odd, elements: known });
        }
        Some(())
    }

    /// True if the elements of a set have an effect. After `nft flush table` the sets still have their elements, and no
    /// rule looks into them: nothing is open.
    pub fn is_in_force(&self, set: SetName) -> bool {
        self.hooked && self.looked_into.contains(&set.to_string())
    }

    /// What is open.
    pub fn seen(&self) -> Vec<Seen> {
        let in_force = self.sets.iter().filter(|(name, _)| self.is_in_force(**name));
        in_force.flat_map(|(name, set)| set.elements.iter().filter_map(|element| seen(*name, element))).collect()
    }

    /// The comment of the element at a place, in force or not; `None` if there is no such element.
    pub fn element(&self, place: Place) -> Option<Option<&str>> {
        Some(self.sets.get(&place.set)?.elements.get(&place.address)?.as_deref())
    }
}

fn seen(set: SetName, (address, comment): (&IpAddr, &Option<String>)) -> Option<Seen> {
    let permission: Permission = set.permission(*address)?;
    let entry = comment.as_deref().and_then(ElementText::read);
    let rule =
        entry.as_ref().map_or_else(|| foreign_rule(permission, comment.as_deref()), |entry| entry.rule(permission));
    Some(Seen { place: Place { set, address: *address }, rule, entry })
}

/// The value of an element, with or without properties beside it.
fn value(element: &Value) -> &Value {
    element.get("elem").and_then(|element| element.get("val")).unwrap_or(element)
}

/// A mark: a number, or as `nft` prints it outside of JSON (`0x00000007`).
fn number(value: &Value) -> Option<u64> {
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    value.as_u64().or_else(|| hex(value.as_str()?))
}

/// One word, or a list of words: newer versions write one flag without the brackets.
fn words(value: &Value) -> Vec<&str> {
    let list = value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect());
    list.unwrap_or_else(|| value.as_str().into_iter().collect())
}

/// Collects the sets (`@v4_tcp_22`) that an expression names, however it is nested.
fn add_sets_named(expression: &Value, names: &mut BTreeSet<String>) {
    match expression {
        Value::String(text) => names.extend(text.strip_prefix('@').map(str::to_owned)),
        Value::Array(parts) => parts.iter().for_each(|part| add_sets_named(part, names)),
        Value::Object(parts) => parts.values().for_each(|part| add_sets_named(part, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// True if a table of the family `inet` is in the answer of `nft -j list tables`; `None` if it is no such answer.
pub fn has_table(answer: &[u8], table: &str) -> Option<bool> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let tables = answer.get("nftables")?.as_array()?.iter().filter_map(|object| object.get("table"));
    let is = |found: &Value, key: &str, value: &str| found.get(key).and_then(Value::as_str) == Some(value);
    Some(tables.into_iter().any(|found| is(found, "family", "inet") && is(found, "name", table)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RULE: &str = r#"{"rule": {"family": "inet", "table": "eg", "chain": "marking", "expr": [
        {"match": {"op": "==", "left": {"&": [{"payload": {"protocol": "ip", "field": "saddr"}}, "255.255.255.0"]},
                   "right": "@v4_24_tcp_22"}}, {"mangle": {}}]}}"#;
    const CHAIN: &str = r#"{"chain": {"family": "inet", "table": "eg", "name": "marking", "hook": "prerouting"}}"#;

    fn listing(objects: &[Value]) -> Option<TableListing> {
        TableListing::read(json!({ "nftables": objects }).to_string().as_bytes())
    }

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn set(name: &str, elements: Value) -> Value {
        json!({"set": {"name": name, "type": "ipv4_addr", "flags": ["timeout"], "elem": elements}})
    }

    #[test]
    fn a_table_with_an_opening_and_an_element_made_by_hand() {
        let ours = "eg alice@laptop session a1b2c3d4 00ff00ff BI_YAgAAAAAAAAAAAAAAAAAAAAdpodug";
        let elements = json!([
            {"elem": {"val": "203.0.113.0", "timeout": 3600, "expires": 3599, "comment": ours}},
            {"elem": {"val": "198.51.100.0", "comment": "the office"}},
            "192.0.2.0",
            // The rule of the set masks the packet's address: it never matches this one.
            "192.0.2.7",
        ]);
        let listing = listing(&[
            json!({"metainfo": {"version": "1.0.6"}}),
            json!({"set": {"name": "version", "type": "mark", "elem": [3_735_928_559_u64]}}),
            set("v4_24_tcp_22", elements),
            json!({"set": {"name": "of_somebody", "type": ["ipv4_addr", "inet_service"]}}),
            parsed(CHAIN),
            parsed(RULE),
        ])
        .unwrap();
        assert_eq!(listing.versions.as_deref(), Some(&[3_735_928_559][..]));
        let seen: Vec<_> = listing.seen().into_iter().map(|seen| (seen.rule.id.0, seen.entry.is_some())).collect();
        let expected = [
            ("tcp/22@192.0.2.0/24", false),
            ("tcp/22@198.51.100.0/24", false),
            ("tcp/22@203.0.113.0/24#00ff00ff", true),
        ];
        assert_eq!(seen, expected.map(|(id, ours)| (id.to_owned(), ours)));
    }

    #[test]
    fn elements_that_no_rule_looks_into_open_nothing() {
        let elements = || set("v4_24_tcp_22", json!(["192.0.2.0"]));
        let unhooked = json!({"chain": {"name": "marking"}});
        for (objects, open) in [
            (vec![elements(), parsed(CHAIN), parsed(RULE)], 1),
            (vec![elements(), parsed(CHAIN)], 0),
            (vec![elements(), unhooked, parsed(RULE)], 0),
            (vec![elements()], 0),
        ] {
            let listing = listing(&objects).unwrap();
            assert_eq!(listing.seen().len(), open, "{objects:?}");
            let place = Place { set: "v4_24_tcp_22".parse().unwrap(), address: [192, 0, 2, 0].into() };
            assert_eq!(listing.element(place), Some(None), "it is there all the same");
        }
    }

    #[test]
    fn sets_made_by_hand_are_odd() {
        let odd = |set: Value| listing(&[set]).unwrap().sets.values().next().unwrap().odd;
        assert!(!odd(set("v4_tcp_22", json!([]))));
        assert!(!odd(json!({"set": {"name": "v4_tcp_22", "type": "ipv4_addr", "flags": "timeout"}})));
        assert!(odd(json!({"set": {"name": "v4_tcp_22", "type": "ipv4_addr", "flags": ["interval", "timeout"]}})));
        assert!(odd(json!({"set": {"name": "v4_tcp_22", "type": "ipv4_addr"}})));
        assert!(odd(json!({"set": {"name": "v6_tcp_22", "type": "ipv4_addr", "flags": ["timeout"]}})));
        assert!(odd(set("v4_tcp_22", json!([{"prefix": {"addr": "192.0.2.0", "len": 24}}]))));
    }

    #[test]
    fn what_is_no_listing_is_not_an_empty_one() {
        for answer in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"nftables": 1}"#,
            r#"{"nftables": [{"set": {}}]}"#,
            r#"{"nftables": [{"rule": {}}]}"#,
            r#"{"nftables": [{"set": {"name": "version", "elem": ["x"]}}]}"#,
            r#"{"nftables": [{"set": {"name": "v4_all", "elem": 1}}]}"#,
        ] {
            assert_eq!(TableListing::read(answer.as_bytes()), None, "{answer}");
        }
    }

    /// An answer that is cut off, at whichever byte, is no shorter table.
    #[test]
    fn a_cut_answer_is_no_answer() {
        let set = set("v4_tcp_22", json!([{"elem": {"val": "192.0.2.1", "comment": "the office"}}, "192.0.2.2"]));
        let version = json!({"set": {"name": "version", "elem": ["0x00000007"]}});
        let whole = json!({"nftables": [version, set, parsed(CHAIN), parsed(RULE)]}).to_string();
        assert_eq!(TableListing::read(whole.as_bytes()).unwrap().versions, Some(vec![7]));
        for end in 0..whole.len() {
            assert_eq!(TableListing::read(&whole.as_bytes()[..end]), None, "{end}");
        }
    }

    #[test]
    fn a_table_is_found_by_family_and_name() {
        let answer = br#"{"nftables": [{"metainfo": {}}, {"table": {"family": "ip", "name": "eg"}},
                          {"table": {"family": "inet", "name": "filter"}}]}"#;
        assert_eq!([has_table(answer, "filter"), has_table(answer, "eg")], [Some(true), Some(false)]);
        assert_eq!([has_table(b"", "eg"), has_table(b"{}", "eg")], [None, None]);
    }
}
