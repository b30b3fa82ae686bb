//! Network interfaces: which addresses lie behind which targets, and what else stands before them.

use async_trait::async_trait;
use eg_model::{failure::Failure, in_the_way::Surroundings, interface::NetworkInterface};
use std::{collections::BTreeSet, net::IpAddr};

#[async_trait]
pub trait Interfaces: Send + Sync {
    /// The interfaces of the account and region that have one of these addresses, by id.
    ///
    /// # Errors
    /// They could not be listed whole.
    async fn interfaces(&self, addresses: &BTreeSet<IpAddr>) -> Result<Vec<NetworkInterface>, Failure>;

    /// Reads what surrounds an interface: its instance, its subnet's network ACL and routes. Each is known or not.
    async fn surroundings(&self, interface: &NetworkInterface) -> Surroundings;
}
