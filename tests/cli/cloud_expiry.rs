//! `eg setup cloud-expiry`, and what `eg iam-policy` and `eg doctor` say of it.

use crate::{
    cli::session::{Tale, error_of, start},
    harness::{Fault, Moto, World, cloud::decode, moto},
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
    // And with it, a session gets its expiry schedules.
    start(&world.here, &["--only", "prod-api-sg"]);
    assert_eq!(world.schedules()[0].0["GroupName"], "eg");
    // For fewer groups: others may have expiry schedules that act as it, so nothing is taken away.
    let fewer = [&apply[..], &["--only", "prod-api-sg"]].concat();
    let fewer = world.eg(&fewer).expect_code(0).json_as("setup-cloud-expiry");
    assert!(fewer["accounts"][0]["prepared"].as_array().unwrap().iter().all(|part| part["made"] == false));
    assert_eq!(closes(&world).len(), 4, "three groups and their rules");
}

/// A document of the role, as IAM has it.
fn role_policy(world: &World) -> Value {
    let fields = [("RoleName", "eg-cloud-expiry"), ("PolicyName", "eg-cloud-expiry")];
    let answer = world.cloud.iam("GetRolePolicy", &fields);
    let (_, rest) = answer.split_once("<PolicyDocument>").unwrap();
    let text = rest.split_once("</PolicyDocument>").unwrap().0;
    serde_json::from_str(&decode(text)).unwrap()
}

fn closes(world: &World) -> BTreeSet<String> {
    let policy = role_policy(world);
    let list = policy["Statement"][0]["Resource"].as_array().unwrap().clone();
    list.iter().map(|arn| arn.as_str().unwrap().to_owned()).collect()
}

/// Groups and regions are added as time goes by: what was made for less is made for more, and nothing is lost.
#[test]
fn a_role_of_ours_grows_with_the_configuration() {
    let world = World::new();
    configure(&world, "");
    world.eg(&["setup", "cloud-expiry", "--apply", "--only", "prod-api-sg"]).expect_code(0);
    let before = closes(&world);
    let there = world.cloud.in_region("us-east-1");
    let far = there.create_group("far");
    let more = World::resource("far", &far, "us-east-1", &["tcp/22"], "");
    let expiry = format!("\n[aws.cloud_expiry]\nrole_arn = \"{}\"\n", role(&world, "eg-cloud-expiry"));
    world.write_config(&(world.default_config() + &more + &expiry));
    let wider = world.eg(&["setup", "cloud-expiry", "--apply"]).expect_code(0);
    let line = wider.stdout.lines().next().unwrap();
    assert!(line.contains(" widened by arn:aws:ec2:") && line.contains(&format!("security-group/{far}")), "{wider}");
    assert!(line.contains(":us-east-1:") && line.contains("schedule-group/default"), "the trust, too: {wider}");
    assert!(closes(&world).is_superset(&before) && closes(&world).iter().any(|arn| arn.ends_with(&far)));
    let again = world.eg(&["setup", "cloud-expiry", "--apply", "--output", "json"]).expect_code(0);
    let again = again.json_as("setup-cloud-expiry");
    let part = &again["accounts"][0]["prepared"][0];
    assert_eq!((&part["made"], &part["added"]), (&Value::from(false), &serde_json::json!([])));
}

