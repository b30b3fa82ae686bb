//! From a configured resource to a target: [`lookup`] finds groups by name or tag, [`route`] is the route that the
//! environment gives, and [`read`] reads every configured target once.

pub mod host;
pub mod lookup;
pub mod obstacles;
pub mod read;
pub mod route;
