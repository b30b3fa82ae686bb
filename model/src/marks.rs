//! The tags that mark a rule as `eg`'s, read and written.
//!
//! | tag | value |
//! |---|---|
//! | `eg:managed-by` | `eg`; any other value is another tool's rule |
//! | `eg:session` | the id of the session that opened it |
//! | `eg:lease:<installation>` | until when that installation needs it, RFC 3339 UTC |
//! | `eg:marks` | the digests of all permissions of its authorize call, sorted, joined by one space |

use crate::{
    Timestamp,
    ids::{InstallationId, SessionId},
    permission::Permission,
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// Tag key: who manages the rule.
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

/// A lease of another installation has expired when it is this far in the past on the provider's clock.
pub const LEASE_GRACE: TimeDelta = TimeDelta::minutes(10);
/// A lease that lies further ahead than this (the hard cap of `max_duration`) is not believed.
pub const LEASE_HORIZON: TimeDelta = TimeDelta::days(31);

/// The key of an installation's lease tag.
#[must_use]
pub fn lease_key(installation: &InstallationId) -> String {
    format!("{LEASE_PREFIX}{installation}")
}

/// The value of a lease tag.
#[must_use]
pub fn lease_value(until: Timestamp) -> String {
    until.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Every tag of one authorize call, except the user's extra ones.
#[must_use]
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

/// How a lease tag's value reads on the provider's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Holds the rule.
    Unexpired,
    /// Holds nothing any more.
    Expired,
    /// Does not parse, or lies absurdly far ahead. No `eg` wrote it (another format would come with another
    /// `eg:managed-by`), so it holds nothing, or a stray tag would keep a port open for ever; it is reported.
    Odd,
}

impl LeaseState {
    /// Whether the lease still keeps the rule from being revoked.
    #[must_use]
    pub fn holds(self) -> bool {
        self == Self::Unexpired
    }

    /// The word for JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unexpired => "unexpired",
            Self::Expired => "expired",
            Self::Odd => "odd",
        }
    }
}

/// What a rule's tags say, judged against its group and permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// `eg:managed-by = eg` is there.
    pub managed: bool,
    /// The digest of this very permission on this very group is in `eg:marks`.
    pub fits: bool,
    /// Each installation's lease value, as it stands.
    pub leases: BTreeMap<InstallationId, String>,
}

impl Marks {
    /// Reads a rule's tags.
    #[must_use]
    pub fn read(group: &str, permission: &Permission, tags: &BTreeMap<String, String>) -> Self {
        let managed = tags.get(MANAGED_BY).is_some_and(|value| value == MANAGED_BY_EG);
        let digest = permission.digest(group);
        let fits = tags.get(MARKS).is_some_and(|list| list.split(' ').any(|item| item == digest));
        let lease = |(key, value): (&String, &String)| {
            let id = InstallationId::parse(key.strip_prefix(LEASE_PREFIX)?)?;
            Some((id, value.clone()))
        };
        Self { managed, fits, leases: tags.iter().filter_map(lease).collect() }
    }

    /// Marked, and the marks are this rule's own: the only tags that mean anything.
    #[must_use]
    pub fn genuine(&self) -> bool {
        self.managed && self.fits
    }

    /// Judges one lease value by the provider's clock.
    #[must_use]
    pub fn judge(value: &str, provider_time: Timestamp) -> LeaseState {
        let Ok(until) = DateTime::parse_from_rfc3339(value).map(|until| until.with_timezone(&Utc)) else {
            return LeaseState::Odd;
        };
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

    #[test]
    fn written_tags_read_back_as_genuine() {
        let permission: Permission = "tcp|22|22|203.0.113.42/32".parse().unwrap();
        let other: Permission = "tcp|443|443|203.0.113.42/32".parse().unwrap();
        let installation = InstallationId::from_uuid(Uuid::from_u128(7));
        let until = at("2026-02-27T18:00:00Z");
        let tags = tags_for("sg-1", &[permission, other], SessionId(Uuid::from_u128(1)), &installation, until);
        for p in [permission, other] {
            let marks = Marks::read("sg-1", &p, &tags);
            assert!(marks.genuine());
            assert_eq!(marks.leases[&installation], "2026-02-27T18:00:00Z");
        }
        assert!(!Marks::read("sg-2", &permission, &tags).genuine(), "tags copied to another group");
        let edited: Permission = "tcp|23|23|203.0.113.42/32".parse().unwrap();
        assert!(!Marks::read("sg-1", &edited, &tags).genuine(), "an edited rule");
    }

    #[test]
    fn another_tool_is_not_us() {
        let permission: Permission = "tcp|22|22|203.0.113.42/32".parse().unwrap();
        let tags = BTreeMap::from([
            (MANAGED_BY.to_owned(), "terraform".to_owned()),
            (MARKS.to_owned(), permission.digest("sg-1")),
        ]);
        assert!(!Marks::read("sg-1", &permission, &tags).genuine());
    }

    #[test]
    fn lease_values_are_judged_by_the_table() {
        let now = at("2026-02-27T12:00:00Z");
        for (value, expected) in [
            ("2026-02-27T18:00:00Z", LeaseState::Unexpired),
            ("2026-02-27T11:50:00Z", LeaseState::Unexpired),
            ("2026-02-27T11:49:59Z", LeaseState::Expired),
            ("2026-03-30T12:00:00Z", LeaseState::Unexpired),
            ("2026-03-30T12:00:01Z", LeaseState::Odd),
            ("2099-01-01T00:00:00Z", LeaseState::Odd),
            ("soon", LeaseState::Odd),
            ("", LeaseState::Odd),
            ("2026-02-27T19:00:00+01:00", LeaseState::Unexpired),
        ] {
            assert_eq!(Marks::judge(value, now), expected, "{value}");
        }
    }

    #[test]
    fn a_full_list_of_digests_fits_a_tag_value() {
        const { assert!(DIGESTS_PER_CALL * 9 - 1 <= 256) };
        const { assert!((DIGESTS_PER_CALL + 1) * 9 - 1 > 256) };
    }
}
