//! Tags that somebody has put on a rule which is not `eg`'s, and rules of ours whose description or session was
//! changed.

use super::*;

const BY_HAND: &str = "made by hand: the office";

/// All of `eg`'s tags on a rule made by hand: only its description says that it is not `eg`'s.
fn forged(leases: &[(u128, Timestamp)]) -> ObservedRule {
    ObservedRule { description: Some(BY_HAND.to_owned()), ..leased("sgr-1", 22, leases) }
}

/// The same on a rule that is wider than `eg` opens, whose description was copied, too.
fn wide(cidr: &str, leases: &[(u128, Timestamp)]) -> ObservedRule {
    let permission: Permission = format!("tcp|22|22|{cidr}").parse().unwrap();
    let mut rule = ObservedRule { permission, ..leased("sgr-1", 22, leases) };
    rule.tags.insert(MARKS.into(), permission.digest(GROUP));
    rule
}

fn misfits() -> [NoteKind; 1] {
    [NoteKind::Misfit]
}

#[test]
fn never_collected_and_always_reported() {
    for leases in [vec![], vec![(THEY, m(-60))], vec![(ME, m(-60))], vec![(THEY, m(60))], vec![(ME, m(60))]] {
        world().rule(forged(&leases)).plans(&[], &[], &misfits());
        world().rule(wide("10.0.0.0/8", &leases)).plans(&[], &[], &misfits());
        world().rule(wide("2001:db8::/63", &leases)).plans(&[], &[], &misfits());
    }
    let note = &world().rule(forged(&[])).plan().notes[0].message;
    assert!(note.contains("is left alone: its description does not name the session of its tags"), "{note}");
    let widest = wide("203.0.113.0/24", &[]);
    world().rule(widest).plans(&[], &[step("collect", &["sgr-1"])], &[]);
}

#[test]
fn covers_like_any_foreign_rule_and_is_not_joined() {
    for leases in [vec![], vec![(THEY, m(60))], vec![(THEY, m(-60))], vec![(ME, m(60))]] {
        let plan = world().wanting().rule(forged(&leases)).plans(&[], &[], &misfits());
        stands(&plan, 22, &foreign("sgr-1"));
    }
}

/// Our own lease tag can be copied like any other: after a lost reply, a rule made by hand is not taken for ours.
#[test]
fn not_adopted_by_our_own_tag() {
    let lost = || world().lease(22, |lease| lease.intend(Attempt::Opening, m(-6)));
    let forged = || forged(&[(ME, m(60))]);
    let wanted = lost().wanting().rule(forged()).plans(&["close 22"], &[], &misfits());
    stands(&wanted, 22, &foreign("sgr-1"));
    // Nor does it keep the lease of a session that has ended open.
    lost().rule(forged()).plans(&["close 22"], &[], &misfits());
    // A rule that our call has opened carries its session.
    lost().wanting().rule(ours("sgr-1", 22, m(60))).plans(&["adopt tcp/22 sgr-1"], &[], &[]);
    lost().rule(ours("sgr-1", 22, m(60))).plans(&["adopt tcp/22 sgr-1"], &[revoke(&["sgr-1"])], &[]);
}

/// The id on record is better proof than a description, which others than we may have changed.
#[test]
fn what_is_on_record_stays_ours_whatever_its_description() {
    let changed = |leases: &[(u128, Timestamp)]| forged(leases);
    let plan = world().wanting().held(22, "sgr-1", m(60)).rule(changed(&[(ME, m(60))])).rests();
    stands(&plan, 22, &own("sgr-1"));
    let stopped = || world().held(22, "sgr-1", m(60));
    stopped().rule(changed(&[(ME, m(60))])).plans(&[], &[revoke(&["sgr-1"])], &[]);
    stopped().rule(changed(&[(ME, m(60)), (THEY, m(60))])).plans(&[], &[step("leave", &["sgr-1"])], &[]);
    let opened = |world: &mut World| world.opened.extend([(sgr("sgr-1"), port(22))]);
    let known = world().wanting().with(opened).rule(changed(&[(THEY, m(60))]));
    known.plans(&[], &[step("join", &["sgr-1"])], &[]);
}

