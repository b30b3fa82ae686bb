//! A hand at a table of nftables, and what packets make of it.

mod lacking;
mod traffic;

use super::{
    conforms,
    hand::{Able, Call, Fault, Hand, Seen},
};
use crate::harness::Namespace;
use serde_json::Value;
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicI64},
};

pub struct Table {
    namespace: Namespace,
}

impl Table {
    fn listed(&self) -> Vec<Value> {
        let listed = self.namespace.nft_json("list table inet eg").unwrap_or_default();
        listed["nftables"].as_array().cloned().unwrap_or_default()
    }

    fn sets(&self) -> Vec<Value> {
        self.listed().into_iter().filter_map(|object| object.get("set").cloned()).collect()
    }
}

/// An element, without the time that is left to it. What `eg` has made differs in its whole time as well, whenever it
/// is made again.
fn seen(set: &str, element: &Value) -> Seen {
    let mut element = element.get("elem").unwrap_or(element).clone();
    let comment = element["comment"].as_str().unwrap_or_default().to_owned();
    let address = element["val"].as_str().or(element.as_str()).expect("an address").to_owned();
    let ours = comment.starts_with("eg ");
    if let Some(fields) = element.as_object_mut() {
        fields.remove("expires");
        let _time = if ours { fields.remove("timeout") } else { None };
    }
    let length = set.split('_').nth(1).and_then(|word| word.parse::<u8>().ok()).unwrap_or(32);
    let nonce = if ours { comment.split(' ').rev().nth(1).unwrap_or_default() } else { "" };
    Seen { network: format!("{address}/{length}"), id: format!("{set} {address} {nonce}"), whole: element.to_string() }
}

fn place(entry: &Seen) -> (&str, &str) {
    let mut words = entry.id.split(' ');
    (words.next().expect("a set"), words.next().expect("an address"))
}

impl Hand for Table {
    const ABLE: Able = Able {
        name: "nftables table",
        reads: true,
        marks: true,
        edits: Err("an element cannot be edited: another value is another element"),
        closes_by_itself: true,
        clock: false,
        vanishes: Err("a table that is gone is a table without elements"),
        faults: &[Fault::LostBefore, Fault::LostAfter, Fault::Conflict, Fault::Quota, Fault::Unreadable],
        no_fault: "the kernel does not refuse for being asked too fast",
    };

    fn missing() -> Option<String> {
        Namespace::missing()
    }

    fn new(dir: &Path, _: &Arc<AtomicI64>) -> Self {
        let namespace = Namespace::new(dir);
        namespace.nft("add table inet eg; add chain inet eg marking { type filter hook prerouting priority -150; }");
        Self { namespace }
    }

    fn inside(&self) -> Vec<String> {
        self.namespace.inside()
    }

    fn config(&self) -> String {
        "[[resource]]\nname = \"it\"\nprovider = \"nftables\"\nports = [\"tcp/22\"]\nfamilies = [\"ipv4\"]\n".to_owned()
    }

    fn entries(&self) -> Vec<Seen> {
        let of_set = |set: &Value| {
            let name = set["name"].as_str().expect("a name").to_owned();
            let elements = set["elem"].as_array().cloned().unwrap_or_default();
            elements.iter().map(|element| seen(&name, element)).collect::<Vec<_>>()
        };
        self.sets().iter().filter(|set| set["name"] != "version").flat_map(of_set).collect()
    }

    /// Every write of `eg` counts the version up.
    fn changes(&self) -> Option<usize> {
        let version = self.sets().into_iter().find(|set| set["name"] == "version");
        let number = version.and_then(|set| set["elem"][0].as_u64()).unwrap_or_default();
        Some(usize::try_from(number).expect("a number"))
    }

    fn make(&self, network: &str) {
        let (address, length) = network.split_once('/').expect("a network");
        let (set, source) = match length {
            "32" => ("v4_tcp_22".to_owned(), "ip saddr".to_owned()),
            "25" => ("v4_25_tcp_22".to_owned(), "ip saddr & 255.255.255.128".to_owned()),
            other => panic!("no set for /{other}"),
        };
        if !self.sets().iter().any(|known| known["name"] == set.as_str()) {
            self.namespace.nft(&format!(
                "add set inet eg {set} {{ type ipv4_addr; flags timeout; }}; \
                 add rule inet eg marking {source} @{set} tcp dport 22 meta mark set meta mark | 0x65670000"
            ));
        }
        self.namespace.nft(&format!("add element inet eg {set} {{ {address} comment \"theirs\" }}"));
    }

    fn delete(&self, entry: &Seen) {
        let (set, address) = place(entry);
        self.namespace.nft(&format!("delete element inet eg {set} {{ {address} }}"));
    }

    fn edit(&self, _: &Seen) {
        unreachable!("an element cannot be edited");
    }

    /// A person writes the comment anew, without its leases: of the last word the first four bytes are the digest.
    fn strip(&self, entry: &Seen) {
        let (set, address) = place(entry);
        let element: Value = serde_json::from_str(&entry.whole).expect("JSON");
        let (head, packed) = element["comment"].as_str().and_then(|text| text.rsplit_once(' ')).expect("a comment");
        let digest: String = packed.chars().take(5).collect();
        self.namespace.nft(&format!(
            "delete element inet eg {set} {{ {address} }}; \
             add element inet eg {set} {{ {address} timeout 1h comment \"{head} {digest}{}\" }}",
            last_of_digest(packed),
        ));
    }

    fn vanish(&self) {
        unreachable!("a table that is gone is a table without elements");
    }

    fn fault(&self, call: Call, fault: Fault) {
        self.namespace.fault(&format!("{call:?}"), &format!("{fault:?}"));
    }

    fn call_off(&self) {
        self.namespace.call_off();
    }
}

/// Four bytes end within the sixth letter of base64: its lower four bits belong to the next byte.
fn last_of_digest(packed: &str) -> char {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sixth = packed.chars().nth(5).and_then(|letter| LETTERS.find(letter)).expect("a letter");
    LETTERS.chars().nth(sixth & 0b11_0000).expect("a letter")
}

conforms!(nftables, Table);
