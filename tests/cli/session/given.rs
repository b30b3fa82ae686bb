//! Addresses that the user names: several at once, those of a name, those of an interface.

use super::Tale;
use crate::harness::{Echo, sandboxed::Sandboxed, says, says_not};

const START: [&str; 6] = ["session", "start", "--only", "db", "--duration", "1h"];

#[test]
fn several_addresses_are_opened_and_closed_together() {
    let world = Sandboxed::new();
    let mut tale = Tale::new(&world.here);
    let three = ["--ipv4", "198.51.100.7", "--ipv4", "198.51.100.8", "--ipv6", "2001:db8::7"];
    tale.eg(&[&START[..], &three].concat()).expect_code(0);
    tale.eg(&["session", "list"]).expect_code(0);
    let mut open: Vec<String> = world.ours("db").iter().map(|rule| rule.permission.to_string()).collect();
    open.sort();
    assert_eq!(open.len(), 3, "{open:?}");
    tale.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.ours("db"), []);
    tale.end("several_addresses");
    world.ends();
}

#[test]
fn an_address_that_is_named_twice_is_opened_once() {
    let world = Sandboxed::new();
    let twice = ["--ipv4", "198.51.100.7", "--ipv4", "198.51.100.7", "--address-of", "198.51.100.7"];
    world.eg(&[&START[..], &twice].concat()).expect_code(0);
    assert_eq!(world.ours("db").len(), 1);
    world.ends();
}

#[test]
fn what_cannot_be_opened_to_is_refused_and_leaves_nothing() {
    let world = Sandboxed::new();
    let mut tale = Tale::new(&world.here);
    for (option, value) in
        [("--interface", "lo"), ("--address-of", "127.0.0.1"), ("--address-of", "192.168.1.7"), ("--address-of", "a b")]
    {
        let args = [&START[..], &[option, value]].concat();
        // Everything is an address on the Internet to most tests.
        let outcome = world.here.command(&args).without("EG_TEST_ADDRESSES").run();
        tale.add(&args, &outcome);
        assert_ne!(outcome.code(), Some(0), "{option} {value}");
    }
    tale.end("addresses_refused");
    // What else is said differs from machine to machine.
    for (option, value) in [("--interface", "no-such-0"), ("--address-of", "name.invalid")] {
        let outcome = world.eg(&[&START[..], &[option, value]].concat());
        assert!(matches!(outcome.code(), Some(1 | 2)), "{outcome}");
    }
    assert_eq!(world.sessions_of(&world.here), Vec::<serde_json::Value>::new());
    assert_eq!(world.changes(), Vec::<String>::new());
    world.ends();
}

/// A session for several addresses is astray only if the user's address is none of them.
#[test]
fn one_of_several_addresses_is_the_users_own() {
    let world = Sandboxed::new();
    let (own, other, third) = ("203.0.113.42", "198.51.100.7", "198.51.100.8");
    let echoes: Vec<Echo> = (0..2).map(|_| Echo::v4(own)).collect();
    let list = echoes.iter().map(|echo| format!("\"{}\"", echo.url())).collect::<Vec<_>>().join(", ");
    let config = std::fs::read_to_string(world.here.config_path()).unwrap();
    world.here.write_config(&format!("[detect]\nipv4 = [{list}]\nipv6 = []\n{config}"));
    for addresses in [[other, own], [own, other]] {
        world.eg(&[&START[..], &["--ipv4", addresses[0], "--ipv4", addresses[1]]].concat()).expect_code(0);
        says_not(&world.eg(&["status"]).expect_code(0), "your address is");
        let id = world.sessions_of(&world.here)[0]["id"].as_str().unwrap().to_owned();
        says(&world.eg(&["session", "get", &id]).expect_code(0), &format!("{other}, {own}"));
        let next = world.eg(&["session", "start", "--only", "api", "--duration", "1h"]).expect_code(0);
        says_not(&next, "your address has changed");
        echoes.iter().for_each(|echo| echo.say(third));
        says(&world.eg(&["status"]).expect_code(0), &format!("your address is {third} now"));
        let next = world.eg(&["session", "start", "--only", "api", "--duration", "1h"]).expect_code(0);
        says(&next, "your address has changed since");
        echoes.iter().for_each(|echo| echo.say(own));
        world.eg(&["session", "stop", "--all"]).expect_code(0);
    }
    world.ends();
}
