//! Prefix lists against the sandbox: what becomes of a list, and of the entries of others in it.

use super::{PrefixLists, observe::ListDescription};
use crate::{
    Authorize, CallerAccess, ContainerMarking, Discovery, Firewall, ReadResult, Verdict,
    aws::{
        address_list::AddressList,
        prefix_list::PREFIX_LIST,
        tests::lists::{self, ACCOUNT, HOME, REGION, permission},
    },
};
use aws_sdk_ec2::types::ManagedPrefixList;
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    container_mark::ContainerMark,
    failure::FailureClass,
    ids::{InstallationId, RuleId},
    net::address::IpVersion,
    observation::Reading,
    tags::{Fit, lease_key},
    target::{Target, TargetKey},
};
use eg_sandbox::{Config, Fault, HandClock, Handle, Rule, Sandbox, Script, Stale, StaleSight};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

const MODIFY: &str = "ModifyManagedPrefixList";
const DESCRIBE: &str = "DescribeManagedPrefixLists";
const ENTRIES: &str = "GetManagedPrefixListEntries";
const OFFICE: (&str, &str) = ("198.51.100.0/24", "the office");
const NONCE: &str = "9f8e7d6c";

/// A region with one list, which holds an entry and a tag of others.
struct Region {
    sandbox: Handle,
    clock: HandClock,
    list: String,
}

impl Region {
    fn new() -> Self {
        Self::with(false, 10)
    }

    fn with(ipv6: bool, max_entries: usize) -> Self {
        let clock = HandClock::at("2026-02-27T10:00:00Z".parse().unwrap());
        let sandbox = Sandbox::start(Config::new(1, clock.clock())).unwrap();
        let list = sandbox.create_prefix_list_in(ACCOUNT, REGION, "people", ipv6, max_entries).unwrap();
        let region = Self { sandbox, clock, list };
        if !ipv6 {
            region.by_hand(OFFICE.0, OFFICE.1);
        }
        region.sandbox.tag_by_hand(&region.list, &BTreeMap::from([("owner".to_owned(), "bob".to_owned())])).unwrap();
        region
    }

    fn by_hand(&self, cidr: &str, description: &str) {
        self.sandbox.add_entry_by_hand(&self.list, cidr.parse().unwrap(), description);
    }

    fn target(&self) -> TargetKey {
        lists::target(&PREFIX_LIST, &self.list, &self.sandbox)
    }

    async fn lists(&self) -> Arc<PrefixLists> {
        self.lists_of(ACCOUNT, Duration::from_secs(10)).await
    }

    async fn lists_of(&self, account: &str, call_timeout: Duration) -> Arc<PrefixLists> {
        let aws = lists::aws_of(account, self.clock.clock(), call_timeout);
        aws.prefix_lists(&Target::new(self.target())).await.unwrap()
    }

    /// The truth: CIDR and description of each entry.
    fn entries(&self) -> BTreeSet<(String, String)> {
        let list = self.sandbox.prefix_list(&self.list).unwrap();
        let entries = list.entries().iter();
        entries.map(|entry| (entry.cidr.to_string(), entry.description.clone().unwrap_or_default())).collect()
    }

    fn calls(&self, action: &str) -> usize {
        self.sandbox.log().iter().filter(|call| call.action == action).count()
    }

    fn call(&self, cidrs: &[&str], nonce: &str) -> Authorize {
        lists::call(&self.list, cidrs, nonce)
    }

    async fn read(&self, lists: &PrefixLists) -> Reading {
        lists::read(lists, &self.target()).await
    }
}

fn id(cidr: &str, nonce: &str) -> RuleId {
    RuleId(format!("{cidr}#{nonce}"))
}

fn ours(cidr: &str, nonce: &str) -> (String, String) {
    (cidr.to_owned(), format!("eg alice@laptop session a1b2c3d4 ({nonce} 2026-02-27T10:00:00Z)"))
}

fn theirs() -> (String, String) {
    (OFFICE.0.to_owned(), OFFICE.1.to_owned())
}

