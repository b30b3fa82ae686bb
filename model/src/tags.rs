//! The tags that mark a rule as `eg`'s, read and written.
//!
//! | tag | value |
//! |---|---|
//! | `eg:managed-by` | `eg`; any other value is another tool's rule |
//! | `eg:session` | the id of the session that opened it |
//! | `eg:lease:<installation>` | the time until which that installation needs it, RFC 3339 UTC |
//! | `eg:marks` | the digests of all permissions of its authorize call, sorted, joined by one space |
//!
//! Anyone who may write tags can write these on any rule. So tags alone prove nothing about a rule whose id is not on
//! record: its description, which the right to tag cannot change, has to name the session of its tag, and `eg` has to
//! be able to open such a rule. [`Marks::fit`] judges this for the plan, the sweep and `eg who`.

use crate::{
    Timestamp,
    ids::{InstallationId, SessionId},
    net::{address::PrefixLengths, permission::Permission},
    words::word_enum,
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// Tag key: the tool that manages the rule.
pub const MANAGED_BY: &str = "eg:managed-by";
/// Tag value of [`MANAGED_BY`] on our rules.
pub const MANAGED_BY_EG: &str = "eg";
/// Tag key: the opener's session.
pub const SESSION: &str = "eg:session";
/// Tag key: digests of the authorize call's permissions.
pub const MARKS: &str = "eg:marks";
/// Prefix of an installation's lease tag key.
pub const LEASE_PREFIX: &str = "eg:lease:";
/// The most digests that fit into one tag value of 256 characters (28 × 9 − 1 = 251).
pub const DIGESTS_PER_CALL: usize = 28;

/// The largest error of an installation's clock; with a larger one, `start` and `extend` refuse.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(10);
/// A lease of another installation has expired if it is this far in the past on the provider's clock: the clock of its
/// owner may be behind.
pub const LEASE_GRACE: TimeDelta = CLOCK_TOLERANCE;
/// A lease that ends later than this from now on the provider's clock is not believed: the hard cap of `max_duration`,
/// plus the error of the opener's clock.
pub const LEASE_HORIZON: TimeDelta = TimeDelta::minutes(31 * 24 * 60 + 10);

/// The key of an installation's lease tag.
pub fn lease_key(installation: &InstallationId) -> String {
    format!("{LEASE_PREFIX}{installation}")
}

/// The value of a lease tag.
pub fn lease_value(until: Timestamp) -> String {
    until.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The time in a lease tag's value; `None` if it is not a time.
pub fn lease_time(value: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(value).map(|until| until.with_timezone(&Utc)).ok()
}

/// Every tag of one authorize call, except the user's extra ones.
pub fn tags_for(
    group: &str,
    permissions: &[Permission],
    session: SessionId,
    installation: &InstallationId,
    until: Timestamp,
) -> BTreeMap<String, String> {
    let digests: BTreeSet<String> = permissions.iter().map(|p| p.digest(group)).collect();
    BTreeMap::from([
        (MANAGED_BY.to_owned(), MANAGED_BY_EG.to_owned()),
        (SESSION.to_owned(), session.to_string()),
        (lease_key(installation), lease_value(until)),
        (MARKS.to_owned(), digests.into_iter().collect::<Vec<_>>().join(" ")),
    ])
}

/// All tags for a rule that the record knows by its id and that has lost some; `opener` is the value of `eg:session`.
pub fn tags_again(
    group: &str,
    permission: Permission,
    opener: String,
    installation: &InstallationId,
    until: Timestamp,
) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.to_owned(), MANAGED_BY_EG.to_owned()),
        (SESSION.to_owned(), opener),
        (lease_key(installation), lease_value(until)),
        (MARKS.to_owned(), permission.digest(group)),
    ])
}

const EG: &str = "eg";
/// The word before the session's short id.
const SESSION_WORD: &str = "session";
/// The most characters of the person in a description. A provider that cuts descriptions, for example at 255
/// characters, then cuts the reason, and never the session.
const PERSON_MAX: usize = 200;

