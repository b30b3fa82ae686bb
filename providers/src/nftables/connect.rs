//! The connector: one firewall for all tables of this host.

use super::{nft::Nft, table_firewall::Tables};
use crate::{
    firewall::{Connect, Firewall},
    host::HostOptions,
};
use async_trait::async_trait;
use eg_model::{failure::Failure, target::Target};
use std::{path::PathBuf, sync::Arc};

pub struct Nftables {
    tables: Arc<Tables>,
}

impl Nftables {
    /// Runs the `nft` of this machine.
    pub fn new(options: HostOptions) -> Self {
        Self::with_program(options, None)
    }

    /// Runs another program in the place of `nft`; for tests.
    pub fn with_program(options: HostOptions, program: Option<PathBuf>) -> Self {
        Self { tables: Arc::new(Tables::new(Nft::new(options, program))) }
    }
}

#[async_trait]
impl Connect for Nftables {
    async fn connect(&self, _: &Target) -> Result<Arc<dyn Firewall>, Failure> {
        Ok(self.tables.clone())
    }
}
