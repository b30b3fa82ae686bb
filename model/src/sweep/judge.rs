//! `eg sweep`: the marked rules of a reading, without a record, and the rules to close. Pure; rules are judged as in
//! the plan, see [`crate::collecting`].
//!
//! | rule | state | [`SweepScope::Expired`] | [`SweepScope::Owner`], where it carries the owner's lease |
//! |---|---|---|---|
//! | marks fit, some lease unexpired | held | stays | another's: delete the owner's unexpired lease tag, and report the other holder ([`KeepReason::Held`]); else close |
//! | marks fit, leases expired | expired | close | close |
//! | marks fit, no lease left, or none that is believed | unheld | close, unless the user gave an age | close |
//! | marks that do not fit | misfit | never touched | never touched, and reported ([`KeepReason::Misfit`]) |
//!
//! With [`SweepScope::Owner`]'s `even_if_held` the first row closes as well. Otherwise a thief who may write tags could
//! add a lease of another installation, and a rule of the stolen machine would outlive the sweep.
//!
//! If the clocks differ, or the provider's is unknown, no rule is closed for being expired, and every lease of others
//! that parses counts as unexpired. With an unknown clock such a rule is not reported as held, but as
//! [`KeepReason::Clock`].

use crate::{
    Timestamp,
    collecting::{clocks_agree, lease_state},
    ids::InstallationId,
    observation::{ObservedRule, OwnedRule, Proof, Reading},
    sweep::holders::{Holder, MarkedRule, marked_rules},
    tags::{Fit, LeaseState, lease_key},
    target::TargetKey,
};
use chrono::TimeDelta;
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepScope {
    /// Rules whose every lease expired longer ago than this.
    Expired {
        /// Zero: as soon as they count as expired.
        older_than: TimeDelta,
    },
    /// All rules of one installation that the user named, expired or not.
    Owner {
        owner: InstallationId,
        /// Also rules that another installation holds.
        even_if_held: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// An unexpired lease holds it.
    Held,
    /// Every lease that parses has expired.
    Expired,
    /// No lease is left, or none that is believed.
    Unheld,
    /// Its marks are not believed.
    Misfit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepAction {
    Close(OwnedRule),
    /// Delete the owner's lease tag, by key and value: another installation still needs the rule.
    Untag {
        rule: OwnedRule,
        key: String,
        /// Its value, as read.
        value: String,
    },
}

/// The reason why a requested rule stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepReason {
    /// It expired more recently than the given age.
    Recent,
    /// The user gave an age, and the time since which no lease holds it is unknown.
    UnknownAge,
    /// This machine's clock and the provider's differ, or the provider's is unknown.
    Clock,
    /// Another installation holds the owner's rule.
    Held,
    /// It carries the owner's lease, and its marks do not fit.
    Misfit,
}

/// A marked rule and the decision about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    pub rule: MarkedRule,
    pub state: State,
    /// The end of its last lease, of those that are believed.
    pub until: Option<Timestamp>,
    pub deed: Option<SweepAction>,
    /// The reason why it stays although requested.
    pub kept: Option<KeepReason>,
}

impl Swept {
    /// True if it is a requested rule of the owner's, and stays.
    pub fn outlives_owner(&self) -> bool {
        matches!(self.kept, Some(KeepReason::Held | KeepReason::Misfit))
    }
}

/// Every marked rule of a reading, by permission, with the decision about it. The reading may lack rules without marks.
pub fn sweep(target: &TargetKey, reading: &Reading, wish: &SweepScope) -> Vec<Swept> {
    // In a sweep of whole accounts, the first reading is minutes old by now.
    let agree = clocks_agree(reading.read_at, reading.provider_time);
    let seen = |id| reading.rules.iter().find(|rule| rule.id == id);
    let judge = |rule: MarkedRule| {
        let observed = seen(rule.id.clone());
        let broom = Broom { target, reading, agree };
        let (state, until) = (state(&rule), until(&rule));
        let (deed, kept) = match (wish, observed) {
            (_, None) => (None, None),
            (SweepScope::Expired { older_than }, Some(observed)) => match broom.keeps(&rule, state, until, *older_than)
            {
                Ok(kept) => (None, kept),
                Err(Closable) => (Some(SweepAction::Close(broom.owned(observed, Proof::Marked))), None),
            },
            (SweepScope::Owner { owner, even_if_held }, Some(observed)) => {
                broom.of_owner(&rule, observed, owner, *even_if_held)
            }
        };
        Swept { rule, state, until, deed, kept }
    };
    marked_rules(&target.id, reading, None, &BTreeSet::new()).into_iter().map(judge).collect()
}

/// The rule may be closed.
struct Closable;

