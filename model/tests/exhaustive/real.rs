//! The edge between small numbers and the real thing: every plan is made by the real `plan_target`, every change of
//! a row by the real transition of `Lease`.
//!
//! Both are pure functions, so results are kept by their whole input. That makes a search over many states quick and
//! takes nothing away from it.

use crate::{
    auto_closes::{AutoCloseRow, Flip, Seen},
    blind::Work,
    quick::Table,
    world::{Call, Kind, LONG_EXPIRED, LONGEST_TERM, Opened, Row, Rule, SITES, Tags, Tick, members},
};
use chrono::TimeDelta;
use eg_model::{
    SETTLE_WINDOW, Timestamp,
    auto_close::{AutoClose, AutoCloseRoute, AutoCloseSeen},
    container_mark::LEASES_MAX,
    failure::{Failure, FailureClass},
    ids::{GrantId, InstallationId, LeaseId, RuleId, SessionId},
    lease::{Attempt, Lease},
    net::permission::Permission,
    observation::{Observation, ObservedRule, OwnedRule, Reading},
    plan::{
        AutoCloseView, LedgerStep, PlanContext, PlanPolicy, Step, TargetPlan, TargetView, Want, plan_blind,
        plan_target, rows, tag_list,
    },
    session::record::{Grant, GrantPermission, GrantStatus, Session, SessionStatus, Standing},
    tags::{DIGESTS_PER_CALL, MARKS, description, lease_key, lease_value, tags_for},
    target::{Capabilities, Expiry, Identity, MarkPlace, Target, TargetKey},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Mutex,
};
use uuid::Uuid;

const GROUP: &str = "sg-0abc123def4567890";
/// Now, in seconds of 1970: 2026-02-27T12:00:00Z.
const NOON: i64 = 1_772_193_600;
const TICK_SECONDS: i64 = 200;
/// A delay of the driver: over by the next tick.
const DELAY: TimeDelta = TimeDelta::minutes(1);

// One tick is inside the settle window, two are outside.
const _: () = assert!(TICK_SECONDS < SETTLE_WINDOW.num_seconds() && SETTLE_WINDOW.num_seconds() < 2 * TICK_SECONDS);

/// The input of one plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View {
    /// The installation whose id it uses.
    pub(crate) name: u8,
    /// Both go by the same id.
    pub(crate) one_id: bool,
    pub(crate) now: Tick,
    pub(crate) provider: Tick,
    pub(crate) read_at: Tick,
    /// Leases are the longest that there are.
    pub(crate) longest: bool,
    /// Live sessions: number, wants, until.
    pub(crate) sessions: Vec<(u8, u8, Tick)>,
    pub(crate) ledger: Vec<Row>,
    pub(crate) revoked: Vec<(u8, Tick)>,
    pub(crate) opened: Vec<(u8, u8)>,
    pub(crate) kind: Kind,
    /// Permissions with our mark on the container and no marked entry.
    pub(crate) loose: u8,
    pub(crate) rules: Vec<Rule>,
    /// Where cloud expiry is configured.
    pub(crate) auto_closes: Option<AutoClosesSeen>,
}

/// The expiry schedules in the input of one plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AutoClosesSeen {
    pub(crate) rows: Vec<AutoCloseRow>,
    pub(crate) seen: Vec<(u8, Seen)>,
}

/// A [`LedgerStep`] in small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learn {
    Adopt { port: u8, rule: u8, until: Option<Tick> },
    Close { key: (u8, u8) },
    Know { rule: u8, port: u8, at: Tick },
    Forget { rule: u8 },
}

/// A [`TargetPlan`] in small numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) learn: Vec<Learn>,
    pub(crate) calls: Vec<Call>,
    /// No note, and nothing put off, keeps a pass with this plan from being clean.
    pub(crate) clean: bool,
    /// Wanted permissions that are held, and those of them that a foreign rule covers.
    pub(crate) held: u8,
    pub(crate) covered: u8,
    /// Rules whose expiry schedules have to be read first.
    pub(crate) unread: u16,
}

/// A transition of [`Lease`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Turn {
    Intend { opening: bool, undoing: bool },
    Authorized { rule: u8, until: Tick },
    Landed { until: Tick },
    Joined { rule: u8, until: Tick },
    Adopted { rule: u8, until: Option<Tick> },
    Retagged { until: Tick },
    Left { rule: u8 },
    Revoked { wanted: bool, hidden: Option<u8> },
    Undone { wanted: bool },
    Unmarked { wanted: bool },
    Refused { class: FailureClass, waits: bool },
    Unanswered,
    Closed,
}

