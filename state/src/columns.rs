//! Between columns and types. Whatever does not parse is an error that names table and row.

use crate::StateError;
use chrono::DateTime;
use eg_model::{
    Timestamp,
    net::permission::Permission,
    target::{OtherServices, Route, Target},
};
use rusqlite::Row;
use std::{fmt::Display, str::FromStr};

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

/// Which row a value is read from, for the error message.
#[derive(Clone, Copy)]
pub(crate) struct RowRef<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a str,
}

impl RowRef<'_> {
    pub(crate) fn bad(self, column: &str, why: impl Display) -> StateError {
        StateError::row(self.table, self.row, format!("{column}: {why}"))
    }

    /// Parses a text column.
    pub(crate) fn parse<T: FromStr<Err: Display>>(self, column: &str, text: &str) -> Result<T, StateError> {
        text.parse().map_err(|why| self.bad(column, format_args!("\"{text}\": {why}")))
    }

    /// Looks a word up.
    pub(crate) fn word<T>(self, column: &str, word: &str, find: fn(&str) -> Option<T>) -> Result<T, StateError> {
        find(word).ok_or_else(|| self.bad(column, format_args!("\"{word}\" is not a known word")))
    }

    /// A time that must be there.
    pub(crate) fn time(self, column: &str, seconds: i64) -> Result<Timestamp, StateError> {
        DateTime::from_timestamp(seconds, 0).ok_or_else(|| self.bad(column, format_args!("{seconds} is not a time")))
    }

    /// A time that may be absent.
    pub(crate) fn maybe_time(self, column: &str, seconds: Option<i64>) -> Result<Option<Timestamp>, StateError> {
        seconds.map(|seconds| self.time(column, seconds)).transpose()
    }

    /// A count.
    pub(crate) fn count<T: TryFrom<i64, Error: Display>>(self, column: &str, value: i64) -> Result<T, StateError> {
        T::try_from(value).map_err(|why| self.bad(column, why))
    }
}

/// Seconds of a time that may be absent.
pub(crate) fn seconds(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.timestamp())
}

/// A permission's stored form. It is compared by text in SQL, which its canonical form allows.
pub(crate) fn permission_text(permission: &Permission) -> String {
    permission.to_string()
}

/// A JSON array of strings, for `IN (SELECT value FROM json_each(?))`: one statement whatever the number.
pub(crate) fn json_list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items = items.into_iter().map(|item| serde_json::Value::String(item.to_string())).collect();
    serde_json::Value::Array(items).to_string()
}

/// The columns of a target, in the order that [`read_target`] expects; `t` is the joined target, `r` the owner.
macro_rules! target_columns {
    () => {
        "t.provider, t.kind, t.endpoint, t.region, t.name, r.account, r.partition, r.profile, r.role_arn, \
         r.external_id, r.config_file, r.credentials_file, r.services_endpoint"
    };
}
pub(crate) use target_columns;

/// Reads the target whose columns start at `first`.
pub(crate) fn read_target(row: &Row<'_>, first: usize) -> Result<Target, StateError> {
    Ok(Target {
        key: crate::targets::read_key(row, first)?,
        route: Route {
            account: row.get(first + 5)?,
            partition: row.get(first + 6)?,
            profile: row.get(first + 7)?,
            role_arn: row.get(first + 8)?,
            external_id: row.get(first + 9)?,
            config_file: row.get(first + 10)?,
            credentials_file: row.get(first + 11)?,
            other_services: match row.get::<_, Option<String>>(first + 12)? {
                None => OtherServices::WithTarget,
                Some(none) if none.is_empty() => OtherServices::ByThemselves,
                Some(endpoint) => OtherServices::At(endpoint),
            },
        },
    })
}

/// The column `services_endpoint` of a target.
pub(crate) fn services_endpoint(route: &Route) -> Option<&str> {
    match &route.other_services {
        OtherServices::WithTarget => None,
        OtherServices::ByThemselves => Some(""),
        OtherServices::At(endpoint) => Some(endpoint),
    }
}
