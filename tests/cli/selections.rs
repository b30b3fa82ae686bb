//! Groups that are named by name or tags.

use super::resource::by_name;
use crate::{
    cli::session::{error_of, get, start},
    harness::{Fault, World},
};
use serde_json::Value;

/// Three groups of which two are for production, and a configuration that says so.
fn tagged() -> World {
    let mut world = World::bare();
    for (name, env) in [("prod-api", "prod"), ("prod-db", "prod"), ("dev-api", "dev")] {
        let group = world.make_group(name);
        world.cloud.create_tags(&group, &[("env", env), ("team", "web")]);
    }
    world
}

fn configure(world: &World, line: &str) {
    world.write_config(&(world.config_head() + &by_name("prod", line)));
}

fn names(session: &Value) -> Vec<&str> {
    session["resourceIps"].as_array().unwrap().iter().map(|one| one["resourceName"].as_str().unwrap()).collect()
}

#[test]
fn by_name_and_by_tag() {
    for line in [
        "group_name = \"prod-*\"",
        "tag = { env = \"prod\" }",
        "group_name = \"*-*\"\ntag = { env = \"pr?d\", team = \"web\" }",
    ] {
        let world = tagged();
        configure(&world, line);
        let session = start(&world.here, &["--only", "prod"]);
        assert_eq!(session["status"], "ACTIVE");
        assert_eq!(names(&session), ["prod/prod-api", "prod/prod-db"], "{line}");
        assert_eq!(world.cloud.rules(world.group("prod-db")).len(), 1);
        assert_eq!(world.cloud.rules(world.group("dev-api")), []);
        world.eg(&["session", "stop"]).expect_code(0);
    }
}

/// What a session found when it started it keeps, and closes, wherever the tag has gone.
#[test]
fn a_session_keeps_what_it_found() {
    let world = tagged();
    configure(&world, "tag = { env = \"prod\" }");
    let first = start(&world.here, &[]);
    let id = first["id"].as_str().unwrap();
    let (api, db, dev) = (world.group("prod-api"), world.group("prod-db"), world.group("dev-api"));
    world.cloud.create_tags(db, &[("env", "dev")]);
    world.cloud.create_tags(dev, &[("env", "prod")]);
    // Taken away by hand, the rule comes back: the session still wants it.
    let rule = world.cloud.rules(db).remove(0);
    world.cloud.revoke(db, &rule.id);
    world.advance(360);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!((world.cloud.rules(db).len(), world.cloud.rules(dev).len()), (1, 0));
    assert_eq!(names(&get(&world.here, id)), ["prod/prod-api", "prod/prod-db"]);
    // A new session looks anew.
    let second = start(&world.here, &["--ipv4", "198.51.100.7"]);
    assert_eq!(names(&second), ["prod/dev-api", "prod/prod-api"]);
    let refused = world.eg(&["resource", "remove", "prod"]).expect_code(1);
    assert!(error_of(&refused).contains(" uses prod until "), "{refused}");
    world.eg(&["session", "stop", "--all"]).expect_code(0);
    for group in [api, db, dev] {
        assert_eq!(world.cloud.rules(group), []);
    }
}

/// One group by three ways is one rule, and each of them says so.
#[test]
fn a_group_that_is_meant_more_than_once() {
    let world = tagged();
    let fixed = World::resource("api", world.group("prod-api"), crate::harness::REGION, &["tcp/22"], "");
    let by_tag = by_name("tagged", "tag = { env = \"prod\" }");
    world.write_config(&(world.config_head() + &fixed + &by_name("prod", "group_name = \"*-api\"") + &by_tag));
    let session = start(&world.here, &[]);
    assert_eq!(session["status"], "ACTIVE");
    assert_eq!(names(&session), ["api", "prod/dev-api", "prod/prod-api", "tagged/prod-api", "tagged/prod-db"]);
    assert_eq!(world.cloud.rules(world.group("prod-api")).len(), 1);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.rules(world.group("prod-api")), []);
}

#[test]
fn nothing_or_too_much_records_nothing() {
    let mut world = tagged();
    configure(&world, "group_name = \"staging-*\"");
    let none = world.eg(&["session", "start"]).expect_code(1);
    assert_eq!(error_of(&none), "no group in eu-west-1 is what prod asks for (name staging-*)");
    assert!(none.stderr.contains("eg resource discover"), "{none}");
    for number in 0..51 {
        world.make_group(&format!("many-{number}"));
    }
    configure(&world, "group_name = \"many-*\"");
    let many = world.eg(&["session", "start"]).expect_code(1);
    assert_eq!(error_of(&many), "51 groups in eu-west-1 are what prod asks for (name many-*); at most 50 may be");
    world.faults(&[Fault::deny("DescribeSecurityGroups")]);
    let denied = world.eg(&["session", "start"]).expect_code(1);
    assert!(error_of(&denied).starts_with("the groups of prod are not known: not permitted: "), "{denied}");
    world.faults(&[]);
    assert!(!world.here.state_path().exists(), "nothing was recorded");
    assert_eq!(world.call_counts().matches("Authorize").count(), 0);
    // Only what is chosen is looked up.
    let fixed = World::resource("fixed", world.group("dev-api"), crate::harness::REGION, &["tcp/22"], "");
    world.write_config(&(world.config_head() + &by_name("prod", "group_name = \"gone\"") + &fixed));
    let session = start(&world.here, &["--only", "fixed"]);
    assert_eq!(names(&session), ["fixed"]);
}

