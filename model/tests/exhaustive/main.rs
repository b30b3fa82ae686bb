//! An exhaustive search: the real plan and the real ledger, in a world with every fault.
//!
//! The model checker supplies the world (`world.rs`), what can happen in it (`space.rs`) and the order in which the
//! driver does things (`driver.rs`). Every decision comes from `eg_model::plan::plan_target`, every change of the
//! ledger from `eg_model::lease::Lease` (`real.rs`). What must hold stands in `properties.rs`. That the search would
//! notice is shown by `bugs.rs`: each bug there is found.
//!
//! `cargo test` makes the small searches. The long ones take minutes each, and some 4 GiB:
//!
//! ```text
//! cargo test --release -p eg-model --test exhaustive -- --ignored --nocapture --test-threads 1
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr)]

mod auto_closes;
mod blind;
mod bugs;
mod container;
mod driver;
mod properties;
mod quick;
mod real;
mod space;
mod world;

use blind::{BlindBug, BlindSpace};
use bugs::Bug;
use properties::{
    ADOPTED, B1, B2, B3, CLOSED, COVERED, DROPPED, FIRED, FORGED, JOINED, L1, LANDED, LEFT, LOOSE, M1, MOVED, MUST, N1,
    N2, RACED, REPAIRED, S1, S2, S3, S4, S5, S6, S7, UNSET, W1, W2, W3, W4,
};
use space::Space;
use stateright::{Checker, HasDiscoveries, Model};
use std::{sync::atomic::Ordering, time::Instant};
use world::Kind;

