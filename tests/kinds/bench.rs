//! One test's world: a firewall, entries of others in it, and machines that run `eg`.

use super::hand::{Hand, Seen};
use crate::harness::{Installation, Outcome, Shared};
use serde_json::Value;
use std::{
    cell::RefCell,
    sync::{Arc, atomic::Ordering},
};

/// More than the settle window, in seconds.
pub const SETTLED: i64 = eg_model::SETTLE_WINDOW.num_seconds() + 5;
/// The address that sessions open.
pub const ADDRESS: &str = "203.0.113.42";
/// The same as a network.
pub const HOST: &str = "203.0.113.42/32";

pub struct Bench<H> {
    pub hand: H,
    pub here: Installation,
    shared: Arc<Shared>,
    /// The entries of others, as they were made.
    foreign: RefCell<Vec<Seen>>,
    rest: String,
}

impl<H: Hand> Bench<H> {
    pub fn new() -> Self {
        let shared = Shared::alone();
        let ahead = Arc::clone(&shared.clock);
        let hand = H::new(shared.dir.path(), &ahead);
        let endpoint = hand.endpoint().unwrap_or_default();
        let shared = Arc::new(Shared { endpoint, inside: hand.inside(), ..shared });
        // Close to what `eg` opens: a neighbour, and a wider network around it.
        ["198.51.100.7/32", "203.0.113.0/25"].into_iter().for_each(|network| hand.make(network));
        let foreign = RefCell::new(sorted(hand.entries()));
        let here = Installation::new(Arc::clone(&shared), "here");
        here.write_config(&hand.config());
        let rest = hand.rest();
        Self { hand, here, shared, foreign, rest }
    }

    /// The rest of the firewall, as it was before `eg`.
    pub fn rest_before(&self) -> &str {
        &self.rest
    }

    /// Another machine with the same configuration.
    pub fn machine(&self, name: &str) -> Installation {
        let machine = Installation::new(Arc::clone(&self.shared), name);
        machine.write_config(&self.hand.config());
        machine
    }

    pub fn eg(&self, args: &[&str]) -> Outcome {
        self.here.eg(args)
    }

    #[track_caller]
    pub fn start(&self, at: &Installation) -> Outcome {
        at.eg(&["session", "start", "--ipv4", ADDRESS, "--duration", "2h"])
    }

    /// Moves both clocks.
    pub fn advance(&self, seconds: i64) {
        self.shared.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    /// An entry of others, for the same address.
    pub fn make(&self, network: &str) {
        let before = self.hand.entries();
        self.hand.make(network);
        let made = self.hand.entries().into_iter().filter(|entry| !before.contains(entry));
        self.foreign.borrow_mut().extend(made);
    }

    /// What is open by `eg`.
    pub fn ours(&self) -> Vec<Seen> {
        let foreign = self.foreign.borrow();
        sorted(self.hand.entries().into_iter().filter(|entry| !foreign.contains(entry)).collect())
    }

    /// The one entry of `eg`, for the address of the session.
    #[track_caller]
    pub fn our_entry(&self) -> Seen {
        let ours = self.ours();
        assert!(ours.len() == 1 && ours[0].network == HOST, "not one entry for {HOST}: {ours:#?}");
        ours[0].clone()
    }

    #[track_caller]
    pub fn nothing_of_ours(&self) {
        assert_eq!(self.ours(), [], "something of eg's is open");
    }

    /// The entries of others are there, byte for byte as they were made.
    #[track_caller]
    pub fn others_are_untouched(&self) {
        let now = self.hand.entries();
        for entry in self.foreign.borrow().iter() {
            assert!(now.contains(entry), "{entry:?} was touched: {now:#?}");
        }
    }

    pub fn sessions(&self, at: &Installation) -> Vec<Value> {
        let list = at.eg(&["--output", "json", "session", "list", "--limit", "0"]).expect_code(0).json_as("sessions");
        list.as_array().expect("a list").clone()
    }

    /// The status of the newest session here.
    pub fn status(&self) -> String {
        self.sessions(&self.here)[0]["status"].as_str().expect("a status").to_owned()
    }

    /// Reconciles until a pass says that all is as recorded, with the settle window in between.
    #[track_caller]
    pub fn settle(&self, machines: &[&Installation]) {
        let mut last = Vec::new();
        for _ in 0..4 {
            last = machines.iter().map(|machine| machine.eg(&["reconcile"])).collect();
            if last.iter().all(|outcome| outcome.code() == Some(0)) {
                return;
            }
            self.advance(SETTLED);
        }
        panic!("it does not settle: {last:#?}");
    }

    /// The check that every test ends with. The firewall is well again, everything is stopped, the settle window passes:
    /// nothing of ours is left over, and nothing of others was ever touched.
    #[track_caller]
    pub fn ends(self, others: &[&Installation]) {
        self.hand.call_off();
        let machines: Vec<&Installation> = [&self.here].into_iter().chain(others.iter().copied()).collect();
        self.stop_all(&machines);
        let entries = sorted(self.hand.entries());
        assert_eq!(entries, sorted(self.foreign.borrow().clone()), "the entries are not those of others, as they were");
        assert_eq!(self.hand.rest(), self.rest, "the rest of the firewall is not as it was");
        let changes = self.hand.changes();
        machines.iter().for_each(|machine| drop(machine.eg(&["reconcile"]).expect_code(0)));
        assert_eq!(self.hand.changes(), changes, "and there it stays");
    }

    #[track_caller]
    fn stop_all(&self, machines: &[&Installation]) {
        let open = |session: &Value| session["status"] != "CANCELLED" && session["status"] != "EXPIRED";
        for machine in machines {
            if self.sessions(machine).iter().any(open) {
                let stopped = machine.eg(&["session", "stop", "--all"]);
                assert!(matches!(stopped.code(), Some(0 | 3)), "{stopped}");
            }
        }
        self.advance(SETTLED);
        self.settle(machines);
        for machine in machines {
            assert!(!self.sessions(machine).iter().any(open), "{:#?}", self.sessions(machine));
        }
    }

    /// The end of a test whose firewall is gone.
    #[track_caller]
    pub fn ends_without_firewall(self) {
        self.stop_all(&[&self.here]);
    }
}

fn sorted(mut entries: Vec<Seen>) -> Vec<Seen> {
    entries.sort();
    entries
}
