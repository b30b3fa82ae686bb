//! The decisions of `eg`, as pure data and pure functions.
//!
//! Sessions, grants, permissions, rules, leases and observations, the state machines over them, and [`plan`], which
//! computes the steps from an observation to the wanted rules. Nothing in this crate reads a clock, a file, the
//! network, the environment or a source of randomness. They arrive as arguments, so every decision can be tested,
//! replayed and searched exhaustively.

pub mod auto_close;
pub mod collecting;
pub mod container_mark;
pub mod damage;
pub mod failure;
pub mod ids;
pub mod in_the_way;
pub mod interface;
pub mod lease;
pub mod net;
pub mod observation;
pub mod plan;
pub mod selector;
pub mod session;
pub mod sweep;
pub mod tags;
pub mod target;
pub mod text;
pub mod time;
pub mod twin;
pub mod words;

/// A moment in UTC. `eg` records whole seconds: one clock reading per command, truncated at the edge.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// The time after a write from which a reading is believed about it. AWS reads are eventually consistent: for a while a
/// new rule may be missing, or a revoked one may linger. 5 minutes is far above the delays seen in practice.
pub const SETTLE_WINDOW: chrono::TimeDelta = chrono::TimeDelta::minutes(5);
