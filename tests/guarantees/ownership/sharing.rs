//! Several sessions, several installations, one rule.

use super::*;

/// Two sessions on one permission, one hour and two; the rule's lease says two.
fn two_sessions(world: &World) -> (String, String) {
    let short = start(&world.here, &["--only", API, "--duration", "1h"]);
    let rule = our_rule(world, API);
    let long = start(&world.here, &["--only", API, "--duration", "2h"]);
    let both = our_rule(world, API);
    assert_eq!(both.id, rule.id, "one rule for both");
    assert_eq!(lease(world), get(&world.here, &long)["expiresAt"].as_str().unwrap());
    (short, long)
}

#[track_caller]
fn lease(world: &World) -> String {
    let list = leases(&our_rule(world, API));
    assert_eq!(list.len(), 1, "{list:?}");
    list[0].1.clone()
}

/// B8.
#[test]
fn the_rule_goes_with_the_last_of_two_sessions() {
    let world = World::new();
    let before = bystanders(&world);
    let (short, long) = two_sessions(&world);

    let stopped = stop(&world.here, &long).expect_code(0);
    says(&stopped, "✓ Session stopped");
    says(&stopped, &format!("still open: prod-api-sg tcp/22, held by session {} until ", &short[..8]));
    assert_eq!(lease(&world), get(&world.here, &short)["expiresAt"].as_str().unwrap(), "the tag says the rest");
    assert_eq!(status(&world.here, &short), "ACTIVE");
    assert_eq!(others(&world.cloud), before);

    stop(&world.here, &short).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B8, the other way round: nothing has to be rewritten.
#[test]
fn the_longer_session_keeps_the_tag() {
    let world = World::new();
    let before = bystanders(&world);
    let (short, long) = two_sessions(&world);
    world.forget_calls();
    let stopped = stop(&world.here, &short).expect_code(0);
    says(&stopped, &format!("held by session {} until ", &long[..8]));
    assert_eq!(changes(&world), Vec::<String>::new());
    assert_eq!(lease(&world), get(&world.here, &long)["expiresAt"].as_str().unwrap());
    stop(&world.here, &long).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// A grant that is let go in the stop's own transaction needs its tag rewritten all the same, by the same stop.
#[test]
fn a_stop_rewrites_the_tag_of_a_grant_that_needs_no_closing() {
    let world = World::new();
    let before = bystanders(&world);
    let short = start(&world.here, &["--only", API, "--duration", "1h"]);
    let long = start(&world.here, &["--only", API, "--only", "prod-db-sg", "--duration", "2h"]);
    assert_eq!(lease(&world), get(&world.here, &long)["expiresAt"].as_str().unwrap());
    stop(&world.here, &long).expect_code(0);
    assert_eq!(lease(&world), get(&world.here, &short)["expiresAt"].as_str().unwrap());
    stop(&world.here, &short).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B8 by expiry.
#[test]
fn the_rule_outlives_the_session_that_expires_first() {
    let world = World::new();
    let before = bystanders(&world);
    let (short, long) = two_sessions(&world);
    world.advance(HOUR + 1);
    pass(&world.here, 0);
    assert_eq!(status(&world.here, &short), "EXPIRED");
    assert_eq!(status(&world.here, &long), "ACTIVE");
    our_rule(&world, API);
    world.advance(HOUR);
    pass(&world.here, 0);
    assert_eq!(status(&world.here, &long), "EXPIRED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// Two installations behind one address; the rule has two leases.
fn two_installations(world: &World) -> (Installation, String, String) {
    let first = start(&world.here, &["--only", API]);
    let rule = our_rule(world, API);
    let other = world.installation("other-machine");
    let second = start(&other, &["--only", API]);
    let joined = our_rule(world, API);
    assert_eq!(joined.id, rule.id);
    assert_eq!(leases(&joined).len(), 2, "{joined}");
    assert_eq!(get(&other, &second)["resourceIps"][0]["coverage"], "shared");
    assert_eq!(get(&other, &second)["resourceIps"][0]["providerRuleId"], *rule.id);
    (other, first, second)
}

fn leave_in_turn(world: &World, before: &str, leaver: (&Installation, &str), last: (&Installation, &str)) {
    let stopped = stop(leaver.0, leaver.1).expect_code(0);
    says(&stopped, "still open: prod-api-sg tcp/22, held by another installation");
    assert_eq!(leases(&our_rule(world, API)).len(), 1);
    assert_eq!(status(leaver.0, leaver.1), "CANCELLED");
    assert_eq!(status(last.0, last.1), "ACTIVE");
    pass(last.0, 0);
    assert_eq!(others(&world.cloud), before);

    // The lease of the one that left closes when a settled reading shows the other still there; nothing changes.
    world.advance(SETTLED);
    world.forget_calls();
    pass(leaver.0, 0);
    assert_eq!(changes(world), Vec::<String>::new());
    world.forget_calls();
    pass(leaver.0, 0);
    assert_eq!(world.call_counts(), "", "nothing is open any more");
    our_rule(world, API);

    stop(last.0, last.1).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn the_opener_leaves_and_the_joiner_closes() {
    let world = World::new();
    let before = bystanders(&world);
    let (other, first, second) = two_installations(&world);
    leave_in_turn(&world, &before, (&world.here, &first), (&other, &second));
}

#[test]
fn the_joiner_leaves_and_the_opener_closes() {
    let world = World::new();
    let before = bystanders(&world);
    let (other, first, second) = two_installations(&world);
    leave_in_turn(&world, &before, (&other, &second), (&world.here, &first));
}

/// A start after a leave: the lease is open still, and joins again.
#[test]
fn one_that_left_can_come_back() {
    let world = World::new();
    let before = bystanders(&world);
    let (other, first, second) = two_installations(&world);
    stop(&world.here, &first).expect_code(0);
    let third = start(&world.here, &["--only", API]);
    assert_eq!(leases(&our_rule(&world, API)).len(), 2);
    stop(&other, &second).expect_code(0);
    stop(&world.here, &third).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// The first installation dies with an hour to run; what the second sees at given minutes after the expiry.
fn after_a_death(world: &World, config: &str) -> Installation {
    start(&world.here, &["--only", API, "--duration", "1h"]);
    let other = world.installation("other-machine");
    other.write_config(config);
    world.advance(HOUR);
    other
}

#[test]
fn the_rules_of_a_dead_installation_are_collected_ten_minutes_after_their_lease() {
    let world = World::new();
    let before = bystanders(&world);
    let other = after_a_death(&world, &collecting(&world));
    let open = world.cloud.snapshot();
    world.advance(9 * MINUTE);
    pass(&other, 0);
    assert_eq!(world.cloud.snapshot(), open, "not before");
    world.advance(2 * MINUTE);
    let told = pass(&other, 0);
    says(&told, "- close sgr-");
    says(&told, "every holder has let expire");
    assert_eq!(world.cloud.snapshot(), before);
    // If it was only asleep, it finds nothing to close and says so.
    world.advance(SETTLED);
    reconcile(&world.here);
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn an_installation_that_still_lives_is_not_collected() {
    let world = World::new();
    let (other, first, _) = two_installations(&world);
    let before = world.cloud.snapshot();
    other.write_config(&collecting(&world));
    pass(&other, 0);
    world.advance(2 * MINUTE);
    pass(&other, 0);
    assert_eq!(world.cloud.snapshot(), before);
    assert_eq!(status(&world.here, &first), "ACTIVE");
}

#[test]
fn nothing_of_others_is_collected_where_the_configuration_says_so() {
    let world = World::new();
    bystanders(&world);
    let config = world.default_config() + "[reconcile]\ncollect_expired = false\n";
    let other = after_a_death(&world, &config);
    let open = world.cloud.snapshot();
    world.advance(HOUR);
    pass(&other, 0);
    assert_eq!(world.cloud.snapshot(), open);
    // Not even in a pass that looks at the group for another reason.
    let id = start(&other, &["--only", API, "--ipv4", "198.51.100.99"]);
    stop(&other, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), open);
}

/// B30: the provider's clock judges, and a local clock that is plainly wrong collects nothing.
#[test]
fn nothing_of_others_is_collected_by_a_wrong_clock() {
    let world = World::new();
    let before = bystanders(&world);
    let other = after_a_death(&world, &collecting(&world));
    world.advance(11 * MINUTE);
    let open = world.cloud.snapshot();
    for skew in [-3 * MINUTE, 3 * MINUTE, -2 * HOUR, 2 * HOUR] {
        world.skew(skew);
        let told = other.eg(&["--output", "json", "reconcile"]).json_as("reconcile");
        assert!(told["notes"].to_string().contains("clock-skew"), "{told:#}");
        assert_eq!(world.cloud.snapshot(), open, "{skew} s off");
    }
    world.skew(0);
    world.advance(2 * HOUR + MINUTE);
    pass(&other, 0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B30: an hour ahead, the lease of a living installation looks expired.
#[test]
fn a_fast_clock_closes_no_living_rule() {
    let world = World::new();
    bystanders(&world);
    start(&world.here, &["--only", API, "--duration", "1h"]);
    let open = world.cloud.snapshot();
    let other = world.installation("other-machine");
    other.write_config(&collecting(&world));
    world.skew(2 * HOUR);
    reconcile(&other);
    assert_eq!(world.cloud.snapshot(), open);
}

/// Wanted wins over collected.
#[test]
fn an_expired_rule_of_others_that_is_wanted_is_joined() {
    let world = World::new();
    let before = bystanders(&world);
    let other = after_a_death(&world, &collecting(&world));
    world.advance(30 * MINUTE);
    let rule = our_rule(&world, API);
    let id = start(&other, &["--only", API]);
    assert_eq!(our_rule(&world, API).id, rule.id);
    stop(&other, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// The tag of a rule that stays has to be rewritten; if that is refused, the stop is not done.
#[test]
fn a_stop_that_cannot_rewrite_the_tag_says_so() {
    let world = World::new();
    let before = bystanders(&world);
    let (short, long) = two_sessions(&world);
    world.faults(&[Fault::deny("CreateTags")]);
    let stopped = stop(&world.here, &long).expect_code(3);
    says(&stopped, &format!("held by session {} until ", &short[..8]));
    assert_eq!(lease(&world), get(&world.here, &long)["expiresAt"].as_str().unwrap());
    world.faults(&[]);
    world.advance(15 * MINUTE);
    pass(&world.here, 0);
    assert_eq!(lease(&world), get(&world.here, &short)["expiresAt"].as_str().unwrap());
    stop(&world.here, &short).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// An installation that leaves may write tags and not delete them: a time long past says the same.
#[test]
fn one_that_may_not_delete_tags_leaves_all_the_same() {
    let world = World::new();
    let before = bystanders(&world);
    let (other, first, second) = two_installations(&world);
    world.faults(&[Fault::deny("DeleteTags")]);
    stop(&world.here, &first).expect_code(0);
    world.faults(&[]);
    let rule = our_rule(&world, API);
    assert_eq!(leases(&rule).iter().filter(|(_, value)| value.starts_with("1970-")).count(), 1, "{rule}");
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(status(&other, &second), "ACTIVE");
    stop(&other, &second).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// A leaver that dies between: the other, last to go, closes the rule although the tag of the dead one is still
/// there, once that has expired.
#[test]
fn a_dead_joiner_delays_the_close_and_does_not_prevent_it() {
    let world = World::new();
    let before = bystanders(&world);
    let first = start(&world.here, &["--only", API, "--duration", "4h"]);
    let other = world.installation("other-machine");
    start(&other, &["--only", API, "--duration", "1h"]);
    stop(&world.here, &first).expect_code(0);
    our_rule(&world, API);
    world.write_config(&collecting(&world));
    world.advance(HOUR + 12 * MINUTE);
    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// Addresses of two installations differ: nothing is shared, nothing of the other is touched.
#[test]
fn installations_with_different_addresses_do_not_meet() {
    let world = World::new();
    let before = bystanders(&world);
    let first = start(&world.here, &["--only", API]);
    let open = world.cloud.snapshot();
    let other = world.installation("other-machine");
    let second = start(&other, &["--only", API, "--ipv4", "198.51.100.99"]);
    assert_eq!(get(&other, &second)["resourceIps"][0]["coverage"], "own");
    stop(&other, &second).expect_code(0);
    assert_eq!(world.cloud.snapshot(), open);
    stop(&world.here, &first).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}
