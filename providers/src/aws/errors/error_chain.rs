//! The words of errors. The SDK wraps each error in layers that name its own parts.

use std::{error::Error, fmt};

/// An error with everything under it, outermost first.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Cuts off the number of a system's error, which says nothing that its words do not.
pub fn without_number(text: &str) -> String {
    text.split_once(" (os error ").map_or(text, |(words, _)| words).to_owned()
}

/// A sentence for people in the place of an error of the SDK.
#[derive(Debug)]
pub struct Sentence(pub String);

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Sentence {}
