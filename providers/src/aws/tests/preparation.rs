//! The role and the group of schedules: made where missing, never changed where there.

use super::*;
use serde_json::{Value, json};

fn role() -> ExpiryRole {
    ExpiryRole {
        name: "eg-cloud-expiry".into(),
        path: "/".into(),
        trust: json!({"trust": "scheduler only"}),
        policy_name: "eg-cloud-expiry".into(),
        policy: json!({"may": "revoke"}),
    }
}

fn escaped(value: &Value) -> String {
    value.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn no_such() -> Play {
    Play::sts_error(404, "NoSuchEntity")
}

fn found(trust: &Value) -> Play {
    Play::ok(format!(
        "<GetRoleResponse><GetRoleResult><Role><Path>/</Path><RoleName>eg-cloud-expiry</RoleName><RoleId>A</RoleId>\
         <Arn>arn:aws:iam::123456789012:role/eg-cloud-expiry</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>\
         <AssumeRolePolicyDocument>{}</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>",
        escaped(trust)
    ))
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

#[tokio::test]
async fn a_missing_role_is_made_with_its_policy() {
    let (replay, groups) = world([no_such(), made(), put()]).await;
    assert!(groups.make_role(&role()).await.unwrap());
    assert_eq!(replay.actions(), ["GetRole", "CreateRole", "PutRolePolicy"]);
    let asked = replay.asked();
    assert_eq!(asked[1].form["AssumeRolePolicyDocument"], role().trust.to_string());
    assert_eq!(asked[2].form["PolicyDocument"], role().policy.to_string());
}

#[tokio::test]
async fn one_that_is_there_just_so_is_left_and_one_half_made_is_finished() {
    let names: &[&str] = &["eg-cloud-expiry"];
    let plays = [found(&role().trust), own(names), attached(""), policy(&role().policy)];
    let (replay, groups) = world(plays).await;
    assert!(!groups.make_role(&role()).await.unwrap());
    assert_eq!(replay.actions().len(), 4);
    let (replay, groups) = world([found(&role().trust), own(&[]), attached(""), no_such(), put()]).await;
    assert!(groups.make_role(&role()).await.unwrap());
    assert_eq!(replay.actions().last().unwrap(), "PutRolePolicy");
}

#[tokio::test]
async fn one_that_is_any_different_is_not_touched() {
    let names: &[&str] = &["eg-cloud-expiry"];
    let admin = "<member><PolicyName>Admin</PolicyName><PolicyArn>arn:aws:iam::aws:policy/Admin</PolicyArn></member>";
    for (plays, words) in [
        (vec![found(&json!({"trust": "all"}))], "another trust policy"),
        (vec![found(&role().trust), own(&["theirs"]), attached("")], "further policies"),
        (vec![found(&role().trust), own(names), attached(admin)], "further policies"),
        (vec![found(&role().trust), own(names), attached(""), policy(&json!({"may": "all"}))], "another policy"),
    ] {
        let (replay, groups) = world(plays).await;
        let failure = groups.make_role(&role()).await.unwrap_err();
        assert!(failure.message.contains(words) && failure.class == FailureClass::Invalid, "{failure}");
        assert!(replay.actions().iter().all(|action| action.starts_with("Get") || action.starts_with("List")));
    }
    let (_, groups) = world([Play::sts_error(403, "AccessDenied")]).await;
    assert_eq!(groups.make_role(&role()).await.unwrap_err().class, FailureClass::Denied);
}

#[tokio::test]
async fn a_group_of_schedules_is_made_once() {
    let missing = Play::json_error(404, "ResourceNotFoundException", "Schedule group eg does not exist.");
    let made = Play::ok("{\"ScheduleGroupArn\":\"arn\"}");
    let (replay, groups) = world([missing, made]).await;
    assert!(groups.make_schedule_group("eg").await.unwrap());
    assert_eq!(replay.asked()[1].method, "POST");
    let (_, groups) = world([Play::ok("{\"Name\":\"eg\"}")]).await;
    assert!(!groups.make_schedule_group("eg").await.unwrap());
}