type Turned = Table<(Row, Turn, Tick), Row>;

/// The number of results that are kept before memory is freed.
const KEPT: usize = 1_000_000;

thread_local! {
    static PLANS: RefCell<Table<View, Rc<Plan>>> = RefCell::default();
    static TURNS: RefCell<Turned> = RefCell::default();
}

/// The rows of the plan's tables that any search of this run has reached.
static REACHED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// The rows that no search of this run has reached yet.
pub(crate) fn unreached_rows() -> Vec<&'static str> {
    let reached = REACHED.lock().unwrap();
    rows().filter(|row| !reached.contains(row)).collect()
}

/// The plan for a view.
pub(crate) fn plan(view: View) -> Rc<Plan> {
    let known = PLANS.with_borrow(|plans| plans.get(&view).cloned());
    known.unwrap_or_else(|| {
        let plan = Rc::new(made(&view));
        PLANS.with_borrow_mut(|plans| {
            if plans.len() >= KEPT {
                plans.clear();
            }
            plans.insert(view, Rc::clone(&plan))
        });
        plan
    })
}

/// The row after a transition at `now`.
pub(crate) fn turn(row: Row, turn: Turn, now: Tick) -> Row {
    let known = TURNS.with_borrow(|turns| turns.get(&(row, turn, now)).copied());
    known.unwrap_or_else(|| {
        let turned = turned(row, turn, now);
        TURNS.with_borrow_mut(|turns| turns.insert((row, turn, now), turned));
        turned
    })
}

/// A row that was never written to.
pub(crate) fn claim(port: u8, twin: u8) -> Row {
    let lease = Lease::claim(lease_id((port, twin)), target(), permission(port));
    row(&lease, 0)
}

/// True if ended sessions have let go of a permission with this row.
pub(crate) fn has_let_go(row: Option<&Row>, wanted: bool) -> bool {
    eg_model::lease::has_let_go(row.map(|row| lease(row, 0)).as_ref(), wanted)
}

/// The time after which readings are believed about answered calls.
fn settle(kind: Kind) -> TimeDelta {
    if kind == Kind::Kernel { TimeDelta::zero() } else { SETTLE_WINDOW }
}

/// The rule that a reading may have hidden on which another for the same permission was closed.
pub(crate) fn hidden(kind: Kind, opened: &[Opened], port: u8, revoked: u8, read_at: Tick) -> Option<u8> {
    let same = opened.iter().filter(|opened| opened.port == port);
    let same = same.map(|opened| (rule_id(opened.rule), time(opened.at)));
    eg_model::lease::hidden_rule(same, &rule_id(revoked), time(read_at), settle(kind)).as_ref().map(small)
}

fn turned(before: Row, turn: Turn, now: Tick) -> Row {
    let lease = lease(&before, now);
    let at = time(now);
    let failure = |class| Failure::new(class, "words");
    let next = match turn {
        Turn::Intend { undoing: true, .. } => lease.intend(Attempt::Undoing, at),
        Turn::Intend { opening, .. } => lease.intend(if opening { Attempt::Opening } else { Attempt::Other }, at),
        Turn::Authorized { rule, until } => lease.authorized(rule_id(rule), time(until)),
        Turn::Landed { until } => lease.landed(time(until)),
        Turn::Joined { rule, until } => lease.joined(rule_id(rule), time(until)),
        Turn::Adopted { rule, until } => lease.adopted(rule_id(rule), until.map(time)),
        Turn::Retagged { until } => lease.retagged(time(until)),
        Turn::Left { rule } => lease.left(rule_id(rule)),
        Turn::Revoked { wanted, hidden } => lease.revoked(wanted, hidden.map(rule_id), at),
        Turn::Undone { wanted } => lease.undone(wanted, at),
        Turn::Unmarked { wanted } => lease.unmarked(wanted, at),
        Turn::Refused { class, waits } => lease.refused(failure(class), if waits { at + DELAY } else { at }),
        Turn::Unanswered => lease.unanswered(failure(FailureClass::Unknown), at + DELAY, at),
        Turn::Closed => lease.closed(),
    };
    assert!(next.version > lease.version, "{turn:?} did not move the version on");
    row(&next, now).cut(now)
}

