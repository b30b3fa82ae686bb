//! Expiry switches: the table row by row, then every scenario of the parent with switches in it.

use super::*;
use crate::auto_close::{LEAD, Switch, SwitchSeen, SwitchWay};

/// What the plan can know about switches, and the provider that keeps them.
#[derive(Clone)]
pub(super) struct Switches {
    way: Option<SwitchWay>,
    rows: Vec<Switch>,
    seen: BTreeMap<RuleId, SwitchSeen>,
}

impl Switches {
    pub(super) fn view(&self, ignore_delays: bool) -> SwitchView<'_> {
        SwitchView { way: self.way.as_ref(), rows: &self.rows, ignore_delays, seen: &self.seen }
    }
}

fn way(role: &str) -> SwitchWay {
    SwitchWay { role_arn: format!("arn:aws:iam::123456789012:role/{role}"), group: "default".into() }
}

fn row(id: &str, at: Timestamp) -> Switch {
    Switch::new(sgr(id), reach(), port(22), way("eg"), at).set(at)
}

/// Closed already, as far as the times of [`row`] go.
fn refused(id: &str, class: FailureClass, next: Timestamp) -> Switch {
    Switch::new(sgr(id), reach(), port(22), way("eg"), m(60)).refused(failure(class), next)
}

impl World {
    /// With a role, and switches as the provider shows them.
    fn switched(self, seen: &[(&str, SwitchSeen)]) -> Self {
        let seen = seen.iter().map(|(id, seen)| (sgr(id), seen.clone())).collect();
        self.with(|world| world.switches = Some(Switches { way: Some(way("eg")), rows: Vec::new(), seen }))
    }

    fn row(self, row: Switch) -> Self {
        self.with(|world| world.switches.as_mut().unwrap().rows.push(row))
    }

    fn without_role(self) -> Self {
        self.with(|world| world.switches.as_mut().unwrap().way = None)
    }

    /// A rule of ours that a session wants for an hour.
    fn kept(self) -> Self {
        self.wanting().held(22, "sgr-1", m(60)).rule(ours("sgr-1", 22, m(60)))
    }

