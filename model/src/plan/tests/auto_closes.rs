//! Expiry schedules: the table row by row, then every scenario of the parent with expiry schedules in it.

use super::*;
use crate::auto_close::{AutoClose, AutoCloseRoute, AutoCloseSeen, LEAD};

/// What the plan can know about expiry schedules, and the provider that keeps them.
#[derive(Clone)]
pub(super) struct AutoCloses {
    way: Option<AutoCloseRoute>,
    rows: Vec<AutoClose>,
    seen: BTreeMap<RuleId, AutoCloseSeen>,
}

impl AutoCloses {
    pub(super) fn view(&self, ignore_delays: bool) -> AutoCloseView<'_> {
        AutoCloseView { way: self.way.as_ref(), rows: &self.rows, ignore_delays, seen: &self.seen }
    }
}

fn way(role: &str) -> AutoCloseRoute {
    AutoCloseRoute { role_arn: format!("arn:aws:iam::123456789012:role/{role}"), group: "default".into() }
}

fn row(id: &str, at: Timestamp) -> AutoClose {
    AutoClose::new(sgr(id), target(), port(22), way("eg"), at).set(at)
}

/// Closed already, as far as the times of [`row`] go.
fn refused(id: &str, class: FailureClass, next: Timestamp) -> AutoClose {
    AutoClose::new(sgr(id), target(), port(22), way("eg"), m(60)).refused(failure(class), next)
}

impl World {
    /// With a role, and expiry schedules as the provider shows them.
    fn auto_closing(self, seen: &[(&str, AutoCloseSeen)]) -> Self {
        let seen = seen.iter().map(|(id, seen)| (sgr(id), seen.clone())).collect();
        self.with(|world| world.auto_closes = Some(AutoCloses { way: Some(way("eg")), rows: Vec::new(), seen }))
    }

    fn row(self, row: AutoClose) -> Self {
        self.with(|world| world.auto_closes.as_mut().unwrap().rows.push(row))
    }

    fn without_role(self) -> Self {
        self.with(|world| world.auto_closes.as_mut().unwrap().way = None)
    }

    /// A rule of ours that a session wants for an hour.
    fn kept(self) -> Self {
        self.wanting().held(22, "sgr-1", m(60)).rule(ours("sgr-1", 22, m(60)))
    }