/// What a tag of a container names after a step for some ports: the real list, by port.
pub(crate) fn list(rows: &[Row], wanted: &[(u8, Tick)], (ports, until): (u8, Option<Tick>)) -> [Option<Tick>; SITES] {
    let leases: Vec<Lease> = rows.iter().map(|row| lease(row, 0)).collect();
    let want = |until: Tick| Want { session: session_id(0), until: time(until), open: true };
    let wanted = wanted.iter().map(|(port, until)| (permission(*port), want(*until))).collect();
    let step: Vec<Permission> = members(u16::from(ports)).map(permission).collect();
    let list = tag_list(GROUP, &leases, &wanted, (&step, until.map(time)), time(0));
    std::array::from_fn(|port| list.get(&permission(port as u8).digest(GROUP)).map(|at| tick(*at)))
}

/// True if a late write of the tag can bring back any mark.
pub(crate) fn marks_may_return(rows: &[Row], answered: &[(u8, u8)], now: Tick) -> bool {
    let leases: Vec<Lease> = rows.iter().map(|row| lease(row, now)).collect();
    let answered: Vec<LeaseId> = answered.iter().map(|key| lease_id(*key)).collect();
    eg_model::plan::marks_may_return(&leases, &answered, time(now))
}

// ------------------------------------------------------------------------------------------------------ out and back

fn time(tick: Tick) -> Timestamp {
    Timestamp::from_timestamp(NOON + TICK_SECONDS * i64::from(tick), 0).unwrap()
}

fn tick(at: Timestamp) -> Tick {
    let seconds = at.timestamp() - NOON;
    let near = if seconds > LONGEST / 2 { seconds - LONGEST_MORE } else { seconds };
    Tick::try_from(near.div_euclid(TICK_SECONDS)).unwrap()
}

/// The longest lease, in seconds.
const LONGEST: i64 = eg_model::time::duration::MAX.num_seconds();
/// The time by which the end of a future lease is later than its ticks.
const LONGEST_MORE: i64 = LONGEST - TICK_SECONDS * LONGEST_TERM as i64;

/// The end of a session or a lease.
fn end(at: Tick, longest: bool) -> Timestamp {
    if longest && at > 0 { time(at) + TimeDelta::seconds(LONGEST_MORE) } else { time(at) }
}

/// When a session began that ends then: the longest ones last exactly as long as any may.
fn start(until: Tick, longest: bool) -> Timestamp {
    if longest && until > 0 { end(until, longest) - eg_model::time::duration::MAX } else { time(0) }
}

fn rule_id(id: u8) -> RuleId {
    RuleId(format!("sgr-{id:02}"))
}

fn small(id: &RuleId) -> u8 {
    id.0.trim_start_matches("sgr-").parse().unwrap()
}

fn lease_id((port, twin): (u8, u8)) -> LeaseId {
    LeaseId(i64::from(port) * 2 + i64::from(twin))
}

pub(crate) fn permission(port: u8) -> Permission {
    let number = 22 + u16::from(port);
    format!("tcp|{number}|{number}|203.0.113.42/32").parse().unwrap()
}

fn port(permission: &Permission) -> u8 {
    (permission.from_port() - 22) as u8
}

fn installation(name: u8, one_id: bool) -> InstallationId {
    InstallationId::from_uuid(Uuid::from_u128(if one_id { 1 } else { u128::from(name) + 1 }))
}

fn session_id(number: u8) -> SessionId {
    SessionId(Uuid::from_u128(u128::from(number)))
}

fn key() -> TargetKey {
    TargetKey::new("aws", "security-group", "eu-west-1", GROUP)
}

fn target() -> Target {
    Target::new(key())
}

fn lease(row: &Row, now: Tick) -> Lease {
    Lease {
        phase: row.phase,
        shared: row.shared,
        rule_id: row.rule.map(rule_id),
        tagged_until: row.tagged.map(time),
        last_sent_at: row.sent.map(time),
        in_flight: row.in_flight.map(time),
        last_unknown_at: row.unknown.map(time),
        next_try_at: row.waits.then(|| time(now) + DELAY),
        last_failure: row.failure.map(|class| Failure::new(class, "words")),
        vanished: u32::from(row.vanished),
        ..Lease::claim(lease_id(row.key()), target(), permission(row.port))
    }
}

