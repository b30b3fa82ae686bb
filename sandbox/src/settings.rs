//! Faults of the whole region, apart from faults of single requests.

use chrono::TimeDelta;
use std::{collections::BTreeMap, time::Duration};

/// A way in which a stale reading differs from the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaleSight {
    /// A new rule is missing.
    NewMissing,
    /// A revoked rule is still there.
    RevokedPresent,
    /// A rule or list has the tags it had before, a new one none.
    TagsMissing,
    /// A prefix list has the version that it had before, an IP set the addresses and the token.
    OldVersion,
}

/// Reads that lag behind writes (EC2 API reference, "Eventual consistency").
#[derive(Clone, Debug, PartialEq)]
pub struct Stale {
    /// The time after a write for which reads lag, by the sandbox's clock.
    pub lasting: TimeDelta,
    /// The differences.
    pub sights: Vec<StaleSight>,
    /// The share of stale reads, from 0 to 1; drawn by the seed.
    pub chance: f64,
}

impl Stale {
    /// Every read is stale.
    pub fn new(lasting: TimeDelta, sights: impl IntoIterator<Item = StaleSight>) -> Self {
        Self { lasting, sights: sights.into_iter().collect(), chance: 1.0 }
    }
}

/// The time that a request takes to arrive, in real time; drawn evenly by the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    pub min: Duration,
    pub max: Duration,
}

/// A token bucket (EC2 API reference, "Request throttling"), per account, region and action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// The most calls at once.
    pub capacity: f64,
    /// Calls that come back each second of the sandbox's clock.
    pub per_second: f64,
}

/// The faults and limits of a region.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionSettings {
    /// Reads that lag behind writes.
    pub stale: Option<Stale>,
    /// Added to the sandbox's clock in `Date`.
    pub date_offset: TimeDelta,
    /// The time that a request takes to arrive.
    pub latency: Latency,
    /// By action. WAF has one of its own: one update a second (WAF Developer Guide, "AWS WAF quotas").
    pub rate_limits: BTreeMap<String, RateLimit>,
    /// The most entries on a page, whatever was asked for (AWS may return fewer than `MaxResults`).
    pub page_limit: Option<usize>,
    /// Inbound rules per group and family (VPC User Guide, "Amazon VPC quotas": 60).
    pub rules_per_group: usize,
    /// The time that a change of a prefix list is in progress, by the sandbox's clock. Without any, the change is done
    /// when the next request arrives.
    pub list_changes_take: TimeDelta,
    /// Tags per resource (EC2 User Guide, "Tag restrictions": 50).
    pub tags_per_resource: usize,
    /// An unknown group in `DescribeSecurityGroupRules`' filter refuses the call instead of being left out. AWS
    /// documents that filters leave out what does not match; endpoints that refuse have been seen.
    pub unknown_group_refuses_rules: bool,
}

impl Default for RegionSettings {
    fn default() -> Self {
        Self {
            stale: None,
            date_offset: TimeDelta::zero(),
            latency: Latency::default(),
            rate_limits: BTreeMap::from([("UpdateIPSet".to_owned(), RateLimit { capacity: 1.0, per_second: 1.0 })]),
            page_limit: None,
            rules_per_group: 60,
            list_changes_take: TimeDelta::zero(),
            tags_per_resource: 50,
            unknown_group_refuses_rules: false,
        }
    }
}
