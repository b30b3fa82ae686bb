//! The user's own addresses. `ask` asks several echo services of different operators at once, and
//! `eg_model::net::agree` decides which address their answers make; `reasons` says in short why there is none; `judge`
//! refuses detection that has nothing to ask. `given` finds the addresses that the user
//! names in the place of their own.

mod ask;
mod given;
mod judge;
mod reasons;
#[cfg(test)]
mod tests;

pub use ask::{Detected, Families, FamilySurvey, Survey, detect, survey};
pub use given::{of_interface, of_name};
pub use judge::{check_asked, never_detected, proxy_hint};
pub use reasons::{are_alike, reasons};
