//! B32: a call for many is refused for one. The others go through.

use super::*;

const TEN: &[&str] = &["tcp/1-2", "tcp/3", "tcp/4", "tcp/5", "tcp/6", "tcp/7", "tcp/8", "udp/9", "icmp", "tcp/11"];

/// Ten rules, one of them deleted by hand, and a reading that still shows it.
fn ten_and_a_ghost() -> (Sandboxed, Vec<String>) {
    let world = Sandboxed::with(&[("api", TEN), ("db", &["tcp/5432"])]);
    begin(&world, &["--only", "api"]).expect_code(0);
    let mut ids = ids(&world, "api");
    assert_eq!(ids.len(), 10);
    lag(&world, &[StaleSight::RevokedPresent]);
    let gone = ids.remove(4);
    world.region.revoke_by_hand(world.group("api"), &gone).unwrap();
    world.forget_calls();
    (world, ids)
}

/// How often calls with this action ended like this.
fn count(world: &Sandboxed, action: &str, outcome: &str) -> usize {
    world.outcomes(action).iter().filter(|it| *it == outcome).count()
}

#[test]
fn one_unknown_id_among_ten_revokes() {
    let (world, _) = ten_and_a_ghost();
    let stopped = stop(&world).expect_code(3);
    says(&stopped, NOT_CONFIRMED);
    assert_eq!(ids(&world, "api"), [""; 0]);
    assert_eq!(world.outcomes(REVOKE)[0], NOT_FOUND, "all ten");
    assert_eq!(count(&world, REVOKE, "OK"), 9);
    assert_eq!(status(&world), "EXPIRING");
    world.advance(SETTLED);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!((status(&world).as_str(), world.changes()), ("CANCELLED", vec![]));
    world.ends();
}

#[test]
fn one_unknown_id_among_ten_tag_writes() {
    let (world, others) = ten_and_a_ghost();
    world.eg(&["session", "extend", &id(&world.here), "--hours", "1"]).expect_code(3);
    let session = newest(&world.here);
    let until = session["expiresAt"].as_str().unwrap();
    assert_eq!(ids(&world, "api"), others);
    assert!(world.ours("api").iter().all(|rule| leases(rule) == [until]), "{:#?}", world.ours("api"));
    assert_eq!(world.outcomes(TAG)[0], NOT_FOUND, "all ten");
    assert_eq!(count(&world, TAG, "OK"), 9);
    // When the reading has caught up, the tenth is opened again.
    world.advance(LAG + 1);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!((world.changes(), world.ours("api").len()), (vec![AUTHORIZE.to_owned()], 10));
    assert_eq!(status(&world), "ACTIVE");
    world.ends();
}

/// One group in the batch is not there, and the endpoint refuses the whole reading for it.
#[test]
fn one_unknown_group_does_not_hide_the_others() {
    let world = Sandboxed::with(&[("api", &["tcp/22"]), ("db", &["tcp/5432"]), ("web", &["tcp/443"])]);
    world.region.delete_group(world.group("db"));
    world.group_is_gone("db");
    world.region.set(|settings| settings.unknown_group_refuses_rules = true);
    let started = begin(&world, &[]).expect_code(3);
    says(&started, "PARTIAL");
    assert_eq!(grants(&world), ["APPLIED", "FAILED", "APPLIED"]);
    says(&started, "check the resource's id, region and profile in the configuration");
    world.forget_calls();
    pass(&world.here, 3);
    assert_eq!(world.changes(), [""; 0]);
    // Nothing was ever sent to it, so there is nothing to wait for.
    says(&stop(&world).expect_code(0), "✓ Session stopped");
    world.ends();
}

/// The same with a group that was open: its rule is not taken for closed, and the others close at once.
#[test]
fn one_unknown_group_does_not_keep_the_others_open() {
    let world = Sandboxed::with(&[("api", &["tcp/22"]), ("db", &["tcp/5432"]), ("web", &["tcp/443"])]);
    begin(&world, &[]).expect_code(0);
    world.region.delete_group(world.group("db"));
    world.group_is_gone("db");
    world.region.set(|settings| settings.unknown_group_refuses_rules = true);
    stop(&world).expect_code(3);
    assert_eq!(grants(&world), ["REMOVED", "REMOVING", "REMOVED"]);
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(status(&world), "CANCELLED");
    world.ends();
}
