//! The configuration: reading `config.toml` and the files it includes, changing it without touching anything else, and the
//! machine policy that limits it.

pub mod edit;
pub mod file;
pub mod include;
pub mod policy;
pub mod policy_file;
pub mod sections;
pub mod settings;
pub mod toml;
