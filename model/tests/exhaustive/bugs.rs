//! Bugs, put around the real functions: each changes what goes into the plan or the ledger's transitions, or what
//! comes out of them, or what the driver does in between. The search has to find every one of them.

use crate::{
    auto_closes::Seen,
    real::{self, Learn, Plan, Turn, View, turn},
    world::{Call, Kind, LONG_EXPIRED, LONGEST_TERM, Life, Row, Rule, SETTLED, Site, Tags, Tick},
};
use eg_model::lease::Phase;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bug {
    /// One reading that does not show a rule closes its lease, when the call that made it had succeeded.
    ClosedOnOneAbsentRead,
    /// A rule with the right permission is taken for ours.
    AdoptedByPermission,
    /// The ledger is written after the call alone.
    LedgerAfterSuccess,
    /// The end of one session ends the wants of all.
    OneEndRevokesShared,
    /// A revoke names the permission, not the rule.
    RevokedByPermission,
    /// A confirmed revoke closes the lease, whatever can still land.
    ClosedDespiteUnknown,
    /// A success clears what is not known about earlier attempts.
    SuccessClearsUnknown,
    /// An outcome is written where the row looks the same, not where it is the same.
    GuardedByContents,
    /// Letting go of a shared rule closes the lease.
    LeaveClosesAtOnce,
    /// A rule that every holder has left stays open.
    LeftToNobody,
    /// A rule whose leases have expired is closed, even if it is wanted.
    ExpiredBeatsWanted,
    /// A rule of ours seen without its tags is a stranger's from then on.
    StrippedIsForeign,
    /// Others' leases are judged by the local clock.
    LocalClockJudges,
    /// Two machines go by the same id.
    OneIdTwoMachines,
    /// A reading that failed is an empty one.
    FailedReadIsEmpty,
    /// The clock decides if a session lives, not the record.
    ClockReopens,
    /// A tag is written with another time than is wanted.
    TagSaysLess,
    /// A claim does not look for the row that is there.
    ClaimedTwice,
    /// An edited rule is left alone.
    EditedIsLeft,
    /// A reading is as old as its answer, not as its question.
    DatedByAnswer,
    /// A confirmed revoke closes by the time at which it is recorded. (The search found this one in the real ledger.)
    JudgedWhenRecorded,
    /// The id of a rule that is being joined is not taken for ours.
    JoinProvesNothing,
    /// An edited rule whose lease knows another by now is forgotten.
    DisplacedIsForgotten,
    /// A confirmed revoke closes the lease, whatever the readings may have hidden before. (The search found this one in
    /// the real ledger.)
    HiddenIsForgotten,
    /// Tags are proof enough, whatever the rule's description says.
    TagsAreProof,
    /// A lease of 31 days is not believed where the opener's clock was ahead.
    HorizonWithoutTolerance,
    /// An expiry schedule is set for our own end, although others hold the rule.
    AutoCloseAtOwnEnd,
    /// A joining installation takes the present expiry schedule for its own, and does not move it.
    AutoCloseNotMovedFirst,
    /// The record says that an expiry schedule is set before the call.
    AutoCloseConfirmedFirst,
    /// A call to the scheduler without an answer counts as done.
    AutoCloseLostReplyCounts,
    /// A leaving installation does not move the expiry schedule.
    LeaveKeepsAutoClose,
    /// A leaving installation makes the expiry schedule fire now.
    LeaveFiresAutoClose,
    /// The expiry schedule of a rule that is gone is forgotten, not dropped.
    DroppedAutoCloseIsForgotten,
    /// An expiry schedule closes the permission, not the rule.
    AutoCloseKeyedByPermission,
    /// An expiry schedule is forgotten when its rule shows and no lease knows it. (Random lives found this one in the
    /// real plan.)
    AutoCloseForgottenOnSight,
    /// Without marks, what a lost call may have opened is foreign. (The real plan had this one.)
    NothingIsPresumed,
    /// Without marks, what is there in the place of any claim is ours.
    AnythingIsPresumed,
    /// The entry is written first, then the mark on the container.
    EntryBeforeMark,
    /// A lease closes without taking its mark off the container.
    MarkOutlivesLease,
    /// A tag of the container whose writing had no answer counts as not written.
    LateMarkIsNothing,
    /// A list leaves out the leases whose end is not on record.
    EndlessIsLeftOut,
    /// A lease closes while an older list that names it may still be written.
    ClosedBeforeOldList,
    /// The text of an entry marks it, even if no list names it.
    TextAloneIsGenuine,
    /// The list of entries is written as it was read, whatever came since.
    WholeListUnconditional,
    /// Where identity is the value, whatever has a wanted value is ours.
    ValueIsProof,
    /// A rule closes by itself at the end of our own lease, although others hold it.
    TimedAtOwnEnd,
    /// Writing another end into a rule's text does not move the time at which it closes.
    TimedNotMoved,
    /// A rule closes by itself later than its latest lease.
    TimedForLonger,
    /// The text of a rule is written from an old reading, without what others have written since.
    TextFromReading,
    /// A rule that is gone has closed by itself, even before its time.
    ClosedIsNoDrift,
    /// Readings are believed at once where they lag.
    BelievedAtOnce,
    /// In the kernel, a call without an answer counts as one that was answered.
    NothingLandsLate,
}

