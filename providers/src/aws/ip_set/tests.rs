//! IP sets against the sandbox: what becomes of a set, and of the addresses of others in it.

use super::IpSets;
use crate::{
    Authorize, CallerAccess, ContainerMarking, Discovery, Firewall, ReadResult, Verdict,
    aws::{
        address_list::AddressList,
        ip_set::WAF_IP_SET,
        tests::lists::{self, ACCOUNT, HOME, REGION, permission},
    },
};
use chrono::{TimeDelta, Utc};
use eg_model::{
    container_mark::ContainerMark,
    failure::FailureClass,
    ids::{InstallationId, RuleId},
    net::address::IpVersion,
    observation::Reading,
    tags::{Fit, lease_key},
    target::{Target, TargetKey},
};
use eg_sandbox::{Config, Fault, Handle, Rule, Sandbox, SandboxClock};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

const UPDATE: &str = "UpdateIPSet";
const OFFICE: &str = "198.51.100.0/24";

/// Real time: WAF takes one update a second.
fn clock() -> SandboxClock {
    let (begun, real) = (Instant::now(), "2026-02-27T10:00:00Z".parse::<chrono::DateTime<Utc>>().unwrap());
    Arc::new(move || real + TimeDelta::from_std(begun.elapsed()).unwrap())
}

/// A region with one set, which holds an address and a tag of others.
struct Region {
    sandbox: Handle,
    clock: SandboxClock,
    set: String,
}

impl Region {
    fn new() -> Self {
        Self::with(false)
    }

    fn with(ipv6: bool) -> Self {
        let clock = clock();
        let sandbox = Sandbox::start(Config::new(1, clock.clone())).unwrap();
        let set = sandbox.create_ip_set_in(ACCOUNT, REGION, "people", ipv6).unwrap();
        let theirs = if ipv6 { "2001:0db8:0000:0000:0000:0000:0000:0000/64" } else { OFFICE };
        sandbox.edit_ip_set_by_hand(&set, |addresses| addresses.push(theirs.to_owned()));
        sandbox.tag_ip_set_by_hand(&set, |tags| {
            tags.insert("owner".to_owned(), "bob".to_owned());
        });
        Self { sandbox, clock, set }
    }

    fn target(&self) -> TargetKey {
        lists::target(&WAF_IP_SET, &self.set, &self.sandbox)
    }

    async fn sets(&self) -> Arc<IpSets> {
        self.sets_of(ACCOUNT).await
    }

    async fn sets_of(&self, account: &str) -> Arc<IpSets> {
        let aws = lists::aws_of(account, self.clock.clone(), Duration::from_secs(10));
        aws.ip_sets(&Target::new(self.target())).await.unwrap()
    }

    fn addresses(&self) -> Vec<String> {
        self.sandbox.ip_set(&self.set).unwrap().addresses
    }

    fn call(&self, cidrs: &[&str]) -> Authorize {
        lists::call(&self.set, cidrs, "9f8e7d6c")
    }

    fn updates(&self) -> usize {
        self.sandbox.log().iter().filter(|call| call.action == UPDATE).count()
    }

    async fn read(&self, sets: &IpSets) -> Reading {
        lists::read(sets, &self.target()).await
    }
}

fn id(cidr: &str) -> RuleId {
    RuleId(cidr.to_owned())
}

#[tokio::test]
async fn an_address_comes_and_goes_and_the_rest_of_the_set_is_as_before() {
    let region = Region::new();
    let sets = region.sets().await;
    let before = region.sandbox.ip_set(&region.set).unwrap();
    let opened = sets.authorize(&region.call(&[HOME, "203.0.113.43/32"])).await.unwrap();
    let ids: BTreeSet<_> = opened.value.iter().map(|rule| rule.id.clone()).collect();
    assert_eq!(ids, [id(HOME), id("203.0.113.43/32")].into());
    assert_eq!((region.addresses(), region.updates()), (vec![OFFICE.into(), HOME.into(), "203.0.113.43/32".into()], 1));
    let read = region.read(&sets).await;
    assert_eq!((read.rules.len(), read.family), (3, Some(IpVersion::V4)));

    let closed = sets.close(&region.set, ids.clone()).await.unwrap();
    assert_eq!(closed.value, ids);
    let after = region.sandbox.ip_set(&region.set).unwrap();
    assert_eq!(after.description.as_deref(), Some("made by hand"), "an update without it would erase it");
    assert_eq!((after.addresses, after.description, after.tags), (before.addresses, before.description, before.tags));
}

