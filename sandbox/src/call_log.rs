//! Every request that arrived, for tests and benchmarks to read.

use crate::protocol::form::Form;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, VecDeque};

const KEPT: usize = 100_000;

/// One request, or one that landed late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Counts from 1; a late landing has the number of its request.
    pub number: u64,
    pub at: DateTime<Utc>,
    pub request_id: String,
    /// Empty when the request named none.
    pub action: String,
    /// The security groups, prefix lists and IP sets that the request named.
    pub groups: Vec<String>,
    /// The rules that the request named, or that it made or removed.
    pub rules: Vec<String>,
    /// The caller's ARN; empty without credentials.
    pub caller: String,
    pub account: String,
    /// The region that the signature names.
    pub region: String,
    /// `DryRun`.
    pub dry_run: bool,
    /// `OK`, the error's code, or `Lost` when the connection was reset.
    pub outcome: String,
    /// The HTTP status; `None` when the connection was reset.
    pub status: Option<u16>,
    pub effect: bool,
    pub fault: Option<String>,
    /// True for the landing of an earlier request that got no answer.
    pub landed_late: bool,
    pub fields: BTreeMap<String, String>,
}

/// The security groups, prefix lists and IP sets that a request names.
pub(crate) fn groups_in(form: &Form) -> Vec<String> {
    let single = ["GroupId", "PrefixListId", "Place"].into_iter().filter_map(|name| form.get(name).map(str::to_owned));
    let named = form.list("GroupId").into_iter().chain(form.list("PrefixListId"));
    let by_id = |part: &Form| matches!(part.get("Name"), Some("group-id" | "prefix-list-id"));
    let filtered = form.parts("Filter").into_iter().filter(by_id).flat_map(|part| part.list("Value"));
    let tagged = form.list("ResourceId").into_iter().filter(|id| id.starts_with("sg-") || id.starts_with("pl-"));
    single.chain(named).chain(filtered).chain(tagged).collect()
}

pub(crate) fn rules_in(form: &Form) -> Vec<String> {
    let tagged = form.list("ResourceId").into_iter().filter(|id| id.starts_with("sgr-"));
    let modified = form.parts("SecurityGroupRule");
    let modified = modified.into_iter().filter_map(|part| part.get("SecurityGroupRuleId").map(str::to_owned));
    let filters = form.parts("Filter").into_iter().filter(|part| part.get("Name") == Some("security-group-rule-id"));
    let filtered = filters.flat_map(|part| part.list("Value"));
    let auto_closing = form.get("Name").and_then(|name| name.strip_prefix("eg-")).filter(|id| id.starts_with("sgr-"));
    let auto_closing = auto_closing.map(str::to_owned);
    let named = form.list("SecurityGroupRuleId").into_iter();
    named.chain(tagged).chain(modified).chain(filtered).chain(auto_closing).collect()
}

#[derive(Debug, Default)]
pub(crate) struct CallLog(VecDeque<Call>);

impl CallLog {
    pub(crate) fn push(&mut self, call: Call) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(call);
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        self.0.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
