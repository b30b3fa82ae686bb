//! The statements that the connections of this thread run, each with its cost.

use rusqlite::{
    Connection, StatementStatus,
    trace::{TraceEvent, TraceEventCodes},
};
use std::{cell::RefCell, collections::BTreeMap};

thread_local! {
    static SEEN: RefCell<BTreeMap<String, Steps>> = RefCell::default();
}

/// What a statement cost.
#[derive(Clone, Copy, Default)]
struct Steps {
    /// In all runs since it was prepared.
    total: i32,
    /// In its dearest run.
    most: i32,
}

/// Reads the statements of a connection from now on.
pub(crate) fn watch(connection: &Connection) {
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(note));
}

fn note(event: TraceEvent<'_>) {
    let TraceEvent::Profile(statement, _) = event else { return };
    let total = statement.get_status(StatementStatus::VmStep);
    SEEN.with_borrow_mut(|seen| {
        let known = seen.entry(statement.sql().into_owned()).or_default();
        let first = statement.get_status(StatementStatus::Run) <= 1;
        *known = Steps { total, most: known.most.max(if first { total } else { total - known.total }) };
    });
}

/// The statements since the last call, each with the steps of its dearest run.
pub(crate) fn take() -> BTreeMap<String, i32> {
    SEEN.take().into_iter().map(|(sql, steps)| (sql, steps.most)).collect()
}