fn row(lease: &Lease, now: Tick) -> Row {
    Row {
        port: port(&lease.permission),
        twin: (lease.id.0 % 2) as u8,
        phase: lease.phase,
        shared: lease.shared,
        rule: lease.rule_id.as_ref().map(small),
        tagged: lease.tagged_until.map(tick),
        sent: lease.last_sent_at.map(tick),
        in_flight: lease.in_flight.map(tick),
        unknown: lease.last_unknown_at.map(tick),
        waits: lease.next_try_at.is_some_and(|at| at > time(now)),
        failure: lease.last_failure.as_ref().map(|failure| failure.class),
        vanished: lease.vanished.min(3) as u8,
    }
}

fn way() -> AutoCloseRoute {
    AutoCloseRoute { role_arn: "arn:aws:iam::123456789012:role/eg".into(), group: "default".into() }
}

fn auto_close(row: &AutoCloseRow, now: Tick) -> AutoClose {
    AutoClose {
        confirmed: row.confirmed,
        next_try_at: row.waits.then(|| time(now) + DELAY),
        last_failure: row.failure.map(|class| Failure::new(class, "words")),
        ..AutoClose::new(rule_id(row.rule), target(), permission(row.port), way(), time(row.at))
    }
}

/// An expiry schedule of which nothing has been sent yet.
pub(crate) fn new_auto_close(rule: u8, port: u8) -> AutoCloseRow {
    AutoCloseRow { rule, port, at: 0, confirmed: false, waits: false, failure: None }
}

/// The row of an expiry schedule after a transition at `now`.
pub(crate) fn flip(row: AutoCloseRow, flip: Flip, now: Tick) -> AutoCloseRow {
    let before = auto_close(&row, now);
    let next = match flip {
        Flip::Intend { at } => before.intend(&way(), time(at)),
        Flip::Set { at } => before.set(time(at)),
        Flip::Refused { class, waits } => {
            before.refused(Failure::new(class, "words"), if waits { time(now) + DELAY } else { time(now) })
        }
    };
    assert!(next.version > before.version, "{flip:?} did not move the version on");
    AutoCloseRow {
        at: tick(next.at),
        confirmed: next.confirmed,
        waits: next.next_try_at.is_some_and(|at| at > time(now)),
        failure: next.last_failure.map(|failure| failure.class),
        ..row
    }
}

fn auto_close_seen(seen: Seen) -> AutoCloseSeen {
    match seen {
        Seen::Absent => AutoCloseSeen::Absent,
        Seen::Set(at) => AutoCloseSeen::Set(time(at)),
        Seen::Wrong => AutoCloseSeen::Wrong,
        Seen::Unreadable => AutoCloseSeen::Unreadable(Failure::new(FailureClass::Transient, "words")),
    }
}

fn observed(rule: &Rule, view: &View) -> ObservedRule {
    let tags = rule.tags.map(|tags| real_tags(&tags, view)).unwrap_or_default();
    let ours = || description(Some("alice@laptop"), session_id(0), None);
    let description = Some(if rule.described { ours() } else { "made by hand".to_owned() });
    ObservedRule { id: rule_id(rule.id), permission: permission(rule.port), description, tags }
}

fn real_tags(tags: &Tags, view: &View) -> BTreeMap<String, String> {
    let one_id = view.one_id;
    let fits: Vec<Permission> = members(u16::from(tags.fits)).map(permission).collect();
    let mut real = tags_for(GROUP, &fits, session_id(0), &installation(0, one_id), time(0));
    real.remove(&lease_key(&installation(0, one_id)));
    assert!(real.contains_key(MARKS));
    for (name, until) in (0..SITES as u8).zip(tags.leases) {
        let lease = until.map(|until| (lease_key(&installation(name, one_id)), lease_value(end(until, view.longest))));
        real.extend(lease);
    }
    real
}

