//! `--port`: less than what is configured, and never more.

use crate::{
    cli::session::{Tale, get, start},
    harness::World,
};

fn opened(world: &World, group: &str) -> Vec<String> {
    let rules = world.cloud.rules(world.group(group)).into_iter();
    let mut ports: Vec<_> = rules.map(|rule| format!("{}/{}-{}", rule.protocol, rule.ports.0, rule.ports.1)).collect();
    ports.sort();
    ports
}

#[test]
fn a_session_opens_the_ports_that_were_asked_for_and_keeps_to_them() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let session = start(&world.here, &["--only", "dev", "--port", "tcp/443", "--port", "tcp/8003-8004"]);
    assert_eq!(opened(&world, "dev-web-sg"), ["tcp/443-443", "tcp/8003-8004"]);
    let id = session["id"].as_str().unwrap();
    // A later pass knows the session's ports, not the configuration's.
    world.write_config(&world.default_config().replace("\"tcp/443\"", "\"tcp/444\""));
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(opened(&world, "dev-web-sg"), ["tcp/443-443", "tcp/8003-8004"]);
    assert_eq!(get(&world.here, id)["resourceIps"][0]["ports"], serde_json::json!(["tcp/443", "tcp/8003-8004"]));
    world.eg(&["session", "stop", id]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn nothing_wider_than_the_configuration_is_opened() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    for port in ["tcp/8000-8081", "tcp/80", "udp/443", "all", "icmp", "80", ""] {
        tale.eg(&["session", "start", "--only", "dev", "--port", "tcp/443", "--port", port]).expect_code(2);
    }
    // Every selected resource has to have it.
    tale.eg(&["session", "start", "--only", "prod", "--port", "tcp/5432"]).expect_code(2);
    tale.end("ports_not_offered");
    assert!(!world.here.state_path().exists(), "nothing was recorded");
    assert_eq!((world.call_counts().as_str(), world.cloud.snapshot()), ("", before));
}
