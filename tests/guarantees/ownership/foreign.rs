//! Rules that others made.

use super::*;

/// B7.
#[test]
fn a_twin_of_another_covers_and_is_never_touched() {
    let world = World::new();
    let twin = world.cloud.authorize(world.group(API), "tcp/22", &cidr(), "mine", &[("owner", "bob")]);
    let before = bystanders(&world);

    let id = start(&world.here, &["--only", API]);
    assert_eq!(world.cloud.snapshot(), before);
    let session = get(&world.here, &id);
    let grant = &session["resourceIps"][0];
    assert_eq!(grant["status"], "APPLIED");
    assert_eq!(grant["coverage"], "foreign");
    assert_eq!(grant["providerRuleId"], Value::Null);
    assert_eq!(grant["providerRuleIds"][0], *twin);
    let page = world.eg(&["session", "get", &id]).expect_code(0);
    says(&page, &format!("covered by {twin} (not eg's)"));

    pass(&world.here, 0);
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), before);

    let stopped = stop(&world.here, &id).expect_code(0);
    says(&stopped, "✓ Session stopped");
    says(&stopped, "still open: prod-api-sg tcp/22, held by a rule eg does not own");
    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), before);
    assert_eq!(changes(&world), Vec::<String>::new());
}

/// B7: the mark of another tool makes no difference.
#[test]
fn a_twin_that_another_tool_marks_is_foreign() {
    let world = World::new();
    let mark = [("eg:managed-by", "terraform"), ("eg:session", "x")];
    world.cloud.authorize(world.group(API), "tcp/22", &cidr(), "mine", &mark);
    let before = world.cloud.snapshot();
    let id = start(&world.here, &["--only", API]);
    assert_eq!(get(&world.here, &id)["resourceIps"][0]["coverage"], "foreign");
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B7.
#[test]
fn when_the_twin_vanishes_ours_is_opened() {
    let world = World::new();
    let before = bystanders(&world);
    let twin = world.cloud.authorize(world.group(API), "tcp/22", &cidr(), "mine", &[]);
    let id = start(&world.here, &["--only", API]);
    world.cloud.revoke(world.group(API), &twin);

    let repaired = pass(&world.here, 0);
    says(&repaired, "+ open tcp/22");
    let rule = our_rule(&world, API);
    assert_ne!(rule.id, twin);
    assert_eq!(get(&world.here, &id)["resourceIps"][0]["coverage"], "own");
    assert_eq!(get(&world.here, &id)["resourceIps"][0]["providerRuleId"], *rule.id);
    assert_eq!(others(&world.cloud), before);

    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// Identical permissions only: a wider rule of others (one of the bystanders) opens the port already.
#[test]
fn a_wider_rule_covers_nothing() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    assert_eq!(our_rule(&world, API).cidr, cidr());
    assert_eq!(get(&world.here, &id)["resourceIps"][0]["coverage"], "own");
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// One grant, three ports: one covered, two ours.
#[test]
fn ports_of_one_grant_may_have_different_owners() {
    let world = World::new();
    let twin = world.cloud.authorize(world.group("dev-web-sg"), "tcp/443", &cidr(), "mine", &[]);
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", "dev-web-sg"]);
    assert_eq!(ours(&world.cloud, world.group("dev-web-sg")).len(), 2);
    assert_eq!(others(&world.cloud), before);
    let page = world.eg(&["session", "get", &id]).expect_code(0);
    says(&page, &format!("tcp/443  covered by {twin} (not eg's)"));
    let stopped = stop(&world.here, &id).expect_code(0);
    says(&stopped, "still open: dev-web-sg tcp/443, held by a rule eg does not own");
    assert_eq!(world.cloud.snapshot(), before);
}

/// B9: a revoke by id cannot hit the twin; an absent reading is believed after the settle window only.
#[test]
fn a_twin_in_place_of_our_deleted_rule_survives_the_stop() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    world.cloud.revoke(world.group(API), &rule.id);
    assert_eq!(world.cloud.snapshot(), before);
    world.cloud.authorize(world.group(API), "tcp/22", &cidr(), "by bob", &[("owner", "bob")]);
    let with_twin = world.cloud.snapshot();

    let stopped = stop(&world.here, &id).expect_code(3);
    says(&stopped, "Stop recorded; 1 rule not confirmed closed yet, next check ");
    assert_eq!(status(&world.here, &id), "EXPIRING");
    assert_eq!(world.cloud.snapshot(), with_twin);

    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(status(&world.here, &id), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), with_twin);
}

/// B9, while the session lives.
#[test]
fn a_twin_in_place_of_our_deleted_rule_covers() {
    let world = World::new();
    let id = start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    world.cloud.revoke(world.group(API), &rule.id);
    world.cloud.authorize(world.group(API), "tcp/22", &cidr(), "by bob", &[("owner", "bob")]);
    let with_twin = bystanders(&world);

    pass(&world.here, 0);
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(get(&world.here, &id)["resourceIps"][0]["coverage"], "foreign");
    stop(&world.here, &id).expect_code(0);
    assert_eq!(status(&world.here, &id), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), with_twin);
}

/// Tags are labels: on a rule that they do not fit they mean nothing, and are reported.
#[test]
fn our_tags_on_a_rule_made_by_hand_are_reported_and_left() {
    let world = World::new();
    bystanders(&world);
    world.write_config(&collecting(&world));
    let id = start(&world.here, &["--only", API, "--duration", "1h"]);
    let rule = our_rule(&world, API);
    let copy = world.cloud.authorize(world.group(API), "tcp/8443", &cidr(), "by hand", &tags(&rule));
    // The same permission in another group is another rule.
    let other = world.cloud.authorize(world.group("prod-db-sg"), "tcp/22", &cidr(), "by hand", &tags(&rule));
    let kept = || {
        let text = world.cloud.snapshot();
        text.lines().filter(|line| !line.contains(&rule.id)).map(|line| format!("{line}\n")).collect::<String>()
    };
    let before = kept();

    world.advance(2 * MINUTE);
    let told = pass(&world.here, 0);
    let notes = world.eg(&["--output", "json", "reconcile", "--dry-run"]).json_as("reconcile");
    says(&told, &format!("{copy} is left alone"));
    assert!(notes["notes"].to_string().contains("misfit"), "{notes:#}");

    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    // Long past every lease, still not collected.
    world.advance(7 * HOUR);
    let told = reconcile(&world.here);
    says(&told, &format!("{other} is left alone"));
    assert_eq!(told.code(), Some(0), "{told}");
    assert_eq!(world.cloud.snapshot(), before);
}

/// A misfit twin covers like any other foreign rule.
#[test]
fn a_twin_with_tags_of_another_rule_covers() {
    let world = World::new();
    let id = start(&world.here, &["--only", "dev-web-sg", "--ipv4", "198.51.100.99"]);
    let mut copied = ours(&world.cloud, world.group("dev-web-sg")).remove(0);
    copied.tags.insert("eg:marks".to_owned(), "00000000".to_owned());
    world.cloud.authorize(world.group(API), "tcp/22", &cidr(), "by hand", &tags(&copied));
    let group = world.cloud.rules(world.group(API));
    let second = start(&world.here, &["--only", API]);
    assert_eq!(get(&world.here, &second)["resourceIps"][0]["coverage"], "foreign");
    stop(&world.here, &second).expect_code(0);
    assert_eq!(world.cloud.rules(world.group(API)), group);
    stop(&world.here, &id).expect_code(0);
}