#[test]
fn the_other_commands_look_them_up() {
    let world = tagged();
    configure(&world, "group_name = \"prod-*\"");
    start(&world.here, &[]);
    let who = world.eg(&["who", "--output", "json"]).expect_code(0).json_as("who");
    let seen: Vec<_> = who["rules"].as_array().unwrap().iter().map(|rule| rule["resourceName"].clone()).collect();
    assert_eq!(seen, ["prod/prod-api", "prod/prod-db"]);
    let verified = world.eg(&["resource", "verify", "prod", "--output", "json"]).expect_code(0).json_as("verify");
    let checked: Vec<_> =
        verified["resources"].as_array().unwrap().iter().map(|one| one["resourceName"].clone()).collect();
    assert_eq!(checked, ["prod/prod-api", "prod/prod-db"]);
    let doctor = world.eg(&["doctor", "--output", "json"]).json_as("doctor");
    let groups = doctor["checks"].as_array().unwrap().iter().filter(|one| one["check"] == "group").count();
    assert_eq!(groups, 2, "{doctor:#}");
    let policy = world.eg(&["iam-policy"]).expect_code(0);
    assert!(
        policy.stdout.contains("security-group/*\"") && policy.stderr.contains("takes in every group of"),
        "{policy}"
    );

    // Nowhere to be found is not empty.
    configure(&world, "group_name = \"gone-*\"");
    let who = world.eg(&["who", "--output", "json"]).expect_code(1);
    assert_eq!(who.json_as("who")["unavailable"][0]["resourceName"], "prod");
    let verified = world.eg(&["resource", "verify", "--output", "json"]).expect_code(1).json_as("verify");
    assert_eq!(verified["resources"][0]["resourceId"], Value::Null);
    let doctor = world.eg(&["doctor"]).expect_code(1);
    assert!(doctor.stdout.contains("✗ group: no group in eu-west-1 is what prod asks for (name gone-*)"), "{doctor}");
    world.eg(&["session", "stop"]).expect_code(0);
}

#[test]
fn ensure_looks_each_time() {
    let world = tagged();
    configure(&world, "tag = { env = \"prod\" }");
    let ensure = || world.eg(&["session", "ensure", "--output", "json"]).expect_code(0).json_as("session");
    let first = ensure();
    assert_eq!(ensure()["id"], first["id"], "the same groups: the same session");
    world.cloud.create_tags(world.group("dev-api"), &[("env", "prod")]);
    let second = ensure();
    assert_ne!(second["id"], first["id"]);
    assert_eq!(names(&second), ["prod/dev-api", "prod/prod-api", "prod/prod-db"]);
}

/// What another machine left open there is collected.
#[test]
fn expired_rules_of_others_are_collected() {
    let world = tagged();
    configure(&world, "group_name = \"prod-*\"");
    let other = world.installation("other-machine");
    start(&other, &["--duration", "1h"]);
    assert_eq!(world.cloud.rules(world.group("prod-db")).len(), 1);
    world.advance(2 * 3600);
    world.eg(&["reconcile"]).expect_code(0);
    assert_eq!(world.cloud.rules(world.group("prod-db")), []);
}

/// What one set of credentials calls `prod-*` is another group where others look.
#[test]
fn discover_tells_credentials_apart() {
    let world = tagged();
    world.here.write_profiles(&[("work", "WORK"), ("other", "OTHER")]);
    configure(&world, "group_name = \"prod-*\"\nprofile = \"work\"");
    let found = |more: &[&str]| {
        let args = [&["resource", "discover", "--output", "json"], more].concat();
        let json = world.eg(&args).expect_code(0).json_as("discover");
        let groups = json["groups"].as_array().unwrap().iter();
        let names = groups.map(|one| one["name"].as_str().unwrap().to_owned());
        names.filter(|name| name != "default").collect::<Vec<_>>()
    };
    assert_eq!(found(&[]), ["dev-api"]);
    let region = crate::harness::REGION;
    assert_eq!(found(&["--profile", "work", "--region", region]), ["dev-api"]);
    assert_eq!(found(&["--profile", "other", "--region", region]), ["dev-api", "prod-api", "prod-db"]);
}

/// What is hinted at can be run.
#[test]
fn a_policy_for_a_group_that_was_looked_up() {
    let world = tagged();
    world.write_config(&(world.config_head() + &by_name("all of prod", "group_name = \"prod-*\"")));
    let words = "You are not authorized to perform: ec2:CreateTags on resource: arn:aws:ec2:x";
    let denied = Fault::refuse("AuthorizeSecurityGroupIngress", 403, "UnauthorizedOperation", words);
    for args in [&["doctor"][..], &["resource", "verify"]] {
        world.faults(&[denied.clone().dry_run(true)]);
        let outcome = world.eg(args).expect_code(1);
        let (_, advice) = outcome.stdout.split_once(": eg iam-policy ").expect("a hint");
        let line = format!("'{}' iam-policy {}", env!("CARGO_BIN_EXE_eg"), advice.lines().next().unwrap());
        world.faults(&[]);
        let policy = world.here.command(&[]).in_bash(&line).run().expect_code(0);
        assert!(policy.stdout.contains("security-group/*\""), "{line}: {policy}");
    }
}

#[test]
fn a_name_of_others_steers_no_terminal() {
    let mut world = World::bare();
    world.make_group("api\u{202e}\u{9b}2J");
    let args = ["resource", "discover", "--region", crate::harness::REGION];
    let outcome = world.eg(&args).expect_code(0);
    assert!(outcome.stderr.contains("Next: eg resource add "), "{outcome}");
    assert!(!outcome.stdout.contains(['\u{202e}', '\u{9b}']), "{:?}", outcome.stdout);
    assert!(!outcome.stderr.contains(['\u{202e}', '\u{9b}']), "{:?}", outcome.stderr);
}
