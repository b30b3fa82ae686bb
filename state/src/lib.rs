//! The record of `eg`: one SQLite file that says what was asked, what this installation claims, and what happened.
//!
//! Everything that another process could see half done changes in one `IMMEDIATE` transaction, together with the
//! append-only events that tell of it. What a row means and which steps it may take is decided in `eg-model`; this
//! crate stores it. A row that does not parse is skipped and told ([`Store::damaged_rows`]), so that it ends nothing, and
//! what it may hold is never taken for closed: *unknown is never read as empty*.
//!
//! | file | holds |
//! |---|---|
//! | `error` | [`StateError`], with the way out |
//! | `columns`, `damaged` | from rows to types; the rows that do not parse |
//! | `schema`, `migrations` | the schema, made by append-only steps |
//! | `open` | opening, adopting; files, guard, machine, file system |
//! | `tx`, `watch` | [`Store`] and its transactions; an observer of its writes, for tests |
//! | `meta` | installation, machine, notes |
//! | [`events`] | the append-only events |
//! | `targets`, `routes` | firewalls, and the ways to them |
//! | `rules` | the rules opened and revoked lately |
//! | `target_rows` | the record of each target, for passes |
//! | `sessions` | sessions and grants |
//! | `leases`, `auto_close` | claims on rules, guarded by versions; expiry schedules |
//! | `runs`, `notifications` | passes; messages to the user's own command |
//! | `summary`, `check`, `prune` | for `eg status`, for `eg doctor`, for a small file |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

#[cfg(test)]
extern crate self as eg_state;

mod auto_close;
mod check;
mod columns;
mod damaged;
mod error;
pub mod events;
mod leases;
mod meta;
mod migrations;
mod notifications;
mod open;
mod prune;
mod routes;
mod rules;
mod runs;
mod schema;
mod sessions;
mod summary;
mod target_rows;
mod targets;
#[cfg(test)]
mod tests;
mod tx;
mod watch;

pub use error::StateError;
pub use events::{Event, EventKind};
pub use open::{notice::OpenNotice, store::OpenOptions};
pub use prune::KEPT;
pub use runs::{FlushAt, LastReconcile, LastRuns, RunKind, RunResult};
pub use sessions::{
    ending::GrantChange,
    listing::{Filter, Listing, SessionUser},
};
pub use summary::RecordSummary;
pub use target_rows::{Since, TargetRows};
pub use targets::TargetRecord;
pub use tx::{RecordVersion, RowOutcome, Store};
pub use watch::{Watch, WriteObserver};
