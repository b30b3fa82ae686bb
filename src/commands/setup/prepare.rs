//! Makes the role and the schedule group of each account.

use super::accounts::AccountTargets;
use crate::{
    commands::context::Context,
    error::{CommandError, Kind, Work, advice, advice_for},
};
use eg_model::failure::{Failure, FailureClass};
use eg_providers::{
    CallerAccess,
    aws::{Action, Aws, ConfiguredAccount, Prepared},
};

/// A role or a schedule group.
pub(super) struct Part {
    pub(super) account: String,
    pub(super) what: String,
    pub(super) outcome: Prepared,
}

/// Stops at the first failure, and returns the parts that were prepared before it.
pub(super) async fn prepare(
    context: &Context<'_>,
    accounts: &[AccountTargets],
) -> (Vec<Part>, Result<(), CommandError>) {
    context.name_endpoints(accounts.iter().flat_map(|one| one.targets.values()));
    let aws = context.env.aws();
    let mut parts = Vec::new();
    for one in accounts {
        if let Err(failure) = prepare_account(&aws, one, &mut parts).await {
            return (parts, Err(not_prepared(&one.account, &failure)));
        }
    }
    (parts, Ok(()))
}

async fn prepare_account(aws: &Aws, one: &AccountTargets, parts: &mut Vec<Part>) -> Result<(), Failure> {
    let account = &one.account;
    let part = |what: String, outcome: Prepared| Part { account: account.number.clone(), what, outcome };
    let mut role_is_made = false;
    for (region, target) in &one.targets {
        let groups = aws.security_groups(target).await?;
        let caller = groups.caller().await?;
        // The record may name the account of earlier credentials.
        if caller.account != account.number {
            let message = format!("the credentials for {region} are of account {} now", caller.account);
            return Err(Failure::new(FailureClass::Credentials, message));
        }
        if account.needs_schedule_group() {
            let outcome = groups.prepare_schedule_group(&account.schedule_group).await?;
            parts.push(part(format!("schedule group {} in {region}", account.schedule_group), outcome));
        }
        // A role serves every region of its account.
        if !role_is_made {
            let outcome = groups.prepare_role(&account.expiry_role()).await?;
            parts.push(part(format!("role {}", account.role_arn()), outcome));
            role_is_made = true;
        }
    }
    Ok(())
}

fn not_prepared(account: &ConfiguredAccount, failure: &Failure) -> CommandError {
    let hint = match failure.class {
        FailureClass::Denied => {
            let needed: Vec<String> = Action::PREPARATION.into_iter().filter_map(Action::permission).collect();
            format!(
                "this takes {}; or pass on what `eg setup cloud-expiry` prints to a person who has them",
                needed.join(", ")
            )
        }
        class if class.is_of_credentials() => format!("{}; then run it again", advice(class)),
        class => advice_for(Work::PreparingExpiry, class).to_owned(),
    };
    CommandError::new(Kind::Provider, format!("account {}: {failure}", account.number)).hint(hint)
}
