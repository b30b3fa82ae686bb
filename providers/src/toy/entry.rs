//! An entry, and what its text holds.

use eg_model::{Timestamp, ids::RuleId, net::permission::Permission};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One entry of the firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToyEntry {
    /// The firewall's own id for it; `None` where it gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub permission: Permission,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The time at which the firewall closes it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closes: Option<Timestamp>,
}

impl ToyEntry {
    /// An entry as a person makes it, with a text of their own.
    pub fn by_hand(permission: Permission, text: &str) -> Self {
        Self { id: None, permission, text: text.to_owned(), tags: BTreeMap::new(), closes: None }
    }

    /// The firewall's id; else the value with the nonce in its text; else the value. So an entry that somebody deletes and
    /// makes again is another one, unless the firewall keeps no text.
    pub fn rule_id(&self) -> RuleId {
        let of_value = || match ToyText::read(&self.text).nonce {
            Some(nonce) => format!("{}#{nonce}", self.permission),
            None => self.permission.to_string(),
        };
        RuleId(self.id.clone().unwrap_or_else(of_value))
    }
}

/// The text of an entry that `eg` made: description, nonce, time of making and tags, between tabs. A description has no
/// tabs: [`ToyText::write`] replaces them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ToyText {
    pub(super) description: String,
    pub(super) nonce: Option<String>,
    pub(super) made: Option<Timestamp>,
    pub(super) tags: BTreeMap<String, String>,
}

impl ToyText {
    /// Reads any text. Of one that `eg` did not write, all is description.
    pub(super) fn read(text: &str) -> Self {
        let parts: Vec<&str> = text.split('\t').collect();
        let of_eg = || match parts.as_slice() {
            [description, nonce, made, tags] => Some(Self {
                description: (*description).to_owned(),
                nonce: Some((*nonce).to_owned()),
                made: Some(made.parse().ok()?),
                tags: serde_json::from_str(tags).ok()?,
            }),
            _ => None,
        };
        of_eg().unwrap_or_else(|| Self { description: text.to_owned(), ..Self::default() })
    }

    pub(super) fn write(&self) -> String {
        let tags = serde_json::json!(self.tags);
        match (&self.nonce, self.made) {
            (Some(nonce), Some(made)) => {
                format!("{}\t{nonce}\t{}\t{tags}", self.description.replace('\t', " "), made.to_rfc3339())
            }
            _ => self.description.clone(),
        }
    }
}
