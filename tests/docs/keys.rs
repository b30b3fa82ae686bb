//! `docs/configuration.md` names every key that a configuration may hold, with what it means.

use super::path;
use eg::inside::tables;
use std::{collections::BTreeSet, fs};

/// Table and key of each row.
fn rows() -> BTreeSet<(String, String)> {
    let page = fs::read_to_string(path("docs/configuration.md")).unwrap();
    let (_, rest) = page.split_once("\n### Every key\n").unwrap();
    let section = rest.split("\n#").next().unwrap();
    let mut found = BTreeSet::new();
    for line in section.lines().filter(|line| line.starts_with('|') && line.contains('`')) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
        assert!(cells.len() == 5 && !cells[2].is_empty(), "five cells, and a meaning: {line}");
        found.extend(cells[0].split("`, `").map(|table| (table.to_owned(), cells[1].to_owned())));
    }
    found
}

#[test]
fn every_key_is_documented_and_none_besides() {
    let tables = tables();
    let is_table = |table: &str, key: &str| {
        let inner = match table.trim_matches(['[', ']']) {
            "" => key.to_owned(),
            outer => format!("{outer}.{key}"),
        };
        tables.iter().any(|(name, _)| !name.is_empty() && name.trim_matches(['[', ']']) == inner)
    };
    let all = tables.iter().flat_map(|(table, keys)| keys.iter().map(move |key| (*table, *key)));
    let known: BTreeSet<(String, String)> = all
        .filter(|(table, key)| !is_table(table, key))
        .map(|(table, key)| (table.to_owned(), key.to_owned()))
        .collect();
    let documented = rows();
    let missing: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}; not a key: {unknown:?}");
    assert!(known.len() > 40, "only {} keys", known.len());
}
