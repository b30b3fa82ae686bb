//! The warnings of `eg sweep`: what could not be read, and why something is still open.

use crate::{
    error::{Work, advice_for},
    sweep::{
        group::{Outcome, SweepRow},
        reading::SweepReading,
        view,
    },
    ui::{printer::Printer, warning::Code},
};
use eg_model::{failure::FailureClass, sweep::judge::KeepReason};
use std::collections::BTreeMap;

/// Names everything that could not be read: it may hold open rules.
pub(super) fn warn_of_unread(printer: &Printer, reading: &SweepReading) {
    for unread in &reading.unread {
        let message = format!("{} cannot be read: {}", view::name(unread), unread.failure);
        printer.warn(Code::NotRead, &message, &[advice_for(Work::Sweeping, unread.failure.class).to_owned()]);
    }
}

/// Gives each reason why something that is due is still open, once.
pub(super) fn warn_of_open(printer: &Printer, rows: &[SweepRow]) {
    if rows.iter().any(|row| row.swept.kept == Some(KeepReason::Clock)) {
        let message = "this machine's clock and the provider's differ, or the provider did not tell its time: what \
                       has expired is left alone";
        printer.warn(Code::Clock, message, &["set the clock, then run eg sweep again".to_owned()]);
    }
    let open: Vec<&Outcome> = rows.iter().filter_map(|row| row.outcome.as_ref()).filter(|it| it.is_open()).collect();
    let mut failures: BTreeMap<FailureClass, usize> = BTreeMap::new();
    for failure in open.iter().filter_map(|outcome| outcome.failure()) {
        *failures.entry(failure.class).or_default() += 1;
    }
    for (class, count) in &failures {
        let message = format!("{} not known to be closed: {class}", rules_are(*count));
        printer.warn(Code::NotClosed, &message, &[advice_for(Work::Sweeping, *class).to_owned()]);
    }
    let without_failure = open.len() - failures.values().sum::<usize>();
    if without_failure > 0 {
        let message = format!("{} not known to be closed", rules_are(without_failure));
        printer.warn(Code::NotClosed, &message, &[advice_for(Work::Sweeping, FailureClass::Unknown).to_owned()]);
    }
}

fn rules_are(count: usize) -> String {
    if count == 1 { "1 rule is".to_owned() } else { format!("{count} rules are") }
}