/// Whatever somebody else made of it stays, and what is different is said.
#[test]
fn a_role_that_was_changed_by_hand_is_left_alone() {
    let world = World::new();
    configure(&world, "");
    let apply = ["setup", "cloud-expiry", "--apply"];
    world.eg(&apply).expect_code(0);
    let mut edited = role_policy(&world);
    edited["Statement"][0]["Action"] =
        serde_json::json!(["ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress"]);
    let named = [("RoleName", "eg-cloud-expiry"), ("PolicyName", "eg-cloud-expiry")];
    world.cloud.iam("PutRolePolicy", &[&named[..], &[("PolicyDocument", &edited.to_string())]].concat());
    let refused = world.eg(&apply).expect_code(1);
    let words = "in its policy eg-cloud-expiry Statement.Action is ec2:revokesecuritygroupegress, ec2:revokesecurity";
    assert!(error_of(&refused).contains(words), "{refused}");
    assert!(refused.stderr.contains("hint: change it to what `eg setup cloud-expiry` prints"), "{refused}");
    assert_eq!(role_policy(&world), edited);
    // The same, written as the console writes it, is the same.
    let mut console = edited;
    console["Statement"][0]["Action"] = "ec2:RevokeSecurityGroupIngress".into();
    console["Statement"] = console["Statement"][0].clone();
    world.cloud.iam("PutRolePolicy", &[&named[..], &[("PolicyDocument", &console.to_string())]].concat());
    world.eg(&apply).expect_code(0);
    assert_eq!(role_policy(&world), console);
}

/// A role that may close everything, or that another account's schedules may take, is not eg's to use.
#[test]
fn a_role_that_may_do_more_is_refused() {
    let world = World::new();
    configure(&world, "");
    let apply = ["setup", "cloud-expiry", "--apply"];
    world.eg(&apply).expect_code(0);
    let named = [("RoleName", "eg-cloud-expiry"), ("PolicyName", "eg-cloud-expiry")];
    let good = role_policy(&world);
    let mut wide = good.clone();
    wide["Statement"][0]["Resource"] = "*".into();
    world.cloud.iam("PutRolePolicy", &[&named[..], &[("PolicyDocument", &wide.to_string())]].concat());
    let refused = world.eg(&apply).expect_code(1);
    assert!(error_of(&refused).contains("in its policy eg-cloud-expiry * is more than eg ever needs"), "{refused}");
    assert_eq!(role_policy(&world), wide, "nothing was changed");
    world.cloud.iam("PutRolePolicy", &[&named[..], &[("PolicyDocument", &good.to_string())]].concat());
    world.eg(&apply).expect_code(0);
    let printed = world.eg(&["setup", "cloud-expiry", "--output", "json"]).expect_code(0).json();
    let mut trust = printed["accounts"][0]["trustPolicy"].clone();
    let own = trust["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"][0].as_str().unwrap().to_owned();
    let foreign = own.replace(world.account(), "999999999999");
    trust["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"] = serde_json::json!([own, foreign]);
    let role = [("RoleName", "eg-cloud-expiry"), ("PolicyDocument", &trust.to_string())];
    world.cloud.iam("UpdateAssumeRolePolicy", &role);
    let refused = world.eg(&apply).expect_code(1);
    let words = format!("in its trust policy {foreign} is more than eg ever needs");
    assert!(error_of(&refused).contains(&words), "{refused}");
}

/// What is on record of a target's account is what was so when it was last used.
#[test]
fn nothing_is_made_in_another_account() {
    let (world, second) = (World::new(), World::bare());
    configure(&world, "");
    start(&world.here, &["--only", "dev"]);
    let key = Moto::access_key(second.account(), "OTHER");
    let apply = ["setup", "cloud-expiry", "--apply", "--only", "dev"];
    second.forget_calls();
    let refused = world.here.command(&apply).env("AWS_ACCESS_KEY_ID", &key).run().expect_code(1);
    let words = format!("account {}: ", world.account());
    assert!(error_of(&refused).starts_with(&words), "{refused}");
    assert!(error_of(&refused).ends_with(&format!("are of account {} now", second.account())), "{refused}");
    let calls = second.calls();
    assert!(calls.iter().all(|call| call.action == "GetCallerIdentity"), "{}", second.call_counts());
}

/// What is to be put into the configuration loses nothing that is in there.
#[test]
fn roles_of_other_accounts_stay_in_the_configuration() {
    let world = World::new();
    let expiry = format!(
        "\n[aws.cloud_expiry]\nrole_arn = [\"arn:aws:iam::111111111111:role/x\", \"{}\"]\n",
        role(&world, "own")
    );
    world.write_config(&(world.default_config() + &expiry));
    let printed = world.eg(&["setup", "cloud-expiry", "--role-name", "new"]).expect_code(0);
    let line = format!("role_arn = [\"arn:aws:iam::111111111111:role/x\", \"{}\"]\n", role(&world, "new"));
    assert!(printed.stdout.ends_with(&line), "{printed}");
}

