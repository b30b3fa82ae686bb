//! The machine's policy, `/etc/eg/policy.toml`: `limits` says what may be opened on this machine, `file` reads the policy
//! and refuses one that users could have written.

mod file;
mod limits;

pub use file::{PolicyError, PolicyFile, read};
pub use limits::{MachinePolicy, NotAllowed, PolicyRequest};
