//! The work of `eg sweep`: whole accounts, with credentials alone. No record, no lock, no configuration. [`accounts`] reads
//! and sweeps them, [`group`] takes one group from its first reading to rest, [`container`] removes the tags of a list that
//! are dead, [`reading`] is what was read.

pub mod accounts;
pub mod container;
pub mod group;
pub mod reading;
pub mod view;
