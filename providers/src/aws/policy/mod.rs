//! IAM documents.

pub mod document;
