//! Security groups that a configuration names by their name or tags instead of by id.

use std::{collections::BTreeMap, fmt};

/// A text with wildcards as in the filters of EC2 (EC2 API reference, "List and filter"): `*` is any number of
/// characters, `?` is one character or none; `\*`, `\?` and `\\` are the characters themselves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

/// A step of a [`Pattern`].
enum Piece {
    Any,
    Maybe,
    Exactly(char),
}

impl Pattern {
    /// A pattern; `None` for an empty text, which could mean nothing or everything.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty()).then_some(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if the pattern matches the whole text. Case counts.
    pub fn matches(&self, text: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        // For every number of letters: can the pieces so far match exactly that many?
        let mut reached = vec![false; letters.len() + 1];
        if let Some(first) = reached.first_mut() {
            *first = true;
        }
        for piece in self.pieces() {
            reached = after(&piece, &reached, &letters);
        }
        reached.last().copied().unwrap_or(false)
    }

    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut letters = self.0.chars().peekable();
        while let Some(letter) = letters.next() {
            pieces.push(match letter {
                '*' => Piece::Any,
                '?' => Piece::Maybe,
                '\\' => Piece::Exactly(letters.next_if(|next| matches!(next, '*' | '?' | '\\')).unwrap_or('\\')),
                other => Piece::Exactly(other),
            });
        }
        pieces
    }
}

fn after(piece: &Piece, reached: &[bool], letters: &[char]) -> Vec<bool> {
    let mut before = false;
    let mut any = false;
    let mut next = Vec::with_capacity(reached.len());
    for (count, here) in reached.iter().enumerate() {
        any |= *here;
        let last = count.checked_sub(1).and_then(|at| letters.get(at));
        next.push(match piece {
            Piece::Any => any,
            Piece::Maybe => *here || before,
            Piece::Exactly(letter) => before && last == Some(letter),
        });
        before = *here;
    }
    next
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name and tags of the groups that are meant. All conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    name: Option<Pattern>,
    tags: BTreeMap<String, Pattern>,
}

impl Selector {
    /// A selector by name and tags; `None` without any condition.
    pub fn new(name: Option<Pattern>, tags: BTreeMap<String, Pattern>) -> Option<Self> {
        (name.is_some() || !tags.is_empty()).then_some(Self { name, tags })
    }

    pub fn name(&self) -> Option<&Pattern> {
        self.name.as_ref()
    }

    pub fn tags(&self) -> &BTreeMap<String, Pattern> {
        &self.tags
    }

    pub fn fits(&self, name: &str, tags: &BTreeMap<String, String>) -> bool {
        let tagged = |(key, wanted): (&String, &Pattern)| tags.get(key).is_some_and(|value| wanted.matches(value));
        self.name.as_ref().is_none_or(|wanted| wanted.matches(name)) && self.tags.iter().all(tagged)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.iter().map(|name| format!("name {name}"));
        let tags = self.tags.iter().map(|(key, value)| format!("tag {key}={value}"));
        f.write_str(&name.chain(tags).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn patterns() {
        for (pattern, fits, fits_not) in [
            ("prod", &["prod"][..], &["Prod", "prod-api", "a-prod", ""][..]),
            ("prod-*", &["prod-", "prod-api", "prod-*"], &["prod", "xprod-api"]),
            ("*", &["", "anything"], &[]),
            ("a*b*c", &["abc", "a--b--b--c", "aabbcc"], &["ab", "abcd", "acb"]),
            ("db-?", &["db-", "db-1", "db-é"], &["db", "db-12"]),
            ("??", &["", "a", "ab"], &["abc"]),
            (r"\*", &["*"], &["", "a", r"\*"]),
            (r"a\?", &["a?"], &["a", "ab"]),
            (r"a\\*", &[r"a\", r"a\b"], &["a", "ab"]),
            (r"a\b", &[r"a\b"], &["ab"]),
            ("a\\", &["a\\"], &["a"]),
        ] {
            for text in fits {
                assert!(matches(pattern, text), "{pattern} {text}");
            }
            for text in fits_not {
                assert!(!matches(pattern, text), "{pattern} {text}");
            }
        }
        assert_eq!(Pattern::new(""), None);
    }

    #[test]
    fn everything_has_to_hold() {
        let tags = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let wanted = BTreeMap::from([
            ("env".to_owned(), Pattern::new("prod").unwrap()),
            ("team".to_owned(), Pattern::new("w*").unwrap()),
        ]);
        let selector = Selector::new(Pattern::new("api-*"), wanted).unwrap();
        assert_eq!(selector.to_string(), "name api-*, tag env=prod, tag team=w*");
        assert!(selector.fits("api-1", &tags(&[("env", "prod"), ("team", "web"), ("x", "y")])));
        assert!(!selector.fits("api-1", &tags(&[("env", "prod")])));
        assert!(!selector.fits("api-1", &tags(&[("env", "dev"), ("team", "web")])));
        assert!(!selector.fits("db", &tags(&[("env", "prod"), ("team", "web")])));
        assert_eq!(Selector::new(None, BTreeMap::new()), None);
    }
}
