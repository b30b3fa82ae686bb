//! The documents that `[aws.cloud_expiry]` needs in an account: for a role that only the scheduler may assume and that may
//! do one thing. Pure: the known facts of the account come in.
//!
//! | document | for |
//! |---|---|
//! | trust policy | the role: the scheduler, for schedules of this account's one group |
//! | role policy | the role: revoke, on the configured groups |
//! | user policy | users of `eg`, beside what `eg iam-policy` prints: schedules with our names, passing that role |
//! | template | all of it, for CloudFormation |

use crate::aws::{
    action::Action,
    arn::Scope,
    policy::{
        roles::{CloudExpiry, DEFAULT_SCHEDULE_GROUP, ExpiryRole},
        user::{SCHEDULER, auto_close_statements},
    },
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The role's name, unless the configuration or the user says another.
pub const ROLE_NAME: &str = "eg-cloud-expiry";
const POLICY_NAME: &str = "eg-cloud-expiry";

/// One account, and what is configured in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredAccount {
    /// Such as `aws`.
    pub partition: String,
    /// Twelve digits.
    pub number: String,
    /// The role's path and name, as they stand in its ARN: `eg-cloud-expiry`, `ops/eg`.
    pub role: String,
    /// The group that expiry schedules are kept in.
    pub schedule_group: String,
    /// The configured groups; all of this account.
    pub scopes: BTreeSet<Scope>,
}

impl ConfiguredAccount {
    pub fn role_arn(&self) -> String {
        format!("arn:{}:iam::{}:role/{}", self.partition, self.number, self.role)
    }

    /// The role's path, and its name.
    fn path_and_name(&self) -> (String, &str) {
        match self.role.rsplit_once('/') {
            Some((path, name)) => (format!("/{path}/"), name),
            None => ("/".to_owned(), &self.role),
        }
    }

    pub fn regions(&self) -> BTreeSet<&str> {
        self.scopes.iter().map(|scope| scope.region.as_str()).collect()
    }

    /// True if the schedule group has to be made: every account has the default one.
    pub fn needs_schedule_group(&self) -> bool {
        self.schedule_group != DEFAULT_SCHEDULE_GROUP
    }

    /// The trust policy of the role (EventBridge Scheduler User Guide, "Confused deputy prevention": by group of schedules).
    pub fn trust(&self) -> Value {
        let (partition, number, group) = (&self.partition, &self.number, &self.schedule_group);
        let schedules = |region: &&str| format!("arn:{partition}:scheduler:{region}:{number}:schedule-group/{group}");
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"Service": SCHEDULER},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": number},
                    "ArnEquals": {"aws:SourceArn": self.regions().iter().map(schedules).collect::<Vec<_>>()},
                },
            }],
        })
    }

    pub fn role_policy(&self) -> Value {
        let groups: BTreeSet<String> =
            self.scopes.iter().map(|scope| scope.arn(&format!("security-group/{}", scope.id))).collect();
        let rules: BTreeSet<String> = self.scopes.iter().map(|scope| scope.arn("security-group-rule/*")).collect();
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "CloseRules",
                "Effect": "Allow",
                "Action": Action::RevokeSecurityGroupIngress.permission(),
                "Resource": groups.iter().chain(&rules).collect::<Vec<_>>(),
            }],
        })
    }

    /// The policy for users of `eg`, beside the one that `eg iam-policy` prints.
    pub fn user_policy(&self) -> Value {
        let expiry = CloudExpiry { roles: vec![self.role_arn()], schedule_group: self.schedule_group.clone() };
        json!({"Version": "2012-10-17", "Statement": auto_close_statements(&self.scopes, &expiry)})
    }

    pub fn expiry_role(&self) -> ExpiryRole {
        let (path, name) = self.path_and_name();
        ExpiryRole {
            name: name.to_owned(),
            path,
            trust: self.trust(),
            policy_name: POLICY_NAME.to_owned(),
            policy: self.role_policy(),
        }
    }

    /// All of it as a CloudFormation template.
    pub fn template(&self) -> Value {
        let (path, name) = self.path_and_name();
        let mut resources = json!({
            "ExpiryRole": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "RoleName": name,
                    "Path": path,
                    "Description": ExpiryRole::DESCRIPTION,
                    "AssumeRolePolicyDocument": self.trust(),
                    "Policies": [{"PolicyName": POLICY_NAME, "PolicyDocument": self.role_policy()}],
                },
            },
            "UserPolicy": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {
                    "Description": "What users of eg need for expiry schedules, beside what eg iam-policy prints",
                    "PolicyDocument": self.user_policy(),
                },
            },
        });
        if self.needs_schedule_group()
            && let Some(resources) = resources.as_object_mut()
        {
            let group = json!({"Type": "AWS::Scheduler::ScheduleGroup", "Properties": {"Name": self.schedule_group}});
            resources.insert("ScheduleGroup".to_owned(), group);
        }
        json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": "What eg needs so that rules close on time even if its machine never comes back",
            "Resources": resources,
            "Outputs": {
                "RoleArn": {
                    "Description": "For role_arn of [aws.cloud_expiry]",
                    "Value": {"Fn::GetAtt": ["ExpiryRole", "Arn"]},
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(role: &str, group: &str) -> ConfiguredAccount {
        let scope = |region: &str, group: &str| Scope {
            partition: "aws-cn".into(),
            region: region.into(),
            account: Some("123456789012".into()),
            id: group.into(),
        };
        ConfiguredAccount {
            partition: "aws-cn".into(),
            number: "123456789012".into(),
            role: role.into(),
            schedule_group: group.into(),
            scopes: [scope("cn-north-1", "sg-1"), scope("cn-north-1", "sg-2"), scope("cn-northwest-1", "sg-3")].into(),
        }
    }

    #[test]
    fn only_the_scheduler_takes_the_role_for_this_accounts_group() {
        let condition = &account(ROLE_NAME, "eg").trust()["Statement"][0]["Condition"];
        assert_eq!(condition["StringEquals"]["aws:SourceAccount"], "123456789012");
        assert_eq!(
            condition["ArnEquals"]["aws:SourceArn"],
            json!([
                "arn:aws-cn:scheduler:cn-north-1:123456789012:schedule-group/eg",
                "arn:aws-cn:scheduler:cn-northwest-1:123456789012:schedule-group/eg",
            ])
        );
    }

    #[test]
    fn the_role_may_revoke_on_the_configured_groups_and_nothing_else() {
        let policy = account(ROLE_NAME, "eg").role_policy();
        assert_eq!(policy["Statement"].as_array().unwrap().len(), 1);
        assert_eq!(policy["Statement"][0]["Action"], "ec2:RevokeSecurityGroupIngress");
        let resources = policy["Statement"][0]["Resource"].as_array().unwrap();
        let groups = resources.iter().filter(|arn| arn.as_str().unwrap().contains(":security-group/sg-")).count();
        assert_eq!((groups, resources.len()), (3, 5));
    }

    #[test]
    fn a_role_with_a_path() {
        let one = account("ops/eg/closer", "default");
        assert_eq!(one.role_arn(), "arn:aws-cn:iam::123456789012:role/ops/eg/closer");
        let role = one.expiry_role();
        assert_eq!((role.path.as_str(), role.name.as_str()), ("/ops/eg/", "closer"));
        assert!(!one.needs_schedule_group() && one.template()["Resources"].get("ScheduleGroup").is_none());
    }
}
