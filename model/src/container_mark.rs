//! Marks on a container: what an installation needs of a prefix list or a set of addresses, in one tag of it.
//!
//! | tag of the container | value |
//! |---|---|
//! | `eg:lease:<installation>` | `a1b2c3d4:t9xyz0 …`: for each permission, its digest and the time until which that installation needs it |
//!
//! The time is in seconds of 1970, in base 36. Items are sorted and joined by one space. Only its own installation
//! writes a tag, always as a whole, and nothing guards it. Others at most take off a tag that nobody needs
//! ([`spare_mark`]). So the list comes from the record, since one made from a reading that is behind would lose a mark.
//! It names every open lease that was attempted and not left: with the end on record or, if none is, with one settle
//! window from now. And while a write of unknown outcome can still land, no lease on the same container closes: it would
//! bring back the mark of a lease that is gone.
//!
//! [`shown`] presents these marks as tags of the rule, so that the plan does not know the difference. An entry counts
//! as marked only if its text is `eg`'s *and* an installation's list names it. Text alone would make every entry whose
//! list does not show yet look like one that all have left, which any installation may close.

use crate::{
    Timestamp,
    ids::{InstallationId, RuleId},
    net::permission::Permission,
    observation::{ObservedRule, Reading},
    tags::{
        LEASE_GRACE, LEASE_PREFIX, MANAGED_BY, MANAGED_BY_EG, MARKS, SESSION, lease_key, lease_value, sessions_named,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// The most characters of a tag's value.
pub const VALUE_MAX: usize = 256;
/// The most permissions of one installation that one container can mark, until the year 2038: 16 × 16 − 1 = 255.
pub const LEASES_MAX: usize = 16;

/// The session of an entry whose kind has no text. No real session has this id.
const NO_SESSION: &str = "00000000";

/// The description of such an entry.
fn stand_in() -> String {
    format!("eg session {NO_SESSION}")
}

/// A description as its opener wrote it; `None` for one that only stands in where entries have no text.
#[must_use]
pub fn as_written(description: Option<&str>) -> Option<&str> {
    description.filter(|text| *text != stand_in())
}

/// The leases of one installation on one container: the digest of each permission, and the end of its lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerMark {
    /// The leases.
    pub leases: BTreeMap<String, Timestamp>,
    /// Items that no `eg` wrote. They hold nothing, and are reported.
    pub odd: Vec<String>,
}

impl ContainerMark {
    /// The value of the tag; `None` if it would be too long, or a time is before 1970.
    #[must_use]
    pub fn write(leases: &BTreeMap<String, Timestamp>) -> Option<String> {
        let item = |(digest, until): (&String, &Timestamp)| Some(format!("{digest}:{}", base36(until.timestamp())?));
        let items: Option<Vec<String>> = leases.iter().map(item).collect();
        items.map(|items| items.join(" ")).filter(|value| value.len() <= VALUE_MAX)
    }

    /// Reads a value, whoever wrote it. Of two items for one permission, the later end counts: to believe the earlier
    /// one could close a rule that is needed.
    #[must_use]
    pub fn read(value: &str) -> Self {
        let mut mark = Self::default();
        for item in value.split(' ').filter(|item| !item.is_empty()) {
            match parse(item) {
                Some((digest, until)) => {
                    let known = mark.leases.entry(digest.to_owned()).or_insert(until);
                    *known = until.max(*known);
                }
                None => mark.odd.push(item.to_owned()),
            }
        }
        mark
    }
}

fn parse(item: &str) -> Option<(&str, Timestamp)> {
    let (digest, until) = item.split_once(':')?;
    let hex = digest.len() == 8 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    // No sign and no capitals: one moment has one spelling.
    let digits = until.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()) && !until.starts_with('0');
    let seconds = i64::from_str_radix(until, 36).ok().filter(|_| hex && digits)?;
    Some((digest, Timestamp::from_timestamp(seconds, 0)?))
}

fn base36(seconds: i64) -> Option<String> {
    let mut rest = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    let mut digits = Vec::new();
    while rest > 0 {
        digits.push(char::from_digit((rest % 36) as u32, 36)?);
        rest /= 36;
    }
    Some(digits.into_iter().rev().collect())
}

