//! Decisions without a record: the holders of each rule (`holders`), and the rules that `eg sweep` closes (`judge`).

pub mod holders;
pub mod judge;
