//! The text and JSON that users and programs see. `printer` writes all of it; `cell` and `table` lay out columns,
//! `session`, `opening`, `events` and `holder` word what is shown, `json` is the contract with programs, `dashboard` draws on a
//! `terminal`, `prompt` asks. The lowest room of the program: it uses nothing of it but `text` and `host`.

pub mod ascii;
pub mod cell;
pub mod color;
pub mod dashboard;
pub mod events;
pub mod holder;
pub mod json;
pub mod opening;
pub mod printer;
pub mod prompt;
pub mod session;
pub mod style;
pub mod table;
pub mod terminal;
pub mod time;
pub mod warning;
