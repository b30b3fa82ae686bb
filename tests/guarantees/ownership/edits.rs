//! Rules of ours that somebody deletes, edits, strips or decorates.

use super::*;

#[test]
fn a_rule_deleted_by_hand_is_opened_again() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let first = our_rule(&world, API);
    world.cloud.revoke(world.group(API), &first.id);

    let repaired = pass(&world.here, 0);
    says(&repaired, "+ open tcp/22");
    let second = our_rule(&world, API);
    assert_ne!(first.id, second.id);
    assert_eq!(leases(&first), leases(&second));
    assert_eq!(get(&world.here, &id)["resourceIps"][0]["providerRuleId"], *second.id);
    assert_eq!(others(&world.cloud), before);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(changes(&world), Vec::<String>::new());

    stops_at_once(&world, &id);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn a_rule_deleted_again_and_again_is_not_fought_over() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let delete = || world.cloud.revoke(world.group(API), &our_rule(&world, API).id);
    delete();
    let once = pass(&world.here, 0);
    says_not(&once, "something keeps deleting ");
    world.advance(SETTLED);
    delete();
    let twice = pass(&world.here, 0);
    says(&twice, "something keeps deleting ");
    says(&twice, "Terraform");
    our_rule(&world, API);
    // From now on it waits longer and longer before it opens the port again.
    delete();
    pass(&world.here, 3);
    assert_eq!(world.cloud.snapshot(), before);
    world.advance(2 * MINUTE + 1);
    pass(&world.here, 0);
    our_rule(&world, API);
    assert_eq!(others(&world.cloud), before);
    stops_at_once(&world, &id);
    assert_eq!(world.cloud.snapshot(), before);
}

/// A rule that a reading did not show soon after it was opened may only have been hidden, and been edited by hand. The
/// session does not wait for that: the record alone keeps looking, in silence, for a settle window.
fn stops_at_once(world: &World, id: &str) {
    let told = stop(&world.here, id).expect_code(0);
    says(&told, "Session stopped");
    says_not(&told, "still open");
    assert_eq!(status(&world.here, id), "CANCELLED");
    assert_eq!(ours(&world.cloud, world.group(API)).len(), 0);
    let looks = |seconds, counts: &str| {
        world.advance(seconds);
        world.forget_calls();
        assert_eq!(world.eg(&["reconcile", "--timer"]).expect_code(0).stderr, "");
        assert_eq!(world.call_counts(), counts);
    };
    looks(MINUTE, "1×DescribeSecurityGroupRules");
    looks(SETTLED, "1×DescribeSecurityGroupRules");
    looks(MINUTE, "");
}

/// B10.
#[test]
fn an_edited_rule_is_closed_by_id_and_opened_anew() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let edited = our_rule(&world, API);
    world.cloud.modify(world.group(API), &edited.id, "tcp/2222", &cidr(), "edited");

    world.forget_calls();
    let told = pass(&world.here, 3);
    says(&told, &format!("{} was edited by hand", edited.id));
    let revoked: Vec<_> = world.calls().into_iter().filter(|c| c.action == "RevokeSecurityGroupIngress").collect();
    assert_eq!(revoked.len(), 1, "{}", world.call_counts());
    assert_eq!(revoked[0].rules, std::slice::from_ref(&edited.id));
    let anew = our_rule(&world, API);
    assert_ne!(anew.id, edited.id);
    assert_eq!(anew.ports, (22, 22));
    assert_eq!(others(&world.cloud), before);
    assert_eq!(status(&world.here, &id), "ACTIVE");
    pass(&world.here, 0);

    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B10: nobody wants it any more.
#[test]
fn an_edited_rule_is_closed_with_its_session() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let edited = our_rule(&world, API);
    world.cloud.modify(world.group(API), &edited.id, "tcp/2222", &cidr(), "edited");
    stop(&world.here, &id).expect_code(0);
    assert_eq!(status(&world.here, &id), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// B10: within the settle window the reading may be older than the tags.
#[test]
fn a_stripped_rule_is_tagged_again_once_that_is_certain() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let tagged = our_rule(&world, API);
    world.cloud.strip_tags(world.group(API), &tagged.id);
    let stripped = world.cloud.snapshot();

    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), stripped);
    assert_eq!(status(&world.here, &id), "ACTIVE");

    world.advance(SETTLED);
    let told = pass(&world.here, 3);
    says(&told, &format!("warning: {} was found without its tags", tagged.id));
    assert_eq!(our_rule(&world, API), tagged);
    assert_eq!(others(&world.cloud), before);
    pass(&world.here, 0);

    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B10: ours by its id.
