//! Marks on sets, the caller's rights, and the sets of a region.

use super::{firewall::IpSets, kind::WAF_IP_SET, place::SetPlace};
use crate::{
    Answered, Caller, CallerAccess, ContainerMarking, CredentialsEnd, ListedGroup, Rights, Verdict,
    aws::{
        action::Action,
        address_list::check_key,
        errors::failure::{nothing_sent, of_call, unusable},
        read::pages::Pages,
    },
};
use async_trait::async_trait;
use aws_sdk_wafv2::types::{Scope, Tag};
use aws_types::request_id::RequestId;
use eg_model::{
    failure::{Failure, FailureClass},
    net::permission::Permission,
    sweep::dead_marks::ContainerTags,
    target::TargetKey,
};
use std::collections::BTreeMap;

/// Sets per page, the most that the call allows (WAFV2 API reference, `ListIPSets`, `Limit`).
const PAGE_SIZE: i32 = 100;
/// The region of the sets of CloudFront (WAFV2 API reference, `ListIPSets`, `Scope`).
const CLOUDFRONT_REGION: &str = "us-east-1";

#[async_trait]
impl ContainerMarking for IpSets {
    /// `TagResource`, or `UntagResource`: nobody but its installation writes the tag.
    async fn write_mark(&self, target: &TargetKey, key: &str, value: Option<&str>) -> Result<Answered<()>, Failure> {
        let tried = format!("mark {}", target.id);
        check_key(&tried, key)?;
        // Tags are written by ARN, and a set tells its own.
        let arn = self.get(&tried, &SetPlace::read(&target.id)?).await.map_err(nothing_sent)?.arn;
        let Some(value) = value else { return self.untag(&tried, target, arn, key).await };
        let tag = Tag::builder().key(key).value(value).build();
        let tag = tag.map_err(|error| Failure::new(FailureClass::Invalid, format!("{tried}: {error}")))?;
        let request = self.client.wafv2.tag_resource().resource_arn(arn).tags(tag);
        let answer = self.client.call(Action::TagResource, &target.id, || request.clone().send()).await;
        let request_id = answer.map_err(|error| of_call(&tried, &error))?.request_id().map(str::to_owned);
        Ok(Answered { value: (), request_id })
    }

    async fn read_marks(&self, target: &TargetKey) -> Result<ContainerTags, Failure> {
        let tried = format!("read {}", target.id);
        let set = self.get(&tried, &SetPlace::read(&target.id)?).await?;
        let tags = self.tags(&tried, &set.arn).await?;
        Ok(ContainerTags { tags, read_at: set.read_at, provider_time: set.provider_time })
    }

    /// WAF deletes a tag by its key alone. So the tag is read once more, immediately before.
    async fn remove_mark(&self, target: &TargetKey, key: &str, value: &str) -> Result<Answered<()>, Failure> {
        let tried = format!("remove a mark of {}", target.id);
        check_key(&tried, key)?;
        let arn = self.get(&tried, &SetPlace::read(&target.id)?).await.map_err(nothing_sent)?.arn;
        let tags = self.tags(&tried, &arn).await.map_err(nothing_sent)?;
        if tags.get(key).is_some_and(|current| current != value) {
            return Err(Failure::new(FailureClass::Stale, format!("{tried}: the tag {key} has changed meanwhile")));
        }
        self.untag(&tried, target, arn, key).await
    }
}

#[async_trait]
impl CallerAccess for IpSets {
    async fn caller(&self) -> Result<Caller, Failure> {
        self.client.known_caller().await.cloned()
    }

    async fn rights(&self, _: &str, _: &Permission, _: &BTreeMap<String, String>) -> Rights {
        let untold = || Verdict::Unknown(Failure::new(FailureClass::Invalid, "WAF has no dry runs"));
        Rights { open: untold(), tag: untold(), close: untold() }
    }

    async fn credentials_end(&self) -> CredentialsEnd {
        self.client.credentials_end().await
    }
}

impl IpSets {
    async fn untag(&self, tried: &str, target: &TargetKey, arn: String, key: &str) -> Result<Answered<()>, Failure> {
        let request = self.client.wafv2.untag_resource().resource_arn(arn).tag_keys(key);
        let answer = self.client.call(Action::UntagResource, &target.id, || request.clone().send()).await;
        let request_id = answer.map_err(|error| of_call(tried, &error))?.request_id().map(str::to_owned);
        Ok(Answered { value: (), request_id })
    }

    /// The sets of the caller's account, with their tags.
    pub(super) async fn list(&self, tried: &str) -> Result<Vec<ListedGroup>, Failure> {
        let mut sets = Vec::new();
        for (place, arn) in self.sets(tried).await? {
            let tags = self.tags(tried, &arn).await?;
            sets.push(ListedGroup::bare(&WAF_IP_SET, place.target(), place.name, tags));
        }
        Ok(sets)
    }

    /// Every page of `ListIPSets`, with the sets' ARNs: those of the region and, in its one region, those of CloudFront.
    async fn sets(&self, tried: &str) -> Result<Vec<(SetPlace, String)>, Failure> {
        let region = self.client.unsigned.region().map(ToString::to_string).unwrap_or_default();
        let scopes =
            if region == CLOUDFRONT_REGION { vec![Scope::Regional, Scope::Cloudfront] } else { vec![Scope::Regional] };
        let mut sets = Vec::new();
        for scope in scopes {
            let mut pages = Pages::default();
            let mut marker = None;
            loop {
                let call =
                    self.client.wafv2.list_ip_sets().scope(scope.clone()).limit(PAGE_SIZE).set_next_marker(marker);
                let answer = self.client.call(Action::ListIPSets, "-", || call.clone().send()).await;
                let answer = answer.map_err(|error| of_call(tried, &error))?;
                for set in answer.ip_sets() {
                    let (Some(name), Some(id), Some(arn)) = (set.name(), set.id(), set.arn()) else {
                        return Err(unusable(tried, "a set without a name, an id or an ARN", answer.request_id()));
                    };
                    let place = SetPlace { scope: scope.clone(), name: name.to_owned(), id: id.to_owned() };
                    sets.push((place, arn.to_owned()));
                }
                marker = pages.next(tried, answer.next_marker(), answer.request_id())?;
                if marker.is_none() {
                    break;
                }
            }
        }
        Ok(sets)
    }
}
