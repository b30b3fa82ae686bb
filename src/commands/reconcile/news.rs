//! The news rule of unattended passes. Cron mails every line that a job prints, so `--timer` and `--watch` print trouble when
//! it is new, changes or ends, and again every six hours; on a terminal, always. The record keeps what was said last.

use crate::{
    commands::{
        context::Context,
        reconcile::trouble::{failure_text, kept_open, repeats_a_warning, warning_text},
    },
    error::CommandError,
    reconcile::{driver::Driver, report::PassReport},
};
use chrono::TimeDelta;
use eg_model::{Timestamp, text::escape_controls};
use eg_state::{StateError, Store};

/// The note of the record that holds the time and text of the failure that was reported last.
const REPORTED: &str = "failure-reported";
/// The same for warnings. It is never cleared: a later collection pass may see them again.
const WARNED: &str = "warning-reported";
/// The same for a configuration or a policy that cannot be read, which keeps a pass from opening anything.
const ERRED: &str = "error-reported";
/// Trouble that lasts is reported again after this long.
const REPORT_AGAIN: TimeDelta = TimeDelta::hours(6);

/// Prints the failure and the warnings of a pass, each if it is news.
pub(super) fn tell_failure(
    context: &Context<'_>,
    driver: &Driver<'_>,
    report: &PassReport,
) -> Result<(), CommandError> {
    let mut store = driver.store_mut();
    let mut failure = failure_text(&store, report, &[])?;
    for line in kept_open(&store, report)? {
        failure += &format!("\n{line}");
    }
    let warnings = warning_text(report);
    let failing = is_news(context, store.note(REPORTED)?.as_deref(), &failure, report.finished);
    let warned = is_news(context, store.note(WARNED)?.as_deref(), &warnings, report.finished);
    if failing || warned {
        context.tell_notes(report);
    }
    if warned {
        tolerate_unwritable(store.set_note(WARNED, &said(&warnings, report.finished)))?;
    }
    if failing {
        // The notes above have given the reason already, most often.
        let new = failure.lines().filter(|line| !repeats_a_warning(report, line));
        new.for_each(|line| context.printer.remark(line));
        tolerate_unwritable(store.set_note(REPORTED, &said(&failure, report.finished)))?;
    } else if failure.is_empty() && failure_has_ended(&mut store)? {
        context.printer.remark("✓ Everything is as recorded again");
    }
    Ok(())
}

/// True once for a failure that was reported, after a pass without one.
pub(super) fn failure_has_ended(store: &mut Store) -> Result<bool, CommandError> {
    Ok(store.note(REPORTED)?.is_some() && tolerate_unwritable(store.clear_note(REPORTED))?)
}

/// True if these errors have to be printed, by the same rule as a failure; also if the record cannot be read or written.
/// Prints that an earlier error has ended.
pub(super) fn errors_are_news(
    context: &Context<'_>,
    driver: &Driver<'_>,
    errors: &[CommandError],
    now: Timestamp,
) -> bool {
    let text = errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("\n");
    let mut store = driver.store_mut();
    let mut compare = || -> Result<bool, StateError> {
        let before = store.note(ERRED)?;
        let news = is_news(context, before.as_deref(), &text, now);
        if news {
            store.set_note(ERRED, &said(&text, now))?;
        } else if let Some(before) = before.filter(|_| text.is_empty()) {
            store.clear_note(ERRED)?;
            let error = before.split_once(' ').and_then(|(_, text)| text.lines().next()).unwrap_or_default();
            context.printer.remark(&format!("✓ Fixed: {}", escape_controls(error)));
        }
        Ok(news)
    };
    compare().unwrap_or_else(|error| {
        tracing::info!("that it was told cannot be noted: {error}");
        !text.is_empty()
    })
}

/// A note of the record: the time, a space, and the text.
fn said(text: &str, now: Timestamp) -> String {
    format!("{} {text}", now.format("%Y-%m-%dT%H:%M:%SZ"))
}

/// True if there is a text, and it was not [`said`] lately.
fn is_news(context: &Context<'_>, said: Option<&str>, text: &str, now: Timestamp) -> bool {
    let (at, before) = said.and_then(|note| note.split_once(' ')).unwrap_or_default();
    let recent = at.parse::<Timestamp>().is_ok_and(|at| (now - at).abs() < REPORT_AGAIN);
    !text.is_empty() && (context.env.stderr_is_terminal || !recent || before != text)
}

/// True if the note was written. On a record that cannot be written for now, which the pass has reported itself, the trouble is
/// reported again by the next pass.
fn tolerate_unwritable(written: Result<(), StateError>) -> Result<bool, CommandError> {
    match written {
        Err(error) if error.is_unwritable() => {
            tracing::info!("that it was told cannot be noted: {error}");
            Ok(false)
        }
        other => Ok(other.map(|()| true)?),
    }
}
