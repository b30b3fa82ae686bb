//! The work of `eg sweep`: whole accounts, with credentials alone. No record, no lock, no configuration.

pub mod accounts;
pub mod group;
pub mod view;
