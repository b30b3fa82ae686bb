//! Where the sandbox's prefix lists and IP sets and ministack's differ.

use crate::known::{Difference, Follows};

pub(crate) const KNOWN_OF_MINISTACK: &[Difference] = &[];
