//! `DescribeRegions` (EC2 API reference): the regions that are enabled for the account.

use super::{ActionRequest, Answer};
use crate::{
    protocol::{errors::Refusal, xml::Xml},
    world::World,
};
use std::collections::BTreeSet;

/// Enabled for everybody; and so is every region in which the account has a group.
const ENABLED: [&str; 3] = ["eu-central-1", "eu-west-1", "us-east-1"];

pub(super) fn perform(world: &mut World, ask: &ActionRequest<'_>) -> Result<Answer, Refusal> {
    let used = world.groups().filter(|group| group.account == ask.caller.account).map(|group| group.region.as_str());
    let names: BTreeSet<&str> = used.chain(ENABLED).collect();
    let mut xml = Xml::default();
    xml.items("regionInfo", names, |xml, name| {
        xml.text("regionName", name);
        xml.text("regionEndpoint", format!("ec2.{name}.amazonaws.com"));
        xml.text("optInStatus", "opt-in-not-required");
    });
    Ok(Answer::read(xml))
}
