//! Expiry schedules: one-time schedules of EventBridge Scheduler that revoke a rule with none of our code running.

use crate::{
    Answered, SetAutoClose,
    aws::{
        action::Action,
        errors::failure::{of_call, unusable},
        security_group::SecurityGroups,
    },
};
use aws_sdk_scheduler::{
    operation::get_schedule::GetScheduleOutput,
    types::{ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, ScheduleState, Target},
};
use aws_smithy_types::error::{metadata::ProvideErrorMetadata, operation::BuildError};
use aws_types::request_id::RequestId;
use chrono::NaiveDateTime;
use eg_model::{
    Timestamp,
    auto_close::{AutoCloseRoute, AutoCloseSeen},
    failure::{Failure, FailureClass},
    ids::RuleId,
};
use serde_json::{Value, json};

/// The time of an `at()` expression (EventBridge Scheduler User Guide, "Schedule types").
const TIME: &str = "at(%Y-%m-%dT%H:%M:%S)";
/// Without a zone the expression is in UTC; it is named all the same.
const ZONE: &str = "UTC";
/// The number of times that the scheduler tries again if EC2 does not answer properly.
const RETRIES: i32 = 5;
/// The time for which it tries again, in seconds.
const RETRIES_END: i32 = 3600;

/// An expiry schedule's name: the rule's id, marked as ours.
fn name(rule: &RuleId) -> String {
    format!("eg-{rule}")
}

/// The scheduler's own name for "call this action of the API" (User Guide, "Universal targets").
fn target_arn(way: &AutoCloseRoute) -> String {
    format!("arn:{}:scheduler:::aws-sdk:ec2:revokeSecurityGroupIngress", way.partition())
}

/// The fields of the API's request.
fn input(group: &str, rule: &RuleId) -> Value {
    json!({"GroupId": group, "SecurityGroupRuleIds": [rule.0]})
}

fn target(group: &str, rule: &RuleId, way: &AutoCloseRoute) -> Result<Target, BuildError> {
    let retries = RetryPolicy::builder().maximum_retry_attempts(RETRIES).maximum_event_age_in_seconds(RETRIES_END);
    Target::builder()
        .arn(target_arn(way))
        .role_arn(&way.role_arn)
        .input(input(group, rule).to_string())
        .retry_policy(retries.build())
        .build()
}

fn exactly_then() -> Result<FlexibleTimeWindow, BuildError> {
    FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build()
}

fn done(answer: &impl RequestId) -> Answered<()> {
    Answered { value: (), request_id: answer.request_id().map(str::to_owned) }
}

fn not_built(tried: &str, error: &BuildError) -> Failure {
    Failure::new(FailureClass::Invalid, format!("{tried}: {error}"))
}

/// The time of a schedule, if it closes this rule as it should.
fn judge(answer: &GetScheduleOutput, group: &str, rule: &RuleId, way: &AutoCloseRoute) -> AutoCloseSeen {
    let closes = |target: &Target| {
        let given = target.input().and_then(|text| serde_json::from_str::<Value>(text).ok());
        target.arn() == target_arn(way) && target.role_arn() == way.role_arn && given == Some(input(group, rule))
    };
    let exact = |window: &FlexibleTimeWindow| *window.mode() == FlexibleTimeWindowMode::Off;
    let right = answer.target().is_some_and(closes)
        && answer.flexible_time_window().is_some_and(exact)
        && answer.state() == Some(&ScheduleState::Enabled)
        && answer.schedule_expression_timezone().is_none_or(|zone| zone == ZONE)
        && answer.action_after_completion() == Some(&ActionAfterCompletion::Delete);
    let time = answer.schedule_expression().and_then(time_of).filter(|_| right);
    time.map_or(AutoCloseSeen::Wrong, AutoCloseSeen::Set)
}

fn time_of(expression: &str) -> Option<Timestamp> {
    NaiveDateTime::parse_from_str(expression, TIME).ok().map(|time| time.and_utc())
}

/// The scheduler says the same of a schedule and of a group of schedules; only its words tell them apart.
fn is_absent(error: &impl ProvideErrorMetadata) -> bool {
    let group = error.message().is_some_and(|words| words.to_ascii_lowercase().contains("group"));
    error.code() == Some("ResourceNotFoundException") && !group
}

/// The call that puts an expiry schedule in its place.
#[derive(Clone, Copy)]
enum Put {
    New,
    /// In the place of the one that is there.
    Over,
}

