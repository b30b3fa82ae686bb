//! The reconcile pass: expire, observe, plan, apply, record. Decisions come from `eg_model::plan`; this folder carries them
//! out. [`pass`] makes a pass, [`route`] works on the targets behind one set of credentials, [`apply`] on one target.
//!
//! One pass runs on one thread. Its routes run side by side, each with slots, retries and a time limit of its own: a region
//! that throttles, credentials that hang or a scheduler that never answers slow down their own route and no other. A pass
//! lasts as long as its slowest route. The store is borrowed between awaits only, so no transaction is open across one.

pub mod apply;
pub mod driver;
pub mod json;
pub mod lane;
pub mod loaded_record;
pub mod observe;
pub mod pace;
pub mod pass;
pub mod preflight;
pub mod reading;
pub mod report;
pub mod request;
pub mod retry;
pub mod retry_budget;
pub mod rights;
pub mod route;
pub mod shared_reading;
