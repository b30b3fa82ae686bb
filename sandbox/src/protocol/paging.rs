//! Pages. A token holds where the page ended and for what question, so the sandbox keeps nothing of it.

use crate::{
    ids,
    protocol::{
        errors::{self, Refusal},
        form::Form,
    },
};
use std::ops::RangeInclusive;

/// One page of a list, and the token of the next.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
}

/// The values that `MaxResults` takes.
pub(crate) type Sizes = RangeInclusive<i32>;
/// EC2 API reference, `DescribeSecurityGroupRules` and `DescribeSecurityGroups`.
pub(crate) const OF_GROUPS: Sizes = 5..=1_000;
/// EC2 API reference, `DescribeManagedPrefixLists` and `GetManagedPrefixListEntries`.
pub(crate) const OF_LISTS: Sizes = 1..=100;

/// Cuts a page from a list that is sorted by its keys; without `MaxResults`, everything. `limit` makes pages smaller
/// still.
pub(crate) fn cut<T>(
    items: Vec<(String, T)>,
    form: &Form,
    limit: Option<usize>,
    sizes: &Sizes,
) -> Result<Page<T>, Refusal> {
    let size = page_size(form, sizes)?.unwrap_or(usize::MAX).min(limit.unwrap_or(usize::MAX)).max(1);
    let question = question(form);
    let after = match form.get("NextToken").filter(|token| !token.is_empty()) {
        Some(token) => {
            let message = "The specified pagination token is not valid or is expired.";
            let bad = || Refusal::new("InvalidPaginationToken", message);
            Some(token.strip_prefix(question.as_str()).ok_or_else(bad)?.to_owned())
        }
        None => None,
    };
    let mut rest = items.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).peekable();
    let mut items = Vec::new();
    let mut last = None;
    for (key, item) in rest.by_ref().take(size) {
        items.push(item);
        last = Some(key);
    }
    let next = last.filter(|_| rest.peek().is_some()).map(|key| format!("{question}{key}"));
    Ok(Page { items, next })
}

fn page_size(form: &Form, sizes: &Sizes) -> Result<Option<usize>, Refusal> {
    match form.number("MaxResults")? {
        None => Ok(None),
        Some(wanted) if sizes.contains(&wanted) => Ok(usize::try_from(wanted).ok()),
        Some(wrong) => {
            let (least, most) = (sizes.start(), sizes.end());
            let bound = if wrong < *least { format!("greater than {least}") } else { format!("less than {most}") };
            let message = format!("Value ( {wrong} ) for parameter maxResults is invalid. Expecting a value {bound}.");
            Err(errors::invalid_value(message))
        }
    }
}

/// A digest of what was asked, without the paging itself: a token fits its own question only.
fn question(form: &Form) -> String {
    let asked = form.fields().iter().filter(|(name, _)| !matches!(name.as_str(), "NextToken" | "MaxResults"));
    ids::digest(&asked.map(|(name, value)| format!("{name}={value}\n")).collect::<String>())
}
