//! `start --follow`: the session goes where its user goes, new before old, and nowhere on a guess.

use crate::{
    cli::session::{Tale, error_of, get, start_id},
    harness::{Fault, IPV4, IPV6, World, echo::Reply},
};
use serde_json::{Value, json};

const NEW: &str = "198.51.100.7";
const AUTHORIZE: &str = "AuthorizeSecurityGroupIngress";
const REVOKE: &str = "RevokeSecurityGroupIngress";

fn move_to(world: &World, address: &str) {
    world.echo4.iter().for_each(|echo| echo.say(address));
}

fn cidrs(world: &World) -> Vec<String> {
    let mut cidrs: Vec<_> = world.cloud.rules(world.group("prod-db-sg")).into_iter().map(|rule| rule.cidr).collect();
    cidrs.sort();
    cidrs
}

fn host(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
}

/// The calls that were meant to change something.
fn changes(world: &World) -> Vec<String> {
    let calls = world.calls().into_iter().filter(|call| !call.dry_run).map(|call| call.action);
    calls.filter(|action| !action.starts_with("Describe") && action != "GetCallerIdentity").collect()
}

fn reconcile(world: &World, code: i32) -> Value {
    world.eg(&["reconcile", "--output", "json"]).expect_code(code).json_as("reconcile")
}

fn begin(world: &World) -> String {
    let id = start_id(&world.here, &["--follow", "--only", "prod-db-sg"]);
    world.forget_calls();
    id
}

