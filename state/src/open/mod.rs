//! Opening the database: its files, whose machine it belongs to, whether its file system can lock.

pub mod files;
pub mod guard;
pub mod network_fs;
