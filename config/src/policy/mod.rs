//! The machine's policy, `/etc/eg/policy.toml`: `limits` says what may be opened on this machine, `passes` limits
//! what a pass opens, and `file` reads the policy and refuses one that users could have written.

mod file;
mod limits;
mod passes;

pub use file::{PolicyError, PolicyFile, read};
pub use limits::{KindName, MachinePolicy, NotAllowed, PolicyRequest};
pub use passes::{barred, prefer_allowed};
