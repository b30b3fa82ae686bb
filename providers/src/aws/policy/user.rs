//! The policy for users of `eg`: the least that IAM has to allow. Pure: made from the configured resources alone.
//!
//! | statement | why it is no narrower |
//! |---|---|
//! | `Look` | `Describe…` knows no resources (AWS, "Actions, resources, and condition keys for Amazon EC2") |
//! | `OpenAndClose` | IAM cannot limit a revoke to tagged rules; the groups are the limit |
//! | `HaveTheCloudClose` | expiry schedules, where they are configured: schedules with our names in the one group |
//! | `PassTheRoleThatCloses` | the role that closes, and to the scheduler alone |
//! | `FindHosts` | `Describe…` knows no resources; only where hosts stand in the place of groups |
//! | `TagWhatIsOpened` | tags inside the authorize call, and in no other: `ec2:CreateAction` |
//! | `TagWhatIsOpen` | only our keys, and only on rules that carry our mark: no rule made by hand can be given one. With [`Retag::WithoutMark`], also on rules without any mark, so that a rule of ours can be tagged again that has lost it |

use crate::{
    aws::{
        PREFIX_LIST, SECURITY_GROUP, WAF_IP_SET,
        action::Action,
        arn::Scope,
        policy::{
            lists,
            roles::CloudExpiry,
            words::{OUR_KEYS, names},
        },
    },
    kind::Kind,
};
use eg_model::tags::{LEASE_PREFIX, MANAGED_BY, MANAGED_BY_EG};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// `*` and `?` would match anything (IAM, "StringLike").
fn literally(key: &str) -> String {
    key.chars().map(|c| if matches!(c, '*' | '?' | '$') { format!("${{{c}}}") } else { c.to_string() }).collect()
}

/// The service that expiry schedules are schedules of; its name is the same in every partition.
pub const SCHEDULER: &str = "scheduler.amazonaws.com";

/// The statements for setting, moving, reading and deleting expiry schedules; empty if no role is of any scope's
/// account.
pub fn auto_close_statements(scopes: &BTreeSet<Scope>, expiry: &CloudExpiry) -> Vec<Value> {
    let ways = |scope: &Scope| match &scope.account {
        Some(account) => expiry.way(account).into_iter().map(|way| way.role_arn).collect(),
        None => expiry.roles.clone(),
    };
    let roles: BTreeSet<String> = scopes.iter().flat_map(ways).collect();
    let with_role = scopes.iter().filter(|scope| !ways(scope).is_empty());
    let schedules: BTreeSet<String> = with_role.map(|scope| scope.schedules(&expiry.schedule_group)).collect();
    if roles.is_empty() {
        return Vec::new();
    }
    vec![
        json!({
            "Sid": "HaveTheCloudClose",
            "Effect": "Allow",
            "Action": names(&Action::CLOUD_EXPIRY),
            "Resource": schedules,
        }),
        json!({
            "Sid": "PassTheRoleThatCloses",
            "Effect": "Allow",
            "Action": ["iam:PassRole"],
            "Resource": roles,
            "Condition": {"StringEquals": {"iam:PassedToService": SCHEDULER}},
        }),
    ]
}

/// The rules that may be tagged although they are open already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retag {
    /// Those that carry our mark.
    Marked,
    /// Also those that carry none: every rule of the region that no tool marks, made by hand or not.
    WithoutMark,
}

impl Retag {
    /// IAM's condition operator: with `IfExists`, a rule without the tag passes (IAM, "...IfExists condition operators").
    fn operator(self) -> &'static str {
        match self {
            Self::Marked => "StringEquals",
            Self::WithoutMark => "StringEqualsIfExists",
        }
    }
}

/// The firewalls that a policy is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyTargets {
    pub groups: BTreeSet<Scope>,
    pub prefix_lists: BTreeSet<Scope>,
    pub ip_sets: BTreeSet<Scope>,
    /// True if hosts stand in the place of groups.
    pub hosts: bool,
}

impl PolicyTargets {
    /// Adds a firewall. False if its kind needs no rights of IAM.
    pub fn add(&mut self, kind: &Kind, scope: Scope) -> bool {
        let of_kind = if *kind == SECURITY_GROUP {
            &mut self.groups
        } else if *kind == PREFIX_LIST {
            &mut self.prefix_lists
        } else if *kind == WAF_IP_SET {
            &mut self.ip_sets
        } else {
            return false;
        };
        of_kind.insert(scope);
        true
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.prefix_lists.is_empty() && self.ip_sets.is_empty()
    }
}