/// A rule's description: `eg alice@laptop session a1b2c3d4: the reason`.
pub fn description(person: Option<&str>, session: SessionId, reason: Option<&str>) -> String {
    let mut text = EG.to_owned();
    if let Some(person) = person {
        text.push(' ');
        text.extend(person.chars().take(PERSON_MAX));
    }
    text += &format!(" {SESSION_WORD} {}", session.short());
    if let Some(reason) = reason.filter(|reason| !reason.trim().is_empty()) {
        text += &format!(": {reason}");
    }
    text
}

/// The short ids of the sessions that a description of `eg`'s names. A person or a reason may look like one as well.
pub fn sessions_named(description: &str) -> impl Iterator<Item = &str> {
    let mut words = description.split(' ');
    let ours = words.next() == Some(EG);
    let pairs = words.clone().zip(words.skip(1)).filter(move |(word, _)| ours && *word == SESSION_WORD);
    pairs.filter_map(|(_, word)| short_id(word))
}

/// The person and the session (its short id) that a description of `eg`'s names.
pub fn opener_named(description: &str) -> Option<(Option<&str>, &str)> {
    let short = sessions_named(description).next()?;
    let (before, _) = description.split_once(&format!(" {SESSION_WORD} {short}"))?;
    let person = before.strip_prefix(EG)?.trim();
    Some((Some(person).filter(|person| !person.is_empty()), short))
}

/// The short id of a session in a word that is one, with or without the colon before a reason.
fn short_id(word: &str) -> Option<&str> {
    let (id, rest) = word.split_at_checked(8)?;
    let hex = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (hex && (rest.is_empty() || rest.starts_with(':'))).then_some(id)
}

word_enum! {
    /// The state of a lease tag's value on the provider's clock.
    LeaseState {
        /// Holds the rule.
        Unexpired = "unexpired",
        /// Holds nothing any more.
        Expired = "expired",
        /// Does not parse, or is too far ahead. No `eg` wrote it (another format would have another `eg:managed-by`), so it
        /// holds nothing: otherwise a stray tag would keep a port open for ever. It is reported.
        Odd = "odd",
    }
}

impl LeaseState {
    /// True if the lease still holds the rule.
    pub fn holds(self) -> bool {
        self == Self::Unexpired
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// They are the rule's own.
    Genuine,
    /// They do not fit, or are gone, but the record holds the rule's id: it was edited, or lost its tags.
    OursById,
    /// They are those of another rule, or tags alone say that they are its own. Never touched.
    Misfit(Misfit),
}

/// The reason why marks are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// They do not list the rule's permission on its group.
    Digest,
    /// `eg` opens no such rule: its network is too wide, or it is for a protocol that no configuration can name.
    TooWide,
    /// The description does not name the session of the tag [`SESSION`].
    Description,
}

impl Misfit {
    /// The reason as a clause.
    pub fn why(self) -> &'static str {
        match self {
            Self::Digest => "its tags belong to a different rule: they were copied, or the rule was edited",
            Self::TooWide => "eg never opens a rule as wide as this, whatever its tags say",
            Self::Description => "its description does not name the session of its tags",
        }
    }
}

/// The evidence on a rule that the right to tag cannot change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// Its description names the session of its tag, and `eg` can open such a rule.
    Fits,
    /// Its description names a session, and the tag is lost, or names another.
    TagLost,
    /// The description is not `eg`'s.
    NoSession,
    /// `eg` opens no such rule.
    TooWide,
}

impl Evidence {
    fn read(permission: &Permission, description: Option<&str>, tags: &BTreeMap<String, String>) -> Self {
        let lengths = PrefixLengths::accepted(permission.ip_version());
        if !lengths.contains(&permission.cidr().prefix_len()) || permission.spec().is_none() {
            return Self::TooWide;
        }
        let mut named = sessions_named(description.unwrap_or_default()).peekable();
        let tag = tags.get(SESSION).map(String::as_str).unwrap_or_default();
        match named.peek().is_some() {
            false => Self::NoSession,
            true if named.any(|id| tag.starts_with(id)) => Self::Fits,
            true => Self::TagLost,
        }
    }
}

/// A rule's tags, judged against its group, its permission and its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// `eg:managed-by = eg` is there.
    pub managed: bool,
    /// The digest of this very permission on this very group is in `eg:marks`.
    pub fits: bool,
    /// Each installation's lease value, as read.
    pub leases: BTreeMap<InstallationId, String>,
    evidence: Evidence,
}

