//! The table of `blind.rs`, row by row.

use super::*;

impl World {
    fn blindly(&self) -> TargetPlan {
        let installation = inst(self.me);
        plan_blind(
            &PlanContext {
                now: self.now,
                installation: &installation,
                sessions: &self.sessions,
                leases: &self.leases,
                revoked: &self.revoked,
                opened: &self.opened,
                twin: false,
                policy: self.policy,
            },
            &key(),
        )
    }

    /// Asserts the row, the steps, whether the lease closes, and the minutes until the next pass.
    #[track_caller]
    fn blind(&self, row: &str, steps: &[&str], closes: bool, wake: Option<TimeDelta>) -> TargetPlan {
        let plan = self.blindly();
        assert_eq!(plan.rows.iter().copied().collect::<Vec<_>>(), [format!("BlindCase::{row}")]);
        let said = |step: &Step| match step {
            Step::Authorize { permissions, .. } => format!("apply {}", permissions[0].ports()),
            Step::Undo { permission } => format!("revoke {}", permission.ports()),
            other => panic!("{other}"),
        };
        assert_eq!(plan.steps.iter().map(said).collect::<Vec<_>>(), steps, "{plan:#?}");
        assert_eq!(!plan.ledger.is_empty(), closes, "{plan:#?}");
        assert_eq!(plan.wake.map(|at| at - self.now), wake);
        plan
    }
}

fn claimed(change: impl FnOnce(Lease) -> Lease) -> World {
    world().lease(22, change)
}

fn applied(lease: &Lease, minutes: i64) -> Lease {
    lease.intend(Attempt::Opening, m(minutes)).authorized(sgr("tcp/22"), m(60))
}

fn unanswered(lease: &Lease, attempt: Attempt, minutes: i64) -> Lease {
    lease.intend(attempt, m(minutes)).unanswered(failure(FailureClass::Unknown), m(minutes), m(minutes))
}

fn refused(lease: &Lease, attempt: Attempt, minutes: i64) -> Lease {
    lease.intend(attempt, m(minutes)).refused(failure(FailureClass::Denied), m(minutes) + TimeDelta::minutes(1))
}

const APPLY: &[&str] = &["apply tcp/22"];
const REVOKE: &[&str] = &["revoke tcp/22"];

#[test]
fn what_was_applied_stays() {
    let plan = claimed(|lease| applied(&lease, -60)).wanting().blind("Open", &[], false, None);
    assert_eq!(plan.standings[&port(22)], own("tcp/22"));
    // An attempt that was lost long before.
    claimed(|lease| applied(&unanswered(&lease, Attempt::Opening, -60), -54)).wanting().blind("Open", &[], false, None);
}

#[test]
fn what_is_not_known_to_be_open_is_applied() {
    world().wanting().blind("NotOpen", APPLY, false, None);
    for minutes in [0, -1, -60] {
        claimed(|lease| lease.intend(Attempt::Opening, m(minutes))).wanting().blind("NotOpen", APPLY, false, None);
        let lost = claimed(|lease| unanswered(&lease, Attempt::Opening, minutes));
        let plan = lost.wanting().blind("NotOpen", APPLY, false, None);
        assert!(matches!(plan.standings[&port(22)], Standing::Pending(_)));
        // A crash in a revoke, and its refusal: what is open now is not known.
        let undoing = |lease: Lease| applied(&lease, -60).intend(Attempt::Undoing, m(minutes));
        claimed(undoing).wanting().blind("NotOpen", APPLY, false, None);
    }
    claimed(|lease| refused(&applied(&lease, -60), Attempt::Undoing, -1))
        .wanting()
        .blind("NotOpen", APPLY, false, None);
}

#[test]
fn a_refused_call_waits_for_its_time() {
    let wait = Some(TimeDelta::minutes(1));
    let plan = claimed(|lease| refused(&lease, Attempt::Opening, 0)).wanting().blind("NotOpen", &[], false, wait);
    assert!(plan.deferred && matches!(plan.standings[&port(22)], Standing::Failed(_)));
    let plan =
        claimed(|lease| refused(&applied(&lease, -60), Attempt::Undoing, 0)).blind("NotClosed", &[], false, wait);
    assert_eq!(plan.notes[0].kind, NoteKind::Closing);
    let person = |world: &mut World| world.policy.ignore_delays = true;
    claimed(|lease| refused(&lease, Attempt::Opening, 0)).wanting().with(person).blind("NotOpen", APPLY, false, None);
}

