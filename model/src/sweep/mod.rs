//! Decisions without a record: the holders of each rule (`holders`), the rules that `eg sweep` closes (`judge`), and the
//! tags of containers that it removes (`dead_marks`).

pub mod dead_marks;
pub mod holders;
pub mod judge;