#[tokio::test]
async fn a_writer_who_comes_first_loses_nothing() {
    let region = Region::new();
    let sets = region.sets().await;
    region.sandbox.script([Rule::new(Fault::EntryAdded {
        cidr: "192.0.2.7/32".parse().unwrap(),
        description: String::new(),
    })
    .on(UPDATE)
    .nth(1)]);
    sets.authorize(&region.call(&[HOME])).await.unwrap();
    assert_eq!(region.addresses(), [OFFICE, "192.0.2.7/32", HOME]);
    region.sandbox.script([Rule::new(Fault::EntryRemoved { cidr: OFFICE.parse().unwrap() }).on(UPDATE).nth(1)]);
    sets.close(&region.set, [id(HOME)].into()).await.unwrap();
    assert_eq!(region.addresses(), ["192.0.2.7/32"], "what somebody has removed does not come back");
}

#[tokio::test]
async fn a_constant_racer_ends_the_attempts() {
    let region = Region::new();
    let bob = Fault::EntryAdded { cidr: "192.0.2.7/32".parse().unwrap(), description: String::new() };
    region.sandbox.set(|settings| settings.rate_limits.clear());
    region.sandbox.script([Rule::new(bob).on(UPDATE)]);
    let refused = region.sets().await.authorize(&region.call(&[HOME])).await.unwrap_err();
    // Not "changed meanwhile": where identity is the value, that would prove that the address is there.
    assert_eq!((refused.class, refused.code.as_str()), (FailureClass::Throttled, "WAFOptimisticLockException"));
    assert_eq!((region.updates(), region.addresses()), (5, vec![OFFICE.to_owned(), "192.0.2.7/32".to_owned()]));
}

#[tokio::test]
async fn what_is_there_is_not_added_and_what_is_gone_is_not_removed() {
    let region = Region::new();
    let sets = region.sets().await;
    let there = sets.authorize(&region.call(&[OFFICE])).await.unwrap_err();
    assert!(there.message.ends_with("the set holds 198.51.100.0/24 already"), "{there}");
    let gone = sets.close(&region.set, [id(HOME)].into()).await.unwrap_err();
    assert!(gone.message.ends_with("203.0.113.42/32 is not in the set any more"), "{gone}");
    assert_eq!([there.class, gone.class], [FailureClass::Stale; 2]);
    assert_eq!((region.updates(), region.addresses()), (0, vec![OFFICE.to_owned()]));
}

/// WAF takes one update a second for each account and region. Updates that would come sooner wait.
#[tokio::test]
async fn updates_keep_their_distance() {
    let region = Region::new();
    let sets = region.sets().await;
    let begun = Instant::now();
    let calls = ["203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32"].map(|cidr| region.call(&[cidr]));
    let (a, b, c) = tokio::join!(sets.authorize(&calls[0]), sets.authorize(&calls[1]), sets.authorize(&calls[2]));
    assert!([&a, &b, &c].iter().all(|answer| answer.is_ok()), "{a:?} {b:?} {c:?}");
    assert!(begun.elapsed() >= Duration::from_millis(2_200));
    assert_eq!((region.updates(), region.addresses().len()), (3, 4));
}

/// Somebody else has used up the second: nothing happened, and the caller tries again.
#[tokio::test]
async fn an_update_that_is_throttled_changed_nothing() {
    let region = Region::new();
    region.sandbox.script([Rule::new(Fault::Throttle).on(UPDATE).nth(1)]);
    let sets = region.sets().await;
    let throttled = sets.authorize(&region.call(&[HOME])).await.unwrap_err();
    assert_eq!((throttled.class, throttled.code.as_str()), (FailureClass::Throttled, "ThrottlingException"));
    assert_eq!(region.addresses(), [OFFICE]);
    sets.authorize(&region.call(&[HOME])).await.unwrap();
    assert_eq!(region.addresses(), [OFFICE, HOME]);
}

