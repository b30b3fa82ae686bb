//! `--address-of NAME --follow`: the session goes where the name goes, when two resolvings a minute apart agree.

use crate::harness::{Outcome, Sandboxed, says, says_not};
use eg_sandbox::{SecurityGroupRule, Source};
use serde_json::{Value, json};

const OLD: &str = "203.0.113.42";
const NEW: &str = "198.51.100.77";
const OTHER: &str = "198.51.100.78";
const NAME: &str = "home.invalid";
const START: [&str; 8] = ["session", "start", "--only", "db", "--address-of", NAME, "--follow", "--duration=4h"];

/// Runs `eg` while the name has these addresses; with none it does not resolve.
fn at(world: &Sandboxed, addresses: &[&str], args: &[&str]) -> Outcome {
    let known = addresses.iter().map(|address| format!("{NAME}={address}")).collect::<Vec<_>>().join(" ");
    world.here.command(args).env("EG_TEST_HOSTS", known).run()
}

fn begun() -> Sandboxed {
    let world = Sandboxed::new();
    at(&world, &[OLD], &START).expect_code(0);
    world.forget_calls();
    world
}

/// The moves of a pass while the name has these addresses.
fn moves(world: &Sandboxed, addresses: &[&str]) -> Value {
    at(world, addresses, &["reconcile", "--output", "json"]).expect_code(0).json_as("reconcile")["moves"].clone()
}

fn session(world: &Sandboxed) -> Value {
    world.sessions_of(&world.here)[0].clone()
}

/// The addresses that the group is open to because of the session.
fn open_to(world: &Sandboxed) -> Vec<String> {
    let cidr = |rule: SecurityGroupRule| match rule.permission.source {
        Source::Cidr(cidr) => cidr.to_string(),
        other => panic!("{other:?}"),
    };
    let mut cidrs: Vec<String> = world.ours("db").into_iter().map(cidr).collect();
    cidrs.sort();
    cidrs
}

fn host(address: &str) -> String {
    format!("{address}/32")
}

