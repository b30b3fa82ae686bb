//! Two machines that `eg` cannot tell apart: a copied home directory, with the same machine id or none. Each knows the
//! other's rules by their ids and takes the other's lease tag for its own.

use super::*;

/// The record of one machine, with its guard, in the place of the other's.
fn copy(from: &Installation, to: &Installation) {
    let (from, to) = (from.state_path(), to.state_path());
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    for entry in fs::read_dir(from.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.with_file_name(entry.file_name())).unwrap();
    }
}

/// They agree on the later time after three rounds, say so once each, and rest.
#[test]
fn they_agree_on_the_later_time_and_say_so_once() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API, "--duration", "2h"]);
    let twin = world.installation("twin");
    copy(&world.here, &twin);
    let eg = |args: &[&str]| twin.command(args).env("EG_MACHINE", "test-machine").run();
    let extended = eg(&["--output", "json", "session", "extend", &id, "--hours", "2"]).expect_code(0).json();

    let mut said = [0, 0];
    let mut written = Vec::new();
    for _ in 0..8 {
        world.advance(SETTLED);
        world.forget_calls();
        for (number, outcome) in [world.eg(&["reconcile"]), eg(&["reconcile"])].into_iter().enumerate() {
            let outcome = outcome.expect_code(0);
            let told = outcome.stderr.matches("something else keeps rewriting this installation's tag").count();
            assert!(
                told == 0 || outcome.stderr.contains("--state FILE") && outcome.stderr.contains("EG_MACHINE"),
                "{outcome}"
            );
            said[number] += told;
        }
        written.push(world.calls().iter().filter(|call| call.action == "CreateTags").count());
    }
    assert_eq!(written, [2, 2, 2, 0, 0, 0, 0, 0], "three times each, and then no more");
    assert_eq!(said, [1, 1]);
    let tags = our_rule(&world, API).tags;
    let lease = tags.iter().find(|(key, _)| key.starts_with("eg:lease:")).unwrap();
    assert_eq!(lease.1, extended["expiresAt"].as_str().unwrap(), "the later time stands");

    // A time of one's own is still written where it is the later one.
    let longest = world.eg(&["--output", "json", "session", "extend", &id, "--hours", "6"]).expect_code(0).json();
    world.advance(SETTLED);
    eg(&["reconcile"]).expect_code(0);
    let tags = our_rule(&world, API).tags;
    assert!(tags.values().any(|value| *value == longest["expiresAt"].as_str().unwrap()), "{tags:?}");
    eg(&["session", "stop", &id]).expect_code(0);
    world.eg(&["session", "stop", &id]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}
