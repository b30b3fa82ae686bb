//! The configuration. `toml` reads tables and keeps the place of every value; `settings` holds what a configuration says,
//! one file for each table; `include` makes one configuration of several files; `file` reads and replaces the files;
//! `edit` changes a text and leaves everything else as it is; `policy` is the machine policy that limits it all.
//! `trusted_file` refuses files that another user could have written.

pub mod edit;
pub mod file;
pub mod include;
pub mod policy;
pub mod settings;
pub mod toml;
pub mod trusted_file;
mod values;
