//! Sessions and their grants: reading, lists, the steps of a life, its end, findings about grants, moves to another
//! address, and what a followed name resolved to.

pub(crate) mod ending;
pub(crate) mod follow;
pub(crate) mod grants;
pub(crate) mod lifecycle;
pub(crate) mod listing;
pub(crate) mod parts;
pub(crate) mod read;
pub(crate) mod sightings;