fn grants(session: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let grants = session["resourceIps"].as_array().unwrap();
    grants.iter().map(|grant| (text(&grant["ipAddress"]), text(&grant["status"]))).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn a_session_goes_where_its_user_goes() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let id = begin(&world);
    let page = world.eg(&["session", "get", &id]).expect_code(0);
    assert!(page.stdout.contains("\n  Follow:    yes, when your address changes\n"), "{page}");
    assert_eq!(reconcile(&world, 0)["moves"], json!([]), "it is where it was");

    move_to(&world, NEW);
    let status = world.eg(&["status"]).expect_code(0);
    assert!(status.stdout.contains(&format!("your address is {NEW} now; the next reconcile follows")), "{status}");
    let dry = world.eg(&["reconcile", "--dry-run"]).expect_code(3);
    assert!(dry.stdout.contains(&format!("Session {} would move from {IPV4} to {NEW}\n", &id[..8])), "{dry}");
    assert_eq!((changes(&world).len(), cidrs(&world)), (0, vec![host(IPV4)]));

    let pass = world.eg(&["reconcile"]).expect_code(0);
    assert!(pass.stdout.starts_with(&format!("Session {} moves from {IPV4} to {NEW}\n", &id[..8])), "{pass}");
    assert_eq!(cidrs(&world), [host(NEW)]);
    assert_eq!(changes(&world), [AUTHORIZE, REVOKE], "make, then break, in one pass");
    let session = get(&world.here, &id);
    assert_eq!((&session["status"], &session["ipv4Address"]), (&"ACTIVE".into(), &NEW.into()));
    assert_eq!(session["follow"], true);
    assert_eq!(grants(&session), pairs(&[(IPV4, "REMOVED"), (NEW, "APPLIED")]));
    let log = world.eg(&["log", "--session", &id, "--output", "json"]).expect_code(0).json_as("log");
    let moved: Vec<_> = log.as_array().unwrap().iter().filter(|event| event["event"] == "address-changed").collect();
    assert_eq!(moved.len(), 1);
    assert_eq!(
        (&moved[0]["outcome"], &moved[0]["command"]),
        (&format!("from {IPV4} to {NEW}").into(), &"reconcile".into())
    );

    world.forget_calls();
    assert_eq!(reconcile(&world, 0)["moves"], json!([]));
    assert_eq!(changes(&world).len(), 0, "and there it stays");
    // Back again, and stopped there.
    move_to(&world, IPV4);
    let moves = reconcile(&world, 0)["moves"].clone();
    assert_eq!(moves, json!([{"sessionId": id, "from": NEW, "to": IPV4}]));
    assert_eq!(cidrs(&world), [host(IPV4)]);
    world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(0);
    world.eg(&["session", "stop", &id]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn only_who_asked_for_it_is_moved() {
    let world = World::new();
    let id = start_id(&world.here, &["--only", "prod-db-sg"]);
    move_to(&world, NEW);
    assert_eq!(reconcile(&world, 0)["moves"], json!([]));
    assert_eq!((cidrs(&world), &get(&world.here, &id)["follow"]), (vec![host(IPV4)], &json!(false)));
    for explicit in [["--ipv4", "192.0.2.1"], ["--ipv6", "2001:db8::1"]] {
        let outcome = world.eg(&[&["session", "start", "--follow"][..], &explicit].concat()).expect_code(2);
        assert!(error_of(&outcome).contains("cannot be used with"), "{outcome}");
    }
}

#[test]
fn nothing_moves_on_a_guess() {
    let world = World::new();
    let id = begin(&world);
    let session = get(&world.here, &id);
    let unsure: [fn(&World); 4] = [
        // No two agree.
        |world| world.echo4.iter().zip(["192.0.2.1", "192.0.2.2", "192.0.2.3"]).for_each(|(echo, text)| echo.say(text)),
        // One answer alone.
        |world| {
            world.echo4[0].say(NEW);
            world.echo4[1..].iter().for_each(|echo| echo.set(Reply::Status(503)));
        },
        // None.
        |world| world.echo4.iter().for_each(|echo| echo.set(Reply::Status(302))),
        // Somebody's page.
        |world| world.echo4.iter().for_each(|echo| echo.say("<html>sign in</html>")),
    ];
    for change in unsure {
        change(&world);
        assert_eq!(reconcile(&world, 0)["moves"], json!([]));
    }
    // Agreed, but nobody's address on the Internet.
    move_to(&world, "10.0.0.7");
    world.here.command(&["reconcile"]).without("EG_TEST_ADDRESSES").run().expect_code(0);
    assert_eq!(changes(&world).len(), 0);
    assert_eq!((get(&world.here, &id), cidrs(&world)), (session, vec![host(IPV4)]));
}

#[test]
fn what_cannot_be_opened_leaves_the_old_rule_alone() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let id = begin(&world);
    move_to(&world, NEW);
    world.faults(&[Fault::deny(AUTHORIZE)]);
    reconcile(&world, 1);
    assert_eq!(cidrs(&world), [host(IPV4)]);
    assert_eq!(grants(&get(&world.here, &id)), pairs(&[(IPV4, "REMOVING"), (NEW, "FAILED")]));
    // However slow this is, the next try is still to come.
    world.advance(-40);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "get", &id]).expect_code(0);
    tale.eg(&["session", "list"]).expect_code(0);
    tale.eg(&["status"]).expect_code(0);
    tale.end("follow_kept");
    // Prolonged meanwhile: what is kept is kept for as long.
    world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(1);
    assert_eq!(cidrs(&world), [host(IPV4)]);
    let until = get(&world.here, &id)["expiresAt"].clone();
    let tags = world.cloud.rules(world.group("prod-db-sg"))[0].tags.clone();
    assert!(tags.iter().any(|(key, value)| key.starts_with("eg:lease:") && *value == until), "{tags:?}");
    world.faults(&[]);
    world.advance(1000);
    reconcile(&world, 0);
    assert_eq!(cidrs(&world), [host(NEW)]);
    world.eg(&["session", "stop", &id]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn back_before_it_could_be_opened_nothing_has_changed() {
    let world = World::new();
    let id = begin(&world);
    let rule = get(&world.here, &id)["resourceIps"][0]["providerRuleId"].clone();
    move_to(&world, NEW);
    world.faults(&[Fault::deny(AUTHORIZE)]);
    reconcile(&world, 1);
    world.faults(&[]);
    world.forget_calls();
    move_to(&world, IPV4);
    reconcile(&world, 0);
    assert_eq!(changes(&world).len(), 0);
    let session = get(&world.here, &id);
    assert_eq!(grants(&session), pairs(&[(IPV4, "REMOVED"), (NEW, "REMOVED"), (IPV4, "APPLIED")]));
    assert_eq!(session["resourceIps"][2]["providerRuleId"], rule);
}

#[test]
fn a_stop_or_the_end_between_old_and_new_closes_both() {
    for ends in [
        |world: &World| drop(world.eg(&["session", "stop"]).expect_code(0)),
        |world: &World| {
            world.advance(9 * 3600);
            world.eg(&["reconcile"]).expect_code(0);
        },
    ] {
        let world = World::new();
        let before = world.cloud.snapshot();
        let id = begin(&world);
        move_to(&world, NEW);
        world.faults(&[Fault::deny(AUTHORIZE)]);
        reconcile(&world, 1);
        world.faults(&[]);
        ends(&world);
        assert_eq!(world.cloud.snapshot(), before);
        assert!(get(&world.here, &id)["endedAt"].is_string());
        move_to(&world, "192.0.2.9");
        assert_eq!(reconcile(&world, 0)["moves"], json!([]), "ended is ended");
    }
}

#[test]
fn a_family_that_vanishes_keeps_its_address_and_none_is_added() {
    let Some(world) = World::new().with_ipv6() else { return };
    let id = begin(&world);
    assert_eq!(cidrs(&world), [host(IPV6), host(IPV4)]);
    world.echo6.iter().for_each(|echo| echo.set(Reply::Status(500)));
    move_to(&world, NEW);
    reconcile(&world, 0);
    assert_eq!(cidrs(&world), [host(NEW), host(IPV6)]);
    let session = get(&world.here, &id);
    assert_eq!((&session["ipv4Address"], &session["ipv6Address"]), (&NEW.into(), &IPV6.into()));
    // One family that disagrees holds the other back too.
    world.echo6.iter().zip(["2001:db8::1", "2001:db8::2", "2001:db8::3"]).for_each(|(echo, text)| echo.say(text));
    move_to(&world, IPV4);
    assert_eq!(reconcile(&world, 0)["moves"], json!([]));

    let id = start_id(&world.here, &["--follow", "-4", "--only", "dev"]);
    world.echo6.iter().for_each(|echo| echo.say("2001:db8:77::1"));
    move_to(&world, "192.0.2.77");
    reconcile(&world, 0);
    let session = get(&world.here, &id);
    assert_eq!((&session["ipv4Address"], session["ipv6Address"].is_null()), (&"192.0.2.77".into(), true));
}

#[test]
fn a_wider_session_moves_only_when_it_has_to() {
    let world = World::new();
    world.write_config(&world.default_config().replace("[detect]", "[session]\nipv4_prefix_len = 24\n[detect]"));
    let id = begin(&world);
    world.write_config(&world.default_config());
    move_to(&world, "203.0.113.200");
    assert_eq!(reconcile(&world, 0)["moves"], json!([]), "it is open there already");
    move_to(&world, NEW);
    reconcile(&world, 0);
    assert_eq!(cidrs(&world), ["198.51.100.0/24"], "as wide as the session was started");
    let page = world.eg(&["session", "get", &id]).expect_code(0);
    assert!(page.stdout.contains(&format!("IPv4:      {NEW} (opens 198.51.100.0/24)")), "{page}");
}

#[test]
fn what_the_policy_does_not_allow_does_not_move() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let id = begin(&world);
    let policy = world.dir().join("policy.toml");
    let bound = |text: &str| {
        std::fs::write(&policy, text).unwrap();
        let owner = std::fs::metadata(&policy).unwrap().uid().to_string();
        world
            .here
            .command(&["reconcile", "--timer"])
            .env("EG_TEST_POLICY", &policy)
            .env("EG_TEST_POLICY_OWNER", owner)
            .run()
    };
    move_to(&world, NEW);
    let outcome = bound("ports = [\"tcp/22\"]").expect_code(0);
    let warning = format!("warning: session {} stays at {IPV4}, though your address is {NEW}: ", &id[..8]);
    assert!(outcome.stderr.contains(&warning) && outcome.stderr.contains("ports: tcp/22 alone"), "{outcome}");
    assert_eq!(bound("ports = [\"tcp/22\"]").expect_code(0).stderr, "", "said once");
    bound("ports = 22").expect_code(1);
    assert_eq!((changes(&world).len(), cidrs(&world)), (0, vec![host(IPV4)]));
    bound("ports = [\"tcp/5432\"]").expect_code(0);
    assert_eq!(cidrs(&world), [host(NEW)]);
}

