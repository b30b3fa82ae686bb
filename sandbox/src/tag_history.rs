//! Tags, and what they were before: a reader may lag behind.

use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// Tag writes of one rule or list that a stale reader can still be behind of.
const TAG_WRITES_KEPT: usize = 16;

pub(crate) type Tags = BTreeMap<String, String>;

/// Replaces tags and keeps what they were.
pub(crate) fn retag(tags: &mut Tags, earlier: &mut Vec<(DateTime<Utc>, Tags)>, new: Tags, now: DateTime<Utc>) {
    earlier.push((now, std::mem::replace(tags, new)));
    if earlier.len() > TAG_WRITES_KEPT {
        earlier.remove(0);
    }
}
