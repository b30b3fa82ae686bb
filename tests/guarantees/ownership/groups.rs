//! Groups that are gone, full, of another account, or in another region.

use super::*;

fn group_with_session(world: &World) -> (String, String) {
    let id = start(&world.here, &["--only", API]);
    let group = world.group(API).to_owned();
    world.cloud.delete_group(&group);
    (id, world.cloud.snapshot())
}

/// B16: two readings, the settle window apart.
#[test]
fn a_group_deleted_while_closing_ends_the_session() {
    let world = World::new();
    let (id, before) = group_with_session(&world);
    let stopped = stop(&world.here, &id).expect_code(3);
    says(&stopped, "Stop recorded");
    world.advance(2 * MINUTE);
    pass(&world.here, 3);
    assert_eq!(status(&world.here, &id), "EXPIRING", "not believed yet");
    world.advance(SETTLED);
    let told = pass(&world.here, 0);
    says_not(&told, "error");
    assert_eq!(status(&world.here, &id), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(world.call_counts(), "");
}

/// B16.
#[test]
fn a_group_deleted_while_live_fails_its_grant() {
    let world = World::new();
    let (id, before) = group_with_session(&world);
    pass(&world.here, 3);
    assert_eq!(status(&world.here, &id), "ACTIVE", "one reading says nothing");
    world.advance(SETTLED);
    let told = pass(&world.here, 1);
    says(&told, "no longer exists");
    let session = get(&world.here, &id);
    assert_eq!(session["status"], "FAILED");
    assert!(session["resourceIps"][0]["errorMessage"].as_str().unwrap().contains("no longer exists"), "{session:#}");
    stop(&world.here, &id).expect_code(0);
    assert_eq!(status(&world.here, &id), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// B16: the other groups of the session go on.
#[test]
fn a_deleted_group_takes_no_other_along() {
    let world = World::new();
    let id = start(&world.here, &[]);
    world.cloud.delete_group(world.group(API));
    let before = world.cloud.snapshot();
    pass(&world.here, 3);
    world.advance(SETTLED);
    pass(&world.here, 3);
    assert_eq!(status(&world.here, &id), "PARTIAL");
    assert_eq!(world.cloud.snapshot(), before);
    stop(&world.here, &id).expect_code(0);
    assert!(ours(&world.cloud, world.group("prod-db-sg")).is_empty());
    assert!(ours(&world.cloud, world.group("dev-web-sg")).is_empty());
}

/// The group's id has a typo.
#[test]
fn a_group_that_never_was_opens_nothing() {
    let world = World::new();
    let before = bystanders(&world);
    let config = world.config_head() + &World::resource("typo", "sg-0123456789abcdef0", REGION, &["tcp/22"], "");
    world.write_config(&config);
    let refused = world.eg(&["session", "start"]).expect_code(1);
    says(&refused, "sg-0123456789abcdef0");
    // Recorded without a look at the group, it opens nothing either, and its stop has nothing to wait for.
    let id = id_of(&begin(&world.here, &["--no-wait"]).expect_code(0));
    pass(&world.here, 1);
    stop(&world.here, &id).expect_code(0);
    assert_eq!(status(&world.here, &id), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// B17: the credentials of another account say that the group is not there.
#[test]
fn another_accounts_absence_is_not_believed() {
    let (world, stranger) = (World::new(), World::bare());
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let open = world.cloud.snapshot();
    let wrong = |args: &[&str]| {
        world.here.command(args).env("AWS_ACCESS_KEY_ID", Moto::access_key(stranger.account(), "ENV")).run()
    };
    let advance = |seconds| {
        world.advance(seconds);
        stranger.advance(seconds);
    };
    for _ in 0..3 {
        let told = wrong(&["reconcile"]).expect_code(3);
        says_not(&told, "no longer exists");
        advance(SETTLED);
    }
    assert_eq!(status(&world.here, &id), "ACTIVE");
    let told = wrong(&["session", "stop", &id]).expect_code(3);
    says(&told, "Stop recorded");
    says(&told, &format!("account {}", stranger.account()));
    advance(SETTLED);
    wrong(&["reconcile"]).expect_code(3);
    advance(SETTLED);
    wrong(&["reconcile"]).expect_code(3);
    assert_eq!(status(&world.here, &id), "EXPIRING");
    assert_eq!(world.cloud.snapshot(), open);

    pass(&world.here, 0);
    assert_eq!(status(&world.here, &id), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
}

fn fill(world: &World, leave: usize) -> Vec<String> {
    let group = world.group(API);
    let free = 60 - world.cloud.rules(group).len();
    (leave..free).map(|n| world.cloud.authorize(group, "tcp/5432", &format!("198.51.100.{n}/32"), "", &[])).collect()
}

/// B14.
#[test]
fn a_full_group_fails_with_a_hint() {
    let world = World::new();
    bystanders(&world);
    let filled = fill(&world, 0);
    let before = world.cloud.snapshot();
    let refused = world.eg(&["session", "start", "--only", API]).expect_code(1);
    says(&refused, "has 60 of 60 IPv4 rules");
    // Past that check, the provider tells.
    world.eg(&["session", "start", "--only", API, "--no-wait"]).expect_code(0);
    let told = pass(&world.here, 1);
    says(&told, "RulesPerSecurityGroupLimitExceeded");
    says(&told, "the group has 60 or more IPv4 ingress rules, 0 of them eg's");
    says(&told, "ask the provider for a higher quota");
    assert_eq!(world.cloud.snapshot(), before);

    // Somebody makes room: the session is alive still.
    world.cloud.revoke(world.group(API), &filled[0]);
    let before = world.cloud.snapshot();
    world.advance(15 * MINUTE);
    pass(&world.here, 0);
    our_rule(&world, API);
    assert_eq!(others(&world.cloud), before);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B14: what is due to close makes room for what is due to open.
#[test]
fn on_a_full_group_closing_goes_first() {
    let world = World::new();
    bystanders(&world);
    let old = start(&world.here, &["--only", API, "--duration", "1h"]);
    fill(&world, 0);
    let before = others(&world.cloud);
    world.advance(30 * MINUTE);
    let new = id_of(&begin(&world.here, &["--only", API, "--ipv4", "198.51.100.200", "--no-wait"]).expect_code(0));
    world.advance(31 * MINUTE);

    pass(&world.here, 0);
    assert_eq!(status(&world.here, &old), "EXPIRED");
    assert_eq!(status(&world.here, &new), "ACTIVE");
    assert_eq!(our_rule(&world, API).cidr, "198.51.100.200/32");
    assert_eq!(others(&world.cloud), before);
    stop(&world.here, &new).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn two_regions_at_once() {
    let mut world = World::new();
    let before = bystanders(&world);
    let far = world.cloud.in_region("us-east-1");
    let group = far.create_group("far-sg");
    far.authorize(&group, "tcp/22", "198.51.100.7/32", "office", &[]);
    let far_before = far.snapshot();
    let api = world.make_group("near-sg");
    let before = before + &format!("near-sg {api}\n");
    let config = world.config_head()
        + &World::resource("near", &api, REGION, &["tcp/22"], "")
        + &World::resource("far", &group, "us-east-1", &["tcp/22"], "");
    world.write_config(&config);

    let id = start(&world.here, &[]);
    assert_eq!(ours(&world.cloud, &api).len(), 1);
    assert_eq!(ours(&far, &group).len(), 1);
    assert_eq!(others(&far), far_before);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(world.call_counts(), "2×DescribeSecurityGroupRules", "one series a region");
    far.revoke(&group, &ours(&far, &group)[0].id);
    pass(&world.here, 0);
    assert_eq!(ours(&far, &group).len(), 1);

    stop(&world.here, &id).expect_code(0);
    assert_eq!(far.snapshot(), far_before);
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&world.cloud.snapshot()), sorted(&before));
}

/// B16: one short outage of a group's visibility is no deletion; the first absence is forgotten when it shows again.
#[test]
fn an_absence_is_forgotten_when_the_group_shows_again() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let open = world.cloud.snapshot();
    // A reading that is cut off is no reading.
    world.faults(&[Fault::refuse("DescribeSecurityGroupRules", 503, "ServiceUnavailable", "later")]);
    pass(&world.here, 3);
    world.advance(SETTLED);
    pass(&world.here, 3);
    assert_eq!(status(&world.here, &id), "ACTIVE");
    assert_eq!(world.cloud.snapshot(), open);
    world.faults(&[]);
    pass(&world.here, 0);
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B15, B11: while the group cannot be read, a stop is recorded and carried out later.
#[test]
fn a_stop_while_the_group_cannot_be_read_is_carried_out_later() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let open = world.cloud.snapshot();
    world.faults(&[Fault::deny("DescribeSecurityGroupRules")]);
    let stopped = stop(&world.here, &id).expect_code(3);
    says(&stopped, "Stop recorded");
    world.advance(SETTLED);
    pass(&world.here, 3);
    assert_eq!(world.cloud.snapshot(), open);
    world.faults(&[]);
    pass(&world.here, 0);
    assert_eq!(status(&world.here, &id), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
}
