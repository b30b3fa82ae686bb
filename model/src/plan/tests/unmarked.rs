//! Kinds of firewall without marks: the record alone tells whose a rule is.

use super::*;

fn unmarked() -> World {
    world().with(|world| world.capabilities = Capabilities { batch: DIGESTS_PER_CALL, ..Capabilities::LEAST })
}

/// A lease whose only call, `minutes` ago, had no answer.
fn lost(minutes: i64) -> World {
    unmarked().lease(22, |lease| lease.intend(Attempt::Opening, m(-minutes)))
}

/// The reply to an authorize was lost, and the rule is there. Without this row the lease closes on the first settled
/// reading, and its rule stays open for ever.
#[test]
fn a_rule_that_a_lost_call_may_have_opened_is_closed_with_its_lease() {
    for minutes in [0, 4, 5, 10, 10_000] {
        let world = lost(minutes).rule(bare("fw-1", 22));
        let plan = world.plans(&["adopt tcp/22 fw-1"], &[revoke(&["fw-1"])], &[]);
        assert_eq!(plan.steps[0].rules()[0].proof(), Proof::Attempt);
    }
}

#[test]
fn a_rule_that_a_lost_call_may_have_opened_is_held_while_it_is_wanted() {
    for minutes in [0, 4, 5, 10, 10_000] {
        let plan = lost(minutes).wanting().rule(bare("fw-1", 22)).plans(&["adopt tcp/22 fw-1"], &[], &[]);
        stands(&plan, 22, &own("fw-1"));
    }
}

#[test]
fn an_answer_without_an_id_counts_like_none() {
    let landed = || unmarked().lease(22, |lease| lease.intend(Attempt::Opening, m(-10)).landed(m(60)));
    landed().rule(bare("fw-1", 22)).plans(&["adopt tcp/22 fw-1"], &[revoke(&["fw-1"])], &[]);
    landed().wanting().rule(bare("fw-1", 22)).plans(&["adopt tcp/22 fw-1"], &[], &[]);
}

/// Without a call of unknown outcome, the rule is another's.
#[test]
fn a_rule_that_no_call_of_ours_can_have_opened_is_foreign() {
    let refused = |class| {
        let refuse = move |lease: Lease| lease.intend(Attempt::Opening, m(-10)).refused(failure(class), m(-9));
        unmarked().lease(22, refuse).rule(bare("fw-1", 22))
    };
    for class in [FailureClass::Stale, FailureClass::Denied] {
        refused(class).plans(&["close 22"], &[], &[]);
        let plan = refused(class).wanting().plans(&["close 22"], &[], &[]);
        stands(&plan, 22, &foreign("fw-1"));
    }
    unmarked().lease(22, |lease| lease).rule(bare("fw-1", 22)).plans(&["close 22"], &[], &[]);
    unmarked().held(22, "fw-1", m(60)).rule(bare("fw-2", 22)).plans(&["close 22"], &[], &[]);
    stands(&unmarked().wanting().rule(bare("fw-1", 22)).rests(), 22, &foreign("fw-1"));
}

/// The lost call is long over: a later one found the place free and was answered.
#[test]
fn a_lost_call_that_a_later_one_has_overtaken_proves_nothing() {
    let again = |minutes: i64| {
        let lost = move |lease: Lease| lease.intend(Attempt::Opening, m(-60));
        let lost = move |lease| lost(lease).unanswered(failure(FailureClass::Unknown), m(-59), m(-60));
        let then = move |lease: Lease| lease.intend(Attempt::Opening, m(-minutes)).authorized(sgr("fw-1"), m(60));
        unmarked().lease(22, move |lease| then(lost(lease))).rule(bare("fw-2", 22))
    };
    again(54).plans(&["close 22"], &[], &[]);
    again(56).plans(&["adopt tcp/22 fw-2"], &[revoke(&["fw-2"])], &[]);
}

/// Found by the search: the lost call landed beside the rule of the next one, which somebody had edited.
#[test]
fn a_lost_call_that_landed_beside_an_edited_rule_is_not_forgotten() {
    let twice = |lease: Lease| {
        let lost = lease.intend(Attempt::Opening, m(-12)).unanswered(failure(FailureClass::Unknown), m(-12), m(-12));
        lost.intend(Attempt::Opening, m(-10)).authorized(sgr("fw-1"), m(60))
    };
    let opened = |world: &mut World| {
        world.opened.insert(sgr("fw-1"), port(22));
    };
    let both = || unmarked().lease(22, twice).with(opened).rule(bare("fw-1", 23)).rule(bare("fw-2", 22));
    for (mut world, first, then) in [
        (both(), NoteKind::Closing, vec![NoteKind::Edited, NoteKind::Closing]),
        (both().wanting(), NoteKind::Edited, vec![NoteKind::Edited]),
    ] {
        let plan = world.plans(&["adopt tcp/22 fw-2"], &[], &[first]);
        world.apply(&plan);
        world.plans(&[], &[step("collect", &["fw-1"])], &then);
    }
}

/// Rules of other ports, and those that another lease knows, stay as they are.
#[test]
fn a_lost_call_claims_its_own_permission_alone() {
    lost(4).rule(bare("fw-1", 23)).plans(&[], &[], &[NoteKind::Closing]);
    let edited = lost(10).held(23, "fw-1", m(60)).rule(bare("fw-1", 22));
    edited.plans(&["close 22"], &[revoke(&["fw-1"])], &[]);
}
