//! The text of a transaction. `nft -f` carries it out whole or not at all.
//!
//! The first command is the guard: it takes the version out of the table that the listing has shown, and fails if
//! another `eg` has written since. So an element's text is written in one step with its reading, across processes,
//! users, containers and installations, and no lease of others is lost. A lock file would not do that: two containers
//! share the table, and no directory.

use super::{
    entry::ElementText,
    listing::{TableListing, VERSION},
    place::{Place, SetName},
};
use eg_model::Timestamp;
use std::collections::BTreeSet;

/// The chain that marks packets. It comes before address translation, so one line in the user's ruleset is right for
/// this host's own ports and for forwarded ones (containers). -150 is "mangle" (nft(8), "standard priority names").
const CHAIN: &str = "marking { type filter hook prerouting priority -150; policy accept; }";

/// One change of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds an element, which the kernel closes after some seconds.
    Open {
        place: Place,
        comment: String,
        seconds: u64,
    },
    /// Gives an element another text and time.
    Rewrite {
        place: Place,
        comment: String,
        seconds: u64,
    },
    Close(Place),
}

/// A text for `nft -f`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// One command a line.
    pub text: String,
    /// The number of the lines that fail if another `eg` has written since the listing. They come first.
    pub guard: usize,
}

/// Carries out some changes. `listing` is the table as it was read, `None` if it was not there.
pub fn transaction(table: &str, listing: Option<&TableListing>, changes: &[Change], now: Timestamp) -> Transaction {
    let mut lines = guard(listing, now);
    let guard = lines.len();
    lines.extend(structure(listing, changes));
    for change in changes {
        let delete = |place: &Place| format!("delete element {{table}} {} {{ {} }}", place.set, place.address);
        // `create` fails where `add` would keep the text of an element that is there already.
        let create = |place: &Place, comment: &str, seconds: u64| {
            format!(
                "create element {{table}} {} {{ {} timeout {seconds}s comment \"{comment}\" }}",
                place.set, place.address
            )
        };
        match change {
            Change::Open { place, comment, seconds } => lines.push(create(place, comment, *seconds)),
            Change::Rewrite { place, comment, seconds } => {
                lines.extend([delete(place), create(place, comment, *seconds)]);
            }
            Change::Close(place) => lines.push(delete(place)),
        }
    }
    let table = format!("inet {table}");
    let text = lines.iter().map(|line| format!("{}\n", line.replace("{table}", &table))).collect();
    Transaction { text, guard }
}

/// The commands that fail if another `eg` has written since the listing.
fn guard(listing: Option<&TableListing>, now: Timestamp) -> Vec<String> {
    let Some(listing) = listing else {
        return [&["create table {table}".to_owned()], first_version(now).as_slice()].concat();
    };
    match listing.versions.as_deref() {
        None => first_version(now).to_vec(),
        // Somebody has flushed the set.
        Some([]) => vec![version("create", first(now))],
        Some(known) => {
            let next = known.iter().max().map_or(1, |latest| (latest + 1) & u64::from(u32::MAX));
            let next = version("create", next);
            known.iter().map(|known| version("delete", *known)).chain([next]).collect()
        }
    }
}

fn first_version(now: Timestamp) -> [String; 2] {
    [format!("create set {{table}} {VERSION} {{ type mark; }}"), version("create", first(now))]
}

/// A new table does not begin with a version that an earlier one had a moment ago.
fn first(now: Timestamp) -> u64 {
    now.timestamp().unsigned_abs() & u64::from(u32::MAX)
}

fn version(verb: &str, number: u64) -> String {
    format!("{verb} element {{table}} {VERSION} {{ {number:#010x} }}")
}

