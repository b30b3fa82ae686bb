//! Tables of nftables as a kind of firewall.
//!
//! Every change reads the table, decides, and writes a transaction that fails if another `eg` has written meanwhile
//! ([`super::change`]). Then it begins anew, a few times. What a person does within these few milliseconds is not seen:
//! an element that a person has made again in the place of one of ours would then be deleted.

use super::{
    change::{Change, transaction},
    entry::{ElementText, Unwritable},
    listing::{Seen, TableListing},
    nft::{Nft, NotWritten},
    place::Place,
    ruleset::hindrance,
};
use crate::{Answered, Authorize, Firewall, Hindrance, Marking, ReadResult, RulesSeen, firewall::one_target};
use async_trait::async_trait;
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    failure::{Failure, FailureClass},
    ids::RuleId,
    net::permission::Permission,
    observation::{ObservedRule, OwnedRule, Reading},
    target::{Capabilities, Expiry, Identity, MarkPlace, TargetKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// The most permissions of one transaction. The kernel takes thousands; a failure names one line.
const BATCH: usize = 100;
/// The number of times that a change is tried while others keep writing.
const TRIES: usize = 5;

pub struct Tables {
    nft: Nft,
}

impl Tables {
    pub fn new(nft: Nft) -> Self {
        Self { nft }
    }

    fn now(&self) -> Timestamp {
        (self.nft.options().now)()
    }

    async fn read(&self, target: &TargetKey) -> ReadResult {
        let read_at = self.now();
        let listed = match checked(&target.id) {
            Ok(table) => self.nft.list(table).await,
            Err(failure) => Err(failure),
        };
        let rules = match listed {
            Ok(listing) => open_rules(listing),
            Err(failure) => return ReadResult::Unavailable(failure),
        };
        ReadResult::Complete(Reading {
            rules,
            other_ingress: 0,
            read_at,
            last_page_at: read_at,
            read_later: BTreeMap::new(),
            // The kernel counts the time of its elements by this host's clock.
            provider_time: Some(read_at),
            loose_marks: BTreeSet::new(),
            family: None,
        })
    }

    /// Reads a table, decides on changes, and writes them if nothing of `eg` has written since.
    async fn change<T>(
        &self,
        table: &str,
        what: &str,
        decide: impl Fn(Option<&TableListing>, Timestamp) -> Result<(Vec<Change>, T), Failure> + Sync,
    ) -> Result<Answered<T>, Failure>
    where
        T: Send,
    {
        let table = checked(table)?;
        for _ in 0..TRIES {
            let listing = self.nft.list(table).await?;
            let now = self.now();
            let (changes, value) = decide(listing.as_ref(), now)?;
            if changes.is_empty() {
                return Ok(Answered { value, request_id: None });
            }
            match self.nft.write(what, &transaction(table, listing.as_ref(), &changes, now)).await {
                Ok(()) => return Ok(Answered { value, request_id: None }),
                Err(NotWritten::Conflict) => {}
                Err(NotWritten::Failed(failure)) => return Err(failure),
            }
        }
        Err(Failure::new(FailureClass::Stale, format!("{what}: other processes keep changing table {table}")))
    }
}

/// A table's name comes from the record, and goes into the text of a transaction.
fn checked(table: &str) -> Result<&str, Failure> {
    let plain = table.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && table.starts_with(|first: char| first.is_ascii_alphabetic()) {
        Ok(table)
    } else {
        Err(Failure::new(FailureClass::Invalid, format!("\"{}\" is not the name of a table", table.escape_debug())))
    }
}

fn open_rules(listing: Option<TableListing>) -> Vec<ObservedRule> {
    listing.map(|listing| listing.seen().into_iter().map(|seen| seen.rule).collect()).unwrap_or_default()
}

/// The elements of some rules, by the ids of the rules: what stands in the place of a rule that was deleted and made
/// again has another id.
fn find(listing: Option<&TableListing>, what: &str, rules: &[OwnedRule]) -> Result<Vec<(Seen, ElementText)>, Failure> {
    let seen: BTreeMap<RuleId, Seen> = listing
        .map(TableListing::seen)
        .unwrap_or_default()
        .into_iter()
        .map(|seen| (seen.rule.id.clone(), seen))
        .collect();
    let find = |rule: &OwnedRule| {
        let found = seen.get(rule.id()).and_then(|seen| Some((seen.clone(), seen.entry.clone()?)));
        found.ok_or_else(|| Failure::new(FailureClass::Stale, format!("{what}: {} is not there any more", rule.id())))
    };
    rules.iter().map(find).collect()
}

/// The table of a call, and its name in messages.
fn one_table<'r>(rules: &'r [OwnedRule], verb: &str) -> Result<Option<(&'r str, String)>, Failure> {
    Ok(one_target(rules)?.map(|table| (table.id.as_str(), format!("{verb} elements of table {}", table.id))))
}

/// The comment of an element, and the seconds until its latest lease ends.
fn text_and_time(entry: &ElementText, what: &str, now: Timestamp) -> Result<(String, u64), Failure> {
    let refused = |class, why: String| Err(Failure::new(class, format!("{what}: {why}")));
    let comment = match entry.write() {
        Ok(comment) => comment,
        Err(Unwritable::Full) => {
            let most = super::entry::LEASES_MAX;
            return refused(FailureClass::Limit, format!("an element has room for the leases of {most} installations"));
        }
        Err(Unwritable::Lease) => return refused(FailureClass::Invalid, "its lease cannot be written".to_owned()),
    };
    // The kernel takes a time of 0 for "never" (seen with Linux 6.18).
    match entry.end().map(|end| seconds_until(end, now)) {
        Some(seconds @ 1..) => Ok((comment, seconds)),
        Some(0) | None => refused(FailureClass::Invalid, "its time has passed".to_owned()),
    }
}