#[tokio::test]
async fn a_lost_reply_is_an_unknown_outcome() {
    for (fault, there) in [(Fault::ResetBefore, false), (Fault::ResetAfter, true), (Fault::StatusAfter(500), true)] {
        let region = Region::new();
        region.sandbox.script([Rule::new(fault).on(UPDATE).nth(1)]);
        let sets = region.sets().await;
        let lost = sets.authorize(&region.call(&[HOME])).await.unwrap_err();
        assert!(lost.class.outcome_unknown(), "{lost}");
        assert_eq!(region.addresses().contains(&HOME.to_owned()), there);
        let again = sets.authorize(&region.call(&[HOME])).await;
        assert_eq!(again.err().map(|failure| failure.class), there.then_some(FailureClass::Stale));
        assert_eq!(region.addresses(), [OFFICE, HOME]);
    }
}

/// A failure before the write has no unknown outcome, whatever became of the reading.
#[tokio::test]
async fn a_reading_that_fails_before_the_write_is_no_unknown_outcome() {
    let region = Region::new();
    region.sandbox.script([Rule::new(Fault::ResetAfter).on("GetIPSet")]);
    let failure = region.sets().await.authorize(&region.call(&[HOME])).await.unwrap_err();
    assert_eq!((failure.class, region.updates()), (FailureClass::Throttled, 0));
}

#[tokio::test]
async fn what_a_set_cannot_take_is_not_sent() {
    let region = Region::new();
    let sets = region.sets().await;
    let ports = Authorize { permissions: vec!["tcp|22|22|203.0.113.42/32".parse().unwrap()], ..region.call(&[]) };
    for (call, why) in [
        (region.call(&["2001:db8::1/128"]), "the set holds IPv4 addresses only, and 2001:db8::1/128 is none"),
        (region.call(&["0.0.0.0/0"]), "WAF takes no network that holds every address"),
        (ports, "an IP set has no ports"),
    ] {
        let refused = sets.authorize(&call).await.unwrap_err();
        assert_eq!(refused.class, FailureClass::Invalid);
        assert!(refused.message.ends_with(why), "{refused}");
    }
    region.sandbox.edit_ip_set_by_hand(&region.set, |addresses| {
        addresses.extend((1..10_000).map(|n| format!("10.{}.{}.1/32", n / 256, n % 256)));
    });
    let full = sets.authorize(&region.call(&[HOME])).await.unwrap_err();
    assert_eq!(full.class, FailureClass::Limit);
    assert!(full.message.ends_with("the set holds 10000 of at most 10000 addresses"), "{full}");
    assert_eq!(region.updates(), 0);
}

/// WAF spells IPv6 in full. An address of others goes back as it came.
#[tokio::test]
async fn ipv6_has_one_id_and_keeps_its_spelling() {
    let region = Region::with(true);
    let sets = region.sets().await;
    sets.authorize(&region.call(&["2001:db8:0:1::42/128"])).await.unwrap();
    let (theirs, ours) = ("2001:0db8:0000:0000:0000:0000:0000:0000/64", "2001:0db8:0000:0001:0000:0000:0000:0042/128");
    assert_eq!(region.addresses(), [theirs, ours]);
    let ids: BTreeSet<_> = region.read(&sets).await.rules.into_iter().map(|rule| rule.id.0).collect();
    assert_eq!(ids, ["2001:db8::/64".to_owned(), "2001:db8:0:1::42/128".to_owned()].into());
    sets.close(&region.set, [id("2001:db8:0:1::42/128")].into()).await.unwrap();
    assert_eq!(region.addresses(), [theirs]);
}

#[tokio::test]
async fn a_set_that_is_gone_or_of_others() {
    let region = Region::new();
    let key = region.target();
    let stranger = region.sets_of("222222222222").await;
    let read = stranger.observe(&[key.clone()].into()).await.remove(&key).unwrap();
    assert!(
        matches!(&read, ReadResult::NotFound { caller: Some(caller) } if caller.account == "222222222222"),
        "{read:?}"
    );
    let refused = stranger.authorize(&region.call(&[HOME])).await.unwrap_err();
    assert_eq!((refused.class, region.updates()), (FailureClass::Gone, 0));
    region.sandbox.script([Rule::new(Fault::TruncatedPage).on("ListTagsForResource")]);
    let cut = region.sets().await.observe(&[key.clone()].into()).await.remove(&key).unwrap();
    assert!(matches!(&cut, ReadResult::Unavailable(failure) if failure.class == FailureClass::Unknown), "{cut:?}");
    let damaged = Authorize { group: "people".to_owned(), ..region.call(&[HOME]) };
    let refused = region.sets().await.authorize(&damaged).await.unwrap_err();
    assert_eq!(refused.message, "\"people\" is not an IP set: it must be regional/NAME/UUID or cloudfront/NAME/UUID");
}

