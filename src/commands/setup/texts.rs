//! The output of `eg setup cloud-expiry`.

use super::{accounts::AccountTargets, prepare::Part};
use eg_config::settings::Settings;
use eg_providers::aws::{ConfiguredAccount, Prepared};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn part_line(part: &Part) -> String {
    let outcome = match &part.outcome {
        Prepared::Made => "made".to_owned(),
        Prepared::There => "is there".to_owned(),
        Prepared::Widened(added) => format!("widened by {}", listed(added).join(", ")),
    };
    format!("✓ account {}: {} {outcome}\n", part.account, part.what)
}

fn listed(added: &BTreeSet<String>) -> Vec<&str> {
    added.iter().map(String::as_str).collect()
}

pub(super) fn json(accounts: &[AccountTargets], parts: &[Part]) -> Value {
    let part = |part: &Part| {
        let added = match &part.outcome {
            Prepared::Widened(added) => listed(added),
            Prepared::Made | Prepared::There => Vec::new(),
        };
        json!({"what": part.what, "made": part.outcome == Prepared::Made, "added": added})
    };
    let of = |account: &ConfiguredAccount| {
        let prepared = parts.iter().filter(|part| part.account == account.number);
        json!({
            "account": account.number,
            "partition": account.partition,
            "regions": account.regions(),
            "roleArn": account.role_arn(),
            "scheduleGroup": account.schedule_group,
            "trustPolicy": account.trust(),
            "rolePolicy": account.role_policy(),
            "userPolicy": account.user_policy(),
            "prepared": prepared.map(part).collect::<Vec<_>>(),
        })
    };
    json!({"accounts": accounts.iter().map(|one| of(&one.account)).collect::<Vec<_>>()})
}

pub(super) fn documents(account: &ConfiguredAccount) -> String {
    let mut text = format!("Account {}\n\nThe role {}\n", account.number, account.role_arn());
    text += &format!("\ntrust policy:\n{:#}\n", account.trust());
    text += &format!("\nits one policy:\n{:#}\n", account.role_policy());
    if account.needs_schedule_group() {
        let regions: Vec<&str> = account.regions().into_iter().collect();
        text += &format!("\nThe schedule group {} in {}\n", account.schedule_group, regions.join(", "));
    }
    text += "\nFor every user of eg, in addition to the rest (`eg iam-policy` prints it with the rest once it is configured):\n";
    text + &format!("{:#}\n\n", account.user_policy())
}

/// The lines for the configuration, with the roles of other accounts that stand in it already.
pub(super) fn configuration(settings: &Settings, accounts: &[AccountTargets]) -> String {
    let expiry = settings.aws.cloud_expiry.as_ref();
    let replaced = |arn: &String| {
        accounts
            .iter()
            .any(|one| arn.starts_with(&format!("arn:{}:iam::{}:", one.account.partition, one.account.number)))
    };
    let kept = expiry.iter().flat_map(|expiry| &expiry.roles).filter(|arn| !replaced(arn)).cloned();
    let roles = kept.chain(accounts.iter().map(|one| one.account.role_arn()));
    let roles: Vec<String> = roles.map(|arn| format!("\"{arn}\"")).collect();
    let roles = match roles.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let group = accounts.iter().find(|one| one.account.needs_schedule_group());
    let group = group.map(|one| format!("schedule_group = \"{}\"\n", one.account.schedule_group)).unwrap_or_default();
    format!("In the configuration:\n[aws.cloud_expiry]\nrole_arn = {roles}\n{group}")
}
