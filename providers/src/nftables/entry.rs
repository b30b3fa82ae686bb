//! The comment of an element: what the marks of its rule need.
//!
//! ```text
//! eg alice@laptop session a1b2c3d4 00ff00ff BI_YAgAAAAAAAAAAAAAAAAAAAAdpodug
//! ╰──────── description ─────────╯ ╰ nonce╯ ╰ digest and leases ──────────╯
//! ```
//!
//! The last word is base64 (RFC 4648, section 5, no padding) of the 4 bytes of the permission's digest, then of 20 bytes
//! for each lease: 16 of the installation's id, and the end of its lease in seconds of 1970. A comment has at most 128
//! bytes (nft, "comment too long, 128 characters maximum allowed"), which is room for [`LEASES_MAX`] leases: as many
//! records (state files) of this host may hold one address at once.

use crate::types::Authorize;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use eg_model::{
    Timestamp,
    ids::{InstallationId, RuleId},
    net::permission::Permission,
    observation::ObservedRule,
    tags::{
        LEASE_GRACE, LEASE_PREFIX, MANAGED_BY, MANAGED_BY_EG, MARKS, SESSION, lease_key, lease_time, lease_value,
        sessions_named,
    },
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The most bytes of a comment.
const COMMENT_MAX: usize = 128;
/// The most leases on one element: 42 bytes before the last word, and 86 for 4 + 3 × 20 bytes in base64, make 128.
pub const LEASES_MAX: usize = 3;
/// The most bytes of the person in a description.
const PERSON_MAX: usize = 12;
const DIGEST_BYTES: usize = 4;
const LEASE_BYTES: usize = 20;

/// The text of an element of `eg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementText {
    /// `eg alice@laptop session a1b2c3d4`.
    pub description: String,
    /// Eight hex digits that no other element has.
    pub nonce: String,
    /// The digest of the permission that it was written for: the text of another element does not fit.
    pub digest: String,
    pub leases: BTreeMap<InstallationId, Timestamp>,
}

/// The reason why leases cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritable {
    /// More than [`LEASES_MAX`] unexpired leases, or more than fit beside a long description.
    Full,
    /// An installation's id that no `eg` makes, or an end before 1970 or after 2106.
    Lease,
}

impl ElementText {
    /// A new element's text, without leases. Of the call's description the person is kept, in short.
    pub fn new(table: &str, permission: &Permission, call: &Authorize) -> Option<Self> {
        let session: String = call.tags.get(SESSION)?.chars().take(8).collect();
        let before = call.description.strip_prefix("eg ")?.split_once(&format!(" session {session}"));
        let person = before.map(|(person, _)| person).unwrap_or_default();
        let plain = |c: char| if is_plain(c) { c } else { '-' };
        let person: String = person.chars().map(plain).take(PERSON_MAX).collect();
        let person = if person.is_empty() { person } else { format!("{person} ") };
        let description = format!("eg {person}session {session}");
        sessions_named(&description).next()?;
        let (nonce, digest) = (call.nonce.clone(), permission.digest(table));
        Some(Self { description, nonce, digest, leases: BTreeMap::new() })
    }

