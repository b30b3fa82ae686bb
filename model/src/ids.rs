//! One type for each kind of identifier, so that two kinds cannot be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.as_hyphenated())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_hyphenated())
            }
        }
    };
}

uuid_id! {
    /// A session: a random UUID (version 4).
    SessionId
}
uuid_id! {
    /// A grant: one session on one resource for one address.
    GrantId
}
uuid_id! {
    RunId
}

impl SessionId {
    /// The first eight hex digits, for tables and rule descriptions.
    pub fn short(&self) -> String {
        self.0.as_simple().to_string().chars().take(8).collect()
    }
}

/// The row of a lease on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

/// One state file on one machine; part of the lease tag's key. 32 hex digits, random, made with the database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstallationId(String);

impl InstallationId {
    /// From random bytes drawn at the edge.
    pub fn from_uuid(id: Uuid) -> Self {
        Self(id.as_simple().to_string())
    }

    /// Any non-empty text of letters, digits and `-`, at most 64 characters: with its prefix well within the 128
    /// characters of a tag key (AWS, "Tag naming limits and requirements").
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= 64;
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// As it stands in the tag key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A rule's id at its provider (`sgr-…`). Never reused, so better proof of identity than any tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleId(pub String);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The hash of a machine's own id for the record: it tells machines apart and names none. The id itself is confidential
/// (`machine-id(5)` asks applications to hash it with a text of their own).
pub fn machine_fingerprint(machine: &str) -> String {
    use sha2::{Digest, Sha256};
    let sum = Sha256::digest(format!("eg machine {machine}").as_bytes());
    sum.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Eight hex digits of a text's SHA-256, to tell names apart.
pub fn short_digest(text: &str) -> String {
    digest(text).chars().take(8).collect()
}

/// A text's SHA-256 in lower-case hex digits.
pub fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
