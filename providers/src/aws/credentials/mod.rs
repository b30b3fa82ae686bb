//! Credentials: the profile files (`files`, `profiles`), programs that print credentials (`process`), why there are none
//! (`provider`), when they end (`renewal`), and the region that they are used in (`region`).

pub mod files;
pub mod process;
pub mod profiles;
pub mod provider;
pub mod region;
pub mod renewal;
