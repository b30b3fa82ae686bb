//! The plan: the steps that take a reading of a target to the rules that the live sessions want. Pure, sorted, silent.
//!
//! [`plan_target`] plans one target; a pass plans every target by itself. [`wants()`] is always computed from *all*
//! live sessions, so the end of one session never takes a rule that another still needs. `case.rs` holds the tables, a
//! row for every situation of a permission, a lease, a rule or an expiry schedule; `wanted.rs`, `unwanted.rs`,
//! `leftover.rs` and `auto_close.rs` find the row and push its steps. Expiry schedules come after everything else, so
//! that closing never waits for them.

mod auto_close;
mod blind;
mod case;
mod container;
mod context;
mod describe;
mod leftover;
mod note;
mod planner;
mod rules;
mod standing;
mod step;
mod target;
mod target_plan;
mod unwanted;
mod wanted;
mod wants;

pub use auto_close::auto_close_unset;
pub use blind::plan_blind;
pub use case::rows;
pub use container::{marks_may_return, named_newly, tag_list};
pub use context::{AutoCloseView, PlanContext, PlanPolicy, TargetView};
pub use note::{Note, NoteKind};
pub use standing::standing_without_rule;
pub use step::{LedgerStep, Step};
pub use target::plan_target;
pub use target_plan::{TargetPlan, digest};
pub use wants::{Want, Wants, wants};

#[cfg(test)]
mod tests;
