//! Reads TOML tables key by key and keeps the place of every value, so that a mistake is one error that names file, line
//! and column, and the values that are accepted.
//!
//! Not serde: its errors carry a span and a sentence, but not the key, the section and the accepted values apart;
//! `deny_unknown_fields` names the first unknown key of the alphabet, not of the file; and `flatten`, which could collect
//! unknown keys, loses every span.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use thiserror::Error;
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

/// A mistake in a file of the configuration, or in the policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}:{line}:{column}: {message}{}", file.display(), accepted_suffix(accepted))]
pub struct SettingsError {
    /// The file, as it was named.
    pub file: PathBuf,
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    pub message: String,
    /// The values that are accepted in its place; empty if the text is not TOML at all.
    pub accepted: String,
    /// The command that mends it, if there is one.
    pub mend: Option<String>,
}

fn accepted_suffix(accepted: &str) -> String {
    if accepted.is_empty() { String::new() } else { format!(" (accepted: {accepted})") }
}

/// A mistake at a byte of a text whose file is not known yet.
#[derive(Debug)]
pub struct SpannedError {
    pub at: usize,
    pub message: String,
    pub accepted: String,
    pub mend: Option<String>,
}

pub type TomlResult<T> = Result<T, SpannedError>;

impl SpannedError {
    pub fn new(at: usize, message: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self { at, message: message.into(), accepted: accepted.into(), mend: None }
    }

    pub fn locate(self, text: &str, file: &Path) -> SettingsError {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let Self { message, accepted, mend, .. } = self;
        SettingsError { file: file.to_owned(), line, column, message, accepted, mend }
    }
}

pub fn parse(text: &str) -> TomlResult<Spanned<DeTable<'_>>> {
    // Editors on some systems start a file with a byte order mark; TOML parsers skip it, and so do positions.
    DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(text.len(), |span| span.start);
        SpannedError::new(at, format!("not TOML: {}", error.message()), "")
    })
}

/// A value, and the byte at which it starts.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    pub at: usize,
}

impl<T> At<T> {
    /// Converts the value; a refusal names this place and the accepted values.
    pub fn read<U, E: ToString>(self, accepted: &str, read: impl FnOnce(T) -> Result<U, E>) -> TomlResult<U> {
        read(self.value).map_err(|error| SpannedError::new(self.at, error.to_string(), accepted))
    }
}

/// A key and its value, each with its place.
pub type Pair = (At<String>, At<String>);