#[test]
fn watch_notices_within_its_interval() {
    let world = World::new();
    let id = begin(&world);
    let watch = world.here.command(&["reconcile", "--watch", "--interval", "10s"]).spawn();
    watch.wait_for_call(|call| call.action.starts_with("Describe"));
    move_to(&world, NEW);
    watch.wait_for_call(|call| call.action == REVOKE && !call.dry_run);
    watch.signal("TERM");
    let outcome = watch.wait().expect_code(0);
    assert!(outcome.stdout.contains(&format!("Session {} moves from {IPV4} to {NEW}", &id[..8])), "{outcome}");
    assert_eq!(cidrs(&world), [host(NEW)]);
}

#[test]
fn two_passes_at_once_move_it_once() {
    let world = World::new();
    let id = begin(&world);
    move_to(&world, NEW);
    let both: Vec<_> = (0..2).map(|_| world.here.command(&["reconcile"]).spawn()).collect();
    both.into_iter().for_each(|running| drop(running.wait().expect_code(0)));
    assert_eq!(cidrs(&world), [host(NEW)]);
    assert_eq!(changes(&world), [AUTHORIZE, REVOKE]);
    assert_eq!(grants(&get(&world.here, &id)), pairs(&[(IPV4, "REMOVED"), (NEW, "APPLIED")]));
}