/// Searches a space, breadth first, for at most `limit` steps, and prints its extent. The events in `happens` must
/// happen.
fn search(name: &str, space: Space, limit: usize, happens: &[&'static str]) {
    let begun = Instant::now();
    let most = space.most_rounds.clone();
    let checker = space.checker().finish_when(HasDiscoveries::AnyFailures).target_state_count(limit).spawn_bfs().join();
    let cut = checker.state_count() >= limit;
    eprintln!(
        "{name}: {} states, {} steps, depth {}, {}; at most {} rounds; {:.0?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        if cut { "cut" } else { "exhausted" },
        most.load(Ordering::Relaxed),
        begun.elapsed(),
    );
    eprintln!("rows of the plan that no search has reached yet: {}", real::unreached_rows().join(", "));
    for name in MUST {
        if let Some(path) = checker.discovery(name) {
            let last = path.last_state().clone();
            panic!("{name}: {:?}\nleads to {last:?}", path.into_actions());
        }
    }
    for name in happens {
        assert!(checker.discovery(name).is_some(), "never: {name}");
    }
}

/// A search that has to come to its end.
fn exhaust(name: &str, space: Space, happens: &[&'static str]) {
    search(name, space, usize::MAX, happens);
}

// ------------------------------------------------------------------------------------------------- small and complete

/// One permission, one session, one fault, one foreign hand; every transaction a step of its own.
#[test]
fn one_installation() {
    exhaust("one", Space { fine: true, slow: true, ..Space::one() }, &[ADOPTED, COVERED, LANDED]);
}

/// One session in each of two installations, and one foreign hand.
#[test]
fn two_installations_and_a_hand() {
    exhaust("two, hand", Space { faults: 0, alike: true, ..Space::two() }, &[JOINED, LEFT, COVERED]);
}

/// One session in each of two installations, and one fault.
#[test]
fn two_installations_and_a_fault() {
    let space = Space { hands: 0, term: 1, alike: true, ..Space::two() };
    exhaust("two, fault", space, &[ADOPTED, JOINED, LEFT, LANDED]);
}

/// A hand makes a rule and writes `eg`'s tags on it, with leases of any installation; and one fault.
#[test]
fn one_installation_and_forged_marks() {
    exhaust("one, forged", Space::forged(), &[ADOPTED, FORGED, LANDED]);
}

/// The same beside two installations that share a rule.
#[test]
fn two_installations_and_forged_marks() {
    let space = Space { forgeries: 1, faults: 0, term: 1, alike: true, ..Space::two() };
    exhaust("two, forged, short sessions", space, &[JOINED, LEFT, FORGED]);
}

/// Sessions of 31 days in two installations, of which one has a clock that is ten minutes ahead.
#[test]
fn two_installations_and_the_longest_leases() {
    exhaust("two, longest leases", Space::far(), &[JOINED, LEFT]);
}

/// The same with expiry schedules: one session, one fault.
#[test]
fn auto_closes_and_a_fault() {
    exhaust("switches, fault", Space { hands: 0, ..Space::auto_closing() }, &[FIRED, DROPPED, UNSET, LANDED]);
}

/// One session, one foreign hand, on a rule or on its expiry schedule.
#[test]
fn auto_closes_and_a_hand() {
    exhaust("switches, hand", Space { faults: 0, ..Space::auto_closing() }, &[DROPPED, REPAIRED, COVERED]);
}

/// One session in each of two installations that share a rule and its expiry schedule.
#[test]
fn auto_closes_of_two_installations() {
    let space = Space { faults: 0, hands: 0, term: 1, ..Space::both_auto_closing() };
    exhaust("two, switches, short sessions", space, &[JOINED, LEFT, FIRED, MOVED, DROPPED]);
}

/// The same where only one of the two has cloud expiry configured.
#[test]
fn auto_closes_of_one_of_two_installations() {
    let space = Space { faults: 0, hands: 0, ..Space::one_of_two_auto_closing() };
    exhaust("two, switches of one", space, &[JOINED, LEFT, FIRED, DROPPED]);
}

/// Two processes of one installation, without their lock, set and drop the same expiry schedule.
#[test]
fn auto_closes_of_two_processes() {
    let space = Space { auto_closes: 1, faults: 0, hands: 0, term: 1, ..Space::unlocked() };
    exhaust("switches, two processes, short sessions", space, &[FIRED, DROPPED]);
}

/// Rules with ids and without marks.
#[test]
fn no_marks() {
    exhaust("no marks", Space::of(Kind::Bare), &[COVERED, LANDED]);
}

/// Prefix lists: the marks are on the container, and the entries have a text.
#[test]
fn a_list_with_marks_on_it() {
    exhaust("list", Space::of(Kind::List), &[ADOPTED, COVERED, LANDED, LOOSE, RACED]);
}

/// Two permissions in one tag, which is written as a whole.
#[test]
fn a_list_with_two_marks_in_one_tag() {
    exhaust("list, two permissions", Space::two_in_one_tag(), &[ADOPTED, LANDED, LOOSE]);
}

/// Beside it, an installation without a session, which collects.
#[test]
fn a_list_and_who_collects() {
    let space = Space { sessions: vec![vec![1], vec![]], hands: 0, term: 1, ..Space::of(Kind::List) };
    exhaust("list, collector, fault", space, &[LOOSE]);
}

#[test]
#[ignore = "takes minutes"]
fn long_list_of_two_installations_and_a_fault() {
    let space = Space { hands: 0, ..Space::two_of(Kind::List) };
    search("list, two, fault", space, LIMIT, &[JOINED, LEFT, LOOSE]);
}

#[test]
fn a_list_of_two_installations_and_a_hand() {
    exhaust("list, two, hand", Space { faults: 0, ..Space::two_of(Kind::List) }, &[JOINED, LEFT, COVERED]);
}

/// Sets of addresses: the same, but an entry is its value.
#[test]
fn a_set_with_marks_on_it() {
    exhaust("set", Space::of(Kind::Set), &[ADOPTED, COVERED, LANDED, LOOSE, RACED]);
}

#[test]
fn a_set_and_who_collects() {
    let space = Space { sessions: vec![vec![1], vec![]], hands: 0, term: 1, ..Space::of(Kind::Set) };
    exhaust("set, collector, fault", space, &[LOOSE]);
}

#[test]
#[ignore = "takes minutes"]
fn long_set_of_two_installations_and_a_fault() {
    search("set, two, fault", Space { hands: 0, ..Space::two_of(Kind::Set) }, LIMIT, &[JOINED, LEFT, LOOSE]);
}

#[test]
#[ignore = "takes a minute"]
fn long_set_of_two_installations_and_a_hand() {
    exhaust("set, two, hand", Space { faults: 0, ..Space::two_of(Kind::Set) }, &[JOINED, LEFT, COVERED]);
}

/// Rules that close by themselves, too early or too late.
#[test]
fn rules_that_close_by_themselves() {
    exhaust("timed", Space { extends: 1, ..Space::of(Kind::Timed) }, &[ADOPTED, CLOSED, LANDED]);
}

#[test]
fn rules_of_two_installations_that_close_by_themselves() {
    exhaust("timed, two", Space { hands: 0, ..Space::two_of(Kind::Timed) }, &[JOINED, LEFT]);
}

/// The same in the kernel, whose readings are believed at once.
#[test]
fn rules_in_the_kernel() {
    exhaust("kernel", Space { extends: 1, ..Space::of(Kind::Kernel) }, &[ADOPTED, CLOSED, LANDED]);
}

#[test]
fn rules_of_two_installations_in_the_kernel() {
    exhaust("kernel, two", Space { hands: 0, ..Space::two_of(Kind::Kernel) }, &[JOINED, LEFT]);
}

/// A firewall that cannot be read back: two sessions one after the other or at once, two faults.
#[test]
fn a_blind_firewall() {
    let checker = BlindSpace::one().checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    eprintln!("blind: {states} states, {steps} steps, depth {depth}, exhausted");
    for name in [B1, B2, L1] {
        checker.assert_no_discovery(name);
    }
    assert!(checker.discovery(B3).is_some());
}

#[test]
fn every_bug_of_a_blind_firewall_is_found() {
    for bug in BlindBug::ALL {
        let property = match bug {
            BlindBug::LostHasNotLanded | BlindBug::UndoneWithoutAnswer | BlindBug::ScriptAddsCopy => B1,
            BlindBug::LostHasLanded => L1,
            BlindBug::UndoingLeavesRecord | BlindBug::AnswerIsFinal => B2,
        };
        let space = BlindSpace { bug: Some(bug), ..BlindSpace::one() };
        let wanted = HasDiscoveries::AnyOf([property].into());
        let checker = space.checker().finish_when(wanted).spawn_bfs().join();
        assert!(checker.discovery(property).is_some(), "{bug:?} is not found by {property}");
    }
}

// ----------------------------------------------------------------------------------------------------------- long runs

/// The most steps of a long run: some 4 GiB.
const LIMIT: usize = 60_000_000;
/// The same where worlds are slow to judge.
const LIMIT_OF_SLOW: usize = 3_000_000;
/// The same with expiry schedules, in two installations or in two sessions.
const LIMIT_OF_SWITCHES: usize = 2_500_000;
/// The same where worlds are large.
const LIMIT_OF_LARGE: usize = 10_000_000;

#[test]
#[ignore = "takes minutes"]
fn long_two_installations_fault_and_hand() {
    let space = Space { alike: true, ..Space::two() };
    search("two, fault and hand", space, LIMIT, &[ADOPTED, JOINED, LEFT, COVERED, LANDED]);
}

/// Sessions that outlive the settle window: what is stripped is marked again while they live.
#[test]
#[ignore = "is cut"]
fn long_two_installations_long_sessions() {
    let space = Space { alike: true, term: 5, ..Space::two() };
    search("two, fault and hand, long sessions", space, LIMIT_OF_SLOW, &[ADOPTED, JOINED, LEFT, COVERED, LANDED]);
}

#[test]
#[ignore = "takes minutes"]
fn long_two_processes() {
    search("two processes", Space { slow: true, ..Space::unlocked() }, LIMIT, &[ADOPTED, COVERED, LANDED]);
}

#[test]
#[ignore = "takes minutes"]
fn long_two_faults_and_hands() {
    let space = Space { faults: 2, hands: 2, sessions: vec![vec![1, 1]], extends: 1, ..Space::one() };
    search("one, two sessions, two faults, two hands, extend", space, LIMIT, &[ADOPTED, COVERED, LANDED]);
}

#[test]
#[ignore = "takes minutes"]
fn long_two_permissions() {
    let space = Space { sessions: vec![vec![3, 1]], ports: 2, ..Space::one() };
    search("one, two permissions, two sessions", space, LIMIT, &[ADOPTED, COVERED, LANDED]);
}

#[test]
#[ignore = "is cut"]
fn long_clock_steps() {
    let space = Space { skew: Some(10), hands: 0, ..Space::two() };
    search("two, a fast clock that steps back", space, LIMIT_OF_SLOW, &[JOINED, LEFT]);
}

#[test]
#[ignore = "takes minutes"]
fn long_auto_closes_fault_and_hand() {
    let space = Space { extends: 1, ..Space::auto_closing() };
    search("switches, fault, hand, extend", space, LIMIT_OF_LARGE, &[DROPPED, REPAIRED, UNSET, COVERED, LANDED]);
}

/// The rule of two sessions that end at different times: it is prolonged, and shortened by a stop.
#[test]
#[ignore = "takes minutes"]
fn long_auto_closes_two_sessions() {
    let space = Space { sessions: vec![vec![1, 1]], hands: 0, extends: 1, fine: true, ..Space::auto_closing() };
    search("switches, two sessions, fault, extend", space, LIMIT_OF_SWITCHES, &[FIRED, DROPPED, UNSET]);
}

#[test]
#[ignore = "takes a minute"]
fn long_auto_closes_two_installations() {
    let space = Space { faults: 0, hands: 0, extends: 1, ..Space::both_auto_closing() };
    search("two, switches, extend", space, LIMIT_OF_SLOW, &[JOINED, LEFT, FIRED, MOVED, DROPPED]);
}

#[test]
#[ignore = "takes minutes"]
fn long_auto_closes_two_installations_fault() {
    let space = Space { hands: 0, ..Space::both_auto_closing() };
    search("two, switches, fault", space, LIMIT_OF_SWITCHES, &[JOINED, LEFT, FIRED, MOVED, DROPPED, UNSET]);
}

#[test]
#[ignore = "takes minutes"]
fn long_auto_closes_two_installations_hand() {
    let space = Space { faults: 0, extends: 1, ..Space::both_auto_closing() };
    search("two, switches, hand, extend", space, LIMIT_OF_SWITCHES, &[JOINED, LEFT, MOVED, DROPPED, REPAIRED]);
}

#[test]
#[ignore = "takes minutes"]
fn long_auto_closes_of_one_of_two_installations_fault() {
    let space = Space { hands: 0, ..Space::one_of_two_auto_closing() };
    search("two, switches of one, fault", space, LIMIT_OF_SWITCHES, &[JOINED, LEFT, FIRED, DROPPED, UNSET]);
}

#[test]
#[ignore = "takes minutes"]
fn long_auto_closes_two_processes() {
    let space = Space { auto_closes: 1, hands: 0, ..Space::unlocked() };
    search("switches, two processes, fault", space, LIMIT_OF_LARGE, &[FIRED, DROPPED, UNSET]);
}

/// Two permissions, two sessions per installation, two faults and two hands, extend, two processes.
#[test]
#[ignore = "is cut"]
fn long_everything() {
    let sessions = vec![vec![3, 1], vec![3, 2]];
    let space = Space { sessions, ports: 2, extends: 1, faults: 2, hands: 2, ..Space::unlocked() };
    search("everything", space, LIMIT_OF_LARGE, &[]);
}

// -----------------------------------------------------------------------------------------------------------------
// bugs

/// The space with a bug, and the property that has to find it.
fn hunt(bug: Bug) -> (&'static str, Space) {
    let (one, two) = (Space::one(), Space { alike: true, ..Space::two() });
    let (property, space) = match bug {
        Bug::ClosedOnOneAbsentRead => (S3, Space { hands: 0, ..one }),
        Bug::AdoptedByPermission => (S1, one),
        Bug::LedgerAfterSuccess | Bug::FailedReadIsEmpty => (S4, Space { hands: 0, ..one }),
        Bug::OneEndRevokesShared => (S2, Space { sessions: vec![vec![1, 1]], faults: 0, hands: 0, ..one }),
        Bug::RevokedByPermission => (S1, Space { hands: 2, ..one }),
        Bug::ClosedDespiteUnknown | Bug::SuccessClearsUnknown => (S4, Space { hands: 0, ..one }),
        Bug::GuardedByContents => (S4, Space { term: 2, hands: 0, ..Space::unlocked() }),
        Bug::LeaveClosesAtOnce => (S4, Space { faults: 0, hands: 0, ..two }),
        Bug::LeftToNobody => (L1, Space { faults: 0, hands: 0, ..two }),
        Bug::ExpiredBeatsWanted => (S2, Space { faults: 0, hands: 0, ..two }),
        Bug::StrippedIsForeign | Bug::EditedIsLeft => (S4, Space { faults: 0, ..one }),
        Bug::LocalClockJudges => (S2, Space { skew: Some(10), faults: 0, hands: 0, ..Space::two() }),
        Bug::OneIdTwoMachines => (S2, Space { faults: 0, hands: 0, ..two }),
        Bug::ClockReopens => (S5, Space { skew: Some(10), hands: 0, ..one }),
        Bug::TagSaysLess => (S6, Space { extends: 1, faults: 0, hands: 0, ..one }),
        Bug::DatedByAnswer => (S4, Space { fine: true, slow: true, hands: 0, ..one }),
        Bug::JudgedWhenRecorded => (S4, Space { fine: true, hands: 0, ..one }),
        Bug::JoinProvesNothing => (L1, two),
        Bug::DisplacedIsForgotten => (L1, one),
        Bug::HiddenIsForgotten => (S4, one),
        Bug::ClaimedTwice => (S7, Space { hands: 0, ..one }),
        Bug::TagsAreProof => (S1, Space { faults: 0, ..Space::forged() }),
        Bug::HorizonWithoutTolerance => (S2, Space::far()),
        Bug::AutoCloseAtOwnEnd | Bug::AutoCloseNotMovedFirst | Bug::LeaveFiresAutoClose => {
            (W1, Space { faults: 0, hands: 0, ..Space::both_auto_closing() })
        }
        Bug::AutoCloseConfirmedFirst | Bug::AutoCloseLostReplyCounts => {
            (W2, Space { hands: 0, ..Space::auto_closing() })
        }
        Bug::LeaveKeepsAutoClose => (W2, Space { faults: 0, hands: 0, ..Space::both_auto_closing() }),
        Bug::DroppedAutoCloseIsForgotten => (W3, Space { faults: 0, hands: 0, ..Space::auto_closing() }),
        Bug::AutoCloseKeyedByPermission => (W4, Space::auto_closing()),
        Bug::AutoCloseForgottenOnSight => (W3, Space::auto_closing()),
        Bug::NothingIsPresumed => (S4, Space { hands: 0, ..Space::of(Kind::Bare) }),
        Bug::AnythingIsPresumed => (S1, Space::of(Kind::Bare)),
        Bug::EntryBeforeMark => (S4, Space { hands: 0, ..Space::of(Kind::List) }),
        Bug::MarkOutlivesLease => (S4, Space { hands: 0, ..Space::of(Kind::List) }),
        Bug::LateMarkIsNothing => (S4, Space { hands: 0, extends: 1, ..Space::of(Kind::List) }),
        Bug::EndlessIsLeftOut | Bug::ClosedBeforeOldList => (S4, Space::two_in_one_tag()),
        Bug::TextAloneIsGenuine => (M1, Space { hands: 0, ..Space::two_of(Kind::List) }),
        Bug::WholeListUnconditional => (S1, Space::of(Kind::List)),
        Bug::ValueIsProof => (S1, Space::of(Kind::Set)),
        Bug::TimedAtOwnEnd | Bug::TextFromReading => {
            (N1, Space { faults: 0, hands: 0, extends: 1, ..Space::two_of(Kind::Timed) })
        }
        Bug::TimedNotMoved => (N1, Space { hands: 0, extends: 1, ..Space::of(Kind::Timed) }),
        Bug::TimedForLonger => (N2, Space { hands: 0, ..Space::two_of(Kind::Timed) }),
        Bug::ClosedIsNoDrift => (L1, Space::of(Kind::Timed)),
        Bug::BelievedAtOnce => (S4, Space::of(Kind::Timed)),
        Bug::NothingLandsLate => (S4, Space { hands: 0, ..Space::of(Kind::Kernel) }),
    };
    (property, Space { bug: Some(bug), ..space })
}

/// Searches until the property has found the bug.
fn found(bug: Bug) {
    let (property, space) = hunt(bug);
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = space.checker().finish_when(wanted).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "{bug:?} is not found by {property}");
}

#[test]
fn every_bug_is_found() {
    Bug::ALL.into_iter().filter(|bug| hunt(*bug).1.kind == Kind::Group).for_each(found);
}

#[test]
fn every_bug_of_other_kinds_is_found() {
    Bug::ALL.into_iter().filter(|bug| hunt(*bug).1.kind != Kind::Group).for_each(found);
}

/// Every space with a bug is clean without it, so the search finds the bug and nothing else.
#[test]
#[ignore = "takes a minute"]
fn long_no_bug_no_discovery() {
    for bug in Bug::ALL {
        let (_, space) = hunt(bug);
        search(&format!("without {bug:?}"), Space { bug: None, ..space }, LIMIT, &[]);
    }
}

/// The properties that find each bug: the table in `docs/guarantees.md`.
#[test]
#[ignore = "takes minutes"]
fn long_matrix() {
    for bug in Bug::ALL {
        let (_, space) = hunt(bug);
        let all = HasDiscoveries::AllOf(MUST.into());
        let checker = space.checker().finish_when(all).spawn_bfs().join();
        let row: Vec<_> = MUST.iter().map(|name| if checker.discovery(name).is_some() { "x" } else { "" }).collect();
        eprintln!("| {bug:?} | {} |", row.join(" | "));
    }
}
