//! Marks in the one tag of a container: what no capability of a kind says, and the toy container shows.

use super::{bench::*, hand::Hand, toys::Toy};
use eg_providers::toy::{Scripted, ToyCall, ToyFault};
use std::fs;

type Container = Toy<2>;

fn fault(bench: &Bench<Container>, call: ToyCall, fault: ToyFault) {
    bench.hand.change(|file| file.faults.push(Scripted { call, fault }));
}

fn with_ports(bench: &Bench<Container>, ports: &str) {
    let config = bench.hand.config().replace("\"tcp/22\"", ports);
    assert!(config.contains(ports));
    bench.here.write_config(&config);
}

/// A session keeps a lease that was refused long ago, and whose mark is nowhere. The next write of the tag names it: from
/// then on it counts as attempted. Otherwise a reading that is behind closes the lease, and the mark stays for ever.
#[test]
fn a_lease_that_the_tag_names_again_does_not_close_on_a_reading_that_is_behind() {
    let bench = Bench::<Container>::new();
    with_ports(&bench, "\"tcp/22\", \"tcp/443\"");
    let start = |port: &str| {
        let args = ["session", "start", "--ipv4", ADDRESS, "--duration", "9h", "--port", port, "--no-wait"];
        bench.eg(&args).expect_code(0);
    };
    start("tcp/22");
    // Refused until the next attempt is a quarter of an hour away.
    for _ in 0..6 {
        fault(&bench, ToyCall::Mark, ToyFault::Denied);
        assert_ne!(bench.eg(&["reconcile", "--timer"]).code(), Some(0));
        bench.advance(16 * 60);
    }
    fault(&bench, ToyCall::Mark, ToyFault::Denied);
    bench.eg(&["reconcile", "--timer"]);
    bench.nothing_of_ours();
    assert_eq!(bench.hand.rest(), bench.rest_before(), "no mark is there");
    bench.advance(SETTLED);
    let before = bench.hand.change(|file| (file.entries.clone(), file.tags.clone()));

    start("tcp/443");
    bench.eg(&["reconcile", "--timer"]);
    assert_eq!(bench.ours().len(), 1, "the other port is open");
    assert_ne!(bench.hand.rest(), bench.rest_before());

    let sessions = bench.sessions(&bench.here);
    let id = |number: usize| sessions[number]["id"].as_str().expect("an id").to_owned();
    // With a bad configuration nothing is opened, and closing goes on. The last write of the tag names the first lease.
    let config = fs::read_to_string(bench.here.config_path()).expect("a configuration");
    bench.here.write_config("broken [");
    bench.eg(&["session", "stop", &id(0)]);
    bench.nothing_of_ours();
    assert_ne!(bench.hand.rest(), bench.rest_before(), "the first lease is marked");
    bench.hand.change(|file| file.before = before);
    fault(&bench, ToyCall::Read, ToyFault::Lag);
    bench.eg(&["session", "stop", &id(1)]);
    bench.here.write_config(&config);
    bench.advance(SETTLED);
    bench.settle(&[&bench.here]);
    bench.ends(&[]);
}

/// A write of the tag for one port had no answer. The other port is closed, and then the write lands after all: it brings
/// back the mark of a lease that must still be open to take it off.
#[test]
fn no_lease_closes_while_a_write_of_the_tag_can_land() {
    let bench = Bench::<Container>::new();
    with_ports(&bench, "\"tcp/22\", \"tcp/443\"");
    let start = |port: &str| {
        let args = ["session", "start", "--ipv4", ADDRESS, "--duration", "2h", "--port", port];
        bench.eg(&args).expect_code(0);
    };
    start("tcp/22");
    let of_one = bench.hand.rest();
    start("tcp/443");
    let (second, first) = {
        let sessions = bench.sessions(&bench.here);
        let id = |number: usize| sessions[number]["id"].as_str().expect("an id").to_owned();
        (id(0), id(1))
    };
    bench.advance(SETTLED);
    // It shows, so nothing writes it again; but a copy of the request may still be on its way.
    fault(&bench, ToyCall::Mark, ToyFault::LostAfter);
    bench.eg(&["session", "extend", &first, "--hours", "1"]);
    let tags = bench.hand.change(|file| file.tags.clone());
    bench.eg(&["session", "stop", &second]);
    assert_eq!(bench.ours().len(), 1, "its entry is closed");
    bench.hand.change(|file| file.tags = tags);
    bench.advance(SETTLED);
    bench.settle(&[&bench.here]);
    assert_eq!(bench.hand.rest().len(), of_one.len(), "one mark is left: {}", bench.hand.rest());
    bench.ends(&[]);
}

/// The tag has room for sixteen. The others are not opened, and the user is told why.
#[test]
fn what_the_tag_has_no_room_for_is_not_opened() {
    let bench = Bench::<Container>::new();
    let ports: Vec<String> = (1..=20).map(|port| format!("\"tcp/{port}\"")).collect();
    with_ports(&bench, &ports.join(", "));
    let outcome = bench.start(&bench.here);
    assert_eq!(outcome.code(), Some(3), "{outcome}");
    assert!(outcome.to_string().contains("has no room for another mark of this machine"), "{outcome}");
    assert_eq!(bench.ours().len(), 16);
    bench.others_are_untouched();
    bench.ends(&[]);
}

