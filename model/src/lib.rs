//! What `eg` decides, as pure data and pure functions.
//!
//! Sessions, grants, permissions, rules, leases and observations, the state machines over them, and [`plan`],
//! which takes an observation to what is wanted. Nothing in this crate reads a clock, a file, the network, the
//! environment or a source of randomness: all of that arrives as arguments, so every decision can be tested,
//! replayed and searched exhaustively.

pub mod auto_close;
pub mod collecting;
pub mod damage;
pub mod failure;
pub mod ids;
pub mod lease;
pub mod net;
pub mod observation;
pub mod plan;
pub mod selector;
pub mod session;
pub mod sweep;
pub mod tags;
pub mod target;
pub mod time;
pub mod twin;

/// A moment in UTC. `eg` records whole seconds: one clock reading per command, truncated at the edge.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// After this long, a reading is believed about a write: AWS answers reads eventually consistently, so a rule may
/// be missing from, or linger in, answers for a while after it was written (5 minutes, far above what is seen).
pub const SETTLE_WINDOW: chrono::TimeDelta = chrono::TimeDelta::minutes(5);
