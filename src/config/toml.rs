//! Reading TOML tables key by key, keeping where everything stands.

use std::{collections::BTreeSet, ops::Range};
use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue},
};

/// What is wrong at a byte of the text.
#[derive(Debug)]
pub struct SpannedError {
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) accepted: String,
    /// The command that mends it, where there is one.
    pub(super) mend: Option<String>,
}

impl SpannedError {
    pub(super) fn new(at: usize, message: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self { at, message: message.into(), accepted: accepted.into(), mend: None }
    }
}

/// A value, and the byte at which it starts.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

impl<T> At<T> {
    /// Goes on with what `read` makes of the value; a refusal is one of this place.
    pub(super) fn read<U, E: ToString>(
        self,
        accepted: &str,
        read: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<U, SpannedError> {
        let at = self.at;
        read(self.value).map_err(|error| SpannedError::new(at, error.to_string(), accepted))
    }
}

/// A key and its value, each with its place.
pub(super) type Pair = (At<String>, At<String>);

/// One table of the file, all of whose keys are known.
pub(super) struct TomlSection<'a> {
    /// As the user writes it: `[session]`.
    name: &'static str,
    at: usize,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> TomlSection<'a> {
    /// A table with none but these keys.
    pub(super) fn new(
        name: &'static str,
        at: usize,
        table: &'a DeTable<'a>,
        keys: &[&str],
    ) -> Result<Self, SpannedError> {
        // The table is ordered by key; the first unknown key of the file is the one to name.
        let unknown = table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            Some(key) => Err(unknown_key(name, key, keys)),
            None => Ok(Self { name, at, table: Some(table) }),
        }
    }

    /// A sub-table of the file; absent is empty.
    pub(super) fn child(root: &Self, key: &str, name: &'static str, keys: &[&str]) -> Result<Self, SpannedError> {
        match root.get(key) {
            None => Ok(Self { name, at: 0, table: None }),
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => Self::new(name, value.span().start, table, keys),
                other => Err(root.mistyped(key, value.span(), other, "a table")),
            },
        }
    }

    /// A sub-table, where there is one.
    pub(super) fn optional_child(
        &self,
        key: &str,
        name: &'static str,
        keys: &[&str],
    ) -> Result<Option<Self>, SpannedError> {
        self.get(key).map(|_| Self::child(self, key, name, keys)).transpose()
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(key)
    }

    fn mistyped(&self, key: &str, span: Range<usize>, found: &DeValue<'_>, wanted: &str) -> SpannedError {
        let message = format!("{key} of {} is of type {}", self.name, found.type_str());
        SpannedError::new(span.start, message, wanted)
    }

    fn value<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Result<Option<At<T>>, SpannedError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match read(value.get_ref()) {
            Some(read) => Ok(Some(At { value: read, at: value.span().start })),
            None => Err(self.mistyped(key, value.span(), value.get_ref(), wanted)),
        }
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<At<String>>, SpannedError> {
        self.value(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A string that has to be there; `accepted` describes it.
    pub(super) fn required(&self, key: &str, accepted: &str) -> Result<At<String>, SpannedError> {
        self.string(key)?.ok_or_else(|| self.missing(key, accepted))
    }

    /// That a key is not there.
    pub(super) fn missing(&self, key: &str, accepted: &str) -> SpannedError {
        SpannedError::new(self.at, format!("{} has no {key}", self.name), accepted)
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, SpannedError> {
        Ok(self.value(key, "true or false", DeValue::as_bool)?.map(|found| found.value))
    }

    /// A whole number within `accepted`.
    pub(super) fn integer(&self, key: &str, accepted: &str) -> Result<Option<At<usize>>, SpannedError> {
        let Some(found) = self.value(key, accepted, |value| value.as_integer().map(ToString::to_string))? else {
            return Ok(None);
        };
        let at = found.at;
        let refused = |text: &str| SpannedError::new(at, format!("{key} of {} is {text}", self.name), accepted);
        let value = found.value.parse().map_err(|_| refused(&found.value))?;
        Ok(Some(At { value, at }))
    }

    /// A list of strings, in which one may stand twice.
    pub(super) fn words(&self, key: &str, wanted: &str) -> Result<Option<At<Vec<String>>>, SpannedError> {
        let Some(list) = self.value(key, wanted, |value| value.as_array())? else { return Ok(None) };
        let word = |item: &'a Spanned<DeValue<'a>>| {
            let text = item.get_ref().as_str().map(str::to_owned);
            text.ok_or_else(|| self.mistyped(key, item.span(), item.get_ref(), wanted))
        };
        Ok(Some(At { value: list.value.iter().map(word).collect::<Result<_, _>>()?, at: list.at }))
    }

    /// A list of strings without one twice.
    pub(super) fn strings(&self, key: &str, wanted: &str) -> Result<Option<At<Vec<At<String>>>>, SpannedError> {
        let Some(list) = self.value(key, wanted, |value| value.as_array())? else { return Ok(None) };
        Ok(Some(At { value: self.items(key, list.value, wanted)?, at: list.at }))
    }

    fn items(&self, key: &str, list: &DeArray<'_>, wanted: &str) -> Result<Vec<At<String>>, SpannedError> {
        let mut seen = BTreeSet::new();
        let mut items = Vec::new();
        for item in list.iter() {
            let at = item.span().start;
            let Some(text) = item.get_ref().as_str() else {
                return Err(self.mistyped(key, item.span(), item.get_ref(), wanted));
            };
            if !seen.insert(text) {
                return Err(SpannedError::new(at, format!("\"{text}\" stands in {key} twice"), wanted));
            }
            items.push(At { value: text.to_owned(), at });
        }
        Ok(items)
    }

    /// A string, or a list of strings without one twice.
    pub(super) fn string_or_strings(&self, key: &str, wanted: &str) -> Result<Option<Vec<At<String>>>, SpannedError> {
        match self.get(key).map(Spanned::get_ref) {
            Some(DeValue::String(_)) => Ok(self.string(key)?.map(|one| vec![one])),
            _ => Ok(self.strings(key, wanted)?.map(|list| list.value)),
        }
    }

    pub(super) fn string_table(&self, key: &str) -> Result<Option<At<Vec<Pair>>>, SpannedError> {
        let wanted = "a table of strings";
        let Some(table) = self.value(key, wanted, DeValue::as_table)? else { return Ok(None) };
        let at = table.at;
        let mut pairs = Vec::new();
        for (name, value) in table.value {
            let Some(text) = value.get_ref().as_str() else {
                return Err(self.mistyped(key, value.span(), value.get_ref(), wanted));
            };
            let key = At { value: name.get_ref().to_string(), at: name.span().start };
            pairs.push((key, At { value: text.to_owned(), at: value.span().start }));
        }
        pairs.sort_by_key(|(key, _)| key.at);
        Ok(Some(At { value: pairs, at }))
    }

    /// The tables of an array of tables.
    pub(super) fn tables(&self, key: &str, name: &'static str, keys: &[&str]) -> Result<Vec<Self>, SpannedError> {
        let wanted = "one or more [[resource]] tables";
        let Some(list) = self.value(key, wanted, |value| value.as_array())? else { return Ok(Vec::new()) };
        let section = |item: &'a Spanned<DeValue<'a>>| match item.get_ref() {
            DeValue::Table(table) => Self::new(name, item.span().start, table, keys),
            other => Err(self.mistyped(key, item.span(), other, wanted)),
        };
        list.value.iter().map(section).collect()
    }
}

fn unknown_key(section: &str, key: &Spanned<DeString<'_>>, known: &[&str]) -> SpannedError {
    let text = key.get_ref().as_ref();
    let hint = nearest(text, known).map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
    SpannedError::new(key.span().start, format!("{section} has no key \"{text}\"{hint}"), known.join(", "))
}

/// The known key that takes the fewest changed letters, if that is at most two and fewer than the key is long.
fn nearest<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|key| (distance(text, key), *key)).min()?;
    (near.0 <= 2 && near.0 < text.chars().count()).then_some(near.1)
}

fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut left = index + 1;
        let mut next = vec![left];
        for (other, pair) in to.iter().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(letter != *other)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, expected) in
            [("", "", 0), ("", "abc", 3), ("port", "ports", 1), ("prots", "ports", 2), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn a_far_key_is_not_suggested() {
        assert_eq!(nearest("port", &["ports", "profile"]), Some("ports"));
        assert_eq!(nearest("zz", &["id", "ports"]), None);
    }
}
