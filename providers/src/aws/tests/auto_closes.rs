//! Expiry schedules: the exact requests, and what is made of the answers.

use super::*;
use serde_json::{Value, json};

const RULE: &str = "sgr-0abc123def4567890";
const MADE: &str = "{\"ScheduleArn\":\"arn:aws:scheduler:eu-west-1:123456789012:schedule/g/eg-sgr-0abc123def4567890\"}";

fn way() -> AutoCloseRoute {
    AutoCloseRoute { role_arn: "arn:aws-cn:iam::123456789012:role/eg".into(), group: "g".into() }
}

fn rule() -> RuleId {
    RuleId(RULE.into())
}

fn call(exists: bool) -> SetAutoClose {
    SetAutoClose {
        way: way(),
        at: at("2026-02-27T18:00:05Z"),
        exists,
        description: "eg closes it".into(),
        token: "0f0e".into(),
    }
}

/// What an expiry schedule is, as it is sent and as it is read.
fn stored() -> Value {
    json!({
        "ActionAfterCompletion": "DELETE",
        "Description": "eg closes it",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "GroupName": "g",
        "ScheduleExpression": "at(2026-02-27T18:00:05)",
        "ScheduleExpressionTimezone": "UTC",
        "State": "ENABLED",
        "Target": {
            "Arn": "arn:aws-cn:scheduler:::aws-sdk:ec2:revokeSecurityGroupIngress",
            "RoleArn": "arn:aws-cn:iam::123456789012:role/eg",
            "Input": format!("{{\"GroupId\":\"{GROUP}\",\"SecurityGroupRuleIds\":[\"{RULE}\"]}}"),
            "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 5},
        },
    })
}

fn shown(edit: impl FnOnce(&mut Value)) -> Play {
    let mut value = stored();
    value["Name"] = format!("eg-{RULE}").into();
    edit(&mut value);
    Play::ok(value.to_string())
}

#[tokio::test]
async fn setting_and_moving_send_the_whole_of_it() {
    for (exists, method) in [(false, "POST"), (true, "PUT")] {
        let (replay, groups) = world([Play::ok(MADE).with("x-amzn-requestid", "r-1")]).await;
        let answer = groups.set_schedule(GROUP, &rule(), &call(exists)).await.unwrap();
        assert_eq!(answer.request_id.as_deref(), Some("r-1"));
        let asked = replay.asked();
        assert_eq!(asked[0].method, method);
        assert_eq!(asked[0].uri, format!("https://scheduler.eu-west-1.amazonaws.com/schedules/eg-{RULE}"));
        let mut expected = stored();
        expected["ClientToken"] = "0f0e".into();
        assert_eq!(serde_json::from_str::<Value>(&asked[0].body).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_stale_view_turns_one_into_the_other_once() {
    let there = || Play::json_error(409, "ConflictException", "Schedule eg-x already exists.");
    let gone = || Play::json_error(404, "ResourceNotFoundException", "Schedule eg-x does not exist.");
    for (exists, plays, methods) in [(false, there(), ["POST", "PUT"]), (true, gone(), ["PUT", "POST"])] {
        let (replay, groups) = world([plays, Play::ok(MADE)]).await;
        groups.set_schedule(GROUP, &rule(), &call(exists)).await.unwrap();
        let asked = replay.asked();
        assert_eq!(asked.iter().map(|asked| asked.method.clone()).collect::<Vec<_>>(), methods);
        let token = |number: usize| serde_json::from_str::<Value>(&asked[number].body).unwrap()["ClientToken"].clone();
        assert_ne!(token(0), token(1), "another request");
    }
    let (_, groups) = world([gone(), gone()]).await;
    let failure = groups.set_schedule(GROUP, &rule(), &call(true)).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Gone, "no group of schedules");
    // Somebody has deleted it in between: that says nothing about any other expiry schedule.
    let (_, groups) = world([there(), gone()]).await;
    let failure = groups.set_schedule(GROUP, &rule(), &call(false)).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Stale);
    let (_, groups) = world([gone(), there()]).await;
    let failure = groups.set_schedule(GROUP, &rule(), &call(true)).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Stale);
}

