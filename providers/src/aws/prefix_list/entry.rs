//! An entry of a prefix list: its text, and the id that the text gives it.
//!
//! AWS gives an entry no id, and its description cannot be changed without a new version of the list. So the description
//! says which call made the entry, and when:
//!
//! ```text
//! eg alice@laptop session a1b2c3d4: the reason (9f8e7d6c 2026-02-27T10:00:00Z)
//! ```
//!
//! The id of this entry is `203.0.113.42/32#9f8e7d6c`. An entry that somebody deletes and makes again has another id, or,
//! made by hand, none but its CIDR.

use crate::aws::text;
use chrono::SecondsFormat;
use eg_model::{
    SETTLE_WINDOW, Timestamp,
    container_mark::{EntryText, shown},
    ids::RuleId,
    net::permission::{Permission, PortSpec},
    observation::ObservedRule,
    tags::CLOCK_TOLERANCE,
};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// The most characters in an entry's description (EC2 API reference, `AddPrefixListEntry`: "Up to 255 characters in
/// length").
const DESCRIPTION_MAX: usize = 255;
/// The length of ` (9f8e7d6c 2026-02-27T10:00:00Z)`.
const ORIGIN_LENGTH: usize = 32;

/// The call that made an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin<'a> {
    nonce: &'a str,
    made: Timestamp,
}

impl<'a> Origin<'a> {
    fn read(description: &'a str) -> Option<Self> {
        let (_, origin) = description.strip_suffix(')')?.rsplit_once(" (")?;
        let (nonce, made) = origin.split_once(' ')?;
        let hex = nonce.len() == 8 && nonce.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let made: Timestamp = made.parse().ok().filter(|_| hex)?;
        Some(Self { nonce, made })
    }

    /// True if what a list of leases says may be older than the entry, by the provider's time. A time that no right clock
    /// can have written tells nothing.
    fn is_young(self, now: Timestamp) -> bool {
        (-CLOCK_TOLERANCE..=SETTLE_WINDOW).contains(&(now - self.made))
    }
}

/// The description of an entry that is made now. The session stands early enough in `description` for the cut not to reach
/// it ([`eg_model::tags::description`]).
pub(super) fn describe(description: &str, nonce: &str, now: Timestamp) -> String {
    let text: String = text::description(description).chars().take(DESCRIPTION_MAX - ORIGIN_LENGTH).collect();
    format!("{text} ({nonce} {})", now.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListEntry {
    pub cidr: IpNet,
    pub description: Option<String>,
}

impl ListEntry {
    /// `CIDR#nonce`; the CIDR alone if `eg` did not make the entry.
    pub fn id(&self) -> RuleId {
        let cidr = self.cidr;
        let origin = self.description.as_deref().and_then(Origin::read);
        RuleId(origin.map_or_else(|| cidr.to_string(), |origin| format!("{cidr}#{}", origin.nonce)))
    }

    /// The entry with its marks, as the plan sees it; `now` is the provider's time.
    pub fn observed(&self, list: &str, tags: &BTreeMap<String, String>, now: Timestamp) -> ObservedRule {
        let description = self.description.as_deref();
        let young = description.and_then(Origin::read).is_some_and(|origin| origin.is_young(now));
        let text = if young { EntryText::SaysSince(description, now) } else { EntryText::Says(description) };
        shown(list, self.id(), self.permission(), text, tags)
    }

    /// A list has no ports: what references it decides what is open.
    pub fn permission(&self) -> Permission {
        Permission::for_network(PortSpec::All, self.cidr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use eg_model::{
        container_mark::ContainerMark,
        ids::InstallationId,
        tags::{Fit, lease_key},
    };

    const LIST: &str = "pl-0abc123def4567890";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn entry(description: &str) -> ListEntry {
        ListEntry { cidr: "203.0.113.42/32".parse().unwrap(), description: Some(description.to_owned()) }
    }

    #[test]
    fn the_text_names_the_call_and_the_time() {
        let text = describe("eg alice@laptop session a1b2c3d4: for \"now\"", "9f8e7d6c", at("2026-02-27T10:00:00Z"));
        assert_eq!(text, "eg alice@laptop session a1b2c3d4: for _now_ (9f8e7d6c 2026-02-27T10:00:00Z)");
        assert_eq!(entry(&text).id().0, "203.0.113.42/32#9f8e7d6c");
        assert_eq!(entry(&text).permission().to_string(), "-1|-1|-1|203.0.113.42/32");
    }

    /// However long person and reason are, session, nonce and time stand whole.
    #[test]
    fn the_cut_never_reaches_what_eg_reads() {
        // As long as the model makes the person.
        let long = format!("eg {} session a1b2c3d4: {}", "p".repeat(200), "é".repeat(400));
        let text = describe(&long, "9f8e7d6c", at("2026-02-27T10:00:00.9Z"));
        assert_eq!(text.chars().count(), 255);
        assert!(text.ends_with(" (9f8e7d6c 2026-02-27T10:00:00Z)"), "{text}");
        assert!(text.contains(" session a1b2c3d4"), "{text}");
        assert_eq!(entry(&text).id().0, "203.0.113.42/32#9f8e7d6c");
    }

    #[test]
    fn an_entry_of_others_has_its_cidr_alone_as_its_id() {
        for text in [
            "",
            "the office",
            "the office (main)",
            "eg alice@laptop session a1b2c3d4",
            "eg (9F8E7D6C 2026-02-27T10:00:00Z)",
            "eg (9f8e7d6 2026-02-27T10:00:00Z)",
            "eg (9f8e7d6c yesterday)",
            "eg (9f8e7d6c)",
            "eg (9f8e7d6c 2026-02-27T10:00:00Z) and more",
        ] {
            assert_eq!(entry(text).id().0, "203.0.113.42/32", "{text}");
        }
        let bare = ListEntry { cidr: "2001:db8::/64".parse().unwrap(), description: None };
        assert_eq!(bare.id().0, "2001:db8::/64");
    }

    /// Found by the search: the mark of a new entry does not show yet, and that of an old one for the same CIDR does.
    #[test]
    fn an_expired_mark_counts_only_on_an_entry_that_is_older_than_the_settle_window() {
        let made = at("2026-02-27T10:00:00Z");
        let entry = entry(&describe("eg alice@laptop session a1b2c3d4", "9f8e7d6c", made));
        let expired = made - TimeDelta::hours(1);
        let leases = BTreeMap::from([(entry.permission().digest(LIST), expired)]);
        let installation = InstallationId::parse("00000000-0000-4000-8000-000000000007").unwrap();
        let tags = BTreeMap::from([(lease_key(&installation), ContainerMark::write(&leases).unwrap())]);
        for (age, fit) in [
            (TimeDelta::zero(), None),
            (SETTLE_WINDOW, None),
            (SETTLE_WINDOW + TimeDelta::seconds(1), Some(Fit::Genuine)),
            (-CLOCK_TOLERANCE, None),
            (-CLOCK_TOLERANCE - TimeDelta::seconds(1), Some(Fit::Genuine)),
        ] {
            assert_eq!(entry.observed(LIST, &tags, made + age).marks(LIST).fit(false), fit, "{age}");
        }
    }
}
