//! Callers, from the `Authorization` header. No signature is checked: the access key id says it all.

use crate::world::{CallerIdentity, World};
use std::collections::BTreeMap;

/// The account of a caller that nothing else is known of.
pub(crate) const DEFAULT_ACCOUNT: &str = "123456789012";
/// The region when the request does not say.
pub(crate) const DEFAULT_REGION: &str = "us-east-1";
/// An access key id that begins like this goes on with the account's twelve digits.
const ACCOUNT_KEY: &str = "AKIAEG";

/// The part of an `Authorization` header that names the caller: `AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request, …`
/// (IAM User Guide, "Signature Version 4").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) access_key: String,
    pub(crate) region: String,
}

impl Credential {
    pub(crate) fn read(header: &str) -> Option<Self> {
        let (_, scope) = header.split_once("Credential=")?;
        let mut parts = scope.split([',', ' ']).next()?.split('/');
        let access_key = parts.next().filter(|key| !key.is_empty())?.to_owned();
        let region = parts.nth(1).filter(|region| !region.is_empty()).unwrap_or(DEFAULT_REGION).to_owned();
        Some(Self { access_key, region })
    }
}

/// The owner of an access key: a session's, a configured caller, a user of the account that the key names, or the default
/// user.
pub(crate) fn caller_of(
    access_key: &str,
    world: &World,
    configured: &BTreeMap<String, CallerIdentity>,
) -> CallerIdentity {
    if let Some(session) = world.session(access_key) {
        return session.caller.clone();
    }
    if let Some(caller) = configured.get(access_key) {
        return caller.clone();
    }
    let named = access_key.strip_prefix(ACCOUNT_KEY).and_then(|rest| rest.get(..12));
    let account = named.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    CallerIdentity::user(account.unwrap_or(DEFAULT_ACCOUNT), "sandbox")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let header = "AWS4-HMAC-SHA256 Credential=AKIA1/20260101/eu-west-1/ec2/aws4_request, SignedHeaders=host";
        let read = Credential::read(header).unwrap();
        assert_eq!((read.access_key.as_str(), read.region.as_str()), ("AKIA1", "eu-west-1"));
        assert_eq!(Credential::read("AWS4-HMAC-SHA256 Credential=AKIA1").unwrap().region, DEFAULT_REGION);
        assert_eq!(Credential::read("Bearer x"), None);
        assert_eq!(Credential::read("AWS4-HMAC-SHA256 Credential=/x"), None);
    }

    #[test]
    fn access_keys_name_accounts() {
        let known = BTreeMap::from([("AKIABOB".to_owned(), CallerIdentity::user("222222222222", "bob"))]);
        let account = |key| caller_of(key, &World::default(), &known).account;
        assert_eq!(account("AKIAEG111111111111ME"), "111111111111");
        assert_eq!(account("AKIAEG11111"), DEFAULT_ACCOUNT);
        assert_eq!(account("AKIABOB"), "222222222222");
    }
}
