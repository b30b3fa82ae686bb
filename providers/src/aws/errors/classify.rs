//! From AWS's error codes to what they mean for the reconciler.

use eg_model::failure::FailureClass;

/// The end of a call, apart from the content of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// An answer came, and it is an error in EC2's form.
    Answered,
    /// An answer came that is not in EC2's form: cut off, or from something on the way.
    Garbled,
    /// No answer in time, or the connection broke or never came about. The SDK does not tell these apart reliably,
    /// so none of them is taken for "certainly never sent".
    NoAnswer,
    /// There were no usable credentials, so nothing was sent.
    NoCredentials,
    /// The request could not be put together, so nothing was sent.
    NotBuilt,
}

/// The class of an error; the one table for AWS. Codes: "Error codes for the Amazon EC2 API" (EC2 API reference),
/// "Common errors" (STS API reference), and the errors of each action (EventBridge Scheduler, IAM and WAFV2 API references). First match; a leading `Client.` or `Server.` is dropped.
///
/// | ending, code or status | class |
/// |---|---|
/// | no credentials | Credentials |
/// | not built | Invalid |
/// | no answer | Unknown |
/// | garbled, status 5xx | Transient |
/// | garbled, any other status | Unknown |
/// | `RequestLimitExceeded`, `Throttling`, `ThrottlingException`, `ThrottledException`, `RequestThrottled`, `RequestThrottledException`, `TooManyRequestsException`, `BandwidthLimitExceeded`, `SlowDown`, `EC2ThrottledException`, `PriorRequestNotComplete`, `ConcurrentTagAccess`, `IncorrectState` and `ConcurrentMutationLimitExceeded` (another change of a prefix list is in progress), `WAFUnavailableEntityException`, status 429 | Throttled |
/// | `InternalError`, `InternalFailure`, `InternalServerError`, `ServiceUnavailable`, `ServiceUnavailableException`, `Unavailable`, `RequestTimeout`, `RequestTimeoutException`, `WAFInternalErrorException`, `WAFTagOperationException`, `WAFTagOperationInternalErrorException` | Transient |
/// | `InvalidPermission.Duplicate`, `InvalidPermission.NotFound`, `InvalidSecurityGroupRuleId.NotFound`, `PrefixListVersionMismatch`, `InvalidPrefixListModification` (the entry exists, or does not), `WAFOptimisticLockException`, `ConflictException`, `EntityAlreadyExists` | Stale |
/// | `InvalidGroup.NotFound`, `InvalidGroupId.NotFound`, `InvalidSecurityGroupID.NotFound`, `InvalidVpcID.NotFound`, `InvalidPrefixListID.NotFound`, `InvalidPrefixListId.NotFound`, `WAFNonexistentItemException`, `ResourceNotFoundException`, `NoSuchEntity` | Gone |
/// | `RulesPerSecurityGroupLimitExceeded`, `SecurityGroupLimitExceeded`, `SecurityGroupsPerInstanceLimitExceeded`, `SecurityGroupsPerInterfaceLimitExceeded`, `TagLimitExceeded`, `ResourceLimitExceeded`, any other `…LimitExceeded`, `PrefixListMaxEntriesExceeded`, `WAFLimitsExceededException`, `ServiceQuotaExceededException` | Limit |
/// | `ExpiredToken…`, `RequestExpired` (EC2's word for it) | Expired |
/// | `AuthFailure`, `InvalidClientTokenId`, `UnrecognizedClientException`, `SignatureDoesNotMatch`, `InvalidSignatureException`, `IncompleteSignature`, `MissingAuthenticationToken…`, `InvalidAccessKeyId`, `NotSignedUp`, `RequestTimeTooSkewed` | Credentials |
/// | `UnauthorizedOperation`, `AccessDenied…`, `OptInRequired`, `Blocked`, `PendingVerification`, `OperationNotPermitted` | Denied |
/// | `WAFInvalidParameterException`, `WAFInvalidOperationException`, `WAFDuplicateItemException`, `Invalid…`, `Missing…`, `Malformed…`, `Unsupported…`, `UnknownParameter`, `UnknownPrincipalType.Unsupported`, `ValidationError`, `DependencyViolation`, `VPCIdNotSpecified`, `DefaultVpcDoesNotExist`, `CannotDelete` | Invalid |
/// | an unlisted code with status 5xx | Transient |
/// | an unlisted code with status 401 or 403 | Denied |
/// | an unlisted code with any other status 4xx (a client error, so refused) | Invalid |
/// | anything else | Unknown |
///
/// `DryRunOperation` is no failure; see `Firewall::rights`.
pub fn classify(code: &str, http_status: Option<u16>, ending: Ending) -> FailureClass {
    use FailureClass as C;
    let server_side = http_status.is_some_and(|status| (500..600).contains(&status));
    match ending {
        Ending::NoCredentials => return C::Credentials,
        Ending::NotBuilt => return C::Invalid,
        Ending::NoAnswer => return C::Unknown,
        Ending::Garbled if server_side => return C::Transient,
        Ending::Garbled => return C::Unknown,
        Ending::Answered => {}
    }
    let code = code.strip_prefix("Client.").or_else(|| code.strip_prefix("Server.")).unwrap_or(code);
    match code {
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "SlowDown"
        | "EC2ThrottledException"
        | "PriorRequestNotComplete"
        | "ConcurrentTagAccess"
        | "IncorrectState"
        | "ConcurrentMutationLimitExceeded"
        | "WAFUnavailableEntityException" => C::Throttled,
        _ if http_status == Some(429) => C::Throttled,

        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "Unavailable"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "WAFInternalErrorException"
        | "WAFTagOperationException"
        | "WAFTagOperationInternalErrorException" => C::Transient,

        "InvalidPermission.Duplicate"
        | "InvalidPermission.NotFound"
        | "InvalidSecurityGroupRuleId.NotFound"
        | "PrefixListVersionMismatch"
        | "InvalidPrefixListModification"
        | "WAFOptimisticLockException"
        | "ConflictException"
        | "EntityAlreadyExists" => C::Stale,

        "InvalidGroup.NotFound"
        | "InvalidGroupId.NotFound"
        | "InvalidSecurityGroupID.NotFound"
        | "InvalidVpcID.NotFound"
        | "InvalidPrefixListID.NotFound"
        | "InvalidPrefixListId.NotFound"
        | "WAFNonexistentItemException"
        | "ResourceNotFoundException"
        | "NoSuchEntity" => C::Gone,

        "PrefixListMaxEntriesExceeded" | "WAFLimitsExceededException" | "ServiceQuotaExceededException" => C::Limit,
        limit if limit.ends_with("LimitExceeded") => C::Limit,

        "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "NotSignedUp"
        | "RequestTimeTooSkewed" => C::Credentials,
        "RequestExpired" => C::Expired,
        expired if expired.starts_with("ExpiredToken") => C::Expired,
        missing if missing.starts_with("MissingAuthenticationToken") => C::Credentials,

        "UnauthorizedOperation" | "OptInRequired" | "Blocked" | "PendingVerification" | "OperationNotPermitted" => {
            C::Denied
        }
        denied if denied.starts_with("AccessDenied") => C::Denied,

        "WAFInvalidParameterException"
        | "WAFInvalidOperationException"
        | "WAFDuplicateItemException"
        | "UnknownParameter"
        | "UnknownPrincipalType.Unsupported"
        | "ValidationError"
        | "DependencyViolation"
        | "VPCIdNotSpecified"
        | "DefaultVpcDoesNotExist"
        | "CannotDelete" => C::Invalid,
        wrong if ["Invalid", "Missing", "Malformed", "Unsupported"].iter().any(|start| wrong.starts_with(start)) => {
            C::Invalid
        }

        _ if server_side => C::Transient,
        "" => C::Unknown,
        _ => match http_status {
            Some(401 | 403) => C::Denied,
            Some(400..=499) => C::Invalid,
            _ => C::Unknown,
        },
    }
}