#[tokio::test]
async fn an_entry_comes_and_goes_and_the_rest_of_the_list_is_as_before() {
    let region = Region::new();
    let lists = region.lists().await;
    let before = region.sandbox.prefix_list(&region.list).unwrap();
    let opened = lists.authorize(&region.call(&[HOME, "203.0.113.43/32"], NONCE)).await.unwrap();
    let ids: Vec<_> = opened.value.iter().map(|rule| rule.id.clone()).collect();
    assert_eq!(ids, [id(HOME, NONCE), id("203.0.113.43/32", NONCE)]);
    assert_eq!(region.entries(), [theirs(), ours(HOME, NONCE), ours("203.0.113.43/32", NONCE)].into());
    assert_eq!(region.calls(MODIFY), 1, "one request for all");

    let read = region.read(&lists).await;
    let seen: BTreeSet<_> = read.rules.iter().map(|rule| rule.id.clone()).collect();
    assert_eq!(seen, [RuleId(OFFICE.0.to_owned()), ids[0].clone(), ids[1].clone()].into());
    assert_eq!((read.family, read.other_ingress), (Some(IpVersion::V4), 0));

    let closed = lists.close(&region.list, ids.iter().cloned().collect()).await.unwrap();
    assert_eq!(closed.value, ids.into_iter().collect());
    let after = region.sandbox.prefix_list(&region.list).unwrap();
    assert_eq!(after.entries(), before.entries());
    assert_eq!((after.tags, after.name, after.max_entries), (before.tags, before.name, before.max_entries));
}

/// AWS would replace the description of the entry that is there.
#[tokio::test]
async fn an_entry_of_others_for_the_same_network_is_never_written_over() {
    let region = Region::new();
    region.by_hand(HOME, "alice, by hand");
    let before = region.entries();
    let refused = region.lists().await.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
    assert_eq!(refused.class, FailureClass::Stale);
    assert_eq!(refused.message, format!("open {HOME} on {}: the list has an entry for {HOME}", region.list));
    assert_eq!((region.entries(), region.calls(MODIFY)), (before, 0));
}

#[tokio::test]
async fn a_writer_who_comes_first_loses_nothing() {
    let region = Region::new();
    let bob = Fault::EntryAdded { cidr: "192.0.2.7/32".parse().unwrap(), description: "bob".to_owned() };
    region.sandbox.script([Rule::new(bob).on(MODIFY).nth(1)]);
    let lists = region.lists().await;
    lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap();
    let bobs = ("192.0.2.7/32".to_owned(), "bob".to_owned());
    assert_eq!(region.entries(), [theirs(), bobs.clone(), ours(HOME, NONCE)].into());

    let carol = Fault::EntryAdded { cidr: "192.0.2.8/32".parse().unwrap(), description: "carol".to_owned() };
    region.sandbox.script([Rule::new(carol).on(MODIFY).nth(1)]);
    lists.close(&region.list, [id(HOME, NONCE)].into()).await.unwrap();
    let carols = ("192.0.2.8/32".to_owned(), "carol".to_owned());
    assert_eq!(region.entries(), [theirs(), bobs, carols].into());
}

/// Between the reading and the write somebody opens the same network. Their entry stays as they made it.
#[tokio::test]
async fn a_writer_who_opens_the_same_network_first_keeps_the_entry() {
    let region = Region::new();
    let bob = Fault::EntryAdded { cidr: HOME.parse().unwrap(), description: "bob".to_owned() };
    region.sandbox.script([Rule::new(bob).on(MODIFY).nth(1)]);
    let refused = region.lists().await.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
    assert_eq!(refused.class, FailureClass::Stale, "{refused}");
    assert_eq!(region.entries(), [theirs(), (HOME.to_owned(), "bob".to_owned())].into());
}

