//! Readings of IP sets: the addresses, then the tags.
//!
//! The order counts. A mark is written before its address and taken off after it. So tags that are read later name every
//! installation that held an address when the addresses were read.

use super::{firewall::IpSets, place::SetPlace};
use crate::{
    ReadResult,
    aws::{
        action::Action,
        errors::failure::{of_call, unusable},
        read::pages::Pages,
        wire::clock::AnswerDate,
    },
};
use aws_sdk_wafv2::types::IpAddressVersion;
use aws_types::request_id::RequestId;
use eg_model::{
    Timestamp,
    container_mark::{EntryText, loose_marks, shown},
    failure::{Failure, FailureClass},
    ids::RuleId,
    net::{
        address::IpVersion,
        permission::{Permission, PortSpec},
    },
    observation::Reading,
};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// Tags per page, the most that the call allows (WAFV2 API reference, `ListTagsForResource`, `Limit`).
const PAGE_SIZE: i32 = 100;

/// A set as one answer shows it, with the token that a change of it needs.
pub(super) struct SetVersion {
    pub arn: String,
    pub description: Option<String>,
    pub family: IpVersion,
    /// As WAF has them. An address of others goes back in its own spelling.
    pub addresses: Vec<SetAddress>,
    pub token: String,
    pub read_at: Timestamp,
    pub provider_time: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetAddress {
    pub spelling: String,
    pub network: IpNet,
}

impl SetAddress {
    /// A set has no ports: the web ACLs that use it decide what is open.
    pub fn permission(&self) -> Permission {
        Permission::for_network(PortSpec::All, self.network)
    }
}

/// An address is its value.
pub(super) fn id_of(permission: &Permission) -> RuleId {
    RuleId(permission.cidr().to_string())
}

impl IpSets {
    pub(super) async fn observe_set(&self, target: &str) -> ReadResult {
        match self.read(target).await {
            Ok(reading) => ReadResult::Complete(reading),
            Err(failure) if failure.class == FailureClass::Gone => match self.client.known_caller().await {
                Ok(caller) => ReadResult::NotFound { caller: Some(caller.clone()) },
                Err(failure) => ReadResult::Unavailable(failure),
            },
            Err(failure) => ReadResult::Unavailable(failure),
        }
    }

    /// # Errors
    /// The set is not there ([`FailureClass::Gone`]), or could not be read whole.
    pub(super) async fn read(&self, target: &str) -> Result<Reading, Failure> {
        let tried = format!("read {target}");
        let set = self.get(&tried, &SetPlace::read(target)?).await?;
        let tags = self.tags(&tried, &set.arn).await?;
        let rule = |address: &SetAddress| {
            let permission = address.permission();
            shown(target, id_of(&permission), permission, EntryText::NoPlace, &tags)
        };
        let rules: Vec<_> = set.addresses.iter().map(rule).collect();
        Ok(Reading {
            other_ingress: 0,
            read_at: set.read_at,
            last_page_at: set.read_at,
            read_later: BTreeMap::new(),
            provider_time: set.provider_time,
            loose_marks: loose_marks(target, &rules, &tags),
            family: Some(set.family),
            rules,
        })
    }

    /// `GetIPSet`.
    pub(super) async fn get(&self, tried: &str, place: &SetPlace) -> Result<SetVersion, Failure> {
        // Dated before it is asked: a machine that sleeps in between must not take an old reading for a new one.
        let (read_at, date) = ((self.client.now)(), AnswerDate::default());
        let call = self.client.wafv2.get_ip_set().name(&place.name).scope(place.scope.clone()).id(&place.id);
        let send = || call.clone().customize().interceptor(date.clone()).send();
        let answer = self.client.call(Action::GetIPSet, place.target(), send).await;
        let answer = answer.map_err(|error| of_call(tried, &error))?;
        let missing = |what: &str| unusable(tried, &format!("the answer has no {what}"), answer.request_id());
        let set = answer.ip_set().ok_or_else(|| missing("set"))?;
        let read = |spelling: &String| {
            let network: IpNet = spelling.parse().map_err(|_| {
                unusable(tried, &format!("\"{spelling}\" is not an address range"), answer.request_id())
            })?;
            Ok(SetAddress { spelling: spelling.clone(), network: network.trunc() })
        };
        Ok(SetVersion {
            arn: set.arn().to_owned(),
            description: set.description().filter(|text| !text.is_empty()).map(str::to_owned),
            family: match set.ip_address_version() {
                IpAddressVersion::Ipv4 => IpVersion::V4,
                IpAddressVersion::Ipv6 => IpVersion::V6,
                _ => return Err(missing("address family that eg knows")),
            },
            addresses: set.addresses().iter().map(read).collect::<Result<_, Failure>>()?,
            token: answer.lock_token().ok_or_else(|| missing("lock token"))?.to_owned(),
            read_at,
            provider_time: date.get(),
        })
    }

    /// Every page of `ListTagsForResource`.
    pub(super) async fn tags(&self, tried: &str, arn: &str) -> Result<BTreeMap<String, String>, Failure> {
        let mut tags = BTreeMap::new();
        let mut pages = Pages::default();
        let mut marker = None;
        loop {
            let call =
                self.client.wafv2.list_tags_for_resource().resource_arn(arn).limit(PAGE_SIZE).set_next_marker(marker);
            let answer = self.client.call(Action::ListTagsForResource, arn, || call.clone().send()).await;
            let answer = answer.map_err(|error| of_call(tried, &error))?;
            let listed = answer.tag_info_for_resource().map(|info| info.tag_list()).unwrap_or_default();
            tags.extend(listed.iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())));
            marker = pages.next(tried, answer.next_marker(), answer.request_id())?;
            if marker.is_none() {
                return Ok(tags);
            }
        }
    }
}
