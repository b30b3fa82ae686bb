//! The accounts of the configured resources, with a route into each region.

use crate::{
    commands::{context::Context, iam_policy::scope},
    error::{CommandError, Kind, advice},
};
use eg_config::settings::{Resource, Settings};
use eg_model::{failure::Failure, target::Target};
use eg_providers::aws::{ConfiguredAccount, DEFAULT_SCHEDULE_GROUP, ROLE_NAME, Scope};
use std::collections::{BTreeMap, BTreeSet};

/// An account, and a target in each of its regions.
pub(super) struct AccountTargets {
    pub(super) account: ConfiguredAccount,
    pub(super) targets: BTreeMap<String, Target>,
}

/// Takes the accounts from the record and the configuration, else asks the provider.
pub(super) async fn accounts(
    context: &Context<'_>,
    role_name: Option<&str>,
    settings: &Settings,
    resources: &[Resource],
) -> Result<Vec<AccountTargets>, CommandError> {
    let store = context.store_for_reading().ok().flatten();
    let known = store.and_then(|store| store.used_targets().ok()).unwrap_or_default();
    let connect = context.env.connect();
    let mut found: BTreeMap<String, AccountTargets> = BTreeMap::new();
    for resource in resources {
        let target = context.target(resource);
        let mut scope = scope(context, resource, &known);
        let number = match scope.account.clone() {
            Some(number) => number,
            None => {
                let unknown = |failure: Failure| unknown_account(&resource.name, &failure);
                let firewall = connect.connect(&target).await.map_err(unknown)?;
                let caller = firewall.caller().await.map_err(unknown)?;
                scope.partition = caller.partition;
                caller.account
            }
        };
        scope.account = Some(number.clone());
        let one = found.entry(number.clone()).or_insert_with(|| AccountTargets {
            account: account(role_name, settings, number, &scope),
            targets: BTreeMap::new(),
        });
        one.targets.entry(scope.region.clone()).or_insert(target);
        one.account.scopes.insert(scope);
    }
    Ok(found.into_values().collect())
}

fn unknown_account(resource: &str, failure: &Failure) -> CommandError {
    let message = format!("which account {resource} belongs to is not known: {failure}");
    CommandError::new(Kind::Provider, message).hint(advice(failure.class))
}

fn account(role_name: Option<&str>, settings: &Settings, number: String, scope: &Scope) -> ConfiguredAccount {
    let expiry = settings.aws.cloud_expiry.as_ref();
    let way = expiry.and_then(|expiry| expiry.way(&number));
    let configured = way.and_then(|way| way.role_arn.split_once(":role/").map(|(_, role)| role.to_owned()));
    let group = expiry.map_or(DEFAULT_SCHEDULE_GROUP, |expiry| expiry.schedule_group.as_str());
    ConfiguredAccount {
        partition: scope.partition.clone(),
        number,
        role: role_name.map(str::to_owned).or(configured).unwrap_or_else(|| ROLE_NAME.to_owned()),
        schedule_group: group.to_owned(),
        scopes: BTreeSet::new(),
    }
}
