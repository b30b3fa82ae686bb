//! The work of `eg sweep`: whole accounts, with credentials alone. No record, no lock, no configuration. [`accounts`] reads
//! and sweeps them, [`group`] takes one group from its first reading to rest, [`reading`] is what was read.

pub mod accounts;
pub mod group;
pub mod reading;
pub mod view;
