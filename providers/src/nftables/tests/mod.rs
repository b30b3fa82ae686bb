//! The trait's parts against the kernel, in network namespaces of their own. Without the right to make one, or without
//! `nft`, these tests say so and check nothing; `.ci/run` has both.

mod namespace;

use super::Nftables;
use crate::{Authorize, Connect, Firewall, HostOptions, ReadResult, program::write_program};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    failure::{Failure, FailureClass},
    ids::{InstallationId, RuleId, SessionId},
    net::permission::Permission,
    observation::{ObservedRule, OwnedRule, Reading},
    sweep::judge::{SweepAction, SweepScope, sweep},
    tags::{Fit, description, lease_key, lease_value, tags_for},
    target::{Target, TargetKey},
};
use namespace::Namespace;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use uuid::Uuid;

const TABLE: &str = "eg";
const SSH: &str = "tcp|22|22|203.0.113.42/32";

fn now() -> Timestamp {
    // The kernel counts by the real clock, and only differences matter here.
    "2026-02-27T12:00:00Z".parse().unwrap()
}

fn later(seconds: i64) -> Timestamp {
    now() + TimeDelta::seconds(seconds)
}

fn installation(number: u128) -> InstallationId {
    InstallationId::from_uuid(Uuid::from_u128(number))
}

fn target() -> TargetKey {
    TargetKey::new("nftables", "table", "", TABLE)
}

fn call(nonce: u32, installed: u128, until: Timestamp, permissions: &[&str]) -> Authorize {
    let permissions: Vec<Permission> = permissions.iter().map(|text| text.parse().unwrap()).collect();
    let session = SessionId(Uuid::from_u128(0xa1b2_c3d4 << 96));
    Authorize {
        group: TABLE.to_owned(),
        tags: tags_for(TABLE, &permissions, session, &installation(installed), until),
        permissions,
        description: description(Some("alice@laptop"), session, Some("a look")),
        nonce: format!("{nonce:08x}"),
    }
}

fn lease(installed: u128, until: Timestamp) -> BTreeMap<String, String> {
    BTreeMap::from([(lease_key(&installation(installed)), lease_value(until))])
}

/// Tables of nftables in a namespace.
struct Host {
    namespace: Namespace,
    firewall: Arc<dyn Firewall>,
}

async fn firewall(program: PathBuf, time: Duration) -> Arc<dyn Firewall> {
    let options = HostOptions { time, ..HostOptions::new(Arc::new(now)) };
    Nftables::with_program(options, Some(program)).connect(&Target::new(target())).await.unwrap()
}

impl Host {
    async fn new() -> Option<Self> {
        let namespace = Namespace::new()?;
        let firewall = firewall(namespace.program(), Duration::from_secs(30)).await;
        Some(Self { namespace, firewall })
    }

    async fn reading(&self) -> Reading {
        match self.firewall.observe(&BTreeSet::from([target()])).await.remove(&target()) {
            Some(ReadResult::Complete(reading)) => reading,
            other => panic!("{other:?}"),
        }
    }

    async fn rules(&self) -> Vec<ObservedRule> {
        self.reading().await.rules
    }

    async fn ids(&self) -> Vec<String> {
        self.rules().await.into_iter().map(|rule| rule.id.0).collect()
    }

    /// The rules of an installation, with the proof that they are its own.
    async fn owned(&self, installed: u128) -> Vec<OwnedRule> {
        let scope = SweepScope::Owner { owner: installation(installed), even_if_held: true };
        let swept = sweep(&target(), &self.reading().await, &scope);
        let deeds = swept.into_iter().filter_map(|swept| match swept.deed {
            Some(SweepAction::Close(rule)) => Some(rule),
            _ => None,
        });
        deeds.collect()
    }

    async fn open(&self, call: &Authorize) -> Result<Vec<ObservedRule>, Failure> {
        self.firewall.authorize(call).await.map(|answer| answer.value)
    }

