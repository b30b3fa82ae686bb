//! `eg setup cloud-expiry`, and what `eg iam-policy` and `eg doctor` say of it.

use crate::{
    harness::{Fault, World, moto},
    session::{Tale, error_of, start},
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, process::Command};

fn role(world: &World, name: &str) -> String {
    format!("arn:aws:iam::{}:role/{name}", world.account())
}

fn configure(world: &World, more: &str) {
    let role = role(world, "eg-cloud-expiry");
    let expiry = format!("\n[aws.cloud_expiry]\nrole_arn = \"{role}\"\n{more}");
    world.write_config(&(world.default_config() + &expiry));
}

#[test]
fn what_is_printed() {
    let world = World::new();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["setup", "cloud-expiry", "--only", "prod-api-sg"]).expect_code(0);
    tale.eg(&["setup", "cloud-expiry", "--only", "nothing"]).expect_code(2);
    tale.eg(&["setup", "cloud-expiry", "--role-name", "a/b"]).expect_code(2);
    tale.eg(&["setup", "cloud-expiry", "--apply", "--format", "cloudformation"]).expect_code(2);
    tale.end("setup_cloud_expiry");
    assert!(world.calls().iter().all(|call| call.action == "GetCallerIdentity"), "{}", world.call_counts());
    assert!(!world.here.state_path().exists(), "looking makes nothing");
    let printed = world.eg(&["setup", "cloud-expiry", "--output", "json"]).expect_code(0);
    let printed = printed.json_as("setup-cloud-expiry");
    assert_eq!(printed["accounts"][0]["roleArn"], role(&world, "eg-cloud-expiry"));
    assert_eq!(printed["accounts"][0]["prepared"], serde_json::json!([]));
}

/// What is made is what is printed; doing it again changes nothing; what is different is left alone.
#[test]
fn applied_it_makes_what_is_missing_and_touches_nothing_else() {
    let world = World::new();
    configure(&world, "schedule_group = \"eg\"\n");
    let apply = ["setup", "cloud-expiry", "--apply", "--output", "json"];
    let made = world.eg(&apply).expect_code(0).json_as("setup-cloud-expiry");
    let prepared = made["accounts"][0]["prepared"].as_array().unwrap();
    assert_eq!(prepared.iter().filter(|part| part["made"] == true).count(), 2, "{made:#}");
    let again = world.eg(&apply).expect_code(0).json();
    let prepared = again["accounts"][0]["prepared"].as_array().unwrap();
    assert!(prepared.len() == 2 && prepared.iter().all(|part| part["made"] == false), "{again:#}");
    // And with it, a session gets its switches.
    start(&world.here, &["--only", "prod-api-sg"]);
    assert_eq!(world.schedules()[0].0["GroupName"], "eg");
    // The same name with another policy: as more groups would make one.
    let other = ["setup", "cloud-expiry", "--apply", "--only", "prod-api-sg"];
    let refused = world.eg(&other).expect_code(1);
    assert!(error_of(&refused).contains("another policy; nothing was changed"), "{refused}");
    let still = world.eg(&apply).expect_code(0).json();
    assert!(still["accounts"][0]["prepared"].as_array().unwrap().iter().all(|part| part["made"] == false));
}

#[test]
fn a_caller_who_may_not_is_told() {
    let world = World::new();
    world.faults(&[Fault::refuse("GetRole", 403, "AccessDenied", "not authorized to perform: iam:GetRole")]);
    let refused = world.eg(&["setup", "cloud-expiry", "--apply"]).expect_code(1);
    assert!(error_of(&refused).contains("iam:GetRole"), "{refused}");
}

#[test]
fn an_account_that_cannot_be_told() {
    let world = World::new();
    world.faults(&[Fault::refuse("GetCallerIdentity", 403, "ExpiredToken", "expired")]);
    let refused = world.eg(&["setup", "cloud-expiry"]).expect_code(1);
    assert!(error_of(&refused).contains("which account prod-api-sg belongs to is not known"), "{refused}");
}

