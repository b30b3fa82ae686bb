//! `ipv4_prefix_len` and `ipv6_prefix_len`: off by default, and never silent.

use crate::{
    cli::session::{get, start},
    harness::{IPV4, World},
};

fn with_prefixes(world: &World, lines: &str) {
    world.write_config(&world.default_config().replace("[detect]", &format!("[session]\n{lines}\n[detect]")));
}

fn cidrs(world: &World) -> Vec<String> {
    world.cloud.rules(world.group("prod-db-sg")).into_iter().map(|rule| rule.cidr).collect()
}

#[test]
fn one_host_unless_somebody_asks_for_more() {
    let world = World::new();
    let outcome = world.eg(&["session", "start", "--only", "prod-db-sg"]).expect_code(0);
    assert!(outcome.stdout.contains(&format!("  IPv4:      {IPV4}\n")), "{outcome}");
    assert_eq!(cidrs(&world), [format!("{IPV4}/32")]);
}

#[test]
fn a_wider_opening_is_named_masked_and_kept_with_the_session() {
    let world = World::new();
    let before = world.cloud.snapshot();
    with_prefixes(&world, "ipv4_prefix_len = 24\nipv6_prefix_len = 64\n");
    let outcome = world.eg(&["session", "start", "--only", "prod-db-sg"]).expect_code(0);
    let shown = format!("  IPv4:      {IPV4} (opens 203.0.113.0/24)\n");
    assert!(outcome.stdout.contains(&shown), "{outcome}");
    assert_eq!(cidrs(&world), ["203.0.113.0/24"]);
    let id = world.eg(&["session", "list", "--output", "json"]).json_as("sessions")[0]["id"].clone();
    let id = id.as_str().unwrap();
    // What the configuration says later changes nothing for a session that is open.
    world.write_config(&world.default_config());
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(cidrs(&world), ["203.0.113.0/24"]);
    assert!(world.eg(&["session", "get", id]).expect_code(0).stdout.contains(&shown));
    // An address within it is no change.
    world.echo4.iter().for_each(|echo| echo.say("203.0.113.77"));
    assert!(!world.eg(&["status"]).expect_code(0).stdout.contains("your address is 203.0.113.77 now"));
    let outcome = world.eg(&["session", "start", "--only", "dev", "--no-wait"]).expect_code(0);
    assert!(!outcome.stderr.contains("your address has changed"), "{outcome}");
    let session = get(&world.here, id);
    assert_eq!(session["ipv4Address"], IPV4);
    assert_eq!(session["resourceIps"][0]["ipAddress"], IPV4);
    assert_eq!(session["resourceIps"][0]["cidr"], "203.0.113.0/24");
    world.eg(&["session", "stop", id]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn explicit_addresses_are_masked_the_same() {
    let world = World::new();
    with_prefixes(&world, "ipv4_prefix_len = 28\nipv6_prefix_len = 64\n");
    let session = start(&world.here, &["--only", "prod-db-sg", "--ipv4", "198.51.100.9", "--ipv6", "2001:db8:1:2::9"]);
    assert_eq!(session["ipv6Address"], "2001:db8:1:2::9");
    let mut opened = cidrs(&world);
    opened.sort();
    assert_eq!(opened, ["198.51.100.0/28", "2001:db8:1:2::/64"]);
}

#[test]
fn a_length_out_of_range_is_a_mistake_in_the_configuration() {
    let world = World::new();
    with_prefixes(&world, "ipv4_prefix_len = 8\n");
    let outcome = world.eg(&["session", "start"]).expect_code(1);
    assert!(outcome.stderr.contains("ipv4_prefix_len is 8 (accepted: 24 to 32, for one host)"), "{outcome}");
    assert!(!world.here.state_path().exists(), "nothing was recorded");
}