    /// The seconds until the kernel closes each element, as `nft` prints them.
    fn expires(&self, set: &str) -> Vec<u64> {
        let listed = self.namespace.nft(&format!("list set inet {TABLE} {set}"));
        let text = String::from_utf8(listed).unwrap();
        let time = |rest: &str| {
            let word = rest.split([' ', ',']).next().unwrap();
            let (mut total, mut number) = (0, 0);
            let mut letters = word.chars().peekable();
            while let Some(letter) = letters.next() {
                match letter {
                    '0'..='9' => number = number * 10 + u64::from(letter.to_digit(10).unwrap()),
                    'd' | 'h' | 'm' | 's' if !(letter == 'm' && letters.peek() == Some(&'s')) => {
                        total += number
                            * match letter {
                                'd' => 86400,
                                'h' => 3600,
                                'm' => 60,
                                _ => 1,
                            };
                        number = 0;
                    }
                    _ => break,
                }
            }
            total
        };
        text.split(" expires ").skip(1).map(time).collect()
    }
}

/// The time of an element is near what was asked for: the test was not asleep for ten minutes meanwhile.
fn near(seconds: &[u64], expected: u64) {
    assert_eq!(seconds.len(), 1, "{seconds:?}");
    assert!((expected - 600..=expected).contains(&seconds[0]), "{seconds:?} is not near {expected}");
}

#[tokio::test]
async fn an_opening_is_read_back_with_its_marks() {
    let Some(host) = Host::new().await else { return };
    assert_eq!(host.ids().await, Vec::<String>::new(), "no table is an empty reading");
    let permissions = [
        SSH,
        "tcp|8000|8080|203.0.113.0/24",
        "udp|51820|51820|2001:db8::/64",
        "icmp|-1|-1|203.0.113.42/32",
        "icmpv6|-1|-1|2001:db8::1/128",
        "-1|-1|-1|203.0.113.42/32",
        "-1|-1|-1|2001:db8::1/128",
    ];
    let opened = host.open(&call(1, 7, later(7200), &permissions)).await.unwrap();
    let mut read = host.rules().await;
    read.sort_by_key(|rule| permissions.iter().position(|text| rule.permission == text.parse().unwrap()));
    assert_eq!(opened, read, "the answer says what a reading shows");
    for rule in &read {
        assert!(rule.id.0.ends_with("#00000001"), "{}", rule.id);
        assert_eq!(rule.description.as_deref(), Some("eg alice@laptop session a1b2c3d4"));
        let marks = rule.marks(TABLE);
        assert_eq!((marks.fit(false), marks.incomplete()), (Some(Fit::Genuine), false));
        assert_eq!(marks.leases[&installation(7)], "2026-02-27T14:00:00Z");
    }
    for set in ["v4_tcp_22", "v4_24_tcp_8000_8080", "v6_64_udp_51820", "v4_icmp", "v6_icmp", "v4_all", "v6_all"] {
        near(&host.expires(set), 7200);
    }
    let one: BTreeSet<RuleId> = [read[1].id.clone(), RuleId("tcp/1@192.0.2.1/32#00000001".to_owned())].into();
    let seen = host.firewall.observe_rules(&target(), &one).await.unwrap();
    assert_eq!(seen.rules, [read[1].clone()], "what is not there is left out");
}