/// Rounded up: an element does not close before its lease ends.
fn seconds_until(end: Timestamp, now: Timestamp) -> u64 {
    u64::try_from((end - now).num_milliseconds()).unwrap_or(0).div_ceil(1000)
}

/// An element for one permission of a call.
fn opening(
    listing: Option<&TableListing>,
    call: &Authorize,
    permission: &Permission,
    now: Timestamp,
) -> Result<(Change, ObservedRule), Failure> {
    let what = format!("open {} from {} in table {}", permission.ports(), permission.cidr(), call.group);
    let refused = |class, why: &str| Failure::new(class, format!("{what}: {why}"));
    let place = Place::of(permission).ok_or_else(|| refused(FailureClass::Invalid, "eg opens no such ports here"))?;
    let odd = listing.and_then(|listing| listing.sets.get(&place.set)).is_some_and(|set| set.odd);
    if odd {
        let why = format!("the set {} was made by hand, with another type or other flags than \"timeout\"", place.set);
        return Err(refused(FailureClass::Invalid, &why));
    }
    let in_the_way = listing.and_then(|listing| listing.element(place)).filter(|comment| {
        let ours = comment.and_then(ElementText::read).is_some();
        !ours || listing.is_some_and(|listing| listing.is_in_force(place.set))
    });
    if in_the_way.is_some() {
        return Err(refused(FailureClass::Stale, "the element is there already"));
    }
    let mut entry = ElementText::new(&call.group, permission, call)
        .ok_or_else(|| refused(FailureClass::Invalid, "the call names no session"))?;
    entry.take_leases(&call.tags, now);
    let (comment, seconds) = text_and_time(&entry, &what, now)?;
    Ok((Change::Open { place, comment, seconds }, entry.rule(*permission)))
}

#[async_trait]
impl Firewall for Tables {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            identity: Identity::Id,
            marks: MarkPlace::Entry,
            batch: BATCH,
            expiry: Expiry::Native,
            // The kernel shows what it has.
            settle: TimeDelta::zero(),
        }
    }

    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult> {
        let mut results = BTreeMap::new();
        for target in targets {
            results.insert(target.clone(), self.read(target).await);
        }
        results
    }

    async fn observe_rules(&self, target: &TargetKey, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure> {
        let read_at = self.now();
        let listing = self.nft.list(checked(&target.id)?).await?;
        let asked = open_rules(listing).into_iter().filter(|rule| rules.contains(&rule.id));
        Ok(RulesSeen { rules: asked.collect(), read_at })
    }

    async fn authorize(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        let what = format!("open in table {}", call.group);
        let decide = |listing: Option<&TableListing>, now| {
            let all = call.permissions.iter().map(|permission| opening(listing, call, permission, now));
            Ok(all.collect::<Result<Vec<_>, _>>()?.into_iter().unzip())
        };
        self.change(&call.group, &what, decide).await
    }

    async fn revoke(&self, rules: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        let Some((table, what)) = one_table(rules, "close")? else {
            return Ok(Answered { value: BTreeSet::new(), request_id: None });
        };
        let closed: BTreeSet<RuleId> = rules.iter().map(|rule| rule.id().clone()).collect();
        let decide = |listing: Option<&TableListing>, _| {
            let found = find(listing, &what, rules)?;
            Ok((found.iter().map(|(seen, _)| Change::Close(seen.place)).collect(), closed.clone()))
        };
        self.change(table, &what, decide).await
    }

    /// Nothing is told where the older iptables has rules: `nft` does not show them.
    async fn hindrance(&self, target: &TargetKey) -> Option<Hindrance> {
        let older = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
        if older.iter().any(|file| fs::read(file).is_ok_and(|names| !names.is_empty())) {
            return None;
        }
        hindrance(&self.nft.ruleset().await?, &target.id)
    }

    fn marking(&self) -> Option<&dyn Marking> {
        Some(self)
    }
}

#[async_trait]
impl Marking for Tables {
    async fn tag(&self, rules: &[OwnedRule], tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure> {
        let Some((table, what)) = one_table(rules, "prolong")? else {
            return Ok(Answered { value: (), request_id: None });
        };
        let decide = |listing: Option<&TableListing>, now| {
            let rewrite = |(seen, mut entry): (Seen, ElementText)| {
                entry.take_leases(tags, now);
                let (comment, seconds) = text_and_time(&entry, &what, now)?;
                Ok(Change::Rewrite { place: seen.place, comment, seconds })
            };
            let changes: Result<Vec<_>, Failure> = find(listing, &what, rules)?.into_iter().map(rewrite).collect();
            Ok((changes?, ()))
        };
        self.change(table, &what, decide).await
    }

    /// The time of an element is the end of its latest lease. If the last lease goes, or those that stay are over, the
    /// element goes as well.
    async fn untag(&self, rule: &OwnedRule, tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure> {
        let table = &rule.target().id;
        let what = format!("leave an element of table {table}");
        let decide = |listing: Option<&TableListing>, now| {
            let rewrite = |(seen, mut entry): (Seen, ElementText)| {
                if !entry.drop_leases(tags) {
                    return Ok(None);
                }
                if entry.end().is_none_or(|end| seconds_until(end, now) == 0) {
                    return Ok(Some(Change::Close(seen.place)));
                }
                let (comment, seconds) = text_and_time(&entry, &what, now)?;
                Ok(Some(Change::Rewrite { place: seen.place, comment, seconds }))
            };
            let found = find(listing, &what, std::slice::from_ref(rule))?;
            let changes: Result<Vec<_>, Failure> = found.into_iter().map(rewrite).collect();
            Ok((changes?.into_iter().flatten().collect(), ()))
        };
        self.change(table, &what, decide).await
    }
}
