//! The reconcile pass: expire, observe, plan, apply, record. Decisions come from `eg_model::plan`; this folder carries them
//! out. [`driver`] makes the pass, [`route`] works on the targets behind one set of credentials, [`apply`] on one target.

pub mod allowed;
pub mod apply;
pub mod driver;
pub mod json;
pub mod lane;
pub mod observe;
pub mod report;
pub mod retry;
pub mod retry_budget;
pub mod rights;
pub mod route;
