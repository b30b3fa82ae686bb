//! Calls to a firewall that cannot be read back. The record alone tells what is open ([`eg_model::plan::plan_blind`]).

use crate::types::{Answered, Authorize};
use async_trait::async_trait;
use eg_model::{failure::Failure, net::permission::Permission, target::TargetKey};

/// Such a kind never answers a reading with [`crate::ReadResult::NotFound`]: nothing tells that its entries went with it.
///
/// Both calls may be repeated: to apply twice is to apply once, and to undo what is not there succeeds.
#[async_trait]
pub trait Unread: Send + Sync {
    /// Opens the one permission of the call, whether or not it is open.
    ///
    /// # Errors
    /// Nothing was done, or the outcome is not known: one of several scripts that failed is an unknown outcome.
    async fn apply(&self, call: &Authorize) -> Result<Answered<()>, Failure>;

    /// Closes a permission, whether or not it is open. Success is a confirmation that it is closed.
    ///
    /// # Errors
    /// As for [`Unread::apply`].
    async fn undo(&self, target: &TargetKey, permission: &Permission) -> Result<Answered<()>, Failure>;
}
