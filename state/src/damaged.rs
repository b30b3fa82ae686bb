//! Rows that do not parse. One of them must not end a pass, or hide the others; and what is skipped must not be taken for
//! absent, so every one is remembered for whoever reads, to be told.

use crate::StateError;
use std::{cell::RefCell, collections::BTreeMap};

/// Which row, and why it does not parse.
#[derive(Debug, Default)]
pub(crate) struct Damaged(RefCell<BTreeMap<(&'static str, String), String>>);

impl Damaged {
    /// What was read; `None` for a row that does not parse, which is remembered.
    pub(crate) fn skip<T>(&self, read: Result<T, StateError>) -> Result<Option<T>, StateError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(StateError::Row { table, row, what, .. }) => {
                self.note(table, &row, what);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The same for a column that is not even of its type: text that is not UTF-8, a number out of range.
    pub(crate) fn skip_in<T>(&self, table: &'static str, read: Result<T, StateError>) -> Result<Option<T>, StateError> {
        self.skip(read.map_err(|error| of_its_row(table, error)))
    }

    pub(crate) fn note(&self, table: &'static str, row: &str, what: String) {
        self.0.borrow_mut().insert((table, row.to_owned()), what);
    }

    /// As errors, each of which says what it would have ended.
    pub(crate) fn errors(&self) -> Vec<StateError> {
        self.0.borrow().iter().map(|((table, row), what)| StateError::row(table, row, what.clone())).collect()
    }

    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

/// A column that is not even of its type damages its row, and nothing else.
pub(crate) fn of_its_row(table: &'static str, error: StateError) -> StateError {
    match error {
        StateError::Sqlite { source, .. } if is_of_a_column(&source) => StateError::row(table, "?", source.to_string()),
        other => other,
    }
}

fn is_of_a_column(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}
