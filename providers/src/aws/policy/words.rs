//! The words that statements of different kinds share.

use crate::aws::action::Action;

pub(super) fn names(actions: &[Action]) -> Vec<String> {
    actions.iter().filter_map(|action| action.permission()).collect()
}

/// Our keys of tags, as a pattern.
pub(super) const OUR_KEYS: &str = "eg:*";
