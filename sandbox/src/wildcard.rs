//! Values of filters: "You can also use wildcards with the filter values. An asterisk (*) matches zero or more
//! characters, and a question mark (?) matches zero or one character." A backslash before either means the character
//! itself (EC2 User Guide, "List and filter your resources").

/// True if a value of a filter matches the whole text.
pub(crate) fn matches(value: &str, text: &str) -> bool {
    let mut letters = value.chars();
    let Some(letter) = letters.next() else { return text.is_empty() };
    let rest = letters.as_str();
    let after_first = || {
        let mut left = text.chars();
        left.next().map(|first| (first, left.as_str()))
    };
    let literally =
        |wanted: char, rest: &str| after_first().is_some_and(|(first, left)| first == wanted && matches(rest, left));
    match letter {
        '*' => matches(rest, text) || after_first().is_some_and(|(_, left)| matches(value, left)),
        '?' => matches(rest, text) || after_first().is_some_and(|(_, left)| matches(rest, left)),
        '\\' => match letters.next().filter(|next| matches!(next, '*' | '?' | '\\')) {
            Some(next) => literally(next, letters.as_str()),
            None => literally('\\', rest),
        },
        other => literally(other, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn values() {
        for (value, text, expected) in [
            ("prod", "prod", true),
            ("prod", "Prod", false),
            ("prod-*", "prod-", true),
            ("prod-*", "prod-api", true),
            ("prod-*", "a-prod-api", false),
            ("*", "", true),
            ("a*c?", "abbc", true),
            ("a*c?", "abbcd", true),
            ("a*c?", "abbcde", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\b", r"a\b", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(value, text), expected, "{value} {text}");
        }
    }
}
