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

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    /// The waits are noted instead of waited for.
    #[test]
    fn a_target_is_read_again_after_1_2_and_4_seconds_and_then_no_more() {
        let waits = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&waits);
        let mut env = Env::apart(BTreeMap::new(), Arc::new(DateTime::default));
        env.pause = Arc::new(move |wait| {
            noted.lock().unwrap().push(wait.as_secs_f64());
            Box::pin(std::future::ready(()))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let interrupt = Interrupt::listen().unwrap();
            let at = |instant| Rc::new(Cell::new(instant));
            let mut budget = RetryBudget::new(&env, &interrupt, at(Instant::now() + Duration::from_secs(86_400)));
            for may in [true, true, true, false, false] {
                assert_eq!(budget.before_reading_again().await, may);
            }
            let mut late = RetryBudget::new(&env, &interrupt, at(Instant::now()));
            assert!(!late.before_reading_again().await, "the time of the pass is up");
        });
        assert_eq!(waits.lock().unwrap()[..3], [1.0, 2.0, 4.0]);
    }
}
