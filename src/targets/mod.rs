//! From a configured resource to a target: [`lookup`] finds groups by name or tag, [`route`] is the route that the
//! environment gives, [`batch`] reads the targets behind one route, and [`read`] every configured target once.

pub mod batch;
pub mod lookup;
pub mod read;
pub mod route;
