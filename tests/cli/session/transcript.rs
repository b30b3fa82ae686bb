//! The five session commands in a row, as the README shows them.

use super::{Tale, get, start, start_id};
use crate::harness::{IPV4, IPV6, World};

/// Ports and sources of every rule of a group, sorted.
fn open(world: &World, group: &str) -> Vec<String> {
    let rules = world.cloud.rules(world.group(group));
    let mut list: Vec<_> =
        rules.iter().map(|r| format!("{}/{}-{} {}", r.protocol, r.ports.0, r.ports.1, r.cidr)).collect();
    list.sort();
    list
}

#[test]
fn start_list_get_extend_stop() {
    let world = World::new();
    world.cloud.authorize(world.group("prod-api-sg"), "tcp/22", "198.51.100.7/32", "office", &[("owner", "bob")]);
    world.cloud.authorize(world.group("dev-web-sg"), "tcp/443", "0.0.0.0/0", "", &[]);
    let before = world.cloud.snapshot();

    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start", "--reason", "deploy 4.2"]).expect_code(0);
    assert_eq!(open(&world, "prod-api-sg"), ["tcp/22-22 198.51.100.7/32", "tcp/22-22 203.0.113.42/32"]);
    let mut dev = vec!["tcp/443-443 0.0.0.0/0".to_owned()];
    dev.extend(["tcp/22-22", "tcp/443-443", "tcp/8000-8080"].map(|ports| format!("{ports} {IPV4}/32")));
    dev.sort();
    assert_eq!(open(&world, "dev-web-sg"), dev);

    tale.eg(&["session", "list"]).expect_code(0);
    let list = world.eg(&["session", "list", "--output", "json"]).json_as("sessions");
    let id = list[0]["id"].as_str().unwrap().to_owned();
    tale.eg(&["session", "get", &id[..4]]).expect_code(0);
    tale.eg(&["session", "extend", &id[..6], "--hours", "2"]).expect_code(0);
    let until = get(&world.here, &id)["expiresAt"].as_str().unwrap().to_owned();
    for rule in world.cloud.rules(world.group("prod-db-sg")) {
        let lease = rule.tags.iter().find(|(key, _)| key.starts_with("eg:lease:")).expect("a lease tag");
        assert_eq!(*lease.1, until, "the tag says when the extended session ends");
        assert_eq!(rule.tags["eg:managed-by"], "eg");
        assert_eq!(rule.tags["eg:session"], id);
        assert!(rule.description.ends_with(&format!(" session {}: deploy 4.2", &id[..8])), "{}", rule.description);
        let person = rule.description.strip_prefix("eg ").and_then(|rest| rest.split(' ').next()).unwrap();
        assert!(person.contains('@'), "{}", rule.description);
    }
    tale.eg(&["session", "stop", &id]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before, "as it was, byte for byte");
    tale.eg(&["session", "get", &id]).expect_code(0);
    tale.eg(&["session", "list"]).expect_code(0);
    tale.end("transcript");
}

