//! Scripts: a directory of programs that open and close, whatever they open and close.
//!
//! | file | holds |
//! |---|---|
//! | `kind` | the kind, as the configuration and the messages know it |
//! | `connect` | the connector |
//! | `scripts_firewall` | the trait's parts |
//! | `directory` | the programs of a directory, refused if others could have written them |
//! | `runs` | what a program gets, and what the ends of several mean |
//! | `observed` | what the program `observe` prints |

mod connect;
mod directory;
mod kind;
mod observed;
mod runs;
mod scripts_firewall;

#[cfg(test)]
mod tests;

pub use connect::Scripts;
pub use kind::DIRECTORY;