#[test]
fn with_a_bad_configuration_nothing_is_applied() {
    world().wanting().with(|world| world.policy.open = false).blind("NotOpen", &[], false, None);
}

/// A process that outlived a crash may still revoke what was applied since.
#[test]
fn what_may_be_undone_is_applied_once_more() {
    let again = |minutes: i64| {
        let undoing = move |lease: Lease| applied(&lease, -60).intend(Attempt::Undoing, m(minutes));
        claimed(move |lease| applied(&undoing(lease), minutes + 1)).wanting()
    };
    again(-2).blind("MayBeUndone", &[], false, Some(TimeDelta::minutes(3) + s(1)));
    again(-5).blind("MayBeUndone", &[], false, Some(s(1)));
    again(-6).blind("MayBeUndone", APPLY, false, None);
    // Found by the search: the second call was refused, and the stray one has undone the first.
    again(-6).last_lease(|lease| refused(&lease, Attempt::Opening, -1)).blind("NotOpen", APPLY, false, None);
    claimed(|lease| applied(&applied(&lease, -60).intend(Attempt::Undoing, m(-10)), -4)).wanting().blind(
        "Open",
        &[],
        false,
        None,
    );
}

#[test]
fn what_was_never_opened_closes() {
    claimed(|lease| lease).blind("NeverOpened", &[], true, None);
    claimed(|lease| refused(&lease, Attempt::Opening, 0)).blind("NeverOpened", &[], true, None);
}

#[test]
fn what_may_be_open_is_revoked_until_that_is_confirmed() {
    claimed(|lease| applied(&lease, -60)).blind("NotClosed", REVOKE, false, None);
    claimed(|lease| lease.intend(Attempt::Opening, now())).blind("NotClosed", REVOKE, false, None);
    claimed(|lease| unanswered(&lease, Attempt::Opening, -60)).blind("NotClosed", REVOKE, false, None);
    claimed(|lease| applied(&lease, -60).intend(Attempt::Undoing, now())).blind("NotClosed", REVOKE, false, None);
    claimed(|lease| unanswered(&applied(&lease, -60), Attempt::Undoing, 0)).blind("NotClosed", REVOKE, false, None);
    claimed(|lease| refused(&applied(&lease, -60), Attempt::Undoing, -1)).blind("NotClosed", REVOKE, false, None);
    // Applied, lost, refused: the lost one may be open.
    let lost = |lease: Lease| refused(&unanswered(&lease, Attempt::Opening, -9), Attempt::Opening, -8);
    claimed(lost).blind("NotClosed", REVOKE, false, None);
}

#[test]
fn a_confirmed_revoke_closes_unless_a_call_may_land_after_it() {
    let undone = |unknown: i64, minutes: i64| {
        let lost = move |lease: Lease| lease.intend(Attempt::Opening, m(unknown));
        move |lease: Lease| lost(lease).intend(Attempt::Undoing, m(minutes)).undone(false, m(minutes))
    };
    let made = |change: &dyn Fn(Lease) -> Lease| change(Lease::claim(LeaseId(1), target(), port(22))).phase;
    assert_eq!(made(&undone(-10, 0)), Phase::Closed);
    assert_eq!(made(&undone(-4, 0)), Phase::Claimed);
    claimed(undone(-4, 0)).blind("MayLand", &[], false, Some(TimeDelta::minutes(1) + s(1)));
    claimed(undone(-6, -2)).blind("NotClosed", REVOKE, false, None);
    let lease = Lease::claim(LeaseId(1), target(), port(22));
    let lease = applied(&lease, -60).intend(Attempt::Undoing, now()).undone(false, now());
    assert_eq!((lease.phase, lease.in_flight), (Phase::Closed, None), "its own attempt was answered");
}