/// The policy for these firewalls; rules carry `extra_tags` beside ours.
pub fn policy<'a>(
    targets: &PolicyTargets,
    extra_tags: impl Iterator<Item = &'a String>,
    expiry: Option<&CloudExpiry>,
    retag: Retag,
) -> Value {
    let mut statements = Vec::new();
    if !targets.groups.is_empty() {
        statements.extend(group_statements(&targets.groups, extra_tags, retag));
    }
    if targets.hosts {
        statements.push(host_statement());
    }
    statements.extend(expiry.map(|expiry| auto_close_statements(&targets.groups, expiry)).unwrap_or_default());
    statements.extend(lists::prefix_lists(&targets.prefix_lists));
    statements.extend(lists::ip_sets(&targets.ip_sets));
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// The statement for finding the group in front of a host, and what is in the way to it. `Describe…` knows no resources.
fn host_statement() -> Value {
    json!({
        "Sid": "FindHosts",
        "Effect": "Allow",
        "Action": names(&[&Action::HOSTS[..], &[Action::DescribeRegions]].concat()),
        "Resource": "*",
    })
}

fn group_statements<'a>(
    scopes: &BTreeSet<Scope>,
    extra_tags: impl Iterator<Item = &'a String>,
    retag: Retag,
) -> Vec<Value> {
    let groups: BTreeSet<String> =
        scopes.iter().map(|scope| scope.arn(&format!("security-group/{}", scope.id))).collect();
    let rules: BTreeSet<String> = scopes.iter().map(|scope| scope.arn("security-group-rule/*")).collect();
    let keys: Vec<String> = std::iter::once(OUR_KEYS.to_owned()).chain(extra_tags.map(|key| literally(key))).collect();
    vec![
        json!({
            "Sid": "Look",
            "Effect": "Allow",
            "Action": names(&[Action::DescribeSecurityGroups, Action::DescribeSecurityGroupRules]),
            "Resource": "*",
        }),
        json!({
            "Sid": "OpenAndClose",
            "Effect": "Allow",
            "Action": names(&[Action::AuthorizeSecurityGroupIngress, Action::RevokeSecurityGroupIngress]),
            "Resource": groups.iter().chain(&rules).collect::<Vec<_>>(),
        }),
        json!({
            "Sid": "TagWhatIsOpened",
            "Effect": "Allow",
            "Action": names(&[Action::CreateTags]),
            "Resource": rules,
            "Condition": {
                "StringEquals": {"ec2:CreateAction": Action::AuthorizeSecurityGroupIngress.name()},
                "ForAllValues:StringLike": {"aws:TagKeys": keys},
            },
        }),
        json!({
            "Sid": "TagWhatIsOpen",
            "Effect": "Allow",
            "Action": names(&[Action::CreateTags, Action::DeleteTags]),
            "Resource": rules,
            "Condition": {
                "Null": {"ec2:CreateAction": "true", "aws:TagKeys": "false"},
                "ForAllValues:StringLike": {"aws:TagKeys": keys},
                retag.operator(): {format!("aws:ResourceTag/{MANAGED_BY}"): MANAGED_BY_EG},
            },
        }),
    ]
}

