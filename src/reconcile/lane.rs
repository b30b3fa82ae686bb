//! What the targets behind one route share within a pass.
//!
//! | | |
//! |---|---|
//! | slots | so many targets call the firewall at a time, and so many the scheduler. Who waits (after "too fast", or before another reading) holds none |
//! | the time limit | counted from the first reading of the route |
//! | silence | a scheduler that has left two calls in a row without a usable answer is not asked again in this pass: every question may take ten seconds, and there is one for each rule |
//! | the caller | who the credentials are is asked once, whether that comes to something or not |
//!
//! What is not asked fails at once, is recorded as refused, and is tried by the next pass. The firewall itself is always
//! asked: what is to be closed is worth every try.

use crate::reconcile::driver::{CONCURRENCY, PASS_LIMIT};
use eg_model::{
    failure::{Failure, FailureClass},
    target::Target,
};
use eg_providers::{Caller, Firewall};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};
use tokio::{
    sync::{OnceCell, Semaphore, SemaphorePermit},
    time::Instant,
};

/// Calls in a row without a usable answer, after which a service is not asked again.
const SILENT_AFTER: u32 = 2;

/// Whom a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CalledService {
    Firewall,
    Scheduler,
}

/// A slot, given back when dropped.
pub struct Turn<'l> {
    pub(super) service: CalledService,
    _slot: SemaphorePermit<'l>,
}

type CallerCell = Rc<OnceCell<Result<Caller, Failure>>>;

pub struct Lane {
    firewall: Semaphore,
    scheduler: Semaphore,
    deadline: Cell<Instant>,
    /// Calls of the scheduler in a row without a usable answer.
    unanswered: Cell<u32>,
    callers: RefCell<BTreeMap<Target, CallerCell>>,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            firewall: Semaphore::new(CONCURRENCY),
            scheduler: Semaphore::new(CONCURRENCY),
            deadline: Cell::new(Instant::now() + PASS_LIMIT),
            unanswered: Cell::new(0),
            callers: RefCell::default(),
        }
    }

    /// The route has been read: from now on the time counts.
    pub(super) fn begin(&self) {
        self.deadline.set(Instant::now() + PASS_LIMIT);
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline.get()
    }

    /// Waits for a slot, first come, first served. There is always one in the end: nobody holds one while waiting.
    pub(super) async fn turn(&self, service: CalledService) -> Option<Turn<'_>> {
        let slots = match service {
            CalledService::Firewall => &self.firewall,
            CalledService::Scheduler => &self.scheduler,
        };
        // Nobody closes these.
        slots.acquire().await.ok().map(|slot| Turn { service, _slot: slot })
    }

    /// What a call of the scheduler came to: `None`, or how it failed.
    pub(super) fn heard(&self, failed: Option<FailureClass>) {
        let silent = failed.is_some_and(FailureClass::outcome_unknown);
        self.unanswered.set(if silent { self.unanswered.get().saturating_add(1) } else { 0 });
    }

    /// Why the scheduler is not asked any more in this pass, if it is not.
    pub(super) fn silence(&self) -> Option<Failure> {
        let why = "the scheduler has not answered in this pass; the next one asks again";
        (self.unanswered.get() >= SILENT_AFTER).then(|| Failure::new(FailureClass::Unknown, why))
    }

    /// Who the credentials of a way are.
    pub(super) async fn caller(&self, way: &Target, firewall: &dyn Firewall) -> Result<Caller, Failure> {
        let answer = Rc::clone(self.callers.borrow_mut().entry(way.regional()).or_default());
        answer.get_or_init(|| firewall.caller()).await.clone()
    }
}