/// The entry that is meant is gone, and another has its CIDR: before the reading, or between the reading and the write.
#[tokio::test]
async fn an_entry_that_was_made_again_by_hand_is_not_closed() {
    for late in [false, true] {
        let region = Region::new();
        let lists = region.lists().await;
        lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap();
        match late {
            false => region.by_hand(HOME, "by hand"),
            true => {
                let bob = Fault::EntryAdded { cidr: HOME.parse().unwrap(), description: "by hand".to_owned() };
                region.sandbox.script([Rule::new(bob).on(MODIFY).nth(1)]);
            }
        }
        let refused = lists.close(&region.list, [id(HOME, NONCE)].into()).await.unwrap_err();
        assert_eq!(refused.class, FailureClass::Stale, "{refused}");
        assert!(refused.message.ends_with("203.0.113.42/32#9f8e7d6c is not in the list any more"), "{refused}");
        assert_eq!(region.entries(), [theirs(), (HOME.to_owned(), "by hand".to_owned())].into());
    }
}

#[tokio::test]
async fn one_entry_that_is_gone_refuses_the_whole_call() {
    let region = Region::new();
    let lists = region.lists().await;
    lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap();
    let before = region.entries();
    let both = [id(HOME, NONCE), id("203.0.113.43/32", NONCE)].into();
    let refused = lists.close(&region.list, both).await.unwrap_err();
    assert_eq!((refused.class, region.entries()), (FailureClass::Stale, before));
}

#[tokio::test]
async fn a_constant_racer_ends_the_attempts() {
    let region = Region::new();
    let bob = Fault::EntryAdded { cidr: "192.0.2.7/32".parse().unwrap(), description: "bob".to_owned() };
    region.sandbox.script([Rule::new(bob).on(MODIFY)]);
    let refused = region.lists().await.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
    assert_eq!((refused.class, refused.code.as_str()), (FailureClass::Stale, "PrefixListVersionMismatch"));
    assert_eq!(region.calls(MODIFY), 5);
    assert_eq!(region.entries(), [theirs(), ("192.0.2.7/32".to_owned(), "bob".to_owned())].into());
}

/// The descriptions of the list lag behind its true version.
#[tokio::test]
async fn a_description_that_lags_changes_nothing() {
    let region = Region::new();
    region.by_hand("192.0.2.7/32", "bob");
    region.sandbox.set(|settings| settings.stale = Some(Stale::new(TimeDelta::minutes(1), [StaleSight::OldVersion])));
    let before = region.entries();
    let lists = region.lists().await;
    let refused = lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
    assert_eq!((refused.class, region.entries()), (FailureClass::Stale, before));
    region.sandbox.set(|settings| settings.stale = None);
    lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap();
    assert_eq!(region.entries().len(), 3);
}

/// While a change is in progress, its own caller does not know the outcome, and others have to wait.
#[tokio::test]
async fn a_change_that_stays_in_progress() {
    let region = Region::new();
    region.sandbox.script([Rule::new(Fault::StaysInProgress(TimeDelta::hours(1))).on(MODIFY).nth(1)]);
    let lists = region.lists_of(ACCOUNT, Duration::from_secs(2)).await;
    let unknown = lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
    assert_eq!(unknown.class, FailureClass::Unknown, "{unknown}");
    assert!(unknown.message.ends_with("the change was accepted and is still in progress"), "{unknown}");
    assert!(unknown.request_id.is_some());

    let refused = lists.authorize(&region.call(&["203.0.113.43/32"], "00000001")).await.unwrap_err();
    assert_eq!(refused.class, FailureClass::Throttled, "{refused}");
    assert!(refused.message.ends_with("another change of the list is in progress"), "{refused}");
    assert_eq!(region.calls(MODIFY), 1, "nothing was sent");

    region.clock.advance(TimeDelta::hours(2));
    lists.authorize(&region.call(&["203.0.113.43/32"], "00000001")).await.unwrap();
    let cidrs: Vec<_> = region.entries().into_iter().map(|(cidr, _)| cidr).collect();
    assert_eq!(cidrs, [OFFICE.0, HOME, "203.0.113.43/32"]);
}

