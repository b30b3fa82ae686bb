//! Types that the parts of the trait share.

use eg_model::{
    Timestamp,
    failure::{Failure, FailureClass},
    net::permission::Permission,
    observation::{ObservedRule, Reading},
    target::TargetKey,
};
use std::collections::BTreeMap;

/// One authorize call: its permissions, and the tags and description that AWS gives every rule of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorize {
    /// The target's id.
    pub group: String,
    /// Distinct permissions, in plan order.
    pub permissions: Vec<Permission>,
    pub tags: BTreeMap<String, String>,
    /// For people in the console. The provider's module replaces characters that the provider refuses.
    pub description: String,
    /// Eight hex digits that no other call has. A kind whose entries have a text but no id of their own writes them into
    /// the text, so that an entry which somebody deletes and makes again is another one.
    pub nonce: String,
}

/// The identity that the provider sees behind the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub account: String,
    /// The provider's full name for the caller; for AWS an ARN.
    pub arn: String,
    /// The partition (`aws`, `aws-cn`, …).
    pub partition: String,
}

/// Something on the way to a firewall's rules that takes their effect away, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    pub message: String,
    pub advice: String,
}

/// The outcome of reading one target. Nothing is concluded from it here: `NotFound` need not mean that the target is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadResult {
    /// Every page was read.
    Complete(Reading),
    /// The provider shows no such target to this caller; `None` if the kind of firewall has no accounts.
    NotFound { caller: Option<Caller> },
    /// The target is there, and has no way to be read back: a script without `observe`. This is no reading: nothing is
    /// known of its rules ([`crate::Unread`]).
    NoReadBack,
    /// The target could not be read whole.
    Unavailable(Failure),
}

impl ReadResult {
    /// "Not found", in words.
    pub fn absent(target: &TargetKey, caller: Option<&Caller>) -> String {
        match caller {
            Some(caller) => format!("account {} has no {target}", caller.account),
            None => format!("{target} is not there"),
        }
    }

    /// The failure of whoever needs a reading of a target that has none.
    pub fn no_read_back(target: &TargetKey) -> Failure {
        Failure::new(FailureClass::Invalid, format!("read {target}: it cannot be read back"))
    }
}

/// Rules of one target, read by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesSeen {
    pub rules: Vec<ObservedRule>,
    /// The local time at which they were asked for.
    pub read_at: Timestamp,
}

/// A provider's answer, with the id by which its support finds the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    pub value: T,
    pub request_id: Option<String>,
}

/// Observes every request that a connector sends. Progress is measured by it, and tests place failures at it.
pub trait CallObserver: Send + Sync {
    /// The request is about to be sent. May never return.
    fn before_call(&self) {}

    /// An answer has arrived, be it one page of many.
    fn answered(&self) {}

    /// The request has ended, with an answer or without. May never return.
    fn after_call(&self) {}
}

impl CallObserver for () {}