struct Broom<'a> {
    target: &'a TargetKey,
    reading: &'a Reading,
    agree: bool,
}

impl Broom<'_> {
    fn owned(&self, rule: &ObservedRule, proof: Proof) -> OwnedRule {
        OwnedRule::seen(self.target, rule, proof, self.reading)
    }

    /// Decides about a rule by its age. `Ok`: it stays, with the reason if the user needs one.
    fn keeps(
        &self,
        rule: &MarkedRule,
        state: State,
        until: Option<Timestamp>,
        older_than: TimeDelta,
    ) -> Result<Option<KeepReason>, Closable> {
        let provider = match (state, self.reading.provider_time) {
            (State::Misfit, _) | (State::Held, Some(_)) => return Ok(None),
            (State::Expired | State::Unheld, Some(provider)) if self.agree => provider,
            // Without a clock every lease counts as unexpired, so a held rule may have expired long ago.
            (_, None) | (State::Expired | State::Unheld, Some(_)) => return Ok(Some(KeepReason::Clock)),
        };
        if older_than.is_zero() {
            return Err(Closable);
        }
        let all_known = rule.holders.iter().all(|holder| holder.state == LeaseState::Expired);
        match until.filter(|_| all_known) {
            None => Ok(Some(KeepReason::UnknownAge)),
            Some(until) if provider - until > older_than => Err(Closable),
            Some(_) => Ok(Some(KeepReason::Recent)),
        }
    }

    /// The call for a rule of the installation that the user named, and the reason if the rule stays.
    fn of_owner(
        &self,
        rule: &MarkedRule,
        observed: &ObservedRule,
        owner: &InstallationId,
        even_if_held: bool,
    ) -> (Option<SweepAction>, Option<KeepReason>) {
        let Some(lease) = rule.holders.iter().find(|holder| holder.installation == *owner) else {
            return (None, None);
        };
        if rule.fit != Fit::Genuine {
            return (None, Some(KeepReason::Misfit));
        }
        let owned = self.owned(observed, Proof::NamedOwner);
        if even_if_held || holders_beside(rule, owner, self.agree).is_empty() {
            return (Some(SweepAction::Close(owned)), None);
        }
        // An expired lease holds nothing, so its tag can stay.
        let unexpired = lease_state(&lease.value, self.reading.provider_time).holds();
        let untag = || SweepAction::Untag { rule: owned, key: lease_key(owner), value: lease.value.clone() };
        (unexpired.then(untag), Some(KeepReason::Held))
    }
}

/// The holders of a rule beside the owner. If the clocks differ, others' expiry is not believed.
pub fn holders_beside(rule: &MarkedRule, owner: &InstallationId, clocks_agree: bool) -> Vec<Holder> {
    let holds = |holder: &&Holder| match holder.state {
        LeaseState::Unexpired => true,
        LeaseState::Expired => !clocks_agree,
        LeaseState::Odd => false,
    };
    rule.holders.iter().filter(|holder| holder.installation != *owner).filter(holds).cloned().collect()
}

fn state(rule: &MarkedRule) -> State {
    let any = |state| rule.holders.iter().any(|holder| holder.state == state);
    match rule.fit {
        Fit::Misfit(_) | Fit::OursById => State::Misfit,
        Fit::Genuine if any(LeaseState::Unexpired) => State::Held,
        Fit::Genuine if any(LeaseState::Expired) => State::Expired,
        Fit::Genuine => State::Unheld,
    }
}

fn until(rule: &MarkedRule) -> Option<Timestamp> {
    rule.holders.iter().filter(|holder| holder.state != LeaseState::Odd).filter_map(|holder| holder.until).max()
}

