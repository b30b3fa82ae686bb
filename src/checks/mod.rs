//! What `eg doctor` and `eg resource verify` conclude. Pure: facts in, findings with advice out.

pub mod doctor;
pub mod finding;
pub mod resource;