    pub(super) fn learn_auto_close(&mut self, step: &LedgerStep) {
        let auto_closes = self.auto_closes.as_mut().unwrap();
        match step {
            LedgerStep::KnowAutoClose { rule, permission, at, way } => {
                auto_closes.rows.retain(|row| row.rule != *rule);
                auto_closes.rows.push(AutoClose::new(rule.clone(), target(), *permission, way.clone(), *at).set(*at));
            }
            LedgerStep::ForgetAutoClose { rule } => auto_closes.rows.retain(|row| row.rule != *rule),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn apply_auto_close(&mut self, step: &Step) {
        let auto_closes = self.auto_closes.as_mut().unwrap();
        match step {
            Step::SetAutoClose { rule, at, way } => {
                auto_closes.seen.insert(rule.id().clone(), AutoCloseSeen::Set(*at));
                let (rule, permission, at, way) = (rule.id().clone(), *rule.permission(), *at, way.clone());
                self.learn_auto_close(&LedgerStep::KnowAutoClose { rule, permission, at, way });
            }
            Step::DropAutoClose { rule, .. } => {
                auto_closes.seen.insert(rule.clone(), AutoCloseSeen::Absent);
                auto_closes.rows.retain(|row| row.rule != *rule);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Reads what the plan asks for: what nobody has set is not there.
    fn read(&mut self) -> bool {
        let unread = self.plan().unread;
        let auto_closes = self.auto_closes.as_mut().unwrap();
        unread.keys().for_each(|rule| drop(auto_closes.seen.insert(rule.clone(), AutoCloseSeen::Absent)));
        !unread.is_empty()
    }
}

fn set(id: &str) -> Words {
    step("set-switch", &[id])
}

#[track_caller]
fn sets(world: &World, until: Timestamp) {
    let plan = world.plans(&[], &[set("sgr-1")], &[]);
    assert!(matches!(plan.steps.as_slice(), [Step::SetAutoClose { at, .. }] if *at == until), "{plan:?}");
}

#[test]
fn an_auto_close_is_read_before_anything_is_decided() {
    let plan = world().kept().auto_closing(&[]).rests();
    assert_eq!(plan.unread, BTreeMap::from([(sgr("sgr-1"), way("eg"))]));
}

/// A twin's lease stands under our own id, and the expiry schedule is to wait for it.
#[test]
fn a_twins_lease_counts() {
    let world = world().wanting().held(22, "sgr-1", m(60)).rule(ours("sgr-1", 22, m(90)));
    let twin = world.auto_closing(&[("sgr-1", AutoCloseSeen::Absent)]).with(|world| world.twin = true);
    sets(&twin, m(90));
}

/// What was taken away while an attempt to set it may still land is taken away once more, and not before.
#[test]
fn an_auto_close_that_may_land_late_is_dropped_once_more() {
    let way = way("eg");
    let sent = AutoClose::new(sgr("sgr-1"), target(), port(22), way.clone(), m(60)).intend(&way, m(60));
    let gone = |row: AutoClose| world().auto_closing(&[]).row(row);
    gone(sent.clone()).plans(&[], &[step("drop-switch", &["sgr-1"])], &[]);
    let again = sent.dropped(now());
    let plan = gone(again.clone()).rests();
    assert_eq!(plan.wake, again.next_try_at);
    let later = gone(again).with(|world| {
        world.now += s(301);
        world.reading.read_at += s(301);
        world.reading.provider_time = Some(world.now);
    });
    later.plans(&[], &[step("drop-switch", &["sgr-1"])], &[]);
}

#[test]
fn a_held_rule_gets_an_auto_close() {
    for seen in [
        AutoCloseSeen::Absent,
        AutoCloseSeen::Wrong,
        AutoCloseSeen::Set(m(59)),
        AutoCloseSeen::Set(m(61)),
        AutoCloseSeen::Unreadable(failure(FailureClass::Denied)),
    ] {
        sets(&world().kept().auto_closing(&[("sgr-1", seen.clone())]), m(60));
        let recorded = world().kept().auto_closing(&[("sgr-1", seen.clone())]).row(row("sgr-1", m(60)));
        match seen {
            AutoCloseSeen::Unreadable(_) => drop(recorded.rests()),
            _ => sets(&recorded, m(60)),
        }
    }
}

#[test]
fn a_right_auto_close_is_kept_and_known() {
    let world = || world().kept().auto_closing(&[("sgr-1", AutoCloseSeen::Set(m(60)))]);
    world().plans(&["know sgr-1"], &[], &[]);
    world().row(row("sgr-1", m(60))).rests();
    world().row(row("sgr-1", m(30))).plans(&["know sgr-1"], &[], &[]);
    world().row(refused("sgr-1", FailureClass::Unknown, m(1))).plans(&["know sgr-1"], &[], &[]);
}

#[test]
fn it_fires_at_the_latest_unexpired_lease() {
    let with = |leases: &[(u128, Timestamp)]| {
        let world = world().wanting().held(22, "sgr-1", m(60)).rule(leased("sgr-1", 22, leases));
        world.auto_closing(&[("sgr-1", AutoCloseSeen::Absent)])
    };
    sets(&with(&[(ME, m(60)), (THEY, m(30))]), m(60));
    sets(&with(&[(ME, m(60)), (THEY, m(90))]), m(90));
    sets(&with(&[(ME, m(60)), (THEY, m(-5))]), m(60));
    // A lease that nobody can believe holds nothing, and is reported.
    let odd = with(&[(ME, m(60)), (THEY, m(60 * 24 * 40))]).plans(&[], &[set("sgr-1")], &[NoteKind::OddLease]);
    assert!(matches!(odd.steps.as_slice(), [Step::SetAutoClose { at, .. }] if *at == m(60)));
}

/// Found by the search: somebody strips a shared rule, and who joined it moves the expiry schedule to its own, earlier
/// end.
#[test]
fn a_rule_without_marks_keeps_a_later_auto_close() {
    let stripped = ObservedRule { tags: BTreeMap::new(), ..ours("sgr-1", 22, m(60)) };
    let world = world().wanting().held(22, "sgr-1", m(60)).rule(stripped);
    let seen = |at: i64| world.clone().auto_closing(&[("sgr-1", AutoCloseSeen::Set(m(at)))]);
    let stripped = [NoteKind::Stripped];
    let mut later = seen(90);
    let plan = later.plans(&["know sgr-1"], &[step("restore", &["sgr-1"])], &stripped);
    seen(30).plans(&[], &[step("restore", &["sgr-1"]), set("sgr-1")], &stripped);
    later.apply(&plan);
    sets(&later, m(60));
}

#[test]
fn others_are_judged_by_the_providers_clock() {
    let slow = |world: World| world.with(|world| world.reading.provider_time = Some(m(20)));
    let rule = leased("sgr-1", 22, &[(THEY, m(8))]);
    let left = world().left(22, "sgr-1", 1).rule(rule);
    sets(&left.clone().auto_closing(&[("sgr-1", AutoCloseSeen::Absent)]), m(8));
    let seen = slow(left).auto_closing(&[("sgr-1", AutoCloseSeen::Absent)]);
    assert!(seen.plan().steps.iter().all(|step| !matches!(step, Step::SetAutoClose { .. })), "expired for them");
}

#[test]
fn what_is_close_is_set_a_minute_ahead_once() {
    let near = || world().session(1, &[22], now() + s(20)).held(22, "sgr-1", now() + s(20));
    let near = near().rule(ours("sgr-1", 22, now() + s(20)));
    sets(&near.clone().auto_closing(&[("sgr-1", AutoCloseSeen::Absent)]), now() + LEAD);
    let sent = AutoCloseSeen::Set(now() + LEAD);
    near.auto_closing(&[("sgr-1", sent)]).row(row("sgr-1", now() + LEAD)).rests();
}

#[test]
fn extending_rewrites_the_tag_and_then_the_auto_close() {
    let world = world().session(1, &[22], m(90)).held(22, "sgr-1", m(60)).rule(ours("sgr-1", 22, m(60)));
    let world = world.auto_closing(&[("sgr-1", AutoCloseSeen::Set(m(60)))]).row(row("sgr-1", m(60)));
    world.plans(&[], &[step("retag", &["sgr-1"]), set("sgr-1")], &[]);
}

#[test]
fn whoever_leaves_moves_it_to_those_who_remain() {
    let both = leased("sgr-1", 22, &[(ME, m(60)), (THEY, m(30))]);
    let world = world().held(22, "sgr-1", m(60)).rule(both);
    let mut world = world.auto_closing(&[("sgr-1", AutoCloseSeen::Set(m(60)))]).row(row("sgr-1", m(60)));
    let plan = world.plans(&[], &[step("leave", &["sgr-1"])], &[]);
    world.apply(&plan);
    sets(&world, m(30));
    let plan = world.plan();
    world.apply(&plan);
    world.rests();
    // Settled: the lease closes, and with it ends what we know of the expiry schedule. It is theirs.
    world.now = m(6);
    world.reading.read_at = m(6);
    world.reading.provider_time = Some(m(6));
    world.plans(&["close 22", "forget sgr-1"], &[], &[]);
}

/// Moving it was refused until the lease could close: the row is still needed for the last attempt.
#[test]
fn whoever_leaves_late_moves_it_before_it_is_forgotten() {
    let world = world().left(22, "sgr-1", 6).rule(leased("sgr-1", 22, &[(THEY, m(30))]));
    let late = refused("sgr-1", FailureClass::Denied, m(-5));
    let mut world = world.auto_closing(&[("sgr-1", AutoCloseSeen::Set(m(60)))]).row(late);
    let plan = world.plans(&["close 22"], &[set("sgr-1")], &[NoteKind::AutoCloseUnset]);
    world.apply(&plan);
    world.plans(&["forget sgr-1"], &[], &[]);
}

#[test]
fn without_a_role_nothing_is_set_but_what_is_on_record_is_moved() {
    let world = || world().kept().auto_closing(&[("sgr-1", AutoCloseSeen::Set(m(30)))]).without_role();
    world().rests();
    sets(&world().row(row("sgr-1", m(30))), m(60));
}

#[test]
fn another_role_replaces_the_one_on_record() {
    let world = world().kept().auto_closing(&[("sgr-1", AutoCloseSeen::Wrong)]).row(row("sgr-1", m(60)));
    let plan = world.with(|world| world.auto_closes.as_mut().unwrap().way = Some(way("new"))).plan();
    assert!(matches!(plan.steps.as_slice(), [Step::SetAutoClose { way: made, .. }] if *made == way("new")), "{plan:?}");
}

#[test]
fn another_group_of_schedules_is_for_new_rules() {
    let elsewhere = AutoCloseRoute { group: "new".into(), ..way("eg") };
    let world = world().kept().auto_closing(&[("sgr-1", AutoCloseSeen::Set(m(60)))]).row(row("sgr-1", m(60)));
    world.with(|world| world.auto_closes.as_mut().unwrap().way = Some(elsewhere)).rests();
}

#[test]
fn a_refusal_waits_and_is_told() {
    for class in [FailureClass::Denied, FailureClass::Transient] {
        let world = world().kept().auto_closing(&[("sgr-1", AutoCloseSeen::Absent)]).row(refused("sgr-1", class, m(1)));
        let plan = world.plans(&[], &[], &[NoteKind::AutoCloseUnset]);
        assert!(plan.deferred && plan.wake == Some(m(1)));
        assert!(plan.notes[0].message.contains("closes by eg reconcile only: the expiry schedule could not be set"));
        assert_eq!(plan.notes[0].class, Some(class));
        assert!(plan.standings[&port(22)].is_held(), "the rule stays usable");
        world.clone().with(|world| world.policy.ignore_delays = true).plans(
            &[],
            &[set("sgr-1")],
            &[NoteKind::AutoCloseUnset],
        );
        world.with(|world| world.now = m(1)).plans(&[], &[set("sgr-1")], &[NoteKind::AutoCloseUnset]);
    }
}

#[test]
fn a_delay_from_a_clock_that_stepped_back_delays_nothing() {
    let world = world().kept().auto_closing(&[("sgr-1", AutoCloseSeen::Absent)]);
    world.row(refused("sgr-1", FailureClass::Denied, m(3))).plans(&[], &[set("sgr-1")], &[NoteKind::AutoCloseUnset]);
}

#[test]
fn what_is_to_be_closed_keeps_its_auto_close_until_then() {
    let closing = world().held(22, "sgr-1", m(60)).rule(ours("sgr-1", 22, m(60)));
    let closing = closing.auto_closing(&[("sgr-1", AutoCloseSeen::Set(m(60)))]).row(row("sgr-1", m(60)));
    let mut world = closing;
    let plan = world.plans(&[], &[revoke(&["sgr-1"])], &[]);
    world.apply(&plan);
    let plan = world.plan();
    assert_eq!(plan.steps.iter().map(spelled).collect::<Vec<_>>(), [step("drop-switch", &["sgr-1"])]);
    world.settle();
    assert!(world.auto_closes.unwrap().rows.is_empty());
}

#[test]
fn a_row_without_a_rule() {
    let gone = || world().auto_closing(&[]);
    gone().row(row("sgr-1", m(60))).plans(&[], &[step("drop-switch", &["sgr-1"])], &[]);
    gone().row(row("sgr-1", m(-11))).plans(&["forget sgr-1"], &[], &[]);
    // What it says is not known: it may have yet to fire.
    let unanswered = row("sgr-1", m(60)).intend(&way("eg"), m(-11));
    gone().row(unanswered).plans(&[], &[step("drop-switch", &["sgr-1"])], &[]);
    let refused = || gone().row(refused("sgr-1", FailureClass::Denied, m(1)));
    let plan = refused().rests();
    assert!(!plan.deferred, "a switch that is left over is harmless");
    refused().with(|world| world.now = m(1)).plans(&[], &[step("drop-switch", &["sgr-1"])], &[]);
}

/// sgr-1 vanished, and sgr-2 was opened in its place just now.
fn replaced() -> World {
    let lease = |lease: Lease| lease.intend(Attempt::Opening, now()).authorized(sgr("sgr-2"), m(60));
    let opened = |world: &mut World| world.opened.extend([(sgr("sgr-1"), port(22)), (sgr("sgr-2"), port(22))]);
    let world = world().wanting().lease(22, lease).with(opened).rule(ours("sgr-2", 22, m(60)));
    let known = [row("sgr-1", m(60)), row("sgr-2", m(60))];
    let world = world.auto_closing(&[("sgr-2", AutoCloseSeen::Set(m(60)))]);
    known.into_iter().fold(world, World::row)
}

/// Found by random lives against the sandbox: a reading that lagged still showed the rule that was gone, its row was
/// forgotten, and its expiry schedule stayed behind.
#[test]
fn a_row_is_not_forgotten_on_a_reading_that_may_be_old() {
    let stale = replaced().rule(ours("sgr-1", 22, m(60)));
    assert_eq!(stale.rests().wake, Some(m(5) + s(1)));
    // Two of ours for one permission do not last.
    stale.rule(leased("sgr-1", 22, &[(ME, m(60)), (THEY, m(60))])).rests();
}

/// It may be hidden, edited by hand: then its expiry schedule closes it even if no machine of ours ever sees it.
#[test]
fn an_auto_close_is_not_dropped_on_a_reading_that_may_be_old() {
    let hidden = replaced();
    assert_eq!(hidden.rests().wake, Some(m(5) + s(1)));
    let later = |world: &mut World| {
        (world.now, world.reading.read_at, world.reading.provider_time) = (m(6), m(6), Some(m(6)));
    };
    hidden.clone().with(later).plans(&[], &[step("drop-switch", &["sgr-1"])], &[]);
    // That its revoke is confirmed is as good as any reading.
    let revoked = hidden.with(|world| world.opened.retain(|rule, _| *rule != sgr("sgr-1")));
    revoked.plans(&[], &[step("drop-switch", &["sgr-1"])], &[]);
}

#[test]
fn a_row_of_a_rule_that_is_there() {
    let there = |rule: ObservedRule| world().rule(rule).auto_closing(&[]).row(row("sgr-1", m(60)));
    there(leased("sgr-1", 22, &[(THEY, m(60))])).plans(&["forget sgr-1"], &[], &[]);
    let closed = there(leased("sgr-1", 22, &[(THEY, m(-30))]));
    closed.plans(&[], &[step("collect", &["sgr-1"])], &[]);
    // Nobody's, and not to be closed by us now: the expiry schedule is what closes it.
    closed.with(|world| world.policy.collect = false).rests();
    there(marked("sgr-1", 9000, &[])).with(|world| world.policy.collect = false).rests();
}

#[test]
fn a_rule_that_a_reading_does_not_show_keeps_its_row() {
    let world = world().wanting().held(22, "sgr-1", m(60)).auto_closing(&[]).row(row("sgr-1", m(60)));
    let steps: Vec<_> = world.plan().steps.iter().map(spelled).collect();
    assert_eq!(steps, [step("authorize", &["tcp/22"])]);
}

#[test]
fn a_target_that_is_gone_or_cannot_be_read() {
    let world = || world().auto_closing(&[]).row(row("sgr-1", m(60)));
    world().instead(Observation::Missing).plans(&[], &[step("drop-switch", &["sgr-1"])], &[]);
    world().instead(Observation::Unavailable(failure(FailureClass::Unknown))).rests();
}

#[test]
fn a_kind_without_auto_closes_has_none() {
    let mut world = world().kept().auto_closing(&[("sgr-1", AutoCloseSeen::Absent)]).row(row("sgr-2", m(60)));
    world.auto_closes = None;
    world.rests();
}

/// S6: whatever a plan does, applied, leaves nothing to do; and every rule that is ours then has a right expiry
/// schedule.
#[test]
fn every_scenario_settles_with_auto_closes() {
    for (name, world) in scenarios() {
        let plain = {
            let mut world = world.clone();
            world.settle();
            world.reading
        };
        let mut world = world.auto_closing(&[]);
        for _ in 0..4 {
            world.read();
            world.settle();
        }
        assert!(world.plan().unread.is_empty() && world.plan().is_empty(), "{name}: {:#?}", world.plan());
        assert_eq!(world.reading, plain, "{name}: the rules are as without switches");
        let auto_closes = world.auto_closes.clone().unwrap();
        for lease in world.leases.iter().filter(|lease| lease.phase == Phase::Held) {
            let Some(want) = world.wanted().get(&lease.permission).copied() else { continue };
            let Some(id) = lease.proven_rule() else { continue };
            let Some(AutoCloseSeen::Set(at)) = auto_closes.seen.get(id) else { panic!("{name}: {id} has no switch") };
            assert!(*at >= want.until, "{name}: {id} would be cut off");
        }
    }
}