/// Another change begins between the reading and the write, and ends in time.
#[tokio::test]
async fn a_change_in_progress_is_waited_for() {
    let region = Region::new();
    let busy = Fault::Refuse { code: "IncorrectState".to_owned(), message: "busy".to_owned(), status: 400 };
    region.sandbox.script([Rule::new(busy).on(MODIFY).times(2)]);
    region.lists().await.authorize(&region.call(&[HOME], NONCE)).await.unwrap();
    assert_eq!((region.entries(), region.calls(MODIFY)), ([theirs(), ours(HOME, NONCE)].into(), 3));
}

#[tokio::test]
async fn a_change_that_fails_is_refused_in_the_words_of_aws() {
    let region = Region::new();
    region.sandbox.script([Rule::new(Fault::FailsLater("sg-1 cannot take it".to_owned())).on(MODIFY).nth(1)]);
    let lists = region.lists().await;
    let before = region.entries();
    let refused = lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
    assert_eq!(refused.class, FailureClass::Invalid);
    assert!(refused.message.ends_with("the change failed: sg-1 cannot take it"), "{refused}");
    assert_eq!(region.entries(), before);
    // The failure stays in the list's state; the next change is judged by itself.
    lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap();
    assert_eq!(region.entries().len(), 2);
}

/// Ours fails while somebody else's change makes the next version: it must not count as done.
#[tokio::test]
async fn the_next_version_is_not_taken_for_ours() {
    let region = Region::new();
    let lists = region.lists().await;
    lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap();
    let bob = Fault::EntryAdded { cidr: "192.0.2.7/32".parse().unwrap(), description: "bob".to_owned() };
    region.sandbox.script([
        Rule::new(Fault::FailsLater("not now".to_owned())).on(MODIFY).nth(1),
        Rule::new(bob).on(DESCRIBE).containing(&region.list).nth(2),
    ]);
    // `EntryAdded` finds the list by the id that the request names, here in a filter.
    lists.close(&region.list, [id(HOME, NONCE)].into()).await.unwrap();
    assert_eq!(region.entries(), [theirs(), ("192.0.2.7/32".to_owned(), "bob".to_owned())].into());
    assert_eq!(region.calls(MODIFY), 3, "one to open, one that failed, one that closed");
}

#[tokio::test]
async fn a_lost_reply_is_an_unknown_outcome() {
    for (fault, there) in [(Fault::ResetBefore, false), (Fault::ResetAfter, true), (Fault::StatusAfter(500), true)] {
        let region = Region::new();
        region.sandbox.script([Rule::new(fault).on(MODIFY).nth(1)]);
        let lists = region.lists().await;
        let lost = lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
        assert!(lost.class.outcome_unknown(), "{lost}");
        assert_eq!(region.entries().contains(&ours(HOME, NONCE)), there);
        let again = lists.authorize(&region.call(&[HOME], "00000001")).await;
        assert_eq!(again.err().map(|failure| failure.class), there.then_some(FailureClass::Stale));
        assert_eq!(region.entries().len(), 2, "there is never a second entry");
    }
}

/// A failure before the write has no unknown outcome, whatever became of the reading.
#[tokio::test]
async fn a_reading_that_fails_before_the_write_is_no_unknown_outcome() {
    for action in [DESCRIBE, ENTRIES] {
        let region = Region::new();
        region.sandbox.script([Rule::new(Fault::ResetAfter).on(action)]);
        let failure = region.lists().await.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Throttled, "{failure}");
        assert_eq!(region.calls(MODIFY), 0);
    }
}

