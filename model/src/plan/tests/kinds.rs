//! Kinds of firewall unlike security groups: marks on the container, rules without ids, rules that close by themselves.

use super::*;

fn container() -> World {
    world().with(|world| world.capabilities.marks = MarkPlace::Container { leases: 3 })
}

fn loose(installation: u128, number: u16) -> impl FnOnce(&mut World) {
    move |world| {
        world.reading.loose_marks.insert((inst(installation), port(number).digest(GROUP)));
    }
}

/// The mark was written, and the entry never came. With the lease closed and the mark left, the next installation that
/// opens the port would leave the entry to us, and nobody would close it.
#[test]
fn a_mark_without_a_rule_goes_before_its_lease() {
    let lost = |minutes: i64| container().lease(22, move |lease| lease.intend(Attempt::Opening, m(-minutes)));
    lost(4).with(loose(ME, 22)).plans(&[], &[], &[NoteKind::Closing]);
    let plan = lost(6).with(loose(ME, 22)).plans(&[], &[step("unmark", &[])], &[]);
    assert_eq!(plan.steps[0].permissions(), [port(22)]);
    lost(6).plans(&["close 22"], &[], &[]);
    lost(6).with(loose(THEY, 22)).with(loose(ME, 23)).plans(&["close 22"], &[], &[]);
    // Several go in one call, because they are in one tag.
    let two = lost(6).lease(23, |lease| lease.intend(Attempt::Opening, m(-6))).with(loose(ME, 22)).with(loose(ME, 23));
    let plan = two.plans(&[], &[step("unmark", &[])], &[]);
    assert_eq!(plan.steps[0].permissions(), [port(22), port(23)]);
    // A person has made an entry for the same port.
    let covered = lost(6).wanting().rule(bare("pl-1", 22)).with(loose(ME, 22));
    stands(&covered.plans(&[], &[step("unmark", &[])], &[]), 22, &foreign("pl-1"));
    // Wanted and absent: it is opened again, and marked first.
    lost(6).wanting().with(loose(ME, 22)).plans(&[], &[step("authorize", &["tcp/22"])], &[]);
}

#[test]
fn an_unmarked_lease_closes_if_no_call_can_still_land() {
    let lost = Lease::claim(LeaseId(1), target(), port(22)).intend(Attempt::Opening, m(-10));
    assert_eq!(lost.intend(Attempt::Opening, now()).unmarked(false, now()).phase, Phase::Closed);
    assert_eq!(lost.intend(Attempt::Opening, m(-6)).unmarked(false, now()).phase, Phase::Claimed);
    assert_eq!(lost.intend(Attempt::Other, now()).unmarked(true, now()).phase, Phase::Claimed);
}

/// A list that left one of these out would take its mark off, and another installation could close its rule.
#[test]
fn a_list_names_every_lease_that_was_attempted_and_not_left() {
    let list = |world: &World, step: &[u16], until: Option<Timestamp>| {
        let step: Vec<Permission> = step.iter().copied().map(port).collect();
        let wanted = wants(&world.sessions).remove(&key()).unwrap_or_default();
        let list = tag_list(GROUP, &world.leases, &wanted, (&step, until), now());
        let named = (20..30).filter_map(|n| Some((n, *list.get(&port(n).digest(GROUP))?)));
        let named: Vec<_> = named.collect();
        assert_eq!(named.len(), list.len());
        named
    };
    let opened = |lease: Lease, until| lease.intend(Attempt::Opening, m(-60)).authorized(sgr("a"), until);
    let refused = |lease: Lease| lease.intend(Attempt::Opening, m(-60)).refused(failure(FailureClass::Limit), m(9));
    let world = container()
        .session(1, &[21, 22], m(60))
        .lease(21, |lease| opened(lease, m(30)))
        .lease(22, refused)
        .lease(23, |lease| opened(lease, m(40)))
        .lease(24, |lease| lease.intend(Attempt::Opening, m(-1)))
        .lease(25, |lease| lease)
        .lease(26, |lease| opened(lease, m(60)).intend(Attempt::Opening, m(-1)).left(sgr("a")));
    let settle = now() + SETTLE_WINDOW;
    let all = [(21, m(60)), (22, m(60)), (23, m(40)), (24, settle)];
    assert_eq!(list(&world, &[], None), all);
    assert_eq!(list(&world, &[23], None), [all[0], all[1], all[3]]);
    assert_eq!(list(&world, &[25, 26], Some(m(9))), [all[0], all[1], all[2], all[3], (25, m(9)), (26, m(9))]);
}

/// The write of a list that names a lease again is an attempt for it. Otherwise a reading that is behind closes the
/// lease, and its mark stays.
#[test]
fn a_list_names_newly_what_no_entry_shows_with_our_mark() {
    let newly = |world: &World| {
        let list = tag_list(GROUP, &world.leases, &Default::default(), (&[], None), now());
        let newly = named_newly(GROUP, &world.leases, &list, &world.reading, &inst(ME));
        newly.into_iter().map(|lease| lease.permission.from_port()).collect::<Vec<_>>()
    };
    let attempted = |number: u16| container().lease(number, |lease| lease.intend(Attempt::Opening, m(-60)));
    assert_eq!(newly(&attempted(22)), [22]);
    assert_eq!(newly(&attempted(22).rule(ours("a", 22, m(60)))), [0_i32; 0]);
    for rule in [bare("a", 22), leased("a", 22, &[(THEY, m(60))]), ours("a", 23, m(60))] {
        assert_eq!(newly(&attempted(22).rule(rule)), [22]);
    }
    assert_eq!(newly(&attempted(22).with(loose(ME, 22))), [22], "an older reading may show a mark that is gone");
    assert_eq!(newly(&container().lease(22, |lease| lease)), [0_i32; 0], "it is not named");
}