#[test]
fn a_rule_that_another_session_needs_stays() {
    let world = World::new();
    let stays = start_id(&world.here, &["--only", "prod-db-sg", "--duration", "1h"]);
    let follows = begin(&world);
    move_to(&world, NEW);
    reconcile(&world, 0);
    assert_eq!(cidrs(&world), [host(NEW), host(IPV4)]);
    assert_eq!(grants(&get(&world.here, &follows)), pairs(&[(IPV4, "REMOVED"), (NEW, "APPLIED")]));
    // Its tag says what the one that stays needs.
    let until = get(&world.here, &stays)["expiresAt"].clone();
    let old = world.cloud.rules(world.group("prod-db-sg")).into_iter().find(|rule| rule.cidr == host(IPV4)).unwrap();
    assert!(old.tags.iter().any(|(key, value)| key.starts_with("eg:lease:") && *value == until), "{:?}", old.tags);
    // What the other one has left is no concern of its any more.
    world.eg(&["session", "extend", &follows, "--hours", "1"]).expect_code(0);
    let stopped = world.eg(&["session", "stop", &follows]).expect_code(0);
    assert!(!stopped.stdout.contains("still open"), "{stopped}");
    assert_eq!(cidrs(&world), [host(IPV4)]);
}

/// An ssh configuration on a moving laptop: one session, wherever it is.
#[test]
fn ensure_follows_with_one_session() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let ensure = |more: &[&str]| {
        let args = [&["--output", "json", "session", "ensure", "--follow", "--only", "prod-db-sg"], more].concat();
        world.eg(&args).expect_code(0).json_as("session")
    };
    let first = ensure(&[]);
    for number in 1..=20 {
        let address = format!("198.51.100.{number}");
        move_to(&world, &address);
        let session = ensure(&[]);
        assert_eq!((&session["id"], &session["ipv4Address"]), (&first["id"], &address.as_str().into()));
        assert_eq!(session["status"], "ACTIVE");
        assert_eq!(cidrs(&world), [host(&address)], "open where the user is, and nowhere else");
    }
    let shown = world.eg(&["session", "ensure", "--follow", "--only", "prod-db-sg"]).expect_code(0);
    assert!(!shown.stderr.contains("It moves"), "it is there: {shown}");
    move_to(&world, IPV4);
    let shown = world.eg(&["session", "ensure", "--follow", "--only", "prod-db-sg"]).expect_code(0);
    assert!(shown.stderr.contains(&format!("It moves from 198.51.100.20 to {IPV4}\n")), "{shown}");
    let list = world.eg(&["--output", "json", "session", "list", "--limit", "0"]).json_as("sessions");
    assert_eq!(list.as_array().unwrap().len(), 1);
    let stays = world.eg(&["--output", "json", "session", "ensure", "--only", "prod-api-sg"]).expect_code(0);
    assert_ne!(stays.json_as("session")["id"], first["id"]);
    world.eg(&["session", "stop", "--all"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}
