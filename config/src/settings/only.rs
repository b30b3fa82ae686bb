//! `--only`: selects resources by name, label or pattern.

use crate::settings::{
    resource::{Resource, Selection},
    root::Settings,
};
use eg_model::selector::Pattern;
use std::collections::BTreeSet;
use thiserror::Error;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen<'a> {
    pub resources: Vec<&'a Resource>,
    /// Selections, whose groups have to be looked up.
    pub selections: Vec<&'a Selection>,
}

/// An `--only` value that selects nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no resource is named or labelled \"{value}\"; known: {}", known_list(known))]
pub struct UnknownOnly {
    pub value: String,
    /// Every name, then every label, each once, in the configuration's order.
    pub known: Vec<String>,
}

fn known_list(known: &[String]) -> String {
    if known.is_empty() { "none, for no resource is configured".to_owned() } else { known.join(", ") }
}

/// One part of an `--only` value.
enum OnlyPattern<'v> {
    Exactly(&'v str),
    Like(Pattern),
}

impl<'v> OnlyPattern<'v> {
    fn new(text: &'v str) -> Self {
        let pattern = Pattern::new(text).filter(|_| text.contains(['*', '?']));
        pattern.map_or(Self::Exactly(text), Self::Like)
    }

    fn fits(&self, resource: &Resource) -> bool {
        let matches = |text: &String| match self {
            Self::Exactly(wanted) => wanted == text,
            Self::Like(pattern) => pattern.matches(text),
        };
        matches(&resource.name) || resource.groups.iter().any(matches)
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Exactly(text) => text,
            Self::Like(pattern) => pattern.as_str(),
        }
    }
}

impl Settings {
    /// The resources that `--only` names: names or labels, case-sensitive, or patterns of them (`prod-*`), several in one
    /// value with commas between; their union, in the configuration's order. A value that is a name or a label as it
    /// stands selects just that, whatever characters it holds. An empty list selects all.
    ///
    /// # Errors
    /// The first value that selects nothing.
    pub fn select(&self, only: &[String]) -> Result<Chosen<'_>, UnknownOnly> {
        let all: Vec<&Resource> = self.resources.iter().chain(self.selections.iter().map(|one| &one.like)).collect();
        let is_known = |pattern: &OnlyPattern<'_>| all.iter().any(|resource| pattern.fits(resource));
        let mut wanted: Vec<OnlyPattern<'_>> = Vec::new();
        for value in only {
            let whole = OnlyPattern::Exactly(value);
            let parts = || value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(OnlyPattern::new);
            let patterns = if is_known(&whole) { vec![whole] } else { parts().collect() };
            let unknown = patterns.iter().find(|pattern| !is_known(pattern)).map(OnlyPattern::as_str);
            if let Some(unknown) = unknown.or(patterns.is_empty().then_some(value)) {
                return Err(UnknownOnly { value: unknown.to_owned(), known: names_and_labels(&all) });
            }
            wanted.extend(patterns);
        }
        let chosen = |resource: &Resource| wanted.is_empty() || wanted.iter().any(|pattern| pattern.fits(resource));
        Ok(Chosen {
            resources: self.resources.iter().filter(|one| chosen(one)).collect(),
            selections: self.selections.iter().filter(|one| chosen(&one.like)).collect(),
        })
    }
}

fn names_and_labels(all: &[&Resource]) -> Vec<String> {
    let names = all.iter().map(|resource| &resource.name);
    let labels = all.iter().flat_map(|resource| &resource.groups);
    let mut seen = BTreeSet::new();
    names.chain(labels).filter(|word| seen.insert(*word)).cloned().collect()
}