/// The policy for `eg sweep`: every firewall of an account, in every region. Sweeping opens nothing, so the policy allows no
/// opening of groups.
pub fn sweep_policy(partition: &str) -> Value {
    let all = |resource: &str| format!("arn:{partition}:ec2:*:*:{resource}/*");
    let looks = [Action::DescribeSecurityGroups, Action::DescribeSecurityGroupRules, Action::DescribeRegions];
    let leases = format!("{LEASE_PREFIX}*");
    let mut policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Look", "Effect": "Allow", "Action": names(&looks), "Resource": "*"},
            {
                "Sid": "Close",
                "Effect": "Allow",
                "Action": names(&[Action::RevokeSecurityGroupIngress]),
                "Resource": [all("security-group"), all("security-group-rule")],
            },
            {
                "Sid": "TakeLeasesOff",
                "Effect": "Allow",
                "Action": names(&[Action::DeleteTags]),
                "Resource": [all("security-group-rule")],
                "Condition": {
                    "Null": {"aws:TagKeys": "false"},
                    "ForAllValues:StringLike": {"aws:TagKeys": [leases]},
                    "StringEquals": {format!("aws:ResourceTag/{MANAGED_BY}"): MANAGED_BY_EG},
                },
            },
        ],
    });
    if let Some(statements) = policy.get_mut("Statement").and_then(Value::as_array_mut) {
        statements.extend(lists::sweep(partition));
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::arn::partition_of;

    fn scope(region: &str, account: Option<&str>, group: &str) -> Scope {
        Scope {
            partition: partition_of(region).to_owned(),
            region: region.to_owned(),
            account: account.map(str::to_owned),
            id: group.to_owned(),
        }
    }

    fn groups<const N: usize>(groups: [Scope; N]) -> PolicyTargets {
        PolicyTargets { groups: groups.into(), ..PolicyTargets::default() }
    }

    fn expiry() -> CloudExpiry {
        let role = |account: &str| format!("arn:aws:iam::{account}:role/eg-expiry");
        CloudExpiry { roles: vec![role("123456789012"), role("210987654321")], schedule_group: "eg".into() }
    }

    #[test]
    fn auto_closes_are_scoped_to_group_name_and_role() {
        let of =
            |account: Option<&str>| auto_close_statements(&[scope("eu-west-1", account, "sg-1")].into(), &expiry());
        let one = of(Some("123456789012"));
        assert_eq!(one[0]["Resource"], json!(["arn:aws:scheduler:eu-west-1:123456789012:schedule/eg/eg-sgr-*"]));
        assert_eq!(one[1]["Resource"], json!(["arn:aws:iam::123456789012:role/eg-expiry"]));
        assert_eq!(one[1]["Condition"], json!({"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}));
        let unknown = of(None);
        assert_eq!(unknown[0]["Resource"], json!(["arn:aws:scheduler:eu-west-1:*:schedule/eg/eg-sgr-*"]));
        assert_eq!(unknown[1]["Resource"].as_array().unwrap().len(), 2);
        assert_eq!(of(Some("111111111111")), Vec::<Value>::new(), "no role of that account");
    }

    fn actions(policy: &Value) -> BTreeSet<String> {
        let statements = policy["Statement"].as_array().unwrap();
        let listed = statements.iter().flat_map(|statement| statement["Action"].as_array().unwrap());
        listed.map(|action| action.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn exactly_what_can_be_sent() {
        let scopes = PolicyTargets {
            groups: [scope("eu-west-1", None, "sg-1")].into(),
            prefix_lists: [scope("eu-west-1", None, "pl-1")].into(),
            ip_sets: [scope("eu-west-1", None, "regional/office/1-2")].into(),
            hosts: true,
        };
        let policy = policy(&scopes, std::iter::empty(), None, Retag::Marked);
        let apart: Vec<Action> = Action::CLOUD_EXPIRY.into_iter().chain(Action::PREPARATION).collect();
        let rest = Action::ALL.iter().copied().filter(|action| !apart.contains(action));
        let mut sent: BTreeSet<String> = rest.filter_map(Action::permission).collect();
        let swept = actions(&sweep_policy("aws"));
        assert_eq!(&actions(&policy) | &swept, sent, "without expiry schedules");
        sent.extend(Action::CLOUD_EXPIRY.into_iter().filter_map(Action::permission));
        sent.insert("iam:PassRole".to_owned());
        assert_eq!(
            &actions(&super::policy(&scopes, std::iter::empty(), Some(&expiry()), Retag::Marked)) | &swept,
            sent
        );
        let for_sweeping_alone: Vec<_> = swept.difference(&actions(&policy)).cloned().collect();
        assert_eq!(for_sweeping_alone, ["wafv2:ListIPSets"]);
        assert!(!swept.contains("ec2:AuthorizeSecurityGroupIngress"), "sweeping opens nothing");
        let wide: Vec<_> = policy["Statement"].as_array().unwrap().iter().filter(|s| s["Resource"] == "*").collect();
        let looks: Vec<&Value> = wide.iter().flat_map(|s| s["Action"].as_array().unwrap()).collect();
        assert_eq!(looks.len(), 8);
        assert!(looks.iter().all(|action| action.as_str().unwrap().starts_with("ec2:Describe")));
    }

    /// The one difference between the two: whether a rule without our mark can be given it.
    #[test]
    fn a_rule_without_our_mark_is_tagged_on_request_alone() {
        let scopes = groups([scope("eu-west-1", None, "sg-1")]);
        let of = |retag| policy(&scopes, std::iter::empty(), None, retag);
        let (narrow, mut wide) = (of(Retag::Marked), of(Retag::WithoutMark));
        assert_eq!(narrow["Statement"][3]["Sid"], "TagWhatIsOpen");
        let ours = json!({"aws:ResourceTag/eg:managed-by": "eg"});
        let condition = wide["Statement"][3]["Condition"].as_object_mut().unwrap();
        assert_eq!(condition.remove("StringEqualsIfExists"), Some(ours.clone()));
        condition.insert("StringEquals".to_owned(), ours);
        assert_eq!(wide, narrow);
        assert!(!narrow.to_string().contains("IfExists"), "{narrow:#}");
    }

    #[test]
    fn resources_are_scoped_each_once() {
        let scopes = [
            scope("eu-west-1", Some("123456789012"), "sg-1"),
            scope("eu-west-1", Some("123456789012"), "sg-2"),
            scope("cn-north-1", None, "sg-3"),
        ];
        let policy = policy(&groups(scopes), ["cost*centre".to_owned()].iter(), None, Retag::Marked);
        let resources = policy["Statement"][1]["Resource"].as_array().unwrap();
        let resources: Vec<_> = resources.iter().map(|arn| arn.as_str().unwrap()).collect();
        assert_eq!(
            resources,
            [
                "arn:aws-cn:ec2:cn-north-1:*:security-group/sg-3",
                "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-1",
                "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-2",
                "arn:aws-cn:ec2:cn-north-1:*:security-group-rule/*",
                "arn:aws:ec2:eu-west-1:123456789012:security-group-rule/*",
            ]
        );
        let keys = &policy["Statement"][3]["Condition"]["ForAllValues:StringLike"]["aws:TagKeys"];
        assert_eq!(*keys, json!(["eg:*", "cost${*}centre"]));
    }
}
