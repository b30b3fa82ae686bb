//! The promises of `eg`, each held against what may break it: other owners, crashes, lag, full disks, clocks. Every test ends
//! at the provider: nothing of others was touched, nothing of `eg` is left over.

mod auto_close;
mod crashes;
mod faults;
mod lag;
mod ownership;
