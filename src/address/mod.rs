//! The user's own addresses. `ask` asks several echo services of different operators at once; `agree` decides which
//! address their answers make; `reasons` says in short why there is none; `judge` refuses an address that no firewall can be opened to, and detection that has
//! nothing to ask.

mod agree;
mod ask;
mod judge;
mod reasons;
#[cfg(test)]
mod tests;

pub use agree::{EchoAnswer, FamilyOutcome, describe};
pub use ask::{Detected, Families, FamilySurvey, Survey, detect, parse_answer, survey};
pub use judge::{check_asked, never_detected, proxy_hint};
pub use reasons::{are_alike, reasons};