impl Bug {
    pub(crate) const ALL: [Self; 52] = [
        Self::ClosedOnOneAbsentRead,
        Self::AdoptedByPermission,
        Self::LedgerAfterSuccess,
        Self::OneEndRevokesShared,
        Self::RevokedByPermission,
        Self::ClosedDespiteUnknown,
        Self::SuccessClearsUnknown,
        Self::GuardedByContents,
        Self::LeaveClosesAtOnce,
        Self::LeftToNobody,
        Self::ExpiredBeatsWanted,
        Self::StrippedIsForeign,
        Self::LocalClockJudges,
        Self::OneIdTwoMachines,
        Self::FailedReadIsEmpty,
        Self::ClockReopens,
        Self::TagSaysLess,
        Self::ClaimedTwice,
        Self::EditedIsLeft,
        Self::DatedByAnswer,
        Self::JudgedWhenRecorded,
        Self::JoinProvesNothing,
        Self::DisplacedIsForgotten,
        Self::HiddenIsForgotten,
        Self::TagsAreProof,
        Self::HorizonWithoutTolerance,
        Self::AutoCloseAtOwnEnd,
        Self::AutoCloseNotMovedFirst,
        Self::AutoCloseConfirmedFirst,
        Self::AutoCloseLostReplyCounts,
        Self::LeaveKeepsAutoClose,
        Self::LeaveFiresAutoClose,
        Self::DroppedAutoCloseIsForgotten,
        Self::AutoCloseKeyedByPermission,
        Self::AutoCloseForgottenOnSight,
        Self::NothingIsPresumed,
        Self::AnythingIsPresumed,
        Self::EntryBeforeMark,
        Self::MarkOutlivesLease,
        Self::LateMarkIsNothing,
        Self::EndlessIsLeftOut,
        Self::ClosedBeforeOldList,
        Self::TextAloneIsGenuine,
        Self::WholeListUnconditional,
        Self::ValueIsProof,
        Self::TimedAtOwnEnd,
        Self::TimedNotMoved,
        Self::TimedForLonger,
        Self::TextFromReading,
        Self::ClosedIsNoDrift,
        Self::BelievedAtOnce,
        Self::NothingLandsLate,
    ];
}

/// Changes the input of the plan as the bug would.
pub(crate) fn blur(bug: Option<Bug>, view: &mut View, site: &Site) {
    match bug {
        Some(Bug::ClosedOnOneAbsentRead) => {
            let known = |row: &&mut Row| row.phase == Phase::Held && row.in_flight.is_none() && row.unknown.is_none();
            let long_ago = view.now - SETTLED;
            view.ledger.iter_mut().filter(known).for_each(|row| row.sent = Some(long_ago));
        }
        Some(Bug::AdoptedByPermission) => {
            let known = |rule: &&mut Rule| view.ledger.iter().any(|row| row.port == rule.port);
            let mut leases = [None; 2];
            leases[usize::from(view.name)] = Some(LONG_EXPIRED + 1);
            for rule in view.rules.iter_mut().filter(known).filter(|rule| rule.tags.is_none()) {
                rule.tags = Some(Tags { fits: 1 << rule.port, leases });
            }
        }
        Some(Bug::OneEndRevokesShared) => {
            let over = site.sessions.iter().filter(|session| matches!(session.life, Life::Ending | Life::Ended));
            let ended = over.fold(0, |ports, session| ports | session.ports);
            view.sessions.iter_mut().for_each(|(_, ports, _)| *ports &= !ended);
            view.sessions.retain(|(_, ports, _)| *ports != 0);
        }
        Some(Bug::LocalClockJudges) => view.provider = view.now,
        Some(Bug::DatedByAnswer) => view.read_at = view.now,
        Some(Bug::JoinProvesNothing) => {
            let joining = view.ledger.iter_mut().filter(|row| row.phase == Phase::Joining);
            joining.for_each(|row| row.rule = None);
        }
        Some(Bug::DisplacedIsForgotten) => view.opened.clear(),
        Some(Bug::NothingIsPresumed) => {
            let rules = &view.rules;
            let there = |row: &&mut Row| row.proven().is_none() && rules.iter().any(|rule| rule.port == row.port);
            for row in view.ledger.iter_mut().filter(there) {
                (row.unknown, row.in_flight, row.tagged) = (None, None, None);
            }
        }
        Some(Bug::AnythingIsPresumed) => {
            view.ledger.iter_mut().filter(|row| row.in_flight.is_none()).for_each(|row| row.in_flight = row.sent);
        }
        Some(Bug::ValueIsProof) => {
            let wanted = view.sessions.iter().fold(0, |ports, (_, wants, _)| ports | wants);
            let mut leases = [None; 2];
            leases[usize::from(view.name)] = Some(1);
            for rule in view.rules.iter_mut().filter(|rule| rule.tags.is_none() && wanted & (1 << rule.port) != 0) {
                rule.tags = Some(Tags { fits: 1 << rule.port, leases });
            }
        }
        Some(Bug::BelievedAtOnce) => view.kind = Kind::Kernel,
        Some(Bug::NothingLandsLate) => {
            view.ledger.iter_mut().for_each(|row| (row.unknown, row.in_flight) = (None, None));
        }
        Some(Bug::TagsAreProof) => view.rules.iter_mut().for_each(|rule| rule.described = true),
        Some(Bug::HorizonWithoutTolerance) => {
            let other = usize::from(1 - view.name);
            let tags = view.rules.iter_mut().filter_map(|rule| rule.tags.as_mut());
            let beyond = tags.filter_map(|tags| tags.leases[other].as_mut()).filter(|until| **until > LONGEST_TERM);
            // More than the clock's tolerance, so that the real function does not believe it.
            beyond.for_each(|until| *until += 4);
        }
        _ => {}
    }
}

