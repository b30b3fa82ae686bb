//! Letting go of a rule that others hold.

use eg_model::{
    failure::{Failure, FailureClass},
    observation::OwnedRule,
};
use eg_providers::{Answered, Firewall};
use std::collections::BTreeMap;

/// What a lease tag is made to say where deleting it is denied: long past for everybody.
const LONG_AGO: &str = "1970-01-01T00:00:00Z";

/// Takes a lease tag off, by key and value: one that says something else by now stays. Where deleting tags is denied,
/// the tag is made to say a time long past.
///
/// # Errors
/// As for [`eg_providers::Marking::untag`].
pub(crate) async fn leave(
    firewall: &dyn Firewall,
    rule: &OwnedRule,
    key: &str,
    value: &str,
) -> Result<Answered<()>, Failure> {
    let left = firewall.untag(rule, &BTreeMap::from([(key.to_owned(), value.to_owned())])).await;
    match left {
        Err(failure) if failure.class == FailureClass::Denied => {
            let tags = BTreeMap::from([(key.to_owned(), LONG_AGO.to_owned())]);
            firewall.tag(std::slice::from_ref(rule), &tags).await
        }
        other => other,
    }
}
