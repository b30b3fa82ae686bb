//! B30, B38: the leases of others, judged by the provider's clock; and lease tags that nobody understands.

use super::*;

/// A rule for our address that another installation opened, with a lease that says this. Its id.
fn of_another(world: &Sandboxed, port: u16, lease: &str) -> String {
    let mut rule = world.rule_of_another(world.group("db"), port, world.in_seconds(0));
    let lease_tag = rule.tags.iter_mut().find(|(key, _)| key.starts_with("eg:lease:")).unwrap();
    lease.clone_into(lease_tag.1);
    world.region.authorize_by_hand(world.group("db"), &rule).unwrap()
}

fn date_offset(world: &Sandboxed, seconds: i64) {
    world.region.set(|settings| settings.date_offset = TimeDelta::seconds(seconds));
}

/// B30: one of the two clocks is an hour off. Nothing is opened, nothing of others is collected, ours is closed.
#[test]
fn an_hour_apart_nothing_is_opened_and_ours_is_closed() {
    let apart = |(hours, way): &(i64, &str)| {
        let world = Sandboxed::new();
        begin(&world, &["--only", "db"]).expect_code(0);
        let abandoned = of_another(&world, 8080, &world.in_seconds_text(-6 * HOUR));
        // Half a minute more, so that no second decides about the words.
        date_offset(&world, hours * (HOUR + 30));
        world.forget_calls();
        let refused = begin(&world, &["--only", "api"]).expect_code(1);
        says(&refused, &format!("the clock of this machine is {way} the provider's; nothing was changed"));
        let refused = world.eg(&["session", "extend", &id(&world.here), "--hours", "1"]).expect_code(1);
        says(&refused, "nothing was changed");
        assert_eq!(world.sessions_of(&world.here).len(), 1);
        says(&pass(&world.here, 0), "the clock of this machine differs from the provider's by ");
        assert_eq!(world.changes(), [""; 0]);
        stop(&world).expect_code(0);
        assert_eq!((world.changes(), ids(&world, "db")), (vec![REVOKE.to_owned()], vec![abandoned]));
        // The clocks agree again: now it is collected.
        date_offset(&world, 0);
        world.advance(HOUR + 1);
        pass(&world.here, 0);
        world.ends();
    };
    side_by_side(&[(1, "60 minutes behind"), (-1, "60 minutes ahead of")], apart);
}

/// B30: five minutes are told, and enough to leave what others opened alone.
#[test]
fn five_minutes_apart_are_told() {
    let world = Sandboxed::new();
    let abandoned = of_another(&world, 8080, &world.in_seconds_text(-6 * HOUR));
    for seconds in [5 * MINUTE + 30, -5 * MINUTE - 30] {
        date_offset(&world, seconds);
        world.forget_calls();
        let started = begin(&world, &["--only", "db"]).expect_code(0);
        let minutes = -seconds / 60;
        says(&started, &format!("the clock of this machine differs from the provider's by {minutes} minutes"));
        pass(&world.here, 0);
        stop(&world).expect_code(0);
        assert_eq!(world.changes(), [AUTHORIZE, REVOKE]);
        assert_eq!(ids(&world, "db"), [abandoned.as_str()]);
    }
    date_offset(&world, 0);
    world.advance(HOUR + 1);
    says(&pass(&world.here, 0), &format!("- close {abandoned}"));
    world.ends();
}

/// Ten minutes past by the provider's clock, and not before.
#[test]
fn a_lease_of_others_holds_ten_minutes_longer() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    let abandoned = of_another(&world, 8080, &world.in_seconds_text(-9 * MINUTE));
    pass(&world.here, 0);
    assert!(ids(&world, "db").contains(&abandoned));
    world.advance(MINUTE + 30);
    says(&pass(&world.here, 0), &format!("- close {abandoned}"));
    world.ends();
}

/// B38: what no `eg` has written holds nothing; it is reported, and the pass goes on.
#[test]
fn lease_tags_that_make_no_sense_hold_nothing() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    let values = ["soon", "2099-01-01T00:00:00Z", "9999999999-01-01T00:00:00Z"];
    let odd: Vec<String> = (8080..).zip(values).map(|(port, value)| of_another(&world, port, value)).collect();
    world.forget_calls();
    let told = pass(&world.here, 0);
    for (id, value) in odd.iter().zip(values) {
        says(&told, &format!("warning: {id}: the lease of "));
        says(&told, &format!("says \"{value}\", which holds nothing"));
    }
    assert_eq!((world.changes(), world.ours("db").len()), (vec![REVOKE.to_owned()], 1));
    assert_eq!(status(&world), "ACTIVE");
    world.ends();
}

/// B38, on the rule that we want: it is joined, and closed when we let go, whatever the odd lease says.
#[test]
fn a_rule_with_a_senseless_lease_is_joined_and_closed() {
    let world = Sandboxed::new();
    let theirs = of_another(&world, 5432, "2099-01-01T00:00:00Z");
    let started = begin(&world, &["--only", "db"]).expect_code(0);
    says(&started, "which holds nothing");
    assert_eq!(each_grant(&world.here, "providerRuleId"), [theirs]);
    assert_eq!(world.changes(), [TAG]);
    stop(&world).expect_code(0);
    assert_eq!(ids(&world, "db"), [""; 0]);
    world.ends();
}

/// B38: somebody makes our own lease say nonsense. It is written again.
#[test]
fn our_own_lease_that_makes_no_sense_is_rewritten() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    let rule = world.ours("db")[0].clone();
    let key = rule.tags.keys().find(|key| key.starts_with("eg:lease:")).unwrap().clone();
    world.advance(SETTLED);
    world.region.tag_by_hand(&rule.id, &[(key, "for ever".to_owned())].into()).unwrap();
    world.forget_calls();
    says(&pass(&world.here, 0), "says \"for ever\", which holds nothing");
    assert_eq!((world.changes(), world.ours("db")[0].tags.clone()), (vec![TAG.to_owned()], rule.tags));
    world.ends();
}
