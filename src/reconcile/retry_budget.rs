//! The retries of one target, route or sweep within a pass: their number, their waits, their deadline.

use crate::{
    host::{env::Env, signals::Interrupt},
    reconcile::retry::{self, Retry},
};
use std::{cell::Cell, rc::Rc, time::Duration};
use tokio::time::Instant;

const REOBSERVATIONS: u32 = 3;
/// Tries of a throttled call.
const THROTTLES: u32 = 6;

/// A deadline that moves on while there is progress.
pub(crate) type Deadline = Rc<Cell<Instant>>;

/// The rest of the budget. Every wait ends early at a signal or at the deadline.
pub(crate) struct RetryBudget<'a> {
    env: &'a Env,
    interrupt: &'a Interrupt,
    deadline: Deadline,
    reobserved: u32,
    throttled: u32,
}

impl<'a> RetryBudget<'a> {
    pub(crate) fn new(env: &'a Env, interrupt: &'a Interrupt, deadline: Deadline) -> Self {
        Self { env, interrupt, deadline, reobserved: 0, throttled: 0 }
    }

    /// True if nothing new may be begun: a signal has asked to stop, or the time is up.
    pub(crate) fn is_over(&self) -> bool {
        self.interrupt.asked().is_some() || Instant::now() >= self.deadline.get()
    }

    /// Waits 1, 2, then 4 seconds. True if another reading may be made then.
    pub(crate) async fn before_reading_again(&mut self) -> bool {
        if self.reobserved >= REOBSERVATIONS {
            return false;
        }
        self.reobserved += 1;
        self.rest_for(retry::delay(Retry::Reobserve, self.reobserved, 0.0)).await
    }

    /// True if a throttled call may not be sent again.
    pub(crate) fn has_been_throttled_enough(&self) -> bool {
        self.throttled >= THROTTLES
    }

    /// Waits. True if a throttled call may be sent again then.
    pub(crate) async fn after_throttling(&mut self) -> bool {
        if self.has_been_throttled_enough() {
            return false;
        }
        self.throttled += 1;
        self.rest_for(retry::delay(Retry::Throttled, self.throttled, self.env.random())).await
    }

    async fn rest_for(&self, wait: Duration) -> bool {
        tokio::select! {
            () = (self.env.pause)(wait) => !self.is_over(),
            () = self.interrupt.wait() => false,
            () = tokio::time::sleep_until(self.deadline.get()) => false,
        }
    }
}
