//! The EC2 Query protocol: form bodies in, XML and error codes out, pages with tokens.

pub mod errors;
pub mod form;
pub mod paging;
pub mod xml;
