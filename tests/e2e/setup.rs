//! From nothing to a configuration, and what a configuration can be made of.

mod files;
mod init;
mod resource;
mod selections;
