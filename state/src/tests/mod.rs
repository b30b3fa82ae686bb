//! Tests of the whole crate from within.

mod statements;
pub(crate) mod trace;
