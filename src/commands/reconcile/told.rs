//! The comparison of a pass's trouble with what was told before: new trouble, trouble that lasts, trouble that is over.
//!
//! | trouble | is told |
//! |---|---|
//! | not told within [`AGAIN`] | now, with everything else that the pass has met |
//! | told lately | not again |
//! | told, not met, and the pass would have met it | that it is over |
//! | told, not met, and out of this pass's sight | not at all; it stays known until it would be told again |

use crate::commands::reconcile::trouble::{PassTrouble, TroubleKey, UNSETTLED};
use chrono::TimeDelta;
use eg_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Trouble that lasts is told again after this long.
const AGAIN: TimeDelta = TimeDelta::hours(6);

/// Trouble as it was told last; a list of these in JSON is a note of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    #[serde(flatten)]
    pub(super) key: TroubleKey,
    pub(super) fails: bool,
    pub(super) text: String,
    pub(super) at: Timestamp,
}

pub(super) struct News {
    /// Something has to be told.
    pub(super) is_new: bool,
    /// The trouble that was told and is over.
    pub(super) over: Vec<Told>,
    /// What to remember.
    pub(super) told: Vec<Told>,
}

impl News {
    /// True if the last failure is over.
    pub(super) fn is_well_again(&self) -> bool {
        self.over.iter().any(|told| told.fails) && !self.told.iter().any(|told| told.fails)
    }

    /// The failures of a target that are over while others last, without those that have only changed.
    pub(super) fn over_elsewhere(&self) -> impl Iterator<Item = &Told> {
        let place = |told: &Told| (told.key.kind.clone(), told.key.target.clone(), told.key.subject.clone());
        let over = self.over.iter().filter(|told| told.fails && told.key.target.is_some());
        over.filter(move |over| !self.is_well_again() && self.told.iter().all(|told| place(told) != place(over)))
    }
}

/// True for something that was told at `told` and need not be told again at `now`. A clock that stepped back changes little.
pub(super) fn is_recent(told: Timestamp, now: Timestamp) -> bool {
    (now - told).abs() < AGAIN
}

/// What an earlier pass has remembered. A note in another form, such as the plain text of earlier versions, means that nothing
/// is known: trouble is told once more, and none is lost.
pub(super) fn remembered(note: Option<&str>) -> Vec<Told> {
    note.and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default()
}

/// Compares the trouble of a pass at `now` with what was told `before`.
pub(super) fn compare(
    before: &[Told],
    troubles: &[PassTrouble],
    in_sight: impl Fn(&TroubleKey) -> bool,
    now: Timestamp,
) -> News {
    let last = |key: &TroubleKey| before.iter().find(|told| told.key == *key);
    let is_known = |one: &PassTrouble| last(&one.key).is_some_and(|told| is_recent(told.at, now));
    let is_new = !troubles.iter().all(is_known);
    let met = |told: &Told| troubles.iter().any(|one| one.key == told.key);
    let (over, hidden): (Vec<Told>, Vec<Told>) =
        before.iter().filter(|told| !met(told)).cloned().partition(|told| in_sight(&told.key));
    let tell = |one: &PassTrouble| Told { key: one.key.clone(), fails: one.fails, text: one.text.clone(), at: now };
    let mut told: Vec<Told> = match is_new {
        true => troubles.iter().map(tell).collect(),
        false => before.iter().filter(|told| met(told)).cloned().collect(),
    };
    told.extend(hidden.into_iter().filter(|told| is_recent(told.at, now)));
    News { is_new, over, told }
}

