//! A group with more rules than fit on one page, over a slow link: the reading of the whole is older than ten seconds when
//! it is there.

use super::*;

/// How long a page takes.
const PAGE: Duration = Duration::from_secs(4);

fn slow() -> [Rule; 1] {
    [on(DESCRIBE, Fault::Slow(PAGE))]
}

/// The reads that name a rule, and all.
fn reads(world: &Sandboxed) -> (usize, usize) {
    let all = world.sent(DESCRIBE);
    (all.iter().filter(|call| call.fields.values().any(|value| value == "security-group-rule-id")).count(), all.len())
}

/// B12. Opened, closed by a stop and closed when it is due: each with three pages, and one more look at the rule alone.
#[test]
fn three_pages_of_four_seconds_open_and_close() {
    let world = Sandboxed::with(&[("api", &["tcp/22"])]);
    world.crowd("api", 2_500);
    world.faults(slow());
    begin(&world, &[]).expect_code(0);
    assert_eq!(reads(&world), (0, 3), "a reading that has just ended is recent enough to open");
    assert_eq!(ids(&world, "api").len(), 1);

    world.forget_calls();
    says(&stop(&world).expect_code(0), "✓ Session stopped");
    assert_eq!(ids(&world, "api"), [""; 0]);
    let (by_id, all) = reads(&world);
    assert!(by_id <= 1 && all <= 4, "{by_id} {all}");
    let calls = world.calls();
    let revoke = calls.iter().find(|call| call.action == REVOKE && !call.dry_run).expect("a revoke");
    let read =
        calls.iter().rev().find(|call| call.action == DESCRIBE && call.number < revoke.number).expect("a reading");
    // Ten whole seconds, as `eg` counts them, and a page that is asked for and not there yet.
    assert!(revoke.at - read.at <= TimeDelta::seconds(11), "{read:#?}\n{revoke:#?}");

    world.faults([] as [Rule; 0]);
    begin(&world, &["--duration", "1m"]).expect_code(0);
    world.advance(MINUTE + 1);
    world.faults(slow());
    pass(&world.here, 0);
    assert_eq!(ids(&world, "api"), [""; 0], "closed in the first pass");
    world.ends();
}

/// 20 groups, of which eight are called at a time, and each call takes six seconds. The last ones wait for two calls of
/// others, and by then their first reading is too old.
#[test]
fn a_revoke_that_has_waited_for_its_turn_has_a_recent_reading() {
    let world = Sandboxed::with(&[("api", &["tcp/22"])]);
    let far = world.far_groups(20);
    begin(&world, &["--only", "far"]).expect_code(0);
    world.forget_calls();
    world.faults([on(REVOKE, Fault::Slow(Duration::from_secs(6)))]);
    says(&stop(&world).expect_code(0), "✓ Session stopped");
    assert!(far.iter().all(|group| world.region.rules(group).is_empty()));
    let (calls, revokes) = (world.calls(), world.sent(REVOKE));
    assert_eq!(revokes.len(), far.len());
    for revoke in &revokes {
        let mut earlier = calls.iter().rev().filter(|call| call.action == DESCRIBE && call.number < revoke.number);
        let read = earlier.find(|call| call.groups.contains(&revoke.groups[0])).expect("a reading");
        // Ten whole seconds, as `eg` counts them, and the way of the request.
        assert!(revoke.at - read.at <= TimeDelta::seconds(11), "{read:#?}\n{revoke:#?}");
    }
    assert!(reads(&world).1 > 1, "nothing was read again, so nothing has waited");
    world.ends();
}

/// What the second look shows counts: another installation has joined the rule since its page was read.
#[test]
fn a_rule_that_another_has_joined_meanwhile_is_left_to_it() {
    let world = Sandboxed::with(&[("api", &["tcp/22"])]);
    world.crowd("api", 2_500);
    begin(&world, &[]).expect_code(0);
    let rule = ids(&world, "api").remove(0);
    world.faults(slow());
    world.forget_calls();
    let stopping = world.here.command(&["session", "stop"]).spawn();
    // Its first page, which shows the rule or not, is on its way; ids are by chance, and the tag is there for each of them.
    world.wait_for(DESCRIBE);
    let begin = std::time::Instant::now();
    while world.sent(DESCRIBE).len() < 3 {
        assert!(begin.elapsed() < Duration::from_secs(60), "the last page was never asked for");
        thread::sleep(Duration::from_millis(20));
    }
    let key = "eg:lease:00000000000000000000000000000009".to_owned();
    let tags = [(key, world.in_seconds_text(HOUR))].into();
    world.region.tag_by_hand(&rule, &tags).unwrap();
    let stopped = stopping.wait().expect_code(0);
    says(&stopped, "still open");
    assert_eq!(reads(&world).0, 1, "asked for by its id");
    assert_eq!(ids(&world, "api"), std::slice::from_ref(&rule));
    world.faults([] as [Rule; 0]);
    world.region.untag_by_hand(&rule, &tags).unwrap();
    world.ends();
}
