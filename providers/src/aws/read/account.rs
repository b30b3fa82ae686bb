//! Whole accounts: the caller, the enabled regions, and the marked rules of a region.

use crate::{
    Caller, ReadResult,
    aws::{
        action::Action,
        client::Client,
        errors::failure::{of_call, unusable},
        read::observe::read_result,
        security_group::SecurityGroups,
    },
};
use aws_sdk_ec2::types::Filter;
use aws_types::request_id::RequestId;
use eg_model::{
    failure::Failure,
    tags::{MANAGED_BY, MANAGED_BY_EG},
};
use std::collections::{BTreeMap, BTreeSet};

impl SecurityGroups {
    /// Every group with a rule that is tagged as `eg`'s, with these rules alone: one series, however many groups.
    pub async fn marked_groups(&self) -> Result<BTreeMap<String, ReadResult>, Failure> {
        // "tag:<key>" (EC2 API reference, `DescribeSecurityGroupRules`).
        let marked = Filter::builder().name(format!("tag:{MANAGED_BY}")).values(MANAGED_BY_EG).build();
        let (groups, read_at) = self.read_series("every group with a mark of eg's", &[marked]).await?;
        Ok(groups.into_iter().map(|(id, group)| (id.clone(), read_result(&id, group, read_at))).collect())
    }
}

impl Client {
    /// `DescribeRegions`: those that are enabled for the account, as the call answers without `AllRegions`.
    pub async fn enabled_regions(&self) -> Result<BTreeSet<String>, Failure> {
        let tried = "ask which regions there are";
        let answer = self.call(Action::DescribeRegions, "-", || self.ec2.describe_regions().send()).await;
        let answer = answer.map_err(|error| of_call(tried, &error))?;
        let names = answer.regions().iter().filter_map(|region| region.region_name()).map(str::to_owned);
        let names: BTreeSet<String> = names.collect();
        if names.is_empty() {
            return Err(unusable(tried, "the answer names none", answer.request_id()));
        }
        Ok(names)
    }

    /// The caller, asked once: the same credentials are the same caller.
    pub async fn known_caller(&self) -> Result<&Caller, Failure> {
        self.caller.get_or_try_init(|| self.ask_caller()).await
    }

    /// `GetCallerIdentity`.
    async fn ask_caller(&self) -> Result<Caller, Failure> {
        let tried = "ask who is calling";
        let answer = self.call(Action::GetCallerIdentity, "-", || self.sts.get_caller_identity().send()).await;
        let answer = answer.map_err(|error| of_call(tried, &error))?;
        let caller = || {
            let arn = answer.arn()?;
            // arn:<partition>:sts::<account>:… (AWS, "Amazon Resource Names").
            let partition = arn.strip_prefix("arn:")?.split(':').next()?;
            let account = answer.account()?;
            Some(Caller { account: account.to_owned(), arn: arn.to_owned(), partition: partition.to_owned() })
        };
        caller().ok_or_else(|| unusable(tried, "the answer does not say", answer.request_id()))
    }
}