#[test]
fn the_template_is_one_that_cfn_lint_accepts() {
    let world = World::new();
    for more in ["", "schedule_group = \"eg\"\n"] {
        configure(&world, more);
        let printed = world.eg(&["setup", "cloud-expiry", "--format", "cloudformation"]).expect_code(0);
        let template = printed.json();
        assert_eq!(template["Resources"].get("ScheduleGroup").is_some(), !more.is_empty());
        let file = world.dir().join("template.json");
        fs::write(&file, &printed.stdout).unwrap();
        let lint =
            Command::new(moto::tool("cfn-lint")).args(["--regions", "eu-west-1", "--"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&lint.stdout) + String::from_utf8_lossy(&lint.stderr);
        assert!(lint.status.success() && said.trim().is_empty(), "{said}\n{}", printed.stdout);
    }
    // The linter is no rubber stamp.
    let file = world.dir().join("bad.json");
    fs::write(&file, "{\"Resources\": {\"A\": {\"Type\": \"AWS::IAM::Role\", \"Properties\": {}}}}").unwrap();
    let lint = Command::new(moto::tool("cfn-lint")).arg(&file).output().unwrap();
    assert!(!lint.status.success());
}

/// What the provider heard in a life with switches, against what the policy allows.
#[test]
fn the_policy_names_what_switches_take_and_nothing_more() {
    let world = World::new();
    configure(&world, "");
    start(&world.here, &["--only", "prod-api-sg", "--duration", "1h"]);
    let id = world.eg(&["--output", "json", "session", "list"]).json()[0]["id"].as_str().unwrap().to_owned();
    world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(0);
    world.eg(&["session", "stop"]).expect_code(0);
    let policy = world.eg(&["iam-policy"]).expect_code(0).json_as("iam-policy");
    let statements = policy["Statement"].as_array().unwrap();
    let actions = statements.iter().flat_map(|one| one["Action"].as_array().unwrap());
    let allowed: BTreeSet<&str> = actions.filter_map(Value::as_str).filter(|name| !name.starts_with("ec2:")).collect();
    let calls = world.calls();
    let heard = calls.iter().filter(|call| call.action.contains("Schedule")).map(|call| call.action.as_str());
    let heard: BTreeSet<String> = heard.map(|action| format!("scheduler:{action}")).collect();
    let mut expected: BTreeSet<&str> = heard.iter().map(String::as_str).collect();
    expected.insert("iam:PassRole");
    assert_eq!(allowed, expected);
    let pass = statements.iter().find(|one| one["Sid"] == "PassTheRoleThatCloses").unwrap();
    assert_eq!(pass["Resource"], serde_json::json!([role(&world, "eg-cloud-expiry")]));
}

#[test]
fn doctor_says_whether_switches_can_be_read() {
    let world = World::new();
    let findings = |world: &World| -> Vec<Value> {
        let found = world.eg(&["doctor", "--output", "json"]).json_as("doctor");
        let checks = found["checks"].as_array().unwrap().clone();
        checks.into_iter().filter(|check| check["check"] == "cloud-expiry").collect()
    };
    assert_eq!(findings(&world), Vec::<Value>::new(), "not configured");
    configure(&world, "");
    let well = findings(&world);
    assert_eq!(well.len(), 1, "once for account and region: {well:#?}");
    assert_eq!(well[0]["level"], "ok");
    world.faults(&[Fault::refuse("GetSchedule", 403, "AccessDeniedException", "no")]);
    let denied = findings(&world);
    assert!(denied[0]["level"] == "error" && denied[0]["advice"][0].as_str().unwrap().contains("iam-policy"));
    world.faults(&[]);
    configure(&world, "schedule_group = \"missing\"\n");
    let missing = findings(&world);
    assert!(missing[0]["level"] == "error" && missing[0]["advice"][0].as_str().unwrap().contains("--apply"));
    let elsewhere = "\n[aws.cloud_expiry]\nrole_arn = \"arn:aws:iam::111111111111:role/x\"\n";
    world.write_config(&(world.default_config() + elsewhere));
    assert_eq!(findings(&world)[0]["level"], "warning");
}