/// The text of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryText<'a> {
    /// The kind of firewall has a text for each entry; this is the entry's.
    Says(Option<&'a str>),
    /// The same, and the text says that the entry was made less than a settle window ago. The lists may be behind, and
    /// what has expired in them may be the lease of an earlier entry. So only what has not expired by this time of the
    /// provider counts; otherwise another installation would close the entry as abandoned.
    SaysSince(Option<&'a str>, Timestamp),
    /// The kind of firewall has no text for an entry. The marks alone tell whose it is.
    NoPlace,
}

/// An entry of a container as the plan sees it, with its marks as tags of the rule.
#[must_use]
pub fn shown(
    container: &str,
    id: RuleId,
    permission: Permission,
    text: EntryText<'_>,
    tags: &BTreeMap<String, String>,
) -> ObservedRule {
    let digest = permission.digest(container);
    let held = |until: Timestamp| match text {
        EntryText::SaysSince(_, now) => until > now,
        EntryText::Says(_) | EntryText::NoPlace => true,
    };
    let leases = leases(tags).filter(|(_, known, until)| *known == digest && held(*until));
    let leases: BTreeMap<String, String> =
        leases.map(|(installation, _, until)| (lease_key(&installation), lease_value(until))).collect();
    let (description, session) = match text {
        EntryText::NoPlace => (Some(stand_in()), Some(NO_SESSION.to_owned())),
        EntryText::Says(text) | EntryText::SaysSince(text, _) => {
            (text.map(str::to_owned), text.and_then(|text| sessions_named(text).next()).map(str::to_owned))
        }
    };
    let session = session.filter(|_| !leases.is_empty());
    let marked = session.map(|session| ours(digest, session).chain(leases).collect());
    ObservedRule { id, permission, description, tags: marked.unwrap_or_default() }
}

/// Marks that no entry shows: the installation and the digest of each. Such a mark was written before its entry, or
/// outlived it. It would hold the next entry that another installation makes for the same permission, so its lease
/// stays open until the mark is taken off.
#[must_use]
pub fn loose_marks(
    container: &str,
    rules: &[ObservedRule],
    tags: &BTreeMap<String, String>,
) -> BTreeSet<(InstallationId, String)> {
    let shows = |rule: &ObservedRule| {
        let digest = rule.permission.digest(container);
        rule.marks(container).leases.into_keys().map(move |installation| (installation, digest.clone()))
    };
    let shown: BTreeSet<(InstallationId, String)> = rules.iter().flat_map(shows).collect();
    leases(tags).map(|(installation, digest, _)| (installation, digest)).filter(|mark| !shown.contains(mark)).collect()
}

/// The mark that may go where no more tags fit, as key and value: every lease in it has expired for everybody, and no
/// entry is there for any of them (`shown`: the digests of all entries). While an entry is there, only the mark tells
/// other installations that the entry is `eg`'s. Of several, the one that expired first.
#[must_use]
pub fn spare_mark<'t>(
    tags: &'t BTreeMap<String, String>,
    shown: &BTreeSet<String>,
    provider_time: Timestamp,
) -> Option<(&'t str, &'t str)> {
    let ended = |value: &str| {
        let mark = ContainerMark::read(value);
        let needed =
            |(digest, until): (&String, &Timestamp)| shown.contains(digest) || provider_time - *until <= LEASE_GRACE;
        let spare = mark.odd.is_empty() && !mark.leases.iter().any(needed);
        mark.leases.into_values().max().filter(|_| spare)
    };
    let marks = tags.iter().filter(|(key, _)| key.strip_prefix(LEASE_PREFIX).is_some_and(|id| !id.is_empty()));
    let spare = marks.filter_map(|(key, value)| Some((ended(value)?, key.as_str(), value.as_str()))).min();
    spare.map(|(_, key, value)| (key, value))
}