/// Without the tag that its description names, no other installation would close our rule if we were gone.
#[test]
fn a_changed_session_is_written_again() {
    let with = |tag: Option<u128>| {
        let mut rule = ours("sgr-1", 22, m(60));
        rule.description = Some("eg alice@laptop session a1b2c3d4: logs".to_owned());
        rule.tags.remove(SESSION);
        rule.tags.extend(tag.map(|n| (SESSION.to_owned(), sid(n).to_string())));
        rule
    };
    let opener = |world: World| {
        let plan = world.plans(&[], &[step("restore", &["sgr-1"])], &[NoteKind::Stripped]);
        let Step::Restore { opener, .. } = &plan.steps[0] else { panic!("{plan:?}") };
        opener.clone()
    };
    let long = 0xa1b2_c3d4_u128 << 96 | 5;
    for tag in [None, Some(7)] {
        // The opener is another installation's session, or one of ours that is no more.
        assert_eq!(opener(world().wanting().held(22, "sgr-1", m(60)).rule(with(tag))), "a1b2c3d4");
        // It is a live one of ours, beside one that wants the rule for longer.
        let two = world().session(1, &[22], m(60)).session(long, &[443], m(30)).held(22, "sgr-1", m(60));
        let two = two.held(443, "sgr-2", m(30)).rule(ours("sgr-2", 443, m(30))).rule(with(tag));
        assert_eq!(opener(two), sid(long).to_string());
    }
    let mut mended = world().wanting().held(22, "sgr-1", m(60)).rule(with(None));
    let plan = mended.plan();
    mended.apply(&plan);
    mended.rests();
    assert!(genuine(&mended.reading.rules[0]), "{:?}", mended.reading.rules);
    // Not before a reading is believed, and never where no description of eg's is there to fit.
    let fresh = world()
        .wanting()
        .lease(22, |lease| lease.intend(Attempt::Opening, now() - s(300)).authorized(sgr("sgr-1"), m(60)));
    fresh.rule(with(None)).rests();
    world().wanting().held(22, "sgr-1", m(60)).rule(forged(&[(ME, m(60))])).rests();
    // What others hold stays theirs.
    let mut shared = with(None);
    shared.tags.insert(lease_key(&inst(THEY)), lease_value(m(60)));
    world().held(22, "sgr-1", m(60)).rule(shared).plans(&[], &[step("leave", &["sgr-1"])], &[]);
}

/// All tags again: the session is the one that the description names, not the one that wants the rule for longest.
#[test]
fn what_was_stripped_gets_back_the_session_of_its_description() {
    let stripped = ObservedRule { description: said_by(9), ..bare("sgr-1", 22) };
    let mut world = world().wanting().held(22, "sgr-1", m(60)).rule(stripped);
    let plan = world.plans(&[], &[step("restore", &["sgr-1"])], &[NoteKind::Stripped]);
    world.apply(&plan);
    world.rests();
    assert!(genuine(&world.reading.rules[0]), "{:?}", world.reading.rules);
}

/// Where the policy allows no mark on a rule that has none, the note says what would, and what it is like without.
#[test]
fn a_rule_that_may_not_be_tagged_again_is_told() {
    let refused = |lease: Lease| lease.intend(Attempt::Other, now()).refused(failure(FailureClass::Denied), m(1));
    let rule = ObservedRule { description: said_by(9), ..bare("sgr-1", 22) };
    let world = world().wanting().held(22, "sgr-1", m(60)).last_lease(refused).rule(rule);
    let plan = world.plans(&[], &[], &[NoteKind::Stripped]);
    stands(&plan, 22, &own("sgr-1"));
    assert!(plan.notes[0].message.contains("eg iam-policy --restore"), "{:?}", plan.notes);
    let mut due = world;
    due.advance(6);
    due.plans(&[], &[step("restore", &["sgr-1"])], &[NoteKind::Stripped]);
    due.sessions.clear();
    due.plans(&[], &[revoke(&["sgr-1"])], &[]);
}
