//! Cloud expiry: one-time schedules of EventBridge Scheduler that close rules (`schedule`), and the role and schedule group
//! that they need (`preparation`).

pub mod preparation;
pub mod schedule;
