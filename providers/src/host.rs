//! What the kinds of firewall on this host need of their surroundings.

use crate::{aws::Clock, types::CallObserver};
use std::{sync::Arc, time::Duration};

#[derive(Clone)]
pub struct HostOptions {
    /// The local clock. The kernel of this host counts the time of its entries by the same one.
    pub now: Clock,
    pub observer: Arc<dyn CallObserver>,
    /// The longest that one program may run.
    pub time: Duration,
}

impl HostOptions {
    /// 10 s for each program, and nobody who observes the calls.
    pub fn new(now: Clock) -> Self {
        Self { now, observer: Arc::new(()), time: Duration::from_secs(10) }
    }
}
