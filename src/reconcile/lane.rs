//! The resources that the targets behind one route share within a pass.
//!
//! | | |
//! |---|---|
//! | places | the number of targets in work at a time: more than may call, so that the intents of those that wait for their turn share one flush. A target that waits for something else (throttled, or before another reading) holds no place |
//! | turns | the number of calls to the firewall at a time |
//! | slots | the number of targets that call the scheduler at a time |
//! | the pace | the rate of writes, learnt from throttling |
//! | the time limit | counted from the end of the route's first reading, and again from each write that succeeds: a pass goes on while it makes progress |
//! | silence | a scheduler that gave no usable answer to two calls in a row is not called again in this pass: each call may take ten seconds, and there is one for each rule |
//! | readings | targets that have to be read again at the same time are read by one call |
//! | the caller | the identity of the credentials is asked for once, even if the answer is an error |
//!
//! A call that is not made fails at once, is recorded as refused, and is made by the next pass. Calls to the firewall itself
//! are always made: closing a rule is worth every try.

use crate::reconcile::{
    driver::Driver, pace::Pace, reading::TargetReading, retry_budget::Deadline, shared_reading::SharedReading,
};
use eg_model::{
    failure::{Failure, FailureClass},
    target::{Target, TargetKey},
};
use eg_providers::{Caller, Firewall};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};
use tokio::{
    sync::{OnceCell, Semaphore, SemaphorePermit},
    time::{Instant, sleep_until},
};

/// The most calls of one route to one service at the same time.
pub(crate) const CONCURRENCY: usize = 8;
/// The most targets of one route in work at the same time. A target that waits for its turn waits for one call of another at
/// most, because its reading and its intent are good for ten seconds only.
const IN_WORK: usize = CONCURRENCY * 2;
/// The time after its first reading, and after each write that succeeded, in which a route may begin something new in a pass.
pub(crate) const PASS_LIMIT: Duration = Duration::from_secs(60);
/// Calls in a row without a usable answer, after which the scheduler is not called again.
const SILENT_AFTER: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CalledService {
    Firewall,
    Scheduler,
}

/// A slot, given back when dropped.
pub(super) struct CallSlot<'l> {
    pub(super) service: CalledService,
    _permit: SemaphorePermit<'l>,
}

type CallerCell = Rc<OnceCell<Result<Caller, Failure>>>;

/// The turn of one call to the firewall, over when dropped.
pub(super) struct CallTurn<'l>(#[expect(dead_code, reason = "held for its drop")] Option<SemaphorePermit<'l>>);

pub(super) struct Lane {
    firewall: Semaphore,
    calls: Semaphore,
    scheduler: Semaphore,
    pace: Cell<Pace>,
    deadline: Deadline,
    /// Calls to the scheduler in a row without a usable answer.
    unanswered: Cell<u32>,
    callers: RefCell<BTreeMap<Target, CallerCell>>,
    readings: SharedReading,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            firewall: Semaphore::new(IN_WORK),
            calls: Semaphore::new(CONCURRENCY),
            scheduler: Semaphore::new(CONCURRENCY),
            pace: Cell::default(),
            deadline: Rc::new(Cell::new(Instant::now() + PASS_LIMIT)),
            unanswered: Cell::new(0),
            callers: RefCell::default(),
            readings: SharedReading::default(),
        }
    }

    /// Starts the time limit: the route has been read.
    pub(super) fn start_clock(&self) {
        self.deadline.set(Instant::now() + PASS_LIMIT);
    }

    pub(super) fn deadline(&self) -> Deadline {
        Rc::clone(&self.deadline)
    }

    /// Waits for the turn of a write to the firewall, at the pace that the provider takes.
    pub(super) async fn turn_to_write(&self) -> CallTurn<'_> {
        let turn = self.turn().await;
        let (at, pace) = self.pace.get().start(Instant::now());
        self.pace.set(pace);
        if at > Instant::now() {
            sleep_until(at).await;
        }
        turn
    }

    /// Learns from the outcome of a write; `failed` is `None` for one that succeeded.
    pub(super) fn note_write(&self, failed: Option<FailureClass>) {
        let now = Instant::now();
        match failed {
            None => {
                self.deadline.set(now + PASS_LIMIT);
                self.pace.set(self.pace.get().succeeded(now));
            }
            Some(FailureClass::Throttled) => self.pace.set(self.pace.get().throttled(now)),
            Some(_) => {}
        }
    }

    /// Waits for the turn of a call to the firewall, first come, first served.
    pub(super) async fn turn(&self) -> CallTurn<'_> {
        // Fails only for a closed semaphore, and this is never closed.
        CallTurn(self.calls.acquire().await.ok())
    }

    /// Waits for a place or a slot, first come, first served. Every waiter gets one in the end: no target holds one while it
    /// waits.
    pub(super) async fn slot(&self, service: CalledService) -> Option<CallSlot<'_>> {
        let slots = match service {
            CalledService::Firewall => &self.firewall,
            CalledService::Scheduler => &self.scheduler,
        };
        // Fails only for a closed semaphore, and these are never closed.
        slots.acquire().await.ok().map(|permit| CallSlot { service, _permit: permit })
    }

    /// Reads a target again, together with the others that have to be read again now.
    pub(super) async fn read_again(
        &self,
        driver: &Driver<'_>,
        key: &TargetKey,
        routes: &[Target],
    ) -> Option<TargetReading> {
        self.readings.read(async || self.turn().await, driver, key, routes).await
    }

    /// Counts the scheduler's calls without a usable answer; `failed` is `None` for a call that succeeded.
    pub(super) fn note_answer(&self, failed: Option<FailureClass>) {
        let silent = failed.is_some_and(FailureClass::outcome_unknown);
        self.unanswered.set(if silent { self.unanswered.get().saturating_add(1) } else { 0 });
    }

    /// The reason why the scheduler is not called again in this pass, if there is one.
    pub(super) fn silence(&self) -> Option<Failure> {
        let why = "the scheduler has not answered in this pass; the next one asks again";
        (self.unanswered.get() >= SILENT_AFTER).then(|| Failure::new(FailureClass::Unknown, why))
    }

    /// The identity of the credentials with which a target is called.
    pub(super) async fn caller(&self, target: &Target, firewall: &dyn Firewall) -> Result<Caller, Failure> {
        let answer = Rc::clone(self.callers.borrow_mut().entry(target.regional()).or_default());
        answer.get_or_init(|| firewall.caller()).await.clone()
    }
}