fn session(&(number, ports, until): &(u8, u8, Tick), longest: bool) -> Session {
    let wants = |port| GrantPermission { permission: permission(port), standing: Standing::Untried };
    let grant = Grant {
        id: GrantId(Uuid::from_u128(u128::from(number))),
        resource_name: "prod".into(),
        target: target(),
        address: "203.0.113.42".parse().unwrap(),
        status: GrantStatus::Pending,
        permissions: members(u16::from(ports)).map(wants).collect(),
        applied_at: None,
        removed_at: None,
        without_auto_close: None,
    };
    Session {
        id: session_id(number),
        user_name: "alice".into(),
        user_email: None,
        reason: None,
        follow: false,
        followed_name: None,
        status: SessionStatus::Pending,
        started_at: start(until, longest),
        expires_at: end(until, longest),
        ended_at: None,
        ended_reason: None,
        caller_arns: BTreeSet::new(),
        grants: vec![grant],
    }
}

// -------------------------------------------------------------------------------------------------------- the plan

fn made(view: &View) -> Plan {
    let sessions: Vec<Session> = view.sessions.iter().map(|one| session(one, view.longest)).collect();
    let tagged = |row: &Row| row.tagged.map(|at| end(at, view.longest));
    let leases = view.ledger.iter().map(|row| Lease { tagged_until: tagged(row), ..lease(row, view.now) });
    let leases: Vec<Lease> = leases.collect();
    let revoked = view.revoked.iter().map(|(id, at)| (rule_id(*id), time(*at))).collect();
    let opened = view.opened.iter().map(|(id, port)| (rule_id(*id), permission(*port))).collect();
    let installation = installation(view.name, view.one_id);
    let record = PlanContext {
        now: time(view.now),
        installation: &installation,
        sessions: &sessions,
        leases: &leases,
        revoked: &revoked,
        opened: &opened,
        twin: false,
        policy: PlanPolicy { open: true, collect: true, ignore_delays: false },
    };
    let observation = Observation::Complete(Reading {
        other_ingress: 0,
        rules: view.rules.iter().map(|rule| observed(rule, view)).collect(),
        read_at: time(view.read_at),
        last_page_at: time(view.read_at),
        read_later: BTreeMap::new(),
        provider_time: Some(time(view.provider)),
        family: None,
        loose_marks: members(u16::from(view.loose))
            .map(|port| (installation.clone(), permission(port).digest(GROUP)))
            .collect(),
    });
    let schedules = if view.auto_closes.is_some() { Expiry::Schedule } else { Expiry::None };
    let (identity, marks, expiry) = match view.kind {
        Kind::Group => (Identity::Id, MarkPlace::Rule { tags: 50 }, schedules),
        Kind::Bare => (Identity::Id, MarkPlace::None, Expiry::None),
        Kind::List => (Identity::Id, MarkPlace::Container { leases: LEASES_MAX }, Expiry::None),
        Kind::Set => (Identity::Value, MarkPlace::Container { leases: LEASES_MAX }, Expiry::None),
        Kind::Timed | Kind::Kernel => (Identity::Id, MarkPlace::Entry, Expiry::Native),
    };
    let capabilities = Capabilities { identity, marks, batch: DIGESTS_PER_CALL, expiry, settle: settle(view.kind) };
    let known = view.auto_closes.iter().flat_map(|auto_closes| &auto_closes.rows);
    let rows: Vec<AutoClose> = known.map(|row| auto_close(row, view.now)).collect();
    let looks = view.auto_closes.iter().flat_map(|auto_closes| &auto_closes.seen);
    let seen = looks.map(|(rule, seen)| (rule_id(*rule), auto_close_seen(*seen))).collect();
    let way = way();
    let auto_closes = AutoCloseView { way: Some(&way), rows: &rows, ignore_delays: false, seen: &seen };
    let auto_closes = Some(auto_closes).filter(|_| view.auto_closes.is_some());
    let view = TargetView { key: &key(), capabilities, observation: &observation, unreadable: false, auto_closes };
    let plan = plan_target(&record, &view);
    REACHED.lock().unwrap().extend(&plan.rows);
    small_plan(&plan)
}

/// The plan for a firewall that cannot be read back in small numbers, for one permission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blind {
    pub(crate) work: Option<Work>,
    /// The lease closes.
    pub(crate) closes: bool,
    /// The permission counts as open, for good.
    pub(crate) open: bool,
    /// It counts as open, but may be undone.
    pub(crate) may_be_undone: bool,
}