    /// Reads a comment; `None` if no `eg` wrote it. A quote in it could end the text that it is written into later.
    pub fn read(comment: &str) -> Option<Self> {
        if !comment.chars().all(|c| c == ' ' || is_plain(c)) {
            return None;
        }
        let (rest, packed) = comment.rsplit_once(' ')?;
        let (description, nonce) = rest.rsplit_once(' ')?;
        sessions_named(description).next()?;
        let hex = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if nonce.len() != 8 || !nonce.bytes().all(hex) {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(packed).ok()?;
        let (digest, leases) = bytes.split_at_checked(DIGEST_BYTES)?;
        let whole = leases.len().is_multiple_of(LEASE_BYTES);
        let leases: Option<BTreeMap<_, _>> = leases.chunks_exact(LEASE_BYTES).map(unpack).collect();
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let (description, nonce) = (description.to_owned(), nonce.to_owned());
        Some(Self { description, nonce, digest, leases: leases.filter(|_| whole)? })
    }

    /// The comment.
    pub fn write(&self) -> Result<String, Unwritable> {
        if self.leases.len() > LEASES_MAX {
            return Err(Unwritable::Full);
        }
        let mut bytes = self.digest_bytes().ok_or(Unwritable::Lease)?.to_vec();
        for (installation, until) in &self.leases {
            bytes.extend(pack(installation, *until).ok_or(Unwritable::Lease)?);
        }
        let comment = format!("{} {} {}", self.description, self.nonce, BASE64_URL_SAFE_NO_PAD.encode(bytes));
        // Of an element that a person has given a longer description.
        if comment.len() > COMMENT_MAX { Err(Unwritable::Full) } else { Ok(comment) }
    }

    fn digest_bytes(&self) -> Option<[u8; DIGEST_BYTES]> {
        u32::from_str_radix(&self.digest, 16).ok().map(u32::to_be_bytes)
    }

    /// Takes over the leases among some tags. If there are too many, leases that expired by `now` go, the oldest first.
    pub fn take_leases(&mut self, tags: &BTreeMap<String, String>, now: Timestamp) {
        let lease = |(key, value): (&String, &String)| {
            Some((InstallationId::parse(key.strip_prefix(LEASE_PREFIX)?)?, lease_time(value)?))
        };
        let taken: BTreeMap<_, _> = tags.iter().filter_map(lease).collect();
        self.leases.extend(taken.clone());
        while self.leases.len() > LEASES_MAX {
            let expired =
                |(id, until): &(&InstallationId, &Timestamp)| now - **until > LEASE_GRACE && !taken.contains_key(*id);
            let oldest = self.leases.iter().filter(expired).min_by_key(|(_, until)| **until).map(|(id, _)| id.clone());
            match oldest {
                Some(id) => self.leases.remove(&id),
                None => return,
            };
        }
    }

    /// Drops the leases with these keys and values. True if there were any.
    pub fn drop_leases(&mut self, tags: &BTreeMap<String, String>) -> bool {
        let before = self.leases.len();
        self.leases.retain(|id, until| tags.get(&lease_key(id)) != Some(&lease_value(*until)));
        self.leases.len() < before
    }

    /// The end of the latest lease: the time at which the kernel closes the element.
    pub fn end(&self) -> Option<Timestamp> {
        self.leases.values().max().copied()
    }

    /// The element as a rule, with its text as tags.
    pub fn rule(&self, permission: Permission) -> ObservedRule {
        let session = sessions_named(&self.description).last().unwrap_or_default();
        let ours = [(MANAGED_BY, MANAGED_BY_EG), (SESSION, session), (MARKS, &self.digest)];
        let ours = ours.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let leases = self.leases.iter().map(|(id, until)| (lease_key(id), lease_value(*until)));
        let id = RuleId(format!("{}#{}", value_of(&permission), self.nonce));
        ObservedRule {
            id,
            permission,
            description: Some(self.description.clone()),
            tags: ours.into_iter().chain(leases).collect(),
        }
    }
}

/// An element that no `eg` wrote, as a rule.
pub fn foreign_rule(permission: Permission, comment: Option<&str>) -> ObservedRule {
    let (id, description) = (RuleId(value_of(&permission)), comment.map(str::to_owned));
    ObservedRule { id, permission, description, tags: BTreeMap::new() }
}

/// What an element opens, in an id: `tcp/22@203.0.113.42/32`.
fn value_of(permission: &Permission) -> String {
    format!("{}@{}", permission.ports(), permission.cidr())
}

/// True for what needs no quoting in a comment.
fn is_plain(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\\')
}

fn pack(installation: &InstallationId, until: Timestamp) -> Option<[u8; LEASE_BYTES]> {
    let id =
        Uuid::try_parse(installation.as_str()).ok().filter(|id| InstallationId::from_uuid(*id) == *installation)?;
    let until = u32::try_from(until.timestamp()).ok()?;
    let mut bytes = [0; LEASE_BYTES];
    let (front, back) = bytes.split_at_mut_checked(16)?;
    front.copy_from_slice(id.as_bytes());
    back.copy_from_slice(&until.to_be_bytes());
    Some(bytes)
}

fn unpack(bytes: &[u8]) -> Option<(InstallationId, Timestamp)> {
    let (id, until) = bytes.split_at_checked(16)?;
    let until = u32::from_be_bytes(until.try_into().ok()?);
    Some((InstallationId::from_uuid(Uuid::from_slice(id).ok()?), Timestamp::from_timestamp(until.into(), 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use eg_model::tags::{Fit, Misfit};

    const TABLE: &str = "eg";

    fn permission() -> Permission {
        "tcp|22|22|203.0.113.42/32".parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn installation(number: u128) -> InstallationId {
        InstallationId::from_uuid(Uuid::from_u128(number))
    }

    fn new(description: &str, session: &str) -> Option<ElementText> {
        let call = Authorize {
            group: TABLE.to_owned(),
            permissions: vec![permission()],
            tags: BTreeMap::from([(SESSION.to_owned(), session.to_owned())]),
            description: description.to_owned(),
            nonce: "00ff00ff".to_owned(),
        };
        ElementText::new(TABLE, &permission(), &call)
    }

    fn entry(description: &str, leases: &[(u128, &str)]) -> ElementText {
        let mut entry = new(description, "a1b2c3d4-0000-4000-8000-000000000000").unwrap();
        entry.leases = leases.iter().map(|(id, until)| (installation(*id), at(until))).collect();
        entry
    }

    /// The vector that other programs can test against.
    #[test]
    fn a_comment_in_words() {
        let entry = entry("eg alice@laptop session a1b2c3d4: a look", &[(7, "2026-02-27T18:00:00Z")]);
        let comment = entry.write().unwrap();
        assert_eq!(comment, "eg alice@laptop session a1b2c3d4 00ff00ff BI_YAgAAAAAAAAAAAAAAAAAAAAdpodug");
        assert_eq!(ElementText::read(&comment), Some(entry));
    }

    #[test]
    fn three_leases_fit_and_a_fourth_does_not() {
        let until = "2106-02-07T06:28:15Z";
        let all = [(u128::MAX, until), (1, until), (2, until), (3, until)];
        let long = "eg somebody.with.a.long.name@a-host session a1b2c3d4";
        let full = entry(long, &all[..LEASES_MAX]);
        let comment = full.write().unwrap();
        assert_eq!(comment.len(), 128);
        assert_eq!(ElementText::read(&comment), Some(full));
        assert_eq!(entry(long, &all).write(), Err(Unwritable::Full));
    }

    #[test]
    fn leases_that_no_eg_makes_are_not_written() {
        for until in ["1969-12-31T23:59:59Z", "2106-02-07T06:28:16Z"] {
            assert_eq!(entry("eg session a1b2c3d4", &[(1, until)]).write(), Err(Unwritable::Lease), "{until}");
        }
        let mut odd = entry("eg session a1b2c3d4", &[]);
        for id in ["laptop", "00000000-0000-0000-0000-000000000001"] {
            odd.leases = BTreeMap::from([(InstallationId::parse(id).unwrap(), at("2026-02-27T18:00:00Z"))]);
            assert_eq!(odd.write(), Err(Unwritable::Lease), "{id}");
        }
    }

    #[test]
    fn the_person_is_kept_in_short_and_in_plain_letters() {
        for (description, kept) in [
            ("eg session a1b2c3d4", "eg session a1b2c3d4"),
            ("eg session a1b2c3d4: session deadbeef", "eg session a1b2c3d4"),
            ("eg a session deadbeef b session a1b2c3d4", "eg a-session-de session a1b2c3d4"),
            ("eg alice@laptop session a1b2c3d4: why", "eg alice@laptop session a1b2c3d4"),
            ("eg Ålice \"x\"@laptop session a1b2c3d4", "eg -lice--x-@la session a1b2c3d4"),
            ("eg a\nb session a1b2c3d4", "eg a-b session a1b2c3d4"),
        ] {
            assert_eq!(entry(description, &[]).description, kept);
        }
        assert_eq!(new("by hand", "a1b2c3d4-0000-4000-8000-000000000000"), None);
        assert_eq!(new("eg alice@laptop session soon", "soon"), None);
    }

    #[test]
    fn what_no_eg_wrote_is_foreign() {
        let good = entry("eg session a1b2c3d4", &[(7, "2026-02-27T18:00:00Z")]).write().unwrap();
        for bad in [
            "",
            "the office",
            "eg",
            "eg session a1b2c3d4",
            "eg session a1b2c3d4 00ff00ff",
            &good.replace("00ff00ff", "00FF00FF"),
            &good.replace("00ff00ff", "0ff00ff"),
            &good.replace("session", "sessions"),
            &good[..good.len() - 1],
            &format!("{good}A"),
            &format!("{good}="),
            &format!("{good} "),
            &good.replace("eg ", "xx "),
            &good.replace("eg ", "eg a\"b "),
            &good.replace("eg ", "eg a\nb "),
        ] {
            assert_eq!(ElementText::read(bad), None, "{bad}");
        }
        let foreign = foreign_rule(permission(), Some("the office"));
        assert_eq!((foreign.id.0.as_str(), foreign.marks(TABLE).fit(false)), ("tcp/22@203.0.113.42/32", None));
    }

    #[test]
    fn its_marks_are_those_of_a_tagged_rule() {
        let entry =
            entry("eg alice@laptop session a1b2c3d4", &[(7, "2026-02-27T18:00:00Z"), (8, "2026-02-27T19:00:00Z")]);
        let rule = entry.rule(permission());
        assert_eq!(rule.id.0, "tcp/22@203.0.113.42/32#00ff00ff");
        let marks = rule.marks(TABLE);
        assert_eq!((marks.fit(false), marks.incomplete()), (Some(Fit::Genuine), false));
        assert_eq!(marks.leases[&installation(7)], "2026-02-27T18:00:00Z");
        assert_eq!(entry.end(), Some(at("2026-02-27T19:00:00Z")));
        // The comment was copied to another element, or into another table.
        let misfit = Some(Fit::Misfit(Misfit::Digest));
        assert_eq!(entry.rule("tcp|22|22|203.0.113.43/32".parse().unwrap()).marks(TABLE).fit(false), misfit);
        assert_eq!(rule.marks("other").fit(false), misfit);
    }

    #[test]
    fn expired_leases_make_room_oldest_first() {
        let tags = |id: u128, until: &str| BTreeMap::from([(lease_key(&installation(id)), until.to_owned())]);
        let now = at("2026-02-27T12:00:00Z");
        let (old, older, live) = ("2026-02-27T11:49:59Z", "2026-02-27T11:00:00Z", "2026-02-27T11:50:00Z");
        let held = |entry: &ElementText| -> Vec<u128> {
            entry.leases.keys().map(|id| Uuid::try_parse(id.as_str()).unwrap().as_u128()).collect()
        };
        let mut entry = entry("eg session a1b2c3d4", &[(1, old), (2, older), (3, live)]);
        entry.take_leases(&tags(4, "2026-02-27T18:00:00Z"), now);
        assert_eq!(held(&entry), [1, 3, 4]);
        entry.take_leases(&tags(4, "2026-02-27T19:00:00Z"), now);
        assert_eq!((held(&entry), entry.end()), (vec![1, 3, 4], Some(at("2026-02-27T19:00:00Z"))));
        entry.take_leases(&tags(5, "2026-02-27T18:00:00Z"), now);
        assert_eq!(held(&entry), [3, 4, 5]);
        entry.take_leases(&tags(6, "2026-02-27T18:00:00Z"), now);
        assert_eq!((held(&entry), entry.write()), (vec![3, 4, 5, 6], Err(Unwritable::Full)), "no lease of others goes");
    }

    #[test]
    fn a_lease_is_dropped_by_key_and_value() {
        let mut entry = entry("eg session a1b2c3d4", &[(1, "2026-02-27T18:00:00Z"), (2, "2026-02-27T19:00:00Z")]);
        let tag = |until: &str| BTreeMap::from([(lease_key(&installation(1)), until.to_owned())]);
        assert!(!entry.drop_leases(&tag("2026-02-27T18:30:00Z")), "it has another value by now");
        assert!(entry.drop_leases(&tag("2026-02-27T18:00:00Z")));
        assert_eq!(entry.leases.len(), 1);
    }
}