/// However definite a refusal to read is, after the write it leaves the outcome open.
#[tokio::test]
async fn a_reading_that_is_refused_after_the_write_is_an_unknown_outcome() {
    let region = Region::new();
    let lists = region.lists_of(ACCOUNT, Duration::from_secs(2)).await;
    region.sandbox.script((2..20).map(|n| Rule::new(Fault::Deny).on(DESCRIBE).nth(n)).collect::<Script>());
    let unknown = lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
    assert_eq!(unknown.class, FailureClass::Unknown, "{unknown}");
    assert!(unknown.message.contains("not authorized to perform: ec2:DescribeManagedPrefixLists"), "{unknown}");
    assert_eq!(region.entries(), [theirs(), ours(HOME, NONCE)].into());

    // One that passes is asked again.
    region
        .sandbox
        .script([Rule::new(Fault::Throttle).on(DESCRIBE).nth(2), Rule::new(Fault::Throttle).on(ENTRIES).nth(2)]);
    lists.close(&region.list, [id(HOME, NONCE)].into()).await.unwrap();
    assert_eq!(region.entries(), [theirs()].into());
}

#[tokio::test]
async fn what_a_list_cannot_take_is_not_sent() {
    let region = Region::with(false, 2);
    let lists = region.lists().await;
    let ports =
        Authorize { permissions: vec!["tcp|22|22|203.0.113.42/32".parse().unwrap()], ..region.call(&[], NONCE) };
    for (call, class, why) in [
        (region.call(&[HOME, "203.0.113.43/32"], NONCE), FailureClass::Limit, "the list holds 1 of at most 2 entries"),
        (
            region.call(&["2001:db8::1/128"], NONCE),
            FailureClass::Invalid,
            "the list holds IPv4 addresses only, and 2001:db8::1/128 is none",
        ),
        (ports, FailureClass::Invalid, "a prefix list has no ports"),
    ] {
        let refused = lists.authorize(&call).await.unwrap_err();
        assert_eq!(refused.class, class);
        assert!(refused.message.ends_with(why), "{refused}");
    }
    assert_eq!((region.calls(MODIFY), region.entries()), (0, [theirs()].into()));
}

#[tokio::test]
async fn ipv6_has_one_spelling() {
    let region = Region::with(true, 5);
    region.by_hand("2001:0DB8:0:0::/64", "the office");
    let lists = region.lists().await;
    lists.authorize(&region.call(&["2001:db8:0:1::42/128"], NONCE)).await.unwrap();
    let read = region.read(&lists).await;
    let ids: BTreeSet<_> = read.rules.iter().map(|rule| rule.id.0.clone()).collect();
    assert_eq!(ids, ["2001:db8::/64".to_owned(), format!("2001:db8:0:1::42/128#{NONCE}")].into());
    assert_eq!(read.family, Some(IpVersion::V6));
}

#[tokio::test]
async fn a_list_that_is_gone_or_of_others() {
    let region = Region::new();
    let stranger = region.lists_of("222222222222", Duration::from_secs(10)).await;
    let key = region.target();
    let read = stranger.observe(&[key.clone()].into()).await.remove(&key).unwrap();
    assert!(
        matches!(&read, ReadResult::NotFound { caller: Some(caller) } if caller.account == "222222222222"),
        "{read:?}"
    );
    let refused = stranger.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
    assert_eq!(refused.class, FailureClass::Gone);

    region.sandbox.share_prefix_list(&region.list, "222222222222");
    let ReadResult::Unavailable(shared) = stranger.observe(&[key.clone()].into()).await.remove(&key).unwrap() else {
        panic!("a list of others is read");
    };
    assert_eq!(shared.class, FailureClass::Invalid);
    let owner = "the list belongs to account 111111111111, and only its owner can change it; use its credentials";
    assert_eq!(shared.message, format!("read {}: {owner}", region.list));
    let refused = stranger.authorize(&region.call(&[HOME], NONCE)).await.unwrap_err();
    assert_eq!((refused.class, region.calls(MODIFY)), (FailureClass::Invalid, 0));

    region.sandbox.delete_prefix_list(&region.list);
    let read = region.lists().await.observe(&[key.clone()].into()).await.remove(&key).unwrap();
    assert!(matches!(read, ReadResult::NotFound { caller: Some(_) }), "{read:?}");
}