    pub(super) fn learn_switch(&mut self, step: &LedgerStep) {
        let switches = self.switches.as_mut().unwrap();
        match step {
            LedgerStep::KnowSwitch { rule, permission, at, way } => {
                switches.rows.retain(|row| row.rule != *rule);
                switches.rows.push(Switch::new(rule.clone(), reach(), *permission, way.clone(), *at).set(*at));
            }
            LedgerStep::ForgetSwitch { rule } => switches.rows.retain(|row| row.rule != *rule),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn apply_switch(&mut self, step: &Step) {
        let switches = self.switches.as_mut().unwrap();
        match step {
            Step::SetSwitch { rule, at, way } => {
                switches.seen.insert(rule.id().clone(), SwitchSeen::Set(*at));
                let (rule, permission, at, way) = (rule.id().clone(), *rule.permission(), *at, way.clone());
                self.learn_switch(&LedgerStep::KnowSwitch { rule, permission, at, way });
            }
            Step::DropSwitch { rule, .. } => {
                switches.seen.insert(rule.clone(), SwitchSeen::Absent);
                switches.rows.retain(|row| row.rule != *rule);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Reads what the plan asks for: what nobody has set is not there.
    fn read(&mut self) -> bool {
        let unread = self.plan().unread;
        let switches = self.switches.as_mut().unwrap();
        unread.keys().for_each(|rule| drop(switches.seen.insert(rule.clone(), SwitchSeen::Absent)));
        !unread.is_empty()
    }
}

fn set(id: &str) -> Words {
    step("set-switch", &[id])
}

#[track_caller]
fn sets(world: &World, until: Timestamp) {
    let plan = world.plans(&[], &[set("sgr-1")], &[]);
    assert!(matches!(plan.steps.as_slice(), [Step::SetSwitch { at, .. }] if *at == until), "{plan:?}");
}

#[test]
fn a_switch_is_read_before_anything_is_decided() {
    let plan = world().kept().switched(&[]).rests();
    assert_eq!(plan.unread, BTreeMap::from([(sgr("sgr-1"), way("eg"))]));
}

/// A twin's lease stands under our own id, and the switch is to wait for it.
#[test]
fn a_twins_lease_counts() {
    let world = world().wanting().held(22, "sgr-1", m(60)).rule(ours("sgr-1", 22, m(90)));
    let twin = world.switched(&[("sgr-1", SwitchSeen::Absent)]).with(|world| world.twin = true);
    sets(&twin, m(90));
}

/// What was taken away while an attempt to set it may still land is taken away once more, and not before.
#[test]
fn a_switch_that_may_land_late_is_dropped_once_more() {
    let way = way("eg");
    let sent = Switch::new(sgr("sgr-1"), reach(), port(22), way.clone(), m(60)).intend(&way, m(60));
    let gone = |row: Switch| world().switched(&[]).row(row);
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
fn a_held_rule_gets_a_switch() {
    for seen in [
        SwitchSeen::Absent,
        SwitchSeen::Wrong,
        SwitchSeen::Set(m(59)),
        SwitchSeen::Set(m(61)),
        SwitchSeen::Unreadable(failure(FailureClass::Denied)),
    ] {
        sets(&world().kept().switched(&[("sgr-1", seen.clone())]), m(60));
        let recorded = world().kept().switched(&[("sgr-1", seen.clone())]).row(row("sgr-1", m(60)));
        match seen {
            SwitchSeen::Unreadable(_) => drop(recorded.rests()),
            _ => sets(&recorded, m(60)),
        }
    }
}

#[test]
fn a_right_switch_is_kept_and_known() {
    let world = || world().kept().switched(&[("sgr-1", SwitchSeen::Set(m(60)))]);
    world().plans(&["know sgr-1"], &[], &[]);
    world().row(row("sgr-1", m(60))).rests();
    world().row(row("sgr-1", m(30))).plans(&["know sgr-1"], &[], &[]);
    world().row(refused("sgr-1", FailureClass::Unknown, m(1))).plans(&["know sgr-1"], &[], &[]);
}

#[test]
fn it_fires_at_the_latest_unexpired_lease() {
    let with = |leases: &[(u128, Timestamp)]| {
        let world = world().wanting().held(22, "sgr-1", m(60)).rule(leased("sgr-1", 22, leases));
        world.switched(&[("sgr-1", SwitchSeen::Absent)])
    };
    sets(&with(&[(ME, m(60)), (THEY, m(30))]), m(60));
    sets(&with(&[(ME, m(60)), (THEY, m(90))]), m(90));
    sets(&with(&[(ME, m(60)), (THEY, m(-5))]), m(60));
    // A lease that nobody can believe holds nothing, and is reported.
    let odd = with(&[(ME, m(60)), (THEY, m(60 * 24 * 40))]).plans(&[], &[set("sgr-1")], &[NoteKind::OddLease]);
    assert!(matches!(odd.steps.as_slice(), [Step::SetSwitch { at, .. }] if *at == m(60)));
}

/// Found by the search: somebody strips a shared rule, and who joined it moves the switch to its own, earlier end.
#[test]
fn a_rule_without_marks_keeps_a_later_switch() {
    let stripped = ObservedRule { tags: BTreeMap::new(), ..ours("sgr-1", 22, m(60)) };
    let world = world().wanting().held(22, "sgr-1", m(60)).rule(stripped);
    let seen = |at: i64| world.clone().switched(&[("sgr-1", SwitchSeen::Set(m(at)))]);
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
    sets(&left.clone().switched(&[("sgr-1", SwitchSeen::Absent)]), m(8));
    let seen = slow(left).switched(&[("sgr-1", SwitchSeen::Absent)]);
    assert!(seen.plan().steps.iter().all(|step| !matches!(step, Step::SetSwitch { .. })), "expired for them");
}

#[test]
fn what_is_close_is_set_a_minute_ahead_once() {
    let near = || world().session(1, &[22], now() + s(20)).held(22, "sgr-1", now() + s(20));
    let near = near().rule(ours("sgr-1", 22, now() + s(20)));
    sets(&near.clone().switched(&[("sgr-1", SwitchSeen::Absent)]), now() + LEAD);
    let sent = SwitchSeen::Set(now() + LEAD);
    near.switched(&[("sgr-1", sent)]).row(row("sgr-1", now() + LEAD)).rests();
}

#[test]
fn extending_rewrites_the_tag_and_then_the_switch() {
    let world = world().session(1, &[22], m(90)).held(22, "sgr-1", m(60)).rule(ours("sgr-1", 22, m(60)));
    let world = world.switched(&[("sgr-1", SwitchSeen::Set(m(60)))]).row(row("sgr-1", m(60)));
    world.plans(&[], &[step("retag", &["sgr-1"]), set("sgr-1")], &[]);
}

#[test]
fn whoever_leaves_moves_it_to_those_who_remain() {
    let both = leased("sgr-1", 22, &[(ME, m(60)), (THEY, m(30))]);
    let world = world().held(22, "sgr-1", m(60)).rule(both);
    let mut world = world.switched(&[("sgr-1", SwitchSeen::Set(m(60)))]).row(row("sgr-1", m(60)));
    let plan = world.plans(&[], &[step("leave", &["sgr-1"])], &[]);
    world.apply(&plan);
    sets(&world, m(30));
    let plan = world.plan();
    world.apply(&plan);
    world.rests();
    // Settled: the lease closes, and with it ends what we know of the switch. It is theirs.
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
    let mut world = world.switched(&[("sgr-1", SwitchSeen::Set(m(60)))]).row(late);
    let plan = world.plans(&["close 22"], &[set("sgr-1")], &[NoteKind::SwitchUnset]);
    world.apply(&plan);
    world.plans(&["forget sgr-1"], &[], &[]);
}

#[test]
fn without_a_role_nothing_is_set_but_what_is_on_record_is_moved() {
    let world = || world().kept().switched(&[("sgr-1", SwitchSeen::Set(m(30)))]).without_role();
    world().rests();
    sets(&world().row(row("sgr-1", m(30))), m(60));
}

#[test]
fn another_role_replaces_the_one_on_record() {
    let world = world().kept().switched(&[("sgr-1", SwitchSeen::Wrong)]).row(row("sgr-1", m(60)));
    let plan = world.with(|world| world.switches.as_mut().unwrap().way = Some(way("new"))).plan();
    assert!(matches!(plan.steps.as_slice(), [Step::SetSwitch { way: made, .. }] if *made == way("new")), "{plan:?}");
}

#[test]
fn another_group_of_schedules_is_for_new_rules() {
    let elsewhere = SwitchWay { group: "new".into(), ..way("eg") };
    let world = world().kept().switched(&[("sgr-1", SwitchSeen::Set(m(60)))]).row(row("sgr-1", m(60)));
    world.with(|world| world.switches.as_mut().unwrap().way = Some(elsewhere)).rests();
}

#[test]
fn a_refusal_waits_and_is_told() {
    for (class, advice) in [(FailureClass::Denied, "setup cloud-expiry"), (FailureClass::Transient, "by itself")] {
        let world = world().kept().switched(&[("sgr-1", SwitchSeen::Absent)]).row(refused("sgr-1", class, m(1)));
        let plan = world.plans(&[], &[], &[NoteKind::SwitchUnset]);
        assert!(plan.deferred && plan.wake == Some(m(1)));
        assert!(
            plan.notes[0].message.contains("closes by eg reconcile only: the switch in the cloud could not be set")
        );
        assert!(plan.notes[0].message.contains(advice), "{}", plan.notes[0].message);
        assert!(plan.standings[&port(22)].is_held(), "the rule stays usable");
        world.clone().with(|world| world.policy.ignore_delays = true).plans(
            &[],
            &[set("sgr-1")],
            &[NoteKind::SwitchUnset],
        );
        world.with(|world| world.now = m(1)).plans(&[], &[set("sgr-1")], &[NoteKind::SwitchUnset]);
    }
}

#[test]
fn a_delay_from_a_clock_that_stepped_back_delays_nothing() {
    let world = world().kept().switched(&[("sgr-1", SwitchSeen::Absent)]);
    world.row(refused("sgr-1", FailureClass::Denied, m(3))).plans(&[], &[set("sgr-1")], &[NoteKind::SwitchUnset]);
}

#[test]
fn what_is_to_be_closed_keeps_its_switch_until_then() {
    let closing = world().held(22, "sgr-1", m(60)).rule(ours("sgr-1", 22, m(60)));
    let closing = closing.switched(&[("sgr-1", SwitchSeen::Set(m(60)))]).row(row("sgr-1", m(60)));
    let mut world = closing;
    let plan = world.plans(&[], &[revoke(&["sgr-1"])], &[]);
    world.apply(&plan);
    let plan = world.plan();
    assert_eq!(plan.steps.iter().map(spelled).collect::<Vec<_>>(), [step("drop-switch", &["sgr-1"])]);
    world.settle();
    assert!(world.switches.unwrap().rows.is_empty());
}

#[test]
fn a_row_without_a_rule() {
    let gone = || world().switched(&[]);
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
    let world = world.switched(&[("sgr-2", SwitchSeen::Set(m(60)))]);
    known.into_iter().fold(world, World::row)
}

/// Found by random lives against the sandbox: a reading that lagged still showed the rule that was gone, its row was
/// forgotten, and its switch stayed behind.
#[test]
fn a_row_is_not_forgotten_on_a_reading_that_may_be_old() {
    let stale = replaced().rule(ours("sgr-1", 22, m(60)));
    assert_eq!(stale.rests().wake, Some(m(5) + s(1)));
    // Two of ours for one permission do not last.
    stale.rule(leased("sgr-1", 22, &[(ME, m(60)), (THEY, m(60))])).rests();
}

/// It may be hidden, edited by hand: then its switch closes it even if no machine of ours ever sees it.
#[test]
fn a_switch_is_not_dropped_on_a_reading_that_may_be_old() {
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
    let there = |rule: ObservedRule| world().rule(rule).switched(&[]).row(row("sgr-1", m(60)));
    there(leased("sgr-1", 22, &[(THEY, m(60))])).plans(&["forget sgr-1"], &[], &[]);
    let closed = there(leased("sgr-1", 22, &[(THEY, m(-30))]));
    closed.plans(&[], &[step("collect", &["sgr-1"])], &[]);
    // Nobody's, and not to be closed by us now: the switch is what closes it.
    closed.with(|world| world.policy.collect = false).rests();
    there(marked("sgr-1", 9000, &[])).with(|world| world.policy.collect = false).rests();
}

#[test]
fn a_rule_that_a_reading_does_not_show_keeps_its_row() {
    let world = world().wanting().held(22, "sgr-1", m(60)).switched(&[]).row(row("sgr-1", m(60)));
    let steps: Vec<_> = world.plan().steps.iter().map(spelled).collect();
    assert_eq!(steps, [step("authorize", &["tcp/22"])]);
}

#[test]
fn a_target_that_is_gone_or_cannot_be_read() {
    let world = || world().switched(&[]).row(row("sgr-1", m(60)));
    world().instead(Observation::Missing).plans(&[], &[step("drop-switch", &["sgr-1"])], &[]);
    world().instead(Observation::Unavailable(failure(FailureClass::Unknown))).rests();
}

#[test]
fn a_kind_without_switches_has_none() {
    let mut world = world().kept().switched(&[("sgr-1", SwitchSeen::Absent)]).row(row("sgr-2", m(60)));
    world.switches = None;
    world.rests();
}

/// S6: whatever a plan does, applied, leaves nothing to do; and every rule that is ours then has a right switch.
#[test]
fn every_scenario_settles_with_switches() {
    for (name, world) in scenarios() {
        let plain = {
            let mut world = world.clone();
            world.settle();
            world.reading
        };
        let mut world = world.switched(&[]);
        for _ in 0..4 {
            world.read();
            world.settle();
        }
        assert!(world.plan().unread.is_empty() && world.plan().is_empty(), "{name}: {:#?}", world.plan());
        assert_eq!(world.reading, plain, "{name}: the rules are as without switches");
        let switches = world.switches.clone().unwrap();
        for lease in world.leases.iter().filter(|lease| lease.phase == Phase::Held) {
            let Some(want) = world.wanted().get(&lease.permission).copied() else { continue };
            let Some(id) = lease.proven_rule() else { continue };
            let Some(SwitchSeen::Set(at)) = switches.seen.get(id) else { panic!("{name}: {id} has no switch") };
            assert!(*at >= want.until, "{name}: {id} would be cut off");
        }
    }
}