/// Changes the plan as the bug would.
pub(crate) fn distort(bug: Option<Bug>, view: &View, plan: &mut Plan) {
    match bug {
        Some(Bug::LeftToNobody) => left_to_nobody(view, plan),
        Some(Bug::ExpiredBeatsWanted) => expired_first(view, plan),
        Some(Bug::TagSaysLess) => {
            for call in &mut plan.calls {
                if let Call::Retag { until, .. } = call {
                    *until -= 1;
                }
            }
        }
        Some(Bug::EditedIsLeft) => edited_is_left(view, plan),
        Some(Bug::MarkOutlivesLease) => {
            let unmarked = |call: &Call| if let Call::Unmark { ports } = call { *ports } else { 0 };
            let left = plan.calls.iter().fold(0, |ports, call| ports | unmarked(call));
            let rows = view.ledger.iter().filter(|row| left & (1 << row.port) != 0);
            plan.learn.extend(rows.map(|row| Learn::Close { key: row.key() }));
            plan.calls.retain(|call| unmarked(call) == 0);
        }
        Some(Bug::ClosedIsNoDrift) => {
            let held = |port: u8| view.ledger.iter().any(|row| row.port == port && row.phase == Phase::Held);
            plan.calls
                .retain(|call| !matches!(call, Call::Authorize { ports, .. } if held(ports.trailing_zeros() as u8)));
        }
        _ => {}
    }
}

fn left_to_nobody(view: &View, plan: &mut Plan) {
    let unheld = |id: u8| {
        let rule = view.rules.iter().find(|rule| rule.id == id);
        rule.is_some_and(|rule| rule.tags.is_some_and(|tags| tags.leases == [None; 2]))
    };
    let leaving = |id: u8| view.ledger.iter().find(|row| row.phase == Phase::Leaving && row.rule == Some(id));
    for id in crate::world::members(plan.calls.iter().fold(0, |mask, call| mask | call.rules())) {
        if !unheld(id) {
            continue;
        }
        if let Some(row) = leaving(id) {
            plan.learn.push(Learn::Close { key: row.key() });
        }
        plan.calls
            .retain(|call| !matches!(call, Call::Revoke { rules } | Call::Collect { rules } if *rules == 1 << id));
    }
}

fn expired_first(view: &View, plan: &mut Plan) {
    let over = |rule: &&Rule| {
        let leases = rule.tags.map(|tags| tags.leases).unwrap_or_default();
        rule.genuine() && leases.iter().flatten().count() > 0 && leases.iter().flatten().all(|at| *at <= LONG_EXPIRED)
    };
    for rule in view.rules.iter().filter(over) {
        let rules = 1 << rule.id;
        plan.calls.retain(|call| call.rules() & rules == 0);
        plan.calls.push(Call::Collect { rules });
    }
}

fn edited_is_left(view: &View, plan: &mut Plan) {
    for row in &view.ledger {
        let rule = view.rules.iter().find(|rule| Some(rule.id) == row.proven());
        if rule.is_some_and(|rule| rule.port != row.port) {
            plan.calls.retain(|call| call.rules() & (1 << rule.map_or(0, |rule| rule.id)) == 0);
            plan.learn.push(Learn::Close { key: row.key() });
        }
    }
}