#[test]
fn lists_of_aws_and_of_ipam_are_refused() {
    let list = || {
        ManagedPrefixList::builder()
            .prefix_list_id("pl-1")
            .version(1)
            .max_entries(5)
            .address_family("IPv4")
            .owner_id(ACCOUNT)
    };
    let now: Timestamp = "2026-02-27T10:00:00Z".parse().unwrap();
    let check = |list: ManagedPrefixList| ListDescription::read(&list, now, None).unwrap().check("read pl-1", ACCOUNT);
    assert_eq!(check(list().build()), Ok(()));
    for (list, why) in [
        (
            list().owner_id("AWS").set_version(None).set_max_entries(None),
            "read pl-1: AWS keeps this list, and nobody else can change it",
        ),
        (
            list().ipam_prefix_list_resolver_target_id("ipam-1"),
            "read pl-1: IPAM keeps the entries of this list; use a list that is not synchronised with IPAM",
        ),
    ] {
        let refused = check(list.build()).unwrap_err();
        assert_eq!((refused.class, refused.message.as_str()), (FailureClass::Invalid, why));
    }
    // What is not described whole is not guessed.
    for list in [list().address_family("IPv5"), list().set_version(None), list().set_owner_id(None)] {
        assert_eq!(ListDescription::read(&list.build(), now, None), None);
    }
}

/// Every page is of the version that was described, whatever happens meanwhile.
#[tokio::test]
async fn a_reading_is_whole_and_of_one_version() {
    let region = Region::with(false, 300);
    for number in 1..=250 {
        region.by_hand(&format!("192.0.2.{number}/32"), "");
    }
    let bob = Fault::EntryAdded { cidr: "203.0.113.7/32".parse().unwrap(), description: "bob".to_owned() };
    region.sandbox.script([Rule::new(bob).on(ENTRIES).nth(2)]);
    let lists = region.lists().await;
    let read = region.read(&lists).await;
    assert_eq!((read.rules.len(), region.calls(ENTRIES)), (251, 3));
    assert!(read.rules.iter().all(|rule| rule.id.0 != "203.0.113.7/32"));
    assert_eq!(region.read(&lists).await.rules.len(), 252);

    region.sandbox.script([Rule::new(Fault::TruncatedPage).on(ENTRIES).nth(2)]);
    let cut = lists.observe(&[region.target()].into()).await.remove(&region.target()).unwrap();
    assert!(matches!(&cut, ReadResult::Unavailable(failure) if failure.class == FailureClass::Unknown), "{cut:?}");
}

/// A list with many pages is described again, and the reading is as young as that.
#[tokio::test]
async fn some_entries_of_a_long_list_are_read_as_of_the_end() {
    let region = Region::with(false, 300);
    for number in 1..=150 {
        region.by_hand(&format!("192.0.2.{number}/32"), "");
    }
    let lists = region.lists().await;
    lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap();
    region.sandbox.clear_log();
    let wanted = [id(HOME, NONCE), id(HOME, "00000001")].into();
    let seen = lists.observe_rules(&region.target(), &wanted).await.unwrap();
    assert_eq!(seen.rules.iter().map(|rule| rule.id.clone()).collect::<Vec<_>>(), [id(HOME, NONCE)]);
    assert_eq!((region.calls(DESCRIBE), region.calls(ENTRIES)), (2, 2));
    assert_eq!(seen.read_at, region.clock.now());
}