#[tokio::test]
async fn marks_are_tags_of_the_set() {
    let region = Region::new();
    let sets = region.sets().await;
    let installation = InstallationId::parse("00000000-0000-4000-8000-000000000007").unwrap();
    let key = lease_key(&installation);
    let until = (region.clock)() + TimeDelta::hours(1);
    let lease = |cidr: &str| (permission(cidr).digest(&region.set), until);
    let value = ContainerMark::write(&[lease(HOME), lease("203.0.113.43/32")].into()).unwrap();
    sets.write_mark(&region.target(), &key, Some(&value)).await.unwrap();
    sets.authorize(&region.call(&[HOME])).await.unwrap();

    let read = region.read(&sets).await;
    let fits: Vec<_> = read.rules.iter().map(|rule| (rule.id.0.as_str(), rule.marks(&region.set).fit(false))).collect();
    assert_eq!(fits, [(OFFICE, None), (HOME, Some(Fit::Genuine))]);
    assert_eq!(read.loose_marks, [(installation, permission("203.0.113.43/32").digest(&region.set))].into());
    let marked = sets.marked(&region.target()).await.unwrap();
    let ReadResult::Complete(marked) = &marked[&region.target()] else { panic!("{marked:?}") };
    assert_eq!(marked.rules.iter().map(|rule| rule.id.0.as_str()).collect::<Vec<_>>(), [HOME]);

    sets.write_mark(&region.target(), &key, None).await.unwrap();
    let tags = region.sandbox.ip_set(&region.set).unwrap().tags;
    assert_eq!(tags, BTreeMap::from([("owner".to_owned(), "bob".to_owned())]), "the tag of others stays");
    let refused = sets.write_mark(&region.target(), "owner", None).await.unwrap_err();
    assert_eq!((refused.class, region.sandbox.ip_set(&region.set).unwrap().tags), (FailureClass::Invalid, tags));
    let listed = sets.groups(None).await.unwrap();
    assert_eq!(
        listed.iter().map(|set| (set.name.as_str(), set.id.as_str())).collect::<Vec<_>>(),
        [("people", &*region.set)]
    );
}

/// An installation that was taken for dead has written its tag meanwhile.
#[tokio::test]
async fn a_mark_is_removed_with_its_value_alone() {
    let region = Region::new();
    let (sets, key) = (region.sets().await, lease_key(&InstallationId::parse("0000000a").unwrap()));
    sets.write_mark(&region.target(), &key, Some("new")).await.unwrap();
    let refused = sets.remove_mark(&region.target(), &key, "old").await.unwrap_err();
    assert_eq!(refused.class, FailureClass::Stale);
    assert_eq!(sets.read_marks(&region.target()).await.unwrap().tags[&key], "new");
    sets.remove_mark(&region.target(), &key, "new").await.unwrap();
    let seen = sets.read_marks(&region.target()).await.unwrap();
    assert_eq!(seen.tags, BTreeMap::from([("owner".to_owned(), "bob".to_owned())]));
    let refused = sets.remove_mark(&region.target(), "owner", "bob").await.unwrap_err();
    assert_eq!(refused.class, FailureClass::Invalid);
}

#[tokio::test]
async fn rights_cannot_be_asked() {
    let region = Region::new();
    let rights = region.sets().await.rights(&region.set, &permission(HOME), &BTreeMap::new()).await;
    assert!([&rights.open, &rights.tag, &rights.close].iter().all(|right| matches!(right, Verdict::Unknown(_))));
    assert_eq!(rights.denied(), []);
    assert!(region.sandbox.log().is_empty(), "nothing was sent");
}
