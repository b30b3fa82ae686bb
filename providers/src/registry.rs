//! The kinds of firewall that `eg` knows: one line each.

#[cfg(debug_assertions)]
use crate::toy;
use crate::{
    aws::{self, Aws, Options},
    firewall::{Connect, Firewall},
    host::HostOptions,
    kind::Kind,
    nftables::{self, Nftables},
    script::{self, Scripts},
};
use async_trait::async_trait;
use eg_model::{
    failure::{Failure, FailureClass},
    target::{Target, TargetKey},
};
use std::{future::Future, pin::Pin, sync::Arc};

type Connection<'a> = Pin<Box<dyn Future<Output = Result<Arc<dyn Firewall>, Failure>> + Send + 'a>>;

/// A kind, and the way to connect to a firewall of this kind.
struct KindLine {
    kind: &'static Kind,
    connect: for<'a> fn(&'a Registry, &'a Target) -> Connection<'a>,
}

/// In the order in which messages list them. The first kind of a provider is the one that `provider` alone means, and
/// the first of all stands for a section that names neither.
static LINES: &[KindLine] = &[
    KindLine {
        kind: &aws::SECURITY_GROUP,
        connect: |on, to| Box::pin(async { Ok(on.aws.security_groups(to).await? as _) }),
    },
    KindLine { kind: &aws::PREFIX_LIST, connect: |on, to| Box::pin(async { Ok(on.aws.prefix_lists(to).await? as _) }) },
    KindLine { kind: &aws::WAF_IP_SET, connect: |on, to| Box::pin(async { Ok(on.aws.ip_sets(to).await? as _) }) },
    KindLine { kind: &nftables::TABLE, connect: |on, to| on.nftables.connect(to) },
    KindLine { kind: &script::DIRECTORY, connect: |on, to| on.scripts.connect(to) },
];

/// Kinds for tests, which no page of the documentation names. Release builds have none.
#[cfg(not(debug_assertions))]
static TEST_LINES: &[KindLine] = &[];
#[cfg(debug_assertions)]
static TEST_LINES: &[KindLine] = &[
    KindLine { kind: &toy::RULE_TAGS, connect: toy },
    KindLine { kind: &toy::ENTRY_TEXT, connect: toy },
    KindLine { kind: &toy::CONTAINER, connect: toy },
    KindLine { kind: &toy::CONTAINER_VALUE, connect: toy },
    KindLine { kind: &toy::BARE, connect: toy },
    KindLine { kind: &toy::TIMED, connect: toy },
    KindLine { kind: &toy::BLIND, connect: toy },
];

#[cfg(debug_assertions)]
fn toy<'a>(registry: &'a Registry, target: &'a Target) -> Connection<'a> {
    Box::pin(async { Ok(registry.toy.firewall(target)) })
}

fn lines() -> impl Iterator<Item = &'static KindLine> {
    LINES.iter().chain(TEST_LINES)
}

/// Every kind for users, in the order in which messages list them.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    LINES.iter().map(|line| line.kind)
}

/// The kinds of a provider, those for tests included; the first is the one that the provider's name alone means.
pub fn kinds_of(provider: &str) -> impl Iterator<Item = &'static Kind> {
    lines().map(|line| line.kind).filter(move |kind| kind.provider == provider)
}

/// The kinds with a name, those for tests included.
pub fn kinds_named(name: &str) -> impl Iterator<Item = &'static Kind> {
    lines().map(|line| line.kind).filter(move |kind| kind.name == name)
}

/// The kind of a target; `None` if this `eg` does not know it. The record of a newer one may name such a kind.
pub fn kind_of(key: &TargetKey) -> Option<&'static Kind> {
    kinds_of(&key.provider).find(|kind| kind.name == key.kind)
}

/// Connects to every kind of firewall.
pub struct Registry {
    aws: Aws,
    #[cfg(debug_assertions)]
    toy: toy::Toy,
    nftables: Nftables,
    scripts: Scripts,
}

impl Registry {
    /// Makes no client yet; no I/O.
    pub fn new(aws: Options) -> Self {
        let mut host = HostOptions::new(aws.now.clone());
        host.observer = aws.observer.clone();
        Self {
            #[cfg(debug_assertions)]
            toy: toy::Toy { now: Arc::clone(&aws.now), observer: Arc::clone(&aws.observer) },
            aws: Aws::new(aws),
            nftables: Nftables::new(host.clone()),
            scripts: Scripts::new(host),
        }
    }
}

#[async_trait]
impl Connect for Registry {
    async fn connect(&self, target: &Target) -> Result<Arc<dyn Firewall>, Failure> {
        let key = &target.key;
        match lines().find(|line| kind_of(key) == Some(line.kind)) {
            Some(line) => (line.connect)(self, target).await,
            None => {
                let (kind, provider) = (&key.kind, &key.provider);
                let message = format!("connect to {key}: \"{kind}\" of \"{provider}\" is not a firewall that eg knows");
                Err(Failure::new(FailureClass::Invalid, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn kinds_are_told_apart() {
        let labels: BTreeSet<String> = lines().map(|line| line.kind.label()).collect();
        assert_eq!(labels.len(), lines().count());
        let names: BTreeSet<&str> = lines().map(|line| line.kind.name).collect();
        assert_eq!(names.len(), lines().count(), "a kind's name alone implies its provider");
        for kind in kinds() {
            assert_eq!(kind_of(&TargetKey::new(kind.provider, kind.name, "", "x")), Some(kind));
            let keys: BTreeSet<&str> = kind.keys().into_iter().collect();
            assert_eq!(keys.len(), kind.keys().len(), "{kind:?}: no key twice");
            assert!(!kind.target.is_empty(), "{kind:?}");
        }
        assert_eq!(kind_of(&TargetKey::new("aws", "table", "", "x")), None);
    }

    #[test]
    fn every_kind_has_a_section_in_the_documentation() {
        let page = include_str!("../../docs/firewalls.md");
        let anchor = |heading: &str| heading.to_lowercase().replace(' ', "-");
        let anchors: BTreeSet<String> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        for kind in kinds() {
            assert!(anchors.contains(kind.anchor), "{kind:?}: no section {} in {anchors:?}", kind.anchor);
        }
    }
}