#[test]
fn the_same_in_json() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let outcome =
        world.eg(&["session", "start", "--output", "json", "--duration", "2h", "--reason", "why"]).expect_code(0);
    outcome.json_lines();
    let session = outcome.json_as("session");
    let id = session["id"].as_str().unwrap();
    assert_eq!(session["status"], "ACTIVE", "as it is at the end");
    assert_eq!(session["userName"], "Alice Smith");
    assert_eq!(session["userEmail"], "alice@example.com");
    assert_eq!(session["ipv4Address"], IPV4);
    assert_eq!(session["reason"], "why");
    assert_eq!(session["startedAt"], session["createdAt"]);
    assert!(session["ipv6Address"].is_null() && session["endedAt"].is_null() && session["endedReason"].is_null());
    assert_eq!(session["overdueSeconds"], 0);
    assert!(session["callerArns"][0].as_str().unwrap().contains(world.account()));
    let grants = session["resourceIps"].as_array().unwrap();
    assert_eq!(grants.len(), 3);
    for grant in grants {
        assert_eq!((&grant["status"], &grant["coverage"]), (&"APPLIED".into(), &"own".into()));
        assert_eq!(grant["ipVersion"], 4);
        assert_eq!(grant["ipAddress"], IPV4);
        let rules = world.cloud.rules(grant["resourceId"].as_str().unwrap());
        let mut ids: Vec<_> = rules.iter().map(|rule| rule.id.clone()).collect();
        ids.sort();
        assert_eq!(grant["providerRuleIds"], serde_json::json!(ids));
    }

    let extended = world.eg(&["session", "extend", id, "--hours", "1", "--output", "json"]).expect_code(0);
    extended.json_lines();
    assert_ne!(extended.json_as("session")["expiresAt"], session["expiresAt"]);
    assert_eq!(get(&world.here, id), extended.json());
    let list = world.eg(&["session", "list", "--output", "json"]).expect_code(0).json_as("sessions");
    assert_eq!(list[0], extended.json());

    let dry = world.eg(&["reconcile", "--dry-run", "--output", "json"]).expect_code(0).json_as("reconcile");
    assert_eq!((&dry["converged"], &dry["steps"]), (&true.into(), &serde_json::json!([])));
    world.cloud.revoke(world.group("prod-db-sg"), &world.cloud.rules(world.group("prod-db-sg"))[0].id.clone());
    let dry = world.eg(&["reconcile", "--dry-run", "--output", "json"]).expect_code(3).json_as("reconcile");
    assert_eq!(dry["steps"][0]["resourceName"], "prod-db-sg");
    let pass = world.eg(&["reconcile", "--output", "json"]).expect_code(0);
    pass.json_lines();
    assert_eq!(pass.json_as("reconcile")["steps"][0]["outcome"], "done");

    let stopped = world.eg(&["session", "stop", "--output", "json"]).expect_code(0);
    stopped.json_lines();
    let stopped = stopped.json_as("session");
    assert_eq!((&stopped["status"], &stopped["endedReason"]), (&"CANCELLED".into(), &"MANUAL".into()));
    assert_eq!(stopped["expiresAt"], extended.json()["expiresAt"], "unchanged by stop");
    for grant in stopped["resourceIps"].as_array().unwrap() {
        assert_eq!(grant["status"], "REMOVED");
        assert!(grant["appliedAt"].is_string() && grant["removedAt"].is_string(), "{grant}");
        assert!(grant["providerRuleId"].is_string(), "the rule id stays: {grant}");
    }
    assert_eq!(world.cloud.snapshot(), before);

    start(&world.here, &[]);
    start(&world.here, &["--no-wait"]);
    let all = world.eg(&["session", "stop", "--all", "--output", "json"]).expect_code(0).json_as("sessions");
    let starts: Vec<_> = all.as_array().unwrap().iter().map(|s| s["startedAt"].as_str().unwrap().to_owned()).collect();
    assert!(starts.len() == 2 && starts[0] >= starts[1], "newest first: {starts:?}");
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn ipv4_and_ipv6_together() {
    let Some(world) = World::new().with_ipv6() else { return };
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start", "--only", "dev-web-sg"]).expect_code(0);
    let mut wanted: Vec<_> = ["tcp/22-22", "tcp/443-443", "tcp/8000-8080"]
        .iter()
        .flat_map(|ports| [format!("{ports} {IPV4}/32"), format!("{ports} {IPV6}/128")])
        .collect();
    wanted.sort();
    assert_eq!(open(&world, "dev-web-sg"), wanted);
    tale.eg(&["session", "list"]).expect_code(0);
    let list = world.eg(&["session", "list", "--output", "json"]).json_as("sessions");
    assert_eq!((&list[0]["ipv4Address"], &list[0]["ipv6Address"]), (&IPV4.into(), &IPV6.into()));
    tale.eg(&["session", "get", &list[0]["id"].as_str().unwrap()[..8]]).expect_code(0);
    tale.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    tale.end("both_families");
}

#[test]
fn one_family_of_two() {
    let Some(world) = World::new().with_ipv6() else { return };
    for (flag, mine, rest) in [("-4", "ipv4Address", "ipv6Address"), ("-6", "ipv6Address", "ipv4Address")] {
        let session = start(&world.here, &[flag]);
        assert!(session[mine].is_string() && session[rest].is_null(), "{session:#}");
        world.eg(&["session", "stop"]).expect_code(0);
    }
}

#[test]
fn every_kind_of_port() {
    let Some(world) = World::new().with_ipv6() else { return };
    let group = world.group("dev-web-sg").to_owned();
    let ports = ["tcp/22", "tcp/8000-8080", "udp/51820", "icmp"];
    let config = world.config_head() + &World::resource("web", &group, "eu-west-1", &ports, "");
    world.write_config(&config);
    let before = world.cloud.snapshot();
    let session = start(&world.here, &[]);
    assert_eq!(session["status"], "ACTIVE");
    let mut wanted: Vec<_> = ["tcp/22-22", "tcp/8000-8080", "udp/51820-51820"]
        .iter()
        .flat_map(|ports| [format!("{ports} {IPV4}/32"), format!("{ports} {IPV6}/128")])
        .collect();
    wanted.extend([format!("icmp/-1--1 {IPV4}/32"), format!("icmpv6/-1--1 {IPV6}/128")]);
    wanted.sort();
    assert_eq!(open(&world, "dev-web-sg"), wanted);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);

    world.write_config(&(world.config_head() + &World::resource("web", &group, "eu-west-1", &["all"], "")));
    start_id(&world.here, &["-4"]);
    assert_eq!(open(&world, "dev-web-sg"), [format!("-1/-1--1 {IPV4}/32")]);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn a_resource_of_one_family_gets_one() {
    let Some(world) = World::new().with_ipv6() else { return };
    let one = |name: &str, family: &str| {
        World::resource(name, world.group(name), "eu-west-1", &["tcp/22"], &format!("families = [\"{family}\"]\n"))
    };
    world.write_config(&(world.config_head() + &one("prod-api-sg", "ipv4") + &one("prod-db-sg", "ipv6")));
    start(&world.here, &[]);
    assert_eq!(open(&world, "prod-api-sg"), [format!("tcp/22-22 {IPV4}/32")]);
    assert_eq!(open(&world, "prod-db-sg"), [format!("tcp/22-22 {IPV6}/128")]);

    let refused = world.eg(&["session", "start", "--ipv6", "2001:db8::7", "--only", "prod-api-sg"]).expect_code(2);
    assert_eq!(super::error_of(&refused), "no selected resource takes the family of 2001:db8::7");
}