/// A tag that this machine can write no more is no reason to keep an entry open.
#[test]
fn an_entry_closes_even_if_its_mark_stays_for_now() {
    let bench = Bench::<Container>::new();
    bench.start(&bench.here).expect_code(0);
    fault(&bench, ToyCall::Mark, ToyFault::Denied);
    let outcome = bench.eg(&["session", "stop"]);
    assert_eq!(outcome.code(), Some(3), "{outcome}");
    bench.nothing_of_ours();
    assert_ne!(bench.hand.rest(), bench.rest_before());
    bench.ends(&[]);
}

/// Sixteen marks go with sixteen entries: one write, not sixteen.
#[test]
fn one_write_takes_off_many_marks() {
    let bench = Bench::<Container>::new();
    with_ports(&bench, "\"tcp/1\", \"tcp/2\", \"tcp/3\", \"tcp/4\"");
    // The marks are there, and no entry came.
    fault(&bench, ToyCall::Open, ToyFault::Denied);
    assert_ne!(bench.start(&bench.here).code(), Some(0));
    bench.eg(&["session", "stop"]).expect_code(0);
    assert_ne!(bench.hand.rest(), bench.rest_before());
    bench.advance(SETTLED);
    let before = bench.hand.changes().expect("a count");
    bench.eg(&["reconcile"]).expect_code(0);
    assert_eq!(bench.hand.changes(), Some(before + 1));
    assert_eq!(bench.hand.rest(), bench.rest_before());
    bench.ends(&[]);
}

/// A prefix list holds one family. An address of the other is left out with a line; if none remains, nothing is recorded.
#[test]
fn a_target_of_one_family_gets_no_address_of_the_other() {
    let bench = Bench::<Container>::new();
    let config = bench.hand.config().replace("\"ipv4\"", "\"ipv4\", \"ipv6\"");
    bench.here.write_config(&config);
    bench.hand.change(|file| file.family = Some(eg_model::net::address::IpVersion::V4));
    let start =
        |more: &[&str]| bench.eg(&[&["session", "start", "--duration", "2h", "--ipv6", "2001:db8::1"], more].concat());
    let refused = start(&[]);
    assert_eq!(refused.code(), Some(1), "{refused}");
    assert!(refused.stderr.contains("it takes IPv4 addresses only"), "{refused}");
    assert_eq!(bench.sessions(&bench.here), [] as [serde_json::Value; 0], "nothing is on record");

    let both = start(&["--ipv4", ADDRESS]).expect_code(0);
    assert!(both.stderr.contains("2001:db8::1 is not opened on it: only IPv4 there"), "{both}");
    bench.our_entry();
    bench.eg(&["session", "stop"]).expect_code(0);

    // Without a reading before it, the pass refuses, and makes no call for it.
    start(&["--ipv4", ADDRESS, "--no-wait"]).expect_code(0);
    let before = bench.hand.changes().expect("a count");
    let outcome = bench.eg(&["reconcile"]);
    assert_eq!(outcome.code(), Some(3), "{outcome}");
    assert!(outcome.to_string().contains("takes IPv4 addresses only"), "{outcome}");
    assert_eq!(bench.hand.changes(), Some(before + 2), "a mark and an entry, for the other address");
    bench.our_entry();
    bench.ends(&[]);
}

/// The record, not a reading, tells what is open where nothing is read back.
#[test]
fn what_cannot_be_read_back_is_as_recorded() {
    let bench = Bench::<Toy<6>>::new();
    bench.start(&bench.here).expect_code(0);
    let ours = bench.our_entry();
    // Nobody notices.
    bench.hand.delete(&ours);
    bench.eg(&["reconcile"]).expect_code(0);
    bench.nothing_of_ours();
    assert_eq!(bench.status(), "ACTIVE");
    bench.eg(&["session", "stop"]).expect_code(0);
    bench.ends(&[]);
}

/// A script that has closed may be overtaken by one of before that opens: it is closed once more.
#[test]
fn a_call_without_an_answer_is_closed_until_that_is_confirmed_after_the_settle_window() {
    let bench = Bench::<Toy<6>>::new();
    bench.hand.change(|file| file.faults.push(Scripted { call: ToyCall::Open, fault: ToyFault::LostBefore }));
    let outcome = bench.start(&bench.here);
    assert_eq!(outcome.code(), Some(3), "{outcome}");
    let outcome = bench.eg(&["session", "stop"]);
    assert_eq!(outcome.code(), Some(3), "it is not known yet: {outcome}");
    // The lost call lands after all.
    bench.hand.change(|file| {
        let entry = eg_providers::toy::ToyEntry::by_hand("tcp|22|22|203.0.113.42/32".parse().unwrap(), "eg late");
        file.entries.push(entry);
    });
    bench.advance(SETTLED);
    bench.eg(&["reconcile"]).expect_code(0);
    bench.nothing_of_ours();
    assert_eq!(bench.status(), "CANCELLED");
    bench.ends(&[]);
}

/// The file of a toy firewall that is damaged is not an empty one.
#[test]
fn a_damaged_firewall_is_not_an_empty_one() {
    let bench = Bench::<Container>::new();
    bench.start(&bench.here).expect_code(0);
    let path = bench.hand.path().to_owned();
    let text = fs::read_to_string(&path).expect("the file");
    fs::write(&path, &text[..text.len() / 2]).expect("half of it");
    let outcome = bench.eg(&["session", "stop"]);
    assert_ne!(outcome.code(), Some(0), "{outcome}");
    fs::write(&path, &text).expect("it is mended");
    bench.eg(&["reconcile"]).expect_code(0);
    bench.nothing_of_ours();
    bench.ends(&[]);
}
