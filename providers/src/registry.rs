//! The kinds of firewall that `eg` knows: one line each.

use crate::{
    aws::{Aws, Options, PROVIDER, SECURITY_GROUP},
    firewall::{Connect, Firewall},
};
use async_trait::async_trait;
use eg_model::{
    failure::{Failure, FailureClass},
    target::Target,
};
use std::sync::Arc;

pub struct Registry {
    aws: Aws,
}

impl Registry {
    /// Makes no client yet; no I/O.
    pub fn new(aws: Options) -> Self {
        Self { aws: Aws::new(aws) }
    }
}

#[async_trait]
impl Connect for Registry {
    async fn connect(&self, target: &Target) -> Result<Arc<dyn Firewall>, Failure> {
        let key = &target.key;
        match (key.provider.as_str(), key.kind.as_str()) {
            (PROVIDER, SECURITY_GROUP) => Ok(self.aws.security_groups(target).await?),
            (provider, kind) => {
                let message = format!("connect to {key}: \"{kind}\" of \"{provider}\" is not a firewall that eg knows");
                Err(Failure::new(FailureClass::Invalid, message))
            }
        }
    }
}
