//! The connector: one firewall for all directories of scripts.

use super::scripts_firewall::ScriptDirectories;
use crate::{
    firewall::{Connect, Firewall},
    host::HostOptions,
};
use async_trait::async_trait;
use eg_model::{failure::Failure, target::Target};
use std::sync::Arc;

pub struct Scripts {
    directories: Arc<ScriptDirectories>,
}

impl Scripts {
    pub fn new(options: HostOptions) -> Self {
        Self { directories: Arc::new(ScriptDirectories::new(options)) }
    }
}

#[async_trait]
impl Connect for Scripts {
    async fn connect(&self, _: &Target) -> Result<Arc<dyn Firewall>, Failure> {
        Ok(self.directories.clone())
    }
}
