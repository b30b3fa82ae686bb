//! AWS managed prefix lists.

mod kind;

pub use kind::PREFIX_LIST;
