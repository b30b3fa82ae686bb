//! The accounts and regions that `eg sweep` reads.

use crate::{
    error::{CommandError, Kind},
    host::env::Env,
    sweep::accounts::{Regions, SweepAccount},
    targets::route::{environment_profile, target_for},
};
use eg_model::target::{Target, TargetKey};
use eg_providers::aws::{PROVIDER, SECURITY_GROUP, region};
use std::collections::BTreeSet;

/// Every region that is enabled for the account.
const ALL: &str = "all";
/// The region to ask for the list of regions, if nothing names one.
const FIRST_REGION: &str = "us-east-1";

pub(super) fn region_name(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let fits = (3..=40).contains(&text.len()) && plain && text.starts_with(|c: char| c.is_ascii_lowercase());
    if fits { Ok(text.to_owned()) } else { Err("a region looks like eu-west-1; `all` means every one".to_owned()) }
}

/// Each profile's account with its regions. Without profiles: the account of the environment's credentials.
pub(super) async fn accounts(
    env: &Env,
    profiles: &[String],
    regions: &[String],
) -> Result<Vec<SweepAccount>, CommandError> {
    let profiles: Vec<Option<String>> = match profiles {
        [] => vec![environment_profile(env)],
        named => named.iter().cloned().map(Some).collect(),
    };
    let mut accounts = Vec::new();
    for profile in profiles {
        let mut target = target_for(env, TargetKey::new(PROVIDER, SECURITY_GROUP.name, "", ""), profile);
        let (first, regions) = choose(env, regions, &target).await?;
        target.key.region = first;
        accounts.push(SweepAccount { target, regions });
    }
    Ok(accounts)
}

/// The regions to read, and the one whose endpoint is asked who is calling.
async fn choose(env: &Env, asked: &[String], target: &Target) -> Result<(String, Regions), CommandError> {
    let var = |name: &str| env.var(name);
    if asked.iter().any(|name| name == ALL) {
        let home = region::home(var, &target.route).await;
        return Ok((home.unwrap_or_else(|| FIRST_REGION.to_owned()), Regions::All));
    }
    let named: BTreeSet<String> = asked.iter().cloned().collect();
    if let Some(first) = named.first().cloned() {
        return Ok((first, Regions::Named(named)));
    }
    let usual = region::usual(var, &target.route).await.ok_or_else(|| no_region(target))?;
    Ok((usual.clone(), Regions::Named(BTreeSet::from([usual]))))
}

fn no_region(target: &Target) -> CommandError {
    let profile = target.route.profile.as_ref().map_or(String::new(), |name| format!(" for the profile {name}"));
    CommandError::new(Kind::Usage, format!("no region{profile}: pass --region, or set one in the profile"))
        .hint("for every region of the account: --region all")
}
