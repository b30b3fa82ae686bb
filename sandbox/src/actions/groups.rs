//! `CreateSecurityGroup` and `DeleteSecurityGroup` (EC2 API reference).

use super::{ActionRequest, Answer, group, new_tags, rule_xml};
use crate::{
    ids,
    permission::{self, Source},
    protocol::errors::{self, Refusal},
    world::{Group, World},
};

/// The one VPC that there is, when the request names none.
const VPC: &str = "vpc-0a1b2c3d4e5f60718";

pub(super) fn create(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let name = ask.form.required("GroupName")?;
    let description = permission::description(ask.form.required("GroupDescription")?)?;
    let vpc = ask.form.get("VpcId").unwrap_or(VPC);
    let tags = new_tags(ask, "security-group")?;
    check_name(world, ask, name, vpc)?;
    let group = Group {
        id: ids::group(ask.seed, world.next()),
        name: name.to_owned(),
        description,
        account: ask.caller.account.clone(),
        region: ask.region.to_owned(),
        vpc: vpc.to_owned(),
        tags,
    };
    world.add_group(group.clone(), ask.seed, ask.now);
    let mut answer = Answer::done(vec![group.id.clone()]);
    answer.xml.text("groupId", &group.id);
    rule_xml::tags(&mut answer.xml, &group.tags);
    answer.xml.text("securityGroupArn", arn(&group));
    Ok(answer)
}

/// "Up to 255 characters in length. Can't start with `sg-`", unique in the VPC.
fn check_name(world: &World, ask: &ActionRequest<'_>, name: &str, vpc: &str) -> Result<(), Refusal> {
    if name.chars().count() > 255 || name.starts_with("sg-") {
        let message =
            format!("Value ({name}) for parameter GroupName is invalid. Group names may not be in the format sg-*.");
        return Err(errors::invalid_value(message));
    }
    let here = |group: &Group| group.account == ask.caller.account && group.region == ask.region && group.vpc == vpc;
    match world.groups().any(|group| here(group) && group.name == name) {
        true => Err(Refusal::new(
            "InvalidGroup.Duplicate",
            format!("The security group '{name}' already exists for VPC '{vpc}'"),
        )),
        false => Ok(()),
    }
}

pub(super) fn delete(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let id = group(world, ask, ask.form.required("GroupId")?)?.id.clone();
    // "If you attempt to delete a security group that … is referenced by another security group, the operation fails
    // with `DependencyViolation`."
    let source = Source::Group(id.clone());
    if world.rules().any(|rule| rule.group != id && rule.permission.source == source) {
        return Err(Refusal::new("DependencyViolation", format!("resource {id} has a dependent object")));
    }
    world.remove_group(&id, ask.now);
    let mut answer = Answer::done(vec![id.clone()]);
    answer.xml.text("groupId", id);
    Ok(answer)
}

pub(super) fn arn(group: &Group) -> String {
    format!("arn:aws:ec2:{}:{}:security-group/{}", group.region, group.account, group.id)
}
