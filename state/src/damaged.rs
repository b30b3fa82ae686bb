//! Rows that do not parse. One of them must not end a pass or hide the others, and must not be taken for absent: each is
//! remembered, and told.

use crate::{columns::is_of_a_column, error::StateError};
use rusqlite::{Connection, Row, ToSql};
use std::{cell::RefCell, collections::BTreeMap};

/// Table and key of each damaged row, and why it does not parse.
#[derive(Debug, Default)]
pub(crate) struct Damaged(RefCell<BTreeMap<(&'static str, String), String>>);

impl Damaged {
    /// The value that was read; `None` for a row that does not parse, which is remembered.
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

    /// The same for a whole row.
    pub(crate) fn skip_row<T>(
        &self,
        table: &'static str,
        read: Result<T, StateError>,
    ) -> Result<Option<T>, StateError> {
        self.skip(read.map_err(|error| of_its_row(table, error)))
    }

    /// The rows of a statement, without those that do not parse.
    pub(crate) fn rows<T>(
        &self,
        connection: &Connection,
        table: &'static str,
        sql: &str,
        values: &[&dyn ToSql],
        mut read: impl FnMut(&Row<'_>) -> Result<T, StateError>,
    ) -> Result<Vec<T>, StateError> {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.extend(self.skip_row(table, read(row))?);
        }
        Ok(found)
    }

    pub(crate) fn note(&self, table: &'static str, row: &str, what: String) {
        self.0.borrow_mut().insert((table, row.to_owned()), what);
    }

    /// The errors that the rows would have ended a command with.
    pub(crate) fn errors(&self) -> Vec<StateError> {
        self.0.borrow().iter().map(|((table, row), what)| StateError::row(table, row, what.clone())).collect()
    }

    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

/// The row that a statement finds, if there is one. A row that does not parse is an error.
pub(crate) fn one_row<T>(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    values: &[&dyn ToSql],
    read: impl FnOnce(&Row<'_>) -> Result<T, StateError>,
) -> Result<Option<T>, StateError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    rows.next()?.map(read).transpose().map_err(|error| of_its_row(table, error))
}

/// A key that is not even of its type damages its row, and nothing else.
fn of_its_row(table: &'static str, error: StateError) -> StateError {
    match error {
        StateError::Sqlite { source, .. } if is_of_a_column(&source) => StateError::row(table, "?", source.to_string()),
        other => other,
    }
}
