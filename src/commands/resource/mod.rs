//! `eg resource`: manages the security groups that the configuration names. `add` and `remove` edit the configuration, `list`
//! shows it, `verify` and `discover` ask the provider.

pub mod add;
pub mod change_json;
pub mod discover;
pub mod list;
pub mod openings;
pub mod remove;
pub mod verify;

use crate::{
    cli::ResourceCommand,
    commands::context::Context,
    error::{CommandError, Exit},
};

pub fn run(context: &Context<'_>, command: &ResourceCommand) -> Result<Exit, CommandError> {
    match command {
        ResourceCommand::List(args) => list::run(context, args),
        ResourceCommand::Add(args) => add::run(context, args),
        ResourceCommand::Remove(args) => remove::run(context, args),
        ResourceCommand::Verify(args) => verify::run(context, args),
        ResourceCommand::Discover(args) => discover::run(context, args),
    }
}
