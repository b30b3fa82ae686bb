//! The record of `eg`: one SQLite file that says what was asked, what this installation claims, and what happened.
//!
//! Everything that another process could see half done changes in one `IMMEDIATE` transaction, together with the
//! append-only events that tell of it. What a row means and which steps it may take is decided in `eg-model`; this
//! crate stores it. A row that does not parse is skipped and told ([`Store::damaged_rows`]), so that it ends nothing, and
//! what it may hold is never taken for closed: *unknown is never read as empty*.
//!
//! | file | holds |
//! |---|---|
//! | `files`, `guard`, `network` | the directory, modes, owners, the guard file, network file systems |
//! | `schema` | the append-only migrations |
//! | `store` | [`Store`]: opening, adopting, transactions, notes; `watch`: an observer of its writes, for tests |
//! | `sessions` | reading sessions: list, find, get |
//! | `lifecycle` | start, extend, stop, expire, and how ending grants let go |
//! | `follow` | a session's move to another address |
//! | `grants` | what the reconciler found out about grants |
//! | `leases` | the ledger, guarded by versions |
//! | `auto_closes` | what was sent about expiry schedules |
//! | `notifications` | what was told to the user's own command |
//! | `damaged` | rows that do not parse |
//! | `checkup` | whether the record could be used, without changing anything |
//! | `targets`, `runs`, [`events`], `prune` | what is known of a target; runs; the append-only events |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod auto_close;
mod check;
mod columns;
mod damaged;
pub mod error;
pub mod events;
mod leases;
mod notifications;
mod open;
mod prune;
mod runs;
mod schema;
mod sessions;
mod store;
mod summary;
mod targets;
mod watch;

pub use crate::sessions::grants::GrantChange;
pub use crate::sessions::read::{Filter, Listing};
pub use error::StateError;
pub use events::{Event, EventKind};
pub use leases::Written;
pub use prune::KEPT;
pub use runs::{LastReconcile, LastRuns, Run, RunKind, RunResult};
pub use store::{OpenNotice, OpenOptions, Store};
pub use summary::RecordSummary;
pub use targets::TargetRecord;
pub use watch::{Watch, WriteObserver};
