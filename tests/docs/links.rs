//! Links lead somewhere: from the README, between the pages of `docs/`, and from the book's table of contents.

use super::path;
use regex::Regex;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The README and every page of `docs/`.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(path("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|page| page.extension().is_some_and(|ending| ending == "md"));
    pages.chain([path("README.md")]).collect()
}

/// The text without what stands in code blocks.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    text.split("```").step_by(2).collect()
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(page: &Path) -> BTreeSet<String> {
    let headings = prose(page);
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || "-_ ".contains(c);
    headings
        .map(|text| text.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-"))
        .collect()
}

/// The targets of a page's links and pictures.
fn links(page: &Path) -> Vec<String> {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    link.captures_iter(&prose(page)).map(|found| found[1].to_owned()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for page in pages() {
        for link in links(&page).iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", page.display());
            assert!(anchor.is_empty() || anchors(&target).contains(anchor), "{}: {link}", page.display());
            followed += 1;
        }
    }
    assert!(followed > 10, "only {followed} links");
}

#[test]
fn every_page_stands_in_the_table_of_contents() {
    let book = fs::read_to_string(path("book.toml")).unwrap();
    assert!(book.lines().any(|line| line == "src = \"docs\""), "{book}");
    let listed: BTreeSet<String> = links(&path("docs/SUMMARY.md")).into_iter().collect();
    let there = pages().into_iter().filter(|page| page.parent() == Some(path("docs").as_path()));
    let there: BTreeSet<String> = there.map(|page| page.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let unlisted: Vec<_> = there.iter().filter(|name| *name != "SUMMARY.md" && !listed.contains(*name)).collect();
    assert!(unlisted.is_empty(), "not in docs/SUMMARY.md: {unlisted:?}");
}