#[test]
fn a_mark_may_return_as_long_as_any_write_of_the_tag_can_land() {
    let lease = |id| Lease::claim(LeaseId(id), target(), port(22));
    let sent = |minutes: i64| lease(1).intend(Attempt::Opening, m(-minutes));
    let returns = |lease: &Lease, answered: &[LeaseId]| marks_may_return([lease], answered, now());
    assert!(returns(&sent(5), &[]) && !returns(&sent(6), &[]) && !returns(&lease(1), &[]));
    assert!(returns(&sent(0), &[LeaseId(2)]) && !returns(&sent(0), &[LeaseId(1)]), "it was just answered");
    assert!(returns(&sent(3).intend(Attempt::Opening, now()), &[LeaseId(1)]), "an earlier one may still land");
}

#[test]
fn a_container_marks_as_many_permissions_as_its_tag_holds() {
    let full = |ports: &[u16]| {
        let attempted = |lease: Lease| lease.intend(Attempt::Opening, m(-60)).authorized(sgr("pl-0"), m(60));
        container().session(1, ports, m(60)).lease(80, attempted).rule(ours("pl-0", 80, m(60)))
    };
    full(&[80, 22, 23]).plans(&[], &[step("authorize", &["tcp/22", "tcp/23"])], &[]);
    let plan = full(&[80, 22, 23, 24]).plans(&[], &[step("authorize", &["tcp/22", "tcp/23"])], &[NoteKind::TagsFull]);
    assert!(matches!(plan.standings[&port(24)], Standing::Pending(_)));
    // A rule of another installation needs a mark as well.
    let shared = full(&[80, 22, 23, 24]).rule(leased("pl-1", 22, &[(THEY, m(60))]));
    let steps = [step("join", &["pl-1"]), step("authorize", &["tcp/23"])];
    shared.plans(&[], &steps, &[NoteKind::TagsFull]);
}

/// Opened again within the settle window of its revoke: the id is the same one.
#[test]
fn where_identity_is_the_value_a_rule_that_was_opened_again_is_there() {
    for (identity, steps) in [(Identity::Value, vec![]), (Identity::Id, vec![step("authorize", &["tcp/22"])])] {
        let revoked = |world: &mut World| {
            world.capabilities.identity = identity;
            world.revoked.insert(sgr("22"), m(-1));
        };
        world().wanting().held(22, "22", m(60)).rule(ours("22", 22, m(60))).with(revoked).plans(&[], &steps, &[]);
        // Found by the search: somebody has made it since, and an authorize was refused because of it.
        let refused = |lease: Lease| lease.intend(Attempt::Opening, now()).refused(failure(FailureClass::Stale), now());
        let exists = world().wanting().lease(22, refused).rule(bare("22", 22)).with(revoked).plan();
        assert_eq!(exists.steps.is_empty(), identity == Identity::Value);
        // Not known by its id: a reading that is behind still shows it.
        world().rule(ours("22", 22, m(-60))).with(revoked).rests();
    }
}

/// A rule that closed by itself was not deleted by anybody, unless its time had not come yet.
#[test]
fn a_rule_that_closed_by_itself_is_opened_again_without_a_word() {
    let vanished = |expiry, until| {
        let twice = move |lease: Lease| {
            let lease = lease.intend(Attempt::Opening, m(-60)).authorized(sgr("a"), m(-30));
            lease.intend(Attempt::Opening, now()).authorized(sgr("a"), until)
        };
        world().wanting().lease(22, twice).with(|world| world.capabilities.expiry = expiry)
    };
    vanished(Expiry::Native, now()).plans(&[], &[step("authorize", &["tcp/22"])], &[]);
    vanished(Expiry::Native, m(1)).plans(&[], &[], &[NoteKind::Contested]);
    vanished(Expiry::None, now()).plans(&[], &[], &[NoteKind::Contested]);
    // Its lease is over as well.
    world().held(22, "a", now()).with(|world| world.capabilities.expiry = Expiry::Native).plans(
        &["close 22"],
        &[],
        &[],
    );
}

/// In the kernel a reading shows every earlier write, so only a call without an answer has to be waited for.
#[test]
fn where_a_reading_shows_every_write_it_is_believed_at_once() {
    let opened = |lease: Lease| lease.intend(Attempt::Opening, m(-1)).authorized(sgr("a"), m(60));
    let lost = |lease: Lease| lease.intend(Attempt::Opening, m(-1));
    let revoked = |world: &mut World| {
        world.revoked.insert(sgr("a"), m(-1));
    };
    for (settle, ledger, notes) in
        [(TimeDelta::zero(), &["close 22"][..], &[][..]), (SETTLE_WINDOW, &[], &[NoteKind::Closing])]
    {
        let world = || world().with(|world| world.capabilities.settle = settle);
        world().lease(22, opened).plans(ledger, &[], notes);
        world().lease(22, lost).plans(&[], &[], &[NoteKind::Closing]);
        // A reading of the same second as the call may be the earlier of the two.
        let just_opened = |lease: Lease| lease.intend(Attempt::Opening, now()).authorized(sgr("a"), m(60));
        world().lease(22, just_opened).plans(&[], &[], &[NoteKind::Closing]);
        // Somebody has loaded a table that was saved before the revoke.
        let notes = if settle.is_zero() { &[NoteKind::Unledgered][..] } else { &[] };
        world().rule(ours("a", 22, m(60))).with(revoked).plans(&[], &[], notes);
    }
}
