//! Dry runs: what an answer tells of the caller's rights.

use crate::{
    Verdict,
    aws::errors::failure::{of_call, unusable},
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use eg_model::failure::{Failure, FailureClass};
use std::error::Error;

/// The verdict of a dry run's answer. `DryRunOperation` means allowed, `UnauthorizedOperation` not (EC2 API reference,
/// `DryRun`); anything else tells nothing.
pub fn verdict<T, E>(group: &str, action: &str, answer: Result<T, SdkError<E, HttpResponse>>) -> Verdict
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let asked = format!("ask whether {action} on {group} is permitted");
    let error = match answer {
        Ok(_) => return Verdict::Unknown(unusable(&asked, "the endpoint does not know dry runs", None)),
        Err(error) => error,
    };
    match error.code() {
        Some("DryRunOperation") => Verdict::Allowed,
        Some("UnauthorizedOperation") => {
            // AWS names the action in newer messages ("is not authorized to perform: ec2:CreateTags on resource: …").
            let said = error.message().and_then(|message| message.split_once("to perform: "));
            let named =
                said.and_then(|(_, rest)| rest.split_whitespace().next()).filter(|word| word.starts_with("ec2:"));
            let failure = of_call(&format!("{} on {group} is not permitted", named.unwrap_or(action)), &error);
            Verdict::Denied(Failure { class: FailureClass::Denied, ..failure })
        }
        _ => Verdict::Unknown(of_call(&asked, &error)),
    }
}
