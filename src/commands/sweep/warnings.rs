//! The warnings of `eg sweep`: what could not be read, and why something is still open.

use crate::{
    error::{Work, advice_for},
    sweep::{accounts::SweepResult, group::Outcome, reading::UnreadRegion, view},
    ui::{printer::Printer, warning::Code},
};
use eg_model::{failure::FailureClass, sweep::judge::KeepReason};
use std::collections::BTreeMap;

/// Names everything that could not be read: it may hold open rules.
pub(super) fn warn_of_unread(printer: &Printer, unread: &[UnreadRegion]) {
    for unread in unread {
        let message = format!("{} cannot be read: {}", view::name(unread), unread.failure);
        printer.warn(Code::NotRead, &message, &[advice_for(Work::Sweeping, unread.failure.class).to_owned()]);
    }
}

/// Gives each reason why something that is due is still open, once.
pub(super) fn warn_of_open(printer: &Printer, swept: &SweepResult) {
    if swept.rows.iter().any(|row| row.swept.kept == Some(KeepReason::Clock)) {
        let message = "this machine's clock and the provider's differ, or the provider did not tell its time: what \
                       has expired is left alone";
        printer.warn(Code::Clock, message, &["set the clock, then run eg sweep again".to_owned()]);
    }
    warn_of(printer, swept.rows.iter().filter_map(|row| row.outcome.as_ref()), "rule", "closed");
    warn_of(printer, swept.tags.iter().map(|tag| &tag.outcome), "tag", "removed");
}

fn warn_of<'o>(printer: &Printer, outcomes: impl Iterator<Item = &'o Outcome>, noun: &str, done: &str) {
    let open: Vec<&Outcome> = outcomes.filter(|outcome| outcome.is_open()).collect();
    let are = |count: usize| {
        let of = if count == 1 { format!("{noun} is") } else { format!("{noun}s are") };
        format!("{count} {of} not known to be {done}")
    };
    let mut failures: BTreeMap<FailureClass, usize> = BTreeMap::new();
    for failure in open.iter().filter_map(|outcome| outcome.failure()) {
        *failures.entry(failure.class).or_default() += 1;
    }
    for (class, count) in &failures {
        let message = format!("{}: {class}", are(*count));
        printer.warn(Code::NotClosed, &message, &[advice_for(Work::Sweeping, *class).to_owned()]);
    }
    let without_failure = open.len() - failures.values().sum::<usize>();
    if without_failure > 0 {
        let message = are(without_failure);
        printer.warn(Code::NotClosed, &message, &[advice_for(Work::Sweeping, FailureClass::Unknown).to_owned()]);
    }
}
