//! Pages of an answer.

use crate::aws::errors::failure::unusable;
use eg_model::failure::Failure;
use std::collections::BTreeSet;

/// Entries per page, the most that the two calls allow (EC2 API reference, `DescribeSecurityGroupRules`).
pub const PAGE_SIZE: i32 = 1_000;
/// More pages than any account can fill (200 groups of 1,000 rules each, 1,000 a page, and as much again): an endpoint
/// that goes on for ever is not believed.
const PAGES_MAX: usize = 400;

/// The tokens of one series. A token seen twice would go round for ever, so the series is not believed.
#[derive(Default)]
pub struct Pages {
    seen: BTreeSet<String>,
}

impl Pages {
    /// The next page's token; `None` after the last page.
    pub fn next(
        &mut self,
        tried: &str,
        token: Option<&str>,
        request_id: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        if !self.seen.insert(token.to_owned()) {
            return Err(unusable(tried, "the answer's pages repeat", request_id));
        }
        if self.seen.len() >= PAGES_MAX {
            return Err(unusable(tried, "the answer has no last page", request_id));
        }
        Ok(Some(token.to_owned()))
    }
}
