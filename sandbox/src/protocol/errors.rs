//! Refusals, as AWS documents them.
//!
//! Codes: EC2 API reference, "Error codes for the Amazon EC2 API" ("common client error codes", "client error codes for
//! specific actions", "server error codes"), abbreviated *Errors* below; STS API reference, "Common errors".
//! Messages are for people and follow what AWS answers. Client errors have status 400 unless said otherwise.

use crate::protocol::service::Service;
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt::Display;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub status: u16,
}

impl Refusal {
    /// With status 400.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self::with_status(code, message, 400)
    }

    pub fn with_status(code: &str, message: impl Into<String>, status: u16) -> Self {
        Self { code: code.to_owned(), message: message.into(), status }
    }
}

/// *Errors*, `MissingParameter`.
pub(crate) fn missing_parameter(name: &str) -> Refusal {
    Refusal::new("MissingParameter", format!("The request must contain the parameter {name}"))
}

/// *Errors*, `InvalidParameterValue`.
pub(crate) fn invalid_value(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameterValue", message)
}

/// *Errors*, `MissingAuthenticationToken`; STS "Common errors": status 403.
pub(crate) fn no_credentials() -> Refusal {
    let message = "Request must contain either a valid (registered) AWS access key ID or X.509 certificate.";
    Refusal::with_status("MissingAuthenticationToken", message, 403)
}

/// *Errors*, `DryRunOperation`; EC2 sends it with status 412.
pub(crate) fn dry_run() -> Refusal {
    let message = "Request would have succeeded, but DryRun flag is set.";
    Refusal::with_status("DryRunOperation", message, 412)
}

/// Not authorized. EC2: *Errors*, `UnauthorizedOperation`. STS: "Common errors", `AccessDenied`. Scheduler:
/// `AccessDeniedException`. All with status 403. WAF: the same as the scheduler, with status 400 (WAFV2 API reference,
/// "Common errors").
pub(crate) fn denied(service: Service, arn: &str, action: &str, on: &str) -> Refusal {
    let (code, message) = match service {
        Service::Ec2 => (
            "UnauthorizedOperation",
            format!(
                "You are not authorized to perform this operation. User: {arn} is not authorized to perform: \
                 ec2:{action} on resource: {on} because no identity-based policy allows the ec2:{action} action"
            ),
        ),
        Service::Sts => ("AccessDenied", format!("User: {arn} is not authorized to perform: sts:{action}")),
        Service::Scheduler => {
            ("AccessDeniedException", format!("User: {arn} is not authorized to perform: scheduler:{action}"))
        }
        Service::Waf => {
            let message = format!("User: {arn} is not authorized to perform: wafv2:{action} on resource: {on}");
            return Refusal::new("AccessDeniedException", message);
        }
    };
    Refusal::with_status(code, message, 403)
}

/// A session token past its time. EC2: *Errors*, `RequestExpired`. Others: `ExpiredToken`, status 403.
pub(crate) fn expired(service: Service) -> Refusal {
    match service {
        Service::Ec2 => Refusal::new("RequestExpired", "Request has expired."),
        Service::Sts | Service::Scheduler => {
            Refusal::with_status("ExpiredToken", "The security token included in the request is expired", 403)
        }
        Service::Waf => Refusal::new("ExpiredTokenException", "The security token included in the request is expired"),
    }
}

/// Throttled. EC2: *Errors*, `RequestLimitExceeded`, status 503 (EC2 API reference, "Request throttling"). STS:
/// `Throttling`, status 400. Scheduler: `ThrottlingException`, status 429.
pub(crate) fn throttled(service: Service) -> Refusal {
    match service {
        Service::Ec2 => Refusal::with_status("RequestLimitExceeded", "Request limit exceeded.", 503),
        Service::Sts => Refusal::new("Throttling", "Rate exceeded"),
        Service::Scheduler => Refusal::with_status("ThrottlingException", "Rate exceeded", 429),
        Service::Waf => Refusal::new("ThrottlingException", "Rate exceeded"),
    }
}

/// The longest time between a signature and its arrival, before or after.
pub(crate) const SIGNATURE_LASTS: TimeDelta = TimeDelta::minutes(5);