impl Marks {
    /// Reads a rule's tags and description.
    pub fn read(
        group: &str,
        permission: &Permission,
        description: Option<&str>,
        tags: &BTreeMap<String, String>,
    ) -> Self {
        let managed = tags.get(MANAGED_BY).is_some_and(|value| value == MANAGED_BY_EG);
        let digest = permission.digest(group);
        let fits = tags.get(MARKS).is_some_and(|list| list.split(' ').any(|item| item == digest));
        let lease = |(key, value): (&String, &String)| {
            let id = InstallationId::parse(key.strip_prefix(LEASE_PREFIX)?)?;
            Some((id, value.clone()))
        };
        let leases = tags.iter().filter_map(lease).collect();
        Self { managed, fits, leases, evidence: Evidence::read(permission, description, tags) }
    }

    /// The worth of the marks; `None`: there are none, and the rule is not ours.
    ///
    /// | `eg:managed-by = eg` | digest | description and network | id on record | |
    /// |---|---|---|---|---|
    /// | yes | fits | fit | either | [`Fit::Genuine`] |
    /// | yes | fits | do not | yes | [`Fit::Genuine`]: the id is better proof than both |
    /// | yes | fits | do not | no | [`Fit::Misfit`]: anyone who may write tags can have written these |
    /// | yes | does not | either | no | [`Fit::Misfit`] |
    /// | yes | does not | either | yes | [`Fit::OursById`] |
    /// | no | either | either | yes | [`Fit::OursById`] |
    /// | no | either | either | no | none |
    ///
    /// Two rules for tcp/22 from 203.0.113.42/32 with all of `eg`'s tags, `eg:session` = `a1b2c3d4-…`: the one whose
    /// description is `eg alice@laptop session a1b2c3d4` is genuine, the one with `made by hand: the office` is not.
    pub fn fit(&self, recorded: bool) -> Option<Fit> {
        match (self.managed && self.fits, recorded, self.evidence) {
            (true, true, _) | (true, false, Evidence::Fits) => Some(Fit::Genuine),
            (false, true, _) => Some(Fit::OursById),
            (_, false, _) if !self.managed => None,
            (false, false, _) => Some(Fit::Misfit(Misfit::Digest)),
            (true, false, Evidence::TooWide) => Some(Fit::Misfit(Misfit::TooWide)),
            (true, false, Evidence::TagLost | Evidence::NoSession) => Some(Fit::Misfit(Misfit::Description)),
        }
    }

    /// True if a rule that the record knows lacks a tag that can be written again: a mark, or the session that its
    /// description names. Without the session no other installation believes the rest.
    pub fn incomplete(&self) -> bool {
        !self.managed || !self.fits || self.evidence == Evidence::TagLost
    }

    /// True if the marks can become genuine: an installation that knows the rule by its id writes its tags again.
    pub fn can_be_mended(&self) -> bool {
        matches!(self.evidence, Evidence::Fits | Evidence::TagLost)
    }

