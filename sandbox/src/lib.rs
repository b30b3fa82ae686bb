//! An EC2-compatible endpoint on loopback, to try `eg` and to test it without an account.
//!
//! It speaks the EC2 query protocol (a form in, XML out) for the actions that `eg` uses and those with which a person
//! changes a security group or a managed prefix list by hand. Beside these it has two actions of STS, the IP sets of WAF,
//! and the four actions of EventBridge Scheduler that set one-time schedules. When its clock passes a schedule's time,
//! the sandbox does literally what the schedule says. Its state is in memory, and it misbehaves on demand, the same way
//! for the same seed. No signature is checked; the access key id names the caller.
//!
//! | file | holds |
//! |---|---|
//! | `handle` | [`Config`], [`Sandbox`], [`Handle`]: starting it, and what a test or a person does to it |
//! | `server` | HTTP on loopback, with connections that can be reset |
//! | `engine` | one request from arrival to answer: caller, faults, limits, action, log |
//! | `actions/` | one file per action or pair of actions |
//! | `network` | network interfaces and their surroundings, to be read |
//! | `world` | groups, rules, prefix lists, IP sets, sessions, schedules: the truth |
//! | `stale`, `tag_history` | the truth as a reader that lags sees it |
//! | `faults`, `settings` | faults on single requests; faults of the whole region |
//! | `protocol/` | forms, XML, errors, pages |
//! | `permission` | the permission of a rule, in AWS's canonical form |
//! | `ip_set` | a WAF IP set: addresses under a lock token |
//! | `prefix_list` | a managed prefix list: versions, states, changes in progress |
//! | `callers`, `call_log`, `rate_limit`, `ids`, `clock`, `wildcard` | as named |

mod actions;
mod call_log;
mod callers;
mod clock;
mod engine;
mod faults;
mod handle;
mod ids;
mod ip_set;
mod network;
mod permission;
mod prefix_list;
mod protocol;
mod rate_limit;
mod server;
mod settings;
mod stale;
mod tag_history;
mod wildcard;
mod world;

pub use crate::handle::{Config, HandRule, Handle, Sandbox};
pub use crate::protocol::errors::Refusal;
pub use call_log::Call;
pub use clock::{HandClock, SandboxClock};
pub use faults::{Fault, Rule, Script};
pub use ip_set::IpSet;
pub use network::{AclEntry, Interface, RouteEntry, Subnet};
pub use permission::{RulePermission, Source};
pub use prefix_list::{ListState, PrefixList, PrefixListEntry};
pub use settings::{Latency, RateLimit, RegionSettings, Stale, StaleSight};
pub use world::{CallerIdentity, Group, Schedule, ScheduleKey, SecurityGroupRule};
