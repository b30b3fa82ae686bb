//! An EC2-compatible endpoint on loopback, to try `eg` and to test it without an account.
//!
//! It speaks the EC2 query protocol (a form in, XML out) for the actions that `eg` uses and those with which a person
//! changes a security group by hand, two of STS, and the four of EventBridge Scheduler that set one-time schedules; what
//! those say is done, literally, when its clock passes. It keeps its state in memory or in a file, and it misbehaves on
//! demand, the same way for the same seed. No signature is checked; the access key id names the caller.
//!
//! | file | what |
//! |---|---|
//! | `sandbox` | [`Config`], [`Sandbox`], [`Handle`]: starting it, and what a test or a person does to it |
//! | `server` | HTTP on loopback, with connections that can be reset |
//! | `engine` | one request from arrival to answer: caller, faults, limits, action, log |
//! | `actions/` | one file per action or pair of actions |
//! | `world` | groups, rules, sessions: the truth; `sight`: what a reader is shown of it |
//! | `faults` | scripts of what goes wrong; `settings`: how the region is at large |
//! | `form`, `xml`, `refusal`, `paging` | the protocol |
//! | `permission` | what a rule allows, in AWS's canonical form |
//! | `callers`, `call_log`, `rate_limit`, `ids`, `clock`, `state_file` | as they say |

mod actions;
mod call_log;
mod callers;
mod clock;
mod engine;
mod faults;
mod handle;
mod ids;
mod permission;
mod protocol;
mod rate_limit;
mod server;
mod settings;
mod stale;
mod state_file;
mod wildcard;
mod world;

pub use crate::handle::{Config, HandRule, Handle, Sandbox, StartError};
pub use crate::protocol::errors::Refusal;
pub use call_log::Call;
pub use callers::Identity;
pub use clock::{HandClock, SandboxClock};
pub use faults::{Fault, Rule, Script};
pub use permission::{RulePermission, Source};
pub use settings::{Latency, RateLimit, RegionSettings, Stale, StaleSight};
pub use world::{Group, Schedule, ScheduleKey, SecurityGroupRule};
