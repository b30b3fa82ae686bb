//! HTTP: connections, time limits, the clock that requests are signed with, answers kept for a retry.

pub mod clock;
pub mod http;
pub mod in_time;
#[cfg(test)]
pub mod replay;