/// What was made before something went wrong is told.
#[test]
fn what_was_made_is_told_even_if_the_rest_is_refused() {
    let world = World::new();
    configure(&world, "schedule_group = \"eg\"\n");
    world.faults(&[Fault::refuse("CreateRole", 403, "AccessDenied", "not authorized to perform: iam:CreateRole")]);
    let stopped = world.eg(&["setup", "cloud-expiry", "--apply"]).expect_code(1);
    assert!(stopped.stdout.ends_with("schedule group eg in eu-west-1 made\n"), "{stopped}");
    assert!(stopped.stderr.contains("hint: this takes scheduler:GetScheduleGroup, "), "{stopped}");
    world.faults(&[Fault::refuse("PutRolePolicy", 500, "ServiceFailure", "no").times(1)]);
    let stopped = world.eg(&["setup", "cloud-expiry", "--apply", "--output", "json"]).expect_code(1);
    assert_eq!(stopped.json_as("setup-cloud-expiry")["accounts"][0]["prepared"][0]["made"], false);
    assert!(stopped.stderr.contains("it continues where it stopped"), "{stopped}");
    let finished = world.eg(&["setup", "cloud-expiry", "--apply"]).expect_code(0);
    assert!(finished.stdout.contains("role/eg-cloud-expiry made\n"), "{finished}");
}

/// Doing the same again helps nobody against a limit.
#[test]
fn a_policy_that_is_too_long_is_told() {
    let world = World::new();
    let long = "Maximum policy size of 10240 bytes exceeded for role eg-cloud-expiry";
    world.faults(&[Fault::refuse("PutRolePolicy", 409, "LimitExceeded", long)]);
    let stopped = world.eg(&["setup", "cloud-expiry", "--apply"]).expect_code(1);
    assert!(stopped.stderr.contains(long) && stopped.stderr.contains("name fewer groups with --only"), "{stopped}");
    assert!(!stopped.stderr.contains("run it again"), "{stopped}");
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

/// What the provider heard in a life with expiry schedules, against what the policy allows.
#[test]
fn the_policy_names_what_auto_closes_take_and_nothing_more() {
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
fn doctor_says_whether_auto_closes_can_be_read() {
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
    assert_eq!(well[0]["level"], "good");
    let message = well[0]["message"].as_str().unwrap();
    assert!(message.contains("whether arn:aws:iam::"), "there is no such role, and it is not looked for: {message}");
    assert!(message.contains("was not checked (eg setup cloud-expiry --apply compares it)"), "{message}");
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

/// The role's policy lists groups: one that is added afterwards is not closed by its expiry schedule before it is widened.
#[test]
fn adding_a_group_reminds_of_the_role() {
    let mut world = World::new();
    let add = |world: &World, name: &str, id: &str| {
        world.eg(&["resource", "add", name, "--id", id, "--region", "eu-west-1", "--port", "tcp/22"]).expect_code(0)
    };
    let (first, second) = (world.make_group("first"), world.make_group("second"));
    let without = add(&world, "first", &first);
    assert!(!without.stderr.contains("warning"), "no switches are configured: {without}");
    configure(&world, "");
    world.eg(&["setup", "cloud-expiry", "--apply"]).expect_code(0);
    let reminded = add(&world, "second", &second);
    let hint = "have it widened with: eg ";
    let line = reminded.stderr.lines().find_map(|line| line.split_once(hint)).expect("a hint").1;
    let lists = |group: &str| closes(&world).iter().any(|arn| arn.ends_with(group));
    assert!(!lists(&second));
    world.eg(&line.split(' ').collect::<Vec<_>>()).expect_code(0);
    assert!(lists(&second), "{:?}", closes(&world));
}
