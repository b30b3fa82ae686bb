//! The process ends at every boundary of a pass in which a session follows its user. Whenever it does, the port is open
//! for the old address or the new one, and in the end for the new one alone.

use super::*;
use crate::harness::Echo;

const NEW: &str = "198.51.100.99";

fn echoes(world: &Sandboxed) -> Vec<Echo> {
    let echoes: Vec<Echo> = (0..2).map(|_| Echo::v4(IPV4)).collect();
    let list = echoes.iter().map(|echo| format!("\"{}\"", echo.url())).collect::<Vec<_>>().join(", ");
    let config = std::fs::read_to_string(world.here.config_path()).unwrap();
    world.here.write_config(&format!("[detect]\nipv4 = [{list}]\nipv6 = []\n{config}"));
    world.eg(&["session", "start", "--follow", "--duration", "2h"]).expect_code(0);
    echoes.iter().for_each(|echo| echo.say(NEW));
    echoes
}

/// How many of the two ports are open for each address.
fn ports(world: &Sandboxed) -> (usize, usize) {
    let rules = world.ours(API);
    let of = |address: &str| rules.iter().filter(|rule| format!("{:?}", rule.permission).contains(address)).count();
    (of(IPV4), of(NEW))
}

fn ends_at(number: usize) -> bool {
    let world = one_group();
    let _echoes = echoes(&world);
    world.forget_calls();
    let outcome = with(&world, &words(&["reconcile"]), &[("EG_TEST_ABORT_AT", number.to_string())]);
    let crashed = outcome.code().is_none();
    let (old, new) = ports(&world);
    assert!(old == 2 || new == 2, "ended at boundary {number}: {old} and {new} ports are open");
    if !crashed {
        outcome.expect_code(0);
    }
    world.advance(SETTLED);
    settles(&world);
    assert_eq!(ports(&world), (0, 2), "ended at boundary {number}");
    let session = &world.sessions_of(&world.here)[0];
    assert_eq!((&session["status"], &session["ipv4Address"]), (&"ACTIVE".into(), &NEW.into()));
    assert_eq!(history(&world), BTreeMap::from([(AUTHORIZE.to_owned(), 2), (REVOKE.to_owned(), 2)]), "at {number}");
    world.ends();
    crashed
}

const AUTHORIZE: &str = "AuthorizeSecurityGroupIngress";
const REVOKE: &str = "RevokeSecurityGroupIngress";

#[test]
fn a_pass_that_follows_may_end_anywhere() {
    let count = until_past_the_end(ends_at);
    eprintln!("follow: ended at each of {count} boundaries");
    assert!(count >= 12, "only {count} boundaries: a door has lost its observer");
}

/// The same for a name: of three passes, a minute apart, one may end anywhere.
fn ends_at_for_a_name(number: usize) -> bool {
    let world = one_group();
    let start = ["session", "start", "--address-of", "home.invalid", "--follow", "--duration", "2h"];
    let at = |address: &str, args: &[&str], boundary: Option<usize>| {
        let known = format!("home.invalid={address}");
        with(
            &world,
            &words(args),
            &[
                ("EG_TEST_HOSTS", known),
                ("EG_TEST_ABORT_AT", boundary.map_or_else(|| "never".to_owned(), |at| at.to_string())),
            ],
        )
    };
    at(IPV4, &start, None).expect_code(0);
    let mut crashed = false;
    for pass in 0..3 {
        world.advance(60);
        let outcome = at(NEW, &["reconcile"], (pass < 2).then_some(number));
        crashed |= outcome.code().is_none();
        let (old, new) = ports(&world);
        assert!(old == 2 || new == 2, "pass {pass} ended at boundary {number}: {old} and {new} ports are open");
    }
    world.advance(SETTLED);
    for _ in 0..3 {
        at(NEW, &["reconcile"], None);
        world.advance(SETTLED);
    }
    at(NEW, &["reconcile"], None).expect_code(0);
    assert_eq!(ports(&world), (0, 2), "ended at boundary {number}");
    let session = &world.sessions_of(&world.here)[0];
    assert_eq!((&session["status"], &session["ipv4Address"]), (&"ACTIVE".into(), &NEW.into()));
    world.ends();
    crashed
}

#[test]
fn passes_that_follow_a_name_may_end_anywhere() {
    let count = until_past_the_end(ends_at_for_a_name);
    eprintln!("follow a name: ended at each of {count} boundaries");
    assert!(count >= 12, "only {count} boundaries: a door has lost its observer");
}