#[tokio::test]
async fn marks_are_tags_of_the_list() {
    let region = Region::new();
    let lists = region.lists().await;
    let installation = InstallationId::parse("00000000-0000-4000-8000-000000000007").unwrap();
    let key = lease_key(&installation);
    let until = region.clock.now() + TimeDelta::hours(1);
    let lease = |cidr: &str| (permission(cidr).digest(&region.list), until);
    let value = ContainerMark::write(&[lease(HOME), lease("203.0.113.43/32")].into()).unwrap();
    lists.write_mark(&region.target(), &key, Some(&value)).await.unwrap();
    lists.authorize(&region.call(&[HOME], NONCE)).await.unwrap();

    let read = region.read(&lists).await;
    let fits: Vec<_> =
        read.rules.iter().map(|rule| (rule.id.0.as_str(), rule.marks(&region.list).fit(false))).collect();
    assert_eq!(fits, [(OFFICE.0, None), (&*id(HOME, NONCE).0, Some(Fit::Genuine))]);
    let loose = (installation, permission("203.0.113.43/32").digest(&region.list));
    assert_eq!(read.loose_marks, [loose].into());
    let marked = lists.marked(&region.target()).await.unwrap();
    let ReadResult::Complete(marked) = &marked[&region.target()] else { panic!("{marked:?}") };
    assert_eq!(marked.rules.iter().map(|rule| rule.id.clone()).collect::<Vec<_>>(), [id(HOME, NONCE)]);

    lists.write_mark(&region.target(), &key, None).await.unwrap();
    let tags = region.sandbox.prefix_list(&region.list).unwrap().tags;
    assert_eq!(tags, BTreeMap::from([("owner".to_owned(), "bob".to_owned())]), "the tag of others stays");
    let refused = lists.write_mark(&region.target(), "owner", None).await.unwrap_err();
    assert_eq!(refused.class, FailureClass::Invalid);
    assert_eq!(region.sandbox.prefix_list(&region.list).unwrap().tags, tags);
    assert!(lists.marked(&region.target()).await.unwrap().is_empty());
}

/// An installation that was taken for dead has written its tag meanwhile.
#[tokio::test]
async fn a_mark_is_removed_with_its_value_alone() {
    let region = Region::new();
    let (lists, key) = (region.lists().await, lease_key(&InstallationId::parse("0000000a").unwrap()));
    lists.write_mark(&region.target(), &key, Some("new")).await.unwrap();
    lists.remove_mark(&region.target(), &key, "old").await.unwrap();
    assert_eq!(lists.read_marks(&region.target()).await.unwrap().tags[&key], "new");
    lists.remove_mark(&region.target(), &key, "new").await.unwrap();
    let seen = lists.read_marks(&region.target()).await.unwrap();
    assert_eq!(seen.tags, BTreeMap::from([("owner".to_owned(), "bob".to_owned())]));
    assert_eq!((seen.read_at, seen.provider_time), (region.clock.now(), Some(region.clock.now())));
    let refused = lists.remove_mark(&region.target(), "owner", "bob").await.unwrap_err();
    assert_eq!(refused.class, FailureClass::Invalid);
}

#[tokio::test]
async fn rights_are_asked_without_a_change() {
    let region = Region::new();
    let lists = region.lists().await;
    let before = region.sandbox.prefix_list(&region.list);
    let rights = lists.rights(&region.list, &permission(HOME), &BTreeMap::new()).await;
    assert_eq!([&rights.open, &rights.tag, &rights.close], [&Verdict::Allowed; 3]);
    region.sandbox.script([Rule::new(Fault::Deny).on(MODIFY).dry_run(true)]);
    let denied = lists.rights(&region.list, &permission(HOME), &BTreeMap::new()).await.denied();
    let words: Vec<_> = denied.iter().map(|failure| failure.message.split(": ").next().unwrap()).collect();
    assert_eq!(words, [format!("ec2:{MODIFY} on {} is not permitted", region.list)]);
    assert_eq!(region.sandbox.prefix_list(&region.list), before);
}

#[tokio::test]
async fn the_lists_of_a_region() {
    let region = Region::new();
    region.sandbox.create_prefix_list_in(ACCOUNT, REGION, "admins", false, 5).unwrap();
    let shared = region.sandbox.create_prefix_list_in("222222222222", REGION, "theirs", false, 5).unwrap();
    region.sandbox.share_prefix_list(&shared, ACCOUNT);
    let listed = region.lists().await.groups(None).await.unwrap();
    let names: Vec<_> = listed.iter().map(|list| list.name.as_str()).collect();
    assert_eq!(names, ["admins", "people"], "a list of others cannot be used");
    assert_eq!(listed[1].id, region.list);
}
