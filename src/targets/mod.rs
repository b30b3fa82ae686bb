//! TODO: the map of this folder.

pub mod lookup;
pub mod read;
pub mod route;