/// The table, row by row, for the tests here and for those that send it through the SDK.
#[cfg(test)]
pub const ROWS: &[(&str, u16, FailureClass)] = {
    use FailureClass as C;
    &[
        ("RequestLimitExceeded", 503, C::Throttled),
        ("Client.RequestLimitExceeded", 503, C::Throttled),
        ("Throttling", 400, C::Throttled),
        ("ThrottlingException", 400, C::Throttled),
        ("ThrottledException", 400, C::Throttled),
        ("RequestThrottled", 400, C::Throttled),
        ("RequestThrottledException", 400, C::Throttled),
        ("TooManyRequestsException", 429, C::Throttled),
        ("BandwidthLimitExceeded", 400, C::Throttled),
        ("SlowDown", 503, C::Throttled),
        ("EC2ThrottledException", 400, C::Throttled),
        ("PriorRequestNotComplete", 400, C::Throttled),
        ("ConcurrentTagAccess", 400, C::Throttled),
        ("IncorrectState", 400, C::Throttled),
        ("WAFUnavailableEntityException", 400, C::Throttled),
        ("WAFInternalErrorException", 500, C::Transient),
        ("WAFTagOperationException", 400, C::Transient),
        ("WAFTagOperationInternalErrorException", 500, C::Transient),
        ("WAFOptimisticLockException", 400, C::Stale),
        ("WAFNonexistentItemException", 400, C::Gone),
        ("WAFLimitsExceededException", 400, C::Limit),
        ("WAFInvalidParameterException", 400, C::Invalid),
        ("WAFInvalidOperationException", 400, C::Invalid),
        ("WAFDuplicateItemException", 400, C::Invalid),
        ("ConcurrentMutationLimitExceeded", 400, C::Throttled),
        ("SomethingNew", 429, C::Throttled),
        ("InternalError", 500, C::Transient),
        ("InternalFailure", 500, C::Transient),
        ("InternalServerError", 500, C::Transient),
        ("ServiceUnavailable", 503, C::Transient),
        ("ServiceUnavailableException", 503, C::Transient),
        ("Server.Unavailable", 503, C::Transient),
        ("Unavailable", 503, C::Transient),
        ("RequestTimeout", 400, C::Transient),
        ("RequestTimeoutException", 400, C::Transient),
        ("InvalidPermission.Duplicate", 400, C::Stale),
        ("InvalidPermission.NotFound", 400, C::Stale),
        ("InvalidSecurityGroupRuleId.NotFound", 400, C::Stale),
        ("PrefixListVersionMismatch", 400, C::Stale),
        ("InvalidPrefixListModification", 400, C::Stale),
        ("ConflictException", 409, C::Stale),
        ("EntityAlreadyExists", 409, C::Stale),
        ("NoSuchEntity", 404, C::Gone),
        ("ResourceNotFoundException", 404, C::Gone),
        ("ServiceQuotaExceededException", 402, C::Limit),
        ("ValidationException", 400, C::Invalid),
        ("InternalServerException", 500, C::Transient),
        ("InvalidGroup.NotFound", 400, C::Gone),
        ("InvalidGroupId.NotFound", 400, C::Gone),
        ("InvalidSecurityGroupID.NotFound", 400, C::Gone),
        ("InvalidVpcID.NotFound", 400, C::Gone),
        ("InvalidPrefixListID.NotFound", 400, C::Gone),
        ("InvalidPrefixListId.NotFound", 400, C::Gone),
        ("RulesPerSecurityGroupLimitExceeded", 400, C::Limit),
        ("SecurityGroupLimitExceeded", 400, C::Limit),
        ("SecurityGroupsPerInstanceLimitExceeded", 400, C::Limit),
        ("SecurityGroupsPerInterfaceLimitExceeded", 400, C::Limit),
        ("TagLimitExceeded", 400, C::Limit),
        ("ResourceLimitExceeded", 400, C::Limit),
        ("PrefixListMaxEntriesExceeded", 400, C::Limit),
        ("ExpiredToken", 403, C::Expired),
        ("ExpiredTokenException", 403, C::Expired),
        ("RequestExpired", 400, C::Expired),
        ("AuthFailure", 401, C::Credentials),
        ("InvalidClientTokenId", 403, C::Credentials),
        ("UnrecognizedClientException", 403, C::Credentials),
        ("SignatureDoesNotMatch", 403, C::Credentials),
        ("InvalidSignatureException", 403, C::Credentials),
        ("IncompleteSignature", 400, C::Credentials),
        ("MissingAuthenticationToken", 403, C::Credentials),
        ("MissingAuthenticationTokenException", 403, C::Credentials),
        ("InvalidAccessKeyId", 403, C::Credentials),
        ("NotSignedUp", 403, C::Credentials),
        ("RequestTimeTooSkewed", 403, C::Credentials),
        ("UnauthorizedOperation", 403, C::Denied),
        ("AccessDenied", 403, C::Denied),
        ("AccessDeniedException", 400, C::Denied),
        ("OptInRequired", 403, C::Denied),
        ("Blocked", 400, C::Denied),
        ("PendingVerification", 400, C::Denied),
        ("OperationNotPermitted", 400, C::Denied),
        ("InvalidParameter", 400, C::Invalid),
        ("InvalidParameterValue", 400, C::Invalid),
        ("InvalidParameterCombination", 400, C::Invalid),
        ("InvalidGroupId.Malformed", 400, C::Invalid),
        ("InvalidSecurityGroupRuleId.Malformed", 400, C::Invalid),
        ("InvalidPermission.Malformed", 400, C::Invalid),
        ("InvalidID", 400, C::Invalid),
        ("MissingParameter", 400, C::Invalid),
        ("MissingAction", 400, C::Invalid),
        ("MalformedQueryString", 404, C::Invalid),
        ("UnsupportedOperation", 400, C::Invalid),
        ("UnknownParameter", 400, C::Invalid),
        ("UnknownPrincipalType.Unsupported", 400, C::Invalid),
        ("ValidationError", 400, C::Invalid),
        ("DependencyViolation", 400, C::Invalid),
        ("VPCIdNotSpecified", 400, C::Invalid),
        ("DefaultVpcDoesNotExist", 400, C::Invalid),
        ("CannotDelete", 400, C::Invalid),
        ("SomethingNew", 500, C::Transient),
        ("SomethingNew", 403, C::Denied),
        ("SomethingNew", 401, C::Denied),
        ("SomethingNew", 400, C::Invalid),
        ("SomethingNew", 302, C::Unknown),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use FailureClass as C;

    #[test]
    fn every_row() {
        for (code, status, class) in ROWS {
            assert_eq!(classify(code, Some(*status), Ending::Answered), *class, "{code} {status}");
        }
    }

    #[test]
    fn endings() {
        for (code, status, ending, class) in [
            ("AuthFailure", Some(500), Ending::NoCredentials, C::Credentials),
            ("", None, Ending::NotBuilt, C::Invalid),
            ("", None, Ending::NoAnswer, C::Unknown),
            ("", Some(502), Ending::Garbled, C::Transient),
            ("", Some(200), Ending::Garbled, C::Unknown),
            ("", Some(403), Ending::Garbled, C::Unknown),
            ("", Some(400), Ending::Answered, C::Unknown),
            ("", Some(503), Ending::Answered, C::Transient),
            ("SomethingNew", None, Ending::Answered, C::Unknown),
        ] {
            assert_eq!(classify(code, status, ending), class, "{code} {status:?} {ending:?}");
        }
    }

    /// Nothing that may have had an effect is ever called a definite no.
    #[test]
    fn server_errors_leave_the_outcome_open() {
        for status in 500..600 {
            assert!(classify("", Some(status), Ending::Answered).outcome_unknown());
            assert!(classify("SomethingNew", Some(status), Ending::Answered).outcome_unknown());
        }
    }
}