/// Changes the plan for expiry schedules as the bug would.
pub(crate) fn distort_auto_closes(bug: Option<Bug>, view: &View, plan: &mut Plan) {
    let Some(auto_closes) = &view.auto_closes else { return };
    let leaving = |id: u8| view.ledger.iter().any(|row| row.phase == Phase::Leaving && row.rule == Some(id));
    match bug {
        Some(Bug::AutoCloseAtOwnEnd) => {
            let mut blurred = view.clone();
            for tags in blurred.rules.iter_mut().filter_map(|rule| rule.tags.as_mut()) {
                tags.leases[usize::from(1 - view.name)] = None;
            }
            let mut other = (*real::plan(blurred)).clone();
            other.learn.retain(|step| matches!(step, Learn::Know { .. } | Learn::Forget { .. }));
            other.calls.retain(|call| call.is_of_auto_close());
            plan.learn.retain(|step| !matches!(step, Learn::Know { .. } | Learn::Forget { .. }));
            plan.calls.retain(|call| !call.is_of_auto_close());
            plan.learn.extend(other.learn);
            plan.calls.extend(other.calls);
        }
        Some(Bug::AutoCloseNotMovedFirst) => {
            let shared = |id: u8| view.ledger.iter().any(|row| row.shared && row.rule == Some(id));
            let set = |id: u8| auto_closes.seen.iter().any(|(rule, seen)| *rule == id && matches!(seen, Seen::Set(_)));
            let known = |id: u8, at: Tick| {
                let row = auto_closes.rows.iter().find(|row| row.rule == id);
                row.is_some_and(|row| row.confirmed && row.at >= at)
            };
            let learn = &mut plan.learn;
            plan.calls.retain(|call| match *call {
                Call::SetAutoClose { rule, port, at, .. } if shared(rule) && set(rule) => {
                    learn.extend(Some(Learn::Know { rule, port, at }).filter(|_| !known(rule, at)));
                    false
                }
                _ => true,
            });
        }
        Some(Bug::LeaveKeepsAutoClose) => {
            plan.calls.retain(|call| !matches!(call, Call::SetAutoClose { rule, .. } if leaving(*rule)));
        }
        Some(Bug::LeaveFiresAutoClose) => {
            let fires = |id: u8| auto_closes.seen.contains(&(id, Seen::Set(0)));
            plan.calls
                .retain(|call| !matches!(call, Call::SetAutoClose { rule, .. } if leaving(*rule) && fires(*rule)));
            for call in &mut plan.calls {
                if let Call::SetAutoClose { rule, at, .. } = call
                    && leaving(*rule)
                {
                    *at = 0;
                }
            }
        }
        Some(Bug::DroppedAutoCloseIsForgotten) => {
            let dropped = |call: &Call| match *call {
                Call::DropAutoClose { rule } => Some(Learn::Forget { rule }),
                _ => None,
            };
            plan.learn.extend(plan.calls.iter().filter_map(dropped));
            plan.calls.retain(|call| !matches!(call, Call::DropAutoClose { .. }));
        }
        Some(Bug::AutoCloseForgottenOnSight) => {
            let closes = |call: &Call| matches!(call, Call::Revoke { .. } | Call::Collect { .. });
            let closed = plan.calls.iter().filter(|call| closes(call)).fold(0, |mask, call| mask | call.rules());
            let known = |id: u8| view.ledger.iter().any(|row| row.rule == Some(id));
            let there = |id: u8| view.rules.iter().any(|rule| rule.id == id) && closed & (1 << id) == 0;
            for row in auto_closes.rows.iter().filter(|row| there(row.rule) && !known(row.rule)) {
                let forget = Learn::Forget { rule: row.rule };
                plan.learn.extend(Some(forget).filter(|forget| !plan.learn.contains(forget)));
            }
        }
        _ => {}
    }
}

/// A transition of a row.
pub(crate) fn bent_turn(bug: Option<Bug>, row: Row, how: Turn, now: Tick) -> Row {
    let row = match how {
        Turn::Revoked { .. } if bug == Some(Bug::JudgedWhenRecorded) => Row { sent: Some(now), ..row },
        _ => row,
    };
    let next = turn(row, how, now);
    match (bug, how) {
        (Some(Bug::ClosedDespiteUnknown), Turn::Revoked { wanted: false, .. })
        | (Some(Bug::LeaveClosesAtOnce), Turn::Left { .. }) => turn(next, Turn::Closed, now),
        (Some(Bug::SuccessClearsUnknown), Turn::Authorized { .. } | Turn::Adopted { .. }) => {
            Row { unknown: None, in_flight: None, ..next }
        }
        _ => next,
    }
}
