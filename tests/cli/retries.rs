//! What failed says why, and when it is tried again: `list`, `get` and JSON.

use crate::{
    cli::session::{get, start_id},
    harness::{Fault, World},
};

#[test]
fn a_refusal_names_its_next_try() {
    let world = World::new();
    let id = start_id(&world.here, &["--only", "prod-api-sg"]);
    world.faults(&[Fault::deny("RevokeSecurityGroupIngress")]);
    world.eg(&["session", "stop", &id]).expect_code(3);
    // However slow this is, the next try is still to come.
    world.advance(-40);

    let grant = &get(&world.here, &id)["resourceIps"][0];
    assert_eq!(grant["status"], "REMOVING");
    assert!(grant["errorMessage"].is_null(), "it speaks of opening");
    assert!(grant["lastFailure"].as_str().unwrap().starts_with("tcp/22: not permitted: close sgr-"), "{grant:#}");
    let next = grant["nextTryAt"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let page = world.eg(&["session", "get", &id]).expect_code(0);
    let under = page.stdout.lines().last().unwrap().to_owned();
    assert_eq!(under, format!("  next try {}", next.format("%H:%M")), "{page}");
    let list = world.eg(&["session", "list"]).expect_code(0);
    assert_eq!(list.stdout.lines().count(), 2, "the table is as ever: {list}");
    assert!(list.stderr.contains("prod-api-sg IPv4 is REMOVING: tcp/22: not permitted: close "), "{list}");
    assert!(list.stderr.ends_with(&format!("; next try {}\n", next.format("%H:%M"))), "{list}");

    world.advance(5 * 60);
    let page = world.eg(&["session", "get", &id]).expect_code(0);
    assert!(page.stdout.ends_with("  the next reconcile tries again\n"), "{page}");
    world.faults(&[]);
    world.eg(&["reconcile"]).expect_code(0);
    let grant = &get(&world.here, &id)["resourceIps"][0];
    assert!(grant["lastFailure"].is_null() && grant["nextTryAt"].is_null(), "{grant:#}");
    assert_eq!(world.eg(&["session", "list"]).expect_code(0).stderr, "");
}
