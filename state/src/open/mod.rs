//! Opening the database: the checks of its files, file system, schema, machine and guard, and the connections that a
//! full or read-only disk still allows.

pub(crate) mod backup;
pub(crate) mod connect;
pub(crate) mod files;
pub(crate) mod full_disk;
pub(crate) mod guard;
pub(crate) mod machine;
pub(crate) mod network_fs;
pub(crate) mod notice;
pub(crate) mod store;