/// Lays a list that was just written over a reading: from now on it is all that the installation's tag names. What no
/// entry shows is [loose](loose_marks).
pub fn relist(reading: &mut Reading, container: &str, us: &InstallationId, list: &BTreeMap<String, Timestamp>) {
    let key = lease_key(us);
    let mut loose: BTreeSet<&String> = list.keys().collect();
    for rule in &mut reading.rules {
        let digest = rule.permission.digest(container);
        rule.tags.remove(&key);
        let session = rule.description.as_deref().and_then(|text| sessions_named(text).next()).map(str::to_owned);
        if let (Some(until), Some(session)) = (list.get(&digest), session) {
            loose.remove(&digest);
            rule.tags.extend(ours(digest, session));
            rule.tags.insert(key.clone(), lease_value(*until));
        } else if !rule.tags.keys().any(|key| key.starts_with(LEASE_PREFIX)) {
            rule.tags.clear();
        }
    }
    reading.loose_marks.retain(|(installation, _)| installation != us);
    reading.loose_marks.extend(loose.into_iter().map(|digest| (us.clone(), digest.clone())));
}

/// The tags by which the plan takes an entry for `eg`'s.
fn ours(digest: String, session: String) -> impl Iterator<Item = (String, String)> {
    let ours = [(MANAGED_BY, MANAGED_BY_EG.to_owned()), (MARKS, digest), (SESSION, session)];
    ours.into_iter().map(|(key, value)| (key.to_owned(), value))
}

