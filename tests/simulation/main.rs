//! Random lives of sessions over the real thing: the real driver, provider module and SQLite file, against the sandbox
//! and whatever goes wrong there. Chance makes a script of actions from a seed; the script is carried out; in the end,
//! with the weather good again and everything stopped, nothing of `eg`'s is left and nothing of others was touched,
//! counted by the sandbox's own rules and its own log. A script that fails is made as short as it can be and printed.
//!
//! `on_time` is no life: it is here for the clock.
//!
//! `eg` runs in this process through its public door, [`eg::run`]: a process for each command would take most of the
//! time. Its clock stands still between actions, and what it waits for passes at once.
//!
//! A generator of its own instead of a property-testing crate: what is drawn is a plain list of actions, what fails is
//! made shorter by leaving actions out, and every action makes sense in every state. That needs no reference machine,
//! preconditions or value trees, and no dependency.

#![allow(unreachable_pub, reason = "nothing outside a test binary can reach it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod action;
mod eg_here;
mod groups;
mod lists;
mod on_time;
mod shrink;
mod site;
mod sweeping;
mod team;
mod toys;
mod world;

use action::{Action, script};
use groups::GroupSite;
use lists::ListSite;
use site::Site;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use toys::ToySite;
use world::{Count, World};

/// Carries a script out, to the end and the check there.
fn live<S: Site>(seed: u64, actions: &[Action]) -> Result<Count, String> {
    let mut world = World::<S>::new(seed);
    for (number, action) in actions.iter().enumerate() {
        world.act(action).map_err(|why| format!("action {}, {action}: {why}", number + 1))?;
    }
    world.ends()
}

/// Fails with the shortest script that fails.
fn check<S: Site>(seed: u64) -> Count {
    let actions = script(seed);
    match live::<S>(seed, &actions) {
        Ok(count) => count,
        Err(first) => {
            let short = shrink::shortest(actions, |actions| live::<S>(seed, actions).is_err());
            let why = live::<S>(seed, &short).err().unwrap_or(first);
            let lines: String = short.iter().map(|action| format!("    {action}\n")).collect();
            panic!("seed {seed}: {why}\nthe script:\n{lines}");
        }
    }
}

/// Side by side from the first seed on, until there were so many lives or the time is up.
fn many<S: Site>(first: u64, lives: u64, time: Duration) -> Count {
    let begun = Instant::now();
    let (next, lived) = (AtomicU64::new(first), AtomicU64::new(0));
    let work = || {
        let mut sum = Count::default();
        while lived.load(Ordering::SeqCst) < lives && begun.elapsed() < time {
            let count = check::<S>(next.fetch_add(1, Ordering::SeqCst));
            lived.fetch_add(count.lives, Ordering::SeqCst);
            sum += count;
        }
        sum
    };
    // They mostly wait for the disk.
    let workers = thread::available_parallelism().map_or(8, |cores| 4 * cores.get());
    let sum = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut sum = Count::default();
        let mut failed = false;
        for worker in workers {
            match worker.join() {
                Ok(count) => sum += count,
                Err(_) => failed = true,
            }
        }
        assert!(!failed, "a script failed");
        sum
    });
    eprintln!("{sum} in {} s, seeds {first}..{}", begun.elapsed().as_secs(), next.into_inner());
    sum
}

/// Lives in which nothing happens prove nothing.
fn much_happened(count: &Count) -> bool {
    count.lives >= 120 && count.crashes > 10 && count.faults > 50 && count.opened > 25 && count.closed > 25
}

/// The same seeds every time. Enough to meet every kind of fault many times; bounded by a count, not by the clock.
#[test]
fn a_few_lives() {
    let count = many::<GroupSite>(1, 120, Duration::MAX);
    assert!(much_happened(&count), "{count}");
}

/// With a prefix list: marks in tags of the list, versions, changes that take a while.
#[test]
fn a_few_lives_with_lists() {
    let count = many::<ListSite>(1, 120, Duration::MAX);
    assert!(much_happened(&count), "{count}");
}

/// With toys, which have the abilities of the other kinds: marks in a text, on a container, nowhere; entries that close by
/// themselves; nothing that is read back.
#[test]
fn a_few_lives_with_toys() {
    let count = many::<ToySite>(1, 120, Duration::MAX);
    assert!(much_happened(&count), "{count}");
}

/// What a long run found, each once: 1001397, a rule that was edited while another installation joined it and before its
/// opener knew it; 1001008, the expiry schedule of a rule that was gone and that a reading still showed; 3001758, the expiry schedule of a rule
/// that was left to another installation by one that did not know whose account it is.
#[test]
fn what_failed_once() {
    let counts = [1_001_397, 1_001_008, 3_001_758].map(check::<GroupSite>);
    assert!(counts.iter().all(|count| count.faults > 0 && count.opened > 0));
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// `EG_LIVES` (10,000) lives from seed `EG_SEED` (1,000,000) on, for `EG_SECONDS` at most.
fn ten_thousand<S: Site>() {
    let time = Duration::from_secs(number("EG_SECONDS", 86_400));
    many::<S>(number("EG_SEED", 1_000_000), number("EG_LIVES", 10_000), time);
}

#[test]
#[ignore = "a quarter of an hour: EG_LIVES=10000 cargo test --locked --workspace --test simulation ten_thousand -- --ignored --nocapture"]
fn ten_thousand_lives() {
    ten_thousand::<GroupSite>();
}

#[test]
#[ignore = "a quarter of an hour, like ten_thousand_lives"]
fn ten_thousand_lives_with_lists() {
    ten_thousand::<ListSite>();
}

#[test]
#[ignore = "a quarter of an hour, like ten_thousand_lives"]
fn ten_thousand_lives_with_toys() {
    ten_thousand::<ToySite>();
}

/// One seed again: `EG_SEED=42 EG_SITE=lists cargo test … --test simulation one_life -- --ignored --nocapture`.
#[test]
#[ignore = "to look at one seed"]
fn one_life() {
    let seed = number("EG_SEED", 1);
    for action in script(seed) {
        eprintln!("    {action}");
    }
    let site = std::env::var("EG_SITE").unwrap_or_default();
    let count = match site.as_str() {
        "lists" => check::<ListSite>(seed),
        "toys" => check::<ToySite>(seed),
        _ => check::<GroupSite>(seed),
    };
    eprintln!("{count}");
}
