//! The role and the group of schedules: made where missing, widened where ours, never changed otherwise.

use super::*;
use serde_json::{Value, json};

const GROUPS: [&str; 2] = [
    "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-1",
    "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-2",
];
/// One that is configured no more, or by somebody else.
const ANOTHER: &str = "arn:aws:ec2:us-east-1:123456789012:security-group/sg-9";
const HERE: &str = "arn:aws:scheduler:eu-west-1:123456789012:schedule-group/default";
/// Of another account.
const OTHERS: &str = "arn:aws:scheduler:eu-west-1:210987654321:schedule-group/default";
const THERE: &str = "arn:aws:scheduler:us-east-1:123456789012:schedule-group/default";

fn trust(taken_for: &[&str]) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "scheduler.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnEquals": {"aws:SourceArn": taken_for},
            },
        }],
    })
}

fn may(actions: Value, groups: &[&str]) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": groups}]})
}

fn role() -> ExpiryRole {
    ExpiryRole {
        name: "eg-cloud-expiry".into(),
        path: "/".into(),
        trust: trust(&[HERE]),
        policy_name: "eg-cloud-expiry".into(),
        policy: may(json!("ec2:Revoke"), &GROUPS),
    }
}

fn escaped(value: &Value) -> String {
    value.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn no_such() -> Play {
    Play::sts_error(404, "NoSuchEntity")
}

/// A role by its path, description and tags.
fn shown(path: &str, description: &str, tags: &str, trust: &Value) -> Play {
    Play::ok(format!(
        "<GetRoleResponse><GetRoleResult><Role><Path>{path}</Path><RoleName>eg-cloud-expiry</RoleName>\
         <RoleId>A</RoleId><Arn>arn:aws:iam::123456789012:role/eg-cloud-expiry</Arn>\
         <CreateDate>2026-01-01T00:00:00Z</CreateDate><Description>{description}</Description><Tags>{tags}</Tags>\
         <AssumeRolePolicyDocument>{}</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>",
        escaped(trust)
    ))
}

fn found(trust: &Value) -> Play {
    shown("/", ExpiryRole::DESCRIPTION, "", trust)
}

fn own(names: &[&str]) -> Play {
    let names: String = names.iter().map(|name| format!("<member>{name}</member>")).collect();
    Play::ok(format!(
        "<ListRolePoliciesResponse><ListRolePoliciesResult><PolicyNames>{names}</PolicyNames>\
         <IsTruncated>false</IsTruncated></ListRolePoliciesResult></ListRolePoliciesResponse>"
    ))
}

fn attached(inner: &str) -> Play {
    Play::ok(format!(
        "<ListAttachedRolePoliciesResponse><ListAttachedRolePoliciesResult><AttachedPolicies>{inner}\
         </AttachedPolicies><IsTruncated>false</IsTruncated></ListAttachedRolePoliciesResult>\
         </ListAttachedRolePoliciesResponse>"
    ))
}

fn policy(document: &Value) -> Play {
    Play::ok(format!(
        "<GetRolePolicyResponse><GetRolePolicyResult><RoleName>eg-cloud-expiry</RoleName>\
         <PolicyName>eg-cloud-expiry</PolicyName><PolicyDocument>{}</PolicyDocument></GetRolePolicyResult>\
         </GetRolePolicyResponse>",
        escaped(document)
    ))
}

fn made() -> Play {
    let role = "<Role><Path>/</Path><RoleName>r</RoleName><RoleId>A</RoleId><Arn>a</Arn>\
                <CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>";
    Play::ok(format!("<CreateRoleResponse><CreateRoleResult>{role}</CreateRoleResult></CreateRoleResponse>"))
}

fn put() -> Play {
    Play::ok("<PutRolePolicyResponse/>")
}

const NAMES: &[&str] = &["eg-cloud-expiry"];

#[tokio::test]
async fn a_missing_role_is_made_with_its_policy() {
    let (replay, groups) = world([no_such(), made(), put()]).await;
    assert_eq!(groups.prepare_role(&role()).await, Ok(Prepared::Made));
    assert_eq!(replay.actions(), ["GetRole", "CreateRole", "PutRolePolicy"]);
    let asked = replay.asked();
    assert_eq!(asked[1].form["AssumeRolePolicyDocument"], role().trust.to_string());
    assert_eq!(asked[1].form["Description"], ExpiryRole::DESCRIPTION);
    assert_eq!(asked[2].form["PolicyDocument"], role().policy.to_string());
}

#[tokio::test]
async fn one_that_somebody_makes_at_the_same_moment_is_looked_at() {
    let there = Play::sts_error(409, "EntityAlreadyExists");
    let plays = [no_such(), there, found(&role().trust), own(NAMES), attached(""), policy(&role().policy)];
    let (_, groups) = world(plays).await;
    assert_eq!(groups.prepare_role(&role()).await, Ok(Prepared::There));
}

#[tokio::test]
async fn one_that_does_what_is_wanted_is_left_and_one_half_made_is_finished() {
    // Written in another way, for more, and by somebody else: it does all the same.
    let mut written = may(json!(["EC2:Revoke"]), &[GROUPS[1], ANOTHER, GROUPS[0]]);
    written["Statement"] = written["Statement"][0].clone();
    for (who, policy_there) in [(ExpiryRole::DESCRIPTION, &role().policy), ("by hand", &written)] {
        let plays = [shown("/", who, "", &trust(&[THERE, HERE])), own(NAMES), attached(""), policy(policy_there)];
        let (replay, groups) = world(plays).await;
        assert_eq!(groups.prepare_role(&role()).await, Ok(Prepared::There));
        assert_eq!(replay.actions().len(), 4);
    }
    let (replay, groups) = world([found(&role().trust), own(&[]), attached(""), no_such(), put()]).await;
    assert_eq!(groups.prepare_role(&role()).await, Ok(Prepared::Made));
    assert_eq!(replay.actions().last().unwrap(), "PutRolePolicy");
}

#[tokio::test]
async fn one_of_ours_is_widened_and_never_narrowed() {
    let narrow = may(json!("ec2:Revoke"), &[GROUPS[0], ANOTHER]);
    let plays = [found(&trust(&[THERE])), own(NAMES), attached(""), policy(&narrow), put(), put()];
    let (replay, groups) = world(plays).await;
    let added = [HERE.to_owned(), GROUPS[1].to_owned()].into();
    assert_eq!(groups.prepare_role(&role()).await, Ok(Prepared::Widened(added)));
    assert_eq!(replay.actions()[4..], ["PutRolePolicy", "UpdateAssumeRolePolicy"]);
    let sent = |number: usize| serde_json::from_str::<Value>(&replay.asked()[number].form["PolicyDocument"]).unwrap();
    assert_eq!(sent(4), may(json!("ec2:Revoke"), &[GROUPS[0], GROUPS[1], ANOTHER]));
    assert_eq!(sent(5), trust(&[HERE, THERE]));
}

#[tokio::test]
async fn what_is_different_or_of_others_is_named_and_not_touched() {
    let admin = "<member><PolicyName>Admin</PolicyName><PolicyArn>arn:aws:iam::aws:policy/Admin</PolicyArn></member>";
    let stack = "<member><Key>aws:cloudformation:stack-name</Key><Value>net</Value></member>";
    let narrow = || policy(&may(json!("ec2:Revoke"), &[GROUPS[0]]));
    let just_so = || policy(&role().policy);
    let open = json!({"Version": "2012-10-17", "Statement": []});
    for (plays, words) in [
        (vec![found(&open), own(NAMES), attached(""), just_so()], "in its trust policy Statement is "),
        (
            vec![found(&Value::Null), own(NAMES), attached(""), just_so()],
            "in its trust policy there is nothing that can be read",
        ),
        (
            vec![shown("/ops/", ExpiryRole::DESCRIPTION, "", &role().trust), own(NAMES), attached(""), just_so()],
            "its path is /ops/ and should be /",
        ),
        (vec![found(&role().trust), own(&["theirs"]), attached(""), just_so()], "it has the further policy theirs"),
        (
            vec![found(&role().trust), own(NAMES), attached(admin), just_so()],
            "it has the further policy arn:aws:iam::aws:policy/Admin",
        ),
        (
            vec![found(&role().trust), own(NAMES), attached(""), policy(&may(json!("ec2:*"), &GROUPS))],
            "in its policy eg-cloud-expiry Statement.Action is ec2:* and should be ec2:revoke",
        ),
        (
            vec![found(&role().trust), own(NAMES), attached(""), policy(&may(json!("ec2:Revoke"), &["*"]))],
            "in its policy eg-cloud-expiry * is more than eg ever needs",
        ),
        (
            vec![found(&trust(&[HERE, OTHERS])), own(NAMES), attached(""), just_so()],
            "in its trust policy arn:aws:scheduler:eu-west-1:210987654321:schedule-group/default is more than eg",
        ),
        (
            vec![shown("/", "by hand", "", &role().trust), own(NAMES), attached(""), narrow()],
            "eg has not made it (its description is \"by hand\"); it lacks arn:aws:ec2:eu-west-1:123456789012:security-group/sg-2",
        ),
        (
            vec![shown("/", "by hand", "", &role().trust), own(&[]), attached(""), no_such()],
            "it lacks the policy eg-cloud-expiry",
        ),
        (
            vec![shown("/", ExpiryRole::DESCRIPTION, stack, &role().trust), own(NAMES), attached(""), narrow()],
            "the CloudFormation stack net has made it; it lacks arn:aws:ec2:eu-west-1:123456789012:security-group/sg-2",
        ),
    ] {
        let (replay, groups) = world(plays).await;
        let failure = groups.prepare_role(&role()).await.unwrap_err();
        assert!(failure.message.contains(words), "{failure}");
        assert!(
            failure.message.ends_with("nothing was changed") && failure.class == FailureClass::Invalid,
            "{failure}"
        );
        assert!(replay.actions().iter().all(|action| action.starts_with("Get") || action.starts_with("List")));
    }
    let (_, groups) = world([Play::sts_error(403, "AccessDenied")]).await;
    assert_eq!(groups.prepare_role(&role()).await.unwrap_err().class, FailureClass::Denied);
}

#[tokio::test]
async fn a_group_of_schedules_is_made_once() {
    let missing = || Play::json_error(404, "ResourceNotFoundException", "Schedule group eg does not exist.");
    let made = Play::ok("{\"ScheduleGroupArn\":\"arn\"}");
    let (replay, groups) = world([missing(), made]).await;
    assert_eq!(groups.prepare_schedule_group("eg").await, Ok(Prepared::Made));
    assert_eq!(replay.asked()[1].method, "POST");
    let (_, groups) = world([Play::ok("{\"Name\":\"eg\",\"State\":\"ACTIVE\"}")]).await;
    assert_eq!(groups.prepare_schedule_group("eg").await, Ok(Prepared::There));
    let conflict = Play::json_error(409, "ConflictException", "Schedule group eg already exists.");
    let (_, groups) = world([missing(), conflict]).await;
    assert_eq!(groups.prepare_schedule_group("eg").await, Ok(Prepared::There), "somebody was faster");
    let (_, groups) = world([Play::ok("{\"Name\":\"eg\",\"State\":\"DELETING\"}")]).await;
    let failure = groups.prepare_schedule_group("eg").await.unwrap_err();
    assert!(failure.message.contains("is being deleted"), "{failure}");
}
