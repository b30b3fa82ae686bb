//! The services of AWS that are served here.

/// The service that an action belongs to. Services differ in their envelopes and error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Ec2,
    Sts,
    Scheduler,
    Waf,
}

impl Service {
    pub(crate) fn of(action: &str) -> Self {
        match action {
            "GetCallerIdentity" | "AssumeRole" => Self::Sts,
            "CreateSchedule" | "UpdateSchedule" | "GetSchedule" | "DeleteSchedule" => Self::Scheduler,
            "CreateIPSet" | "GetIPSet" | "UpdateIPSet" | "DeleteIPSet" | "ListIPSets" => Self::Waf,
            "TagResource" | "UntagResource" | "ListTagsForResource" => Self::Waf,
            _ => Self::Ec2,
        }
    }
}
