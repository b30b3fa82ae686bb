//! `eg who`.

use crate::{
    cli::session::{Tale, error_of, start, start_id},
    harness::{Fault, Moto, REGION, World},
};
use std::fs;

#[test]
fn every_installation_is_shown() {
    let world = World::new();
    let group = world.group("prod-api-sg").to_owned();
    world.cloud.authorize(&group, "tcp/22", "198.51.100.7/32", "office", &[("owner", "bob")]);
    let mut tale = Tale::new(&world.here);
    tale.eg(&["who"]).expect_code(0);
    assert!(!world.here.state_path().exists(), "looking makes nothing");
    let id = start_id(&world.here, &["--only", "prod", "--duration", "8h"]);
    let other = world.installation("other-machine");
    start(&other, &["--only", "prod-api-sg", "--duration", "2h"]);
    // Tags that were copied, and a lease that holds nothing.
    let rules = world.cloud.rules(&group);
    let ours = rules.iter().find(|rule| rule.tags.contains_key("eg:managed-by")).unwrap();
    let copied: Vec<_> = ours.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    world.cloud.authorize(&group, "tcp/3389", "0.0.0.0/0", "", &copied);
    let database = world.cloud.rules(world.group("prod-db-sg")).remove(0);
    world.cloud.create_tags(&database.id, &[("eg:lease:0123456789abcdef0123456789abcdef", "soon")]);
    let before = world.cloud.snapshot();
    world.forget_calls();
    tale.eg(&["who"]).expect_code(0);
    assert!(!world.call_counts().contains("Tags") && !world.call_counts().contains("gress"), "read only");
    assert_eq!(world.cloud.snapshot(), before);

    let found = world.eg(&["who", "--output", "json"]).expect_code(0).json_as("who");
    let rule = &found["rules"][0];
    assert_eq!((&rule["resourceName"], &rule["sessionId"]), (&"prod-api-sg".into(), &id.as_str().into()));
    assert_eq!((&rule["holders"][0]["ours"], &rule["holders"][1]["ours"]), (&true.into(), &false.into()));
    let marks: Vec<_> = found["rules"].as_array().unwrap().iter().map(|rule| rule["marks"].as_str().unwrap()).collect();
    assert_eq!(marks, ["genuine", "misfit", "genuine"]);

    // By the provider's clock: the other one's lease is over, this one's is not.
    world.skew(7 * 3600);
    world.advance(3 * 3600);
    let found = world.eg(&["who", "--output", "json"]).expect_code(0).json_as("who");
    let states = |n: usize| found["rules"][0]["holders"][n]["state"].as_str().unwrap().to_owned();
    assert_eq!((states(0), states(1)), ("unexpired".to_owned(), "expired".to_owned()));
    tale.eg(&["who"]).expect_code(0);

    world.cloud.strip_tags(world.group("prod-db-sg"), &database.id);
    let page = world.eg(&["who"]).expect_code(0);
    assert!(page.stdout.contains("ours by its id, but its tags are not"), "{page}");
    let others = found["rules"][0]["holders"][1]["installation"].as_str().unwrap();
    tale.name(&others[..8], "INSTALL2");
    tale.end("who");
}

#[test]
fn a_group_that_cannot_be_read_is_not_empty() {
    let world = World::new();
    start(&world.here, &["--only", "dev"]);
    world.faults(&[Fault::deny("DescribeSecurityGroupRules").times(1)]);
    world.write_config(&(world.default_config() + &crate::cli::session::missing_group()));
    let all = world.eg(&["who"]).expect_code(1);
    assert!(all.stderr.contains("prod-api-sg cannot be read: not permitted: "), "{all}");
    assert_eq!(all.stdout, "");
    let some = world.eg(&["who"]).expect_code(3);
    assert!(some.stderr.contains("typo-sg cannot be read: account "), "{some}");
    assert_eq!(some.stdout.lines().count(), 4, "{some}");
    let json = world.eg(&["who", "--output", "json"]).expect_code(3);
    assert_eq!(json.json_as("who")["unavailable"][0]["resourceName"], "typo-sg");
    json.json_lines();
}

/// One group through two profiles, of which the first may not look.
#[test]
fn where_one_profile_may_not_look_another_may() {
    let world = World::bare();
    let group = world.cloud.create_group("shared");
    let key = Moto::access_key(world.account(), "WIDE");
    let profiles = format!("[profile narrow]\n[profile wide]\naws_access_key_id = {key}\naws_secret_access_key = t\n");
    fs::create_dir_all(world.here.home().join(".aws")).unwrap();
    fs::write(world.here.home().join(".aws/config"), profiles).unwrap();
    let resource =
        |profile: &str| World::resource(profile, &group, REGION, &["tcp/22"], &format!("profile = \"{profile}\"\n"));
    world.write_config(&(world.config_head() + &resource("narrow") + &resource("wide")));
    start(&world.here, &["--only", "wide"]);
    let found = world.eg(&["who", "--output", "json"]).expect_code(0).json_as("who");
    assert_eq!((&found["rules"][0]["resourceName"], &found["unavailable"]), (&"wide".into(), &serde_json::json!([])));
    world.eg(&["session", "stop"]).expect_code(0);
}

#[test]
fn nothing_configured() {
    let world = World::bare();
    let outcome = world.eg(&["who"]).expect_code(1);
    assert!(error_of(&outcome).starts_with("no configuration yet ("), "{outcome}");
    assert!(outcome.stderr.contains("then run again: eg who"), "{outcome}");
}