impl Put {
    fn tried(self, rule: &RuleId) -> String {
        match self {
            Self::New => format!("set the expiry schedule of {rule}"),
            Self::Over => format!("move the expiry schedule of {rule}"),
        }
    }

    /// The class of its refusal if the other call would have been right.
    fn opposite(self) -> FailureClass {
        match self {
            Self::New => FailureClass::Stale,
            Self::Over => FailureClass::Gone,
        }
    }
}

impl SecurityGroups {
    pub async fn read_schedule(
        &self,
        group: &str,
        rule: &RuleId,
        way: &AutoCloseRoute,
    ) -> Result<AutoCloseSeen, Failure> {
        let tried = format!("read the expiry schedule of {rule}");
        let request = self.client.scheduler.get_schedule().group_name(&way.group).name(name(rule));
        match self.client.call(Action::GetSchedule, rule, || request.clone().send()).await {
            Ok(answer) if answer.name() == Some(&name(rule)) => Ok(judge(&answer, group, rule, way)),
            Ok(answer) => Err(unusable(&tried, "the answer is about something else", answer.request_id())),
            Err(error) if is_absent(&error) => Ok(AutoCloseSeen::Absent),
            Err(error) => Err(of_call(&tried, &error)),
        }
    }

    /// `CreateSchedule`, or `UpdateSchedule` if there is one. If the view was stale, the other call: both replace the whole
    /// schedule. If that one is refused for the opposite reason, another process is changing the schedule just now, and only
    /// a reading can tell the outcome.
    pub async fn set_schedule(&self, group: &str, rule: &RuleId, call: &SetAutoClose) -> Result<Answered<()>, Failure> {
        let (first, second) = if call.exists { (Put::Over, Put::New) } else { (Put::New, Put::Over) };
        match self.put(first, group, rule, call).await {
            Err(failure) if failure.class == first.opposite() => {
                let token = format!("{}-2", call.token);
                let again = self.put(second, group, rule, &SetAutoClose { token, ..call.clone() }).await;
                again.map_err(|failure| match second {
                    Put::Over if failure.class == FailureClass::Gone => {
                        Failure { class: FailureClass::Stale, ..failure }
                    }
                    _ => failure,
                })
            }
            other => other,
        }
    }

    async fn put(&self, put: Put, group: &str, rule: &RuleId, call: &SetAutoClose) -> Result<Answered<()>, Failure> {
        let tried = put.tried(rule);
        let built = target(group, rule, &call.way).and_then(|target| Ok((target, exactly_then()?)));
        let (target, window) = built.map_err(|error| not_built(&tried, &error))?;
        // Two builders with the same setters, and no trait in common.
        macro_rules! send {
            ($action:expr, $request:expr) => {{
                let request = $request
                    .name(name(rule))
                    .group_name(&call.way.group)
                    .description(&call.description)
                    .schedule_expression(call.at.format(TIME).to_string())
                    .schedule_expression_timezone(ZONE)
                    .state(ScheduleState::Enabled)
                    .flexible_time_window(window)
                    .action_after_completion(ActionAfterCompletion::Delete)
                    .target(target)
                    .client_token(&call.token);
                let answer = self.client.call($action, rule, || request.clone().send()).await;
                answer.map(|answer| done(&answer)).map_err(|error| of_call(&tried, &error))
            }};
        }
        match put {
            Put::New => send!(Action::CreateSchedule, self.client.scheduler.create_schedule()),
            Put::Over => send!(Action::UpdateSchedule, self.client.scheduler.update_schedule()),
        }
    }

    /// `DeleteSchedule`; a schedule that is gone already is as good.
    pub async fn drop_schedule(&self, rule: &RuleId, way: &AutoCloseRoute) -> Result<Answered<()>, Failure> {
        let tried = format!("delete the expiry schedule of {rule}");
        let request = self.client.scheduler.delete_schedule().group_name(&way.group).name(name(rule));
        match self.client.call(Action::DeleteSchedule, rule, || request.clone().send()).await {
            Ok(answer) => Ok(done(&answer)),
            Err(error) => match of_call(&tried, &error) {
                failure if failure.class == FailureClass::Gone => {
                    Ok(Answered { value: (), request_id: failure.request_id })
                }
                failure => Err(failure),
            },
        }
    }
}
