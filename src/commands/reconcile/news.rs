//! The news rule of unattended passes. Cron mails every line that a job prints, so `--timer` and `--watch` print trouble when
//! it is new, changes or ends, and again every six hours; on a terminal, always. [`told`](super::told) has the rule, the record
//! keeps what was told last, and [`aside`](super::aside) keeps it where the record cannot.

use crate::{
    commands::{
        context::Context,
        reconcile::{
            aside::{Aside, Topic, fingerprint},
            told::{News, Told, compare, explains, remembered},
            trouble::{PassTrouble, RECORD, TroubleKey, troubles, unsettled, untold_lines},
        },
    },
    error::{CommandError, Kind},
    reconcile::{driver::Driver, report::PassReport},
};
use eg_model::{Timestamp, text::escape_controls};
use eg_state::{OpenNotice, StateError, Store};

/// The note of the record that holds the trouble of passes as it was told last.
const TOLD: &str = "failure-reported";
/// The same for a configuration or a policy that cannot be read, which keeps a pass from opening anything.
const ERRED: &str = "error-reported";

/// Prints the trouble of a pass if it is news. `notices` come from the opening of the record, and were not printed yet.
pub(super) fn tell_trouble(
    context: &Context<'_>,
    driver: &Driver<'_>,
    report: &PassReport,
    notices: &[OpenNotice],
) -> Result<(), CommandError> {
    let mut store = driver.store_mut();
    let aside = Aside::beside(&context.state.path);
    let (before, noted) = (remembered(store.note(TOLD)?.as_deref()), aside.read());
    let in_sight = |key: &TroubleKey| key.was_in_sight(report);
    let mut met = troubles(&store, report)?;
    met.extend(notices.iter().map(trouble_of));
    if !report.converged && !met.iter().any(|one| one.fails) && !explains(&before, in_sight) {
        met.push(unsettled());
    }
    let mut news = compare(&before, &met, in_sight, report.finished);
    // The aside is written when the record cannot be, so errors of the record need no part in the fingerprint.
    let print = fingerprint(&met.iter().map(|one| &one.key).filter(|key| key.kind != RECORD).collect::<Vec<_>>());
    let known_aside =
        !met.is_empty() && noted.as_ref().is_some_and(|noted| noted.is(Topic::Pass, &print, report.finished));
    let was_aside = noted.as_ref().is_some_and(|noted| noted.is_of(Topic::Pass));
    news.is_new &= !known_aside;
    let well_again = news.is_well_again() || (was_aside && !news.told.iter().any(|told| told.fails));
    if noted.as_ref().is_some_and(|noted| noted.is_of(Topic::NoPass)) {
        context.printer.remark("✓ eg reconcile works again");
    }
    if news.is_new || (context.env.stderr_is_terminal && !met.is_empty()) {
        notices.iter().for_each(|notice| context.warn_of(notice));
        context.tell_notes(report);
        untold_lines(&met).into_iter().for_each(|line| context.printer.remark(line));
    }
    for over in news.over_elsewhere() {
        context.printer.remark(&format!("✓ Over: {}", over.text));
    }
    if well_again {
        context.printer.remark("✓ Everything is as recorded again");
    }
    if known_aside || (noted.is_none() && news.told == before) {
        return Ok(());
    }
    match remember(&mut store, TOLD, &news) {
        // The pass has reported itself that the record cannot be written.
        Err(error) if error.is_unwritable() => aside.write(Topic::Pass, &print, report.finished),
        other => {
            other?;
            aside.clear();
        }
    }
    Ok(())
}

/// The trouble that the opening of the record has met.
fn trouble_of(notice: &OpenNotice) -> PassTrouble {
    let text = format!("{notice:?}");
    PassTrouble { key: TroubleKey::of(RECORD).about(&text), fails: false, text, is_warning: true }
}

fn remember(store: &mut Store, note: &str, news: &News) -> Result<(), StateError> {
    match news.told.as_slice() {
        [] => store.clear_note(note),
        told => store.set_note(note, &json_of(told)),
    }
}

fn json_of(told: &[Told]) -> String {
    serde_json::to_string(told).unwrap_or_default()
}

/// For a pass by hand without a failure: true once if a failure was told before.
pub(super) fn failure_has_ended(store: &mut Store, report: &PassReport) -> Result<bool, CommandError> {
    let before = remembered(store.note(TOLD)?.as_deref());
    let news = compare(&before, &[], |key| key.was_in_sight(report), report.finished);
    let fails = |told: &Told| told.fails;
    if !before.iter().any(fails) || news.told.iter().any(fails) {
        return Ok(false);
    }
    match remember(store, TOLD, &news) {
        // The failure is over all the same, and the next pass that can write says so.
        Err(error) if error.is_unwritable() => {
            tracing::info!("that it was told cannot be noted: {error}");
            Ok(false)
        }
        other => Ok(other.map(|()| true)?),
    }
}

/// True if the error that kept an unattended pass from being made has to be printed, by the same rule. Who holds the lock, and
/// since when, does not count.
pub(super) fn no_pass_is_news(context: &Context<'_>, error: &CommandError) -> bool {
    if matches!(error.kind, Kind::Signal(_)) {
        return true;
    }
    let text = (error.kind != Kind::Locked).then_some(&error.message);
    let (aside, now) = (Aside::beside(&context.state.path), context.env.now());
    let print = fingerprint(&(error.kind.as_str(), text));
    let known = aside.read().is_some_and(|noted| noted.is(Topic::NoPass, &print, now));
    if !known {
        aside.write(Topic::NoPass, &print, now);
    }
    !known || context.env.stderr_is_terminal
}

/// True if these errors have to be printed, by the same rule; also if the record cannot be read or written. Prints that an
/// earlier error has ended.
pub(super) fn errors_are_news(
    context: &Context<'_>,
    driver: &Driver<'_>,
    errors: &[CommandError],
    now: Timestamp,
) -> bool {
    let trouble = |error: &CommandError| {
        let (key, text) = (TroubleKey::of(error.kind.as_str()).about(&error.message), error.message.clone());
        PassTrouble { key, fails: true, text, is_warning: false }
    };
    let met: Vec<PassTrouble> = errors.iter().map(trouble).collect();
    let mut store = driver.store_mut();
    let mut compared = || -> Result<bool, StateError> {
        let before = remembered(store.note(ERRED)?.as_deref());
        let news = compare(&before, &met, |_| true, now);
        if news.told != before {
            remember(&mut store, ERRED, &news)?;
        }
        if let Some(over) = news.over.first().filter(|_| news.is_well_again()) {
            let error = over.text.lines().next().unwrap_or_default();
            context.printer.remark(&format!("✓ Fixed: {}", escape_controls(error)));
        }
        Ok(news.is_new || context.env.stderr_is_terminal)
    };
    let news = compared().unwrap_or_else(|error| {
        tracing::info!("that it was told cannot be noted: {error}");
        true
    });
    news && !errors.is_empty()
}