/// The commands that put the sets of the changes in force, where they are not.
fn structure(listing: Option<&TableListing>, changes: &[Change]) -> Vec<String> {
    let opened = changes.iter().filter_map(|change| match change {
        Change::Open { place, .. } | Change::Rewrite { place, .. } => Some(place.set),
        Change::Close(_) => None,
    });
    let in_force = |set: &SetName| listing.is_some_and(|listing| listing.is_in_force(*set));
    let sets: BTreeSet<SetName> = opened.filter(|set| !in_force(set)).collect();
    let chain = (!sets.is_empty()).then(|| format!("add chain {{table}} {CHAIN}"));
    let set_up = |set: SetName| {
        let (kind, rule) = (set.element_type(), set.rule());
        let mut lines = vec![format!("add set {{table}} {set} {{ type {kind}; flags timeout; }}")];
        // Elements of `eg` that a flush has put out of force count as gone: they must not come back.
        let left = listing.and_then(|listing| listing.sets.get(&set)).into_iter().flat_map(|set| &set.elements);
        let left = left.filter(|(_, comment)| comment.as_deref().and_then(ElementText::read).is_some());
        lines.extend(left.map(|(address, _)| format!("delete element {{table}} {set} {{ {address} }}")));
        lines.push(format!("add rule {{table}} marking {rule} comment \"{set}\""));
        lines
    };
    chain.into_iter().chain(sets.into_iter().flat_map(set_up)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-02-27T12:00:00Z".parse().unwrap()
    }

    fn place() -> Place {
        Place { set: "v4_tcp_22".parse().unwrap(), address: [203, 0, 113, 42].into() }
    }

    fn open() -> Change {
        Change::Open { place: place(), comment: "ours".to_owned(), seconds: 60 }
    }

    fn written(listing: Option<&TableListing>, changes: &[Change]) -> Vec<String> {
        transaction("eg", listing, changes, now()).text.lines().map(str::to_owned).collect()
    }

    fn listing(version: serde_json::Value, in_force: bool, elements: serde_json::Value) -> TableListing {
        let rule = json!({"rule": {"expr": [{"match": {"right": "@v4_tcp_22"}}]}});
        let chain = json!({"chain": {"name": "marking", "hook": "prerouting"}});
        let set = json!({"set": {"name": "v4_tcp_22", "type": "ipv4_addr", "flags": ["timeout"], "elem": elements}});
        let mut objects = vec![chain, set];
        objects.extend((!version.is_null()).then(|| json!({"set": {"name": "version", "elem": version}})));
        objects.extend(in_force.then_some(rule));
        TableListing::read(json!({ "nftables": objects }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_first_opening_makes_the_table() {
        assert_eq!(
            written(None, &[open()]),
            [
                "create table inet eg",
                "create set inet eg version { type mark; }",
                "create element inet eg version { 0x69a18740 }",
                "add chain inet eg marking { type filter hook prerouting priority -150; policy accept; }",
                "add set inet eg v4_tcp_22 { type ipv4_addr; flags timeout; }",
                "add rule inet eg marking ip saddr @v4_tcp_22 tcp dport 22 meta mark set meta mark | 0x65670000 \
                 comment \"v4_tcp_22\"",
                "create element inet eg v4_tcp_22 { 203.0.113.42 timeout 60s comment \"ours\" }",
            ]
        );
    }

    #[test]
    fn a_table_in_force_is_left_as_it_is() {
        let listing = listing(json!([7]), true, json!([]));
        let rewrite = Change::Rewrite { place: place(), comment: "again".to_owned(), seconds: 90 };
        assert_eq!(
            written(Some(&listing), &[rewrite, Change::Close(place())]),
            [
                "delete element inet eg version { 0x00000007 }",
                "create element inet eg version { 0x00000008 }",
                "delete element inet eg v4_tcp_22 { 203.0.113.42 }",
                "create element inet eg v4_tcp_22 { 203.0.113.42 timeout 90s comment \"again\" }",
                "delete element inet eg v4_tcp_22 { 203.0.113.42 }",
            ]
        );
    }

    /// Elements that a flush has put out of force count as gone, so the same transaction takes ours out, and leaves what
    /// a person has put there.
    #[test]
    fn a_flushed_table_is_put_in_force_without_what_was_left() {
        let ours = "eg session a1b2c3d4 00ff00ff BI_YAgAAAAAAAAAAAAAAAAAAAAdpodug";
        let elements = json!([{"elem": {"val": "192.0.2.1", "comment": ours}}, {"elem": {"val": "192.0.2.2", "comment": "office"}}]);
        let lines = written(Some(&listing(json!([7]), false, elements)), &[open()]);
        let deleted: Vec<_> = lines.iter().filter(|line| line.starts_with("delete element inet eg v4")).collect();
        assert_eq!(deleted, ["delete element inet eg v4_tcp_22 { 192.0.2.1 }"]);
        assert_eq!(lines.iter().filter(|line| line.starts_with("add ")).count(), 3, "{lines:?}");
    }

    #[test]
    fn a_version_that_a_person_has_changed_is_guarded_as_it_was_read() {
        let guard = |version| written(Some(&listing(version, true, json!([]))), &[]);
        assert_eq!(guard(json!([])), ["create element inet eg version { 0x69a18740 }"]);
        assert_eq!(
            guard(json!(null)),
            ["create set inet eg version { type mark; }", "create element inet eg version { 0x69a18740 }"]
        );
        assert_eq!(
            guard(json!([4, 4_294_967_295_u64])),
            [
                "delete element inet eg version { 0x00000004 }",
                "delete element inet eg version { 0xffffffff }",
                "create element inet eg version { 0x00000000 }",
            ]
        );
    }
}