/// The installations that hold, or held, rules with genuine marks, and whose ids begin with `prefix`. Only the one
/// whose whole id it is, if there is one.
pub fn owners_like(rules: &[MarkedRule], prefix: &str) -> BTreeSet<InstallationId> {
    let genuine = rules.iter().filter(|rule| rule.fit == Fit::Genuine);
    let ids = genuine.flat_map(|rule| &rule.holders).map(|holder| &holder.installation);
    let mut like: BTreeSet<_> = ids.filter(|id| id.as_str().starts_with(prefix)).cloned().collect();
    if like.iter().any(|id| id.as_str() == prefix) {
        like.retain(|id| id.as_str() == prefix);
    }
    like
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::{
        collecting::abandoned,
        ids::{RuleId, SessionId},
        net::permission::Permission,
        tags::{Misfit, description, tags_for},
    };
    use uuid::Uuid;

    const NOW: &str = "2026-02-27T12:00:00Z";
    const EXPIRED: &str = "2026-02-27T09:00:00Z";
    const HOLDS: &str = "2026-02-27T18:00:00Z";
    const ODD: &str = "2099-01-01T00:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn installation(number: u128) -> InstallationId {
        InstallationId::from_uuid(Uuid::from_u128(number))
    }

    fn target() -> TargetKey {
        TargetKey::new("aws", "security-group", "eu-west-1", "sg-1")
    }

    /// Installations count from 1, in this order.
    fn rule(leases: &[&str]) -> ObservedRule {
        let permission: Permission = "tcp|22|22|203.0.113.42/32".parse().unwrap();
        let mut tags = tags_for("sg-1", &[permission], SessionId(Uuid::from_u128(9)), &installation(1), at(NOW));
        tags.retain(|key, _| !key.starts_with("eg:lease:"));
        tags.extend((1..).zip(leases).map(|(number, value)| (lease_key(&installation(number)), (*value).to_owned())));
        let description = Some(description(Some("bob@desk"), SessionId(Uuid::from_u128(9)), None));
        ObservedRule { id: RuleId("sgr-1".into()), permission, description, tags }
    }

    fn reading(rules: Vec<ObservedRule>) -> Reading {
        Reading {
            rules,
            other_ingress: 0,
            read_at: at(NOW),
            last_page_at: at(NOW),
            read_later: Default::default(),
            provider_time: Some(at(NOW)),
            loose_marks: BTreeSet::new(),
            family: None,
        }
    }

    fn one(reading: &Reading, wish: &SweepScope) -> Swept {
        let mut swept = sweep(&target(), reading, wish);
        assert_eq!(swept.len(), 1);
        swept.remove(0)
    }

    fn word(swept: &Swept) -> &'static str {
        match (&swept.deed, swept.kept) {
            (Some(SweepAction::Close(_)), None) => "close",
            (Some(SweepAction::Untag { .. }), Some(KeepReason::Held)) => "untag",
            (None, Some(KeepReason::Recent)) => "recent",
            (None, Some(KeepReason::UnknownAge)) => "unknown age",
            (None, Some(KeepReason::Clock)) => "clock",
            (None, Some(KeepReason::Held)) => "held",
            (None, Some(KeepReason::Misfit)) => "misfit",
            (None, None) => "stays",
            both => panic!("{both:?}"),
        }
    }

    #[test]
    fn what_has_expired() {
        let hours = TimeDelta::hours;
        for (leases, older, state, expected) in [
            (vec![EXPIRED], hours(0), State::Expired, "close"),
            (vec![EXPIRED, HOLDS], hours(0), State::Held, "stays"),
            (vec![EXPIRED, ODD], hours(0), State::Expired, "close"),
            (vec![ODD, "soon"], hours(0), State::Unheld, "close"),
            (vec![], hours(0), State::Unheld, "close"),
            (vec!["2026-02-27T11:50:00Z"], hours(0), State::Held, "stays"),
            (vec!["2026-02-27T11:49:59Z"], hours(0), State::Expired, "close"),
            (vec![EXPIRED], hours(2), State::Expired, "close"),
            (vec![EXPIRED], hours(3), State::Expired, "recent"),
            (vec![EXPIRED, "2026-02-27T11:00:00Z"], hours(2), State::Expired, "recent"),
            (vec![EXPIRED, ODD], hours(2), State::Expired, "unknown age"),
            (vec![], hours(2), State::Unheld, "unknown age"),
        ] {
            let swept = one(&reading(vec![rule(&leases)]), &SweepScope::Expired { older_than: older });
            assert_eq!((swept.state, word(&swept)), (state, expected), "{leases:?} {older}");
        }
    }

    /// Sweeping closes exactly what collecting would.
    #[test]
    fn the_judgement_is_the_plans() {
        for leases in [vec![], vec![EXPIRED], vec![HOLDS], vec![ODD], vec!["soon", EXPIRED], vec![EXPIRED, HOLDS]] {
            let rule = rule(&leases);
            let marks = rule.marks("sg-1");
            let collected = abandoned(marks.fit(false), &marks, Some(at(NOW)));
            let swept = one(&reading(vec![rule]), &SweepScope::Expired { older_than: TimeDelta::zero() });
            assert_eq!(swept.deed.is_some(), collected, "{leases:?}");
        }
    }

    #[test]
    fn nothing_expires_by_a_clock_that_is_off() {
        let wish = SweepScope::Expired { older_than: TimeDelta::zero() };
        let mut off = reading(vec![rule(&[EXPIRED])]);
        off.provider_time = Some(at(NOW) + TimeDelta::minutes(3));
        assert_eq!(word(&one(&off, &wish)), "clock");
        off.provider_time = None;
        let swept = one(&off, &wish);
        assert_eq!((swept.state, word(&swept)), (State::Held, "clock"), "unknown is neither expired nor held");
        let mut unheld = reading(vec![rule(&[])]);
        unheld.provider_time = None;
        assert_eq!(word(&one(&unheld, &wish)), "clock");
    }

    #[test]
    fn of_an_owner() {
        for (leases, expected) in [
            (vec![HOLDS], "close"),
            (vec![EXPIRED], "close"),
            (vec![ODD], "close"),
            (vec![HOLDS, EXPIRED], "close"),
            (vec![HOLDS, ODD], "close"),
            (vec![HOLDS, HOLDS], "untag"),
            (vec![EXPIRED, HOLDS], "held"),
            (vec![EXPIRED, HOLDS, HOLDS], "held"),
        ] {
            let reading = reading(vec![rule(&leases)]);
            let swept = one(&reading, &owner(1));
            assert_eq!((word(&swept), swept.outlives_owner()), (expected, expected != "close"), "{leases:?}");
            let regardless = SweepScope::Owner { owner: installation(1), even_if_held: true };
            assert_eq!(word(&one(&reading, &regardless)), "close", "{leases:?}");
        }
        let others = one(&reading(vec![rule(&[HOLDS])]), &owner(2));
        assert_eq!(word(&others), "stays");
        let mut off = reading(vec![rule(&[HOLDS, EXPIRED])]);
        off.provider_time = Some(at(NOW) + TimeDelta::hours(1));
        assert_eq!(word(&one(&off, &owner(1))), "untag", "another's expiry is not believed");
        let tagged = one(&reading(vec![rule(&[HOLDS, HOLDS])]), &owner(2));
        let Some(SweepAction::Untag { rule, key, value }) = tagged.deed else { panic!("{tagged:?}") };
        assert_eq!((rule.proof(), key, value.as_str()), (Proof::NamedOwner, lease_key(&installation(2)), HOLDS));
    }

    fn owner(number: u128) -> SweepScope {
        SweepScope::Owner { owner: installation(number), even_if_held: false }
    }

    #[test]
    fn who_holds_it_beside_the_owner() {
        let rules = marked_rules("sg-1", &reading(vec![rule(&[HOLDS, EXPIRED, HOLDS, ODD])]), None, &BTreeSet::new());
        let beside = |number, agree| {
            let holders = holders_beside(&rules[0], &installation(number), agree);
            holders.into_iter().map(|holder| holder.installation).collect::<Vec<_>>()
        };
        assert_eq!(beside(1, true), [installation(3)]);
        assert_eq!(beside(1, false), [installation(2), installation(3)]);
        assert_eq!(beside(9, true), [installation(1), installation(3)]);
    }

    /// Edited, forged by tags alone, or wider than `eg` opens: whatever is asked for.
    #[test]
    fn marks_that_do_not_fit_are_left_alone() {
        let mut edited = rule(&[EXPIRED]);
        edited.permission = "tcp|23|23|203.0.113.42/32".parse().unwrap();
        let mut forged = rule(&[EXPIRED]);
        forged.description = Some("made by hand: the office".to_owned());
        let mut wide = rule(&[EXPIRED]);
        wide.permission = "tcp|5432|5432|10.0.0.0/8".parse().unwrap();
        wide.tags.insert("eg:marks".to_owned(), wide.permission.digest("sg-1"));
        let even = SweepScope::Owner { owner: installation(1), even_if_held: true };
        for (wish, expected) in [
            (SweepScope::Expired { older_than: TimeDelta::zero() }, "stays"),
            (owner(1), "misfit"),
            (even, "misfit"),
            (owner(2), "stays"),
        ] {
            for (rule, why) in [(&edited, Misfit::Digest), (&forged, Misfit::Description), (&wide, Misfit::TooWide)] {
                let swept = one(&reading(vec![rule.clone()]), &wish);
                let found = (swept.state, word(&swept), swept.rule.fit);
                assert_eq!(found, (State::Misfit, expected, Fit::Misfit(why)), "{wish:?}");
            }
        }
        let mut by_hand = rule(&[]);
        by_hand.tags.clear();
        let swept = sweep(&target(), &reading(vec![by_hand]), &owner(1));
        assert_eq!(swept, []);
    }

    #[test]
    fn owners_by_their_beginning() {
        let rules = marked_rules("sg-1", &reading(vec![rule(&[HOLDS, EXPIRED])]), None, &BTreeSet::new());
        let whole = installation(2).as_str().to_owned();
        assert_eq!(owners_like(&rules, "0000").len(), 2);
        assert_eq!(owners_like(&rules, &whole), BTreeSet::from([installation(2)]));
        assert_eq!(owners_like(&rules, "f"), BTreeSet::new());
    }
}
