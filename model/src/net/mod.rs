//! Addresses, permissions and ports, in canonical form: host bits masked, protocol names normalised.

pub mod address;
pub mod agree;
pub mod host;
pub mod host_port;
pub mod permission;
pub mod services;