    /// Judges one lease value by the provider's clock.
    pub fn judge(value: &str, provider_time: Timestamp) -> LeaseState {
        let Some(until) = lease_time(value) else { return LeaseState::Odd };
        match until - provider_time {
            ahead if ahead > LEASE_HORIZON => LeaseState::Odd,
            ahead if ahead < -LEASE_GRACE => LeaseState::Expired,
            _ => LeaseState::Unexpired,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use uuid::Uuid;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const SSH: &str = "tcp|22|22|203.0.113.42/32";

    fn session() -> SessionId {
        SessionId(Uuid::from_u128(0xa1b2_c3d4 << 96))
    }

    fn fit(group: &str, permission: &str, description: &str, tags: &BTreeMap<String, String>) -> Option<Fit> {
        Marks::read(group, &permission.parse().unwrap(), Some(description), tags).fit(false)
    }

    fn written(permission: &str) -> BTreeMap<String, String> {
        let installation = InstallationId::from_uuid(Uuid::from_u128(7));
        tags_for("sg-1", &[permission.parse().unwrap()], session(), &installation, at("2026-02-27T18:00:00Z"))
    }

    #[test]
    fn written_tags_read_back_as_genuine() {
        let (one, other): (Permission, Permission) = (SSH.parse().unwrap(), SSH.replace("22", "443").parse().unwrap());
        let installation = InstallationId::from_uuid(Uuid::from_u128(7));
        let tags = tags_for("sg-1", &[one, other], session(), &installation, at("2026-02-27T18:00:00Z"));
        let text = description(Some("alice@laptop"), session(), None);
        for p in [one, other] {
            let marks = Marks::read("sg-1", &p, Some(&text), &tags);
            assert_eq!((marks.fit(false), marks.incomplete()), (Some(Fit::Genuine), false));
            assert_eq!(marks.leases[&installation], "2026-02-27T18:00:00Z");
        }
        let misfit = Some(Fit::Misfit(Misfit::Digest));
        assert_eq!(fit("sg-2", SSH, &text, &tags), misfit, "tags copied to another group");
        assert_eq!(fit("sg-1", "tcp|23|23|203.0.113.42/32", &text, &tags), misfit, "an edited rule");
    }

    #[test]
    fn another_tool_is_not_us() {
        let mut tags = written(SSH);
        tags.insert(MANAGED_BY.to_owned(), "terraform".to_owned());
        assert_eq!(fit("sg-1", SSH, "eg session a1b2c3d4", &tags), None);
    }

    /// Every form in which any version of `eg` has written a description, also as a provider cuts it.
    #[test]
    fn descriptions_of_eg_are_evidence() {
        let tags = written(SSH);
        let long = "x".repeat(300);
        let host = format!("alice@{long}");
        let session_like = "a session deadbeef man@host";
        for text in [
            description(Some("alice@laptop"), session(), None),
            description(Some("alice@laptop"), session(), Some("CVE-1: look at the logs")),
            description(None, session(), None),
            description(None, session(), Some(&long)),
            description(Some(&host), session(), Some(&long)),
            description(Some(session_like), session(), Some("session cafecafe")),
            "eg alice@laptop session a1b2c3d4".to_owned(),
            "eg session a1b2c3d4".to_owned(),
            "eg session a1b2c3d4:".to_owned(),
        ] {
            let cut: String = text.chars().take(255).collect();
            assert_eq!(fit("sg-1", SSH, &cut, &tags), Some(Fit::Genuine), "{cut}");
        }
    }

    #[test]
    fn tags_alone_prove_nothing() {
        let tags = written(SSH);
        let misfit = Some(Fit::Misfit(Misfit::Description));
        for text in [
            "",
            "made by hand: the office",
            "eg",
            "eg session",
            "eg session a1b2c3d",
            "eg session a1b2c3d45",
            "eg session A1B2C3D4",
            "eg session a1b2c3d4x",
            "eg sessions a1b2c3d4",
            "eg obsession a1b2c3d4",
            "eg session  a1b2c3d4",
            "eg session: a1b2c3d4",
            "eg session b2c3d4e5",
            "the office session a1b2c3d4",
            "EG session a1b2c3d4",
        ] {
            assert_eq!(fit("sg-1", SSH, text, &tags), misfit, "{text:?}");
        }
        let none = Marks::read("sg-1", &SSH.parse().unwrap(), None, &tags);
        assert_eq!((none.fit(false), none.fit(true)), (misfit, Some(Fit::Genuine)), "the id on record is proof");
        assert!(!none.can_be_mended() && !none.incomplete(), "there is nothing to write again");
        let mut other = tags;
        for lost in [None, Some("cafecafe-0000-4000-8000-000000000000")] {
            other.remove(SESSION);
            other.extend(lost.map(|id| (SESSION.to_owned(), id.to_owned())));
            let marks = Marks::read("sg-1", &SSH.parse().unwrap(), Some("eg session a1b2c3d4"), &other);
            assert_eq!((marks.fit(false), marks.incomplete(), marks.can_be_mended()), (misfit, true, true), "{lost:?}");
        }
    }

    #[test]
    fn a_description_names_person_and_session() {
        for (text, expected) in [
            ("eg alice@laptop session a1b2c3d4: a session deadbeef", Some((Some("alice@laptop"), "a1b2c3d4"))),
            ("eg Alice Smith session a1b2c3d4", Some((Some("Alice Smith"), "a1b2c3d4"))),
            ("eg session a1b2c3d4", Some((None, "a1b2c3d4"))),
            ("alice session a1b2c3d4", None),
            ("eg alice session a1b2c3", None),
            ("eg", None),
        ] {
            assert_eq!(opener_named(text), expected, "{text}");
        }
    }

    /// After the tag is lost, the description alone names the session.
    #[test]
    fn tags_that_are_written_again_are_genuine() {
        let installation = InstallationId::from_uuid(Uuid::from_u128(7));
        let opener = sessions_named("eg alice@laptop session a1b2c3d4: why").next().unwrap().to_owned();
        let tags = tags_again("sg-1", SSH.parse().unwrap(), opener, &installation, at("2026-02-27T18:00:00Z"));
        assert_eq!(fit("sg-1", SSH, "eg alice@laptop session a1b2c3d4: why", &tags), Some(Fit::Genuine));
    }

    #[test]
    fn what_eg_cannot_open_is_not_its_own() {
        for (permission, wide) in [
            ("tcp|5432|5432|10.0.0.0/8", true),
            ("tcp|22|22|203.0.113.0/23", true),
            ("tcp|22|22|203.0.113.0/24", false),
            ("tcp|22|22|0.0.0.0/0", true),
            ("tcp|22|22|2001:db8::/63", true),
            ("tcp|22|22|2001:db8::/64", false),
            ("47|-1|-1|203.0.113.42/32", true),
            ("icmp|8|0|203.0.113.42/32", true),
            ("icmp|-1|-1|203.0.113.42/32", false),
            ("-1|-1|-1|203.0.113.42/32", false),
        ] {
            let expected = if wide { Fit::Misfit(Misfit::TooWide) } else { Fit::Genuine };
            let found = fit("sg-1", permission, "eg alice@laptop session a1b2c3d4", &written(permission));
            assert_eq!(found, Some(expected), "{permission}");
        }
    }

    #[test]
    fn what_is_on_record_is_ours_whatever_its_tags_say() {
        let mut tags = written(SSH);
        tags.remove(MARKS);
        let stripped = Marks::read("sg-1", &SSH.parse().unwrap(), Some("eg session a1b2c3d4"), &tags);
        assert_eq!((stripped.fit(true), stripped.incomplete()), (Some(Fit::OursById), true));
        tags.clear();
        let bare = Marks::read("sg-1", &SSH.parse().unwrap(), Some("eg session a1b2c3d4"), &tags);
        assert_eq!((bare.fit(true), bare.fit(false)), (Some(Fit::OursById), None));
    }

    #[test]
    fn lease_values_are_judged_by_the_table() {
        let now = at("2026-02-27T12:00:00Z");
        for (value, expected) in [
            ("2026-02-27T18:00:00Z", LeaseState::Unexpired),
            ("2026-02-27T11:50:00Z", LeaseState::Unexpired),
            ("2026-02-27T11:49:59Z", LeaseState::Expired),
            ("2026-03-30T12:00:00Z", LeaseState::Unexpired),
            // 31 days, by a clock that is ahead.
            ("2026-03-30T12:00:02Z", LeaseState::Unexpired),
            ("2026-03-30T12:10:00Z", LeaseState::Unexpired),
            ("2026-03-30T12:10:01Z", LeaseState::Odd),
            ("2099-01-01T00:00:00Z", LeaseState::Odd),
            ("soon", LeaseState::Odd),
            ("", LeaseState::Odd),
            ("2026-02-27T19:00:00+01:00", LeaseState::Unexpired),
        ] {
            assert_eq!(Marks::judge(value, now), expected, "{value}");
        }
    }

    #[test]
    fn the_horizon_is_the_longest_lease_by_a_clock_that_is_ahead() {
        assert_eq!(LEASE_HORIZON, crate::time::duration::MAX + CLOCK_TOLERANCE);
    }

    #[test]
    fn a_full_list_of_digests_fits_a_tag_value() {
        const { assert!(DIGESTS_PER_CALL * 9 - 1 <= 256) };
        const { assert!((DIGESTS_PER_CALL + 1) * 9 - 1 > 256) };
    }
}