#[test]
fn a_stripped_rule_is_closed_with_its_session() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    world.cloud.strip_tags(world.group(API), &our_rule(&world, API).id);
    stop(&world.here, &id).expect_code(0);
    assert_eq!(status(&world.here, &id), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// A tag of somebody else on our rule is nobody's business.
#[test]
fn foreign_tags_on_our_rule_stay_and_change_nothing() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    world.cloud.create_tags(&rule.id, &[("cost-center", "42")]);
    world.advance(SETTLED);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(changes(&world), Vec::<String>::new());
    world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(0);
    let extended = our_rule(&world, API);
    assert_eq!(extended.tags["cost-center"], "42");
    assert_ne!(leases(&extended), leases(&rule));
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

fn installation(number: usize) -> String {
    format!("eg:lease:{number:032x}")
}

/// B37: others' expired lease tags make room for the 51st.
#[test]
fn expired_leases_of_others_make_room_for_ours() {
    let world = World::new();
    let before = bystanders(&world);
    let first = start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    let missing = 50 - rule.tags.len();
    for number in 0..missing {
        let day = format!("2020-01-{:02}T00:00:00Z", 1 + number % 28);
        world.cloud.create_tags(&rule.id, &[(&installation(number), &day)]);
    }
    assert_eq!(our_rule(&world, API).tags.len(), 50);

    let other = world.installation("other-machine");
    let second = start(&other, &["--only", API]);
    let joined = our_rule(&world, API);
    assert_eq!(joined.id, rule.id);
    assert_eq!(joined.tags.len(), 50);
    assert!(!joined.tags.contains_key(&installation(0)), "the oldest goes");
    assert_eq!(joined.tags[&leases(&rule)[0].0], leases(&rule)[0].1, "an unexpired lease stays");
    assert_eq!(get(&other, &second)["resourceIps"][0]["coverage"], "shared");
    assert_eq!(others(&world.cloud), before);

    stop(&world.here, &first).expect_code(0);
    stop(&other, &second).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B37: where nothing may go, ours waits; nobody's tag is taken.
#[test]
fn a_rule_full_of_other_tags_is_not_joined() {
    let world = World::new();
    let before = bystanders(&world);
    let first = start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    for number in rule.tags.len()..50 {
        world.cloud.create_tags(&rule.id, &[(&format!("team:{number}"), "x")]);
    }
    let full = our_rule(&world, API);

    let other = world.installation("other-machine");
    let told = begin(&other, &["--only", API]).expect_code(3);
    let second = id_of(&told);
    says(&told, &format!("{} has no room for another tag", rule.id));
    assert_eq!(status(&other, &second), "PENDING");
    assert_eq!(our_rule(&world, API), full);

    stop(&world.here, &first).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    world.advance(MINUTE);
    pass(&other, 0);
    assert_eq!(status(&other, &second), "ACTIVE");
    stop(&other, &second).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B38: neither value is one that `eg` writes.
#[test]
fn odd_leases_hold_nothing_and_are_reported() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    world.cloud.create_tags(&rule.id, &[(&installation(1), "soon"), (&installation(2), "2099-01-01T00:00:00Z")]);

    world.forget_calls();
    let told = pass(&world.here, 0);
    says(&told, "\"soon\", which holds nothing");
    says(&told, "\"2099-01-01T00:00:00Z\", which holds nothing");
    assert_eq!(changes(&world), Vec::<String>::new());

    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B38: a stray tag keeps no port open for ever.
#[test]
fn a_rule_that_only_odd_leases_hold_is_collected() {
    let world = World::new();
    let before = bystanders(&world);
    start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    for (key, _) in leases(&rule) {
        world.cloud.create_tags(&rule.id, &[(&key, "2099-01-01T00:00:00Z")]);
    }
    let other = world.installation("other-machine");
    let told = pass(&other, 0);
    says(&told, "- close");
    assert_eq!(world.cloud.snapshot(), before);
}
