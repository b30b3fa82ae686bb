//! Other programs, run without a shell, and bounded in time and output.
//!
//! | file | holds |
//! |---|---|
//! | `run` | one program with its input, and how it ended |
//! | `tree` | a process with everything that it has started |

mod run;
mod tree;
#[cfg(test)]
mod written;

pub use run::{Program, Ran};
pub use tree::ProcessTree;
#[cfg(test)]
pub use written::write_program;
