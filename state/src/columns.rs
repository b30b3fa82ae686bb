//! Between columns and types. A value that does not parse is an error that names table, row and column.

use crate::error::StateError;
use chrono::DateTime;
use eg_model::Timestamp;
use rusqlite::{Row, types::FromSql};
use std::{cell::Cell, fmt::Display, str::FromStr};

/// Enumerations stored as words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// The word that the database uses.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// From the database's word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use words;

/// A row of a table, read column by column.
pub(crate) struct RowRef<'a, 's> {
    table: &'static str,
    /// The row's key, for messages.
    key: String,
    row: &'a Row<'s>,
    /// The column after the one that was read last. Most readers follow the order of their statement, so the next name is
    /// found at the first look; a search from the start each time would cost the square of the columns for every row.
    next: Cell<usize>,
}

impl<'a, 's> RowRef<'a, 's> {
    pub(crate) fn new(table: &'static str, key: impl ToString, row: &'a Row<'s>) -> Self {
        Self { table, key: key.to_string(), row, next: Cell::new(0) }
    }

    pub(crate) fn bad(&self, column: &str, why: impl Display) -> StateError {
        StateError::row(self.table, &self.key, format!("{column}: {why}"))
    }

    /// A column as SQLite has it.
    pub(crate) fn get<T: FromSql>(&self, column: &str) -> Result<T, StateError> {
        self.position(column).and_then(|at| self.row.get(at)).map_err(|error| match StateError::from(error) {
            StateError::Sqlite { source, .. } if is_of_a_column(&source) => self.bad(column, source),
            other => other,
        })
    }

    fn position(&self, column: &str) -> rusqlite::Result<usize> {
        let statement = self.row.as_ref();
        let count = statement.column_count();
        let next = self.next.get().min(count);
        let found = (next..count).chain(0..next).find(|at| statement.column_name(*at).is_ok_and(|name| name == column));
        let at = found.ok_or_else(|| rusqlite::Error::InvalidColumnName(column.to_owned()))?;
        self.next.set(at + 1);
        Ok(at)
    }

    fn each<T, S: FromSql>(
        &self,
        column: &str,
        read: impl FnOnce(S) -> Result<T, StateError>,
    ) -> Result<Option<T>, StateError> {
        self.get::<Option<S>>(column)?.map(read).transpose()
    }

    /// A text column, parsed.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, StateError> {
        self.parsed(column, &self.get::<String>(column)?)
    }

    pub(crate) fn maybe_parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, StateError> {
        self.each(column, |text: String| self.parsed(column, &text))
    }

    fn parsed<T: FromStr<Err: Display>>(&self, column: &str, text: &str) -> Result<T, StateError> {
        text.parse().map_err(|why| self.bad(column, format_args!("\"{text}\": {why}")))
    }

    /// A JSON column.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StateError> {
        self.each(column, |text: String| serde_json::from_str(&text).map_err(|why| self.bad(column, why)))
    }

    /// A word of an enumeration.
    pub(crate) fn word<T>(&self, column: &str, find: fn(&str) -> Option<T>) -> Result<T, StateError> {
        let word: String = self.get(column)?;
        find(&word).ok_or_else(|| self.bad(column, format_args!("\"{word}\" is not a known word")))
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, StateError> {
        self.moment(column, self.get(column)?)
    }

    pub(crate) fn maybe_time(&self, column: &str) -> Result<Option<Timestamp>, StateError> {
        self.each(column, |seconds| self.moment(column, seconds))
    }

    fn moment(&self, column: &str, seconds: i64) -> Result<Timestamp, StateError> {
        DateTime::from_timestamp(seconds, 0).ok_or_else(|| self.bad(column, format_args!("{seconds} is not a time")))
    }

    pub(crate) fn count<T: TryFrom<i64, Error: Display>>(&self, column: &str) -> Result<T, StateError> {
        T::try_from(self.get::<i64>(column)?).map_err(|why| self.bad(column, why))
    }
}

/// True for errors that concern one value: text that is not UTF-8, a number out of range, another type.
pub(crate) fn is_of_a_column(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

pub(crate) fn seconds(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.timestamp())
}

/// A failure as it is stored.
pub(crate) fn failure_text(failure: Option<&eg_model::failure::Failure>) -> Option<String> {
    failure.map(|failure| serde_json::json!(failure).to_string())
}

/// A JSON array of strings, for `IN (SELECT value FROM json_each(?))`: one statement for any number of values.
pub(crate) fn json_list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    serde_json::Value::from_iter(items.into_iter().map(|item| item.to_string())).to_string()
}
