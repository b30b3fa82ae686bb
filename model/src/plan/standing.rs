//! The state of a wanted permission, from its lease and its last failure.

use crate::{
    failure::{Failure, FailureClass},
    ids::RuleId,
    lease::{Lease, Phase},
    session::record::Standing,
};

/// The state of a wanted permission that no rule in the reading stands for.
///
/// | lease | standing |
/// |---|---|
/// | none, or never attempted and never refused | untried |
/// | the last attempt was refused with "exists already", and we hold its rule by id | held: the reading is stale |
/// | the last attempt was refused for good | failed |
/// | any other refusal, or an attempt without an outcome | pending |
#[must_use]
pub fn standing_without_rule(lease: Option<&Lease>) -> Standing {
    let Some(lease) = lease else { return Standing::Untried };
    match (&lease.last_failure, lease.proven_rule()) {
        (Some(failure), Some(rule)) if failure.class == FailureClass::Stale && lease.phase == Phase::Held => {
            held(lease, rule)
        }
        (Some(failure), _) => failed(failure),
        (None, Some(rule)) => Standing::Pending(format!("its rule {rule} has vanished; it is being opened again")),
        (None, None) if lease.attempted() => {
            Standing::Pending("whether the last attempt arrived is not known yet".to_owned())
        }
        (None, None) => Standing::Untried,
    }
}

pub(super) fn held(lease: &Lease, rule: &RuleId) -> Standing {
    if lease.shared { Standing::Shared(rule.clone()) } else { Standing::Own(rule.clone()) }
}

pub(super) fn failed(failure: &Failure) -> Standing {
    let text = failure.to_string();
    if failure.class.fails_grant() { Standing::Failed(text) } else { Standing::Pending(text) }
}

pub(super) fn pending(why: &str) -> Standing {
    Standing::Pending(why.to_owned())
}
