//! Marks: the tags by which `eg` recognises its rules and the leases on them.

use crate::types::Answered;
use async_trait::async_trait;
use eg_model::{failure::Failure, observation::OwnedRule, sweep::dead_marks::ContainerTags, target::TargetKey};
use std::collections::BTreeMap;

/// Tags on rules.
#[async_trait]
pub trait Marking: Send + Sync {
    /// Writes tags on rules of one target. A tag with the same key is replaced, every other one stays.
    ///
    /// # Errors
    /// The provider refused the whole call (one unknown id is enough), or the outcome is not known.
    async fn tag(&self, rules: &[OwnedRule], tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure>;

    /// Deletes tags from one rule by key and value: a tag that has another value by now stays.
    ///
    /// # Errors
    /// As for [`Marking::tag`].
    async fn untag(&self, rule: &OwnedRule, tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure>;
}

/// Marks on the container of all rules: one tag for each installation, with the list of its leases
/// ([`eg_model::container_mark`]). The caller makes the list from the record, and writes it as a whole.
///
/// The reading and the answer to an authorize give each entry the text that [`eg_model::container_mark::shown`] gives it. The
/// caller lays the list that it has just written over both.
#[async_trait]
pub trait ContainerMarking: Send + Sync {
    /// Writes one tag of the container, or deletes it if there is no value. Every other tag stays.
    ///
    /// # Errors
    /// The provider refused the call, or the outcome is not known: then the write may still land, and bring back any
    /// mark that it names.
    async fn write_mark(&self, target: &TargetKey, key: &str, value: Option<&str>) -> Result<Answered<()>, Failure>;

    /// Reads the tags of the container.
    ///
    /// # Errors
    /// They could not be read whole.
    async fn read_marks(&self, target: &TargetKey) -> Result<ContainerTags, Failure>;

    /// Deletes the tag of an installation that is gone, by key and value: that one may be there again and write it anew.
    ///
    /// # Errors
    /// As for [`ContainerMarking::write_mark`]. A provider without such a condition reads the tag again first, and a tag that
    /// has another value fails as [`eg_model::failure::FailureClass::Stale`].
    async fn remove_mark(&self, target: &TargetKey, key: &str, value: &str) -> Result<Answered<()>, Failure>;
}
