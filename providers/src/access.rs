//! Access: the caller, the caller's rights, and the end of the credentials.

use crate::types::Caller;
use async_trait::async_trait;
use eg_model::{Timestamp, failure::Failure, net::permission::Permission};
use std::collections::BTreeMap;

/// The result of a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call would have been let through.
    Allowed,
    /// The caller may not make the call.
    Denied(Failure),
    /// The dry run told neither.
    Unknown(Failure),
}

/// The caller's rights on the rules of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    pub open: Verdict,
    /// Tag a rule in the call that opens it.
    pub tag: Verdict,
    pub close: Verdict,
}

impl Rights {
    /// One failure for each right that is certainly missing.
    pub fn denied(self) -> Vec<Failure> {
        let denied = |verdict| match verdict {
            Verdict::Denied(failure) => Some(failure),
            Verdict::Allowed | Verdict::Unknown(_) => None,
        };
        [self.open, self.tag, self.close].into_iter().filter_map(denied).collect()
    }

    /// The reason why it is not known whether a right is there.
    #[must_use]
    pub fn unknown(&self) -> Option<&Failure> {
        [&self.open, &self.tag, &self.close].into_iter().find_map(|verdict| match verdict {
            Verdict::Unknown(failure) => Some(failure),
            Verdict::Allowed | Verdict::Denied(_) => None,
        })
    }
}

/// The end of the credentials, as far as it can be told beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsEnd {
    /// They renew themselves (instance, container, process).
    Renewing,
    /// Static keys in a file: they last until they are deleted.
    Lasting,
    /// Renewal ends then (an SSO login, a session token).
    At(Timestamp),
    /// They renew themselves as long as a person's login lasts.
    Login {
        /// The latest time at which the login can end.
        until: Timestamp,
        /// The command that begins another login.
        command: String,
    },
    /// They come from this shell's environment: a scheduled reconcile does not have them.
    ShellOnly,
    Unknown,
}

/// Questions about the credentials of the route.
#[async_trait]
pub trait CallerAccess: Send + Sync {
    /// Asks which identity is calling.
    ///
    /// # Errors
    /// The provider did not say.
    async fn caller(&self) -> Result<Caller, Failure>;

    /// Asks by dry runs for the caller's rights on the rules of a group. Of the permission only the family counts. The
    /// tags are those that opening would give: a policy may ask for some, or permit no others.
    async fn rights(&self, group: &str, permission: &Permission, tags: &BTreeMap<String, String>) -> Rights;

    /// Tells when the credentials end; `Unknown` if they do not come in time.
    async fn credentials_end(&self) -> CredentialsEnd;
}
