//! How long a rule lives past its expiry when something goes wrong, with and without its expiry schedule: the table of
//! `docs/guarantees.md`, measured.

use super::*;
use std::fs;

const MINUTE: i64 = 60;
const DAY: i64 = 24 * HOUR;

/// What goes wrong, and what still happens on this machine at a moment that many seconds after the expiry.
struct Trouble {
    name: &'static str,
    begin: fn(&World),
    at: fn(&World, i64),
}

/// What cron does every minute, as far as the moments looked at go.
fn cron(world: &World, _: i64) {
    world.eg(&["reconcile", "--timer"]);
}

fn nothing(_: &World) {}

fn back_a_day_later(world: &World, after: i64) {
    if after >= DAY {
        cron(world, after);
    }
}

const TROUBLES: [Trouble; 5] = [
    Trouble { name: "the machine dies right after start", begin: nothing, at: |_, _| {} },
    Trouble {
        name: "the credentials expire",
        begin: |world| {
            let expired = |action| Fault::refuse(action, 400, "RequestExpired", "Request has expired.");
            world.faults(&["DescribeSecurityGroupRules", "GetCallerIdentity", "GetSchedule"].map(expired));
        },
        at: cron,
    },
    Trouble { name: "cron was never set up", begin: nothing, at: |_, _| {} },
    Trouble {
        name: "the state file is deleted",
        begin: |world| fs::remove_dir_all(world.here.state_path().parent().unwrap()).unwrap(),
        at: cron,
    },
    Trouble { name: "the machine is off at expiry and back a day later", begin: nothing, at: back_a_day_later },
];

/// How long after its expiry the rule was gone. The moments: a minute before, on time, and then every ten minutes for
/// two hours, and a day later.
fn lived(world: &World, trouble: &Trouble) -> Option<i64> {
    let before = world.cloud.snapshot();
    start(world, &["--only", "prod-api-sg"]).expect_code(0);
    (trouble.begin)(world);
    world.advance(2 * HOUR - MINUTE);
    let mut last = -MINUTE;
    for after in [-MINUTE, 0].into_iter().chain((1..=12).map(|tens| tens * 10 * MINUTE)).chain([DAY]) {
        world.advance(after - last);
        last = after;
        world.fire_due();
        (trouble.at)(world, after);
        if world.cloud.snapshot() == before {
            return Some(after);
        }
    }
    None
}

fn in_words(lived: Option<i64>) -> String {
    match lived {
        None => "still open a day later".to_owned(),
        Some(0) => "not at all".to_owned(),
        Some(DAY) => "a day".to_owned(),
        Some(seconds) => format!("{} minutes", seconds / MINUTE),
    }
}

#[test]
fn the_table_of_the_guarantees_is_what_is_measured() {
    let document = include_str!("../../../docs/guarantees.md");
    let row = |trouble: &Trouble| {
        let without = in_words(lived(&World::new(), trouble));
        let with = in_words(lived(&auto_closing(), trouble));
        format!("| {} | {without} | {with} |", trouble.name)
    };
    let measured: Vec<String> = TROUBLES.iter().map(row).collect();
    let missing: Vec<&String> = measured.iter().filter(|row| !document.lines().any(|line| line == **row)).collect();
    assert!(missing.is_empty(), "not in docs/guarantees.md:\n{missing:#?}");
    assert!(measured.iter().all(|row| row.ends_with("| not at all |")), "{measured:#?}");
}
