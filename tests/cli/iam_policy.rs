//! `eg iam-policy`.

use crate::{
    cli::session::{Tale, error_of, start, start_id},
    harness::World,
};
use std::{collections::BTreeSet, fs};

#[test]
fn what_is_printed() {
    let world = World::new();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["iam-policy", "--only", "prod-api-sg"]).expect_code(0);
    assert!(!world.here.state_path().exists(), "looking makes nothing");
    start(&world.here, &["--only", "prod-api-sg"]);
    world.forget_calls();
    tale.eg(&["iam-policy"]).expect_code(0);
    tale.eg(&["iam-policy", "--only", "nothing"]).expect_code(2);
    tale.eg(&["iam-policy", "--restore"]).expect_code(0);
    tale.end("iam_policy");
    assert_eq!(world.call_counts(), "", "no cloud is asked");
    world.eg(&["iam-policy", "--sweep"]).expect_code(0).json_as("iam-policy");
    world.eg(&["iam-policy", "--sweep", "--restore"]).expect_code(2);
    let told = world.eg(&["iam-policy", "--restore", "--output", "json"]).expect_code(0);
    told.json_as("iam-policy");
    assert!(told.stderr.contains("--restore gives something away"), "{told}");
    let table = world.eg(&["iam-policy"]).expect_code(0);
    let json = world.eg(&["iam-policy", "--output", "json"]).expect_code(0);
    assert_eq!(table.stdout, json.stdout);
    json.json_as("iam-policy");

    let role = "role_arn = \"arn:aws-cn:iam::123456789012:role/opener\"\n";
    let resource = World::resource("x", "sg-0123456789abcdef0", "cn-north-1", &["tcp/22"], role);
    world.write_config(&(resource + "[aws.extra_tags]\ncentre = \"7\"\n"));
    let outcome = world.eg(&["iam-policy"]).expect_code(0);
    let arn = "\"arn:aws-cn:ec2:cn-north-1:123456789012:security-group/sg-0123456789abcdef0\"";
    assert!(outcome.stdout.contains(arn) && outcome.stdout.contains("\"centre\""), "{outcome}");
    assert!(outcome.stderr.contains("sts:AssumeRole"), "{outcome}");
}

/// The profile's region tells the partition, and not one that the shell names besides.
#[test]
fn the_policy_for_sweeping_is_of_the_profiles_partition() {
    let world = World::bare();
    fs::create_dir_all(world.here.home().join(".aws")).unwrap();
    fs::write(world.here.home().join(".aws/config"), "[profile far]\nregion = cn-north-1\n").unwrap();
    let printed = |profile: &str, region: &str| {
        let command = world.here.command(&["iam-policy", "--sweep"]).without("AWS_ACCESS_KEY_ID");
        command.env("AWS_PROFILE", profile).env("AWS_REGION", region).run().expect_code(0).stdout
    };
    assert!(printed("far", "").contains("\"arn:aws-cn:ec2:"));
    assert!(printed("far", "eu-west-1").contains("\"arn:aws-cn:ec2:"));
    assert!(printed("none", "us-gov-west-1").contains("\"arn:aws-us-gov:ec2:"));
}

/// What the provider heard in a life of every kind of call, against what the policy allows.
#[test]
fn nothing_is_missing_and_nothing_too_much() {
    let world = World::new();
    let id = start_id(&world.here, &["--only", "prod-api-sg", "--duration", "1h"]);
    world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(0);
    let other = world.installation("other-machine");
    start(&other, &["--only", "prod-api-sg", "--duration", "8h"]);
    world.eg(&["session", "stop", &id]);
    other.eg(&["session", "stop"]);
    // A group that is not in the answer is asked for by itself.
    world.write_config(&(world.default_config() + &crate::cli::session::missing_group()));
    world.eg(&["who"]).expect_code(3);

    let policy = world.eg(&["iam-policy"]).expect_code(0).json();
    let statements = policy["Statement"].as_array().unwrap();
    let allowed: BTreeSet<String> = statements
        .iter()
        .flat_map(|statement| statement["Action"].as_array().unwrap())
        .map(|action| action.as_str().unwrap().to_owned())
        .collect();
    let free = |action: &str| action == "GetCallerIdentity";
    let heard: BTreeSet<String> =
        world.calls().into_iter().filter(|c| !free(&c.action)).map(|call| format!("ec2:{}", call.action)).collect();
    assert_eq!(heard, allowed);
}

#[test]
fn nothing_configured() {
    let world = World::bare();
    let outcome = world.eg(&["iam-policy"]).expect_code(1);
    assert!(error_of(&outcome).starts_with("no configuration yet ("), "{outcome}");
}

#[test]
fn the_documentation_shows_it() {
    let readme = include_str!("../../docs/configuration.md");
    let block = |kind: &str, holds: &str| {
        let fence = format!("```{kind}\n");
        let mut blocks = readme.split(&fence).skip(1).map(|rest| rest.split_once("```").unwrap().0);
        blocks.find(|block| block.contains(holds)).unwrap().to_owned()
    };
    let world = World::bare();
    world.write_config(&block("toml", "prod-api-sg"));
    let printed = world.eg(&["iam-policy"]).expect_code(0).json();
    assert_eq!(printed, serde_json::from_str::<serde_json::Value>(&block("json", "Statement")).unwrap());
}
