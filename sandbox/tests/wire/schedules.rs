//! The scheduler: stored as asked, carried out literally when its clock passes.

use crate::{Bench, support::permissions};
use chrono::TimeDelta;
use eg_sandbox::Fault;
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/closer";

fn body(at: &str, group: &str, rule: &str) -> Value {
    json!({
        "ScheduleExpression": format!("at({at})"),
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "State": "ENABLED",
        "Target": {
            "Arn": "arn:aws:scheduler:::aws-sdk:ec2:revokeSecurityGroupIngress",
            "RoleArn": ROLE,
            "Input": json!({"GroupId": group, "SecurityGroupRuleIds": [rule]}).to_string(),
        },
    })
}

/// A group with a rule; their ids.
fn rule(bench: &Bench) -> (String, String) {
    let group = bench.group();
    let call = permissions(&group, &[("tcp", "22", "22", "203.0.113.42/32")]);
    let rule = bench.client.get("AuthorizeSecurityGroupIngress", &call).text_of("securityGroupRuleId");
    (group, rule)
}

fn in_an_hour(bench: &Bench) -> String {
    (bench.clock.now() + TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M:%S").to_string()
}

#[test]
fn create_get_update_delete() {
    let bench = Bench::new();
    let asked = body("2030-01-01T00:00:00", "sg-1", "sgr-1");
    let ask = |method: &str, path: &str, body: &Value| {
        let (status, answer) = bench.client.rest(method, path, &body.to_string());
        (status, answer["__type"].as_str().unwrap_or_default().to_owned(), answer)
    };
    let code = |method, path, body: &Value| ask(method, path, body).1;
    assert_eq!(ask("GET", "/schedules/eg-sgr-1", &Value::Null).0, 404);
    assert_eq!(code("PUT", "/schedules/eg-sgr-1", &asked), "ResourceNotFoundException");
    assert_eq!(ask("POST", "/schedules/eg-sgr-1", &asked).0, 200);
    assert_eq!(code("POST", "/schedules/eg-sgr-1", &asked), "ConflictException");
    let moved = body("2031-01-01T00:00:00", "sg-1", "sgr-1");
    bench.clock.advance(TimeDelta::seconds(7));
    assert_eq!(ask("PUT", "/schedules/eg-sgr-1", &moved).0, 200);
    let shown = ask("GET", "/schedules/eg-sgr-1?groupName=default", &Value::Null).2;
    assert_eq!(shown["ScheduleExpression"], moved["ScheduleExpression"]);
    assert_eq!((shown["Name"].as_str(), &shown["Target"]["Input"]), (Some("eg-sgr-1"), &moved["Target"]["Input"]));
    let time = |field: &str| shown[field].as_i64().unwrap();
    assert_eq!(time("LastModificationDate") - time("CreationDate"), 7);
    assert_eq!(ask("DELETE", "/schedules/eg-sgr-1?groupName=default", &Value::Null).0, 200);
    assert_eq!(code("DELETE", "/schedules/eg-sgr-1", &Value::Null), "ResourceNotFoundException");
    assert_eq!(code("GET", "/schedules/eg-sgr-1?groupName=none", &Value::Null), "ResourceNotFoundException");
    for (pointer, value) in [
        ("/ScheduleExpression", json!("rate(1 hours)")),
        ("/FlexibleTimeWindow/Mode", json!("FLEXIBLE")),
        ("/Target/RoleArn", json!("arn:aws:iam::210987654321:role/closer")),
    ] {
        let mut wrong = asked.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert_eq!(code("POST", "/schedules/eg-sgr-2", &wrong), "ValidationException", "{pointer}");
    }
    assert_eq!(bench.handle.schedules(), []);
}

#[test]
fn what_is_due_is_done_once_and_goes() {
    let bench = Bench::new();
    let (group, id) = rule(&bench);
    bench.client.rest("POST", "/schedules/s", &body(&in_an_hour(&bench), &group, &id).to_string());
    bench.clock.advance(TimeDelta::seconds(3_599));
    assert_eq!((bench.handle.rules(&group).len(), bench.handle.schedules().len()), (1, 1));
    bench.clock.advance(TimeDelta::seconds(1));
    assert_eq!((bench.handle.rules(&group).len(), bench.handle.schedules().len()), (0, 0));
    let calls = bench.handle.log();
    let fired = calls.iter().find(|call| call.action == "RevokeSecurityGroupIngress").unwrap();
    assert!(fired.caller.contains("assumed-role/closer") && fired.outcome == "OK", "{fired:#?}");
}

#[test]
fn one_that_is_switched_off_does_nothing() {
    let bench = Bench::new();
    let (group, id) = rule(&bench);
    let mut off = body(&in_an_hour(&bench), &group, &id);
    off["State"] = "DISABLED".into();
    bench.client.rest("POST", "/schedules/s", &off.to_string());
    bench.clock.advance(TimeDelta::hours(2));
    assert_eq!((bench.handle.rules(&group).len(), bench.handle.schedules().len()), (1, 1));
}

#[test]
fn faults_strike_here_too() {
    let bench = Bench::new();
    bench
        .handle
        .script([eg_sandbox::Rule::new(Fault::Deny).on("CreateSchedule")].into_iter().collect::<eg_sandbox::Script>());
    let asked = body("2030-01-01T00:00:00", "sg-1", "sgr-1").to_string();
    let (status, answer) = bench.client.rest("POST", "/schedules/s", &asked);
    assert_eq!((status, answer["__type"].as_str()), (403, Some("AccessDeniedException")));
    assert_eq!(bench.handle.schedules(), []);
}
