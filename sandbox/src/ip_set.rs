//! WAF IP sets: addresses under a lock token (WAFV2 API reference, `IPSet`).

use crate::tag_history::{Tags, retag};
use chrono::{DateTime, Utc};
use ipnet::{IpNet, Ipv6Net};

/// Earlier states that a stale reader can still be behind of.
const STATES_KEPT: usize = 16;

/// What an update replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetState {
    pub(crate) addresses: Vec<String>,
    pub(crate) token: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpSet {
    /// True for a set of CloudFront.
    pub global: bool,
    /// Unique in its account, region and scope.
    pub name: String,
    /// A UUID.
    pub id: String,
    pub account: String,
    pub region: String,
    pub description: Option<String>,
    pub ipv6: bool,
    /// As WAF spells them.
    pub addresses: Vec<String>,
    pub tags: Tags,
    pub(crate) token: String,
    pub(crate) earlier_tags: Vec<(DateTime<Utc>, Tags)>,
    pub(crate) earlier_states: Vec<(DateTime<Utc>, SetState)>,
}

impl IpSet {
    /// `regional/NAME/UUID` or `cloudfront/NAME/UUID`.
    pub fn place(&self) -> String {
        place(self.global, &self.name, &self.id)
    }

    pub fn arn(&self) -> String {
        let scope = if self.global { "global" } else { "regional" };
        format!("arn:aws:wafv2:{}:{}:{scope}/ipset/{}/{}", self.region, self.account, self.name, self.id)
    }

    /// Replaces the tags and keeps what they were.
    pub(crate) fn retag(&mut self, tags: Tags, now: DateTime<Utc>) {
        retag(&mut self.tags, &mut self.earlier_tags, tags, now);
    }

    /// Replaces the addresses and keeps what they were.
    pub(crate) fn put(&mut self, addresses: Vec<String>, token: String, now: DateTime<Utc>) {
        let addresses = std::mem::replace(&mut self.addresses, addresses);
        let token = std::mem::replace(&mut self.token, token);
        self.earlier_states.push((now, SetState { addresses, token }));
        if self.earlier_states.len() > STATES_KEPT {
            self.earlier_states.remove(0);
        }
    }
}

pub(crate) fn place(global: bool, name: &str, id: &str) -> String {
    format!("{}/{name}/{id}", if global { "cloudfront" } else { "regional" })
}

/// The place of a set in its ARN: `…:regional/ipset/NAME/UUID`.
pub(crate) fn place_in(arn: &str) -> Option<String> {
    let mut parts = arn.rsplit(':').next()?.split('/');
    let (scope, kind) = (parts.next()?, parts.next()?);
    let (name, id) = (parts.next()?, parts.next()?);
    (kind == "ipset").then(|| place(scope == "global", name, id))
}

/// An address range as WAF spells it: without host bits, and IPv6 in full, as in the examples of its reference.
pub(crate) fn spelled(network: IpNet) -> String {
    match network.trunc() {
        IpNet::V4(network) => network.to_string(),
        IpNet::V6(network) => in_full(network),
    }
}

fn in_full(network: Ipv6Net) -> String {
    let groups: Vec<String> = network.addr().segments().iter().map(|group| format!("{group:04x}")).collect();
    format!("{}/{}", groups.join(":"), network.prefix_len())
}
