//! The findings of `eg doctor` and `eg resource verify`. Pure: facts come in, findings go out, each with its remedy.

pub mod doctor;
pub mod finding;
pub mod resource;
pub mod schedule;
