//! The list of groups: all that the caller can see, or those that a selector means.

use crate::{
    ListedGroup,
    aws::{
        action::Action,
        errors::failure::{of_call, unusable},
        kind::SECURITY_GROUP,
        read::{
            pages::{PAGE_SIZE, Pages},
            rule,
        },
        security_group::SecurityGroups,
    },
};
use aws_sdk_ec2::types::{Filter, SecurityGroup};
use aws_types::request_id::RequestId;
use eg_model::{failure::Failure, selector::Selector};

/// Filters of `DescribeSecurityGroups` (EC2 API reference): `group-name`, `tag:<key>`; all have to hold.
fn filters(meant: &Selector) -> Vec<Filter> {
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let name = meant.name().map(|name| filter("group-name", name.as_str()));
    let tags = meant.tags().iter().map(|(key, value)| filter(&format!("tag:{key}"), value.as_str()));
    name.into_iter().chain(tags).collect()
}

fn read(group: &SecurityGroup) -> Option<ListedGroup> {
    let (permissions, other_ingress) = rule::allowed(group.ip_permissions());
    Some(ListedGroup {
        kind: &SECURITY_GROUP,
        id: group.group_id().filter(|id| !id.is_empty())?.to_owned(),
        name: group.group_name().unwrap_or_default().to_owned(),
        network: group.vpc_id().filter(|vpc| !vpc.is_empty()).map(str::to_owned),
        tags: rule::tags_of(group.tags()),
        permissions,
        other_ingress,
    })
}

impl SecurityGroups {
    /// Every page of `DescribeSecurityGroups`.
    pub async fn list_groups(&self, meant: Option<&Selector>) -> Result<Vec<ListedGroup>, Failure> {
        let tried = match meant {
            Some(meant) => format!("look for the groups with {meant}"),
            None => "list the groups".to_owned(),
        };
        let mut groups: Vec<ListedGroup> = Vec::new();
        let mut pages = Pages::default();
        let mut token = None;
        loop {
            let call = self
                .client
                .ec2
                .describe_security_groups()
                .set_filters(meant.map(filters))
                .max_results(PAGE_SIZE)
                .set_next_token(token);
            let answer = self.client.call(Action::DescribeSecurityGroups, "-", || call.clone().send()).await;
            let answer = answer.map_err(|error| of_call(&tried, &error))?;
            for group in answer.security_groups() {
                let group =
                    read(group).ok_or_else(|| unusable(&tried, "a group without an id", answer.request_id()))?;
                // An endpoint that does not filter would have everything opened.
                if meant.is_some_and(|meant| !meant.fits(&group.name, &group.tags)) {
                    let why = format!("the answer holds {}, which is not meant", group.id);
                    return Err(unusable(&tried, &why, answer.request_id()));
                }
                groups.retain(|known| known.id != group.id);
                groups.push(group);
            }
            token = pages.next(&tried, answer.next_token(), answer.request_id())?;
            if token.is_none() {
                groups.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
                return Ok(groups);
            }
        }
    }
}