fn leases(tags: &BTreeMap<String, String>) -> impl Iterator<Item = (InstallationId, String, Timestamp)> {
    let lists = tags.iter().filter_map(|(key, value)| {
        Some((InstallationId::parse(key.strip_prefix(LEASE_PREFIX)?)?, ContainerMark::read(value)))
    });
    lists.flat_map(|(installation, mark)| {
        mark.leases.into_iter().map(move |(digest, until)| (installation.clone(), digest, until))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::tags::Fit;
    use uuid::Uuid;

    const LIST: &str = "pl-0abc123def4567890";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn inst(n: u128) -> InstallationId {
        InstallationId::from_uuid(Uuid::from_u128(n))
    }

    fn host(last: u8) -> Permission {
        format!("-1|-1|-1|203.0.113.{last}/32").parse().unwrap()
    }

    fn leases(count: u8, until: &str) -> BTreeMap<String, Timestamp> {
        (0..count).map(|n| (host(n).digest(LIST), at(until))).collect()
    }

    fn container(lists: &[(u128, &[u8])]) -> BTreeMap<String, String> {
        let until = at("2026-02-27T18:00:00Z");
        let value = |hosts: &[u8]| {
            ContainerMark::write(&hosts.iter().map(|n| (host(*n).digest(LIST), until)).collect()).unwrap()
        };
        lists.iter().map(|(n, hosts)| (lease_key(&inst(*n)), value(hosts))).collect()
    }

    fn entry(last: u8, text: EntryText<'_>, tags: &BTreeMap<String, String>) -> ObservedRule {
        shown(LIST, RuleId(host(last).cidr().to_string()), host(last), text, tags)
    }

    const OURS: EntryText<'_> = EntryText::Says(Some("eg alice@laptop session a1b2c3d4"));

    /// The vector that other programs can test against.
    #[test]
    fn a_list_in_words() {
        let until = at("2026-02-27T18:00:00Z");
        let leases = BTreeMap::from([
            ("a1b2c3d4".to_owned(), until),
            ("00ff00ff".to_owned(), until + chrono::TimeDelta::seconds(1)),
        ]);
        let value = ContainerMark::write(&leases).unwrap();
        assert_eq!(value, "00ff00ff:tb4q01 a1b2c3d4:tb4q00");
        assert_eq!(ContainerMark::read(&value), ContainerMark { leases, odd: Vec::new() });
        assert_eq!(ContainerMark::write(&BTreeMap::new()).as_deref(), Some(""));
        assert_eq!(ContainerMark::read(""), ContainerMark::default());
    }

    #[test]
    fn sixteen_fit_until_2038_and_fifteen_later() {
        for (until, fit) in
            [("2026-02-27T18:00:00Z", LEASES_MAX as u8), ("2038-12-24T05:45:35Z", 16), ("2038-12-24T05:45:36Z", 15)]
        {
            let most = leases(fit, until);
            let value = ContainerMark::write(&most).unwrap();
            assert!(value.len() <= VALUE_MAX);
            assert_eq!(ContainerMark::read(&value).leases, most);
            assert_eq!(ContainerMark::write(&leases(fit + 1, until)), None, "{until}");
        }
        assert_eq!(ContainerMark::write(&leases(1, "1969-12-31T23:59:59Z")), None);
    }

    #[test]
    fn what_no_eg_wrote_holds_nothing() {
        for item in [
            "soon",
            "a1b2c3d4",
            "a1b2c3d4:",
            ":tb4kxs",
            "a1b2c3d4:-1",
            "a1b2c3d4:+1",
            "a1b2c3d4:0tb4kxs",
            "a1b2c3d4:TB4KXS",
            "A1B2C3D4:tb4kxs",
            "a1b2c3d:tb4kxs",
            "a1b2c3d4e:tb4kxs",
            "a1b2c3dé:tb4kxs",
            "a1b2c3d4:zzzzzzzzzzzz",
            "a1b2c3d4:1:2",
            "a1b2c3d4:99999999999999999999999",
        ] {
            let read = ContainerMark::read(&format!("{item} 00ff00ff:tb4kxs"));
            assert_eq!(read.odd, [item]);
            assert_eq!(read.leases.len(), 1, "{item}: the rest still counts");
        }
    }

    #[test]
    fn a_spare_mark_has_expired_for_everybody_and_no_entry() {
        let now = at("2026-02-27T18:00:00Z");
        let value = |host_and_end: &[(u8, &str)]| {
            let leases = host_and_end.iter().map(|(last, end)| (host(*last).digest(LIST), at(end))).collect();
            ContainerMark::write(&leases).unwrap()
        };
        let mut rest: BTreeMap<String, String> = [
            (1, value(&[(1, "2026-02-27T17:49:59Z"), (2, "2026-02-01T00:00:00Z")])),
            (2, value(&[(1, "2026-02-27T17:50:00Z")])),
            (3, value(&[(3, "2026-02-01T00:00:00Z")])),
            (4, "soon".to_owned()),
            (5, String::new()),
            (6, value(&[(1, "2026-02-27T12:00:00Z")])),
        ]
        .map(|(n, value)| (lease_key(&inst(n)), value))
        .into_iter()
        .chain([("owner".to_owned(), "bob".to_owned())])
        .collect();
        let mut gone = Vec::new();
        let shown = BTreeSet::from([host(3).digest(LIST)]);
        while let Some((key, _)) = spare_mark(&rest, &shown, now).map(|(key, value)| (key.to_owned(), value.to_owned()))
        {
            rest.remove(&key);
            gone.push(key);
        }
        assert_eq!(gone, [lease_key(&inst(6)), lease_key(&inst(1))]);
    }

    #[test]
    fn of_two_ends_the_later_counts() {
        for value in ["a1b2c3d4:2 a1b2c3d4:1", "a1b2c3d4:1  a1b2c3d4:2 "] {
            assert_eq!(ContainerMark::read(value).leases["a1b2c3d4"].timestamp(), 2);
        }
    }

    /// What is laid over is what the next reading shows.
    #[test]
    fn a_list_over_a_reading() {
        let until = at("2026-02-27T18:00:00Z");
        let texts = [OURS, OURS, EntryText::Says(Some("the office")), EntryText::NoPlace];
        let read = |tags: &BTreeMap<String, String>| {
            let rules: Vec<_> = (1..).zip(texts).map(|(n, text)| entry(n, text, tags)).collect();
            let loose_marks = loose_marks(LIST, &rules, tags);
            Reading { rules, loose_marks, ..reading() }
        };
        for (ours, theirs) in [(&[1_u8, 3, 4, 9][..], &[1_u8, 2, 8][..]), (&[], &[2]), (&[2, 4], &[])] {
            let list: BTreeMap<String, Timestamp> = ours.iter().map(|n| (host(*n).digest(LIST), until)).collect();
            for before in [&[2_u8, 3, 7][..], &[], &[1, 4]] {
                let mut reading = read(&container(&[(1, before), (2, theirs)]));
                relist(&mut reading, LIST, &inst(1), &list);
                assert_eq!(reading, read(&container(&[(1, ours), (2, theirs)])), "{before:?} {ours:?}");
            }
        }
    }

    fn reading() -> Reading {
        let now = at("2026-02-27T12:00:00Z");
        Reading {
            rules: Vec::new(),
            other_ingress: 0,
            read_at: now,
            last_page_at: now,
            read_later: BTreeMap::new(),
            provider_time: None,
            loose_marks: BTreeSet::new(),
            family: None,
        }
    }

    /// | text | a list names it | |
    #[test]
    fn an_entry_is_marked_by_its_text_and_a_list_together() {
        let tags = container(&[(1, &[42]), (2, &[42, 7])]);
        let fit = |last, text, tags: &_| entry(last, text, tags).marks(LIST).fit(false);
        assert_eq!(fit(42, OURS, &tags), Some(Fit::Genuine));
        assert_eq!(fit(42, EntryText::NoPlace, &tags), Some(Fit::Genuine));
        for (last, text) in [(42, EntryText::Says(None)), (42, EntryText::Says(Some("the office"))), (9, OURS)] {
            assert_eq!(fit(last, text, &tags), None, "{last} {text:?}");
        }
        assert_eq!(fit(9, EntryText::NoPlace, &tags), None);
        let marks = entry(42, OURS, &tags).marks(LIST);
        assert_eq!(marks.leases.keys().cloned().collect::<Vec<_>>(), [inst(1), inst(2)]);
        // Its owner still knows it by its id.
        let bare = entry(9, OURS, &tags).marks(LIST);
        assert_eq!((bare.fit(true), bare.incomplete(), bare.can_be_mended()), (Some(Fit::OursById), true, true));
    }

    /// Found by the search: an installation that had expired was still in its list, and the list of the one that had
    /// just made the entry did not show yet.
    #[test]
    fn what_has_expired_says_nothing_about_an_entry_that_was_just_made() {
        let tags = container(&[(1, &[42])]);
        let now = |text: &str| EntryText::SaysSince(Some("eg alice@laptop session a1b2c3d4"), at(text));
        let fit = |text| entry(42, text, &tags).marks(LIST).fit(false);
        assert_eq!(fit(now("2026-02-27T17:59:59Z")), Some(Fit::Genuine));
        assert_eq!(fit(now("2026-02-27T18:00:00Z")), None);
        assert_eq!(fit(OURS), Some(Fit::Genuine));
    }

    /// The digest is that of the container and the permission: a list that was copied elsewhere names nothing there.
    #[test]
    fn a_list_on_another_container_names_nothing() {
        let tags = container(&[(1, &[42])]);
        let elsewhere = shown("pl-1", RuleId("x".into()), host(42), OURS, &tags);
        assert_eq!(elsewhere.marks("pl-1").fit(false), None);
    }

    #[test]
    fn a_mark_that_no_entry_shows_is_loose() {
        let tags = container(&[(1, &[42]), (2, &[42, 7])]);
        let loose = |rules: &[ObservedRule]| loose_marks(LIST, rules, &tags).into_iter().collect::<Vec<_>>();
        let (ours, theirs) = ((inst(1), host(42).digest(LIST)), (inst(2), host(42).digest(LIST)));
        let seven = (inst(2), host(7).digest(LIST));
        assert_eq!(loose(&[entry(42, OURS, &tags)]), std::slice::from_ref(&seven));
        assert_eq!(loose(&[entry(42, OURS, &tags), entry(7, OURS, &tags)]), []);
        let mut all = [ours, theirs, seven];
        all.sort();
        // A person made an entry for the same address.
        assert_eq!(loose(&[entry(42, EntryText::Says(None), &tags)]), all);
        // Expired, and not shown on an entry that was just made.
        let young = EntryText::SaysSince(Some("eg alice@laptop session a1b2c3d4"), at("2026-02-27T18:00:00Z"));
        assert_eq!(loose(&[entry(42, young, &tags)]), all);
    }
}