#[test]
fn a_session_goes_where_the_name_goes_after_a_minute() {
    let world = begun();
    let id = session(&world)["id"].as_str().unwrap().to_owned();
    assert_eq!(session(&world)["followedName"], NAME);
    says(&world.eg(&["session", "get", &id]), "\n  Follow:    yes, when the address of home.invalid changes\n");
    // Whoever watches it is elsewhere, and is not told that the session is astray.
    says_not(&world.eg(&["status"]), "your address is");

    assert_eq!(moves(&world, &[OLD]), json!([]));
    assert_eq!(moves(&world, &[NEW]), json!([]), "seen for the first time");
    world.advance(20);
    assert_eq!(moves(&world, &[NEW]), json!([]), "a moment later");
    assert_eq!((open_to(&world), world.changes()), (vec![host(OLD)], Vec::<String>::new()));
    world.advance(40);
    let pass = at(&world, &[NEW], &["reconcile", "--timer"]).expect_code(0);
    assert_eq!(pass.stderr, "");
    assert_eq!(open_to(&world), [host(NEW)]);
    assert_eq!(world.changes(), ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"], "make, then break");
    let session = session(&world);
    assert_eq!((&session["status"], &session["ipv4Address"]), (&"ACTIVE".into(), &NEW.into()));

    world.forget_calls();
    world.advance(120);
    assert_eq!(moves(&world, &[NEW]), json!([]), "there it stays");
    assert_eq!(world.changes(), Vec::<String>::new());
    world.ends();
}

#[test]
fn nothing_moves_on_a_guess() {
    let world = begun();
    for addresses in [
        &[][..],
        // An address of the other family says nothing about this one.
        &["2001:db8::7"],
        // Which of them?
        &[NEW, OTHER],
        // No two in a row agree.
        &[NEW],
        &[OTHER],
        &[NEW],
        // Back again: what was seen before counts no more.
        &[OLD],
        &[NEW],
        &[NEW, OTHER],
        &[NEW],
    ] {
        world.advance(60);
        assert_eq!(moves(&world, addresses), json!([]), "{addresses:?}");
    }
    // Seen twice, but no address on the Internet.
    for _ in 0..2 {
        world.advance(60);
        let command = world.here.command(&["reconcile"]).env("EG_TEST_HOSTS", "home.invalid=10.0.0.7");
        command.without("EG_TEST_ADDRESSES").run().expect_code(0);
    }
    assert_eq!((open_to(&world), world.changes()), (vec![host(OLD)], Vec::<String>::new()));
    // A resolving that came to nothing in between takes nothing back. A dry run keeps nothing in mind.
    assert_eq!(moves(&world, &[OTHER]), json!([]));
    world.advance(30);
    at(&world, &[NEW], &["reconcile", "--dry-run"]).expect_code(0);
    assert_eq!(moves(&world, &[]), json!([]));
    world.advance(30);
    let dry = at(&world, &[OTHER], &["reconcile", "--dry-run"]).expect_code(3);
    says(&dry, &format!("would move from {OLD} to {OTHER}"));
    assert_eq!(moves(&world, &[OTHER])[0]["to"], OTHER);
    assert_eq!(open_to(&world), [host(OTHER)]);
    world.ends();
}

#[test]
fn a_clock_that_was_set_back_makes_no_agreement() {
    let world = begun();
    assert_eq!(moves(&world, &[NEW]), json!([]));
    world.step_clock(-240);
    assert_eq!(moves(&world, &[NEW]), json!([]), "seen in the future: it counts from now on");
    world.advance(60);
    assert_eq!(moves(&world, &[NEW])[0]["to"], NEW);
    world.step_clock(0);
    world.ends();
}

#[test]
fn what_cannot_be_followed_is_refused_and_leaves_nothing() {
    let world = Sandboxed::new();
    let refused = |addresses: &[&str], more: &[&str], text: &str| {
        says(&at(&world, addresses, &[&START[..], more].concat()).expect_code(2), text);
    };
    refused(&[OLD, NEW], &[], "home.invalid has several IPv4 addresses (198.51.100.77, 203.0.113.42)");
    refused(&[OLD], &["--address-of", OTHER], "--follow follows one name of --address-of");
    refused(&[OLD], &["--ipv4", OTHER], "cannot be used with");
    refused(&[OLD], &["--interface", "lo"], "cannot be used with");
    says(&at(&world, &[], &START).expect_code(1), "the addresses of home.invalid are not known");
    assert_eq!((world.sessions_of(&world.here), world.changes()), (Vec::<Value>::new(), Vec::<String>::new()));
    world.ends();
}

#[test]
fn ensure_keeps_the_session_of_the_same_name() {
    let world = Sandboxed::new();
    let ensure = |addresses: &[&str], code| {
        let args = [&["session", "ensure"], &START[2..], &["--output", "json"]].concat();
        let outcome = at(&world, addresses, &args).expect_code(code);
        (outcome.json_as("session"), outcome.stderr)
    };
    let (first, _) = ensure(&[OLD], 0);
    let (kept, told) = ensure(&[NEW], 3);
    assert_eq!((&kept["id"], &kept["ipv4Address"]), (&first["id"], &OLD.into()), "it does not trust one resolving");
    assert!(told.contains(&format!("is not open to {NEW}, which {NAME} is now")), "{told}");
    world.advance(60);
    let (moved, _) = ensure(&[NEW], 0);
    assert_eq!((&moved["id"], &moved["ipv4Address"]), (&first["id"], &NEW.into()));
    assert_eq!(open_to(&world), [host(NEW)]);

    let other = ["session", "ensure", "--only", "db", "--address-of", "other.invalid", "--follow", "--duration=4h"];
    let known = format!("other.invalid={NEW}");
    world.here.command(&other).env("EG_TEST_HOSTS", known).run().expect_code(0);
    assert_eq!(world.sessions_of(&world.here).len(), 2, "another name is another session");
    world.ends();
}

#[test]
fn a_policy_without_explicit_addresses_holds_it_back() {
    let world = begun();
    let policy = world.here.home().join("policy.toml");
    std::fs::write(&policy, "explicit_addresses = false\n").unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&policy).unwrap()).to_string();
    let pass = || {
        let command = world.here.command(&["reconcile"]).env("EG_TEST_HOSTS", format!("{NAME}={NEW}"));
        command.env("EG_TEST_POLICY", &policy).env("EG_TEST_POLICY_OWNER", &owner).run()
    };
    pass().expect_code(0);
    world.advance(60);
    says(&pass(), &format!("stays at {OLD}, though {NAME} is {NEW}: "));
    assert_eq!(open_to(&world), [host(OLD)]);
    world.ends();
}
