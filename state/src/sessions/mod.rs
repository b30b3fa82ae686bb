//! Sessions and grants on record.

pub mod follow;
pub mod grants;
pub mod lifecycle;
pub mod read;
