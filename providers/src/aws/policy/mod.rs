//! IAM documents, all of them pure: the policy for users of `eg` (`user`, `lists`), the role that expiry schedules act as
//! (`roles`, `cloud_expiry`), the words that they share (`words`), and two documents compared by what they mean (`document`).

pub mod cloud_expiry;
pub mod document;
pub mod lists;
pub mod roles;
pub mod user;
mod words;
