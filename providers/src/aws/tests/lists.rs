//! What the tests of prefix lists and of IP sets have in common: keys, calls and readings of a list at the sandbox.

use crate::{
    Authorize, Firewall, Kind, ReadResult,
    aws::connect::{Aws, Options},
};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use eg_model::{net::permission::Permission, observation::Reading, target::TargetKey};
use eg_sandbox::{Handle, SandboxClock};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub const ACCOUNT: &str = "111111111111";
pub const REGION: &str = "eu-west-1";
pub const HOME: &str = "203.0.113.42/32";

pub fn target(kind: &Kind, id: &str, sandbox: &Handle) -> TargetKey {
    let key = TargetKey::new(kind.provider, kind.name, REGION, id);
    TargetKey { endpoint: Some(sandbox.endpoint()), ..key }
}

/// AWS, with the keys of an account.
pub fn aws_of(account: &str, clock: SandboxClock, call_timeout: Duration) -> Aws {
    let keys = Credentials::new(format!("AKIAEG{account}ME"), "secret", None, None, "test");
    let credentials = Some(SharedCredentialsProvider::new(keys));
    Aws::new(Options { credentials, call_timeout, ..Options::new(clock, "alice") })
}

pub fn permission(cidr: &str) -> Permission {
    format!("-1|-1|-1|{cidr}").parse().unwrap()
}

pub fn call(list: &str, cidrs: &[&str], nonce: &str) -> Authorize {
    Authorize {
        group: list.to_owned(),
        permissions: cidrs.iter().map(|cidr| permission(cidr)).collect(),
        tags: BTreeMap::from([("eg:managed-by".to_owned(), "eg".to_owned())]),
        description: "eg alice@laptop session a1b2c3d4".to_owned(),
        nonce: nonce.to_owned(),
    }
}

pub async fn read(firewall: &dyn Firewall, target: &TargetKey) -> Reading {
    match firewall.observe(&BTreeSet::from([target.clone()])).await.remove(target).unwrap() {
        ReadResult::Complete(reading) => reading,
        other => panic!("{other:?}"),
    }
}