/// A signature of another time. EC2: *Errors*, `RequestExpired` for one of the past; one of the future is no valid
/// credential to it (`AuthFailure`, status 401). STS and the scheduler: "Common errors", `SignatureDoesNotMatch` and
/// `InvalidSignatureException`, status 403, with the two times in words.
pub(crate) fn signed_at_another_time(service: Service, at: DateTime<Utc>, now: DateTime<Utc>) -> Refusal {
    let shown = |time: DateTime<Utc>| time.format("%Y%m%dT%H%M%SZ");
    let words = if at < now {
        let limit = shown(now - SIGNATURE_LASTS);
        format!("Signature expired: {} is now earlier than {limit} ({} - 5 min.)", shown(at), shown(now))
    } else {
        let limit = shown(now + SIGNATURE_LASTS);
        format!("Signature not yet current: {} is still later than {limit} ({} + 5 min.)", shown(at), shown(now))
    };
    match service {
        Service::Ec2 if at < now => expired(service),
        Service::Ec2 => {
            let message = "AWS was not able to validate the provided access credentials";
            Refusal::with_status("AuthFailure", message, 401)
        }
        Service::Sts => Refusal::with_status("SignatureDoesNotMatch", words, 403),
        Service::Scheduler => Refusal::with_status("InvalidSignatureException", words, 403),
        Service::Waf => Refusal::new("InvalidSignatureException", words),
    }
}

/// *Errors*, "server error codes": `InternalError`, `Unavailable` (503).
pub(crate) fn server_error(status: u16) -> Refusal {
    let (code, message) = match status {
        503 => ("Unavailable", "The server is overloaded and can't handle the request."),
        _ => ("InternalError", "An internal error has occurred"),
    };
    Refusal::with_status(code, message, status)
}

/// *Errors*, `InvalidGroup.NotFound`: "The specified security group does not exist."
pub(crate) fn no_group(id: &str) -> Refusal {
    Refusal::new("InvalidGroup.NotFound", format!("The security group '{id}' does not exist"))
}

/// *Errors*, `InvalidGroupId.Malformed`.
pub(crate) fn malformed_group(id: &str) -> Refusal {
    Refusal::new("InvalidGroupId.Malformed", format!("Invalid id: \"{id}\" (expecting \"sg-...\")"))
}

/// *Errors*, `InvalidSecurityGroupRuleId.NotFound`.
pub(crate) fn no_rule(id: &str) -> Refusal {
    let message = format!("The security group rule ID '{id}' does not exist");
    Refusal::new("InvalidSecurityGroupRuleId.NotFound", message)
}

/// *Errors*, `InvalidPrefixListID.NotFound`.
pub(crate) fn no_list(id: &str) -> Refusal {
    Refusal::new("InvalidPrefixListID.NotFound", format!("The prefix list ID '{id}' does not exist."))
}

/// *Errors*, `InvalidPermission.Duplicate`: "The specified inbound or outbound rule already exists".
pub(crate) fn duplicate(permission: impl Display) -> Refusal {
    let message = format!("the specified rule \"{permission}, ALLOW\" already exists");
    Refusal::new("InvalidPermission.Duplicate", message)
}

/// *Errors*, `TagLimitExceeded`: "You've reached the limit on the number of tags that you can assign".
pub(crate) fn too_many_tags(id: &str) -> Refusal {
    Refusal::new("TagLimitExceeded", format!("The maximum number of tags has been reached for resource '{id}'"))
}

/// WAF, `WAFLimitsExceededException`.
pub(crate) fn too_many_tags_of_waf() -> Refusal {
    let message = "AWS WAF couldn't perform the operation because you exceeded your resource limit.";
    Refusal::new("WAFLimitsExceededException", message)
}

/// Scheduler, `ResourceNotFoundException`: status 404.
pub(crate) fn no_schedule(name: &str) -> Refusal {
    Refusal::with_status("ResourceNotFoundException", format!("Schedule {name} does not exist."), 404)
}

/// Scheduler, `ValidationException`.
pub(crate) fn schedule_invalid(message: &str) -> Refusal {
    Refusal::new("ValidationException", message)
}

/// STS "Common errors", `ValidationError`.
pub(crate) fn sts_validation(message: impl Into<String>) -> Refusal {
    Refusal::new("ValidationError", message)
}
