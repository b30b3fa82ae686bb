//! Credentials: profiles, programs that print them, and how long they last.

pub mod process;
pub mod profiles;
pub mod provider;
pub mod renewal;
