//! From a configured resource to a target: [`lookup`] finds groups by name or tag, [`batch`] reads the targets behind one
//! route, and [`read`] every configured target once.

pub mod batch;
pub mod lookup;
pub mod read;
pub mod route;
