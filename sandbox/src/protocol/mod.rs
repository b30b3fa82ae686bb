//! The EC2 query protocol: forms in, XML and error codes out, pages with tokens. STS speaks a variant of it, and EventBridge
//! Scheduler REST with JSON, which `server` turns into a form.

pub mod envelope;
pub mod errors;
pub mod form;
pub mod paging;
pub mod service;
pub mod xml;
