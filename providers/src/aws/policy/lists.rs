//! The statements for prefix lists and WAF IP sets. Their marks are tags of the list or set itself.
//!
//! | statement | why it is no narrower |
//! |---|---|
//! | `LookAtPrefixLists` | `Describe…` knows no resources (AWS, "Actions, resources, and condition keys for Amazon EC2") |
//! | `ChangePrefixLists`, `ChangeIpSets` | IAM cannot limit a change to entries of `eg`; the lists and sets are the limit |
//! | `MarkPrefixLists`, `MarkIpSets` | our keys alone; the first mark comes onto a list without any |

use crate::aws::{
    action::Action,
    arn::Scope,
    policy::words::{OUR_KEYS, names},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Statements for changing and marking these prefix lists; none for no list.
pub fn prefix_lists(lists: &BTreeSet<Scope>) -> Vec<Value> {
    let lists: BTreeSet<String> = lists.iter().map(|scope| scope.arn(&format!("prefix-list/{}", scope.id))).collect();
    if lists.is_empty() {
        return Vec::new();
    }
    let change = [Action::GetManagedPrefixListEntries, Action::ModifyManagedPrefixList];
    vec![
        json!({
            "Sid": "LookAtPrefixLists",
            "Effect": "Allow",
            "Action": names(&[Action::DescribeManagedPrefixLists]),
            "Resource": "*",
        }),
        json!({"Sid": "ChangePrefixLists", "Effect": "Allow", "Action": names(&change), "Resource": lists}),
        marking("MarkPrefixLists", &names(&[Action::CreateTags, Action::DeleteTags]), OUR_KEYS, &lists),
    ]
}

/// Statements for changing and marking these IP sets; none for no set.
pub fn ip_sets(sets: &BTreeSet<Scope>) -> Vec<Value> {
    let sets: BTreeSet<String> = sets.iter().map(Scope::ip_set).collect();
    if sets.is_empty() {
        return Vec::new();
    }
    let change = [Action::GetIPSet, Action::UpdateIPSet, Action::ListTagsForResource];
    vec![
        json!({"Sid": "ChangeIpSets", "Effect": "Allow", "Action": names(&change), "Resource": sets}),
        marking("MarkIpSets", &names(&[Action::TagResource, Action::UntagResource]), OUR_KEYS, &sets),
    ]
}

/// Statements for `eg sweep`: every list and set of an account, in every region. IAM cannot allow to remove an entry of a
/// list and not to add one. Of tags, `eg sweep` removes those of dead installations.
pub fn sweep(partition: &str) -> Vec<Value> {
    let (lists, sets) =
        (format!("arn:{partition}:ec2:*:*:prefix-list/*"), format!("arn:{partition}:wafv2:*:*:*/ipset/*/*"));
    let look = [Action::DescribeManagedPrefixLists, Action::ListIPSets];
    let on_lists = [Action::GetManagedPrefixListEntries, Action::ModifyManagedPrefixList];
    let on_sets = [Action::GetIPSet, Action::UpdateIPSet, Action::ListTagsForResource];
    let (on_every_list, on_every_set) = (BTreeSet::from([lists]), BTreeSet::from([sets]));
    vec![
        json!({"Sid": "LookAtLists", "Effect": "Allow", "Action": names(&look), "Resource": "*"}),
        json!({"Sid": "CloseOnPrefixLists", "Effect": "Allow", "Action": names(&on_lists), "Resource": on_every_list}),
        json!({"Sid": "CloseOnIpSets", "Effect": "Allow", "Action": names(&on_sets), "Resource": on_every_set}),
        marking("UnmarkPrefixLists", &names(&[Action::DeleteTags]), OUR_KEYS, &on_every_list),
        marking("UnmarkIpSets", &names(&[Action::UntagResource]), OUR_KEYS, &on_every_set),
    ]
}

fn marking(sid: &str, actions: &[String], keys: &str, resources: &BTreeSet<String>) -> Value {
    json!({
        "Sid": sid,
        "Effect": "Allow",
        "Action": actions,
        "Resource": resources,
        "Condition": {
            "Null": {"aws:TagKeys": "false"},
            "ForAllValues:StringLike": {"aws:TagKeys": [keys]},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(region: &str, account: Option<&str>, id: &str) -> Scope {
        let account = account.map(str::to_owned);
        Scope { partition: "aws".to_owned(), region: region.to_owned(), account, id: id.to_owned() }
    }

    #[test]
    fn lists_and_sets_are_named_each_once() {
        let lists = [scope("eu-west-1", Some("123456789012"), "pl-1"), scope("eu-west-1", None, "pl-1")].into();
        let arns = ["arn:aws:ec2:eu-west-1:*:prefix-list/pl-1", "arn:aws:ec2:eu-west-1:123456789012:prefix-list/pl-1"];
        let of_lists = prefix_lists(&lists);
        assert_eq!((&of_lists[1]["Resource"], &of_lists[2]["Resource"]), (&json!(arns), &json!(arns)));
        let sets = [scope("eu-west-1", None, "regional/office/1-2"), scope("us-east-1", None, "cloudfront/office/1-3")];
        assert_eq!(
            ip_sets(&sets.into())[0]["Resource"],
            json!([
                "arn:aws:wafv2:eu-west-1:*:regional/ipset/office/1-2",
                "arn:aws:wafv2:us-east-1:*:global/ipset/office/1-3",
            ])
        );
        assert_eq!((prefix_lists(&BTreeSet::new()), ip_sets(&BTreeSet::new())), (Vec::new(), Vec::new()));
    }
}
