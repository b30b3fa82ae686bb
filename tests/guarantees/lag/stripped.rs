//! B10: tags that are not shown, and tags that are not there.

use super::*;
use StaleSight::TagsMissing;
use std::collections::BTreeMap;

/// A rule of ours whose tags do not show yet is ours by its id.
#[test]
fn tags_that_do_not_show_yet_are_not_fought_over() {
    let world = Sandboxed::new();
    lag(&world, &[TagsMissing]);
    begin(&world, &["--only", "db"]).expect_code(0);
    world.forget_calls();
    for _ in 0..2 {
        pass(&world.here, 0);
    }
    assert_eq!(world.changes(), [""; 0]);
    assert_eq!(each_grant(&world.here, "coverage"), ["own"]);
    // Rewritten by its id all the same.
    world.eg(&["session", "extend", &id(&world.here), "--hours", "1"]).expect_code(0);
    assert_eq!(leases(&world.ours("db")[0]), [newest(&world.here)["expiresAt"].as_str().unwrap()]);
    pass(&world.here, 0);
    assert_eq!(world.changes(), [TAG]);
    world.ends();
}

/// The answer was lost, and the rule shows without its tags: for now it looks like somebody else's. That is not
/// what it stays.
#[test]
fn a_rule_that_looked_foreign_is_ours_when_its_tags_show() {
    let world = Sandboxed::new();
    lag(&world, &[TagsMissing]);
    world.faults([on(AUTHORIZE, Fault::ResetAfter).times(1)]);
    begin(&world, &["--only", "db"]).expect_code(0);
    assert_eq!(each_grant(&world.here, "coverage"), ["foreign"]);
    world.advance(LAG + 1);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(each_grant(&world.here, "coverage"), ["own"]);
    assert_eq!(each_grant(&world.here, "providerRuleId"), ids(&world, "db"));
    assert_eq!(world.changes(), [""; 0]);
    says(&stop(&world).expect_code(3), NOT_CONFIRMED);
    assert_eq!(ids(&world, "db"), [""; 0], "closed; the lost call could still land again");
    world.ends();
}

/// The same, stopped while it looks foreign: the lease stays open, and the rule is closed when it shows.
#[test]
fn a_rule_that_looked_foreign_is_not_left_behind() {
    let world = Sandboxed::new();
    lag(&world, &[TagsMissing]);
    world.faults([on(AUTHORIZE, Fault::ResetAfter).times(1)]);
    begin(&world, &["--only", "db"]).expect_code(0);
    says(&stop(&world).expect_code(3), NOT_CONFIRMED);
    assert_eq!((status(&world).as_str(), world.ours("db").len()), ("EXPIRING", 1));
    world.advance(LAG + 1);
    says(&pass(&world.here, 3), "- close sgr-");
    assert_eq!(ids(&world, "db"), [""; 0]);
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(status(&world), "CANCELLED");
    world.ends();
}

/// A rewritten tag that does not show yet is not written again.
#[test]
fn a_tag_that_still_shows_the_old_time_is_not_fought_over() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    world.advance(SETTLED);
    lag(&world, &[TagsMissing]);
    world.forget_calls();
    world.eg(&["session", "extend", &id(&world.here), "--hours", "1"]).expect_code(0);
    for _ in 0..2 {
        pass(&world.here, 0);
    }
    assert_eq!(world.outcomes(TAG), ["OK"]);
    assert_eq!(leases(&world.ours("db")[0]), [newest(&world.here)["expiresAt"].as_str().unwrap()]);
    world.ends();
}

fn strip(world: &Sandboxed) -> SecurityGroupRule {
    let rule = world.ours("db")[0].clone();
    world.region.untag_by_hand(&rule.id, &BTreeMap::new()).unwrap();
    assert_eq!(world.ours("db")[0].tags, BTreeMap::new());
    rule
}

/// Somebody really takes the tags away. Within the settle window that looks like lag; after it they are written
/// again, and it is said.
#[test]
fn stripped_tags_are_written_again_once_a_reading_is_believed() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    let rule = strip(&world);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(world.changes(), [""; 0], "it may be lag");
    world.advance(SETTLED);
    let mended = pass(&world.here, 3);
    says(&mended, &format!("{} was found without its tags; they are written again", rule.id));
    assert_eq!(world.changes(), [TAG]);
    assert_eq!(world.ours("db")[0].tags, rule.tags);
    pass(&world.here, 0);
    assert_eq!(world.changes(), [TAG], "once");
    world.ends();
}

/// Written again, and the reading lags: once is enough.
#[test]
fn tags_that_were_written_again_and_do_not_show_are_not_fought_over() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    world.advance(SETTLED);
    let rule = strip(&world);
    lag(&world, &[TagsMissing]);
    world.advance(LAG + 1);
    world.forget_calls();
    pass(&world.here, 3);
    for _ in 0..2 {
        pass(&world.here, 0);
    }
    assert_eq!(world.changes(), [TAG]);
    assert_eq!(world.ours("db")[0].tags, rule.tags);
    world.ends();
}

/// Stripped and stopped: it is ours by its id.
#[test]
fn a_stripped_rule_is_closed_by_its_id() {
    let world = Sandboxed::new();
    begin(&world, &["--only", "db"]).expect_code(0);
    world.advance(SETTLED);
    strip(&world);
    world.forget_calls();
    says(&stop(&world).expect_code(0), "✓ Session stopped");
    assert_eq!(world.changes(), [REVOKE]);
    world.ends();
}