/// True if an earlier failure explains why a pass has not done everything, though the pass did not meet it.
pub(super) fn explains(before: &[Told], in_sight: impl Fn(&TroubleKey) -> bool) -> bool {
    before.iter().any(|told| told.fails && told.key.kind != UNSETTLED && !in_sight(&told.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use eg_model::{failure::FailureClass, target::TargetKey};

    fn at(minutes: i64) -> Timestamp {
        DateTime::from_timestamp(1_772_186_400, 0).unwrap() + TimeDelta::minutes(minutes)
    }

    fn unread(group: &str, class: FailureClass, text: &str) -> PassTrouble {
        let target = Some(TargetKey::new("aws", "security-group", "eu-west-1", group));
        let key = TroubleKey { target, class: Some(class), ..TroubleKey::of("unavailable") };
        PassTrouble { key, fails: true, text: text.to_owned(), is_warning: true }
    }

    fn everything(_: &TroubleKey) -> bool {
        true
    }

    #[test]
    fn the_key_counts_and_not_the_words() {
        let (a, b) =
            (unread("sg-a", FailureClass::Denied, "sg-a and 1 more"), unread("sg-b", FailureClass::Denied, "b"));
        let first = compare(&[], &[a, b.clone()], everything, at(0));
        assert!(first.is_new);
        let other_words = unread("sg-a", FailureClass::Denied, "sg-a and 4 more");
        let second = compare(&first.told, &[other_words.clone(), b.clone()], everything, at(60));
        assert!(!second.is_new && second.over.is_empty());
        assert_eq!(second.told, first.told, "nothing to write");
        let third = compare(&second.told, &[other_words, b.clone()], everything, at(6 * 60));
        assert!(third.is_new, "a reminder");
        assert!(third.told.iter().all(|told| told.at == at(6 * 60)));
        // One of two ends, then the other.
        let fourth = compare(&third.told, &[b], everything, at(6 * 60 + 1));
        assert!(!fourth.is_new && !fourth.is_well_again());
        assert_eq!(fourth.over_elsewhere().map(|told| told.text.as_str()).collect::<Vec<_>>(), ["sg-a and 4 more"]);
        assert!(compare(&fourth.told, &[], everything, at(6 * 60 + 2)).is_well_again());
    }

    #[test]
    fn another_failure_of_the_same_target_is_a_change() {
        let first = compare(&[], &[unread("sg-a", FailureClass::Denied, "denied")], everything, at(0));
        let changed = compare(&first.told, &[unread("sg-a", FailureClass::Expired, "expired")], everything, at(1));
        assert!(changed.is_new);
        assert_eq!(changed.over_elsewhere().count(), 0, "it is not over");
    }

    #[test]
    fn what_a_pass_cannot_see_is_neither_over_nor_new_later() {
        let trouble = [unread("sg-z", FailureClass::Denied, "z")];
        let first = compare(&[], &trouble, everything, at(0));
        let blind = compare(&first.told, &[], |_| false, at(1));
        assert!(!blind.is_new && blind.over.is_empty() && !blind.is_well_again());
        assert_eq!(blind.told, first.told);
        assert!(explains(&blind.told, |_| false) && !explains(&blind.told, everything));
        assert!(!compare(&blind.told, &trouble, everything, at(60)).is_new);
        let forgotten = compare(&blind.told, &[], |_| false, at(6 * 60));
        assert!(forgotten.told.is_empty(), "it would be told again anyway");
    }

    /// The note outlives the version that wrote it.
    #[test]
    fn the_form_of_the_note() {
        let told = compare(&[], &[unread("sg-a", FailureClass::Denied, "it failed")], everything, at(0)).told;
        let note = "[{\"kind\":\"unavailable\",\"target\":{\"provider\":\"aws\",\"kind\":\"security-group\",\
                    \"endpoint\":null,\"region\":\"eu-west-1\",\"id\":\"sg-a\"},\"class\":\"denied\",\"subject\":null,\
                    \"fails\":true,\"text\":\"it failed\",\"at\":\"2026-02-27T10:00:00Z\"}]";
        assert_eq!(serde_json::to_string(&told).unwrap(), note);
        assert_eq!(remembered(Some(note)), told);
        assert_eq!(
            remembered(Some(&note.replace("\"fails\"", "\"later\":1,\"fails\""))),
            told,
            "keys of a later version"
        );
        assert_eq!(remembered(Some("2026-02-27T10:00:00Z sg-a cannot be read")), [], "the text of an earlier version");
        assert_eq!(remembered(None), []);
    }
}