#[tokio::test]
async fn what_is_there_is_not_opened_again_and_what_is_gone_is_not_closed() {
    let Some(host) = Host::new().await else { return };
    host.open(&call(1, 7, later(3600), &[SSH])).await.unwrap();
    let before = host.namespace.nft("list ruleset");
    let again = host.open(&call(2, 7, later(3600), &["tcp|23|23|203.0.113.42/32", SSH])).await.unwrap_err();
    assert_eq!(again.class, FailureClass::Stale);
    assert_eq!(again.message, "open tcp/22 from 203.0.113.42/32 in table eg: the element is there already");
    let unchanged = |now: Vec<u8>| {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            // Time goes on.
            text.lines().map(|line| line.split(" expires ").next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(text(&now), text(&before), "a call that is refused changes nothing");
    };
    unchanged(host.namespace.nft("list ruleset"));
    let owned = host.owned(7).await;
    assert_eq!(host.firewall.revoke(&owned).await.unwrap().value, [owned[0].id().clone()].into());
    assert_eq!(host.ids().await, Vec::<String>::new());
    for failure in [
        host.firewall.revoke(&owned).await.unwrap_err(),
        host.firewall.tag(&owned, &lease(7, later(7200))).await.unwrap_err(),
        host.firewall.untag(&owned[0], &lease(7, later(3600))).await.unwrap_err(),
    ] {
        assert_eq!(failure.class, FailureClass::Stale, "{failure}");
    }
}

/// An element that a person has deleted and made again, even with the same comment for another address, is another.
#[tokio::test]
async fn what_a_person_has_put_there_is_never_touched() {
    let Some(host) = Host::new().await else { return };
    host.open(&call(1, 7, later(3600), &[SSH, "tcp|22|22|203.0.113.43/32"])).await.unwrap();
    let owned = host.owned(7).await;
    let ours = host.rules().await[0].clone();
    host.namespace.nft(
        "delete element inet eg v4_tcp_22 { 203.0.113.42 }; add element inet eg v4_tcp_22 { 203.0.113.42, 198.51.100.7 \
         timeout 1h comment \"the office\" }",
    );
    let ids = host.ids().await;
    assert_eq!(ids, ["tcp/22@198.51.100.7/32", "tcp/22@203.0.113.42/32", "tcp/22@203.0.113.43/32#00000001"]);
    assert!(host.rules().await.iter().take(2).all(|rule| rule.marks(TABLE).fit(false).is_none()));
    let stolen = owned.iter().find(|rule| *rule.id() == ours.id).unwrap();
    assert_eq!(host.firewall.revoke(std::slice::from_ref(stolen)).await.unwrap_err().class, FailureClass::Stale);
    assert_eq!(host.firewall.revoke(&owned).await.unwrap_err().class, FailureClass::Stale, "one unknown id is enough");
    assert_eq!(host.ids().await, ids);
    let mine = owned.into_iter().filter(|rule| *rule.id() != ours.id).collect::<Vec<_>>();
    host.firewall.revoke(&mine).await.unwrap();
    assert_eq!(host.ids().await, ids[..2]);
}

/// The kernel closes an element at the end of its latest lease, whoever writes a lease and in whichever order.
#[tokio::test]
async fn the_time_is_the_end_of_the_latest_lease() {
    let Some(host) = Host::new().await else { return };
    let time = |expected| near(&host.expires("v4_tcp_22"), expected);
    host.open(&call(1, 1, later(7200), &[SSH])).await.unwrap();
    let rules = host.owned(1).await;
    host.firewall.tag(&rules, &lease(2, later(3600))).await.unwrap();
    time(7200);
    host.firewall.tag(&rules, &lease(2, later(14400))).await.unwrap();
    time(14400);
    host.firewall.tag(&rules, &lease(1, later(10800))).await.unwrap();
    time(14400);
    host.firewall.untag(&rules[0], &lease(2, later(3600))).await.unwrap();
    time(14400);
    host.firewall.untag(&rules[0], &lease(2, later(14400))).await.unwrap();
    time(10800);
    assert_eq!(host.ids().await, ["tcp/22@203.0.113.42/32#00000001"], "it is the same element all along");
    host.firewall.untag(&rules[0], &lease(1, later(10800))).await.unwrap();
    assert_eq!(host.ids().await, Vec::<String>::new(), "nothing holds it any more");
}

/// A time of 0 would mean "never" to the kernel.
#[tokio::test]
async fn nothing_is_opened_for_a_time_that_has_passed() {
    let Some(host) = Host::new().await else { return };
    for until in [later(0), later(-60)] {
        let failure = host.open(&call(1, 7, until, &[SSH])).await.unwrap_err();
        assert_eq!(
            (failure.class, failure.message.as_str()),
            (FailureClass::Invalid, "open tcp/22 from 203.0.113.42/32 in table eg: its time has passed",)
        );
    }
    host.open(&call(2, 7, later(3600), &[SSH])).await.unwrap();
    let rule = host.owned(7).await.into_iter().filter(|rule| *rule.permission() == SSH.parse().unwrap());
    let rule: Vec<_> = rule.collect();
    assert_eq!(host.firewall.tag(&rule, &lease(7, later(0))).await.unwrap_err().class, FailureClass::Invalid);
    near(&host.expires("v4_tcp_22"), 3600);
}

#[tokio::test]
async fn the_kernel_closes_what_nobody_closes() {
    let Some(host) = Host::new().await else { return };
    host.open(&call(1, 7, later(1), &[SSH])).await.unwrap();
    let begun = Instant::now();
    while !host.ids().await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_fourth_lease_has_no_room_until_one_has_expired() {
    let Some(host) = Host::new().await else { return };
    host.open(&call(1, 1, later(3600), &[SSH])).await.unwrap();
    let rules = host.owned(1).await;
    for installed in 2..=3 {
        host.firewall.tag(&rules, &lease(installed, later(3600))).await.unwrap();
    }
    let full = host.firewall.tag(&rules, &lease(4, later(3600))).await.unwrap_err();
    assert_eq!(full.class, FailureClass::Limit);
    assert_eq!(full.message, "prolong elements of table eg: an element has room for the leases of 3 installations");
    host.firewall.tag(&rules, &lease(3, later(-660))).await.unwrap();
    host.firewall.tag(&rules, &lease(4, later(3600))).await.unwrap();
    let held: Vec<_> = host.rules().await[0].marks(TABLE).leases.into_keys().collect();
    assert_eq!(held, [1, 2, 4].map(installation));
}

/// Twenty writers at once, and every one of them reads before it writes: no lease is lost, and no table is half made.
#[tokio::test]
async fn writers_at_once_lose_nothing_of_each_other() {
    let Some(host) = Host::new().await else { return };
    let host = Arc::new(host);
    let retried = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (1..=20_u32)
        .map(|number| {
            let (host, retried) = (host.clone(), retried.clone());
            tokio::spawn(async move {
                let permission = format!("tcp|{number}|{number}|203.0.113.42/32");
                let call = call(number, 7, later(3600), &[&permission]);
                // "View was stale": the driver reads again as well.
                while let Err(failure) = host.open(&call).await {
                    assert_eq!(failure.class, FailureClass::Stale, "{failure}");
                    retried.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(host.ids().await.len(), 20);
    let rules = host.owned(7).await;
    let joins: Vec<_> = (1..=2_u128)
        .map(|number| {
            let (host, rules) = (host.clone(), rules.clone());
            tokio::spawn(async move {
                for rule in rules {
                    while let Err(failure) =
                        host.firewall.tag(std::slice::from_ref(&rule), &lease(number, later(3600))).await
                    {
                        assert_eq!(failure.class, FailureClass::Stale, "{failure}");
                    }
                }
            })
        })
        .collect();
    for join in joins {
        join.await.unwrap();
    }
    for rule in host.rules().await {
        assert_eq!(rule.marks(TABLE).leases.len(), 3, "{}", rule.id);
    }
}

/// After `nft flush` by others nothing is open, whatever the sets still hold; the next opening puts the table in force,
/// and brings nothing back.
#[tokio::test]
async fn a_flush_closes_and_the_next_opening_brings_nothing_back() {
    let Some(host) = Host::new().await else { return };
    for (number, flush) in
        (1..).zip(["flush ruleset", "flush table inet eg", "delete table inet eg", "flush chain inet eg marking"])
    {
        host.open(&call(number, 7, later(3600), &[SSH, "tcp|80|80|203.0.113.42/32"])).await.unwrap();
        host.namespace.nft("add element inet eg v4_tcp_22 { 198.51.100.7 comment \"the office\" }");
        assert_eq!(host.ids().await.len(), 3, "{flush}");
        host.namespace.nft(flush);
        assert_eq!(host.ids().await, Vec::<String>::new(), "{flush}");
        host.open(&call(number + 100, 7, later(3600), &[SSH])).await.unwrap();
        let office = if flush.ends_with("marking") || flush.starts_with("flush table") { 1 } else { 0 };
        let ours = format!("tcp/22@203.0.113.42/32#{:08x}", number + 100);
        let ids = host.ids().await;
        assert!(ids.contains(&ours), "{flush}: {ids:?}");
        assert_eq!(ids.len(), 1 + office, "{flush}: {ids:?}");
        host.namespace.nft("delete table inet eg");
    }
}

#[tokio::test]
async fn a_set_with_a_size_is_full_in_plain_words() {
    let Some(host) = Host::new().await else { return };
    host.namespace.nft("add table inet eg; add set inet eg v4_tcp_22 { type ipv4_addr; flags timeout; size 1; }");
    host.open(&call(1, 7, later(3600), &[SSH])).await.unwrap();
    let failure = host.open(&call(2, 7, later(3600), &["tcp|22|22|203.0.113.43/32"])).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Limit);
    assert_eq!(failure.message, "open in table eg: the set is full: raise its size, or leave it out");
    assert_eq!(host.ids().await.len(), 1);
}

#[tokio::test]
async fn a_set_of_another_kind_is_not_written_into() {
    let Some(host) = Host::new().await else { return };
    host.namespace.nft("add table inet eg; add set inet eg v4_tcp_22 { type ipv4_addr; flags interval,timeout; }");
    let failure = host.open(&call(1, 7, later(3600), &[SSH])).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Invalid);
    assert!(
        failure.message.ends_with("was made by hand, with another type or other flags than \"timeout\""),
        "{failure}"
    );
}

#[tokio::test]
async fn names_from_the_record_reach_no_command() {
    let Some(host) = Host::new().await else { return };
    for name in ["", "eg; flush ruleset", "eg\nflush ruleset", "1eg", "e-g", "eg {"] {
        let odd = TargetKey { id: name.to_owned(), ..target() };
        let read = host.firewall.observe(&BTreeSet::from([odd.clone()])).await.remove(&odd);
        let Some(ReadResult::Unavailable(failure)) = read else { panic!("{name}: {read:?}") };
        assert_eq!(failure.class, FailureClass::Invalid, "{name}");
        let call = Authorize { group: name.to_owned(), ..call(1, 7, later(60), &[SSH]) };
        assert_eq!(host.open(&call).await.unwrap_err().class, FailureClass::Invalid, "{name}");
    }
    // A keyword of nft.
    let call = Authorize { group: "mark".to_owned(), ..call(1, 7, later(60), &[SSH]) };
    let failure = host.open(&call).await.unwrap_err();
    assert!(failure.class == FailureClass::Invalid && failure.message.contains("syntax error"), "{failure}");
    assert_eq!(host.namespace.nft("list ruleset"), b"");
}

/// What reading and writing say when `nft` cannot do its work.
#[tokio::test]
async fn nft_that_cannot_work_is_unavailable_and_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let path = dir.path().join(name);
        write_program(&path, text);
        path
    };
    let no_table = "echo 'Error: No such file or directory' >&2; exit 1";
    for (name, program, class, message) in [
        ("missing", dir.path().join("missing"), FailureClass::Host, "nft is not installed"),
        ("hangs", script("hangs", "exec sleep 60"), FailureClass::Unknown, "did not end within 2s and was ended"),
        ("killed", script("killed", "kill -9 $$"), FailureClass::Unknown, "was ended by signal 9"),
        (
            "denied",
            script("denied", "echo 'Operation not permitted (you must be root)' >&2; exit 1"),
            FailureClass::Host,
            "root, or the capability CAP_NET_ADMIN",
        ),
        ("silent", script("silent", "exit 1"), FailureClass::Unknown, "nft ended with status 1"),
        ("garbage", script("garbage", "echo hello"), FailureClass::Unknown, "cannot be read"),
        ("absent", script("absent", no_table), FailureClass::Unknown, "No such file or directory"),
        (
            "text",
            script("text", &format!("test \"$3\" = tables && echo text && exit; {no_table}")),
            FailureClass::Unknown,
            "cannot be read",
        ),
        ("megabytes", script("megabytes", "head -c 20000000 /dev/zero"), FailureClass::Unknown, "too long"),
    ] {
        let firewall = firewall(program, Duration::from_secs(2)).await;
        let read = firewall.observe(&BTreeSet::from([target()])).await.remove(&target());
        let Some(ReadResult::Unavailable(failure)) = read else { panic!("{name}: {read:?}") };
        assert!(failure.class == class && failure.message.contains(message), "{name}: {failure:?}");
        let opened = firewall.authorize(&call(1, 7, later(60), &[SSH])).await.unwrap_err();
        assert!(opened.message.contains(message), "{name}: {opened:?}");
    }
}

#[tokio::test]
async fn without_the_right_nothing_is_read_and_the_reason_is_said() {
    let Some(host) = Host::new().await else { return };
    host.open(&call(1, 7, later(3600), &[SSH])).await.unwrap();
    let Some(program) = host.namespace.program_of_nobody() else { return };
    let firewall = firewall(program, Duration::from_secs(30)).await;
    let read = firewall.observe(&BTreeSet::from([target()])).await.remove(&target());
    let Some(ReadResult::Unavailable(failure)) = read else { panic!("{read:?}") };
    assert_eq!(
        (failure.class, failure.message.as_str()),
        (
            FailureClass::Host,
            "read table eg: nftables takes root, or the capability CAP_NET_ADMIN: Operation not permitted",
        )
    );
}