/// The plan for a firewall that cannot be read back.
pub(crate) fn blind(sessions: Vec<(u8, u8, Tick)>, known: Option<Row>) -> Blind {
    let sessions: Vec<Session> = sessions.iter().map(|one| session(one, false)).collect();
    let leases: Vec<Lease> = known.iter().map(|row| lease(row, 0)).collect();
    let installation = installation(0, false);
    let record = PlanContext {
        now: time(0),
        installation: &installation,
        sessions: &sessions,
        leases: &leases,
        revoked: &BTreeMap::new(),
        opened: &BTreeMap::new(),
        twin: false,
        policy: PlanPolicy { open: true, collect: true, ignore_delays: false },
    };
    let plan = plan_blind(&record, &key());
    REACHED.lock().unwrap().extend(&plan.rows);
    let work = plan.steps.first().map(|step| match step {
        Step::Authorize { until, .. } => Work::Apply(tick(*until)),
        Step::Undo { .. } => Work::Undo,
        other => panic!("not a step of a firewall that cannot be read: {other}"),
    });
    let row = |name| plan.rows.contains(name);
    let (open, may_be_undone) = (row("BlindCase::Open"), row("BlindCase::MayBeUndone"));
    Blind { work, closes: !plan.ledger.is_empty(), open, may_be_undone }
}

fn small_plan(plan: &TargetPlan) -> Plan {
    let mask = |matches: fn(&Standing) -> bool| {
        let matching = plan.standings.iter().filter(|(_, standing)| matches(standing));
        matching.fold(0, |mask, (permission, _)| mask | 1 << port(permission))
    };
    Plan {
        learn: plan.ledger.iter().map(small_learn).collect(),
        calls: plan.steps.iter().map(small_call).collect(),
        unread: plan.unread.keys().fold(0, |mask, rule| mask | 1 << small(rule)),
        clean: !plan.deferred && !plan.notes.iter().any(|note| note.kind.unconverged()),
        held: mask(Standing::is_held),
        covered: mask(|standing| matches!(standing, Standing::Foreign(_))),
    }
}

fn small_learn(step: &LedgerStep) -> Learn {
    match step {
        LedgerStep::Adopt { permission, rule, until } => {
            Learn::Adopt { port: port(permission), rule: small(rule.id()), until: until.map(tick) }
        }
        LedgerStep::KnowAutoClose { rule, permission, at, .. } => {
            Learn::Know { rule: small(rule), port: port(permission), at: tick(*at) }
        }
        LedgerStep::ForgetAutoClose { rule } => Learn::Forget { rule: small(rule) },
        LedgerStep::Close { lease } => Learn::Close { key: ((lease.0 / 2) as u8, (lease.0 % 2) as u8) },
    }
}

fn small_call(step: &Step) -> Call {
    let number = |session: &SessionId| session.0.as_u128() as u8;
    let ids = |rules: &[OwnedRule]| rules.iter().fold(0_u16, |mask, rule| mask | 1 << small(rule.id()));
    match step {
        Step::Join { rule, session, until } => {
            Call::Join { rule: small(rule.id()), session: number(session), until: tick(*until) }
        }
        Step::Restore { rule, session, until, .. } => Call::Restore {
            rule: small(rule.id()),
            port: port(rule.permission()),
            session: number(session),
            until: tick(*until),
        },
        Step::Authorize { session, until, permissions } => Call::Authorize {
            session: number(session),
            until: tick(*until),
            ports: permissions.iter().fold(0, |mask, permission| mask | 1 << port(permission)),
        },
        Step::Retag { until, rules } => Call::Retag { until: tick(*until), rules: ids(rules) },
        Step::Leave { rule, value } => {
            let until = value.parse().ok().map(tick).map(|at: Tick| at.max(LONG_EXPIRED));
            Call::Leave { rule: small(rule.id()), value: until }
        }
        Step::Revoke { rules } => Call::Revoke { rules: ids(rules) },
        Step::Collect { rules } => Call::Collect { rules: ids(rules) },
        Step::Unmark { permissions } => {
            Call::Unmark { ports: permissions.iter().fold(0, |mask, permission| mask | 1 << port(permission)) }
        }
        Step::Undo { .. } => panic!("every firewall here is read: {step}"),
        Step::MakeRoom { .. } => panic!("no rule here has 50 tags: {step}"),
        Step::SetAutoClose { rule, at, .. } => {
            Call::SetAutoClose { rule: small(rule.id()), port: port(rule.permission()), at: tick(*at), exists: false }
        }
        Step::DropAutoClose { rule, .. } => Call::DropAutoClose { rule: small(rule) },
    }
}
