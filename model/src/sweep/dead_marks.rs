//! Tags of a container whose installation has left nothing that still counts.
//!
//! | the tag of an installation | |
//! |---|---|
//! | names leases, and every one has expired, on the provider's clock and with the grace of all leases | dead: it can go |
//! | names a lease that has not expired | stays |
//! | names nothing, or an item that no `eg` wrote, or an end too far ahead | stays: a newer `eg` may have written it |
//! | any, while the clocks differ, or the provider's is not known | stays |
//!
//! The installation may be there again at any moment and write its tag anew. So a dead tag is removed only with the value
//! that was judged.

use crate::{
    Timestamp,
    collecting::clocks_agree,
    container_mark::ContainerMark,
    ids::InstallationId,
    tags::{LEASE_PREFIX, LeaseState, Marks, lease_value},
};
use chrono::TimeDelta;
use std::collections::BTreeMap;

/// The tags of a container, as one reading shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerTags {
    pub tags: BTreeMap<String, String>,
    /// The local time of the request.
    pub read_at: Timestamp,
    pub provider_time: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadMark {
    pub installation: InstallationId,
    pub key: String,
    /// As read.
    pub value: String,
    /// The end of its last lease.
    pub until: Timestamp,
}

/// The dead tags of a container, of those whose last lease ended longer ago than `older_than`.
#[must_use]
pub fn dead_marks(seen: &ContainerTags, older_than: TimeDelta) -> Vec<DeadMark> {
    let provider = seen.provider_time.filter(|_| clocks_agree(seen.read_at, seen.provider_time));
    let Some(now) = provider else { return Vec::new() };
    let dead = |(key, value): (&String, &String)| {
        let installation = InstallationId::parse(key.strip_prefix(LEASE_PREFIX)?)?;
        let mark = ContainerMark::read(value);
        let expired = |until: &Timestamp| Marks::judge(&lease_value(*until), now) == LeaseState::Expired;
        let until = mark.leases.values().copied().max()?;
        let all = mark.odd.is_empty() && mark.leases.values().all(expired);
        let key = key.clone();
        (all && now - until > older_than).then(|| DeadMark { installation, key, value: value.clone(), until })
    };
    seen.tags.iter().filter_map(dead).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tags::lease_key;
    use uuid::Uuid;

    const NOW: &str = "2026-02-27T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn value(ends: &[&str]) -> String {
        let leases = (1..).zip(ends).map(|(number, end)| (format!("{number:08x}"), at(end))).collect();
        ContainerMark::write(&leases).unwrap()
    }

    fn seen(value: &str, provider_time: Option<&str>) -> ContainerTags {
        let key = lease_key(&InstallationId::from_uuid(Uuid::from_u128(1)));
        let tags = BTreeMap::from([(key, value.to_owned()), ("Name".to_owned(), value.to_owned())]);
        ContainerTags { tags, read_at: at(NOW), provider_time: provider_time.map(at) }
    }

    #[test]
    fn what_is_dead() {
        let (old, young, live) = ("2026-02-27T09:00:00Z", "2026-02-27T11:50:00Z", "2026-02-27T18:00:00Z");
        let far = "2099-01-01T00:00:00Z";
        let hours = TimeDelta::hours;
        for (value, clock, older, dead) in [
            (value(&[old]), Some(NOW), hours(0), true),
            (value(&[old, "2026-02-27T10:00:00Z"]), Some(NOW), hours(0), true),
            (value(&[old, live]), Some(NOW), hours(0), false),
            (value(&[young]), Some(NOW), hours(0), false),
            (value(&["2026-02-27T11:49:59Z"]), Some(NOW), hours(0), true),
            (value(&[old, far]), Some(NOW), hours(0), false),
            (value(&[old]) + " later", Some(NOW), hours(0), false),
            (String::new(), Some(NOW), hours(0), false),
            ("soon".to_owned(), Some(NOW), hours(0), false),
            (value(&[old]), None, hours(0), false),
            (value(&[old]), Some("2026-02-27T12:03:00Z"), hours(0), false),
            (value(&[old]), Some(NOW), hours(2), true),
            (value(&[old]), Some(NOW), hours(3), false),
        ] {
            let found = dead_marks(&seen(&value, clock), older);
            assert_eq!(!found.is_empty(), dead, "{value} {clock:?} {older}");
            assert!(found.iter().all(|mark| mark.value == value && mark.key.starts_with(LEASE_PREFIX)), "{found:?}");
        }
    }
}