/// One table of the file, all of whose keys are known.
pub struct TomlSection<'a> {
    /// As the user writes it: `[session]`.
    name: &'static str,
    at: usize,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> TomlSection<'a> {
    /// Refuses a table with other keys than these.
    pub fn new(name: &'static str, at: usize, table: &'a DeTable<'a>, keys: &[&str]) -> TomlResult<Self> {
        let section = Self { name, at, table: Some(table) };
        match section.unknown_key(keys) {
            Some(key) => Err(unknown_key(name, key.value, key.at, keys)),
            None => Ok(section),
        }
    }

    /// The first key of the file that is not one of these.
    pub fn unknown_key(&self, keys: &[&str]) -> Option<At<&'a str>> {
        // The table is ordered by key, so the places decide.
        let all = self.table?.keys().map(|key| At { value: key.get_ref().as_ref(), at: key.span().start });
        all.filter(|key| !keys.contains(&key.value)).min_by_key(|key| key.at)
    }

    /// True if the table has this key, whatever its value.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A sub-table; empty if the file has none.
    pub fn child(&self, key: &str, name: &'static str, keys: &[&str]) -> TomlResult<Self> {
        Ok(self.optional_child(key, name, keys)?.unwrap_or(Self { name, at: 0, table: None }))
    }

    pub fn optional_child(&self, key: &str, name: &'static str, keys: &[&str]) -> TomlResult<Option<Self>> {
        let Some(found) = self.value(key, "a table", DeValue::as_table)? else { return Ok(None) };
        Self::new(name, found.at, found.value, keys).map(Some)
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(key)
    }

    fn value<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> TomlResult<Option<At<T>>> {
        self.get(key).map(|value| self.typed(key, value, wanted, read)).transpose()
    }

    fn typed<T>(
        &self,
        key: &str,
        value: &'a Spanned<DeValue<'a>>,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> TomlResult<At<T>> {
        let (found, at) = (value.get_ref(), value.span().start);
        let mistyped = || format!("{key} of {} is of type {}", self.name, found.type_str());
        let value = read(found).ok_or_else(|| SpannedError::new(at, mistyped(), wanted))?;
        Ok(At { value, at })
    }

    pub fn string(&self, key: &str) -> TomlResult<Option<At<String>>> {
        self.value(key, "a string", string)
    }

    /// A string that `read` converts; `accepted` describes the strings that it takes.
    pub fn read<T, E: ToString>(
        &self,
        key: &str,
        accepted: &str,
        read: impl FnOnce(String) -> Result<T, E>,
    ) -> TomlResult<Option<T>> {
        self.string(key)?.map(|found| found.read(accepted, read)).transpose()
    }

    /// The error for a key that has to be there; `accepted` describes its values.
    pub fn missing(&self, key: &str, accepted: &str) -> SpannedError {
        SpannedError::new(self.at, format!("{} has no {key}", self.name), accepted)
    }

    pub fn boolean(&self, key: &str) -> TomlResult<Option<bool>> {
        Ok(self.value(key, "true or false", DeValue::as_bool)?.map(|found| found.value))
    }

    pub fn integer(&self, key: &str, accepted: &str) -> TomlResult<Option<At<usize>>> {
        let Some(found) = self.value(key, accepted, |value| value.as_integer().map(ToString::to_string))? else {
            return Ok(None);
        };
        let refused = format!("{key} of {} is {}", self.name, found.value);
        let at = found.at;
        Ok(Some(At { value: found.read(accepted, |text| text.parse().map_err(|_| refused))?, at }))
    }

    /// A list of strings, which may repeat.
    pub fn words(&self, key: &str, wanted: &str) -> TomlResult<Option<At<Vec<At<String>>>>> {
        let Some(list) = self.value(key, wanted, |value| value.as_array())? else { return Ok(None) };
        let words = list.value.iter().map(|item| self.typed(key, item, wanted, string));
        Ok(Some(At { value: words.collect::<Result<_, _>>()?, at: list.at }))
    }

    /// A list of different strings.
    pub fn strings(&self, key: &str, wanted: &str) -> TomlResult<Option<At<Vec<At<String>>>>> {
        let Some(list) = self.words(key, wanted)? else { return Ok(None) };
        let mut seen = BTreeSet::new();
        match list.value.iter().find(|item| !seen.insert(&item.value)) {
            Some(At { value, at }) => Err(SpannedError::new(*at, format!("\"{value}\" stands in {key} twice"), wanted)),
            None => Ok(Some(list)),
        }
    }

    /// A string, or a list of different strings.
    pub fn string_or_strings(&self, key: &str, wanted: &str) -> TomlResult<Option<Vec<At<String>>>> {
        match self.get(key).map(Spanned::get_ref) {
            Some(DeValue::String(_)) => Ok(self.string(key)?.map(|one| vec![one])),
            _ => Ok(self.strings(key, wanted)?.map(|list| list.value)),
        }
    }

    /// A table of strings: its keys and values, in the file's order.
    pub fn string_table(&self, key: &str) -> TomlResult<Option<At<Vec<Pair>>>> {
        let wanted = "a table of strings";
        let Some(table) = self.value(key, wanted, DeValue::as_table)? else { return Ok(None) };
        let pair = |(name, value): (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)| {
            let value = self.typed(key, value, wanted, string)?;
            Ok((At { value: name.get_ref().to_string(), at: name.span().start }, value))
        };
        let mut pairs = table.value.iter().map(pair).collect::<TomlResult<Vec<_>>>()?;
        pairs.sort_by_key(|(key, _)| key.at);
        Ok(Some(At { value: pairs, at: table.at }))
    }

    /// The tables of an array of tables. The caller checks their keys.
    pub fn tables(&self, key: &str, name: &'static str) -> TomlResult<Vec<Self>> {
        let wanted = "one or more [[resource]] tables";
        let Some(list) = self.value(key, wanted, |value| value.as_array())? else { return Ok(Vec::new()) };
        let section = |item: &'a Spanned<DeValue<'a>>| {
            let found = self.typed(key, item, wanted, DeValue::as_table)?;
            Ok(Self { name, at: found.at, table: Some(found.value) })
        };
        list.value.iter().map(section).collect()
    }
}

fn string(value: &DeValue<'_>) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The error for a key that a table does not have, with the nearest that it has.
pub fn unknown_key(section: &str, key: &str, at: usize, known: &[&str]) -> SpannedError {
    let hint = nearest(key, known).map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
    SpannedError::new(at, format!("{section} has no key \"{key}\"{hint}"), known.join(", "))
}

/// The known key that takes the fewest changed letters, if that is at most two and fewer than the key is long.
fn nearest<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    let (distance, near) = known.iter().map(|key| (strsim::levenshtein(text, key), *key)).min()?;
    (distance <= 2 && distance < text.chars().count()).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_key_is_not_suggested() {
        assert_eq!(nearest("port", &["ports", "profile"]), Some("ports"));
        assert_eq!(nearest("prots", &["ports", "profile"]), Some("ports"));
        assert_eq!(nearest("zz", &["id", "ports"]), None);
    }
}
