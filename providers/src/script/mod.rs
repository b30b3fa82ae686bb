//! Scripts that open and close.

mod kind;

pub use kind::DIRECTORY;
