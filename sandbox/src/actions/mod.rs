//! The actions. Each checks everything before it changes anything, so that a refused call changed nothing.

pub mod authorize;
pub mod describe_groups;
pub mod describe_rules;
pub mod groups;
pub mod ip_sets;
pub mod modify;
pub mod network;
pub mod prefix_lists;
pub mod regions;
pub mod revoke;
pub mod rule_xml;
pub mod schedules;
pub mod sts;
pub mod tags;

use crate::{
    faults::Fault,
    ids,
    protocol::{
        errors::{self, Refusal},
        form::Form,
        xml::Xml,
    },
    settings::{RegionSettings, Stale},
    tag_history::Tags,
    world::{CallerIdentity, Group, SecurityGroupRule, World},
};
use chrono::{DateTime, Utc};

#[derive(Debug)]
pub(crate) struct ActionRequest<'a> {
    pub(crate) form: &'a Form,
    pub(crate) caller: &'a CallerIdentity,
    pub(crate) region: &'a str,
    pub(crate) settings: &'a RegionSettings,
    /// Set when this very read is stale.
    pub(crate) stale: Option<&'a Stale>,
    pub(crate) fault: Option<&'a Fault>,
    pub(crate) seed: u64,
    pub(crate) now: DateTime<Utc>,
}

#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The answer's elements, without the envelope.
    pub(crate) xml: Xml,
    /// The whole answer of a service that speaks JSON.
    pub(crate) json: Option<serde_json::Value>,
    pub(crate) effect: bool,
    /// The ids of everything that was made or removed.
    pub(crate) ids: Vec<String>,
}

impl Answer {
    /// `<return>true</return>` and ids.
    fn done(ids: Vec<String>) -> Self {
        let mut xml = Xml::default();
        xml.text("return", true);
        Self { xml, effect: true, ids, ..Self::default() }
    }

    fn read(xml: Xml) -> Self {
        Self { xml, ..Self::default() }
    }
}

pub(crate) fn perform(action: &str, world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let act = match action {
        "" => return Err(Refusal::new("MissingAction", "The request must contain the parameter Action")),
        "GetCallerIdentity" => return Ok(sts::caller_identity(ask)),
        "AssumeRole" => return sts::assume_role(world, ask),
        "CreateSchedule" => return schedules::create(world, ask),
        "UpdateSchedule" => return schedules::update(world, ask),
        "GetSchedule" => return schedules::get(world, ask),
        "DeleteSchedule" => return schedules::delete(world, ask),
        "CreateIPSet" => return ip_sets::create(world, ask),
        "GetIPSet" => return ip_sets::get(world, ask),
        "UpdateIPSet" => return ip_sets::update(world, ask),
        "DeleteIPSet" => return ip_sets::delete(world, ask),
        "ListIPSets" => return ip_sets::list(world, ask),
        "ListTagsForResource" => return ip_sets::list_tags(world, ask),
        "TagResource" => return ip_sets::tag(world, ask),
        "UntagResource" => return ip_sets::untag(world, ask),
        "DescribeRegions" => regions::perform,
        "DescribeNetworkInterfaces" => network::interfaces,
        "DescribeNetworkAcls" => network::acls,
        "DescribeRouteTables" => network::route_tables,
        "DescribeInstances" => network::instances,
        "DescribeSecurityGroups" => describe_groups::perform,
        "DescribeSecurityGroupRules" => describe_rules::perform,
        "AuthorizeSecurityGroupIngress" => authorize::perform,
        "RevokeSecurityGroupIngress" => revoke::perform,
        "ModifySecurityGroupRules" => modify::perform,
        "CreateTags" => tags::create,
        "DeleteTags" => tags::delete,
        "CreateSecurityGroup" => groups::create,
        "DeleteSecurityGroup" => groups::delete,
        "CreateManagedPrefixList" => prefix_lists::create,
        "DescribeManagedPrefixLists" => prefix_lists::describe,
        "GetManagedPrefixListEntries" => prefix_lists::entries,
        "ModifyManagedPrefixList" => prefix_lists::modify,
        "DeleteManagedPrefixList" => prefix_lists::delete,
        other => {
            return Err(Refusal::new(
                "InvalidAction",
                format!("The action {other} is not valid for this web service."),
            ));
        }
    };
    // EC2 API reference, `DryRun`: "checks whether you have the required permissions for the action, without actually
    // making the request".
    if ask.form.is_true("DryRun") {
        return Err(errors::dry_run());
    }
    act(world, ask)
}

/// The group with this id, if the caller has it here.
fn group<'w>(world: &'w World, ask: &ActionRequest<'_>, id: &str) -> Result<&'w Group, Refusal> {
    if !ids::well_formed(id, "sg-") {
        return Err(errors::malformed_group(id));
    }
    world.group(id, &ask.caller.account, ask.region).ok_or_else(|| errors::no_group(id))
}

/// The rule with this id, if the caller has it here.
fn rule<'w>(world: &'w World, ask: &ActionRequest<'_>, id: &str) -> Result<&'w SecurityGroupRule, Refusal> {
    if !ids::well_formed(id, "sgr-") {
        let message = format!("Invalid id: \"{id}\" (expecting \"sgr-...\")");
        return Err(Refusal::new("InvalidSecurityGroupRuleId.Malformed", message));
    }
    let here = |rule: &&SecurityGroupRule| world.group(&rule.group, &ask.caller.account, ask.region).is_some();
    world.rule(id).filter(here).ok_or_else(|| errors::no_rule(id))
}

/// The tags that a call gives to what it makes: `TagSpecification.N`.
fn new_tags(ask: &ActionRequest<'_>, resource_type: &str) -> Result<Tags, Refusal> {
    let mut all = Tags::new();
    for part in ask.form.parts("TagSpecification") {
        let kind = part.required("ResourceType")?;
        if kind != resource_type {
            let message = format!("'{kind}' is not a valid taggable resource type for this operation.");
            return Err(errors::invalid_value(message));
        }
        all.extend(tags::given(&part)?);
    }
    match all.len() > ask.settings.tags_per_resource {
        true => Err(errors::too_many_tags(resource_type)),
        false => Ok(all),
    }
}
