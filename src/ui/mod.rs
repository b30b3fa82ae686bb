//! What people and programs see.

pub mod ascii;
pub mod color;
pub mod dashboard;
pub mod events;
pub mod holder;
pub mod json;
pub mod printer;
pub mod prompt;
pub mod session;
pub mod style;
pub mod sweep;
pub mod table;
pub mod terminal;
pub mod time;
pub mod warning;
