//! The conditions under which any installation may close a marked rule, for the plan and for `eg sweep`. Leases of
//! others are judged by the provider's clock alone; if that is unknown, the rule stays open.

use crate::{
    Timestamp,
    tags::{Fit, LeaseState, Marks},
};
use chrono::TimeDelta;

/// The largest difference between the local clock and the provider's at which rules of others may be closed.
pub const SKEW_LIMIT: TimeDelta = TimeDelta::minutes(2);

/// Judges a lease value by the provider's clock; if that is unknown, the lease counts as unexpired.
pub fn lease_state(value: &str, provider_time: Option<Timestamp>) -> LeaseState {
    provider_time.map_or(LeaseState::Unexpired, |provider| Marks::judge(value, provider))
}

/// True if the marks of a rule are genuine and no lease holds it any more.
pub fn abandoned(fit: Option<Fit>, marks: &Marks, provider_time: Option<Timestamp>) -> bool {
    fit == Some(Fit::Genuine) && !marks.leases.values().any(|value| lease_state(value, provider_time).holds())
}

/// True if the two clocks agree well enough to close rules of others. An unknown clock does not agree.
pub fn clocks_agree(local: Timestamp, provider_time: Option<Timestamp>) -> bool {
    provider_time.is_some_and(|provider| (local - provider).abs() <= SKEW_LIMIT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::{
        ids::InstallationId,
        tags::{Misfit, lease_key},
    };
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn marks(values: &[&str]) -> Marks {
        let id = |number| InstallationId::from_uuid(Uuid::from_u128(number));
        let leases = (1..).map(id).zip(values.iter().map(|value| (*value).to_owned()));
        let tags: BTreeMap<String, String> = leases.map(|(id, value)| (lease_key(&id), value)).collect();
        Marks::read("sg-1", &"tcp|22|22|203.0.113.42/32".parse().unwrap(), None, &tags)
    }

    #[test]
    fn every_lease_must_have_let_go_and_the_marks_must_fit() {
        let now = Some(at("2026-02-27T12:00:00Z"));
        let (over, holds, odd) = ("2026-02-27T11:00:00Z", "2026-02-27T11:55:00Z", "2099-01-01T00:00:00Z");
        let genuine = Some(Fit::Genuine);
        for (fit, values, provider, expected) in [
            (genuine, vec![over], now, true),
            (genuine, vec![over, odd, "soon"], now, true),
            (genuine, vec![], now, true),
            (genuine, vec![over, holds], now, false),
            (genuine, vec![over], None, false),
            (genuine, vec!["soon"], None, false),
            (Some(Fit::OursById), vec![over], now, false),
            (Some(Fit::Misfit(Misfit::Digest)), vec![over], now, false),
            (Some(Fit::Misfit(Misfit::Description)), vec![over], now, false),
            (None, vec![over], now, false),
        ] {
            assert_eq!(abandoned(fit, &marks(&values), provider), expected, "{fit:?} {values:?}");
        }
    }

    #[test]
    fn two_minutes_are_close_enough() {
        let local = at("2026-02-27T12:00:00Z");
        for (seconds, agree) in [(0, true), (120, true), (-120, true), (121, false), (-121, false)] {
            assert_eq!(clocks_agree(local, Some(local + TimeDelta::seconds(seconds))), agree, "{seconds}");
        }
        assert!(!clocks_agree(local, None));
    }
}
