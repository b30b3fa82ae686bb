//! What people and programs see.

pub mod color;
pub mod events;
pub mod holder_view;
pub mod json;
pub mod marks;
pub mod printer;
pub mod session_view;
pub mod style;
pub mod sweep_view;
pub mod table;
pub mod text;
pub mod time;
