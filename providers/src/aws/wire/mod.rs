//! HTTP: connections (`http`), the clock that requests are signed by (`clock`), and requests that would leave too late
//! (`in_time`).

pub mod clock;
pub mod http;
pub mod in_time;
