//! What other people can write where `eg` keeps its marks: the comments and listings of nftables, the texts of entries in
//! prefix lists. (`parsers` has the tags of containers.)

use super::{each, each_text, entries};
use chrono::{DateTime, TimeDelta};
use eg_model::{container_mark::ContainerMark, ids::InstallationId, tags::lease_key};
use eg_providers::{
    aws::{ListEntry, describe},
    nftables::{ElementText, TableListing, hindrance},
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A comment that is read as ours can be written again, is the same then, and cannot end the quotes that it is put into.
#[test]
fn comments_of_nftables() {
    each_text("nft_comment", |text| {
        let Some(entry) = ElementText::read(text) else { return };
        let Ok(written) = entry.write() else { return };
        assert!(written.len() <= 128, "{text:?}");
        assert_eq!(ElementText::read(&written), Some(entry), "{text:?}");
        assert!(written.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte)), "{text:?}");
    });
}

#[test]
fn a_comment_that_is_cut_is_not_ours() {
    for whole in entries("nft_comment") {
        let whole = String::from_utf8(whole).unwrap();
        for end in 0..whole.len() {
            let cut = ElementText::read(&whole[..end]);
            // Whole leases less are still a comment: it names fewer installations, and those that it names as they were.
            let known = ElementText::read(&whole).map(|entry| entry.leases).unwrap_or_default();
            let fits = |entry: &ElementText| entry.leases.iter().all(|lease| known.get(lease.0) == Some(lease.1));
            assert!(cut.is_none_or(|entry| fits(&entry)), "{:?}", &whole[..end]);
        }
    }
}

/// What is no listing is `None`, never a table with less in it. Whatever a listing shows has an id of its own, and an
/// element that says that it is ours is in the set that it says.
#[test]
fn listings_of_nftables() {
    each("nft_listing", 3000, |bytes| {
        let Some(listing) = TableListing::read(bytes) else { return };
        let json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        assert!(json["nftables"].is_array());
        let seen = listing.seen();
        let mut ids: Vec<_> = seen.iter().map(|seen| &seen.rule.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), seen.len(), "{json}");
        for seen in &seen {
            assert_eq!(seen.place.set.permission(seen.place.address), Some(seen.rule.permission), "{json}");
            assert_eq!(seen.entry.is_some(), !seen.rule.tags.is_empty(), "{json}");
        }
    });
    for whole in entries("nft_listing") {
        assert!(TableListing::read(&whole).is_some());
        (0..whole.len()).for_each(|end| assert_eq!(TableListing::read(&whole[..end]), None, "cut off at {end}"));
    }
}

#[test]
fn rulesets_of_nftables() {
    each("nft_ruleset", 3000, |bytes| {
        let told = hindrance(bytes, "eg");
        assert!(told.is_none() || serde_json::from_slice::<serde_json::Value>(bytes).is_ok());
    });
}

/// An entry is ours only by a text of ours and a tag of the list that names it; its id does not depend on the reason.
#[test]
fn entries_of_prefix_lists() {
    let now = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
    let entry = |text: &str| ListEntry { cidr: "203.0.113.42/32".parse().unwrap(), description: Some(text.to_owned()) };
    let permission = entry("").permission();
    let leases = BTreeMap::from([(permission.digest("pl-1"), now + TimeDelta::hours(1))]);
    let key = lease_key(&InstallationId::from_uuid(Uuid::from_u128(7)));
    let named = BTreeMap::from([(key, ContainerMark::write(&leases).unwrap())]);
    each_text("list_entry", |text| {
        let found = entry(text);
        let nonce = found.id().0.split_once('#').map(|(_, nonce)| nonce.to_owned());
        assert!(nonce.is_none_or(|nonce| nonce.len() == 8 && text.contains(&nonce)), "{text:?}");
        assert!(found.observed("pl-1", &BTreeMap::new(), now).tags.is_empty(), "no list names it: {text:?}");
        let marked = found.observed("pl-1", &named, now);
        let ours = text.starts_with("eg ") && text.contains("session ");
        assert!(ours || marked.tags.is_empty(), "{text:?}");
        // The same text as that of a call of ours.
        let made = entry(&describe(text, "00ff00ff", now));
        assert_eq!(made.id().0, "203.0.113.42/32#00ff00ff", "{text:?}");
        assert!(made.description.unwrap().chars().count() <= 255);
    });
}
