//! The sandbox over its wire: each action, each fault, the region at large, stopping.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "shared with the other test binary")]
mod support;

#[path = "wire/faults.rs"]
mod faults;
#[path = "wire/groups.rs"]
mod groups;
#[path = "wire/lists.rs"]
mod lists;
#[path = "wire/network.rs"]
mod network;
#[path = "wire/region.rs"]
mod region;
#[path = "wire/rules.rs"]
mod rules;
#[path = "wire/schedules.rs"]
mod schedules;
#[path = "wire/sets.rs"]
mod sets;
#[path = "wire/stopping.rs"]
mod stopping;
#[path = "wire/sts.rs"]
mod sts;
#[path = "wire/tags.rs"]
mod tags;

use chrono::{DateTime, Utc};
use eg_sandbox::{Config, HandClock, Handle, Sandbox};
use support::Client;

/// 2026-01-01T00:00:00Z.
fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).expect("a time")
}

/// A sandbox with its clock in hand, and somebody to ask it.
struct Bench {
    handle: Handle,
    clock: HandClock,
    client: Client,
}

impl Bench {
    fn new() -> Self {
        Self::with(1, |_| {})
    }

    fn with(seed: u64, configure: impl FnOnce(&mut Config)) -> Self {
        let clock = HandClock::at(start());
        let mut config = Config::new(seed, clock.clock());
        configure(&mut config);
        let handle = Sandbox::start(config).expect("a sandbox");
        let client = Client::new(handle.address());
        Self { handle, clock, client }
    }

    fn group(&self) -> String {
        self.client.create_group("web")
    }
}