#[tokio::test]
async fn refusals_keep_their_words() {
    let words = "User: x is not authorized to perform: scheduler:CreateSchedule";
    let (_, groups) = world([Play::json_error(403, "AccessDeniedException", words)]).await;
    let failure = groups.set_schedule(GROUP, &rule(), &call(false)).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Denied);
    assert_eq!(failure.message, format!("set the expiry schedule of {RULE}: {words} (AccessDeniedException)"));
    for (play, class) in [
        (Play::json_error(429, "ThrottlingException", "slow"), FailureClass::Throttled),
        (Play::json_error(402, "ServiceQuotaExceededException", "many"), FailureClass::Limit),
        (Play::json_error(500, "InternalServerException", "oh"), FailureClass::Transient),
        (Play::json_error(400, "ValidationException", "The execution role you provide…"), FailureClass::Invalid),
        (Play::Reset, FailureClass::Unknown),
    ] {
        let (_, groups) = world([play.clone()]).await;
        let failure = groups.set_schedule(GROUP, &rule(), &call(false)).await.unwrap_err();
        assert_eq!(failure.class, class, "{play:?}");
    }
}

#[tokio::test]
async fn an_auto_close_that_does_what_it_should_is_read() {
    let (replay, groups) = world([shown(|_| {})]).await;
    let seen = groups.read_schedule(GROUP, &rule(), &way()).await.unwrap();
    assert_eq!(seen, AutoCloseSeen::Set(at("2026-02-27T18:00:05Z")));
    let asked = replay.asked();
    assert_eq!(asked[0].method, "GET");
    assert_eq!(asked[0].uri, format!("https://scheduler.eu-west-1.amazonaws.com/schedules/eg-{RULE}?groupName=g"));
}

#[tokio::test]
async fn any_difference_that_matters_is_wrong() {
    let edits: [fn(&mut Value); 10] = [
        |v| v["State"] = "DISABLED".into(),
        |v| v["ScheduleExpression"] = "rate(1 hours)".into(),
        |v| v["ScheduleExpressionTimezone"] = "Europe/Berlin".into(),
        |v| v["FlexibleTimeWindow"] = json!({"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 60}),
        |v| v["ActionAfterCompletion"] = "NONE".into(),
        |v| v["Target"]["Arn"] = "arn:aws-cn:scheduler:::aws-sdk:ec2:describeSecurityGroups".into(),
        |v| v["Target"]["RoleArn"] = "arn:aws-cn:iam::123456789012:role/other".into(),
        |v| v["Target"]["Input"] = "{}".into(),
        |v| v["Target"]["Input"] = "no JSON".into(),
        |v| drop(v.as_object_mut().unwrap().remove("Target")),
    ];
    for edit in edits {
        let (_, groups) = world([shown(edit)]).await;
        assert_eq!(groups.read_schedule(GROUP, &rule(), &way()).await.unwrap(), AutoCloseSeen::Wrong);
    }
    // What does not: words for people, the order of keys.
    let input = format!("{{\"SecurityGroupRuleIds\": [\"{RULE}\"], \"GroupId\": \"{GROUP}\"}}");
    let (_, groups) = world([shown(|v| {
        v["Description"] = "edited".into();
        v["Target"]["Input"] = input.into();
    })])
    .await;
    assert!(matches!(groups.read_schedule(GROUP, &rule(), &way()).await, Ok(AutoCloseSeen::Set(_))));
}

#[tokio::test]
async fn absent_is_believed_of_the_auto_close_alone() {
    let missing = |what: &str| Play::json_error(404, "ResourceNotFoundException", what);
    let (_, groups) = world([missing("Schedule eg-sgr-1 does not exist.")]).await;
    assert_eq!(groups.read_schedule(GROUP, &rule(), &way()).await, Ok(AutoCloseSeen::Absent));
    for play in [
        missing("Schedule group g does not exist."),
        Play::json_error(403, "AccessDeniedException", "no"),
        Play::json_error(404, "UnknownOperationException", "what?"),
        Play::ok("{\"Name\": \"eg-sgr-0abc"),
        Play::ok("{}"),
        Play::Reset,
    ] {
        let (_, groups) = world([play.clone()]).await;
        assert!(groups.read_schedule(GROUP, &rule(), &way()).await.is_err(), "{play:?}");
    }
}

#[tokio::test]
async fn dropping_one_that_is_gone_is_done() {
    for play in [Play::ok("{}"), Play::json_error(404, "ResourceNotFoundException", "Schedule eg-x does not exist.")] {
        let (replay, groups) = world([play]).await;
        groups.drop_schedule(&rule(), &way()).await.unwrap();
        let asked = replay.asked();
        assert_eq!(asked[0].method, "DELETE");
        let uri = format!("https://scheduler.eu-west-1.amazonaws.com/schedules/eg-{RULE}?groupName=g&");
        assert!(asked[0].uri.starts_with(&uri), "{}", asked[0].uri);
    }
    let (_, groups) = world([Play::json_error(403, "AccessDeniedException", "no")]).await;
    assert_eq!(groups.drop_schedule(&rule(), &way()).await.unwrap_err().class, FailureClass::Denied);
}
