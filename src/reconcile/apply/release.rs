//! Releasing a rule that others hold: taking our lease tag off it.

use eg_model::{
    failure::{Failure, FailureClass},
    observation::OwnedRule,
};
use eg_providers::{Answered, Firewall};
use std::{collections::BTreeMap, slice::from_ref};

/// The value that replaces a lease tag if deleting it is denied: long past for every installation.
const LONG_AGO: &str = "1970-01-01T00:00:00Z";

/// Deletes a lease tag by key and value, so that a tag whose value has changed stays. If deleting tags is denied, writes a
/// time long past into the tag.
pub(crate) async fn release(
    firewall: &dyn Firewall,
    rule: &OwnedRule,
    key: &str,
    value: &str,
) -> Result<Answered<()>, Failure> {
    let tag = |value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    match firewall.untag(rule, &tag(value)).await {
        Err(failure) if failure.class == FailureClass::Denied => firewall.tag(from_ref(rule), &tag(LONG_AGO)).await,
        other => other,
    }
}
